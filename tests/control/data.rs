//! Backup, restore, export and import by jabberctl, beside a server that runs and without one; and all of them killed.

use std::ffi::OsStr;
use std::fs;
use std::io::Read as _;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;

use jabber::net::uninterrupted;
use jabber::store::backup;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};

use crate::site::{Client, Site, until};

/// A document of XEP-0227 whose users cost no password work.
fn document(users: usize, card_bytes: usize) -> String {
    let card = "x".repeat(card_bytes);
    let users: String = (0..users)
        .map(|n| {
            format!(
                "<user name='u{n}'><scram-credentials xmlns='urn:xmpp:pie:0#scram' mechanism='SCRAM-SHA-1'>\
                 <iter-count>4096</iter-count><salt>c2FsdA==</salt><server-key>0pXWGK0GZJ6TR73AIUN3ITYtA1g=</server-key>\
                 <stored-key>Q6qT/SbybblGCZz8e8eSfCJOQic=</stored-key></scram-credentials>\
                 <vCard xmlns='vcard-temp'><DESC>{card}</DESC></vCard></user>\n"
            )
        })
        .collect();
    format!("<server-data xmlns='urn:xmpp:pie:0'><host jid='localhost'>\n{users}</host></server-data>")
}

fn accounts(site: &Site) -> u64 {
    site.ctl(&["--json", "status"]).json()["accounts"].as_u64().unwrap()
}

/// Runs jabberctl, which the kernel kills as soon as it writes a byte beyond so many into any file.
fn killed_writing(site: &Site, arguments: &[&str], bytes: u64) {
    let mut command = Command::new("prlimit");
    command.arg("--core=0").arg(format!("--fsize={bytes}")).arg(env!("CARGO_BIN_EXE_jabberctl"));
    command.arg("-c").arg(site.path("jabber.xml")).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.signal(), Some(nix::libc::SIGXFSZ), "{bytes} bytes: {output:?}");
}

/// Runs jabberctl and kills it when so many names have come and gone in a directory. False if it was done before that.
fn killed_at(site: &Site, arguments: &[&str], directory: &Path, names: usize) -> bool {
    const ENDED: &str = "ended";
    let events = Inotify::init(InitFlags::IN_CLOEXEC).unwrap();
    let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE | AddWatchFlags::IN_MOVE;
    events.add_watch(directory, flags).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_jabberctl"));
    command.arg("-c").arg(site.path("jabber.xml")).args(arguments);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // Its output ends when it does, which becomes an event as well.
    let (mut output, ended) = (child.stdout.take().unwrap(), directory.join(ENDED));
    let waiter = thread::spawn(move || {
        let mut said = String::new();
        output.read_to_string(&mut said).unwrap();
        fs::write(&ended, &said).unwrap();
        fs::remove_file(&ended).unwrap();
    });
    let (mut seen, mut is_over) = (0, false);
    while seen < names && !is_over {
        let came = uninterrupted(|| Ok(events.read_events()?)).unwrap();
        is_over = came.iter().any(|event| event.name.as_deref() == Some(OsStr::new(ENDED)));
        seen += came.iter().filter(|event| event.name.as_deref() != Some(OsStr::new(ENDED))).count();
    }
    // What was seen was done; it may be further by now, or at its end, which is one of the moments, too.
    let _ = child.kill();
    child.wait().unwrap();
    waiter.join().unwrap();
    seen >= names
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_backup_is_made_of_a_server_that_runs_and_restored_to_one_that_does_not() {
    let site = Site::new("backup");
    let (file, other) = (site.path("copy.db"), site.path("no/copy.db"));
    let none = site.ctl(&["backup", shown(&file)]).fails(1);
    assert!(none.contains("there is no database"), "{none}");
    let running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("one\n").success();
    let told = site.ctl(&["backup", shown(&file)]).success();
    assert!(told.contains("1 accounts") && told.contains("sound"), "{told}");
    site.ctl(&["user", "add", "juliet@localhost"]).input("two\n").success();
    for (arguments, says) in [
        (&["backup", shown(&file)][..], "--overwrite"),
        (&["backup", shown(&other)], "make the directory, or name another"),
        (&["restore", shown(&file)], "--yes"),
        (&["restore", shown(&file)], "the database that is there is kept"),
        (&["--yes", "restore", shown(&file)], "stop the server first"),
        (&["--yes", "restore", shown(&site.path("jabber.xml"))], "name a file that jabberctl backup made"),
    ] {
        let code = if arguments[0] == "restore" { 2 } else { 1 };
        let told = site.ctl(arguments).fails(code);
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
    site.ctl(&["backup", shown(&file), "--overwrite"]).success();
    assert_eq!(accounts(&site), 2);
    running.stop();
    site.ctl(&["backup", shown(&site.path("stopped.db"))]).success();
    let running = site.start();
    site.ctl(&["user", "add", "paris@localhost"]).input("three\n").success();
    running.kill();
    let told = site.ctl(&["--yes", "restore", shown(&file)]).success();
    assert!(told.contains("2 accounts") && told.contains("jabber.db.before-restore-"), "{told}");
    let running = site.start();
    assert_eq!(accounts(&site), 2);
    running.stop();
    // What was put aside is whole, with what was in its log when the server was killed.
    let entries = fs::read_dir(site.path("spool")).unwrap().flatten().map(|entry| entry.path());
    let aside = entries.filter(|path| shown(path).contains("before-restore")).min().unwrap();
    assert!(site.ctl(&["--yes", "restore", shown(&aside)]).success().contains("3 accounts"));
}

#[test]
fn accounts_come_and_go_beside_a_server_that_runs() {
    let site = Site::new("export");
    let running = site.start();
    let file = site.path("in.xml");
    fs::write(&file, document(20, 10)).unwrap();
    let told = site.ctl(&["import", "xep0227", shown(&file)]).success();
    assert!(told.contains("accounts=20") && told.contains("import-report-"), "{told}");
    assert_eq!(accounts(&site), 20);
    let again = site.ctl(&["import", "xep0227", shown(&file)]).success();
    assert!(again.contains("accounts=0") && again.contains("already_here=20"), "{again}");
    let report = fs::read_dir(site.path("spool")).unwrap().flatten().map(|entry| entry.path());
    let report = report.filter(|path| shown(path).contains("import-report")).min().unwrap();
    assert!(fs::read_to_string(report).unwrap().contains("u7@localhost is here already"));
    // Before the second there was something to lose, but nothing came.
    assert!(!site.path("spool/backup").exists());

    let out = site.path("out.xml");
    assert!(site.ctl(&["export", shown(&out)]).success().contains("20 accounts"));
    let text = fs::read_to_string(&out).unwrap();
    assert_eq!(text.matches("<user name='").count(), 20);
    assert!(site.ctl(&["export", shown(&out)]).fails(1).contains("there already"));
    // Neither a link that lies there nor the mode of an older file is taken over, and a host is named as people write it.
    fs::write(site.path("victim"), "whole").unwrap();
    std::os::unix::fs::symlink(site.path("victim"), site.path("one.xml.part")).unwrap();
    assert!(site.ctl(&["export", "--host", "LocalHost", shown(&site.path("one.xml"))]).success().contains("20"));
    assert_eq!(fs::read_to_string(site.path("victim")).unwrap(), "whole");
    let spool = site.path("old");
    assert!(site.ctl(&["export", "--format", "jabberd14", shown(&spool)]).success().contains("exported 20 accounts"));
    assert!(spool.join("localhost/u3.xml").exists());
    for (arguments, code, says) in [
        (&["import", "xep0227", shown(&site.path("missing.xml"))][..], 1, "No such file"),
        (&["import", "xep0227"], 2, "FILE is missing"),
        (&["import", "ejabberd", "x"], 2, "xep0227"),
        (&["import", "jabberd14", shown(&file)], 1, "cannot import"),
        (&["export"], 2, "FILE is missing"),
        (&["export", "-"], 2, "a name of a file"),
        (&["export", "--host", "elsewhere", shown(&site.path("x"))], 1, "there is no host elsewhere"),
        (&["export", "--format", "jabberd14", "--host", "localhost", shown(&site.path("x"))], 2, "xep0227 only"),
    ] {
        let told = site.ctl(arguments).fails(code);
        assert!(told.contains(says), "{arguments:?}: {told}");
    }
    running.stop();
    // Without a server, into an empty database.
    fs::remove_dir_all(site.path("spool")).unwrap();
    let told = site.ctl(&["import", "jabberd14", shown(&spool)]).success();
    assert!(told.contains("accounts=20"), "{told}");
    assert!(site.ctl(&["import", "jabberd14", shown(&spool)]).success().contains("nothing new"));
    let running = site.start();
    assert_eq!(accounts(&site), 20);
    running.stop();
}

/// What a command that fails says to a script: the cause and the remedy.
fn refusal(site: &Site, arguments: &[&str]) -> (String, String) {
    let errors = site.ctl(&[&["--json", "--yes"], arguments].concat()).fails(1);
    let last = errors.lines().last().unwrap();
    let error: serde_json::Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{errors}"));
    let part = |name: &str| error["error"][name].as_str().unwrap().to_owned();
    (part("text"), part("remedy"))
}

#[test]
fn an_import_that_is_not_whole_is_no_success() {
    let site = Site::new("failing-import");
    let whole = document(3, 10);
    let cut = whole.split_once("name='u2'").unwrap().0;
    site.write("cut.xml", cut);
    site.write("text.xml", "no XML");
    site.write("other.xml", &whole.replace("jid='localhost'", "jid='elsewhere.example'"));
    nix::unistd::mkfifo(&site.path("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    for name in ["empty", "spool-of-others/elsewhere.example"] {
        fs::create_dir_all(site.path(name)).unwrap();
    }
    site.write("spool-of-others/elsewhere.example/a.xml", "<xdb/>");
    let rows = [
        ("xep0227", "cut.xml", "the file ends here, in the middle", "imported accounts=2 ", "import again"),
        ("xep0227", "text.xml", "it is no XML", "imported accounts=0 ", "import again"),
        ("xep0227", "other.xml", "3 users left", "left_pieces=3 ", "add their <host> to jabber.xml"),
        ("xep0227", "pipe", "not a file", "", "name a file"),
        ("xep0227", "empty", "no document", "", "import again"),
        ("xep0227", "missing.xml", "No such file", "", "name a file"),
        ("jabberd14", "empty", "no account of ours", "nothing was imported", "name the spool directory"),
        ("jabberd14", "spool-of-others", "1 user left", "left_pieces=1 ", "add their <host> to jabber.xml"),
        ("jabberd14", "cut.xml", "Not a directory", "", "name the spool directory"),
    ];
    for round in 0..2 {
        for (format, name, says, counts, remedy) in rows {
            let (text, told) = refusal(&site, &["import", format, shown(&site.path(name))]);
            // The second time nothing has become better.
            let counts = if round == 1 { counts.replace("accounts=2", "accounts=0") } else { counts.to_owned() };
            assert!(text.contains(says) && text.contains(&counts), "{name}: {text}");
            assert!(told.contains(remedy), "{name}: {told}");
        }
    }
    // Whoever sits at a terminal is told the same, and nothing is worse for it: the rest comes.
    let told = site.ctl(&["import", "xep0227", shown(&site.path("text.xml"))]).fails(1);
    assert!(told.contains("note: ") && told.contains("import again"), "{told}");
    site.write("whole.xml", &whole);
    for _ in 0..2 {
        site.ctl(&["import", "xep0227", shown(&site.path("whole.xml"))]).success();
    }
    // The one copy is that of before the first that brought something into what was there.
    let copies: Vec<_> = fs::read_dir(site.path("spool/backup")).unwrap().flatten().map(|entry| entry.path()).collect();
    assert_eq!(copies.len(), 1, "{copies:?}");
    let told = site.ctl(&["--yes", "restore", shown(&copies[0])]).success();
    assert!(told.contains("2 accounts"), "{told}");
}

#[test]
fn a_server_serves_though_its_old_spool_is_broken() {
    let site = Site::new("broken-spool");
    fs::create_dir_all(site.path("spool/localhost")).unwrap();
    site.write("spool/localhost/cut.xml", "<xdb><a");
    let running = site.start();
    let log = site.log();
    assert!(log.contains("unread=1") && log.contains("1 piece could not be read, or not to the end: see /"), "{log}");
    assert_eq!(accounts(&site), 0);
    running.stop();
}

#[test]
fn who_may_not_or_cannot_is_told_what_to_do_in_json_too() {
    let site = Site::new("remedies");
    let running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("one\n").success();
    running.stop();
    let at = |name: &str| shown(&site.path(name)).to_owned();
    site.write("there.db", "mine");
    fs::create_dir(site.path("directory")).unwrap();
    nix::unistd::mkfifo(&site.path("pipe"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    std::os::unix::fs::symlink(site.path("there.db"), site.path("link")).unwrap();
    for (arguments, says, remedy) in [
        (["backup", &at("there.db")].as_slice(), "there already", "--overwrite"),
        (&["backup", &at("no/x.db")], "No such file", "make the directory, or name another"),
        (&["backup", "--overwrite", &at("pipe")], "a pipe", "name a regular file"),
        (&["backup", "--overwrite", &at("link")], "a link to /", "name that file itself"),
        (&["backup", "--overwrite", &at("directory")], "a directory", "name a regular file"),
        (&["restore", &at("missing.db")], "No such file", "name a file that jabberctl backup made"),
        (&["restore", &at("directory")], "a directory", "name a regular file"),
        (&["restore", &at("there.db")], "no database of jabberd", "name a file that jabberctl backup made"),
        (&["export", &at("no/x.xml")], "No such file", "make the directory, or name another"),
        (&["export", &at("there.db")], "there already", "name another file"),
        (&["export", "--format", "jabberd14", &at("there.db")], "cannot export to /", "name another directory"),
    ] {
        let (text, told) = refusal(&site, arguments);
        assert!(text.contains(says) && told.contains(remedy), "{arguments:?}: {text}: {told}");
        // Said once.
        assert!(!text.contains(&told), "{arguments:?}: {text}: {told}");
    }
    assert_eq!(fs::read_to_string(site.path("there.db")).unwrap(), "mine");
    assert!(site.path("pipe").symlink_metadata().unwrap().file_type().is_fifo());
}

#[test]
fn a_mistake_in_jabber_xml_stood_between_the_admin_and_a_backup() {
    let site = Site::new("broken");
    let running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("one\n").success();
    site.write("jabber.xml", "<jabber><service>");
    let at = |name: &str| shown(&site.path(name)).to_owned();
    let (socket, database) = (at("spool/control"), at("spool/jabber.db"));
    site.write("in.xml", &document(1, 10));
    // Nothing says where the server is.
    for (arguments, remedy) in [
        (
            ["backup", &at("copy.db")].as_slice(),
            "--database FILE backup FILE; or name a server's socket: --socket FILE",
        ),
        (&["export", &at("out.xml")], "--database FILE export FILE"),
        (&["--yes", "restore", &at("copy.db")], "--database FILE restore FILE"),
        (&["import", "xep0227", &at("in.xml")], "repair it"),
    ] {
        let told = site.ctl(arguments).fails(3);
        let told = told.replace("/var/lib/jabber/jabber.db", "FILE");
        assert!(told.contains("jabber.xml failed: ") && told.contains(remedy), "{arguments:?}: {told}");
    }
    // The server that runs knows where its database is.
    for (arguments, says) in [
        (["backup", &at("copy.db")], "1 accounts"),
        (["backup", &at("old.db")], "sound"),
        (["export", &at("out.xml")], "1"),
    ] {
        let output = site.ctl(&[&["--socket", socket.as_str()], arguments.as_slice()].concat()).output();
        let part = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).unwrap();
        let (out, errors) = (part(&output.stdout), part(&output.stderr));
        assert!(output.status.code() == Some(0) && out.contains(says), "{arguments:?}: {out} {errors}");
        assert!(errors.contains(&format!("that of the server that runs: {database}")), "{arguments:?}: {errors}");
    }
    for (arguments, says) in [
        (
            ["--yes", "restore", &at("copy.db")].as_slice(),
            format!("jabber stop), then: jabberctl --database {database} "),
        ),
        (&["import", "xep0227", &at("in.xml")], "repair it".to_owned()),
        (&["export", "--format", "jabberd14", &at("old")], "repair it".to_owned()),
    ] {
        let told = site.ctl(&[&["--socket", socket.as_str()], arguments].concat()).fails(3);
        assert!(told.contains(&says), "{arguments:?}: {told}");
    }
    let named = |arguments: &[&str]| site.ctl(&[&["--database", database.as_str()], arguments].concat());
    assert!(named(&["--yes", "restore", &at("copy.db")]).fails(1).contains("stop the server first"));
    named(&["backup", &at("beside.db")]).success();
    running.stop();
    // Nobody can be asked: the admin says it.
    assert!(named(&["backup", &at("stopped.db")]).success().contains("1 accounts"));
    assert!(named(&["export", "--host", "localhost", &at("stopped.xml")]).success().contains("1 accounts"));
    assert!(named(&["--yes", "restore", &at("copy.db")]).success().contains("before-restore"));
    for (arguments, code, says) in [
        (["import", "xep0227", &at("in.xml")].as_slice(), 2, "import takes no --database"),
        (&["user", "add", "juliet@localhost"], 2, "user add takes no --database"),
        (&["export", "--format", "jabberd14", &at("old")], 2, "--database goes with the format xep0227 only"),
    ] {
        assert!(named(arguments).fails(code).contains(says), "{arguments:?}");
    }
    let directory = site.ctl(&["--database", &at("spool"), "backup", &at("x.db")]).fails(2);
    assert!(directory.contains(&format!("name the database in it: {database}")), "{directory}");
    let missing = site.ctl(&["--database", &at("missing.db"), "backup", &at("x.db")]).fails(1);
    assert!(missing.contains("there is no database"), "{missing}");
    site.write("jabber.xml", &site.xml(""));
    let running = site.start();
    assert_eq!(accounts(&site), 1);
    running.stop();
}

#[test]
fn a_backup_took_the_place_of_the_server_s_own_files() {
    let site = Site::new("own-files");
    site.start().stop();
    fs::remove_file(site.path("error.log")).unwrap();
    fs::remove_dir_all(site.path("spool/ssl")).unwrap();
    for directory in ["conf.d", "stanzas", "spool/ssl"] {
        fs::create_dir(site.path(directory)).unwrap();
    }
    let component =
        format!("<service id='files.test'><dir><in>{}</in></dir></service>", site.path("stanzas").display());
    site.write("jabber.xml", &site.xml(&component));
    std::os::unix::fs::symlink(&site.directory, site.path("spool/link")).unwrap();
    for (name, what) in [
        ("error.log", "a log"),
        ("spool/link/error.log", "a log"),
        ("jabber.pid", "the pid file"),
        ("jabber.xml", "the configuration"),
        ("conf.d/copy.db", "the directory of more configuration"),
        ("stanzas/copy.db", "a directory of stanzas"),
        ("spool/control", "a socket"),
        ("spool/ssl/localhost.pem", "a certificate"),
    ] {
        for command in ["backup", "export"] {
            let (text, remedy) = refusal(&site, &[command, shown(&site.path(name))]);
            assert!(text.contains(&format!("is {what} of the server")), "{name}: {text}");
            assert!(remedy.contains("nothing was changed"), "{remedy}");
        }
    }
    assert!(!site.path("error.log").exists() && !site.path("spool/control").exists());
    site.ctl(&["backup", shown(&site.path("spool/copy.db"))]).success();
}

/// Who may read the files of the server, and write nowhere but into `copies`: as on a disk that went read-only.
#[test]
fn a_backup_is_made_where_nothing_can_be_written_any_more() {
    const NOBODY: u32 = 65_534;
    let site = Site::new("read-only");
    let running = site.start();
    for name in ["romeo", "juliet"] {
        site.ctl(&["user", "add", &format!("{name}@localhost")]).input("one\n").success();
    }
    let program = site.program(env!("CARGO_BIN_EXE_jabberctl"));
    fs::create_dir(site.path("copies")).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&site.path("copies"), 0o777);
    let all = |file_mode, directory_mode| {
        for entry in fs::read_dir(site.path("spool")).unwrap().flatten() {
            mode(&entry.path(), if entry.path().is_dir() { directory_mode } else { file_mode });
        }
        mode(&site.path("spool"), directory_mode);
    };
    let back_up = |name: &str| {
        let mut command = Command::new(&program);
        command.arg("-c").arg(site.path("jabber.xml")).arg("backup").arg(site.path("copies").join(name));
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    // Killed: what came last is in the log alone.
    running.kill();
    all(0o444, 0o555);
    for name in ["killed.db", "without-index.db", "stopped.db"] {
        let (code, told) = back_up(name);
        assert!(code == Some(0) && told.contains("2 accounts"), "{name}: {told}");
        all(0o644, 0o755);
        match name {
            "killed.db" => fs::remove_file(site.path("spool/jabber.db-shm")).unwrap(),
            _ => site.start().stop(),
        }
        all(0o444, 0o555);
    }
    all(0o644, 0o755);
    let names: Vec<_> = fs::read_dir(site.path("copies")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(site.ctl(&["--yes", "restore", shown(&site.path("copies/killed.db"))]).success().contains("2 accounts"));
}

#[test]
fn an_export_into_a_place_of_roots_fails_once_and_not_for_each_account() {
    let site = Site::new("export-denied");
    let running = site.start();
    site.write("in.xml", &document(30, 10));
    site.ctl(&["import", "xep0227", shown(&site.path("in.xml"))]).success();
    running.stop();
    // Files that are there already: the first ones are told by name.
    let out = site.path("out");
    site.ctl(&["export", "--format", "jabberd14", shown(&out)]).success();
    let (text, remedy) = refusal(&site, &["export", "--format", "jabberd14", shown(&out)]);
    assert_eq!(text.matches("not written: ").count(), 10, "{text}");
    assert!(text.contains("20 more files") && remedy.contains("name a directory where none is"), "{text}: {remedy}");
    // A place where the server's user may not write; root becomes that user.
    let denied = site.path("denied");
    fs::create_dir(&denied).unwrap();
    fs::set_permissions(&denied, fs::Permissions::from_mode(0o555)).unwrap();
    if nix::unistd::geteuid().is_root() {
        for path in [site.path("spool"), site.path("spool/jabber.db")] {
            std::os::unix::fs::chown(path, Some(65_534), Some(65_534)).unwrap();
        }
    }
    let (text, remedy) = refusal(&site, &["export", "--format", "jabberd14", shown(&denied)]);
    assert!(text.starts_with("cannot export to /") && text.lines().count() == 1, "{text}");
    assert!(remedy.contains("name a directory"), "{remedy}");
    assert_eq!(fs::read_dir(&denied).unwrap().count(), 0);
}

/// The copy goes on when the server has answered: one that held it up, by a lock say, would wait for itself.
#[test]
fn messages_flow_while_backups_are_made() {
    const EACH_STEP: u64 = 3;
    let site = Site::new("flow");
    let running = site.start();
    let file = site.path("in.xml");
    fs::write(&file, document(300, 20_000)).unwrap();
    site.ctl(&["import", "xep0227", shown(&file)]).success();
    site.ctl(&["user", "add", "romeo@localhost"]).input("pencil\n").success();
    let mut romeo = Client::login(&site, "romeo", "pencil");
    let mut sent = 0;
    let (database, copy) = (site.path("spool/jabber.db"), site.path("copy.db"));
    for round in 1..=2 {
        let mut told = Vec::new();
        let facts = backup::make(&database, &copy, true, &mut |progress| {
            told.push(progress);
            for _ in 0..EACH_STEP {
                // One is kept, for who is away; the answer tells that it is on the disk.
                sent += 1;
                romeo.send(&format!(
                    "<message to='u1@localhost' type='chat'><body>{sent}</body></message>\
                     <message to='romeo@localhost/orchard'><body>{sent}</body></message>"
                ));
                romeo.until(&format!("<body>{sent}</body>"));
            }
            // Nor do commands wait.
            assert_eq!(accounts(&site), 301);
            ControlFlow::Continue(())
        });
        assert_eq!(facts.unwrap().accounts, 301);
        let all = told[0].all;
        let step = u64::try_from(backup::STEP_PAGES).unwrap();
        let expected: Vec<u64> = (1..=all.div_ceil(step)).map(|number| all.min(number * step)).collect();
        assert!(expected.len() > 5, "{all} pages");
        assert_eq!(told.iter().map(|progress| progress.done).collect::<Vec<_>>(), expected);
        // It is the database as it was when the copy began.
        let kept = rusqlite::Connection::open(&copy).unwrap();
        let kept = kept.query_row("SELECT count(*) FROM offline", [], |row| row.get::<_, i64>(0)).unwrap();
        let before = if round == 1 { 0 } else { sent - EACH_STEP * u64::try_from(expected.len()).unwrap() };
        assert_eq!(u64::try_from(kept).unwrap(), before, "round {round}");
    }
    let info = site.ctl(&["--json", "user", "info", "u1@localhost"]).json();
    assert_eq!(info["offline_messages"], sent, "{info}");
    // And so does jabberctl.
    let told = site.ctl(&["backup", "--overwrite", shown(&copy)]).success();
    assert!(told.contains("301 accounts"), "{told}");
    running.stop();
    assert!(site.ctl(&["--yes", "restore", shown(&copy)]).success().contains("301 accounts"));
}

#[test]
fn what_a_server_kept_in_a_file_without_a_name_could_not_be_saved() {
    let site = Site::new("displaced");
    let running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("one\n").success();
    let (here, elsewhere, copy) = (site.path("spool/jabber.db"), site.path("elsewhere.db"), site.path("copy.db"));
    fs::rename(&here, &elsewhere).unwrap();
    site.ctl(&["user", "add", "juliet@localhost"]).input("two\n").success();
    for area in ["files", "server"] {
        let told = site.ctl(&["check", area]).output();
        let text = String::from_utf8(told.stdout).unwrap();
        assert!(told.status.code() == Some(2) && text.contains("critical"), "{text}");
    }
    let (text, remedy) = refusal(&site, &["backup", shown(&copy)]);
    assert!(text.contains("is not the file that the server") && text.contains(shown(&elsewhere)), "{text}");
    assert!(remedy.contains(&format!("mv {} {}", shown(&elsewhere), shown(&here))), "{remedy}");
    fs::rename(&elsewhere, &here).unwrap();
    site.ctl(&["backup", shown(&copy)]).success();
    let told = site.ctl(&["check", "files"]).output();
    let text = String::from_utf8(told.stdout).unwrap();
    assert!(text.contains("jabber.db is whole") && !text.contains("is not the file"), "{text}");
    // Removed: then it has what the server still has open, and no name anywhere.
    fs::remove_file(&here).unwrap();
    site.ctl(&["user", "add", "paris@localhost"]).input("three\n").success();
    let (_, remedy) = refusal(&site, &["export", shown(&copy)]);
    let (rescue, then) = remedy.split_once("; then ").unwrap();
    assert_eq!(then, "stop the server, and: jabberctl restore rescued.db");
    let saved = Command::new("sh").args(["-ec", rescue]).current_dir(&site.directory).status().unwrap();
    assert!(saved.success(), "{rescue}");
    running.stop();
    let told = site.ctl(&["--yes", "restore", shown(&site.path("rescued.db"))]).success();
    assert!(told.contains("3 accounts"), "{told}");
    let running = site.start();
    assert_eq!(accounts(&site), 3);
    running.stop();
}

#[test]
fn of_two_backups_to_one_file_one_is_told_that_the_other_is_under_way() {
    let site = Site::new("two-backups");
    let running = site.start();
    site.ctl(&["user", "add", "romeo@localhost"]).input("one\n").success();
    let (database, copy) = (site.path("spool/jabber.db"), site.path("copy.db"));
    let mut refused = 0;
    let facts = backup::make(&database, &copy, false, &mut |_| {
        for more in [&["backup"][..], &["backup", "--overwrite"]] {
            let (text, remedy) = refusal(&site, &[more, &[shown(&copy)]].concat());
            assert!(text.contains("another backup or restore to this file is under way"), "{text}");
            assert!(remedy.contains("wait until that is done, or name another file"), "{remedy}");
            refused += 1;
        }
        // To another file both go on.
        site.ctl(&["backup", "--overwrite", shown(&site.path("other.db"))]).success();
        ControlFlow::Continue(())
    });
    assert_eq!((facts.unwrap().accounts, refused), (1, 2));
    site.ctl(&["backup", "--overwrite", shown(&copy)]).success();
    running.stop();
}

#[test]
fn long_work_ends_when_it_is_asked_to_and_can_be_begun_again() {
    let site = Site::new("interrupt");
    let running = site.start();
    let (file, out) = (site.path("in.xml"), site.path("out.xml"));
    fs::write(&file, document(20, 10)).unwrap();
    // It waits for whoever writes to the database, and does not end before it hears of the signal.
    let holder = rusqlite::Connection::open(site.path("spool/jabber.db")).unwrap();
    holder.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut child = site.ctl(&["import", "xep0227", shown(&file)]).spawn();
    let process = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    until("it takes signals", || {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it could be asked to");
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        // Not SIGINT: what runs in the background is often started with that ignored, and leaves it so.
        let is_caught = u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << (nix::libc::SIGTERM - 1)) != 0;
        is_caught.then_some(())
    });
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).unwrap();
    holder.execute_batch("ROLLBACK").unwrap();
    let output = child.wait_with_output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("was stopped") && told.contains("begin it again"), "{told}");
    assert!(accounts(&site) < 20);
    site.ctl(&["import", "xep0227", shown(&file)]).success();
    assert_eq!(accounts(&site), 20);
    assert!(site.ctl(&["export", shown(&out)]).success().contains("20 accounts"));
    running.stop();
}

#[test]
fn wherever_they_are_killed_nothing_is_lost_or_half_done() {
    const ACCOUNTS: u64 = 150;
    let site = Site::new("killed");
    let running = site.start();
    let (document_file, copies) = (site.path("in.xml"), site.path("copies"));
    let copy = copies.join("copy.db");
    fs::create_dir(&copies).unwrap();
    fs::write(&document_file, document(ACCOUNTS.try_into().unwrap(), 20_000)).unwrap();
    let import = ["import", "xep0227", shown(&document_file)];
    // An import beside a server that goes on serving: killed in the middle of writes to the log, which only grows while
    // somebody reads the database as it was.
    let reader = rusqlite::Connection::open(site.path("spool/jabber.db")).unwrap();
    reader.execute_batch("BEGIN; SELECT 1 FROM sqlite_schema;").unwrap();
    let mut all = 0;
    for (round, more) in [10_000, 50_000, 100_001, 300_000, 500_003].into_iter().enumerate() {
        let log = fs::metadata(site.path("spool/jabber.db-wal")).unwrap().len();
        killed_writing(&site, &import, log + more);
        site.ctl(&["user", "add", &format!("kin{round}@localhost")]).input("secret\n").success();
        let now = accounts(&site);
        assert!(now > all, "{now} after {all}");
        all = now;
    }
    drop(reader);
    site.ctl(&import).success();
    all = ACCOUNTS + 5;
    assert_eq!(accounts(&site), all);

    // A backup of it: in the middle of what it writes, and at each name that comes and goes. The one before stays.
    site.ctl(&["backup", shown(&copy)]).success();
    let bytes = fs::metadata(&copy).unwrap().len();
    let is_whole = |accounts: u64| assert_eq!(backup::verify(&copy).unwrap().accounts, accounts);
    for limit in [0, 4_096, bytes / 3, bytes / 2 + 1, bytes - 4_096, bytes - 1] {
        killed_writing(&site, &["backup", "--overwrite", shown(&copy)], limit);
        is_whole(all);
    }
    let mut places = 1;
    while killed_at(&site, &["backup", "--overwrite", shown(&copy)], &copies, places) {
        is_whole(all);
        places += 1;
        assert!(places < 100, "a backup makes no more names than that");
    }
    assert!(places > 2, "{places}");
    is_whole(all);
    let names = || fs::read_dir(&copies).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    assert_eq!(names(), ["copy.db"]);
    site.ctl(&["user", "add", "late@localhost"]).input("secret\n").success();
    running.kill();

    // A restore: wherever it ends, the database is the one or the other.
    let restore = ["--yes", "restore", shown(&copy)];
    let out = site.path("out.xml");
    let export = || {
        let told = site.ctl(&["export", shown(&out)]).success();
        fs::remove_file(&out).unwrap();
        told
    };
    for limit in [0, 4_096, bytes / 3, bytes - 1] {
        killed_writing(&site, &restore, limit);
        let told = export();
        assert!(told.contains(&format!(" {} accounts", all + 1)), "{told}");
    }
    let mut places = 1;
    while killed_at(&site, &restore, &site.path("spool"), places) {
        let told = export();
        assert!([all, all + 1].iter().any(|count| told.contains(&format!(" {count} accounts"))), "{told}");
        places += 1;
        assert!(places < 100, "a restore makes no more names than that");
    }
    assert!(places > 4, "{places}");
    site.ctl(&restore).success();
    let running = site.start();
    assert_eq!(accounts(&site), all);
    running.stop();
}
