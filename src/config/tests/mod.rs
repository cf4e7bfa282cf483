//! The configuration from outside: fixtures, elements one by one, slips of the pen, mutated files.

use super::*;

mod cmdline;
mod elements;
mod files;
mod fixtures;
mod mutation;
mod networks;
mod slips;
mod treatment;

/// A file below tests/fixtures/config.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config").join(name)
}

/// A text as a file with nothing around it.
fn read(text: &str) -> Result<Config, Error> {
    Config::from_xml(text, &Source { file: "test.xml".into(), home: "/home".into(), ..Source::default() })
}

/// A working configuration with `more` as further children of the root.
fn with(more: &str) -> Result<Config, Error> {
    read(&format!(
        "<jabber><service id='sessions'><host>a.test</host><jsm xmlns='jabber:config:jsm'/></service>{more}</jabber>"
    ))
}

/// A working configuration with these children of `<jsm>`.
fn with_jsm(inside: &str) -> Result<Config, Error> {
    read(&format!(
        "<jabber><service id='sessions'><host>a.test</host><jsm xmlns='jabber:config:jsm'>{inside}</jsm></service></jabber>"
    ))
}

/// A working configuration with these children of `<pthcsock>`.
fn with_pthcsock(inside: &str) -> Result<Config, Error> {
    with(&format!("<service id='c2s'><pthcsock xmlns='jabber:config:pth-csock'>{inside}</pthcsock></service>"))
}

/// The notices as `LINE: text`.
fn notices(config: &Config) -> Vec<String> {
    config.notices.iter().map(|notice| format!("{}: {}", notice.place.line, notice.text)).collect()
}
