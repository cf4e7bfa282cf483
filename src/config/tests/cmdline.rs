//! jabberd 1.4's command line, and ours.

use super::*;
use crate::config::cmdline::{Action, HELP, UsageError};

fn parse(arguments: &[&str]) -> Result<CommandLine, UsageError> {
    CommandLine::parse(arguments.iter().map(|argument| (*argument).into()))
}

#[test]
fn letters_as_in_1_4() {
    let line = parse(&["-h", "a.test", "-s", "/spool", "-Bc", "x.xml", "-q", "foo", "-DH", "/home"]).unwrap();
    assert_eq!(line.flags.get("h").map(String::as_str), Some("a.test"));
    assert_eq!(line.flags.get("s").map(String::as_str), Some("/spool"));
    assert_eq!(line.flags.get("q").map(String::as_str), Some("foo"));
    assert_eq!(line.config_file(), Path::new("x.xml"));
    assert_eq!(line.home.as_deref(), Some(Path::new("/home")));
    assert!(line.background && line.debug);
    assert_eq!(line.warnings.len(), 1);
    // A cluster takes its values in order.
    let line = parse(&["-ch", "x.xml", "a.test"]).unwrap();
    assert_eq!((line.config_file(), line.flags.get("h").map(String::as_str)), (PathBuf::from("x.xml"), Some("a.test")));
    assert_eq!(parse(&[]).unwrap().config_file(), Path::new("/etc/jabber/jabber.xml"));
    // A value may begin with a dash.
    assert_eq!(parse(&["-h", "-x"]).unwrap().flags.get("h").map(String::as_str), Some("-x"));
}

#[test]
fn long_names() {
    let line =
        parse(&["--config=x.xml", "--host", "a.test", "--spooldir", "/s", "--user=jabber", "--home", "/h"]).unwrap();
    assert_eq!(line.config_file(), Path::new("x.xml"));
    assert_eq!(line.flags.get("h").map(String::as_str), Some("a.test"));
    assert_eq!(line.flags.get("s").map(String::as_str), Some("/s"));
    assert_eq!(line.user.as_deref(), Some("jabber"));
    let line = parse(&["--define", "realm:x:y", "--include", "a.xml,b.xml", "--background", "--debug"]).unwrap();
    assert_eq!(line.flags.get("realm").map(String::as_str), Some("x:y"));
    assert_eq!(line.include, [PathBuf::from("a.xml"), PathBuf::from("b.xml")]);
    assert!(line.background && line.debug);
    assert_eq!(parse(&["--import", "/old"]).unwrap().import.as_deref(), Some(Path::new("/old")));
}

#[test]
fn actions() {
    for (arguments, action) in [
        (&["--test"] as &[&str], Action::Test),
        (&["--test", "-c", "x"], Action::Test),
        (&["-v"], Action::Version),
        (&["-BV"], Action::Version),
        (&["-vh"], Action::Version),
        (&["--version"], Action::Version),
        (&["--help"], Action::Help),
        (&["-?"], Action::Help),
        (&["--usage"], Action::Help),
        (&["-h", "--help"], Action::Run),
    ] {
        assert_eq!(parse(arguments).unwrap().action, action, "{arguments:?}");
    }
}

#[test]
fn bad_usage_says_what_is_wrong() {
    for (arguments, word) in [
        (&["-h"] as &[&str], "for help say --help"),
        (&["-c"], "-c needs a value"),
        (&["jabber.xml"], "'jabber.xml' has no dash"),
        (&["-"], "'-' has no dash"),
        (&["--nonsense"], "there is no option --nonsense"),
        (&["--config"], "--config needs a value"),
        (&["--test=x"], "--test takes no value"),
        (&["-x", "novalue"], "KEY:VALUE"),
        (&["-d", "much"], "-d needs a number"),
    ] {
        let error = parse(arguments).unwrap_err().to_string();
        assert!(error.contains(word) && error.contains("jabberd --help"), "{arguments:?}: {error}");
    }
}

#[test]
fn debug_masks() {
    for (mask, debug) in [("0", false), ("4", true), ("0x10", true), ("00", false), ("010", true)] {
        assert_eq!(parse(&["-d", mask]).unwrap().debug, debug, "{mask}");
    }
}

#[test]
fn help_fits_a_terminal() {
    assert!(HELP.lines().all(|line| line.len() <= 80) && HELP.lines().count() < 45);
    for option in ["--test", "--config", "--host", "--spooldir", "--user", "--background", "--debug", "--version"] {
        assert!(HELP.contains(option), "{option}");
    }
}
