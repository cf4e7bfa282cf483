//! What a person did when a file is not well-formed: the parser's complaint turned into a line, a cause and a remedy.
//!
//! The first phrase of each is that of expat, the parser of jabberd 1.4, because people search for it.

use std::path::Path;
use std::sync::Arc;

use roxmltree::Error as XmlError;

use super::document::{Lines, line_of};
use super::error::{Place, Problem};

/// Phrase, byte offset, what was found, what was expected, what to do.
struct Slip {
    what: &'static str,
    offset: usize,
    found: String,
    expected: String,
    remedy: String,
}

const INVALID_TOKEN: &str = "not well-formed (invalid token)";

/// Explains why a text is not well-formed; `offset` is where the parser stopped.
pub(super) fn explain(text: &str, file: &Arc<Path>, error: &XmlError, offset: usize) -> Problem {
    let lines = Lines::new(text);
    let slip = slip(text, &lines, error, offset.min(text.len()));
    let (line, column) = lines.position(slip.offset);
    Problem {
        place: Place { file: Arc::clone(file), line, column },
        excerpt: line_of(text, line).filter(|excerpt| !excerpt.trim().is_empty()),
        what: slip.what.to_owned(),
        found: slip.found,
        expected: slip.expected,
        remedy: slip.remedy,
    }
}

fn slip(text: &str, lines: &Lines<'_>, error: &XmlError, offset: usize) -> Slip {
    let outline = Outline::of(text, offset_or_end(error, text, offset));
    let new = |what, found: String, expected: &str, remedy: &str| Slip {
        what,
        offset,
        found,
        expected: expected.to_owned(),
        remedy: remedy.to_owned(),
    };
    match error {
        XmlError::UnexpectedCloseTag(expected, actual, _) => mismatched(lines, &outline, expected, actual, offset),
        XmlError::UnclosedRootNode | XmlError::UnexpectedEndOfStream => ended_early(text, lines, &outline),
        XmlError::NoRootNode => new(
            "no element found",
            "no element at all".to_owned(),
            "<jabber> with everything else inside",
            "start from the example in /usr/share/jabber/jabber.xml",
        ),
        XmlError::MalformedEntityReference(_) => new(
            INVALID_TOKEN,
            format!("a bare & in \"{}\"", around(text, offset)),
            "&amp; for the character &",
            "write &amp; in place of &",
        ),
        XmlError::UnknownEntityReference(name, _) => new(
            "undefined entity",
            format!("&{name};"),
            "&amp; &lt; &gt; &quot; &apos; or a number like &#252;",
            "write the character itself, or &amp; if an & was meant",
        ),
        XmlError::InvalidComment(_) => comment(text, lines, offset),
        XmlError::InvalidAttributeValue(_) | XmlError::InvalidChar(b'"' | b'\'', b'<', _) => Slip {
            what: INVALID_TOKEN,
            // The tag with the lonely quote, not the innocent one that follows.
            offset: text.get(..offset).and_then(|before| before.rfind('<')).unwrap_or(offset),
            found: format!("a < inside quotes, in line {}", lines.position(offset).0),
            expected: "the second quote of each value before the next tag, or &lt; for the character <".to_owned(),
            remedy: "look for an attribute of this tag without its closing quote".to_owned(),
        },
        XmlError::DuplicatedAttribute(name, _) => {
            new("duplicate attribute", format!("{name}= twice in one tag"), "each attribute once", "delete one of them")
        }
        XmlError::DtdDetected => new(
            "document type not supported",
            "<!DOCTYPE".to_owned(),
            "no document type",
            "delete the <!DOCTYPE ...> part, and write its entities out",
        ),
        XmlError::UnexpectedDeclaration(_) => declaration(new),
        _ => other(text, error, offset, new),
    }
}

/// Errors without a position are about the whole text.
fn offset_or_end(error: &XmlError, text: &str, offset: usize) -> usize {
    match error {
        XmlError::UnclosedRootNode | XmlError::UnexpectedEndOfStream => text.len(),
        _ => offset,
    }
}

fn declaration(new: impl Fn(&'static str, String, &str, &str) -> Slip) -> Slip {
    new(
        "xml declaration not at start of external entity",
        "<?xml ...?> in the middle of the file".to_owned(),
        "it as the very first thing, once",
        "delete empty lines and blanks before it, or the second one",
    )
}

fn mismatched(lines: &Lines<'_>, outline: &Outline<'_>, expected: &str, actual: &str, offset: usize) -> Slip {
    let opened = outline.open.last().filter(|(name, _)| *name == expected).map(|(_, at)| lines.position(*at).0);
    let from = opened.map(|line| format!(", because <{expected}> was opened in line {line}")).unwrap_or_default();
    let remedy = if outline.open.iter().any(|(name, _)| *name == actual) {
        format!("put </{expected}> before this tag, or end that tag with /> if it is meant to be empty")
    } else {
        format!("no <{actual}> is open here: correct the name, or delete the tag; was its start commented out?")
    };
    Slip {
        what: "mismatched tag",
        offset,
        found: format!("</{actual}>"),
        expected: format!("</{expected}>{from}"),
        remedy,
    }
}

fn ended_early(text: &str, lines: &Lines<'_>, outline: &Outline<'_>) -> Slip {
    if let Some((what, at)) = outline.unfinished {
        return Slip {
            what: "unclosed token",
            offset: at,
            found: format!("{what} that never ends"),
            expected: format!("{} before the end of the file", if what == "a comment" { "-->" } else { ">" }),
            remedy: format!("end what line {} begins", lines.position(at).0),
        };
    }
    let (name, at) = outline.open.last().copied().unwrap_or(("jabber", 0));
    let last = text.trim_end().len();
    Slip {
        what: "no element found",
        offset: at,
        found: format!("the end of the file, in line {}", lines.position(last).0),
        expected: format!("</{name}>, because <{name}> was opened in line {}", lines.position(at).0),
        remedy: format!("add </{name}> where it belongs; a forgotten / at the end of an empty tag does this, too"),
    }
}

fn comment(text: &str, lines: &Lines<'_>, offset: usize) -> Slip {
    let inside = text.get(offset.saturating_add(4)..).unwrap_or_default();
    let inside = inside.split_once("-->").map_or(inside, |(inside, _)| inside);
    let first = lines.position(offset).0;
    let dashes = offset + 4 + inside.find("--").unwrap_or(0);
    match inside.find("<!--") {
        Some(at) => Slip {
            what: INVALID_TOKEN,
            offset: offset + 4 + at,
            found: format!("<!-- inside the comment that was opened in line {first}"),
            expected: "the end of that comment, --> first: comments cannot stand inside comments".to_owned(),
            remedy: "delete the inner <!-- and its -->, or end the outer comment before it".to_owned(),
        },
        None => Slip {
            what: INVALID_TOKEN,
            offset: dashes,
            found: format!("-- inside the comment that was opened in line {first}"),
            expected: "no two dashes inside a comment".to_owned(),
            remedy: "write one dash".to_owned(),
        },
    }
}

fn other(text: &str, error: &XmlError, offset: usize, new: impl Fn(&'static str, String, &str, &str) -> Slip) -> Slip {
    let rest = text.get(offset..).unwrap_or_default();
    let before = text.get(..offset).unwrap_or_default();
    let in_root = !Outline::of(text, offset).open.is_empty();
    if rest.is_empty() {
        return ended_early(text, &Lines::new(text), &Outline::of(text, text.len()));
    }
    if let Some(control) = rest.chars().next().filter(|c| c.is_control() && !c.is_whitespace()) {
        return new(
            INVALID_TOKEN,
            format!("the control character U+{:04X}", u32::from(control)),
            "printable text",
            "delete it; an editor may show it as ^@ or ^[. A file full of ^@ was lost with the disk: take a backup",
        );
    }
    if before.ends_with('<') || (rest.starts_with('<') && !matches!(error, XmlError::UnknownToken(_))) {
        return new(
            INVALID_TOKEN,
            format!("a < that begins no tag, near \"{}\"", around(text, offset)),
            "&lt; for the character <",
            "write &lt; in place of <, or complete the tag",
        );
    }
    match error {
        XmlError::UnknownToken(_) | XmlError::InvalidName(_) if !in_root && before.contains('<') => new(
            "junk after document element",
            format!("\"{}\" after the end of the root element", around(text, offset)),
            "the end of the file",
            "delete it, or move the root's end tag to the end of the file",
        ),
        XmlError::UnknownToken(_) if !in_root => new(
            INVALID_TOKEN,
            format!("\"{}\" before the first tag", around(text, offset)),
            "<jabber> with everything else inside",
            "delete what stands before the first <",
        ),
        XmlError::NonXmlChar(character, _) => new(
            INVALID_TOKEN,
            format!("the character U+{:04X}, which XML does not have", u32::from(*character)),
            "printable text",
            "delete it",
        ),
        XmlError::InvalidString("a quote", _) | XmlError::InvalidChar2("a quote", _, _)
            if rest.starts_with(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}', '\u{ab}', '\u{bb}']) =>
        {
            new(
                INVALID_TOKEN,
                format!("a printer's quotation mark near \"{}\"", around(text, offset)),
                "name=\"value\", with the quotes of a keyboard",
                "write \" in place of it, at both ends of the value: an editor or a web page has changed it",
            )
        }
        XmlError::InvalidString("a quote", _) | XmlError::InvalidChar2("a quote", _, _) => new(
            INVALID_TOKEN,
            format!("a value without quotes near \"{}\"", around(text, offset)),
            "name=\"value\"",
            "put quotes around the value",
        ),
        _ => new(
            INVALID_TOKEN,
            format!("{} near \"{}\"", plain(error), around(text, offset)),
            "well-formed XML",
            "compare the line with those around it: quotes, =, < and > in pairs",
        ),
    }
}

/// The parser's own words without its position.
fn plain(error: &XmlError) -> String {
    let text = error.to_string();
    text.rsplit_once(" at ").map_or(text.clone(), |(words, _)| words.to_owned())
}

/// A few characters from an offset on, to recognise the spot.
fn around(text: &str, offset: usize) -> String {
    let rest = text.get(offset..).unwrap_or_default();
    rest.chars().take(20).take_while(|&c| c != '\n').collect::<String>().trim_end().replace(char::is_control, " ")
}

/// Which elements are open at some point, as far as a text can be understood.
pub(super) struct Outline<'t> {
    /// Name and offset of each start tag without its end tag.
    open: Vec<(&'t str, usize)>,
    /// A comment or a tag without its end, and where it begins.
    unfinished: Option<(&'static str, usize)>,
    /// The first tag with too many elements around it. Start tags are counted so that there can be less of them in truth,
    /// never more.
    pub(super) too_deep: Option<usize>,
}

impl<'t> Outline<'t> {
    pub(super) fn of(text: &'t str, until: usize) -> Outline<'t> {
        let mut outline = Outline { open: Vec::new(), unfinished: None, too_deep: None };
        let mut at = 0;
        while let Some(found) = text.get(at..until).and_then(|rest| rest.find('<')) {
            at += found;
            let rest = text.get(at..).unwrap_or_default();
            let (end, what) = match rest {
                _ if rest.starts_with("<!--") => ("-->", "a comment"),
                _ if rest.starts_with("<![CDATA[") => ("]]>", "a <![CDATA[ section"),
                _ if rest.starts_with("<?") => ("?>", "a <? instruction"),
                _ => (">", "a tag"),
            };
            let length = if end == ">" { tag_length(rest) } else { rest.find(end) };
            let Some(length) = length else {
                outline.unfinished = Some((what, at));
                return outline;
            };
            if end == ">" {
                outline.tag(rest.get(1..length).unwrap_or_default(), at);
            }
            at += length + end.len();
        }
        outline
    }

    fn tag(&mut self, inside: &'t str, at: usize) {
        let name = |text: &'t str| text.split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default();
        if let Some(closed) = inside.strip_prefix('/') {
            if let Some(index) = self.open.iter().rposition(|(open, _)| *open == name(closed)) {
                self.open.truncate(index);
            }
        } else if !inside.ends_with('/') && !inside.starts_with('!') {
            self.open.push((name(inside), at));
            if self.open.len() > super::document::DEPTH_MAX {
                self.too_deep.get_or_insert(at);
            }
        }
    }
}

/// Bytes of a tag before its `>`, where a `>` in quotes is none.
fn tag_length(rest: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in rest.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            _ => {}
        }
    }
    // Without its second quote, the first > must do.
    rest.find('>')
}
