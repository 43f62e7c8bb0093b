//! When which look is due: what changed is seen at once, and all looking together takes a small part of the time, however many jobs there are.
//!
//! - Some jobs: those that changed, and those at work, whose progress nobody tells.
//! - All jobs, for what is told of all together, where one ended; and now and then for what stands beside them: disks, pauses, files that
//!   wait, what holds jobs back.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::notice::Notice;

/// What changed is looked at after this: many changes come together.
const CHANGES_EVERY: Duration = Duration::from_millis(250);
/// Progress is looked at so often, and all of what changes.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// All jobs are looked at so often.
const ALL_EVERY: Duration = Duration::from_secs(10);
/// A look is followed by so many times what it took.
const PAUSE_FOR_COST: u32 = 30;
/// So many are asked for at once: the request must not be too long.
pub(super) const ASKED_MAX: usize = 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct Due {
    changed: BTreeSet<JobId>,
    /// More changed than is asked for one by one, or what changes the counts of those that ended.
    anew: bool,
    some_ended: Option<(Instant, Duration)>,
    all_ended: Option<(Instant, Duration)>,
}

impl Due {
    pub(super) fn new() -> Self {
        Self { changed: BTreeSet::new(), anew: true, some_ended: None, all_ended: None }
    }

    pub(super) fn note(&mut self, notice: &Notice) {
        match notice {
            Notice::ReadAnew => self.anew = true,
            Notice::Changed(change) => {
                let has_ended = change.state.is_none_or(JobState::is_final);
                self.anew |= has_ended || self.changed.len() >= ASKED_MAX;
                if self.changed.len() < ASKED_MAX {
                    self.changed.insert(change.job);
                }
            }
            Notice::Quiet => {}
        }
    }

    /// Whether all jobs are to be looked at now.
    pub(super) fn all(&self, now: Instant) -> bool {
        let least = if self.anew { PROGRESS_EVERY } else { ALL_EVERY };
        is_over(self.all_ended, least, now)
    }

    /// Whether some are; `at_work`: whether any is.
    pub(super) fn some(&self, at_work: bool, now: Instant) -> bool {
        let least = match (self.changed.is_empty(), at_work) {
            (false, _) => CHANGES_EVERY,
            (true, true) => PROGRESS_EVERY,
            (true, false) => return false,
        };
        is_over(self.some_ended, least, now)
    }

    /// Those that changed; they are looked at now.
    pub(super) fn take_changed(&mut self) -> BTreeSet<JobId> {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn looked_at_some(&mut self, begun: Instant, now: Instant) {
        self.some_ended = Some((now, now.saturating_duration_since(begun)));
    }

    /// What changes from now on is to be noted: what a look saw may be older.
    pub(super) fn begin_all(&mut self) {
        self.changed.clear();
        self.anew = false;
    }

    pub(super) fn looked_at_all(&mut self, begun: Instant, now: Instant) {
        let took = Some((now, now.saturating_duration_since(begun)));
        (self.all_ended, self.some_ended) = (took, self.some_ended.or(Some((now, Duration::ZERO))));
    }
}

fn is_over(before: Option<(Instant, Duration)>, pause: Duration, now: Instant) -> bool {
    before.is_none_or(|(ended, took)| now >= ended + pause.max(took * PAUSE_FOR_COST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::notice::JobChange;

    fn change(number: u64) -> Notice {
        changed_to(number, JobState::Running)
    }

    fn changed_to(number: u64, state: JobState) -> Notice {
        let (job, rule) = (JobId::from_parts(number, 0), String::new());
        Notice::Changed(JobChange { job, rule, before: None, state: Some(state), waits: false })
    }

    fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn what_changed_is_looked_at_soon_progress_each_second_and_where_nothing_happens_nothing() {
        let (mut due, begun) = (Due::new(), Instant::now());
        assert!(due.all(begun), "at first");
        due.begin_all();
        due.looked_at_all(begun, begun);
        assert!(!due.some(false, begun + ms(9999)) && !due.all(begun + ms(9999)));
        assert!(!due.some(true, begun + ms(999)) && due.some(true, begun + ms(1000)));
        assert!(due.all(begun + ms(10_000)), "what stands beside the jobs changes unheard");
        due.note(&change(1));
        due.note(&Notice::Quiet);
        assert!(!due.some(false, begun + ms(249)) && due.some(false, begun + ms(250)));
        assert_eq!(due.take_changed().len(), 1);
        assert!(!due.some(false, begun + ms(250)));
    }

    #[test]
    fn a_look_that_takes_long_is_followed_by_a_long_pause() {
        let (mut due, begun) = (Due::new(), Instant::now());
        due.begin_all();
        let ended = begun + ms(2000);
        due.looked_at_all(begun, ended);
        due.note(&Notice::ReadAnew);
        assert!(!due.all(ended + ms(59_999)) && due.all(ended + ms(60_000)));
        due.note(&change(1));
        due.looked_at_some(begun, begun + ms(100));
        assert!(!due.some(false, begun + ms(3099)) && due.some(false, begun + ms(3100)));
    }

    #[test]
    fn a_job_that_ended_is_looked_at_soon_and_counted_with_all_others_a_second_later() {
        let (mut due, begun) = (Due::new(), Instant::now());
        due.begin_all();
        due.looked_at_all(begun, begun);
        due.note(&changed_to(1, JobState::Completed));
        assert!(due.some(false, begun + ms(250)) && !due.all(begun + ms(250)));
        assert!(due.all(begun + ms(1000)));
    }

    #[test]
    fn very_many_changes_are_looked_at_all_together() {
        let (mut due, begun) = (Due::new(), Instant::now());
        due.begin_all();
        due.looked_at_all(begun, begun);
        (0..=ASKED_MAX as u64).for_each(|number| due.note(&change(number)));
        assert!(due.all(begun + ms(1000)));
        assert_eq!(due.take_changed().len(), ASKED_MAX);
    }
}
