//! `source.archive_keep`: archived sources are removed when they are older, with what was archived beside them.
//!
//! Only files that a job of the rule archived itself, known by their rows in the store, and only while they are what they were. The row
//! goes after the file: a crash between them leaves a row whose file is gone. Where the folder is away, or another one has its name,
//! nothing can be said, and the row stays. A rule that is off removes nothing. The source of a job with failed records stays as long as those are kept: they were not processed.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::lock;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::durable_fs::{self, Presence};
use crate::model::rule::{Mode, Rule};
use crate::store::{ArchivedFile, ArchivedRow};
use crate::telemetry::events;

/// Jobs of one rule whose sources are looked at in one tick.
const ROWS_MAX: usize = 256;
/// After a file could not be removed, or at the end of those that are due but must stay.
const PAUSE: Duration = Duration::from_mins(10);

/// Where the removal stands, rule by rule. What it forgets at a stop only makes it begin with the oldest again.
#[derive(Default)]
pub(super) struct Thinning(Mutex<HashMap<String, Progress>>);

#[derive(Default)]
struct Progress {
    /// The last row that stays although it is due.
    after: Option<ArchivedRow>,
    not_before: Option<Instant>,
}

/// What is to become of a file's row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// It is there as it was archived.
    Ours,
    /// It is gone, or another file has its name.
    NotOurs,
    /// Its folder is away.
    OutOfReach,
}

impl Thinning {
    /// A bounded piece of work for each of these rules that removes anything. Locked for none of it: an archive may hang.
    pub(super) fn tick(&self, shared: &Shared, rules: &[Arc<Rule>]) {
        for rule in rules {
            // It may have waited for a file system that hung, and been exchanged meanwhile.
            let is_it = |now: &&Arc<Rule>| now.is_base() && now.name == rule.name;
            let rules = shared.rules.now();
            let Some(rule) = rules.iter().find(is_it).filter(|rule| rule.mode == Mode::Live) else {
                continue;
            };
            let Some(keep) = rule.source.archive_keep else { continue };
            let mut progress = lock(&self.0).remove(&rule.name).unwrap_or_default();
            let is_due = progress.not_before.is_none_or(|at| Instant::now() >= at);
            if is_due
                && !shared.stop.is_asked()
                && let Err(trouble) = progress.remove_some(shared, rule, keep)
            {
                tracing::warn!(rule = rule.name, error = %trouble.error, "an archived source could not be removed; tried again in ten minutes");
                progress = Progress { after: None, not_before: Instant::now().checked_add(PAUSE) };
                shared.stop_if_poisoned(&trouble);
            }
            lock(&self.0).insert(rule.name.clone(), progress);
        }
    }
}

impl Progress {
    fn remove_some(&mut self, shared: &Shared, rule: &Rule, keep: Duration) -> Result<(), Trouble> {
        let wall_clock = &shared.resources.wall_clock;
        let Some(before) = wall_clock.old_before(&shared.store, keep) else { return Ok(()) };
        let rows = shared.store.archived_before(&rule.name, before, self.after.as_ref());
        let rows: Vec<_> = rows.take(ROWS_MAX).collect::<Result<_, _>>()?;
        let is_last = rows.len() < ROWS_MAX;
        let given_up =
            wall_clock.old_before(&shared.store, keep.saturating_add(shared.service.ledger_retention));
        let mut folders = BTreeSet::new();
        let mut done = Vec::with_capacity(rows.len());
        let mut removed = 0;
        for row in rows {
            let outcome = match remove_files(shared, &row) {
                // One that cannot be removed holds up no other.
                Err(trouble) if !trouble.is_poisoned() => {
                    tracing::warn!(rule = %rule.name, job = %row.job, error = %trouble.error, "an archived source cannot be removed yet");
                    Removed::StillNeeded
                }
                outcome => outcome?,
            };
            match outcome {
                Removed::Files(files) => {
                    removed += files;
                    folders.extend(row.files.iter().map(|file| folder_of(file).to_owned()));
                    done.push(row);
                }
                // Nobody brought its folder back in all that time.
                Removed::OutOfReach if given_up.is_some_and(|long_ago| row.at < long_ago) => done.push(row),
                Removed::OutOfReach | Removed::StillNeeded => self.after = Some(row),
            }
        }
        if removed > 0 {
            for folder in folders.iter().filter(|folder| folder.is_dir()) {
                durable_fs::sync_folder(folder)?; // the files are gone for good before their rows are
            }
        }
        let mut changes = shared.store.change();
        for row in &done {
            changes.forget_archived(row);
        }
        changes.apply()?;
        if removed > 0 {
            events::archive_thinned(&rule.name, removed);
        }
        if is_last && self.after.take().is_some() {
            self.not_before = Instant::now().checked_add(PAUSE);
        }
        Ok(())
    }
}

/// What became of a row's files.
enum Removed {
    /// So many were there and are gone now.
    Files(u64),
    /// Its job has failed records.
    StillNeeded,
    /// Nothing can be said.
    OutOfReach,
}

fn remove_files(shared: &Shared, row: &ArchivedRow) -> Result<Removed, Trouble> {
    if shared.store.failed_records_count(row.job)? > 0 {
        return Ok(Removed::StillNeeded);
    }
    let mut removed = 0;
    for file in &row.files {
        match look(file)? {
            Found::Ours => {
                durable_fs::remove_seen(file.path.as_path())?;
                removed += 1;
            }
            Found::NotOurs => {}
            Found::OutOfReach => return Ok(Removed::OutOfReach),
        }
    }
    Ok(Removed::Files(removed))
}

fn look(file: &ArchivedFile) -> Result<Found, Trouble> {
    let unreadable = |error: std::io::Error| {
        Trouble::from(durable_fs::FsError::new("look at", file.path.as_path(), error))
    };
    let found = durable_fs::presence(file.path.as_path()).map_err(unreadable)?;
    let folder = match found {
        Presence::Gone(folder) => Some(folder),
        Presence::Here(_) => durable_fs::folder_identity(folder_of(file)).map_err(unreadable)?,
        Presence::FolderAway => None,
    };
    let is_same = |folder| durable_fs::is_same_folder(folder_of(file), &folder, &file.folder);
    if !folder.is_some_and(is_same) {
        return Ok(Found::OutOfReach);
    }
    // Its device may have another number after a restart, and a new mode or link changes only the ctime.
    let is_it = |found| durable_fs::is_same_content(file.path.as_path(), &found, &file.identity);
    Ok(if found.file().is_some_and(is_it) { Found::Ours } else { Found::NotOurs })
}

fn folder_of(file: &ArchivedFile) -> &Path {
    durable_fs::parent_of(file.path.as_path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::engine::tests::{World, failed_record, is_there};
    use crate::model::job::Job;

    const KEEP: Duration = Duration::from_hours(24);

    /// A world with a file that was archived two days ago, and its row.
    fn archived() -> (World, Job) {
        let world = World::new();
        let job = world.job();
        std::fs::create_dir(world.path("archive")).expect("makes");
        std::fs::write(world.path("archive/pay.txt"), "1\n").expect("writes");
        let path = world.path("archive/pay.txt");
        let identity = durable_fs::identity_at(&path).expect("looks").expect("a regular file");
        let folder = durable_fs::folder_identity(&world.path("archive")).expect("looks").expect("a folder");
        let files = vec![ArchivedFile { path: path.into(), identity, folder }];
        let at = clock::ago(2 * KEEP).expect("is in the calendar");
        let row = ArchivedRow { job: job.id, rule: job.rule.clone(), at, files };
        world.shared.store.change().archived(&row).apply().expect("writes");
        (world, job)
    }

    /// Whether the file and its row are there after a look at what is older than `keep`.
    fn left(world: &World, keep: Duration) -> (bool, bool) {
        let rule = &*world.rule();
        Progress::default().remove_some(&world.shared, rule, keep).expect("looks");
        let rows = world.shared.store.archived_before(&rule.name, clock::now(), None).count();
        (is_there(&world.path("archive/pay.txt")), rows > 0)
    }

    #[test]
    fn an_archived_source_goes_when_it_is_old_enough_and_its_row_with_it() {
        let (world, _) = archived();
        assert_eq!(left(&world, 3 * KEEP), (true, true));
        assert_eq!(left(&world, KEEP), (false, false));
    }

    #[test]
    fn another_file_of_its_name_stays() {
        let (world, _) = archived();
        std::fs::write(world.path("archive/pay.txt"), "somebody else's").expect("writes");
        assert_eq!(left(&world, KEEP), (true, false));
    }

    #[test]
    fn where_its_folder_is_away_nothing_is_forgotten() {
        let (world, _) = archived();
        durable_fs::rename_replace(&world.path("archive"), &world.path("away")).expect("unmounts");
        assert_eq!(left(&world, KEEP), (false, true));
        assert!(is_there(&world.path("away/pay.txt")));
    }

    #[test]
    fn a_source_whose_records_failed_stays_as_long_as_they_are_kept() {
        let (world, job) = archived();
        world
            .shared
            .store
            .change()
            .failed_records(job.id, 0, &[failed_record(1, "too long")])
            .apply()
            .expect("writes");
        assert_eq!(left(&world, KEEP), (true, true));
    }
}
