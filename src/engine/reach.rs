//! How many records of each job had run, written where the death of the process leaves it: what runs again is told by this.
//!
//! Files do not tell it: a buffer or an encoder may hold back any part of what ran, and a rule may drop most of it. One small file in the
//! data folder has a place for each job that runs, written with each slice that is collected, and without a sync: a job that goes on from
//! its checkpoint runs again what its place is ahead of it. After a power cut a place may be behind, and less is told than ran.
//! A job that is held or that the service left behind keeps its place until it starts again; one that ended has none. What a completed
//! job left in its place stays there until another takes it: it never runs again, and the next start passes over it.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Mutex;

use super::lock;
use crate::durable_fs;
use crate::model::job_id::JobId;

const FILE: &str = "reach";
/// A job's id, a space, the digits of any count and a line end.
const PLACE_BYTES: usize = 26 + 1 + 20 + 1;
/// A place for each job that runs or is held: more than these are not looked at.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The records that had run, by job.
#[derive(Debug, Default)]
pub(super) struct Reach {
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    /// None: nothing is written down (`ingest`, or the file cannot be made).
    file: Option<File>,
    jobs: HashMap<JobId, Place>,
    /// Indexes of places that nobody has.
    free: Vec<usize>,
    /// How many places there are.
    count: usize,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    index: usize,
    records: u64,
}

impl Reach {
    /// Begins to write down, and takes over what the last process left of those jobs that are not at an end.
    pub(super) fn begin(&self, data_dir: &Path, is_unfinished: impl Fn(JobId) -> bool) {
        let path = data_dir.join(FILE);
        let left = lock(&self.places).open(&path, is_unfinished);
        if let Err(error) = left {
            tracing::warn!(path = %path.display(), %error, "how many records run again after a crash would not be told");
        }
    }

    /// How many records of this job had run when it was last at work.
    pub(super) fn of(&self, id: JobId) -> u64 {
        lock(&self.places).jobs.get(&id).map_or(0, |place| place.records)
    }

    /// So many records of this job have run.
    pub(super) fn note(&self, id: JobId, records: u64) {
        lock(&self.places).note(id, records);
    }

    /// The job has ended, and may run once more.
    pub(super) fn clear(&self, id: JobId) {
        lock(&self.places).clear(id);
    }

    /// The job is completed.
    pub(super) fn forget(&self, id: JobId) {
        lock(&self.places).forget(id);
    }
}

impl Places {
    fn open(&mut self, path: &Path, is_unfinished: impl Fn(JobId) -> bool) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let mut bytes = Vec::new();
        (&file).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
        let left: Vec<_> = bytes
            .chunks(PLACE_BYTES)
            .filter_map(read_place)
            .filter(|(id, records)| *records > 0 && is_unfinished(*id))
            .collect();
        // Moved to the front, so that it does not grow from start to start: at no moment is a place of them all gone.
        let kept = file.try_clone()?;
        self.file = Some(file);
        for (id, records) in left {
            self.note(id, records);
        }
        kept.set_len((self.count * PLACE_BYTES) as u64)
    }

    fn note(&mut self, id: JobId, records: u64) {
        let known = self.jobs.get(&id).copied();
        if known.map_or(0, |place| place.records) == records {
            return;
        }
        let index = known.map(|place| place.index).or_else(|| self.free.pop()).unwrap_or_else(|| {
            self.count += 1;
            self.count - 1
        });
        self.jobs.insert(id, Place { index, records });
        self.write(index, &format!("{id} {records:>20}\n"));
    }

    fn clear(&mut self, id: JobId) {
        if let Some(index) = self.forget(id) {
            self.write(index, &format!("{:width$}\n", "", width = PLACE_BYTES - 1));
        }
    }

    fn forget(&mut self, id: JobId) -> Option<usize> {
        let index = self.jobs.remove(&id)?.index;
        self.free.push(index);
        Some(index)
    }

    fn write(&self, index: usize, line: &str) {
        let Some(file) = &self.file else { return };
        if let Err(error) = durable_fs::write_at(file, (index * PLACE_BYTES) as u64, line.as_bytes()) {
            tracing::debug!(%error, "how many records have run is not written");
        }
    }
}

fn read_place(line: &[u8]) -> Option<(JobId, u64)> {
    let (id, records) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    Some((id.parse().ok()?, records.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> JobId {
        JobId::from_parts(number, 0)
    }

    fn begun(folder: &Path, unfinished: &[u64]) -> Reach {
        let reach = Reach::default();
        reach.begin(folder, |job| unfinished.iter().any(|number| id(*number) == job));
        reach
    }

    #[test]
    fn what_had_run_is_known_to_every_later_process_until_the_job_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let reach = begun(folder.path(), &[]);
        for number in 1..=3 {
            reach.note(id(number), 1);
            reach.note(id(number), number * 1000);
        }
        reach.clear(id(2));
        reach.note(id(4), u64::MAX);
        for _ in 0..2 {
            let next = begun(folder.path(), &[1, 2, 3, 4]);
            assert_eq!([1, 2, 3, 4].map(|number| next.of(id(number))), [1000, 0, 3000, u64::MAX]);
        }
        let last = begun(folder.path(), &[3]); // the others ended, and the word on it was lost
        assert_eq!([1, 3, 4].map(|number| last.of(id(number))), [0, 3000, 0]);
    }

    #[test]
    fn what_a_completed_job_left_is_nobodys() {
        let folder = tempfile::tempdir().expect("a folder");
        let reach = begun(folder.path(), &[]);
        reach.note(id(1), 10);
        reach.forget(id(1));
        assert_eq!(begun(folder.path(), &[2]).of(id(1)), 0);
        let reach = begun(folder.path(), &[]);
        reach.note(id(2), 20);
        assert_eq!([1, 2].map(|number| begun(folder.path(), &[2]).of(id(number))), [0, 20]);
    }

    #[test]
    fn places_are_used_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let reach = begun(folder.path(), &[]);
        for number in 1..=100 {
            reach.note(id(number), 7);
            reach.clear(id(number));
        }
        let length = folder.path().join(FILE).metadata().expect("it is there").len();
        assert_eq!(length, PLACE_BYTES as u64);
    }

    #[test]
    fn a_damaged_file_tells_only_what_can_be_read() {
        let folder = tempfile::tempdir().expect("a folder");
        begun(folder.path(), &[]).note(id(1), 5);
        let path = folder.path().join(FILE);
        let mut bytes = std::fs::read(&path).expect("can be read");
        bytes.splice(0..0, [0xff; PLACE_BYTES]);
        bytes.extend_from_slice(b"half a pl");
        std::fs::write(&path, bytes).expect("can be written");
        assert_eq!(begun(folder.path(), &[1]).of(id(1)), 5);
    }
}
