//! The XML declaration that may stand before a stream header (RFC 6120 §11.5).

use super::ReadError;
use super::is_space;

/// Checks `<?xml …?>` against XML 1.0 §2.8.
pub(super) fn check(declaration: &str) -> Result<(), ReadError> {
    let mut rest =
        declaration.strip_prefix("<?xml").and_then(|rest| rest.strip_suffix("?>")).ok_or(ReadError::NotWellFormed)?;
    // The three items come in this order, each once, the first always.
    let mut expected: &[&str] = &["version", "encoding", "standalone"];
    let mut first = true;
    loop {
        let trimmed = rest.trim_start_matches(is_space);
        if trimmed.is_empty() && !first {
            return Ok(());
        }
        if trimmed.len() == rest.len() {
            return Err(ReadError::NotWellFormed);
        }
        let (name, value, after) = item(trimmed).ok_or(ReadError::NotWellFormed)?;
        let at = expected.iter().position(|item| *item == name).ok_or(ReadError::NotWellFormed)?;
        if first && at != 0 {
            return Err(ReadError::NotWellFormed);
        }
        expected = expected.get(at.saturating_add(1)..).unwrap_or_default();
        match (name, value) {
            ("version", "1.0") | ("standalone", "yes" | "no") => {}
            // RFC 6120 §11.6: UTF-8 and nothing else.
            ("encoding", name) if name.eq_ignore_ascii_case("utf-8") => {}
            ("encoding", _) => return Err(ReadError::UnsupportedEncoding),
            _ => return Err(ReadError::NotWellFormed),
        }
        first = false;
        rest = after;
    }
}

/// Splits `name = 'value'` off.
fn item(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once('=')?;
    let rest = rest.trim_start_matches(is_space);
    let quote = rest.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    let (value, after) = rest.strip_prefix(quote)?.split_once(quote)?;
    Some((name.trim_end_matches(is_space), value, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_version_one_in_utf_8_passes() {
        let rows: &[(&str, Result<(), ReadError>)] = &[
            ("<?xml version='1.0'?>", Ok(())),
            ("<?xml version=\"1.0\" encoding=\"utf-8\" ?>", Ok(())),
            ("<?xml\tversion = '1.0' encoding='UTF-8' standalone='yes'?>", Ok(())),
            ("<?xml version='1.0' encoding='ISO-8859-1'?>", Err(ReadError::UnsupportedEncoding)),
            ("<?xml version='1.0' encoding=''?>", Err(ReadError::UnsupportedEncoding)),
            ("<?xml version='1.1'?>", Err(ReadError::NotWellFormed)),
            ("<?xml encoding='UTF-8'?>", Err(ReadError::NotWellFormed)),
            ("<?xml ?>", Err(ReadError::NotWellFormed)),
            ("<?xml version='1.0'encoding='UTF-8'?>", Err(ReadError::NotWellFormed)),
            ("<?xml version='1.0' version='1.0'?>", Err(ReadError::NotWellFormed)),
            ("<?xml version='1.0' standalone='yes' encoding='UTF-8'?>", Err(ReadError::NotWellFormed)),
            ("<?xml version='1.0' standalone='maybe'?>", Err(ReadError::NotWellFormed)),
            ("<?xml version=1.0?>", Err(ReadError::NotWellFormed)),
            ("<?xml version='1.0\"?>", Err(ReadError::NotWellFormed)),
        ];
        for (declaration, expected) in rows {
            assert_eq!(check(declaration), *expected, "{declaration}");
        }
    }
}
