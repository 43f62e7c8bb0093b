//! Shares and file modes as the TOML writes them, and how each unit is written; sizes and durations: see `model::amount`.

use crate::model::rule::Limit;

/// How a value of a unit is written, for hints.
pub(super) const SIZE_HINT: &str = "write a number of bytes or a size like \"64KiB\" or \"1MB\"";
/// See [`SIZE_HINT`].
pub(super) const DURATION_HINT: &str = "write a duration like \"500ms\", \"2s\", \"5m\", \"1h\" or \"7d\"";
/// See [`SIZE_HINT`].
pub(super) const LIMIT_HINT: &str = "write a share like \"5%\" or a number of records";
/// See [`SIZE_HINT`].
pub(super) const MODE_HINT: &str = "write the permissions as text in octal, like \"0640\"";

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

#[cfg(test)]
mod tests {
    use super::*;

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
