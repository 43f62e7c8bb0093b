//! Sizes, durations, shares and file modes as the TOML writes them.

use std::time::Duration;

use crate::model::rule::Limit;

/// How a value of a unit is written, for hints.
pub(super) const SIZE_HINT: &str = "write a number of bytes or a size like \"64KiB\" or \"1MB\"";
/// See [`SIZE_HINT`].
pub(super) const DURATION_HINT: &str = "write a duration like \"500ms\", \"2s\", \"5m\", \"1h\" or \"7d\"";
/// See [`SIZE_HINT`].
pub(super) const LIMIT_HINT: &str = "write a share like \"5%\" or a number of records";
/// See [`SIZE_HINT`].
pub(super) const MODE_HINT: &str = "write the permissions as text in octal, like \"0640\"";

/// What a date can be reckoned with: beyond it "now minus this" leaves the calendar.
const SECONDS_MAX: u64 = 1_000 * 366 * 86_400;

/// `64KiB`, `1MB`, `512`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "tib" => 1 << 40,
        _ => return None,
    };
    number.checked_mul(factor)
}

/// `500ms`, `2s`, `7d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds: u64 = match unit {
        "ms" => return Some(Duration::from_millis(number)),
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.checked_mul(seconds).filter(|s| *s <= SECONDS_MAX).map(Duration::from_secs)
}

/// `5%`, `0.5%`, `100`.
pub(super) fn limit(text: &str) -> Option<Limit> {
    let text = text.trim();
    let Some(share) = text.strip_suffix('%') else {
        return text.parse().ok().map(Limit::Count);
    };
    let percent: f64 = share.trim().parse().ok()?;
    (0.0..=100.0).contains(&percent).then_some(Limit::Percent(percent))
}

/// `0640`.
pub(super) fn mode(text: &str) -> Option<u32> {
    let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|_| octal)?;
    (mode <= 0o777).then_some(mode)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_know_both_families_of_units() {
        assert_eq!(size("64KiB"), Some(65_536));
        assert_eq!(size("1MB"), Some(1_000_000));
        assert_eq!(size("1 tib"), Some(1 << 40));
        assert_eq!(size("0"), Some(0));
        for wrong in ["", "KiB", "-1", "1.5GiB", "1XB", "99999999999TiB", "1 0"] {
            assert_eq!(size(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn durations_need_their_unit() {
        assert_eq!(duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(duration("7d"), Some(Duration::from_hours(7 * 24)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for wrong in ["", "5", "5 parsecs", "-1s", "18446744073709551615d"] {
            assert_eq!(duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn shares_lie_between_0_and_100_percent() {
        assert_eq!(limit("5%"), Some(Limit::Percent(5.0)));
        assert_eq!(limit("0.5 %"), Some(Limit::Percent(0.5)));
        assert_eq!(limit("12"), Some(Limit::Count(12)));
        for wrong in ["101%", "-1%", "NaN%", "%", "x", "-1"] {
            assert_eq!(limit(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn modes_are_octal_text() {
        assert_eq!(mode("0640"), Some(0o640));
        assert_eq!(mode("600"), Some(0o600));
        for wrong in ["", "0999", "4755", "640640", "+640", "rw-r--"] {
            assert_eq!(mode(wrong), None, "{wrong}");
        }
    }
}
