//! What was said, in a form in which only what matters differs.
//!
//! Left out on both sides, for each time it is a difference on purpose:
//!
//! - Deviation: ids of streams are 128 bits of chance, not the time (the originals' let digests be replayed).
//! - Deviation: the answer to an iq has `from` and `to` as RFC 6120 §8.1.2 has them; the originals left out one or both, or
//!   put the receiver's own full JID into `from`. Same for roster pushes, which have an id as well.
//! - Deviation: an error has `code`, `type`, condition and perhaps a text, as RFC 6120 §8.3 asks; 1.4.3 had a code and a text.
//!   Codes are compared. What was refused is not repeated in it where it could hold a password (defect 1).
//! - Deviation: delay stamps are XEP-0203's with XEP-0091's beside it, one of each (the originals: one or two of the latter).
//! - Deviation: a stream that ends is closed with its end tag (the originals: without one).
//! - Deviation: a session's own presence comes back to it, as RFC 6121 §4.2.2 has it.
//! - Deviation: a host has the features that it has today; what is compared of disco#info are its identities.
//! - Times, and white space between elements, say nothing.

use jabber::xml::{Element, Node};

use super::replay::Conversation;

const ERRORS: &[&str] = &["urn:ietf:params:xml:ns:xmpp-stanzas", "urn:ietf:params:xml:ns:xmpp-streams"];

/// An element in its comparable form.
pub fn form(element: &Element) -> String {
    let is_iq = element.name() == "iq";
    let kind = element.attribute("type").unwrap_or_default();
    let mut out = format!("<{}", element.name());
    let mut attributes: Vec<(&str, &str)> =
        element.attributes().iter().map(|item| (item.name(), item.value())).collect();
    let is_push = is_iq && kind == "set" && element.children().any(|child| child.is("query", "jabber:iq:roster"));
    if is_iq && (kind == "result" || is_push) {
        attributes.retain(|(name, _)| *name != "from" && *name != "to" && (*name != "id" || !is_push));
    }
    if is_iq && kind == "error" {
        attributes.retain(|(name, _)| *name != "from" && *name != "to");
    }
    // Whoever pushes chooses the id.
    attributes.retain(|(name, value)| *name != "id" || !value.starts_with("push"));
    attributes.sort_unstable();
    for (name, value) in attributes {
        out.push_str(&format!(" {name}='{value}'"));
    }
    out.push('>');
    let is_refused = kind == "error" && is_iq;
    for child in element.children() {
        if child.name() == "error" {
            out.push_str(&refusal(child));
        } else if is_delay(child) {
            if !out.ends_with("<delay/>") {
                out.push_str("<delay/>");
            }
        } else if !is_refused {
            out.push_str(&inner(child, element.ns()));
        }
    }
    out
}

fn is_delay(element: &Element) -> bool {
    element.ns() == "jabber:x:delay" || element.ns() == "urn:xmpp:delay"
}

fn refusal(error: &Element) -> String {
    match error.attribute("code") {
        Some(code) => format!("<error code='{code}'/>"),
        None => "<error/>".to_string(),
    }
}

/// A stream error: its condition, where there is one.
pub fn stream_error(error: &Element) -> String {
    let condition = error.children().find(|child| ERRORS.contains(&child.ns()) && child.name() != "text");
    format!("<stream:error>{}", condition.map_or("", Element::name))
}

fn inner(element: &Element, around: &str) -> String {
    let mut out = format!("<{}", element.name());
    if element.ns() != around {
        out.push_str(&format!(" xmlns='{}'", element.ns()));
    }
    let is_roster = element.ns() == "jabber:iq:roster";
    let has_no_order = is_roster || element.ns() == "jabber:iq:time";
    let mut attributes: Vec<(&str, &str)> =
        element.attributes().iter().map(|item| (item.name(), item.value())).collect();
    // RFC 6121 §2.1.1: the version of the roster, which the originals do not know.
    attributes.retain(|(name, _)| !(is_roster && *name == "ver"));
    attributes.sort_unstable();
    for (name, value) in attributes {
        let value = if name == "stamp" || name == "seconds" { "…" } else { value };
        out.push_str(&format!(" {name}='{value}'"));
    }
    out.push('>');
    let mut parts: Vec<String> = Vec::new();
    let is_time = element.ns() == "jabber:iq:time" && ["utc", "display"].contains(&element.name());
    for node in element.nodes() {
        match node {
            Node::Element(child) if child.is("feature", "http://jabber.org/protocol/disco#info") => {}
            Node::Element(child) => parts.push(inner(child, element.ns())),
            Node::Text(text) if text.trim().is_empty() => {}
            Node::Text(_) if is_time => parts.push("…".to_string()),
            Node::Text(text) => parts.push(text.trim().replace('\n', "\\n")),
        }
    }
    if has_no_order {
        parts.sort_unstable();
    }
    out.push_str(&parts.concat());
    out.push_str(&format!("</{}>", element.name()));
    out
}

/// What the original said and we do not (`-`), and what we say and it did not (`+`).
pub fn differences(conversation: &Conversation) -> Vec<String> {
    let (theirs, ours) = (&conversation.theirs, &conversation.ours);
    // The longest common subsequence, by the book: conversations are short.
    let mut lengths = vec![vec![0_usize; ours.len() + 1]; theirs.len() + 1];
    for i in (0..theirs.len()).rev() {
        for j in (0..ours.len()).rev() {
            lengths[i][j] =
                if theirs[i] == ours[j] { lengths[i + 1][j + 1] + 1 } else { lengths[i + 1][j].max(lengths[i][j + 1]) };
        }
    }
    let party = if conversation.party.is_empty() { "C" } else { &conversation.party };
    let (mut i, mut j) = (0, 0);
    let mut found = Vec::new();
    while i < theirs.len() || j < ours.len() {
        if i < theirs.len() && j < ours.len() && theirs[i] == ours[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == ours.len() || (i < theirs.len() && lengths[i + 1][j] >= lengths[i][j + 1]) {
            found.push(format!("{party} - {}", theirs[i]));
            i += 1;
        } else {
            found.push(format!("{party} + {}", ours[j]));
            j += 1;
        }
    }
    found
}

/// Where two lists first differ.
pub fn first_difference<'a>(
    listed: &[&'a String],
    found: &[&'a String],
) -> Option<(Option<&'a String>, Option<&'a String>)> {
    let length = listed.len().max(found.len());
    (0..length).map(|at| (listed.get(at).copied(), found.get(at).copied())).find(|(one, other)| one != other)
}
