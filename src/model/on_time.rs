//! Whether a job will be done by its deadline: from its own pace, as far as that is known. A guess from other jobs would be one.

use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::amount;
use super::deadline::{DeadlineReport, DeadlineState};
use super::job::Job;
use super::job_state::JobState;
use super::window::{Opening, Window};

/// More closings of a window than this are not reckoned with: a month of nights.
const WINDOWS_MAX: usize = 2 * 31;

/// How fast a running job goes, of late.
#[derive(Clone, Debug)]
pub(crate) struct Going {
    /// Of its source, what is not worked yet.
    pub bytes_left: u64,
    /// Of its source, what was worked within some time.
    pub bytes_worked: u64,
    /// That time.
    pub within: Duration,
    /// The window that puts it down when it closes, with its zone.
    pub window: Option<(Window, TimeZone)>,
}

impl Going {
    /// Time at work that it needs to its end; none: it stands still.
    fn needs(&self) -> Option<SignedDuration> {
        if self.bytes_left == 0 {
            return Some(SignedDuration::ZERO);
        }
        let seconds = self.bytes_left as f64 * self.within.as_secs_f64() / self.bytes_worked as f64;
        SignedDuration::try_from_secs_f64(seconds).ok()
    }

    /// When it comes to its end; none: it stands still, or that is beyond all reckoning.
    fn ends_at(&self, now: Timestamp) -> Option<Timestamp> {
        let mut needs = self.needs()?;
        let Some((window, zone)) = &self.window else { return now.checked_add(needs).ok() };
        let mut at = now;
        for _ in 0..WINDOWS_MAX {
            at = match window.at(at, zone) {
                Opening::Closed(opens) => opens?,
                Opening::Open(None) => return at.checked_add(needs).ok(),
                Opening::Open(Some(closes)) => {
                    let open_for = closes.duration_since(at);
                    if needs <= open_for {
                        return at.checked_add(needs).ok();
                    }
                    needs = needs.checked_sub(open_for)?;
                    closes
                }
            };
        }
        None
    }

    /// Whether it has worked nothing for as long as is left to its deadline. Before that, a large slice may be at work.
    fn stood_still_for(&self, left: SignedDuration) -> bool {
        SignedDuration::try_from(self.within).is_ok_and(|within| within >= left)
    }

    fn told(&self) -> String {
        let left = amount::bytes(self.bytes_left);
        if self.bytes_worked == 0 {
            return format!(
                "{left} of its source are left, and nothing was worked for {} s",
                self.within.as_secs()
            );
        }
        let pace = u128::from(self.bytes_worked) * 1000 / self.within.as_millis().max(1);
        if pace == 0 {
            return format!("{left} of its source are left, at less than a byte a second");
        }
        let pace = u64::try_from(pace).unwrap_or(u64::MAX);
        format!("{left} of its source are left, at {} a second", amount::bytes(pace))
    }
}

/// How a job stands to its deadline; none: it has none, or ended without being done. `going`: where it runs, and its pace is known.
pub(crate) fn report(job: &Job, going: Option<&Going>, now: Timestamp) -> Option<DeadlineReport> {
    let at = job.due_at?;
    let (state, expected_at, detail) = match job.state.get() {
        JobState::Completed => (of_completed(job, at)?, None, String::new()),
        JobState::Aborted | JobState::Refused => return None,
        _ if now >= at => {
            let ends = going.and_then(|going| going.ends_at(now));
            (DeadlineState::Late, ends, format!("the time has passed, and the job is {}", job.state))
        }
        JobState::Running => of_running(at, going, now),
        JobState::Publishing | JobState::Retiring if job.waiting.is_none() => {
            (DeadlineState::OnTime, None, "it is being published".to_owned())
        }
        _ if job.waiting.as_ref().is_some_and(|waiting| waiting.until.is_some_and(|until| until >= at)) => {
            (DeadlineState::AtRisk, None, "it waits for longer than that".to_owned())
        }
        state => (DeadlineState::Unknown, None, format!("it is {state}: how fast it will go is not known")),
    };
    Some(DeadlineReport { at, state, expected_at, detail })
}

fn of_running(
    at: Timestamp,
    going: Option<&Going>,
    now: Timestamp,
) -> (DeadlineState, Option<Timestamp>, String) {
    let Some(going) = going else {
        return (DeadlineState::Unknown, None, "how fast it goes is not known yet".to_owned());
    };
    let is_still = going.bytes_worked == 0 && going.bytes_left > 0;
    let (state, ends) = match going.ends_at(now) {
        Some(ends) if ends <= at => (DeadlineState::OnTime, Some(ends)),
        None if is_still && !going.stood_still_for(at.duration_since(now)) => (DeadlineState::Unknown, None),
        ends => (DeadlineState::AtRisk, ends),
    };
    (state, ends, going.told())
}

fn of_completed(job: &Job, at: Timestamp) -> Option<DeadlineState> {
    Some(if job.finished_at? <= at { DeadlineState::Met } else { DeadlineState::Missed })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::fault::WaitsFor;
    use crate::model::job::Waiting;
    use crate::model::job::tests::job;
    use crate::model::job_state::JobEvent;
    use crate::model::window::WindowEnd;

    const FIVE: &str = "2026-11-30T05:00:00Z";
    const SIX: &str = "2026-11-30T06:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    /// An hour's work at a byte a second is left; so many were worked in the last 100 s.
    fn going(bytes_worked: u64) -> Going {
        Going { bytes_left: 3600, bytes_worked, within: Duration::from_secs(100), window: None }
    }

    fn running() -> Job {
        let mut job = job();
        job.due_at = Some(at(SIX));
        job.take(JobEvent::Started, Timestamp::UNIX_EPOCH, "").expect("starts");
        job
    }

    fn state_of(job: &Job, going: Option<&Going>, now: &str) -> (DeadlineState, Option<Timestamp>) {
        let report = report(job, going, at(now)).expect("it has one");
        assert!(!report.detail.is_empty() || job.state == JobState::Completed);
        (report.state, report.expected_at)
    }

    #[test]
    fn a_running_job_is_at_risk_if_it_will_not_be_done_as_it_goes_and_late_once_the_time_has_passed() {
        let job = running();
        assert_eq!(state_of(&job, Some(&going(100)), FIVE), (DeadlineState::OnTime, Some(at(SIX))));
        let seven = Some(at("2026-11-30T07:00:00Z"));
        assert_eq!(state_of(&job, Some(&going(50)), FIVE), (DeadlineState::AtRisk, seven));
        assert_eq!(state_of(&job, None, FIVE).0, DeadlineState::Unknown);
        assert_eq!(state_of(&job, Some(&going(1 << 40)), SIX).0, DeadlineState::Late);
    }

    #[test]
    fn a_job_that_has_worked_nothing_is_at_risk_once_that_took_as_long_as_is_left() {
        let job = running();
        assert_eq!(state_of(&job, Some(&going(0)), FIVE), (DeadlineState::Unknown, None));
        assert_eq!(state_of(&job, Some(&going(0)), "2026-11-30T05:58:19Z").0, DeadlineState::Unknown);
        assert_eq!(state_of(&job, Some(&going(0)), "2026-11-30T05:58:20Z").0, DeadlineState::AtRisk);
        let whole = Going { bytes_left: 0, ..going(0) };
        assert_eq!(state_of(&job, Some(&whole), FIVE), (DeadlineState::OnTime, Some(at(FIVE))));
    }

    #[test]
    fn a_window_that_puts_the_job_down_is_counted_in_night_by_night() {
        let job = running();
        let mut going = going(100);
        let window = Window::parse("22:00-05:30", WindowEnd::Pause).expect("is one");
        going.window = Some((window, TimeZone::UTC));
        assert_eq!(
            state_of(&job, Some(&going), FIVE),
            (DeadlineState::AtRisk, Some(at("2026-11-30T22:30:00Z")))
        );
        going.bytes_left = 3600 * 9;
        assert_eq!(
            state_of(&job, Some(&going), FIVE).1,
            Some(at("2026-12-01T23:00:00Z")),
            "half of one is over"
        );
    }

    #[test]
    fn a_job_that_does_not_run_says_that_its_pace_is_not_known_and_one_that_ended_whether_it_was_in_time() {
        let mut job = running();
        job.take(JobEvent::Recovered, Timestamp::UNIX_EPOCH, "").expect("is queued");
        assert_eq!(state_of(&job, None, FIVE).0, DeadlineState::Unknown);
        let until = Some(at("2026-11-30T22:00:00Z"));
        job.waiting =
            Some(Waiting { behind: None, waits_for: WaitsFor::Window, until, detail: String::new() });
        assert_eq!(state_of(&job, None, FIVE).0, DeadlineState::AtRisk);
        assert_eq!(state_of(&job, None, SIX).0, DeadlineState::Late);
        job.state = JobState::Completed.into();
        for (finished, state) in [(SIX, DeadlineState::Met), ("2026-11-30T06:00:01Z", DeadlineState::Missed)]
        {
            job.finished_at = Some(at(finished));
            assert_eq!(state_of(&job, None, "2027-01-01T00:00:00Z").0, state);
        }
        job.state = JobState::Failed.into();
        assert_eq!(state_of(&job, None, SIX).0, DeadlineState::Late, "it is not done");
        job.state = JobState::Aborted.into();
        assert_eq!(report(&job, None, at(FIVE)), None);
        job.due_at = None;
        assert_eq!(report(&job, None, at(FIVE)), None);
    }

    proptest! {
        /// Once the time has passed it is never on time again, and a faster job ends no later.
        #[test]
        fn who_is_faster_is_done_no_later_and_what_is_expected_agrees_with_the_state(
            bytes_left in 0..1_u64 << 50, worked in 0..1_u64 << 40, more in 0..1_u64 << 40,
            within in 1..1_000_000_u64, begins in -100_000..100_000_i64,
            nightly in any::<bool>(),
        ) {
            let now = at(SIX).checked_add(SignedDuration::from_secs(begins)).expect("a time");
            let window = Window::parse("22:00-05:30", WindowEnd::Pause).expect("is one");
            let going = |bytes_worked| Going {
                bytes_left, bytes_worked,
                within: Duration::from_millis(within),
                window: nightly.then_some((window, TimeZone::UTC)),
            };
            let job = running();
            let told = |going: &Going| report(&job, Some(going), now).expect("it has one");
            let (slow, fast) = (told(&going(worked)), told(&going(worked + more)));
            prop_assert_eq!(slow.state == DeadlineState::Late, now >= at(SIX));
            for report in [&slow, &fast] {
                let in_time = report.expected_at.is_some_and(|ends| ends <= at(SIX));
                if report.state != DeadlineState::Late {
                    prop_assert_eq!(report.state == DeadlineState::OnTime, in_time);
                }
                prop_assert!(report.expected_at.is_none_or(|ends| ends >= now));
            }
            if let Some(slow) = slow.expected_at {
                prop_assert!(fast.expected_at.is_some_and(|fast| fast <= slow));
            }
        }
    }
}
