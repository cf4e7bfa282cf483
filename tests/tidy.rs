//! The walls of the house, held by a program: which room may import which, where SQL, sockets, clocks and dice may stand,
//! how specs are cited, and that README, sample and man pages keep step with the tables. Plain text work, no crates: a rule
//! that needs a parser is too clever. Each rule carries a snippet it must refuse and one it must let pass.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test may fail loudly"
)]

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/source.rs"]
mod source;

use std::path::Path;

use source::{Tree, read_tree, split, tree};

/// One rule: what it is called, the check, a tree it must refuse, a tree it must let pass.
struct Rule {
    name: &'static str,
    check: fn(&Tree) -> Vec<String>,
    refuses: &'static [&'static [(&'static str, &'static str)]],
    allows: &'static [(&'static str, &'static str)],
}

const RULES: &[Rule] = &[
    Rule {
        name: "floors",
        check: rules::floors,
        refuses: &[
            &[("src/xml/reader.rs", "use crate::xmpp::Jid;\n")],
            &[("src/store/mod.rs", "use crate::{\n    config::Limits,\n    router::{Context, Reply},\n};\n")],
            &[("src/stream/sasl/plain.rs", "fn f() { crate::server::tick(); }\n")],
            &[("src/store/roster.rs", "use super::super::router::Context;\n")],
            &[("src/attic/mod.rs", "")],
        ],
        allows: &[
            ("src/net/tls.rs", "use crate::{config::Config, server::Input};\n// crate::main is above us\n"),
            ("src/store/roster.rs", "use super::Store;\n#[cfg(test)]\nmod tests {\n    use super::super::Store;\n}\n"),
            ("src/main.rs", "use jabber::net;\n"),
        ],
    },
    Rule {
        name: "siblings",
        check: rules::siblings,
        refuses: &[
            &[("src/modules/mam.rs", "use crate::modules::carbons;\n"), ("src/modules/carbons.rs", "")],
            &[("src/modules/mam.rs", "use super::carbons::Copy;\n"), ("src/modules/carbons.rs", "")],
            &[("src/modules/muc/subject.rs", "use super::super::ping;\n"), ("src/modules/ping.rs", "")],
            &[("src/modules/muc/subject.rs", "use crate::modules::{muc, ping};\n"), ("src/modules/ping.rs", "")],
        ],
        allows: &[
            ("src/modules/muc/subject.rs", "use super::Room;\nuse crate::modules::muc::Occupant;\n"),
            ("src/modules/muc/mod.rs", "mod subject;\n"),
            ("src/modules/mod.rs", "pub mod muc;\nuse self::muc::new;\n"),
        ],
    },
    Rule {
        name: "sql",
        check: rules::sql,
        refuses: &[
            &[("src/modules/last.rs", "const Q: &str = \"SELECT at FROM last WHERE jid = ?\";\n")],
            &[("src/router/mod.rs", "use rusqlite::Connection;\n")],
            &[("src/admin/data.rs", "let q = r#\"\n  DELETE FROM offline\"#;\n")],
        ],
        allows: &[
            ("src/store/last.rs", "const Q: &str = \"SELECT at FROM last\";\n"),
            ("src/modules/last.rs", "// SELECT is the store's word\nlet a = \"Select a name\";\n"),
        ],
    },
    Rule {
        name: "outside world",
        check: rules::outside_world,
        refuses: &[
            &[("src/server/timers.rs", "fn f() { let now = Instant::now(); }\n")],
            &[("src/modules/time.rs", "use std::time::SystemTime;\n")],
            &[("src/stream/s2s_out.rs", "use std::net::TcpStream;\n")],
            &[("src/stream/sasl/scram.rs", "let r = ring::rand::SystemRandom::new();\n")],
        ],
        allows: &[
            ("src/net/event_loop.rs", "let now = Instant::now();\nuse mio::net::TcpListener;\n"),
            (
                "src/server/mod.rs",
                "use std::net::SocketAddr;\n#[cfg(test)]\nmod tests {\n    use std::time::Instant; fn f() { Instant::now(); }\n}\n",
            ),
        ],
    },
    Rule {
        name: "rations",
        check: rules::rations,
        refuses: &[
            &[("src/stream/c2s.rs", "fn f() { log::info!(target: h, \"{peer} was refused; strangers = no\"); }\n")],
            &[("src/stream/c2s.rs", "fn f() {\n    log::warn!(\n        target: h,\n        \"x\"\n    );\n}\n")],
        ],
        allows: &[
            (
                "src/stream/c2s.rs",
                "fn f() {\n    log::info!(target: h, strangers = \"x\", by:% = p;\n        \"x\");\n}\n",
            ),
            ("src/stream/c2s/login.rs", "fn f() { log::debug!(target: h, \"x\"); }\n"),
            ("src/router/mod.rs", "fn f() { log::info!(target: h, \"x\"); }\n"),
        ],
    },
    Rule {
        name: "unsafe",
        check: rules::unsafe_code,
        refuses: &[&[("src/net/tls.rs", "fn f() { unsafe { g() } }\n")]],
        allows: &[
            ("src/daemon/signals.rs", "unsafe { g() }\n"),
            ("src/lib.rs", "#![deny(unsafe_code)]\n//! unsafe is a word here\n"),
        ],
    },
    Rule {
        name: "citations",
        check: rules::citations,
        refuses: &[
            &[("src/xml/reader.rs", "// see rfc6120\n")],
            &[("src/xml/reader.rs", "// RFC6120 §4\n")],
            &[("src/xml/reader.rs", "/// XEP 0198 says so\n")],
            &[("src/xml/reader.rs", "/// xep-0198 says so\n")],
            &[("src/xml/reader.rs", "/// XEP-198 §5\n")],
            &[("src/xml/reader.rs", "// RFC 6120, Section 4.3\n")],
            &[("src/xml/reader.rs", "// RFC 6120 section 4.3\n")],
            &[("src/xml/reader.rs", "// RFC 6120 § 4.3\n")],
            &[("tests/talks/ping.talk", "## XEP-0199, section 4.2: a ping\n")],
        ],
        allows: &[
            (
                "src/xml/reader.rs",
                "// RFC 6120 §4.3.2 and XEP-0198 §5, RFC 6121 §8.5.2.1.1; XEP-0077; this section is short\n",
            ),
            ("src/xmpp/ns.rs", "const A: &str = \"urn:ietf:rfc6120\"; // RFC 6120 §4\n"),
        ],
    },
    Rule {
        name: "words",
        check: rules::words,
        refuses: &[
            &[("src/net/utils.rs", "")],
            &[("src/router/session_manager.rs", "")],
            &[("src/router/mod.rs", "mod helpers;\n")],
            &[("src/router/mod.rs", "// TODO: later\n")],
            &[("src/router/mod.rs", "/// FIXME\n")],
            &[("src/router/mod.rs", "fn get_session() {}\n")],
        ],
        allows: &[("src/router/sessions.rs", "/// A common case; ask the manager.\nfn forget_session() {}\n")],
    },
    Rule {
        name: "orphans",
        check: rules::orphans,
        refuses: &[
            &[("src/lib.rs", "pub mod xml;\n"), ("src/xml/mod.rs", "mod reader;\n"), ("src/xml/writer.rs", "")],
            &[("src/lib.rs", "// mod xml;\n"), ("src/xml/mod.rs", "")],
        ],
        allows: &[
            ("src/lib.rs", "pub mod xml;\n"),
            ("src/main.rs", ""),
            ("src/xml/mod.rs", "pub(crate) mod reader;\n"),
            ("src/xml/reader.rs", "#[cfg(test)]\nmod tests;\n"),
            ("src/xml/reader/tests.rs", ""),
        ],
    },
    Rule {
        name: "talks",
        check: rules::talks,
        refuses: &[&[("src/modules/ping.rs", ""), ("tests/talks/time.talk", "")]],
        allows: &[("src/modules/muc/mod.rs", ""), ("src/modules/mod.rs", ""), ("tests/talks/muc.talk", "")],
    },
    Rule {
        name: "tables",
        check: rules::tables,
        refuses: &[
            &[
                ("src/modules/mod.rs", "const T: &[Row] = &[(\"mod_ping\", ping::new)];\n"),
                ("README.md", "| a | b |\n"),
            ],
            &[("src/modules/mod.rs", "(\"mod_ping\", ping::new)\n"), ("etc/jabber.xml", "<mod_pong/>\n")],
            &[("src/modules/mod.rs", "(\"mod_ping\", ping::new)\n"), ("man/jabber.xml.5", "mod_pingu\n")],
            &[("src/modules/ping.rs", "specs: &[\"XEP-0199 2.0.1\"],\n"), ("README.md", "nothing\n")],
            &[("src/modules/ping.rs", ""), ("README.md", "| XEP-0199 | Ping |\n")],
        ],
        allows: &[
            ("src/modules/mod.rs", "(\"mod_ping\", ping::new)\n"),
            ("src/modules/ping.rs", "specs: &[\"XEP-0199 2.0.1\"],\n"),
            ("README.md", "| XEP-0199 | Ping | mod_ping |\n"),
            ("etc/jabber.xml", "<mod_ping/>\n"),
            ("man/jabber.xml.5", ".B mod_ping\n"),
        ],
    },
    Rule {
        name: "licences",
        check: rules::licences,
        refuses: &[
            &[("Cargo.lock", "name = \"mio\"\nsource = \"registry\"\n"), ("debian/copyright", "Files: *\n")],
            &[
                ("Cargo.lock", "name = \"mio\"\nsource = \"registry\"\n"),
                ("debian/copyright", "Files: vendor/mio/*\nFiles: vendor/mio/src/inner/*\nFiles: vendor/old/*\n"),
            ],
        ],
        allows: &[
            (
                "Cargo.lock",
                "[[package]]\nname = \"jabber\"\nversion = \"3\"\n\n[[package]]\nname = \"mio\"\nsource = \"registry\"\n",
            ),
            (
                "debian/copyright",
                "Comment: under vendor/ or so\nFiles: *\n\nFiles: vendor/mio/*\n vendor/mio-0.8.11/*\n",
            ),
        ],
    },
    Rule {
        name: "defects",
        check: rules::defects,
        refuses: &[&[
            ("tests/defects.txt", "1 | tests/a.talk | nobody | passwords shown\n"),
            ("tests/a.talk", "## else\n"),
        ]],
        allows: &[],
    },
    Rule {
        name: "elements",
        check: rules::elements,
        refuses: &[
            &[("tests/elements.txt", "jsm/vCard | H | src/a.rs | nobody\n"), ("man/jabber.xml.5", "vCard\n")],
            &[
                ("tests/elements.txt", "jsm/vCard | H | src/config/jsm.rs | fn a\n"),
                ("src/config/jsm.rs", "fn a() {}\n"),
                ("man/jabber.xml.5", "vCard\n"),
            ],
            &[("tests/elements.txt", ""), ("src/config/jsm.rs", "    \"vCard\" | \"admin\" => f(),\n")],
            &[("tests/elements.txt", ""), ("src/config/jsm.rs", "let key = tree.attribute(\"key\");\n")],
            &[("tests/elements.txt", ""), ("man/jabber.xml.5", ".It Ic ssl , tls\n")],
            &[
                ("tests/elements.txt", "io/tls | H | src/net/tls.rs | fn a\n"),
                ("src/net/tls.rs", "fn a() {}\n"),
                ("man/jabber.xml.5", ".It Ic ip\n"),
            ],
        ],
        allows: &[
            (
                "tests/elements.txt",
                "# a list\nio/tls@key | H | src/net/tls.rs | fn a\nio/tls | N | src/config/io.rs | =>\n",
            ),
            (
                "src/config/io.rs",
                "match tree.name.as_str() {\n    \"tls\" if a == \"b\" => tree.attribute(\"key\"),\n}\n",
            ),
            ("src/net/tls.rs", "fn a() {}\n"),
            ("man/jabber.xml.5", ".It Ic tls\nwith key\n.It Ic HOST/admin\n"),
        ],
    },
    Rule {
        name: "versions",
        check: rules::versions,
        refuses: &[&[
            ("Cargo.toml", "version = \"3.0.0\"\n"),
            ("debian/changelog", "jabber (3.0.1) unstable; urgency=medium\n"),
        ]],
        allows: &[
            ("Cargo.toml", "version = \"3.0.0\"\n"),
            ("debian/changelog", "jabber (3.0.0-1) unstable; urgency=medium\n"),
        ],
    },
];

#[test]
fn the_house_is_tidy() {
    let tree = read_tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    assert!(tree.contains_key("src/lib.rs"), "the tree was not found");
    let mut findings = Vec::new();
    for rule in RULES {
        findings.extend((rule.check)(&tree).into_iter().map(|finding| format!("{}: {finding}", rule.name)));
    }
    for line in rules::sizes(&tree) {
        println!("{line}");
    }
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn every_rule_bites() {
    for rule in RULES {
        for files in rule.refuses {
            assert!(!(rule.check)(&tree(files)).is_empty(), "{} lets pass {files:?}", rule.name);
        }
        assert_eq!((rule.check)(&tree(rule.allows)), Vec::<String>::new(), "{} refuses what is fine", rule.name);
    }
}

#[test]
fn sources_are_split_into_code_comments_and_strings() {
    let rows = [
        ("let a = \"x // y\"; // z\n", "let a =         ;     \n", " z", "x // y"),
        ("a /* b /* c */ d */ e\n", "a                   e\n", " b /* c */ d ", ""),
        ("r#\"a \"b\" c\"# + b\"d\"\n", "             +     \n", "", "a \"b\" c|d"),
        ("'\"' 'a' '\\'' <'a> b\n", "             <'a> b\n", "", ""),
        ("\"a\\\"b\" c\n", "       c\n", "", "a\\\"b"),
    ];
    for (source, code, comments, strings) in rows {
        let parts = split(source);
        let texts = |list: &[(usize, String)]| list.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("|");
        assert_eq!(
            (parts.code.as_str(), texts(&parts.comments).as_str(), texts(&parts.strings).as_str()),
            (code, comments, strings)
        );
    }
}

#[test]
fn long_files_are_listed_without_their_tests() {
    let long = "let a = 1;\n".repeat(700);
    let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", "let a = 1;\n".repeat(500), "x();\n".repeat(400));
    let tree = Tree::from([("src/net/a.rs".to_string(), long), ("src/net/b.rs".to_string(), tested)]);
    assert_eq!(rules::sizes(&tree), vec!["src/net/a.rs: 700 lines without tests: is there a seam?"]);
}
