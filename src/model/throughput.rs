//! How a job went over time: how many records were collected by when.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// Moments closer to each other say nothing.
const GAP_MIN: SignedDuration = SignedDuration::from_secs(1);
/// So many moments at most: then every second one goes.
const MOMENTS_MAX: usize = 64;
/// Between two moments lies at least this part of all the time before: those that are kept thin out by themselves.
const PARTS: i32 = 32;

/// So many records were collected by then, of all starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reached {
    /// When.
    pub at: Timestamp,
    /// Records.
    pub records: u64,
}

/// Moments over the whole of a job's work, at about the same distance however long it takes; none of a job of less than a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Throughput(Vec<Reached>);

impl Throughput {
    /// A start, which goes on behind so many records: what was reached after those is to be done again. `first`: when it was first started,
    /// which alone is not kept.
    pub(crate) fn begin(&mut self, records: u64, first: Option<Timestamp>, at: Timestamp) {
        self.0.retain(|reached| records > 0 && reached.records <= records);
        if let Some(first) = first.filter(|_| records > 0 && self.0.is_empty()) {
            self.push(Reached { at: first, records: 0 });
        }
        self.push(Reached { at, records });
    }

    /// So many records are collected by now.
    pub(crate) fn note(&mut self, records: u64, at: Timestamp) {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else { return };
        let gap = last.at.duration_since(first.at) / PARTS;
        if at.duration_since(last.at) >= gap.max(GAP_MIN) {
            self.push(Reached { at, records });
        }
    }

    fn push(&mut self, reached: Reached) {
        if self.0.len() >= MOMENTS_MAX {
            let mut is_kept = false;
            self.0.retain(|_| {
                is_kept = !is_kept;
                is_kept
            });
        }
        self.0.push(reached);
    }

    /// Whether there is nothing to be drawn.
    pub(crate) fn is_trivial(&self) -> bool {
        self.0.len() < 2
    }

    /// Oldest first.
    pub(crate) fn moments(&self) -> &[Reached] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + seconds).expect("a time")
    }

    #[test]
    fn a_job_of_a_day_has_few_moments_at_about_the_same_distance() {
        let mut throughput = Throughput::default();
        throughput.begin(0, None, at(0));
        for second in 1..=86_400_i64 {
            throughput.note(second.cast_unsigned() * 10, at(second));
            assert!(throughput.moments().len() <= MOMENTS_MAX);
        }
        let moments = throughput.moments();
        assert_eq!(moments[0], Reached { at: at(0), records: 0 });
        assert!(moments.len() > 20, "{}", moments.len());
        let gaps: Vec<_> = moments.windows(2).map(|two| two[1].at.duration_since(two[0].at)).collect();
        assert!(gaps.iter().all(|gap| gap.as_secs() < 86_400 / 8), "{gaps:?}");
        let is_told = |moment: &Reached| at(i64::try_from(moment.records / 10).expect("few")) == moment.at;
        assert!(moments.iter().all(is_told), "{moments:?}");
    }

    #[test]
    fn a_job_that_is_done_at_once_has_nothing_to_be_drawn() {
        let mut throughput = Throughput::default();
        throughput.begin(0, None, at(0));
        throughput.note(5, at(0));
        assert!(throughput.is_trivial());
        throughput.note(9, at(1));
        assert!(!throughput.is_trivial());
    }

    #[test]
    fn what_a_start_does_again_is_no_longer_reached() {
        let mut throughput = Throughput::default();
        throughput.begin(0, None, at(0));
        throughput.note(10, at(1));
        throughput.note(20, at(2));
        throughput.begin(10, Some(at(0)), at(5));
        let records: Vec<_> = throughput.moments().iter().map(|moment| moment.records).collect();
        assert_eq!(records, [0, 10, 10]);
        throughput.begin(0, Some(at(0)), at(9));
        assert_eq!(throughput.moments(), [Reached { at: at(9), records: 0 }]);
    }

    #[test]
    fn a_start_that_goes_on_knows_when_the_first_one_was() {
        let mut throughput = Throughput::default();
        throughput.begin(10, Some(at(0)), at(5));
        let expected = [(0, 0), (5, 10)].map(|(second, records)| Reached { at: at(second), records });
        assert_eq!(throughput.moments(), expected);
    }
}
