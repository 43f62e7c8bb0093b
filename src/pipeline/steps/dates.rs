//! Dates and times as `validate` reads them.

use jiff::civil::{Date, DateTime};
use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

/// A strftime format that was tried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct DateFormat(Option<String>);

impl DateFormat {
    /// Without a format: `2026-01-31`, with a time `2026-01-31T13:45:01` (a blank or `T`, a fraction and an offset if you like).
    pub(super) fn iso() -> Self {
        Self(None)
    }

    /// Checks that what the format writes can be read back as a date (and time).
    pub(super) fn new(format: &str, with_time: bool) -> Result<Self, String> {
        if format == "%Y-%m-%d" && !with_time {
            return Ok(Self::iso());
        }
        let sample = Zoned::new(Timestamp::UNIX_EPOCH, TimeZone::UTC);
        let written = strtime::format(format, &sample).map_err(|error| error.to_string())?;
        let format = Self(Some(format.to_owned()));
        let readable = if with_time {
            format.date_time(&written).is_some()
        } else {
            format.date(written.as_bytes()).is_some()
        };
        if readable { Ok(format) } else { Err("a date cannot be told from it alone".to_owned()) }
    }

    pub(super) fn date(&self, text: &[u8]) -> Option<Date> {
        match &self.0 {
            None => iso_date(text),
            Some(format) => strtime::parse(format, text).ok()?.to_date().ok(),
        }
    }

    /// The moment that a text says; without an offset it is taken for UTC.
    pub(super) fn date_time(&self, text: &str) -> Option<Timestamp> {
        match &self.0 {
            None => iso_date_time(text),
            Some(format) => {
                let parsed = strtime::parse(format, text).ok()?;
                match parsed.offset() {
                    Some(_) => parsed.to_timestamp().ok(),
                    None => in_utc(parsed.to_datetime().ok()?),
                }
            }
        }
    }
}

/// `2026-01-31` and nothing else, fast.
fn iso_date(text: &[u8]) -> Option<Date> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = i16::try_from(number(&[y1, y2, y3, y4])?).ok()?;
    let month = i8::try_from(number(&[m1, m2])?).ok()?;
    let day = i8::try_from(number(&[d1, d2])?).ok()?;
    Date::new(year, month, day).ok()
}

fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0u32, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

fn iso_date_time(text: &str) -> Option<Timestamp> {
    iso_date(text.as_bytes().get(..10)?)?;
    if !matches!(text.as_bytes().get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    match text.parse::<Timestamp>() {
        Ok(timestamp) => Some(timestamp),
        Err(_) => in_utc(text.parse().ok()?),
    }
}

fn in_utc(date_time: DateTime) -> Option<Timestamp> {
    date_time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_dates_are_read_strictly() {
        let iso = DateFormat::iso();
        assert!(iso.date(b"2024-02-29").is_some());
        for bad in [
            "2023-02-29",
            "2026-13-01",
            "2026-1-01",
            "26-01-01",
            "2026-01-01 ",
            "2026/01/01",
            "+026-01-01",
            "",
        ] {
            assert!(iso.date(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn moments_are_read_with_and_without_offset() {
        let iso = DateFormat::iso();
        let noon = iso.date_time("2026-01-31T12:00:00Z").expect("a moment");
        assert_eq!(iso.date_time("2026-01-31T13:00:00+01:00"), Some(noon));
        assert_eq!(iso.date_time("2026-01-31 12:00:00"), Some(noon));
        assert_eq!(iso.date_time("2026-01-31T12:00:00.000"), Some(noon));
        for bad in ["2026-01-31", "2026-01-31T25:00:00", "12:00", "", "2026-01-3é1T12"] {
            assert!(iso.date_time(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn own_formats_are_tried_out_beforehand() {
        let format = DateFormat::new("%d.%m.%Y", false).expect("a format");
        assert_eq!(format.date(b"31.01.2026"), DateFormat::iso().date(b"2026-01-31"));
        assert!(format.date(b"2026-01-31").is_none());
        assert!(DateFormat::new("%d.%m", false).is_err());
        assert!(DateFormat::new("%Q9", false).is_err());
        assert!(DateFormat::new("%Y-%m-%d", true).is_ok(), "a day alone is its midnight");
        let format = DateFormat::new("%Y%m%d %H%M%S", true).expect("a format");
        assert_eq!(format.date_time("20260131 120000"), DateFormat::iso().date_time("2026-01-31T12:00:00Z"));
    }
}
