//! What this process knows of the sources that it takes, beside their rows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::claim_folders::ClaimFolders;
use super::given_back::GivenBack;
use super::held::HeldSources;
use super::late_writes::LateWrites;
use super::lock;
use super::one_at_a_time::OneAtATime;
use super::taken::TakenFiles;
use super::trouble::Trouble;
use super::unopened::Unopened;
use super::unsynced_claims::UnsyncedClaims;
use super::watches::Watches;
use crate::clock::JobIds;
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::store::Store;
use crate::watch::Answer;

/// Each part locks for itself.
#[derive(Default)]
pub(super) struct Claims {
    pub ids: JobIds,
    /// The folders that sources are claimed into.
    pub folders: ClaimFolders,
    /// Synced before such a job is started.
    pub unsynced: UnsyncedClaims,
    pub given_back: Arc<GivenBack>,
    /// The paths that files are being renamed back to, and whose they are.
    coming_back: Mutex<BTreeSet<(PathBuf, JobId)>>,
    /// By which another name of a claimed file is known.
    pub taken: Arc<TakenFiles>,
    /// Archived sources that may still have a writer.
    pub late_writes: LateWrites,
    /// Files that an operator named: each is looked for among the rows before it has one.
    pub ingesting: OneAtATime<PathBuf>,
    /// Files that an intake claims now, or that are adopted: a folder may be watched under two names, by two of them.
    pub keeping: OneAtATime<FileIdentity>,
    /// What the start has not got through yet.
    pub unopened: Unopened,
    /// Who offers them.
    pub watches: Watches,
    /// What an engine and the one that stands aside have to do with each other.
    pub held: HeldSources,
}

impl Claims {
    /// Tells the watch, if there is one, what became of a file.
    pub(super) fn answer(&self, path: &Path, answer: Answer) {
        self.watches.answer(path, answer);
    }

    /// The job's file is about to lie where it lay, or does already, and has its claimed name as well.
    pub(super) fn comes_back(&self, job: &Job) {
        lock(&self.coming_back).insert((job.source.path.as_path().to_owned(), job.id));
    }

    /// It has one name, or none that is ours.
    pub(super) fn came_back(&self, job: &Job) {
        lock(&self.coming_back).remove(&(job.source.path.as_path().to_owned(), job.id));
    }

    /// The job whose file lies at a path for the time being, and is not given back yet.
    pub(super) fn is_coming_back(&self, path: &Path, store: &Store) -> Result<Option<JobId>, Trouble> {
        let first = (path.to_owned(), JobId::from_bytes([0; 16]));
        let ids: Vec<_> = {
            let coming = lock(&self.coming_back);
            coming.range(first..).take_while(|(to, _)| to == path).map(|(_, id)| *id).collect()
        };
        for id in ids {
            if store.job(id)?.is_some_and(|job| !job.state.is_final() && job.is_given_back()) {
                return Ok(Some(id));
            }
            lock(&self.coming_back).remove(&(path.to_owned(), id));
        }
        Ok(None)
    }
}

/// Of a job's id.
pub(super) fn random_tail() -> u128 {
    use std::hash::{BuildHasher as _, RandomState};
    // `RandomState` is seeded by the operating system; ids need to differ, not to be secret.
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    half() << 64 | half()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::engine::watches::Watched;
    use crate::engine::watches::tests::{PATIENCE, watch_of};

    #[test]
    fn a_name_is_free_only_once_all_files_that_come_back_to_it_have() {
        let world = World::new();
        let (claims, store) = (&world.shared.claims, &world.shared.store);
        let (mut first, mut second) = (world.job(), world.second_job("b.txt"));
        second.source.path = first.source.path.clone();
        for job in [&mut first, &mut second] {
            job.give_back().expect("begins");
            world.shared.save(job).expect("writes");
            claims.comes_back(job);
        }
        let coming = || claims.is_coming_back(&world.source(), store).expect("asks");
        assert_eq!(coming(), Some(first.id));
        claims.came_back(&first);
        assert_eq!(coming(), Some(second.id));
        claims.came_back(&second);
        assert_eq!(coming(), None);
    }

    #[test]
    fn what_became_of_a_file_is_told_to_the_watch_and_to_nobody_where_nothing_is_watched() {
        let world = World::new();
        let claims = &world.shared.claims;
        let path = world.source();
        claims.answer(&path, Answer::Taken); // `ingest`
        let (watch, offers) = watch_of(&world, "in");
        let watched = Watched { watch: watch.into(), folders: vec![world.path("in")], under: Vec::new() };
        claims.watches.lock().watches.push(watched);
        assert_eq!(offers.recv_timeout(PATIENCE).expect("an offer")[0].path, path);
        claims.answer(&path, Answer::Refused("no room".to_owned()));
        let waiting = claims.watches.waiting(PATIENCE, None);
        assert!(waiting.iter().any(|(file, why)| *file == path && why.contains("no room")), "{waiting:?}");
    }
}
