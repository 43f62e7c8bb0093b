//! `deadline`: by when a file is to be done, and the words for how its job stands to that.

use std::fmt;

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::window::{DayTime, Opening, Window};

/// When a file is to be done that was claimed at this moment: at the first time of its kind after it, or, where its job waits for a window,
/// after that opens. None beyond the calendar.
pub(crate) fn due(
    deadline: DayTime,
    window: Option<Window>,
    claimed_at: Timestamp,
    zone: &TimeZone,
) -> Option<Timestamp> {
    let begins = match window.map(|window| window.at(claimed_at, zone)) {
        Some(Opening::Closed(opens)) => opens?,
        _ => claimed_at,
    };
    let day = begins.to_zoned(zone.clone()).date();
    // 24:00 is of the day before; of a day that the calendar of a zone leaves out there is none.
    let days = (-1..=3).filter_map(|more: i64| day.checked_add(Span::new().days(more)).ok());
    days.filter_map(|day| deadline.on(day, zone)).filter(|at| *at > begins).min()
}

/// How a job stands to its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DeadlineState {
    /// It will be done by then, as it goes now.
    OnTime,
    /// It will not.
    AtRisk,
    /// The time has passed, and it is not done.
    Late,
    /// It cannot be told: it has not begun, or stands still for a reason of its own.
    Unknown,
    /// It was done by then.
    Met,
    /// It was done after that.
    Missed,
}

impl DeadlineState {
    /// The word in JSON.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::OnTime => "on_time",
            Self::AtRisk => "at_risk",
            Self::Late => "late",
            Self::Unknown => "unknown",
            Self::Met => "met",
            Self::Missed => "missed",
        }
    }

    /// Whether somebody should look at it.
    pub(crate) fn is_trouble(self) -> bool {
        matches!(self, Self::AtRisk | Self::Late)
    }
}

impl fmt::Display for DeadlineState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnTime => "on time",
            Self::AtRisk => "at risk",
            other => other.word(),
        })
    }
}

/// How a job stands to its deadline just now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeadlineReport {
    /// By when it is to be done.
    pub at: Timestamp,
    /// In a word.
    pub state: DeadlineState,
    /// When it will be done, as it goes now.
    pub expected_at: Option<Timestamp>,
    /// In a sentence; empty where the state says it.
    pub detail: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::window::WindowEnd;

    fn due_of(deadline: &str, window: Option<&str>, claimed_at: &str, zone: &str) -> String {
        let window = window.map(|text| Window::parse(text, WindowEnd::Finish).expect("is one"));
        let zone = TimeZone::get(zone).expect("is known");
        let claimed_at = claimed_at.parse().expect("a time");
        let due = due(deadline.parse().expect("a time"), window, claimed_at, &zone).expect("there is one");
        due.to_zoned(zone).strftime("%d. %H:%M %z").to_string()
    }

    #[test]
    fn a_deadline_is_the_next_one_after_the_claim_or_after_the_window_that_it_waits_for() {
        let berlin = "Europe/Berlin";
        assert_eq!(due_of("06:00", None, "2026-11-29T12:00:00Z", berlin), "30. 06:00 +0100");
        assert_eq!(
            due_of("06:00", None, "2026-11-29T05:00:00Z", berlin),
            "30. 06:00 +0100",
            "strictly after"
        );
        assert_eq!(due_of("06:00", None, "2026-11-29T04:59:59Z", berlin), "29. 06:00 +0100");
        let night = Some("22:00-05:00");
        assert_eq!(due_of("06:00", night, "2026-11-29T12:00:00Z", berlin), "30. 06:00 +0100");
        assert_eq!(
            due_of("06:00", night, "2026-11-29T04:30:00Z", berlin),
            "30. 06:00 +0100",
            "it begins then"
        );
        assert_eq!(due_of("06:00", night, "2026-11-29T03:00:00Z", berlin), "29. 06:00 +0100");
        assert_eq!(due_of("02:30", None, "2026-03-28T12:00:00Z", berlin), "29. 03:00 +0200", "it is skipped");
        assert_eq!(due_of("24:00", None, "2026-11-29T12:00:00Z", "UTC"), "30. 00:00 +0000");
    }

    proptest! {
        /// Whatever the clocks of a zone do.
        #[test]
        fn a_deadline_comes_after_the_claim_within_two_days_and_no_other_of_its_kind_before_it(
            deadline in 0_u16..=24 * 60,
            claimed in 1_000_000_000_i64..2_000_000_000,
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "Asia/Kathmandu", "Pacific/Apia", "Africa/Cairo"]),
        ) {
            let zone = TimeZone::get(zone).expect("is known");
            let kind: DayTime = format!("{:02}:{:02}", deadline / 60, deadline % 60).parse().expect("a time");
            let claimed = Timestamp::from_second(claimed).expect("a time");
            let due = due(kind, None, claimed, &zone).expect("there is a calendar");
            prop_assert!(due > claimed);
            // Apia left a day out.
            prop_assert!(due.duration_since(claimed).as_hours() <= 49, "{due} after {claimed}");
            let days = (-2..=4).filter_map(|more: i64| {
                claimed.to_zoned(zone.clone()).date().checked_add(Span::new().days(more)).ok()
            });
            let mut kinds = days.filter_map(|day| kind.on(day, &zone));
            prop_assert!(kinds.clone().any(|at| at == due));
            prop_assert!(!kinds.any(|at| claimed < at && at < due));
        }

        #[test]
        fn a_deadline_comes_after_its_job_may_begin(
            deadline in 0_u16..24 * 60,
            (from, to) in (0_u16..24 * 60, 0_u16..24 * 60).prop_filter("it is no window", |(from, to)| from != to),
            claimed in 1_000_000_000_i64..2_000_000_000,
        ) {
            let zone = TimeZone::get("Europe/Berlin").expect("is known");
            let told = |minutes: u16| format!("{:02}:{:02}", minutes / 60, minutes % 60);
            let window = Window::parse(&format!("{}-{}", told(from), told(to)), WindowEnd::Pause).expect("is one");
            let claimed = Timestamp::from_second(claimed).expect("a time");
            let due = due(told(deadline).parse().expect("a time"), Some(window), claimed, &zone)
                .expect("there is a calendar");
            let begins = match window.at(claimed, &zone) {
                Opening::Open(_) => claimed,
                Opening::Closed(opens) => opens.expect("there is a calendar"),
            };
            prop_assert!(due > begins);
        }
    }
}
