//! Sources that somebody may still write after they were archived.
//!
//! Whoever had a source open before it was claimed can write into it wherever it goes. Mostly that is seen: the system tells whether
//! somebody has it open. Where it does not tell ([`crate::watch::is_blind`]), and where the source stays its sender's because this user
//! may not take it, archived sources are looked at again for some minutes, and one that changed is told: its archive is not what was
//! ingested.

use std::collections::{BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;
use crate::clock;
use crate::durable_fs::{self, Mounts};
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::escaped_path;
use crate::store::Store;

/// A stalled upload that goes on later than that is nobody's any more: its connection has ended.
const LOOKED_AT_FOR: Duration = Duration::from_mins(15);
/// So many of the newest.
const WATCHED_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct LateWrites(Mutex<VecDeque<Archived>>);

#[derive(Debug)]
struct Archived {
    job: JobId,
    path: PathBuf,
    was: FileIdentity,
    until: Instant,
}

impl LateWrites {
    /// Takes note of a source that was just archived, if it may have a writer.
    pub(super) fn watch(&self, job: &Job) {
        let Some(path) = job.retired_to.as_ref().map(|target| target.as_path().to_owned()) else { return };
        // One that is still its sender's can be opened by him at any time.
        let is_his = durable_fs::is_foreign(&path);
        if !is_his && !crate::watch::is_blind() {
            return;
        }
        // Nobody else has a copy open: what is written to its original is lost with that.
        let is_copy = matches!(durable_fs::identity_at(&path), Ok(Some(found)) if !found.same_file(&job.source.identity));
        if is_copy || !(is_his || crate::watch::may_have_writer(&path)) {
            return;
        }
        // What was ingested: it may have been written to on its way here.
        let was = job.source.identity;
        let mut archived = lock(&self.0);
        if archived.len() >= WATCHED_MAX {
            archived.pop_front();
        }
        archived.push_back(Archived { job: job.id, path, was, until: Instant::now() + LOOKED_AT_FOR });
    }

    /// Where they lie.
    pub(super) fn mounts(&self, mounts: &Mounts) -> BTreeSet<PathBuf> {
        lock(&self.0).iter().map(|source| mounts.of(&source.path)).collect()
    }

    /// Those of one file system that are not what they were, each told once; what is old enough is forgotten.
    fn changed(&self, now: Instant, is_there: impl Fn(&Path) -> bool) -> Vec<Archived> {
        let (mut changed, mut on) = (Vec::new(), VecDeque::new());
        // Looked at without the lock: an archive that hangs must not hold up those who end their jobs.
        let archived: VecDeque<_> = {
            let mut all = lock(&self.0);
            let (archived, elsewhere) =
                std::mem::take(&mut *all).into_iter().partition(|source| is_there(&source.path));
            *all = elsewhere;
            archived
        };
        for source in archived {
            match durable_fs::identity_at(&source.path) {
                Ok(Some(found)) if found.same_file(&source.was) && !found.same_content(&source.was) => {
                    changed.push(source);
                }
                // Somebody took it away, or its file system is: another look may find it.
                Ok(_) | Err(_) if now < source.until => on.push_back(source),
                Ok(_) | Err(_) => {}
            }
        }
        let mut archived = lock(&self.0);
        on.append(&mut archived); // what came meanwhile is newer
        *archived = on;
        changed
    }
}

/// Looks at the archived sources of one file system that may have had a writer.
pub(super) fn look(late_writes: &LateWrites, store: &Store, is_there: impl Fn(&Path) -> bool) {
    for source in late_writes.changed(Instant::now(), is_there) {
        let path = escaped_path(&source.path);
        let job = store.job(source.job);
        let lay = job.as_ref().ok().and_then(|job| Some(job.as_ref()?.source.path.to_string()));
        tracing::error!(
            job = %source.job, path, lay,
            hint = "copy the archived file to where it lay, where its rule takes it once more, or ask the sender for it",
            "the archived source was written to after it was ingested: an upload was taken before its end, and what came later is in no output"
        );
        let noted = job.and_then(|job| {
            let Some(mut job) = job else { return Ok(()) };
            job.note(
                clock::now(),
                "its source was written to after it was archived: what came later is in no output",
            );
            store.change().ended_job(&job).apply()
        });
        if let Err(error) = noted {
            tracing::warn!(job = %source.job, %error, "this cannot be written down in the job's timeline");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_changes_after_it_was_archived_is_told_once_and_others_are_forgotten_in_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let late = LateWrites::default();
        let until = Instant::now() + LOOKED_AT_FOR;
        for (job, name) in [(1, "quiet"), (2, "written")] {
            let path = folder.path().join(name);
            std::fs::write(&path, "half").expect("written");
            let was = durable_fs::identity_at(&path).expect("can be looked at").expect("a file");
            lock(&late.0).push_back(Archived { job: JobId::from_parts(1, job), path, was, until });
        }
        assert!(late.changed(Instant::now(), |_| true).is_empty());
        std::fs::write(folder.path().join("written"), "half and the rest").expect("written");
        assert!(late.changed(Instant::now(), |_| false).is_empty(), "their file system is another");
        let told: Vec<_> = late.changed(Instant::now(), |_| true).iter().map(|source| source.job).collect();
        assert_eq!(told, [JobId::from_parts(1, 2)]);
        assert!(late.changed(until, |_| true).is_empty() && lock(&late.0).is_empty());
    }
}
