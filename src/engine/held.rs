//! Sources that somebody in this process is about to take away from where they lie: an engine that stands aside reads them by what is open of
//! them. What a live rule claims is told to it before the rename.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Seek as _};
use std::path::Path;
use std::sync::mpsc::SyncSender;
use std::sync::{Mutex, OnceLock};

use super::lock;
use crate::model::identity::FileIdentity;
use crate::watch::Offer;

/// Files that are open at once. What comes beyond it is gone for who stands aside, and told so where its watch has seen it.
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
    /// Who is told of claims, for the one that claims.
    pub tell: Option<TellClaim>,
    /// Who makes jobs of them, for the one that stands aside.
    pub intake: OnceLock<SyncSender<Vec<Offer>>>,
}

impl HeldSources {
    /// Holds a file. False: there is no room.
    pub(super) fn hold(&self, identity: FileIdentity, file: File) -> bool {
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

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;
    use crate::durable_fs;

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
