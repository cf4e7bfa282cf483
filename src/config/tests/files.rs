//! What is read from disk: encodings, includes, conf.d, values of the command line.

use std::fs;

use super::*;

/// A directory of its own, taken away at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("jabber-config-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("conf.d")).unwrap();
        Scratch(path)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn main(&self, more: &str) -> PathBuf {
        let host = "<host><jabberd:cmdline flag='h'>a.test</jabberd:cmdline></host>";
        let service = format!("<service id='sessions'>{host}<jsm xmlns='jabber:config:jsm'/></service>");
        self.write("jabber.xml", format!("<jabber>{service}\n{more}</jabber>"))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn line(arguments: &[&str]) -> CommandLine {
    CommandLine::parse(arguments.iter().map(|argument| (*argument).into())).unwrap()
}

#[test]
fn fragments_are_read_in_order_and_the_last_word_counts() {
    let scratch = Scratch::new("fragments");
    let main = scratch.main("<pidfile>/a</pidfile>");
    scratch.write("conf.d/20.xml", "<jabber><pidfile>/c</pidfile></jabber>");
    scratch.write("conf.d/10.xml", "<pidfile>/b</pidfile>");
    scratch.write("conf.d/.hidden.xml", "<broken");
    scratch.write("conf.d/30.xml.dpkg-old", "<broken");
    let config = Config::load(&main, &CommandLine::default()).unwrap();
    assert_eq!(config.pidfile.as_deref(), Some(Path::new("/c")));
    scratch.write("conf.d/30.xml", "<jabber>\n<foo/></jabber>");
    scratch.write("conf.d/40.xml", "<jabber>\n\n<foo</jabber>");
    let error = Config::load(&main, &CommandLine::default()).unwrap_err();
    let places: Vec<_> = error.problems.iter().map(|p| (p.place.file.file_name().unwrap(), p.place.line)).collect();
    assert_eq!(places, [("30.xml".as_ref(), 2), ("40.xml".as_ref(), 3)]);
}

#[test]
fn includes_are_relative_to_home_and_never_endless() {
    let scratch = Scratch::new("includes");
    let main = scratch.main("<jabberd:include>one.xml</jabberd:include><jabberd:include>two.xml</jabberd:include>");
    scratch.write("one.xml", "<jabber><pidfile>/one</pidfile><jabberd:include>one.xml</jabberd:include></jabber>");
    scratch.write("two.xml", "<jabber>\n<a></jabber>");
    let config = Config::load(&main, &line(&["-H", &scratch.0.to_string_lossy()])).unwrap();
    assert_eq!(config.pidfile.as_deref(), Some(Path::new("/one")));
    let texts = notices(&config);
    assert!(texts.iter().any(|text| text.contains("one.xml includes itself: ignored")), "{texts:?}");
    assert!(
        texts.iter().any(|text| text.starts_with("2: the included file") && text.contains("is broken")),
        "{texts:?}"
    );
    // The main file under another of its names.
    let again = format!("<jabber><jabberd:include>{}/./jabber.xml</jabberd:include></jabber>", scratch.0.display());
    scratch.write("again.xml", again);
    let main = scratch.main("<jabberd:include>again.xml</jabberd:include>");
    let config = Config::load(&main, &line(&["-H", &scratch.0.to_string_lossy()])).unwrap();
    assert!(notices(&config)[0].contains("jabber.xml includes itself: ignored"), "{:?}", config.notices);
    for number in 0..30 {
        let next = format!("<jabber><jabberd:include>n{}.xml</jabberd:include></jabber>", number + 1);
        scratch.write(&format!("n{number}.xml"), next);
    }
    let main = scratch.main("<jabberd:include>n0.xml</jabberd:include>");
    let config = Config::load(&main, &line(&["-H", &scratch.0.to_string_lossy()])).unwrap();
    assert!(notices(&config)[0].contains("includes nest more than 20 times"), "{:?}", config.notices);
}

#[test]
fn the_command_line_wins_where_the_file_asks_for_it() {
    let scratch = Scratch::new("flags");
    let main = scratch.main("<pidfile><jabberd:cmdline flag='pid'>/a</jabberd:cmdline></pidfile>");
    let config =
        Config::load(&main, &line(&["-h", "b.test", "-s", "/data", "-x", "pid:/b", "-U", "me", "-D"])).unwrap();
    assert_eq!(config.hosts[0].name, "b.test");
    assert_eq!(config.spool, Path::new("/data"));
    assert_eq!(config.pidfile.as_deref(), Some(Path::new("/b")));
    assert_eq!((config.user.as_deref(), config.debug), (Some("me"), true));
    assert_eq!(notices(&config), [""; 0]);
    let fixed = "<jabber><service id='sessions'><host>a.test</host></service></jabber>";
    let main = scratch.write("fixed.xml", fixed);
    let config = Config::load(&main, &line(&["-h", "b.test"])).unwrap();
    assert_eq!(config.hosts[0].name, "a.test");
    assert!(config.notices[0].to_string().starts_with("command line: -h b.test has no effect"), "{:?}", config.notices);
    assert_eq!(Config::load(&main, &line(&["-h", "a.test"])).unwrap().notices, []);
    let extra = scratch.write("extra.xml", "<pidfile>/extra</pidfile>");
    let config = Config::load(&main, &line(&["-i", &extra.to_string_lossy()])).unwrap();
    assert_eq!(config.pidfile.as_deref(), Some(Path::new("/extra")));
    assert!(Config::load(&main, &line(&["-i", "/nonexistent.xml"])).is_err());
}

#[test]
fn encodings() {
    let scratch = Scratch::new("encodings");
    let body = "<jabber><service id='s'><host>a.test</host><jsm xmlns='jabber:config:jsm'>\n<vCard><FN>J\u{e4}ger</FN></vCard></jsm></service></jabber>";
    let latin: Vec<u8> = body.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    let with = |head: &str, body: &[u8]| [head.as_bytes(), body].concat();
    let rows = [
        (body.as_bytes().to_vec(), Ok(())),
        (with("\u{feff}", body.as_bytes()), Ok(())),
        (with("<?xml version='1.0' encoding='UTF-8'?>", body.as_bytes()), Ok(())),
        (with("<?xml version='1.0' encoding=\"ISO-8859-1\"?>", &latin), Ok(())),
        (with("<?xml version='1.0'?>", &latin), Err((2, "encoding=\"ISO-8859-1\""))),
        (with("<?xml version='1.0' encoding='KOI8-R'?>", &latin), Err((1, "koi8-r"))),
        (vec![0xFF, 0xFE, b'<', 0], Err((0, "UTF-16"))),
    ];
    for (bytes, expected) in rows {
        let main = scratch.write("jabber.xml", &bytes);
        match (Config::load(&main, &CommandLine::default()), expected) {
            (Ok(config), Ok(())) => {
                assert!(config.hosts[0].vcard.as_ref().unwrap().to_string().contains("J\u{e4}ger"));
            }
            (Err(error), Err((line, word))) => {
                assert_eq!(error.problems[0].place.line, line, "{error}");
                assert!(error.to_string().contains(word), "{error}");
                // Where the file can be read at all, the line is shown, with each byte as a character.
                let excerpt = error.problems[0].excerpt.as_deref().unwrap_or_default();
                assert_eq!(excerpt.contains("<FN>J\u{e4}ger</FN>"), line == 2, "{error}");
                assert_eq!(error.problems[0].place.column == 13, line == 2, "{error}");
            }
            (got, expected) => panic!("{got:?} is not {expected:?}"),
        }
    }
}

#[test]
fn a_missing_file_is_said_so() {
    let error = Config::load(Path::new("/nonexistent/jabber.xml"), &CommandLine::default()).unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("Configuration parsing using /nonexistent/jabber.xml failed: No such file or directory\n")
    );
    assert!(text.contains("-c names another"), "{text}");
}

#[test]
fn missing_files_on_disk() {
    let scratch = Scratch::new("disk");
    let log = scratch.0.join("error.log");
    let main = scratch.main(&format!(
        "<xdb id='x'><xdb_file xmlns='jabber:config:xdb_file'><spool>/etc/passwd</spool></xdb_file></xdb>\n\
         <log id='l'><file>{}</file></log>\n\
         <io><ssl><key id='*'>/nonexistent/key.pem</key></ssl>\n\
         <tls><cacertfile>/nonexistent/ca.pem</cacertfile></tls></io>",
        log.display()
    ));
    let config = Config::load(&main, &CommandLine::default()).unwrap();
    let error = config.check_files().unwrap_err();
    let lines: Vec<u32> = error.problems.iter().map(|problem| problem.place.line).collect();
    assert_eq!(lines, [4, 5, 0]);
    assert!(error.to_string().contains("cannot read the certificates of authorities /nonexistent/ca.pem"), "{error}");
    assert!(error.to_string().contains("cannot read the certificate /nonexistent/key.pem"), "{error}");
    assert!(error.to_string().contains("/etc/passwd is no data directory"), "{error}");
}
