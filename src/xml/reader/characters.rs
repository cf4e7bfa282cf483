//! Are bytes characters such as XML has? For frames that are not whole yet, and to find the first of several faults.

use memchr::memchr_iter;

use super::ReadError;

/// Checks bytes that begin with a character. Tells how many of them are whole characters; the rest, three bytes at most,
/// is the beginning of one.
///
/// # Errors
/// The first fault: what is not UTF-8 (RFC 6120 §4.9.3.22), or a character that XML 1.0 §2.2 does not have.
pub(super) fn check(bytes: &[u8]) -> Result<usize, ReadError> {
    let (whole, broken) = match std::str::from_utf8(bytes) {
        Ok(_) => (bytes.len(), false),
        Err(error) => (error.valid_up_to(), error.error_len().is_some()),
    };
    if has_forbidden(bytes.get(..whole).unwrap_or_default()) {
        return Err(ReadError::NotWellFormed);
    }
    if broken { Err(ReadError::UnsupportedEncoding) } else { Ok(whole) }
}

/// In UTF-8: a control character but for white space, or U+FFFE or U+FFFF.
fn has_forbidden(text: &[u8]) -> bool {
    // Without a branch, so that the compiler can look at many bytes at once.
    let control = |byte: u8| (byte < b' ') & (byte != b'\t') & (byte != b'\n') & (byte != b'\r');
    text.iter().fold(false, |found, &byte| found | control(byte))
        || memchr_iter(0xEF, text).any(|at| matches!(text.get(at..), Some([_, 0xBF, 0xBE | 0xBF, ..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_fault_counts() {
        let rows: &[(&[u8], Result<usize, ReadError>)] = &[
            (b"", Ok(0)),
            (b"a\t\r\n\x7F", Ok(5)),
            (b"a\0", Err(ReadError::NotWellFormed)),
            (b"a\x1F\xFF", Err(ReadError::NotWellFormed)),
            (b"a\xFF\x1F", Err(ReadError::UnsupportedEncoding)),
            (b"a\xC3", Ok(1)),
            (b"a\xC3\xA9", Ok(3)),
            (b"a\xC3\x1F", Err(ReadError::UnsupportedEncoding)),
            (b"\xF0\x9F\x8C", Ok(0)),
            (b"\xF0\x80", Err(ReadError::UnsupportedEncoding)),
            (b"\xEF\xBF", Ok(0)),
            (b"\xEF\xBF\xBD\xEF\xBF\xBF", Err(ReadError::NotWellFormed)),
            (b"\xEF\xBF\xBE", Err(ReadError::NotWellFormed)),
            (b"\xEE\xBF\xBE", Ok(3)),
        ];
        for (bytes, expected) in rows {
            assert_eq!(check(bytes), *expected, "{bytes:?}");
        }
    }
}
