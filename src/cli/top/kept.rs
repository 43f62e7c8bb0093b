//! The jobs that are on the screen, of a store that may have very many: all that have not ended, and of the others the newest, and those that
//! failed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model::job_id::JobId;
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;

/// Of those that ended well, and of those that failed, so many.
pub(super) const ENDED_MAX: usize = 1000;
/// Of those that are queued the oldest, so that there are so many that have not ended. Whatever else a job is at, it is shown.
pub(super) const UNFINISHED_MAX: usize = 20_000;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Kept {
    unfinished: BTreeMap<JobId, Arc<JobLine>>,
    /// The newest last.
    ended: VecDeque<Arc<JobLine>>,
    failed: VecDeque<Arc<JobLine>>,
    left_out: u64,
}

impl Kept {
    /// A job that is not among them.
    pub(super) fn add(&mut self, line: &JobLine) {
        match line.state {
            JobState::Completed | JobState::Aborted => keep_newest(&mut self.ended, line),
            JobState::Failed | JobState::Refused => keep_newest(&mut self.failed, line),
            JobState::Queued if self.unfinished.len() >= UNFINISHED_MAX => self.left_out += 1,
            _ => drop(self.unfinished.insert(line.id, Arc::new(line.clone()))),
        }
    }

    /// A job as it is now, which may be among them.
    pub(super) fn renew(&mut self, line: &JobLine) {
        self.remove(line.id);
        self.add(line);
    }

    pub(super) fn remove(&mut self, id: JobId) {
        self.unfinished.remove(&id);
        let is_other = |other: &Arc<JobLine>| other.id != id;
        self.ended.retain(is_other);
        self.failed.retain(is_other);
    }

    /// All of them, and how many of those that are queued are not among them.
    pub(super) fn lines(&self) -> (Vec<Arc<JobLine>>, u64) {
        let ended = self.failed.iter().chain(&self.ended);
        (self.unfinished.values().chain(ended).cloned().collect(), self.left_out)
    }

    /// Those that go on without a word of it: of a job that waits it is told when that ends.
    pub(super) fn at_work(&self) -> impl Iterator<Item = JobId> + '_ {
        let is_at_work = |line: &&Arc<JobLine>| {
            matches!(line.state, JobState::Running | JobState::Publishing | JobState::Retiring)
        };
        self.unfinished.values().filter(is_at_work).map(|line| line.id)
    }
}

fn keep_newest(lines: &mut VecDeque<Arc<JobLine>>, line: &JobLine) {
    lines.push_back(Arc::new(line.clone()));
    if lines.len() > ENDED_MAX {
        lines.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::line;
    use super::*;

    fn numbers(kept: &Kept) -> Vec<u64> {
        kept.lines().0.iter().map(|line| line.id.unix_ms()).collect()
    }

    #[test]
    fn of_very_many_jobs_those_are_kept_that_have_not_ended_or_failed_and_the_newest() {
        let mut kept = Kept::default();
        kept.add(&line(1, JobState::Failed));
        kept.add(&line(2, JobState::Running));
        for number in 3..=3000 {
            kept.add(&line(number, JobState::Completed));
        }
        let numbers = numbers(&kept);
        assert_eq!(numbers.len(), 2 + ENDED_MAX);
        assert_eq!((numbers[0], numbers[1], numbers[2]), (2, 1, 2001));
    }

    #[test]
    fn of_very_many_queued_jobs_the_oldest_are_kept_and_the_others_counted() {
        let mut kept = Kept::default();
        for number in 0..UNFINISHED_MAX as u64 + 5 {
            kept.add(&line(number, JobState::Queued));
        }
        kept.add(&line(90_000, JobState::Running));
        let (lines, left_out) = kept.lines();
        assert_eq!((lines.len(), left_out), (UNFINISHED_MAX + 1, 5));
        assert_eq!(kept.at_work().map(JobId::unix_ms).collect::<Vec<_>>(), [90_000]);
    }

    #[test]
    fn a_job_is_among_them_once_whatever_becomes_of_it() {
        let mut kept = Kept::default();
        for (number, state) in [(1, JobState::Running), (2, JobState::Queued), (3, JobState::Failed)] {
            kept.add(&line(number, state));
        }
        kept.renew(&line(3, JobState::Queued)); // it is retried
        kept.renew(&line(1, JobState::Completed));
        assert_eq!(numbers(&kept), [2, 3, 1]);
        kept.renew(&line(1, JobState::Completed)); // a failed record of it was settled
        kept.remove(JobId::from_parts(2, 0));
        assert_eq!(numbers(&kept), [3, 1]);
    }
}
