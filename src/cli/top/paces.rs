//! How fast jobs go of late, by what was seen of them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::model::job_id::JobId;
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;

/// Looks that are older say little of how fast it goes now.
const LOOK_BACK: Duration = Duration::from_secs(15);
/// A pace of less time says little.
const WITHIN_MIN: Duration = Duration::from_millis(900);

#[derive(Clone, Copy, Debug)]
struct Look {
    at: Instant,
    records: u64,
    bytes: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Paces {
    looks: HashMap<JobId, VecDeque<Look>>,
}

/// How fast one goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Pace {
    pub(super) records_per_second: f64,
    /// To its end, if it goes on so; none: it stands still.
    pub(super) left: Option<Duration>,
}

impl Paces {
    /// These are all jobs, as they were at this moment.
    pub(super) fn note(&mut self, lines: &[Arc<JobLine>], at: Instant) {
        let mut before = std::mem::take(&mut self.looks);
        for line in lines.iter().filter(|line| line.state == JobState::Running) {
            let mut looks = before.remove(&line.id).unwrap_or_default();
            let look = Look { at, records: line.records_in, bytes: line.bytes_worked };
            if looks.back().is_some_and(|last| last.records > look.records || last.bytes > look.bytes) {
                looks.clear(); // it begins anew
            }
            looks.push_back(look);
            while looks.get(1).is_some_and(|next| at.saturating_duration_since(next.at) >= LOOK_BACK) {
                looks.pop_front();
            }
            self.looks.insert(line.id, looks);
        }
    }

    /// None: it is not known yet.
    pub(super) fn of(&self, line: &JobLine) -> Option<Pace> {
        let looks = self.looks.get(&line.id)?;
        let (first, last) = (looks.front()?, looks.back()?);
        let within = last.at.saturating_duration_since(first.at);
        if within < WITHIN_MIN {
            return None;
        }
        let per_second = |count: u64| count as f64 / within.as_secs_f64();
        let bytes_per_second = per_second(last.bytes - first.bytes);
        let bytes_left = line.size.saturating_sub(line.bytes_worked);
        let left = Duration::try_from_secs_f64(bytes_left as f64 / bytes_per_second);
        Some(Pace {
            records_per_second: per_second(last.records - first.records),
            left: left.ok().filter(|_| bytes_per_second > 0.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::line;
    use super::*;

    fn at_work(bytes_worked: u64) -> Vec<Arc<JobLine>> {
        let job = line(1, JobState::Running);
        vec![Arc::new(JobLine { bytes_worked, records_in: 10 * bytes_worked, ..job })]
    }

    #[test]
    fn a_pace_is_that_of_the_last_seconds_and_says_how_long_the_rest_takes() {
        let (mut paces, begun) = (Paces::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        paces.note(&at_work(100), begun);
        assert_eq!(paces.of(&at_work(100)[0]), None, "of one look nothing is known");
        paces.note(&at_work(300), at(2));
        let pace = Pace { records_per_second: 1000.0, left: Some(Duration::from_secs(7)) };
        assert_eq!(paces.of(&at_work(300)[0]), Some(pace));
        for seconds in 3..40 {
            paces.note(&at_work(300), at(seconds));
        }
        let still = Pace { records_per_second: 0.0, left: None };
        assert_eq!(paces.of(&at_work(300)[0]), Some(still));
        assert!(paces.looks[&at_work(0)[0].id].len() <= 17, "what is kept is bounded");
    }

    #[test]
    fn a_job_that_begins_anew_has_a_new_pace_and_one_that_ended_has_none() {
        let (mut paces, begun) = (Paces::default(), Instant::now());
        let at = |seconds| begun + Duration::from_secs(seconds);
        paces.note(&at_work(900), begun);
        paces.note(&at_work(0), at(1));
        assert_eq!(paces.of(&at_work(0)[0]), None);
        paces.note(&[Arc::new(line(1, JobState::Completed))], at(2));
        assert!(paces.looks.is_empty());
    }
}
