//! Time: the moment handed to protocol code, and the stamps it writes (XEP-0082).

use std::time::Duration;

use time::{OffsetDateTime, PrimitiveDateTime, format_description::FormatItem, macros::format_description};

/// The moment of a tick: the wall clock for stamps, and a clock that never jumps for intervals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub unix_millis: u64,
    /// Milliseconds of a clock that never goes back, from an arbitrary start.
    pub monotonic_millis: u64,
}

impl Now {
    /// Seconds since 1970.
    pub fn unix_seconds(self) -> u64 {
        self.unix_millis / 1000
    }

    /// The moment on the monotonic clock after some time, for timers.
    pub fn after(self, wait: Duration) -> u64 {
        self.monotonic_millis.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
    }
}

const STAMP: &[FormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
const LEGACY_STAMP: &[FormatItem<'_>] = format_description!("[year][month][day]T[hour]:[minute]:[second]");
const LEGACY_DISPLAY: &[FormatItem<'_>] =
    format_description!("[weekday repr:short] [month repr:short] [day padding:space] [hour]:[minute]:[second] [year]");

fn utc(unix_millis: u64) -> OffsetDateTime {
    let seconds = i64::try_from(unix_millis / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// XEP-0082 §3.2: `2002-09-10T23:41:07Z`, always in UTC.
pub fn stamp(unix_millis: u64) -> String {
    utc(unix_millis).format(STAMP).unwrap_or_default()
}

/// XEP-0082 §3.2, with the fraction that keeps the stamp exact: `2002-09-10T23:41:07.123Z`.
pub fn exact_stamp(unix_millis: u64) -> String {
    let whole = stamp(unix_millis);
    format!("{}.{:03}Z", whole.trim_end_matches('Z'), unix_millis % 1000)
}

/// XEP-0091 §2: `20020910T23:41:07`, in UTC.
pub fn legacy_stamp(unix_millis: u64) -> String {
    utc(unix_millis).format(LEGACY_STAMP).unwrap_or_default()
}

/// XEP-0090 §2: the time as a person reads it, `Tue Sep 10 23:41:07 2002`.
pub fn legacy_display(unix_millis: u64) -> String {
    utc(unix_millis).format(LEGACY_DISPLAY).unwrap_or_default()
}

/// Milliseconds since 1970 of an XEP-0082 date and time, if it is one.
pub fn parse_stamp(text: &str) -> Option<u64> {
    let parsed = OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).ok()?;
    u64::try_from(parsed.unix_timestamp_nanos() / 1_000_000).ok()
}

/// Milliseconds since 1970 of an XEP-0091 stamp, if it is one.
pub fn parse_legacy_stamp(text: &str) -> Option<u64> {
    let parsed = PrimitiveDateTime::parse(text, LEGACY_STAMP).ok()?;
    u64::try_from(parsed.assume_utc().unix_timestamp()).ok()?.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_of_both_ages() {
        let millis = 1_031_701_267_000;
        assert_eq!(stamp(millis), "2002-09-10T23:41:07Z");
        assert_eq!(legacy_stamp(millis), "20020910T23:41:07");
        assert_eq!(legacy_display(millis), "Tue Sep 10 23:41:07 2002");
        assert_eq!(parse_stamp("2002-09-10T23:41:07Z"), Some(millis));
        assert_eq!(parse_stamp("2002-09-11T01:41:07.5+02:00"), Some(millis + 500));
        assert_eq!(parse_stamp("yesterday"), None);
        assert_eq!(parse_legacy_stamp("20020910T23:41:07"), Some(millis));
        for text in ["20020910T23:41:07Z", "2002-09-10T23:41:07", "20021310T23:41:07", "19600101T00:00:00", ""] {
            assert_eq!(parse_legacy_stamp(text), None, "{text}");
        }
    }
}
