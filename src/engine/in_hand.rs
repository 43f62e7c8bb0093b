//! Which jobs are in hand, written where the death of the process leaves it: a job that ends the process again and again is found out.
//!
//! One small file in the data folder has a place for each job that is being loaded and worked; it is written without a sync, because
//! what a job does to the process, it does not do to the system. A place is emptied when the job has ended its work or has a new
//! checkpoint (whatever it did, it got on), and at a clean stop. What still stands in it at the next start was in hand when the process
//! died. It is held against a job only where there is no other to suspect:
//!
//! - a single job in hand: one death is held against it;
//! - several: all are suspects, and suspects run one at a time from then on, beside jobs that are none;
//! - one suspect among others: the death is held against the suspect, and the others become suspects.
//!
//! A checkpoint and a retry clear the sheet. After [`DEATHS_MAX`] the job fails.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use super::lock;
use crate::durable_fs;
use crate::model::job_id::JobId;

/// Deaths held against a job after which it fails.
pub(super) const DEATHS_MAX: u32 = 5;
/// Deaths after which it is taken up again only after a pause.
const DEATHS_WITHOUT_PAUSE: u32 = 2;
const FILE: &str = "in-hand";
/// A job's id and a line end.
const PLACE_BYTES: usize = 27;
/// There are never so many jobs in hand.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The jobs in hand.
#[derive(Debug, Default)]
pub(super) struct InHand {
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    /// None: nothing is written down (`ingest`, or the file cannot be made).
    file: Option<File>,
    jobs: Vec<Option<JobId>>,
    /// The suspect that is in hand.
    suspect: Option<JobId>,
}

impl InHand {
    /// Begins to write down; the jobs that were in hand when the last process died.
    pub(super) fn begin(&self, data_dir: &Path) -> Vec<JobId> {
        let path = data_dir.join(FILE);
        let begun = open_empty(&path);
        let mut places = lock(&self.places);
        match begun {
            Ok((file, left)) => {
                places.file = Some(file);
                left
            }
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a job that ends the process again and again would not be found out");
                Vec::new()
            }
        }
    }

    /// A job is about to be loaded. False: it is a suspect, and another suspect is in hand.
    pub(super) fn take(&self, id: JobId, is_suspect: bool) -> bool {
        let mut places = lock(&self.places);
        if is_suspect && places.suspect.is_some_and(|other| other != id) {
            return false;
        }
        if is_suspect {
            places.suspect = Some(id);
        }
        let free = places.jobs.iter().position(Option::is_none).unwrap_or(places.jobs.len());
        places.put(free, Some(id));
        true
    }

    /// The job got on, or is not in hand any more.
    pub(super) fn clear(&self, id: JobId) {
        let mut places = lock(&self.places);
        if places.suspect == Some(id) {
            places.suspect = None;
        }
        if let Some(place) = places.jobs.iter().position(|job| *job == Some(id)) {
            places.put(place, None);
        }
    }

    /// A clean stop.
    pub(super) fn clear_all(&self) {
        let mut places = lock(&self.places);
        places.jobs.clear();
        if let Some(Err(error)) = places.file.as_ref().map(|file| file.set_len(0)) {
            tracing::warn!(%error, "jobs in hand may seem to have ended the process");
        }
    }
}

impl Places {
    fn put(&mut self, place: usize, job: Option<JobId>) {
        if self.jobs.len() <= place {
            self.jobs.resize(place + 1, None);
        }
        if let Some(slot) = self.jobs.get_mut(place) {
            *slot = job;
        }
        let Some(file) = &self.file else { return };
        let text = job.map_or_else(String::new, |job| job.to_string());
        let line = format!("{text:<width$}\n", width = PLACE_BYTES - 1);
        if let Err(error) = durable_fs::write_at(file, (place * PLACE_BYTES) as u64, line.as_bytes()) {
            tracing::debug!(%error, "the list of jobs in hand is not written");
        }
    }
}

fn open_empty(path: &Path) -> io::Result<(File, Vec<JobId>)> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut bytes = Vec::new();
    (&file).take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    // Before anything is held against a job: a death in between may be forgotten, but is not counted twice.
    file.set_len(0)?;
    let left = String::from_utf8_lossy(&bytes);
    let mut jobs: Vec<JobId> = left.lines().filter_map(|line| line.trim().parse().ok()).collect();
    jobs.sort();
    jobs.dedup();
    Ok((file, jobs))
}

/// Jobs that were in hand when the process died, each with the deaths held against it before (none: it was no suspect); the same with
/// this death.
pub(super) fn judged(in_hand: &[Option<u32>]) -> Vec<u32> {
    let suspects = in_hand.iter().flatten().count();
    let is_alone = |before: &Option<u32>| match suspects {
        0 => in_hand.len() == 1,
        1 => before.is_some(),
        _ => false,
    };
    in_hand.iter().map(|before| before.unwrap_or(0) + u32::from(is_alone(before))).collect()
}

/// How long a job waits against which so many deaths are held. Whoever kills the service over and over soon meets it waiting, and
/// not in hand.
pub(super) fn pause_after(deaths: u32) -> Duration {
    match deaths.checked_sub(DEATHS_WITHOUT_PAUSE + 1) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(1 << (2 * more).min(8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> JobId {
        JobId::from_parts(number, 0)
    }

    /// What the next process finds.
    fn left_in(folder: &Path) -> Vec<JobId> {
        InHand::default().begin(folder)
    }

    #[test]
    fn what_is_in_hand_is_found_at_the_next_start_and_only_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let in_hand = InHand::default();
        assert_eq!(in_hand.begin(folder.path()), []);
        for number in 1..=3 {
            assert!(in_hand.take(id(number), false));
        }
        in_hand.clear(id(2));
        assert_eq!(left_in(folder.path()), [id(1), id(3)]);
        assert_eq!(left_in(folder.path()), []);
    }

    #[test]
    fn a_clean_stop_leaves_nothing_in_hand() {
        let folder = tempfile::tempdir().expect("a folder");
        let in_hand = InHand::default();
        in_hand.begin(folder.path());
        in_hand.take(id(1), false);
        in_hand.clear_all();
        assert_eq!(left_in(folder.path()), []);
    }

    #[test]
    fn suspects_are_in_hand_one_at_a_time_beside_those_that_are_none() {
        let in_hand = InHand::default();
        assert!(in_hand.take(id(1), true));
        assert!(in_hand.take(id(2), false));
        assert!(!in_hand.take(id(3), true));
        in_hand.clear(id(1)); // it made a checkpoint
        assert!(in_hand.take(id(3), true));
    }

    #[test]
    fn a_death_is_held_against_a_job_only_where_there_is_no_other_to_suspect() {
        assert_eq!(judged(&[None]), [1], "alone");
        assert_eq!(judged(&[None, None]), [0, 0], "suspects from now on");
        assert_eq!(judged(&[Some(0), None]), [1, 0], "the one that was suspected before");
        assert_eq!(judged(&[Some(4)]), [5]);
        assert_eq!(judged(&[Some(2), Some(1), None]), [2, 1, 0], "cannot be told");
    }

    #[test]
    fn the_pauses_grow_and_the_first_deaths_cost_none() {
        let pauses: Vec<_> = (0..DEATHS_MAX).map(|deaths| pause_after(deaths).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 0, 1, 4]);
    }

    #[test]
    fn a_list_that_is_not_ours_is_no_ones() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(FILE), b"\xff\x00 garbage\n\n").expect("written");
        assert_eq!(left_in(folder.path()), []);
    }
}
