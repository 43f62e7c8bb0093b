//! `window`: from when to when a rule works each day, by the clock of its time zone.
//!
//! A time that the clock skips counts as the moment at which it goes on, one that it shows twice as the first of them. Where it skips all of a
//! window, the window opens when the clock goes on, and lasts as long as ever.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::mistake::Mistake;

const MINUTES_OF_DAY: u16 = 24 * 60;

/// A time of the day, to the minute; `24:00` is its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DayTime {
    minutes: u16,
}

impl DayTime {
    /// The moment at which the clock of the zone shows this time on that day; none beyond the calendar.
    pub fn on(self, day: Date, zone: &TimeZone) -> Option<Timestamp> {
        let shown = self.of(day)?;
        let ambiguous = zone.to_ambiguous_timestamp(shown);
        if !matches!(ambiguous.offset(), AmbiguousOffset::Gap { .. }) {
            return ambiguous.earlier().ok();
        }
        // It is skipped: the last change of the clock before what would come of it without one.
        let after = ambiguous.later().ok()?.checked_add(SignedDuration::from_secs(1)).ok()?;
        zone.preceding(after).next().map(|change| change.timestamp())
    }

    fn of(self, day: Date) -> Option<DateTime> {
        day.at(0, 0, 0, 0).checked_add(SignedDuration::from_mins(self.minutes.into())).ok()
    }
}

impl FromStr for DayTime {
    type Err = Mistake;

    fn from_str(text: &str) -> Result<Self, Mistake> {
        let number = |digits: &str, most: u16| {
            let is_number = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<u16>().ok().filter(|number| is_number && *number <= most)
        };
        let minutes = text.split_once(':').and_then(|(hours, minutes)| {
            let all: u16 = number(hours, 24)? * 60 + number(minutes, 59)?;
            (all <= MINUTES_OF_DAY).then_some(all)
        });
        let minutes = minutes.ok_or_else(|| {
            Mistake::new(
                format!("\"{text}\" is no time of the day"),
                "write hours and minutes, like \"06:00\"",
            )
        })?;
        Ok(Self { minutes })
    }
}

impl fmt::Display for DayTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.minutes / 60, self.minutes % 60)
    }
}

/// What becomes of jobs that run when the window closes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WindowEnd {
    /// They go on to their end.
    #[default]
    Finish,
    /// They are put down, and go on in the next one.
    Pause,
}

/// Each day from a time to another one, over midnight where that is earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    from: DayTime,
    to: DayTime,
    /// What becomes of jobs that run then.
    pub end: WindowEnd,
}

/// Whether a window is open; until when, as far as there is a calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// It is.
    Open(Option<Timestamp>),
    /// It is not.
    Closed(Option<Timestamp>),
}

impl Opening {
    /// When it is another one.
    pub fn until(self) -> Option<Timestamp> {
        match self {
            Self::Open(until) | Self::Closed(until) => until,
        }
    }

    /// Whether it is open.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open(_))
    }
}

impl Window {
    /// `22:00-06:00`.
    pub fn parse(text: &str, end: WindowEnd) -> Result<Self, Mistake> {
        const HINT: &str = "write from when to when, like \"22:00-06:00\"";
        let parsed = text.split_once('-').map(|(from, to)| (from.trim().parse(), to.trim().parse()));
        let Some((from, to)) = parsed else {
            return Err(Mistake::new(format!("\"{text}\" is no window"), HINT));
        };
        let with_hint = |mistake: Mistake| Mistake::new(mistake.message, HINT);
        let (from, to): (DayTime, DayTime) = (from.map_err(with_hint)?, to.map_err(with_hint)?);
        let length = |from: u16, to: u16| (to + MINUTES_OF_DAY - from % MINUTES_OF_DAY) % MINUTES_OF_DAY;
        if length(from.minutes, to.minutes) == 0 {
            let message = format!("\"{text}\" would be open all day, or never");
            return Err(Mistake::new(message, "take the window out, or let it end at another time"));
        }
        if from.minutes == MINUTES_OF_DAY {
            return Err(Mistake::new("a window cannot begin at 24:00", "write 00:00"));
        }
        Ok(Self { from, to, end })
    }

    fn minutes(self) -> u16 {
        let ends = if self.to > self.from { self.to.minutes } else { self.to.minutes + MINUTES_OF_DAY };
        ends - self.from.minutes
    }

    /// When the window of this day opens and closes.
    fn on(self, day: Date, zone: &TimeZone) -> Option<(Timestamp, Timestamp)> {
        let last_day = if self.to > self.from { day } else { day.tomorrow().ok()? };
        let (opens, closes) = (self.from.on(day, zone)?, self.to.on(last_day, zone)?);
        if closes > opens {
            return Some((opens, closes));
        }
        let length = SignedDuration::from_mins(self.minutes().into());
        Some((opens, opens.checked_add(length).ok()?))
    }

    /// Whether it is open at this moment.
    pub fn at(self, now: Timestamp, zone: &TimeZone) -> Opening {
        let today = now.to_zoned(zone.clone()).date();
        // One that opened yesterday may be open; of a day that the calendar of a zone leaves out there is none.
        let days = (-1..=3).filter_map(|more: i64| today.checked_add(Span::new().days(more)).ok());
        let windows: Vec<_> = days.filter_map(|day| self.on(day, zone)).collect();
        let mut until = windows.iter().find(|(opens, closes)| *opens <= now && now < *closes).map(|it| it.1);
        let Some(closes) = &mut until else {
            let next = windows.iter().map(|(opens, _)| *opens).filter(|opens| *opens > now).min();
            return Opening::Closed(next);
        };
        for (opens, later) in &windows {
            if opens <= closes && later > closes {
                *closes = *later; // the clock skipped what is between them
            }
        }
        Opening::Open(until)
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn window(text: &str) -> Window {
        Window::parse(text, WindowEnd::Finish).expect("is one")
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("is known")
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    /// From when to when it is open next, in the time of the zone.
    fn next(of: &str, zone_name: &str, from: &str) -> (String, String) {
        let (window, zone) = (window(of), zone(zone_name));
        let now = at(from);
        let opening = window.at(now, &zone);
        let opens = if opening.is_open() { now } else { opening.until().expect("opens") };
        let closes = window.at(opens, &zone).until().expect("closes");
        let told = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%d. %H:%M %z").to_string();
        (told(opens), told(closes))
    }

    fn as_told(opens: &str, closes: &str) -> (String, String) {
        (opens.to_owned(), closes.to_owned())
    }

    #[test]
    fn a_window_over_midnight_is_open_from_the_evening_to_the_next_morning() {
        let of = |from| next("22:00-06:00", "Europe/Berlin", from);
        assert_eq!(of("2026-11-29T12:00:00Z"), as_told("29. 22:00 +0100", "30. 06:00 +0100"));
        assert_eq!(of("2026-11-30T04:59:59Z").1, "30. 06:00 +0100");
        assert_eq!(of("2026-11-30T05:00:00Z").0, "30. 22:00 +0100", "it ends at the minute that is named");
        assert_eq!(
            next("18:00-24:00", "UTC", "2026-11-30T05:00:00Z"),
            as_told("30. 18:00 +0000", "01. 00:00 +0000")
        );
    }

    #[test]
    fn a_night_on_which_the_clock_changes_is_an_hour_shorter_or_longer() {
        let of = |window, from| next(window, "Europe/Berlin", from);
        let (spring, autumn) = ("2026-03-28T12:00:00Z", "2026-10-24T12:00:00Z");
        assert_eq!(of("22:00-06:00", spring), as_told("28. 22:00 +0100", "29. 06:00 +0200"));
        assert_eq!(of("22:00-06:00", autumn), as_told("24. 22:00 +0200", "25. 06:00 +0100"));
        assert_eq!(of("22:00-02:30", spring), as_told("28. 22:00 +0100", "29. 03:00 +0200"));
        assert_eq!(of("02:30-06:00", spring), as_told("29. 03:00 +0200", "29. 06:00 +0200"));
        assert_eq!(
            of("02:00-03:00", spring),
            as_told("29. 03:00 +0200", "29. 04:00 +0200"),
            "it is not left out"
        );
        assert_eq!(of("02:30-06:00", autumn), as_told("25. 02:30 +0200", "25. 06:00 +0100"));
        assert_eq!(of("22:00-02:30", autumn), as_told("24. 22:00 +0200", "25. 02:30 +0200"));
    }

    #[test]
    fn a_zone_that_leaves_a_day_out_has_no_window_twice() {
        let told = next("22:00-06:00", "Pacific/Apia", "2011-12-30T07:30:00Z");
        assert_eq!(told, as_told("29. 22:00 -1000", "31. 06:00 +1400"), "there was no 30th");
    }

    #[test]
    fn what_is_no_window_is_refused_with_the_way_to_write_one() {
        for text in
            ["22:00", "22-06", "22:00-6:00", "25:00-06:00", "22:60-06:00", "24:01-06:00", "+2:00-06:00", ""]
        {
            let mistake = Window::parse(text, WindowEnd::Finish).expect_err(text);
            assert!(mistake.hint.is_some_and(|hint| hint.contains("22:00-06:00")), "{text}");
        }
        for text in ["06:00-06:00", "00:00-24:00", "24:00-00:00", "24:00-06:00"] {
            Window::parse(text, WindowEnd::Finish).expect_err(text);
        }
        assert_eq!(window(" 22:00 - 06:00 ").to_string(), "22:00 to 06:00");
    }

    const ZONES: [&str; 9] = [
        "UTC",
        "Europe/Berlin",
        "America/New_York",
        "America/Sao_Paulo",   // its clock changed at midnight
        "Australia/Lord_Howe", // by half an hour
        "Asia/Kathmandu",
        "Africa/Casablanca",
        "Pacific/Apia",
        "America/St_Johns",
    ];

    fn any_window() -> impl Strategy<Value = Window> {
        let minute = 0..MINUTES_OF_DAY;
        (minute.clone(), 1..MINUTES_OF_DAY).prop_map(|(from, length)| Window {
            from: DayTime { minutes: from },
            to: DayTime { minutes: (from + length) % MINUTES_OF_DAY },
            end: WindowEnd::Finish,
        })
    }

    proptest! {
        /// Whatever the zone and the day: what is told of a moment holds until the moment that is told, and then the other; each comes within
        /// two days; and where the clock does not change the window is open as the clock says.
        #[test]
        fn a_window_opens_and_closes_when_it_says(
            window in any_window(), name in prop::sample::select(&ZONES[..]), second in 946_684_800..2_208_988_800_i64,
            share in 0.0..1.0_f64,
        ) {
            let (zone, now) = (zone(name), Timestamp::from_second(second).expect("a time"));
            let opening = window.at(now, &zone);
            let until = opening.until().expect("there is a calendar");
            let left = until.duration_since(now);
            prop_assert!(left > SignedDuration::ZERO && left <= SignedDuration::from_hours(49), "{left}");
            let between = now + SignedDuration::from_secs((left.as_secs() as f64 * share) as i64);
            prop_assert_eq!(window.at(between, &zone), opening);
            prop_assert_eq!(window.at(until - SignedDuration::from_nanos(1), &zone), opening);
            prop_assert_eq!(window.at(until, &zone).is_open(), !opening.is_open());
            let day = SignedDuration::from_hours(26);
            let changes = zone.following(now - day).next().is_some_and(|change| change.timestamp() < now + day);
            if !changes {
                let shown = now.to_zoned(zone).time();
                let minutes = u16::from(shown.hour().unsigned_abs()) * 60 + u16::from(shown.minute().unsigned_abs());
                let (from, to) = (window.from.minutes, window.to.minutes);
                let is_within = if from < to { from <= minutes && minutes < to } else { minutes >= from || minutes < to };
                prop_assert_eq!(opening.is_open(), is_within);
            }
        }
    }
}
