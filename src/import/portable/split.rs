//! A document cut into the pieces that are worth looking at alone: start tags of what holds others, and whole elements.
//!
//! A document of a hundred thousand users does not fit into memory as a tree, and one fault in it would cost them all. So
//! it is cut by its tags alone, into text that the parser then sees piece by piece: what is not well-formed costs the piece
//! it is in, and the cutting goes on with the next tag that can begin one. Comments and processing instructions go.
//! What a document type could declare is refused, since entities can make a small file huge.

use std::io::{self, BufRead};

/// Bytes of one piece: a user with all messages and a photograph is some megabytes.
pub(super) const PIECE_BYTES_MAX: usize = 64 << 20;
/// Elements inside elements: what is deeper could not be sent to a client either.
const DEPTH_MAX: usize = 256;

/// What the document says next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A whole element, as text.
    Whole { text: String, line: u64 },
    /// An element that is broken, as far as its name and attributes go, and why.
    Broken { tag: String, line: u64, why: &'static str },
    /// The end tag of what holds the pieces.
    End,
    /// The document ends before that tag.
    Cut,
}

/// One piece of markup, or the text before the next.
enum Token {
    Text,
    Start {
        name: String,
        is_empty: bool,
    },
    End(String),
    /// A tag that another one begins in.
    Torn,
    /// Comment, processing instruction, declaration.
    Nothing,
    DocumentType,
    Eof,
}

/// Cuts a document.
pub(super) struct Splitter<R> {
    input: R,
    line: u64,
    /// The text of the last token.
    token: Vec<u8>,
    /// A start tag that was read and belongs to the next piece.
    ahead: Option<(String, Vec<u8>, bool)>,
}

impl<R: BufRead> Splitter<R> {
    pub(super) fn new(input: R) -> Splitter<R> {
        Splitter { input, line: 1, token: Vec::new(), ahead: None }
    }

    /// The line that is being read.
    pub(super) fn line(&self) -> u64 {
        self.line
    }

    /// The start tag of the document, or of an element whose children are to be told one by one. `None` when there is
    /// none, or it is empty.
    pub(super) fn open(&mut self) -> Result<Option<String>, Failure> {
        let bom = self.input.fill_buf()?.starts_with(&[0xEF, 0xBB, 0xBF]);
        if bom {
            self.input.consume(3);
        }
        loop {
            match self.token()? {
                Token::Start { is_empty, .. } => {
                    let tag =
                        utf8(std::mem::take(&mut self.token)).ok_or(Failure::Text("not UTF-8; convert it (iconv)"))?;
                    return Ok((!is_empty).then_some(tag));
                }
                Token::Text if self.token.iter().all(u8::is_ascii_whitespace) => {}
                Token::Nothing => {
                    if has_foreign_encoding(&self.token) {
                        return Err(Failure::Text("its encoding is not UTF-8; convert it (iconv)"));
                    }
                }
                Token::Eof => return Ok(None),
                Token::DocumentType => return Err(Failure::Text("it has a document type, which is not read")),
                Token::Text | Token::End(_) | Token::Torn => return Err(Failure::Text("it is no XML")),
            }
        }
    }

    /// The next child of what was opened last. `opens` says of a start tag whether the children of that element are to be
    /// told one by one as well; then it is given as a piece that has no end tag.
    pub(super) fn next(&mut self, opens: impl Fn(&str) -> bool) -> Result<Piece, Failure> {
        loop {
            let (name, is_empty, line) = match self.ahead.take() {
                Some((name, tag, is_empty)) => {
                    self.token = tag;
                    (name, is_empty, self.line)
                }
                None => match self.token()? {
                    Token::Start { name, is_empty } => (name, is_empty, self.line),
                    Token::End(_) => return Ok(Piece::End),
                    Token::Eof => return Ok(Piece::Cut),
                    Token::DocumentType => return Err(Failure::Text("it has a document type, which is not read")),
                    Token::Nothing if has_foreign_encoding(&self.token) => {
                        return Err(Failure::Text("its encoding is not UTF-8; convert it (iconv)"));
                    }
                    Token::Text | Token::Nothing => continue,
                    Token::Torn => {
                        return Ok(Piece::Broken {
                            tag: String::new(),
                            line: self.line,
                            why: "a tag that does not end",
                        });
                    }
                },
            };
            let tag = String::from_utf8_lossy(&self.token).into_owned();
            if is_empty || opens(&tag) {
                return Ok(Piece::Whole { text: tag, line });
            }
            return self.whole(name, tag, line);
        }
    }

    /// The rest of an element whose start tag was read.
    fn whole(&mut self, first: String, tag: String, line: u64) -> Result<Piece, Failure> {
        let mut text = std::mem::take(&mut self.token);
        let mut open = vec![first.clone()];
        let mut why = None;
        while why.is_none() {
            match self.token()? {
                Token::Text => text.extend_from_slice(&self.token),
                Token::Start { name, is_empty } => {
                    if open.len() == 1 && name == first {
                        // It never stands in one of its own: the end tag of this one is missing.
                        self.ahead = Some((name, std::mem::take(&mut self.token), is_empty));
                        return Ok(Piece::Broken { tag, line, why: "it does not end before the next one begins" });
                    }
                    text.extend_from_slice(&self.token);
                    if !is_empty {
                        open.push(name);
                    }
                    if open.len() > DEPTH_MAX {
                        why = Some("elements in elements, too deep");
                    }
                }
                Token::End(name) => {
                    if open.pop().is_some_and(|expected| expected == name) {
                        text.extend_from_slice(&self.token);
                    } else {
                        why = Some("an end tag without its start tag");
                        if name == first {
                            return Ok(Piece::Broken { tag, line, why: "an end tag is missing in it" });
                        }
                    }
                    if open.is_empty() && why.is_none() {
                        return Ok(match utf8(text) {
                            Some(text) => Piece::Whole { text, line },
                            None => Piece::Broken { tag, line, why: "not UTF-8" },
                        });
                    }
                }
                Token::Nothing => {}
                Token::Torn => why = Some("a tag that does not end"),
                Token::DocumentType => why = Some("a document type in the middle"),
                Token::Eof => return Ok(Piece::Broken { tag, line, why: "the file ends in the middle of it" }),
            }
            if text.len() > PIECE_BYTES_MAX {
                why = Some("longer than 64 megabytes");
            }
        }
        self.recover(&first)?;
        Ok(Piece::Broken { tag, line, why: why.unwrap_or_default() })
    }

    /// Goes on to where the next one may begin: after the end tag of this one, or at a start tag of its kind.
    fn recover(&mut self, first: &str) -> Result<(), Failure> {
        loop {
            match self.token()? {
                Token::End(name) if name == first => return Ok(()),
                Token::Start { name, is_empty } if name == first => {
                    self.ahead = Some((name, std::mem::take(&mut self.token), is_empty));
                    return Ok(());
                }
                Token::Eof => return Ok(()),
                _ => {}
            }
        }
    }

    fn token(&mut self) -> Result<Token, Failure> {
        self.token.clear();
        if self.input.fill_buf()?.first() != Some(&b'<') {
            return Ok(if self.take_text()? { Token::Text } else { Token::Eof });
        }
        self.input.consume(1);
        self.token.push(b'<');
        loop {
            if !self.scan()? {
                return Ok(Token::Torn);
            }
            match kind(&self.token) {
                Some(token) => return Ok(token),
                None if self.token.len() > PIECE_BYTES_MAX => return Ok(Token::Torn),
                None => {}
            }
        }
    }

    /// Takes what is up to and with the next `>`. False where there is none, or another tag begins before it.
    fn scan(&mut self) -> Result<bool, Failure> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(false);
            }
            // The second byte says what it is: a tag has no `<` in it, not even in a value (XML 1.0 §2.3).
            let is_tag = !matches!(self.token.get(1).or(buffer.first()), Some(b'!' | b'?'));
            let at = if is_tag { memchr::memchr2(b'>', b'<', buffer) } else { memchr::memchr(b'>', buffer) };
            let (taken, found) = match at.map(|at| (at, buffer.get(at))) {
                Some((at, Some(b'<'))) => (at, Some(false)),
                Some((at, _)) => (at.saturating_add(1), Some(true)),
                None => (buffer.len(), None),
            };
            let piece = buffer.get(..taken).unwrap_or_default();
            self.line = self.line.saturating_add(memchr::memchr_iter(b'\n', piece).count() as u64);
            if self.token.len() <= PIECE_BYTES_MAX {
                self.token.extend_from_slice(piece);
            }
            self.input.consume(taken);
            if let Some(found) = found {
                return Ok(found);
            }
        }
    }

    /// Takes text up to the next markup. False at the end of the file.
    fn take_text(&mut self) -> Result<bool, Failure> {
        loop {
            let buffer = self.input.fill_buf()?;
            if buffer.is_empty() {
                return Ok(!self.token.is_empty());
            }
            let at = memchr::memchr(b'<', buffer);
            let taken = at.unwrap_or(buffer.len());
            let piece = buffer.get(..taken).unwrap_or_default();
            self.line = self.line.saturating_add(memchr::memchr_iter(b'\n', piece).count() as u64);
            if self.token.len() <= PIECE_BYTES_MAX {
                self.token.extend_from_slice(piece);
            }
            self.input.consume(taken);
            if at.is_some() {
                return Ok(true);
            }
        }
    }
}

/// Why a document is not read any further.
#[derive(Debug)]
pub(super) enum Failure {
    Io(io::Error),
    Text(&'static str),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::Io(error)
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Io(error) => write!(f, "{error}"),
            Failure::Text(why) => f.write_str(why),
        }
    }
}

/// What a piece of markup is that ends with `>`; `None` if that is not its end.
fn kind(token: &[u8]) -> Option<Token> {
    if token.starts_with(b"<!--") {
        return (token.len() >= 7 && token.ends_with(b"-->")).then_some(Token::Nothing);
    }
    if token.starts_with(b"<![CDATA[") {
        return token.ends_with(b"]]>").then_some(Token::Text);
    }
    if token.starts_with(b"<?") {
        return token.ends_with(b"?>").then_some(Token::Nothing);
    }
    if token.starts_with(b"<!") {
        return Some(Token::DocumentType);
    }
    let inner = token.get(1..token.len().saturating_sub(1)).unwrap_or_default();
    if let Some(name) = inner.strip_prefix(b"/") {
        return Some(Token::End(String::from_utf8_lossy(name.trim_ascii()).into_owned()));
    }
    // A `>` may stand in a value.
    let mut quote = None;
    for &byte in inner {
        match quote {
            None if matches!(byte, b'\'' | b'"') => quote = Some(byte),
            Some(open) if open == byte => quote = None,
            _ => {}
        }
    }
    if quote.is_some() {
        return None;
    }
    let is_empty = inner.ends_with(b"/");
    let name = inner.split(|byte| byte.is_ascii_whitespace() || *byte == b'/').next().unwrap_or_default();
    Some(Token::Start { name: String::from_utf8_lossy(name).into_owned(), is_empty })
}

fn has_foreign_encoding(declaration: &[u8]) -> bool {
    let text = String::from_utf8_lossy(declaration).to_ascii_lowercase();
    let Some((_, value)) = text.strip_prefix("<?xml ").and_then(|text| text.split_once("encoding")) else {
        return false;
    };
    !["utf-8", "utf8", "us-ascii", "ascii"].iter().any(|name| {
        value.trim_start_matches(|c: char| c == '=' || c.is_whitespace() || c == '"' || c == '\'').starts_with(name)
    })
}

fn utf8(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok()
}

/// The namespaces that a start tag declares, as pairs of attribute name and value, both as they are written.
pub(super) fn declared(tag: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = tag;
    while let Some((before, after)) = rest.split_once('=') {
        let name = before.split_ascii_whitespace().next_back().unwrap_or_default();
        let after = after.trim_start();
        let Some(quote) = after.chars().next().filter(|c| matches!(c, '\'' | '"')) else { break };
        let Some((value, more)) = after.strip_prefix(quote).and_then(|after| after.split_once(quote)) else { break };
        if name == "xmlns" || name.starts_with("xmlns:") {
            found.push((name.to_owned(), format!("{quote}{value}{quote}")));
        }
        rest = more;
    }
    found
}

/// A piece with what is declared around it written into its start tag, so that it can be read alone.
pub(super) fn alone(text: &str, around: &[(String, String)]) -> String {
    let end = text.find('>').unwrap_or(text.len());
    let own = declared(text.get(..end).unwrap_or(text));
    let name_end = text.find(|c: char| c.is_ascii_whitespace() || matches!(c, '>' | '/')).unwrap_or(text.len());
    let (name, rest) = text.split_at_checked(name_end).unwrap_or((text, ""));
    let mut out = String::with_capacity(text.len().saturating_add(128));
    out.push_str(name);
    for (prefix, ns) in around.iter().filter(|(prefix, _)| !own.iter().any(|(other, _)| other == prefix)) {
        out.push(' ');
        out.push_str(prefix);
        out.push('=');
        out.push_str(ns);
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(text: &str) -> Vec<String> {
        let mut splitter = Splitter::new(io::BufReader::with_capacity(7, text.as_bytes()));
        splitter.open().unwrap().unwrap();
        let mut found = Vec::new();
        loop {
            match splitter.next(|_| false).unwrap() {
                Piece::Whole { text, line } => found.push(format!("{line} {text}")),
                Piece::Broken { tag, why, .. } => found.push(format!("{tag}: {why}")),
                Piece::End => return found,
                Piece::Cut => {
                    found.push("cut".to_owned());
                    return found;
                }
            }
        }
    }

    #[test]
    fn a_document_falls_into_pieces() {
        let text = "<?xml version='1.0' encoding='UTF-8'?>\n<!-- <u> --><d a='>'>\n <u n='1'/>\n<u n='2>'><a>x<!-- </u> --></a><![CDATA[</u>]]></u>\n<v/></d>";
        assert_eq!(pieces(text), ["3 <u n='1'/>", "4 <u n='2>'><a>x</a><![CDATA[</u>]]></u>", "5 <v/>"]);
    }

    #[test]
    fn what_is_broken_costs_itself() {
        for (inner, expected) in [
            ("<u n='1'><a></u><u n='2'/>", "<u n='1'>: an end tag is missing in it"),
            ("<u n='1'></a></u><u n='2'/>", "<u n='1'>: an end tag without its start tag"),
            ("<u n='1'><a></a><u n='2'/>", "<u n='1'>: it does not end before the next one begins"),
            ("<u n='1'><a b='</u><u n='2'/>", "<u n='1'>: a tag that does not end"),
            ("<u n='1'><a b='<u n='2'/>", "<u n='1'>: a tag that does not end"),
        ] {
            let text = format!("<d>{inner}<u n='3'/></d>");
            let found = pieces(&text);
            assert_eq!(found.first().unwrap(), expected, "{text}");
            assert_eq!(found.last().unwrap(), "1 <u n='3'/>", "{text}");
        }
        assert_eq!(
            pieces("<d><u n='1'/><u n='2'><a>"),
            ["1 <u n='1'/>", "<u n='2'>: the file ends in the middle of it", "cut"]
        );
        let deep = format!("<d><u>{}{}</u><u/></d>", "<a>".repeat(300), "</a>".repeat(300));
        assert_eq!(pieces(&deep), ["<u>: elements in elements, too deep", "1 <u/>"]);
    }

    #[test]
    fn what_is_no_document_of_ours() {
        for text in [
            "",
            " ",
            "text",
            "<!DOCTYPE d [<!ENTITY a 'b'>]><d><u/></d>",
            "<?xml version='1.0' encoding='ISO-8859-1'?><d>",
            "</d>",
            "<d",
        ] {
            let mut splitter = Splitter::new(text.as_bytes());
            assert!(!matches!(splitter.open(), Ok(Some(_))), "{text}");
        }
    }

    #[test]
    fn a_piece_is_read_alone() {
        let around = declared("<x:d xmlns='a' xmlns:x = \"b\" y='xmlns=no'>");
        assert_eq!(around, [("xmlns".to_owned(), "'a'".to_owned()), ("xmlns:x".to_owned(), "\"b\"".to_owned())]);
        assert_eq!(alone("<u xmlns='c'><v/></u>", &around), "<u xmlns:x=\"b\" xmlns='c'><v/></u>");
        assert_eq!(alone("<u/>", &around), "<u xmlns='a' xmlns:x=\"b\"/>");
    }
}
