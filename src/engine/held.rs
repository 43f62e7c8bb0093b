//! Sources that somebody in this process is about to take away from where they lie: an engine that stands aside reads them by what is open of
//! them. What a live rule claims is told to it before the rename.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Seek as _};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, Mutex, OnceLock};

use super::handle::Engine;
use super::intake;
use super::lock;
use super::shared::Shared;
use crate::durable_fs;
use crate::model::identity::FileIdentity;
use crate::model::pattern::Values;
use crate::model::rule::Rule;
use crate::watch::Offer;

/// Files that are open at once. Of what comes beyond it is told that it was gone.
pub(super) const HELD_MAX: usize = 256;

/// Is told of a file, which still lies where it was found, before a live rule's claim renames it.
pub(crate) type TellClaim = Box<dyn Fn(&Path, &FileIdentity) + Send + Sync>;

/// Files that are remembered beyond their end: the watch may see them only then.
const REMEMBERED_MAX: usize = 4096;

/// Locks for itself.
#[derive(Default)]
pub(super) struct HeldSources {
    open: Mutex<HashMap<FileIdentity, File>>,
    remembered: Mutex<VecDeque<FileIdentity>>,
    /// Who makes jobs of them.
    pub intake: OnceLock<SyncSender<Vec<Offer>>>,
}

impl HeldSources {
    /// False: there is no room.
    fn hold(&self, identity: FileIdentity, file: File) -> bool {
        let mut open = lock(&self.open);
        let has_room = open.len() < HELD_MAX;
        if has_room {
            open.insert(identity, file);
            let mut remembered = lock(&self.remembered);
            if remembered.len() == REMEMBERED_MAX {
                remembered.pop_front();
            }
            remembered.push_back(identity);
        }
        has_room
    }

    pub(super) fn has(&self, identity: &FileIdentity) -> bool {
        lock(&self.open).contains_key(identity)
    }

    /// Whether it is one that is or was held, as it was or renamed: a rename changes its ctime, and for a moment the file has its old name.
    pub(super) fn knows(&self, identity: &FileIdentity) -> bool {
        lock(&self.remembered).iter().any(|held| held.same_content(identity))
    }

    /// Whether it is held under an identity that is another by its rename alone.
    pub(super) fn knows_renamed(&self, identity: &FileIdentity) -> bool {
        lock(&self.remembered).iter().any(|held| held != identity && held.same_content(identity))
    }

    /// The file, from its beginning, if it is held. One reader at a time: they share their place.
    pub(super) fn open(&self, identity: &FileIdentity) -> Option<io::Result<File>> {
        let file = lock(&self.open).get(identity)?.try_clone();
        Some(file.and_then(|mut file| {
            file.rewind()?;
            Ok(file)
        }))
    }

    pub(super) fn forget(&self, identity: &FileIdentity) {
        drop(lock(&self.open).remove(identity));
    }
}

impl Engine {
    /// Takes a file that is about to go from where it lies. Holds up nobody.
    pub(crate) fn take_open(&self, rule: &Arc<Rule>, vars: Values, path: &Path, identity: &FileIdentity) {
        let Some(shared) = self.stages() else { return };
        let Some(intake) = shared.held.intake.get() else { return };
        let Ok(file) = durable_fs::open_source(path) else { return };
        if !durable_fs::identity(&file).is_ok_and(|found| found.same_content(identity)) {
            return;
        }
        let offer = Offer {
            rule: Arc::clone(rule),
            path: path.to_owned(),
            identity: *identity,
            vars,
            companions: Vec::new(),
            folder_marker: None,
            may_be_early: false,
        };
        if !shared.held.hold(*identity, file) || intake.try_send(vec![offer]).is_err() {
            shared.held.forget(identity);
            tracing::debug!(path = %path.display(), "a live rule takes it before the shadow has room for it");
        }
    }
}

/// The life of who makes jobs of them.
pub(super) fn take_held(shared: &Arc<Shared>, offers: &Receiver<Vec<Offer>>) {
    while let Ok(batch) = offers.recv() {
        if shared.stop.is_asked() {
            return;
        }
        let identities: Vec<_> = batch.iter().map(|offer| offer.identity).collect();
        if let Err(trouble) = intake::take_batch(shared, batch)
            && trouble.is_poisoned()
        {
            shared.fail_for_good(trouble.error);
            return;
        }
        for identity in identities.iter().filter(|identity| !is_under_way(shared, identity)) {
            shared.held.forget(identity);
        }
    }
}

/// Whether a job is to read it; its end lets go of it.
fn is_under_way(shared: &Shared, identity: &FileIdentity) -> bool {
    let job = shared.store.kept(identity).ok().flatten().and_then(|id| shared.store.job(id).ok().flatten());
    job.is_some_and(|job| !job.state.is_final())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_held_is_read_from_its_beginning_each_time_also_when_its_name_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a");
        std::fs::write(&path, "1\n").expect("writes");
        let identity = durable_fs::identity_at(&path).expect("looks").expect("a file");
        let held = HeldSources::default();
        assert!(held.open(&identity).is_none());
        assert!(held.hold(identity, File::open(&path).expect("opens")));
        durable_fs::remove_file(&path).expect("removes");
        for _ in 0..2 {
            let mut text = String::new();
            let mut file = held.open(&identity).expect("is held").expect("opens");
            file.read_to_string(&mut text).expect("reads");
            assert_eq!(text, "1\n");
        }
        assert!(held.knows(&identity) && !held.knows_renamed(&identity));
        held.forget(&identity);
        assert!(!held.has(&identity) && held.knows(&identity), "the watch may see it only now");
    }
}
