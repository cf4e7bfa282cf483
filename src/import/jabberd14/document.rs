//! One spool file: its bytes into a tree, and pieces of the tree into elements.

use roxmltree::{Document, Node, ParsingOptions};

use crate::xml::element::{Attribute, Node as Content, Text};
use crate::xml::{Element, element};
use crate::xmpp::ns;

/// 1.6's namespace of the root, which hand-made elements without `xmlns` then are in.
pub(super) const XDB: &str = "http://jabberd.org/ns/xdb";

/// Elements inside elements: what is deeper could not be sent to a client either.
const DEPTH_MAX: usize = 256;

/// Prefixes that are declared for a file that does not: 1.4 read and wrote XML without looking at namespaces, so a prefix
/// that a client had declared on its stream is lost.
const UNDECLARED_MAX: usize = 32;

/// Elements and texts of one file: each takes some hundred bytes of memory, however short it is in the file.
const NODES_MAX: u32 = 2_000_000;

/// The text of a file, by the encodings that the old server knew (expat's own).
pub(super) fn decode(bytes: Vec<u8>) -> Result<String, String> {
    match bytes.as_slice() {
        [] => return Err("the file is empty".to_owned()),
        [0xEF, 0xBB, 0xBF, rest @ ..] => return utf8(rest.to_owned()),
        [0xFF, 0xFE, rest @ ..] => return utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => return utf16(rest, u16::from_be_bytes),
        _ => {}
    }
    match declared_encoding(&bytes).as_deref() {
        None | Some("utf-8" | "utf8") => utf8(bytes),
        Some("us-ascii" | "ascii") if bytes.is_ascii() => utf8(bytes),
        Some("us-ascii" | "ascii") => Err("the file says it is ASCII and is not".to_owned()),
        // Each byte is the character of that number.
        Some("iso-8859-1" | "latin1" | "latin-1") => Ok(bytes.iter().map(|&byte| char::from(byte)).collect()),
        Some(other) => Err(format!("the encoding {other:?} is not known; convert the file to UTF-8")),
    }
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!(
            "byte {at} is not UTF-8; if the file is in Latin-1, begin it with <?xml version='1.0' encoding='ISO-8859-1'?>"
        )
    })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, String> {
    let pairs = bytes.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err("half a character of UTF-16 at the end".to_owned());
    }
    let units: Vec<u16> = pairs.filter_map(|pair| <[u8; 2]>::try_from(pair).ok()).map(unit).collect();
    String::from_utf16(&units).map_err(|_| "the file is not UTF-16, as its first bytes say".to_owned())
}

/// The encoding that an XML declaration names, in lower case (XML 1.0 §4.3.3).
fn declared_encoding(bytes: &[u8]) -> Option<String> {
    let start = bytes.get(..bytes.len().min(200))?;
    let declaration = start.strip_prefix(b"<?xml")?;
    let end = declaration.windows(2).position(|pair| pair == b"?>")?;
    let declaration = std::str::from_utf8(declaration.get(..end)?).ok()?;
    let (_, value) = declaration.split_once("encoding")?;
    let value = value.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|quote| matches!(quote, '\'' | '"'))?;
    let (name, _) = value.get(1..)?.split_once(quote)?;
    Some(name.to_ascii_lowercase())
}

/// Gives the tree of a file to `read`.
///
/// The file's own text is changed only where a prefix was never declared.
pub(super) fn with_tree<T>(text: String, read: impl FnOnce(&Document<'_>) -> T) -> Result<T, String> {
    let mut text = text;
    if is_too_deep(&text) {
        return Err(format!("damaged: elements in elements, more than {DEPTH_MAX} deep"));
    }
    for _ in 0..UNDECLARED_MAX {
        let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
        let prefix = match Document::parse_with_options(&text, options) {
            Ok(document) => return Ok(read(&document)),
            Err(roxmltree::Error::NodesLimitReached) => return Err(format!("more than {NODES_MAX} elements")),
            Err(roxmltree::Error::UnknownNamespace(prefix, _)) => prefix,
            Err(error) => return Err(format!("damaged: {error}")),
        };
        let declared = declare(&text, &prefix).ok_or_else(|| format!("damaged: the prefix {prefix:?} is unknown"))?;
        text = declared;
    }
    Err("damaged: too many prefixes that are not declared".to_owned())
}

/// The parser calls itself for each level: this is looked at before it gets to see the text. Of a text that is not well-formed
/// nothing more is promised than that it has not more levels than counted here.
fn is_too_deep(text: &str) -> bool {
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some((_, tag)) = rest.split_once('<') {
        if let Some(after) = after_no_element(tag) {
            rest = after;
            continue;
        }
        let mut quote = None;
        let end = tag.char_indices().find(|&(_, c)| {
            match quote {
                None if matches!(c, '\'' | '"') => quote = Some(c),
                Some(open) if open == c => quote = None,
                _ => {}
            }
            quote.is_none() && c == '>'
        });
        let (inside, after) = end.and_then(|(at, _)| tag.split_at_checked(at)).unwrap_or((tag, ""));
        if inside.starts_with('/') {
            depth = depth.saturating_sub(1);
        } else if !inside.ends_with('/') {
            depth += 1;
        }
        if depth > DEPTH_MAX {
            return true;
        }
        rest = after;
    }
    false
}

/// What follows a comment, a CDATA section or a processing instruction, whose text begins after its `<`.
fn after_no_element(tag: &str) -> Option<&str> {
    [("!--", "-->"), ("![CDATA[", "]]>"), ("?", "?>")].into_iter().find_map(|(begin, end)| {
        let inner = tag.strip_prefix(begin)?;
        Some(inner.split_once(end).map_or("", |(_, rest)| rest))
    })
}

/// The text with a declaration of the prefix in its root element.
fn declare(text: &str, prefix: &str) -> Option<String> {
    let mut rest = text.split_once('<')?.1;
    while let Some(after) = after_no_element(rest) {
        rest = after.split_once('<')?.1;
    }
    let root = text.len().saturating_sub(rest.len());
    let name_end = root + text.get(root..)?.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/'))?;
    let (before, after) = text.split_at_checked(name_end)?;
    let known = if prefix == "stream" { ns::STREAMS.to_owned() } else { format!("undeclared:{prefix}") };
    Some(format!("{before} xmlns:{prefix}='{known}'{after}"))
}

/// A node of the tree as an element. Elements in one of the namespaces `from` are put into `to`: what 1.4 wrote inherits
/// the namespace of the list that it stands in. `None` for what is too deep.
pub(super) fn convert(node: Node<'_, '_>, from: &[&str], to: &'static str) -> Option<Element> {
    convert_at(node, from, &Text::from(to), 0)
}

/// As [`convert`], for a target that is not known to the program.
pub(super) fn convert_into(node: Node<'_, '_>, from: &[&str], to: &str) -> Option<Element> {
    convert_at(node, from, &Text::from(to.to_owned()), 0)
}

fn convert_at(node: Node<'_, '_>, from: &[&str], to: &Text, depth: usize) -> Option<Element> {
    if depth >= DEPTH_MAX {
        return None;
    }
    let ns = node.tag_name().namespace().unwrap_or_default();
    let ns = if from.contains(&ns) { to.clone() } else { Text::from(ns.to_owned()) };
    let mut attributes = Vec::new();
    for attribute in node.attributes() {
        let value = Text::from(attribute.value().to_owned());
        let name = attribute.name().to_owned();
        attributes.push(match attribute.namespace() {
            None => Attribute::new(Text::from(""), Text::from(name), value),
            Some(ns::XML) => Attribute::new(Text::from(""), Text::from(format!("xml:{name}")), value),
            Some(ns) => Attribute::new(Text::from(ns.to_owned()), Text::from(name), value),
        });
    }
    let mut nodes: Vec<element::Node> = Vec::new();
    for child in node.children() {
        if child.is_element() {
            nodes.push(Content::Element(convert_at(child, from, to, depth + 1)?));
        } else if let Some(text) = child.text().filter(|_| child.is_text()) {
            nodes.push(Content::Text(Text::from(text.to_owned())));
        }
    }
    Some(Element::from_parts(ns, Text::from(node.tag_name().name().to_owned()), attributes, nodes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_those_of_the_old_server() {
        let rows: &[(&[u8], Result<&str, &str>)] = &[
            (b"<a>\xc3\xa4</a>", Ok("<a>ä</a>")),
            (b"\xEF\xBB\xBF<a/>", Ok("<a/>")),
            (b"\xFF\xFE<\0a\0/\0>\0", Ok("<a/>")),
            (b"\xFE\xFF\0<\0a\0/\0>", Ok("<a/>")),
            (
                b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe4</a>",
                Ok("<?xml version='1.0' encoding='ISO-8859-1'?><a>ä</a>"),
            ),
            (
                b"<?xml version=\"1.0\" encoding = \"utf-8\"?><a/>",
                Ok("<?xml version=\"1.0\" encoding = \"utf-8\"?><a/>"),
            ),
            (b"<a>\xe4</a>", Err("byte 3 is not UTF-8")),
            (b"<?xml version='1.0' encoding='KOI8-R'?><a/>", Err("\"koi8-r\" is not known")),
            (b"<?xml version='1.0' encoding='US-ASCII'?><a>\xe4</a>", Err("is ASCII and is not")),
            (b"", Err("empty")),
            (b"\xFF\xFE<", Err("half a character")),
        ];
        for (bytes, expected) in rows {
            match (decode(bytes.to_vec()), expected) {
                (Ok(text), Ok(expected)) => assert_eq!(text, *expected),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{error}"),
                (found, _) => panic!("{bytes:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn prefixes_that_nobody_declared_are_declared() {
        let text = "<?xml version='1.0'?><!-- <x --><xdb><a w:b='1'><stream:error/><x:y/></a></xdb>";
        let root = with_tree(text.to_owned(), |document| convert(document.root_element(), &[], "").unwrap()).unwrap();
        let a = root.first_child().unwrap();
        assert_eq!(a.attributes()[0].ns(), "undeclared:w");
        assert_eq!(a.children().map(|child| child.ns().to_owned()).collect::<Vec<_>>(), [ns::STREAMS, "undeclared:x"]);
    }

    #[test]
    fn damage_is_told_with_its_place() {
        let many: String = (0..40).map(|n| format!("<p{n}:a/>")).collect();
        let deep = format!("<xdb>{}{}</xdb>", "<a>".repeat(100_000), "</a>".repeat(100_000));
        let rows = [
            ("<xdb><a>".to_owned(), "damaged"),
            ("<xdb></xdb><xdb/>".to_owned(), "damaged"),
            ("<!DOCTYPE a [<!ENTITY b 'c'>]><xdb>&b;</xdb>".to_owned(), "damaged"),
            (format!("<xdb>{many}</xdb>"), "too many prefixes"),
            ("plain text".to_owned(), "damaged"),
        ];
        for (text, expected) in rows {
            let error = with_tree(text, |_| ()).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert!(with_tree(deep, |_| ()).unwrap_err().contains("deep"));
        let unclosed = format!("<xdb>{}", "<a b='>'>".repeat(100_000));
        assert!(with_tree(unclosed, |_| ()).unwrap_err().contains("deep"));
        let flat =
            format!("<xdb>{}<!-- {} --></xdb>", "<a b='>'/><b>1</b><![CDATA[<a>]]>".repeat(1_000), "<a>".repeat(999));
        assert!(with_tree(flat, |_| ()).is_ok());
    }
}
