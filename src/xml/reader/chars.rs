//! The characters of XML 1.0: which exist, which make names, and which of their bytes need a look.

/// A character that XML 1.0 §2.2 allows.
pub(super) fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{FFFD}' | '\u{10000}'..)
}

/// May stand in a name. Bytes of longer characters all may: the parser looks closer.
pub(super) const NAME: u8 = 1;
/// May begin a name or its local part.
pub(super) const START: u8 = 2;
/// May stand in a name for sure: ASCII.
pub(super) const PLAIN: u8 = 8;
/// White space of XML 1.0 §2.3.
pub(super) const SPACE: u8 = 4;

const CLASSES: [u8; 256] = classes();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, bounded by the loop")]
const fn classes() -> [u8; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < classes.len() {
        classes[byte] = match byte as u8 {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => NAME | START | PLAIN,
            0x80.. => NAME | START,
            b'0'..=b'9' | b'-' | b'.' => NAME | PLAIN,
            b' ' | b'\t' | b'\r' | b'\n' => SPACE,
            _ => 0,
        };
        byte += 1;
    }
    classes
}

/// What a byte may do in names.
#[expect(clippy::indexing_slicing, reason = "a byte is always below 256")]
#[inline]
pub(super) fn class(byte: u8) -> u8 {
    CLASSES[byte as usize]
}

/// XML 1.0 §2.3, without the colon.
pub(super) fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | '_' | 'a'..='z' | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{2FF}'
        | '\u{370}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}' | '\u{200C}'..='\u{200D}' | '\u{2070}'..='\u{218F}'
        | '\u{2C00}'..='\u{2FEF}' | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}'
        | '\u{10000}'..='\u{EFFFF}')
}

/// XML 1.0 §2.3, without the colon.
pub(super) fn is_name(c: char) -> bool {
    let more = matches!(c, '-' | '.' | '0'..='9' | '\u{B7}' | '\u{300}'..='\u{36F}' | '\u{203F}'..='\u{2040}');
    more || is_name_start(c)
}

/// Stops a run of plain bytes in an attribute's value.
pub(super) const VALUE: u8 = 1;
/// Stops a run of plain bytes in character data.
pub(super) const TEXT: u8 = 2;
/// Stops a run of plain bytes in a CDATA section.
pub(super) const SECTION: u8 = 4;

const STOPS: [u8; 256] = stop_table();

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, bounded by the loop")]
const fn stop_table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = match byte as u8 {
            b'\t' | b'\n' | b'\'' | b'"' => VALUE,
            b']' => TEXT | SECTION,
            b'<' | b'&' => VALUE | TEXT,
            0x00..0x20 | 0xEF => VALUE | TEXT | SECTION,
            _ => 0,
        };
        byte += 1;
    }
    table
}

/// Which runs of plain bytes this byte stops.
#[expect(clippy::indexing_slicing, reason = "a byte is always below 256")]
#[inline]
pub(super) fn stops(byte: u8) -> u8 {
    STOPS[byte as usize]
}
