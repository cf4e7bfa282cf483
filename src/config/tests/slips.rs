//! What people do to XML, and what they are told: phrase, line, and a word of the remedy.

use super::*;

const SLIPS: &[(&str, &str, u32, &str)] = &[
    ("<jabber>\n<a>\n</b>\n</jabber>", "mismatched tag", 3, "</a>, because <a> was opened in line 2"),
    ("<jabber>\n<a>\n</jabber>", "mismatched tag", 3, "put </a> before this tag"),
    ("<jabber>\n</a>\n</jabber>", "mismatched tag", 2, "no <a> is open here"),
    ("<jabber>\n<a>\nx", "no element found", 2, "</a>, because <a> was opened in line 2"),
    ("<jabber>\n<a/>\n", "no element found", 1, "</jabber>"),
    ("<jabber>\n<a", "unclosed token", 2, "a tag that never ends"),
    ("<jabber>\n<!-- x\n</jabber>", "unclosed token", 2, "a comment that never ends"),
    ("", "no element found", 1, "start from the example"),
    ("\n\n", "no element found", 1, "start from the example"),
    ("<jabber>\n<a>R&D</a></jabber>", "not well-formed (invalid token)", 2, "&amp;"),
    ("<jabber>\n<a>R & D</a></jabber>", "not well-formed (invalid token)", 2, "write &amp; in place of &"),
    ("<jabber>\n<a>AT&T;</a></jabber>", "undefined entity", 2, "&amp;"),
    ("<jabber>\n<a>&uuml;</a></jabber>", "undefined entity", 2, "write the character itself"),
    ("<jabber>\n<a b='R&D'/></jabber>", "", 2, "&amp;"),
    ("<jabber>\n<!-- a\n<!-- b --> c -->\n</jabber>", "not well-formed (invalid token)", 3, "opened in line 2"),
    ("<jabber>\n<!-- a -- b -->\n</jabber>", "not well-formed (invalid token)", 2, "write one dash"),
    ("<jabber>\n<a b='c>\n<d e='f'/></a></jabber>", "not well-formed (invalid token)", 2, "closing quote"),
    ("<jabber>\n<a b=c/></jabber>", "not well-formed (invalid token)", 2, "put quotes around the value"),
    (
        "<jabber>\n<a b=\u{201d}c\u{201d}/></jabber>",
        "not well-formed (invalid token)",
        2,
        "an editor or a web page has changed it",
    ),
    ("\0\0\0\0", "not well-formed (invalid token)", 1, "the control character U+0000"),
    ("<jabber>\n<a>\u{fffe}</a></jabber>", "not well-formed (invalid token)", 2, "U+FFFE, which XML does not have"),
    ("<jabber>\n<a b='1' b='2'/></jabber>", "duplicate attribute", 2, "b= twice in one tag"),
    ("<jabber>\n<a>1 < 2</a></jabber>", "not well-formed (invalid token)", 2, "write &lt; in place of <"),
    ("<jabber>\n</jabber>\n<service/>", "junk after document element", 3, "move the root's end tag"),
    ("<jabber>\n</jabber>\nx", "junk after document element", 3, "move the root's end tag"),
    ("x\n<jabber/>", "not well-formed (invalid token)", 1, "delete what stands before the first <"),
    ("\n<?xml version='1.0'?>\n<jabber/>", "xml declaration not at start of external entity", 2, "empty lines"),
    ("<!DOCTYPE jabber>\n<jabber/>", "document type not supported", 1, "DOCTYPE"),
    ("<jabber>\n\u{1}</jabber>", "not well-formed (invalid token)", 2, "control character U+0001"),
    ("<jabber><a></a\n</jabber>", "", 2, ""),
];

#[test]
fn slips_are_explained() {
    for (text, phrase, line, word) in SLIPS {
        let error = read(text).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.starts_with(&format!("Configuration parsing using test.xml failed: {phrase}")),
            "{text}\n{shown}"
        );
        assert_eq!(error.problems[0].place.line, *line, "{text}\n{shown}");
        assert!(shown.contains(word), "{text}\n{shown}");
        assert!(shown.contains("remedy:"), "{shown}");
    }
}

#[test]
fn a_whole_message_looks_like_this() {
    let error = read("<jabber>\n  <!-- Jack & Jill -->\n  <name>Jack & Jill</name>\n</jabber>").unwrap_err();
    assert_eq!(
        error.to_string(),
        "Configuration parsing using test.xml failed: not well-formed (invalid token) at line 3 and column 14\n\
         \x20     3 |   <name>Jack & Jill</name>\n\
         \x20 found:    a bare & in \"& Jill</name>\"\n\
         \x20 expected: &amp; for the character &\n\
         \x20 remedy:   write &amp; in place of &"
    );
}

#[test]
fn undeclared_prefixes_move_nothing() {
    // On the root's own line, after the root's name, and with prefixes that nobody knows.
    let text = "<!-- <x> --><jabber a='1'><foo:bar baz:x='1'/><service/>\n<acl:a/><jabberd:cmdline flag='h'>x</jabberd:cmdline>\n<service/></jabber>";
    let error = read(text).unwrap_err();
    let places: Vec<_> = error.problems.iter().map(|p| (p.place.line, p.place.column, p.what.as_str())).collect();
    assert_eq!(
        places,
        [
            (1, 27, "Invalid Tag type: bar"),
            (1, 47, "Section needs an 'id' attribute"),
            (2, 1, "Invalid Tag type: a"),
            (3, 1, "Section needs an 'id' attribute")
        ]
    );
    let broken = read("<jabber><jabberd:include>x</jabberd:include></foo>").unwrap_err();
    assert_eq!((broken.problems[0].place.line, broken.problems[0].place.column), (1, 45));
    let many: String = (0..40).map(|n| format!("<p{n}:x/>")).collect();
    assert!(read(&format!("<jabber>{many}</jabber>")).is_err());
}

#[test]
fn a_declared_prefix_counts_in_both_forms() {
    for declaration in ["", " xmlns:jabberd='http://jabberd.org/ns/configfile/replace'", " xmlns:jabberd='urn:other'"] {
        let text = format!(
            "<jabber{declaration}><service id='sessions'><host><jabberd:cmdline flag='h'>a.test</jabberd:cmdline></host>\
             <jsm xmlns='jabber:config:jsm'/></service></jabber>"
        );
        assert_eq!(read(&text).unwrap().hosts[0].name, "a.test", "{declaration}");
    }
}

#[test]
fn nesting_has_an_end() {
    let text = format!("<jabber>{}{}</jabber>", "<a>".repeat(5000), "</a>".repeat(5000));
    assert!(read(&text).unwrap_err().to_string().contains("nested too deeply"));
}
