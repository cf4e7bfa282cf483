//! Between the text of `<auth/>`, `<challenge/>`, `<response/>`, `<success/>` and the bytes of a mechanism.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::condition::{Condition, Failure};

/// Longest message of a mechanism, in bytes: PLAIN with three parts of 1023 bytes. Bounds what a peer that has
/// not logged in can make us hold and hash.
pub const MESSAGE_BYTES_MAX: usize = 3 * 1023 + 2;

/// Decodes what an `<auth/>` or `<response/>` carries (RFC 6120 §6.4.2). No text is `None`: no initial response;
/// `=` is an empty one.
///
/// # Errors `<incorrect-encoding/>` for what is not strict base64 (RFC 4648 §4: padded, no foreign characters,
/// RFC 6120 §6.5.5), `<malformed-request/>` for more than [`MESSAGE_BYTES_MAX`].
pub fn decode(text: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    match text {
        "" => return Ok(None),
        "=" => return Ok(Some(Zeroizing::default())),
        _ => {}
    }
    if text.len() > MESSAGE_BYTES_MAX.div_ceil(3) * 4 {
        return Err(TOO_LONG);
    }
    // One allocation of the final size: a buffer that grows would leave copies of the password behind.
    let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = STANDARD.decode_slice(text, &mut bytes).map_err(|_| NOT_BASE64)?;
    if length > MESSAGE_BYTES_MAX {
        return Err(TOO_LONG);
    }
    bytes.truncate(length);
    Ok(Some(bytes))
}

/// Encodes what a `<challenge/>` or `<success/>` carries; nothing becomes an empty element.
///
/// An empty challenge is the empty element too: the `=` of RFC 6120 §6.4.2 is for initial responses and
/// additional data of a success, where absence means something else. None of our mechanisms succeeds with
/// additional data of no length.
pub fn encode(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

const TOO_LONG: Failure = Failure::told(Condition::MalformedRequest, "SASL message too long");
const NOT_BASE64: Failure = Failure::told(Condition::IncorrectEncoding, "not base64");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_strict() {
        for text in [
            "a", "ab", "abc", "abc==", "ab=c", "YQ", "YQ=", "YR==", " YQ==", "YQ==\n", "Y Q==", "YQ==YQ==", "==",
            "====", "YQ-_", "ä", "\0", "YWJj=", "=YQ=",
        ] {
            assert_eq!(decode(text), Err(NOT_BASE64), "{text:?}");
        }
    }

    #[test]
    fn nothing_and_empty_are_two_things() {
        assert_eq!(decode(""), Ok(None));
        assert_eq!(decode("=").unwrap().unwrap().len(), 0);
        assert_eq!(decode("YQ==").unwrap().unwrap().as_slice(), b"a");
    }

    #[test]
    fn length_is_bounded() {
        assert!(decode(&encode(&[b'a'; MESSAGE_BYTES_MAX])).unwrap().is_some());
        assert_eq!(decode(&encode(&[b'a'; MESSAGE_BYTES_MAX + 1])), Err(TOO_LONG));
        assert_eq!(decode(&"A".repeat(1 << 20)), Err(TOO_LONG));
    }
}
