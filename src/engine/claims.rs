//! What this process knows of the sources that it takes, beside their rows.

use std::path::{Path, PathBuf};

use super::claim_folders::ClaimFolders;
use super::given_back::GivenBack;
use super::held::HeldSources;
use super::late_writes::LateWrites;
use super::one_at_a_time::OneAtATime;
use super::unopened::Unopened;
use super::unsynced_claims::UnsyncedClaims;
use super::watches::Watches;
use crate::clock::JobIds;
use crate::model::identity::FileIdentity;
use crate::watch::Answer;

/// Each part locks for itself.
#[derive(Default)]
pub(super) struct Claims {
    pub ids: JobIds,
    /// The folders that sources are claimed into.
    pub folders: ClaimFolders,
    /// Synced before such a job is started.
    pub unsynced: UnsyncedClaims,
    pub given_back: GivenBack,
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
        let waiting = claims.watches.waiting(PATIENCE);
        assert!(waiting.iter().any(|(file, why)| *file == path && why.contains("no room")), "{waiting:?}");
    }
}
