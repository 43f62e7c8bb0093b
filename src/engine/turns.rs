//! What jobs wait for that is not their own: their turn in a sequence, and a window; and by when they are to be done. For the stages to share.

use std::collections::HashSet;
use std::sync::Mutex;

use jiff::Timestamp;

use super::lock;
use super::sequence_lines::{Behind, Has, Lines};
use crate::model::fault::WaitsFor;
use crate::model::halts::Halts;
use crate::model::job::{Job, Waiting};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;

/// Each part locks for itself.
#[derive(Debug, Default)]
pub(super) struct Turns {
    pub sequences: SequenceBook,
    pub hours: HourBook,
    pub next_due: NextDue,
}

/// The lines of all rules.
#[derive(Debug, Default)]
pub(super) struct SequenceBook {
    lines: Mutex<Lines>,
}

impl SequenceBook {
    /// Nobody begins meanwhile.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Lines) -> R) -> R {
        act(&mut lock(&self.lines))
    }

    /// Says of a queued job behind whom it waits; `halts` as they are told. It is written nowhere.
    pub(super) fn tell(&self, halts: &Halts, job: &mut Job) {
        let waits = job.state == JobState::Queued && job.waiting.is_none() && !job.is_failing();
        if let Some(behind) = waits.then(|| lock(&self.lines).behind(job.id)).flatten() {
            let detail = told(&behind, halts);
            let goes_on = behind.has != Has::Failed || is_retried(&behind, halts);
            let behind = goes_on.then_some(behind.job);
            job.waiting = Some(Waiting { waits_for: WaitsFor::Sequence, until: None, detail, behind });
        }
    }
}

fn is_retried(behind: &Behind, halts: &Halts) -> bool {
    halts.sequences.get(&behind.job).is_some_and(|stop| stop.is_retried)
}

fn told(behind: &Behind, halts: &Halts) -> String {
    let Behind { job, source, has } = behind;
    let what = match has {
        Has::Failed if is_retried(behind, halts) => "which failed and is retried".to_owned(),
        Has::Begun => "which has begun".to_owned(),
        Has::Precedence => "which comes first".to_owned(),
        Has::Failed => format!(
            "which failed: `landfall retry {job}`, or `landfall abandon {job} --reason …`, lets those behind it go on"
        ),
    };
    format!("it is behind job {job} ({source}) in the sequence of its rule, {what}")
}

/// Jobs that a loader found outside their windows.
#[derive(Debug, Default)]
pub(super) struct HourBook {
    waiting: Mutex<HashSet<JobId>>,
}

impl HourBook {
    pub(super) fn note(&self, id: JobId) {
        lock(&self.waiting).insert(id);
    }

    pub(super) fn has(&self, id: JobId) -> bool {
        lock(&self.waiting).contains(&id)
    }

    pub(super) fn waiting(&self) -> Vec<JobId> {
        lock(&self.waiting).iter().copied().collect()
    }

    pub(super) fn forget(&self, called: &HashSet<JobId>) {
        lock(&self.waiting).retain(|id| !called.contains(id));
    }
}

/// The earliest deadline of unfinished jobs that has not been looked at, or an earlier moment. A start has looked at none.
#[derive(Debug)]
pub(super) struct NextDue {
    next: Mutex<Option<Timestamp>>,
}

impl Default for NextDue {
    fn default() -> Self {
        Self { next: Mutex::new(Some(Timestamp::MIN)) }
    }
}

impl NextDue {
    /// A job is to be done by then, if by any time.
    pub(super) fn note(&self, due: Option<Timestamp>) {
        let mut next = lock(&self.next);
        *next = match *next {
            Some(next) => Some(due.map_or(next, |due| due.min(next))),
            None => due,
        };
    }

    /// True once of each: whoever asks looks at the jobs, and notes what is still to come.
    pub(super) fn has_come(&self, now: Timestamp) -> bool {
        lock(&self.next).take_if(|next| *next <= now).is_some()
    }

    /// Whoever was to look could not.
    pub(super) fn look_again(&self) {
        self.note(Some(Timestamp::MIN));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::schedule::Owner;
    use crate::engine::sequence_lines::{LineName, Member, Place};
    use crate::engine::tests::World;

    #[test]
    fn a_queued_job_says_behind_whom_it_is_unless_it_waits_for_something_else() {
        let world = World::new();
        let (first, mut second) = (world.job(), world.second_job("b.txt"));
        let book = SequenceBook::default();
        for job in [&first, &second] {
            let line = LineName { rule: job.rule.clone(), folder: None };
            let source = job.source.path.clone();
            let member = Member { line, place: Place::Arrival, owner: Owner::of(job), source };
            book.with(|lines| lines.enter(job.id, member));
        }
        let mut paused = second.clone();
        paused.pause(crate::clock::now(), "root").expect("is paused");
        book.tell(&Halts::default(), &mut paused);
        assert!(paused.waiting.is_some_and(|waiting| waiting.waits_for == WaitsFor::Pause));
        book.tell(&Halts::default(), &mut second);
        let waiting = second.waiting.expect("it waits");
        assert_eq!(waiting.waits_for, WaitsFor::Sequence);
        assert!(waiting.detail.contains(&first.id.to_string()) && waiting.detail.contains("comes first"));
    }

    #[test]
    fn the_next_deadline_is_the_earliest_and_comes_once() {
        let at = |second| Timestamp::from_second(second).expect("a time");
        let due = NextDue::default();
        assert!(due.has_come(at(0)) && !due.has_come(at(0)), "at the start all are looked at");
        for second in [20, 10, 30] {
            due.note(Some(at(second)));
        }
        due.note(None);
        assert!(!due.has_come(at(9)) && due.has_come(at(10)));
        due.look_again();
        assert!(due.has_come(at(0)));
    }

    #[test]
    fn who_is_called_waits_for_no_window_any_more() {
        let [one, other] = [1, 2].map(|number| JobId::from_parts(number, 0));
        let book = HourBook::default();
        book.note(one);
        book.note(other);
        book.forget(&HashSet::from([one]));
        assert_eq!(book.waiting(), [other]);
    }
}
