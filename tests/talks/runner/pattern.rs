//! What the server must say, compared as trees: the order of attributes, prefixes and quotes do not count; the order of
//! children does.

use std::collections::BTreeMap;

use jabber::xml::reader::{Event, Limits, Reader, StreamHeader};
use jabber::xml::{Element, Node};

/// What talks remember: clients' full JIDs, and what `{name}` stood for first.
pub type Names = BTreeMap<String, String>;

/// What was heard.
#[derive(Clone, Debug)]
pub enum Heard {
    /// A stream header.
    Header(Box<StreamHeader>),
    /// A first-level element.
    Element(Element),
    /// White space between elements.
    Whitespace,
    /// The end of the stream.
    End,
}

/// One thing that must be heard.
#[derive(Clone, Debug)]
pub enum Expected {
    /// A header with these attributes.
    Header(Vec<(String, String)>),
    /// An element like this.
    Element(Element),
    /// White space.
    Whitespace,
    /// The end of the stream.
    End,
}

const STREAMS: &str = "http://etherx.jabber.org/streams";
/// The content namespace of components' streams (XEP-0114).
const COMPONENT: &str = "jabber:component:accept";
const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
/// What stands before a first-level element of a talk.
/// Its root has another name than a stream's, for patterns have headers in it.
const CONTEXT: &str = "<stream:talk xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>";

/// Bounds for what our own server says.
pub fn no_limits() -> Limits {
    Limits { frame_bytes: 1 << 26, depth: 1_000, elements: 1 << 20, attributes: 1_000, name_bytes: 10_000 }
}

/// Reads the text of an `S:` line: one thing after the other.
pub fn parse(text: &str) -> Result<Vec<Expected>, String> {
    let text = text.replace("{header}", "<stream:stream version='{any}' id='{any}'>");
    let mut all = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let length = extent(rest)?;
        let (item, after) = rest.split_at(length);
        all.push(expected(item)?);
        rest = after.trim_start();
    }
    if all.is_empty() { Err("nothing is expected: write `hears nothing`".to_string()) } else { Ok(all) }
}

fn expected(item: &str) -> Result<Expected, String> {
    if let Some(word) = item.strip_prefix('{').and_then(|item| item.strip_suffix('}')) {
        return match word.split_once(' ').unwrap_or((word, "")) {
            ("features", "") => element("<stream:features>{any}</stream:features>"),
            ("space", "") => Ok(Expected::Whitespace),
            ("stream-error", condition) => element(&format!(
                "<stream:error><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>{{more}}</stream:error>"
            )),
            ("sasl-failure", condition) => {
                element(&format!("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><{condition}/>{{more}}</failure>"))
            }
            _ => Err(format!("what is {item}?")),
        };
    }
    if item == "</stream:stream>" {
        return Ok(Expected::End);
    }
    if item.starts_with("<stream:stream") {
        // Closed here, so that the reader takes it for an element and gives all its attributes.
        let text = format!("{}/>", item.trim_end_matches('>'));
        let Expected::Element(header) = element(&text)? else { unreachable!() };
        let all = header.attributes().iter().map(|item| (item.name().to_string(), item.value().to_string()));
        // A declaration is no attribute.
        let component = item.contains(COMPONENT).then(|| ("xmlns".to_string(), COMPONENT.to_string()));
        return Ok(Expected::Header(all.chain(component).collect()));
    }
    element(item)
}

fn element(text: &str) -> Result<Expected, String> {
    let mut reader = Reader::new(no_limits());
    reader.push(CONTEXT.as_bytes());
    reader.push(text.as_bytes());
    let first = reader.next();
    match (first, reader.next(), reader.next()) {
        (Ok(Some(Event::Opened(_))), Ok(Some(Event::Element(element))), Ok(None)) => Ok(Expected::Element(element)),
        (_, Err(error), _) => Err(format!("not XML ({error:?}): {text}")),
        _ => Err(format!("not one element: {text}")),
    }
}

/// How long the first thing in `text` is.
fn extent(text: &str) -> Result<usize, String> {
    if text.starts_with('{') {
        return text.find('}').map(|at| at + 1).ok_or("a brace is not closed".to_string());
    }
    if text.starts_with("<stream:stream") || text.starts_with("</stream:stream") {
        return tag_end(text, 0).ok_or("a tag is not closed".to_string());
    }
    if !text.starts_with('<') {
        return Err(format!("neither a tag nor a brace: {text}"));
    }
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        let end = tag_end(text, at).ok_or("a tag is not closed")?;
        let tag = &text[at..end];
        if tag.starts_with("</") {
            depth = depth.checked_sub(1).ok_or("too many end tags")?;
        } else if !tag.ends_with("/>") {
            depth += 1;
        }
        if depth == 0 {
            return Ok(end);
        }
        at = end + text[end..].find('<').ok_or("an element is not closed")?;
    }
}

fn tag_end(text: &str, start: usize) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices().skip_while(|(at, _)| *at < start) {
        match (quote, c) {
            (None, '\'' | '"') => quote = Some(c),
            (None, '>') => return Some(at + 1),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
    }
    None
}

/// Compares; what is remembered by it goes into `names`. The error says where the difference is.
pub fn compare(expected: &Expected, heard: &Heard, names: &mut Names) -> Result<(), String> {
    let mut found = names.clone();
    match (expected, heard) {
        (Expected::Header(wanted), Heard::Header(header)) => same_header(wanted, header, &mut found)?,
        (Expected::Element(wanted), Heard::Element(element)) => {
            same_element(wanted, element, &mut found, wanted.name())?;
        }
        (Expected::Whitespace, Heard::Whitespace) | (Expected::End, Heard::End) => {}
        _ => return Err("something else".to_string()),
    }
    *names = found;
    Ok(())
}

fn same_header(wanted: &[(String, String)], header: &StreamHeader, names: &mut Names) -> Result<(), String> {
    if header.ns != STREAMS || header.name != "stream" || header.prefix != "stream" {
        return Err("the root element is not <stream:stream> in its namespace".to_string());
    }
    let content = wanted.iter().find(|(name, _)| name == "xmlns").map_or("jabber:client", |(_, ns)| ns);
    if header.content_ns != content {
        return Err(format!("the content namespace is {}", header.content_ns));
    }
    // Clients from before RFC 3920 take a version for a promise of features.
    if header.version.is_some() && !wanted.iter().any(|(name, _)| name == "version") {
        return Err("a version is told".to_string());
    }
    for (name, pattern) in wanted {
        let value = match name.as_str() {
            "xmlns" => continue,
            "from" => &header.from,
            "to" => &header.to,
            "id" => &header.id,
            "version" => &header.version,
            "xml:lang" => &header.lang,
            _ => return Err(format!("what header has {name}?")),
        };
        let value = value.as_ref().ok_or(format!("no {name}"))?;
        same_text(pattern, value, names).map_err(|why| format!("{name}: {why}"))?;
    }
    Ok(())
}

fn same_element(wanted: &Element, found: &Element, names: &mut Names, path: &str) -> Result<(), String> {
    if (wanted.name(), wanted.ns()) != (found.name(), found.ns()) {
        return Err(format!("{path}: <{} xmlns='{}'>", found.name(), found.ns()));
    }
    for attribute in wanted.attributes() {
        let (name, same) =
            (attribute.name(), |a: &&jabber::xml::Attribute| a.name() == attribute.name() && a.ns() == attribute.ns());
        let value = found.attributes().iter().find(same).ok_or(format!("{path}: no attribute {name}"))?;
        same_text(attribute.value(), value.value(), names).map_err(|why| format!("{path}/@{name}: {why}"))?;
    }
    for attribute in found.attributes() {
        let same = |a: &jabber::xml::Attribute| a.name() == attribute.name() && a.ns() == attribute.ns();
        if !wanted.attributes().iter().any(same) {
            return Err(format!("{path}: the attribute {}='{}'", attribute.name(), attribute.value()));
        }
    }
    same_content(wanted, found, names, path)
}

fn same_content(wanted: &Element, found: &Element, names: &mut Names, path: &str) -> Result<(), String> {
    let text = wanted.text();
    if wanted.children().next().is_none() && text.trim() == "{any}" {
        return Ok(());
    }
    let macros: Vec<&str> = wanted_macros(&text);
    if let Some(error) = macros.iter().find_map(|word| word.strip_prefix("error ")) {
        return same_error(error, found, path);
    }
    let wanted_children: Vec<&Element> = wanted.children().collect();
    let children: Vec<&Element> = found.children().collect();
    if macros.contains(&"more") {
        let mut used = vec![false; children.len()];
        for wanted in wanted_children {
            let path = format!("{path}/{}", wanted.name());
            let mut fits = |at: &usize| {
                let mut trial = names.clone();
                let fits = !used[*at] && same_element(wanted, children[*at], &mut trial, &path).is_ok();
                if fits {
                    *names = trial;
                }
                fits
            };
            let at = (0..children.len()).find(|at| fits(at)).ok_or(format!("{path}: there is none like it"))?;
            used[at] = true;
        }
        return Ok(());
    }
    for (index, child) in children.iter().enumerate() {
        let wanted = wanted_children.get(index).ok_or(format!("{path}: a further child <{}>", child.name()))?;
        same_element(wanted, child, names, &format!("{path}/{}", wanted.name()))?;
    }
    if let Some(missing) = wanted_children.get(children.len()) {
        return Err(format!("{path}: no child <{}>", missing.name()));
    }
    if wanted_children.is_empty() {
        return same_text(&text, &found.text(), names).map_err(|why| format!("{path}: {why}"));
    }
    let stray = found.nodes().iter().find(|node| matches!(node, Node::Text(text) if !text.trim().is_empty()));
    match (stray, text.trim()) {
        (None, "") => Ok(()),
        _ => same_text(text.trim(), found.text().trim(), names).map_err(|why| format!("{path}: {why}")),
    }
}

/// The braces among the children of an element.
fn wanted_macros(text: &str) -> Vec<&str> {
    text.split('{').skip(1).filter_map(|part| part.split_once('}')).map(|(word, _)| word).collect()
}

/// `{error TYPE CONDITION}`: code and text are free, and what was asked may be repeated (RFC 6120 §8.3.1).
fn same_error(wanted: &str, found: &Element, path: &str) -> Result<(), String> {
    let (kind, condition) = wanted.split_once(' ').ok_or("an error has a type and a condition")?;
    let errors: Vec<&Element> = found.children().filter(|child| child.name() == "error").collect();
    let [error] = errors.as_slice() else { return Err(format!("{path}: not one <error/>")) };
    if error.ns() != found.ns() {
        return Err(format!("{path}/error: in the namespace {}", error.ns()));
    }
    if error.attribute("type") != Some(kind) {
        return Err(format!("{path}/error: the type is {:?}", error.attribute("type")));
    }
    if error.child(condition, STANZA_ERRORS).is_none() {
        return Err(format!("{path}/error: it is {:?}", error.first_child()));
    }
    Ok(())
}

/// Compares text with a pattern: `{any}` is any text, `{name}` what it was at first.
pub fn same_text(pattern: &str, text: &str, names: &mut Names) -> Result<(), String> {
    let mut trial = names.clone();
    if fits(pattern, text, &mut trial) {
        *names = trial;
        return Ok(());
    }
    Err(format!("'{text}', not '{}'", filled(pattern, names)))
}

fn fits(pattern: &str, text: &str, names: &mut Names) -> bool {
    let Some((literal, rest)) = pattern.split_once('{') else { return pattern == text };
    let Some((name, after)) = rest.split_once('}') else { return pattern == text };
    let Some(text) = text.strip_prefix(literal) else { return false };
    if let Some(value) = names.get(name) {
        return text.strip_prefix(value.as_str()).is_some_and(|text| fits(after, text, &mut names.clone()));
    }
    let shortest = usize::from(name != "any");
    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]).filter(|at| *at >= shortest);
    for end in ends {
        let mut trial = names.clone();
        if name != "any" {
            trial.insert(name.to_string(), text[..end].to_string());
        }
        if fits(after, &text[end..], &mut trial) {
            *names = trial;
            return true;
        }
    }
    false
}

/// A pattern with what is known already.
pub fn filled(pattern: &str, names: &Names) -> String {
    names.iter().fold(pattern.to_string(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
}

/// For the transcript.
impl std::fmt::Display for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Heard::Header(header) => {
                f.write_str("<stream:stream")?;
                let attributes = [
                    ("from", &header.from),
                    ("to", &header.to),
                    ("id", &header.id),
                    ("version", &header.version),
                    ("xml:lang", &header.lang),
                ];
                for (name, value) in attributes {
                    value.iter().try_for_each(|value| write!(f, " {name}='{value}'"))?;
                }
                f.write_str(">")
            }
            Heard::Element(element) => f.write_str(&shown(element)),
            Heard::Whitespace => f.write_str("{space}"),
            Heard::End => f.write_str("</stream:stream>"),
        }
    }
}

fn shown(element: &Element) -> String {
    let mut text = String::new();
    jabber::xml::writer::element(&mut text, element, "jabber:client");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_compared() {
        let rows = [
            ("<a b='1' c='2'/>", "<a c='2' b='1'/>", true),
            ("<a b='1'/>", "<a/>", false),
            ("<a/>", "<a b='1'/>", false),
            ("<a b='{any}'/>", "<a b='x'/>", true),
            ("<a b='{any}'/>", "<a/>", false),
            ("<a b='{x}'><c d='{x}'/></a>", "<a b='1'><c d='1'/></a>", true),
            ("<a b='{x}'><c d='{x}'/></a>", "<a b='1'><c d='2'/></a>", false),
            ("<a b='{romeo}'/>", "<a b='r@h/home'/>", true),
            ("<a b='{romeo}'/>", "<a b='r@h/other'/>", false),
            ("<a b='x{y}z'/>", "<a b='xqqz'/>", true),
            ("<a b='x{y}z'/>", "<a b='xz'/>", false),
            ("<a>{any}</a>", "<a><b/>c</a>", true),
            ("<a>{any}b</a>", "<a>xxb</a>", true),
            ("<a>b</a>", "<a>c</a>", false),
            ("<a>b</a>", "<a> b</a>", false),
            ("<a><b/></a>", "<a> <b/> </a>", true),
            ("<a><b/></a>", "<a>x<b/></a>", false),
            ("<a><b/><c/></a>", "<a><c/><b/></a>", false),
            ("<a><c/><b/>{more}</a>", "<a><b/><d/><c/></a>", true),
            ("<a><b/><b/>{more}</a>", "<a><b/><d/></a>", false),
            ("<a xmlns='x'/>", "<p:a xmlns:p='x'/>", true),
            ("<a xmlns='x'/>", "<a/>", false),
            (
                "<iq>{error cancel conflict}</iq>",
                "<iq><query xmlns='q'/><error code='409' type='cancel'>\
                 <conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
                true,
            ),
            ("<iq>{error cancel conflict}</iq>", "<iq/>", false),
            (
                "<iq>{error wait conflict}</iq>",
                "<iq><error type='cancel'><conflict xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
                false,
            ),
            (
                "{stream-error conflict}",
                "<stream:error><conflict xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
                 <text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>t</text></stream:error>",
                true,
            ),
        ];
        for (wanted, found, same) in rows {
            let mut names = Names::from([("romeo".to_string(), "r@h/home".to_string())]);
            let wanted_parsed = parse(wanted).unwrap().remove(0);
            let Expected::Element(element) = parse(found).unwrap().remove(0) else { panic!() };
            let outcome = compare(&wanted_parsed, &Heard::Element(element), &mut names);
            assert_eq!(outcome.is_ok(), same, "{wanted} {found} {outcome:?}");
        }
    }

    #[test]
    fn a_line_may_expect_several_things() {
        let all = parse("{header} {features}<a><b>></b></a> {stream-error x}</stream:stream>").unwrap();
        assert!(matches!(
            all.as_slice(),
            [Expected::Header(_), Expected::Element(_), Expected::Element(_), Expected::Element(_), Expected::End]
        ));
        for wrong in ["", "text", "<a>", "<a></a></a>", "{what}", "<a/", "{any"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
