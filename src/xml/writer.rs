//! Elements into text. Nobody else writes XML.
//!
//! A default namespace is declared wherever it differs from the parent's; the two prefixes that streams need (`stream`,
//! and `db` between servers) are declared in the stream header and used here by namespace.

use super::element::{Element, Node};

/// Namespace of stream elements, written with the prefix `stream` (RFC 6120 §4.8.5).
const STREAMS: &str = "http://etherx.jabber.org/streams";
/// Namespace of dialback elements, written with the prefix `db` (XEP-0220 §2.1).
const DIALBACK: &str = "jabber:server:dialback";

/// Writes an element into a context whose default namespace is `default_ns`.
pub fn element(out: &mut String, element: &Element, default_ns: &str) {
    start_tag(out, element, default_ns, Default::default());
}

/// Writes a stanza with other addresses than it carries: a fan-out shares all but its start tag.
/// `None` leaves the attribute as it is; children are written once for all receivers.
pub fn stanza(out: &mut String, element: &Element, default_ns: &str, from: Option<&str>, to: Option<&str>) {
    start_tag(out, element, default_ns, Addresses { from, to, shared: true });
}

#[derive(Default, Clone, Copy)]
struct Addresses<'a> {
    from: Option<&'a str>,
    to: Option<&'a str>,
    shared: bool,
}

fn start_tag(out: &mut String, element: &Element, default_ns: &str, addresses: Addresses<'_>) {
    out.push('<');
    let prefix = match element.ns() {
        ns if ns == default_ns => "",
        STREAMS => "stream:",
        DIALBACK => "db:",
        _ => "",
    };
    out.push_str(prefix);
    out.push_str(element.name());
    if prefix.is_empty() && element.ns() != default_ns {
        attribute(out, "xmlns", element.ns());
    }
    let mut declared = 0;
    for item in element.attributes() {
        match (item.ns(), item.name()) {
            ("", "from") if addresses.from.is_some() => {}
            ("", "to") if addresses.to.is_some() => {}
            ("", name) => attribute(out, name, item.value()),
            (ns, name) => {
                declared += 1;
                attribute(out, &format!("xmlns:n{declared}"), ns);
                attribute(out, &format!("n{declared}:{name}"), item.value());
            }
        }
    }
    if let Some(from) = addresses.from {
        attribute(out, "from", from);
    }
    if let Some(to) = addresses.to {
        attribute(out, "to", to);
    }
    if element.nodes().is_empty() {
        out.push_str("/>");
        return;
    }
    out.push('>');
    // Inside a prefixed element the default namespace is still the context's.
    let inner_ns = if prefix.is_empty() { element.ns() } else { default_ns };
    match addresses.shared.then(|| element.written_children()).flatten() {
        Some(text) => out.push_str(text),
        None => nodes(out, element.nodes(), inner_ns),
    }
    out.push_str("</");
    out.push_str(prefix);
    out.push_str(element.name());
    out.push('>');
}

/// Writes nodes into a context whose default namespace is `default_ns`.
pub fn nodes(out: &mut String, nodes: &[Node], default_ns: &str) {
    for node in nodes {
        match node {
            Node::Element(child) => element(out, child, default_ns),
            Node::Text(text) => escape(out, text),
        }
    }
}

/// Writes ` name='value'`.
pub fn attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("='");
    escape_all(out, value, true);
    out.push('\'');
}

/// Writes text with the five predefined entities (RFC 6120 §11.1 allows no others).
pub fn escape(out: &mut String, text: &str) {
    escape_all(out, text, false);
}

/// White space that a parser would normalise (XML 1.0 §2.11, §3.3.3) is kept as character references.
fn escape_all(out: &mut String, text: &str, in_attribute: bool) {
    let mut rest = text;
    while let Some((before, from)) = rest.split_at_checked(plain_bytes(rest.as_bytes(), in_attribute)) {
        out.push_str(before);
        let mut chars = from.chars();
        out.push_str(match chars.next() {
            None => return,
            Some('\n') => "&#10;",
            Some('\t') => "&#9;",
            Some('<') => "&lt;",
            Some('>') => "&gt;",
            Some('&') => "&amp;",
            Some('\'') => "&apos;",
            Some('"') => "&quot;",
            Some('\r') => "&#13;",
            // XML has no way to write it: a text of ours went wrong, and must not cost the reader's stream.
            Some(_) => "\u{FFFD}",
        });
        rest = chars.as_str();
    }
}

/// How many bytes come before the first that is written in another way. All of these are ASCII.
fn plain_bytes(bytes: &[u8], in_attribute: bool) -> usize {
    /// So many are looked at at once, by instructions for whole vectors.
    const BLOCK: usize = 16;
    let special = |byte: &u8| {
        matches!(byte, b'<' | b'>' | b'&' | b'\'' | b'"' | 0..=8 | 11..=31)
            | (in_attribute & matches!(byte, b'\n' | b'\t'))
    };
    let is_plain = |block: &[u8]| !block.iter().fold(false, |any, byte| any | special(byte));
    let skipped = bytes.chunks_exact(BLOCK).take_while(|block| is_plain(block)).count().saturating_mul(BLOCK);
    let rest = bytes.get(skipped..).unwrap_or_default();
    // The last ones at once, too, though some of them were looked at before.
    if rest.len() < BLOCK && bytes.last_chunk::<BLOCK>().is_some_and(|last| is_plain(last)) {
        return bytes.len();
    }
    skipped.saturating_add(rest.iter().position(special).unwrap_or(rest.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(item: &Element, default_ns: &str) -> String {
        let mut out = String::new();
        element(&mut out, item, default_ns);
        out
    }

    #[test]
    fn namespaces_are_declared_where_they_change() {
        let item = Element::new("features", STREAMS)
            .with_child(Element::new("bind", "urn:b").with_child(Element::new("x", "jabber:client")));
        assert_eq!(
            written(&item, "jabber:client"),
            "<stream:features><bind xmlns='urn:b'><x xmlns='jabber:client'/></bind></stream:features>"
        );
    }

    #[test]
    fn text_is_escaped() {
        let item = Element::new("a", "n").with_attribute("b", "<'\"&>\r\n".to_string()).with_text("]]>".to_string());
        assert_eq!(written(&item, "n"), "<a b='&lt;&apos;&quot;&amp;&gt;&#13;&#10;'>]]&gt;</a>");
        // A text of ours that XML cannot carry does not break the stream of who reads it.
        let wrong = Element::new("a", "n").with_attribute("b", "\u{1b}\u{c}").with_text("\0x\u{1f}\t");
        assert_eq!(written(&wrong, "n"), "<a b='\u{FFFD}\u{FFFD}'>\u{FFFD}x\u{FFFD}\t</a>");
        // Wherever it stands.
        for before in 0..70 {
            let plain = "ä".repeat(before / 2) + &"a".repeat(before % 2 + before);
            let item = Element::new("a", "n").with_text(format!("{plain}\r\n\t<{plain}"));
            assert_eq!(written(&item, "n"), format!("<a>{plain}&#13;\n\t&lt;{plain}</a>"));
        }
    }

    #[test]
    fn a_fan_out_changes_only_addresses() {
        let item = Element::new("presence", "jabber:client")
            .with_attribute("to", "x")
            .with_child(Element::new("show", "jabber:client"));
        let mut out = String::new();
        stanza(&mut out, &item, "jabber:client", Some("a"), Some("b"));
        assert_eq!(out, "<presence from='a' to='b'><show/></presence>");
    }
}
