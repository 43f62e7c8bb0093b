//! Who reads jobs that would else be destroyed: programs, through the library, and those who tell of jobs that ended.
//!
//! A program says so again and again, so that one that is killed keeps nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;
use crate::model::job_id::JobId;

/// A reader that says nothing for so long is gone.
pub(crate) const READER_SILENT_MAX: Duration = Duration::from_secs(30);
/// Readers that are remembered at once.
const READERS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Readers(Mutex<BTreeMap<String, Reader>>);

#[derive(Debug)]
struct Reader {
    jobs: BTreeSet<JobId>,
    until: Instant,
}

impl Readers {
    /// From now on this reader reads these jobs, and no others. One more than are remembered at once keeps nothing.
    pub(super) fn note(&self, reader: &str, jobs: &[JobId], now: Instant) {
        let mut readers = lock(&self.0);
        readers.retain(|_, known| known.until > now);
        if jobs.is_empty() {
            readers.remove(reader);
        } else if readers.len() < READERS_MAX || readers.contains_key(reader) {
            let reads = Reader { jobs: jobs.iter().copied().collect(), until: now + READER_SILENT_MAX };
            readers.insert(reader.to_owned(), reads);
        }
    }

    /// All that are read now.
    pub(super) fn read_now(&self, now: Instant) -> BTreeSet<JobId> {
        let readers = lock(&self.0);
        let known = readers.values().filter(|known| known.until > now);
        known.flat_map(|known| known.jobs.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_keeps_the_jobs_that_it_named_last_until_it_is_silent() {
        let (readers, now) = (Readers::default(), Instant::now());
        let [one, two, three] = [1, 2, 3].map(|number| JobId::from_parts(1, number));
        readers.note("a", &[one, two], now);
        readers.note("b", &[two], now);
        readers.note("a", &[one, three], now);
        assert_eq!(readers.read_now(now), BTreeSet::from([one, two, three]));
        readers.note("b", &[], now);
        assert_eq!(readers.read_now(now), BTreeSet::from([one, three]));
        assert_eq!(readers.read_now(now + READER_SILENT_MAX), BTreeSet::new());
    }
}
