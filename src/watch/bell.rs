//! A bell that rings whenever something happens in some folders: for who looks by himself what it was.
//!
//! It may ring for nothing, and where the system has no events it never does: whoever listens looks now and then all the same.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::notifier::Notifier;

/// Rings as long as it is there.
pub(crate) struct Bell {
    notifier: Notifier,
    lacks_a_folder: bool,
}

impl Bell {
    /// `ring` is called by the system's own thread, and must not wait for anything.
    pub(crate) fn new(ring: impl Fn() + Send + 'static) -> Self {
        Self { notifier: Notifier::ringing(ring), lacks_a_folder: false }
    }

    /// Rings for these folders, and for no other any more. Where one is not there, its making is told by the one above.
    pub(crate) fn hang_in(&mut self, folders: &BTreeSet<PathBuf>) {
        let missing: Vec<_> = folders.iter().filter(|folder| !folder.is_dir()).collect();
        self.lacks_a_folder = !missing.is_empty();
        let above = missing.into_iter().filter_map(|folder| {
            let above = folder.ancestors().skip(1);
            above.map(PathBuf::from).find(|above| above.is_dir())
        });
        let wanted: BTreeSet<PathBuf> = folders.iter().cloned().chain(above).collect();
        self.notifier.retain(|folder| wanted.contains(folder));
        for folder in &wanted {
            self.notifier.watch(folder);
        }
    }

    /// Whether one of the folders was not there: once it is, the bell does not ring for it before it is hung in it again.
    pub(crate) fn lacks_a_folder(&self) -> bool {
        self.lacks_a_folder
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    #[test]
    fn it_rings_for_each_way_of_saving_and_for_a_folder_that_is_made() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let (ring, rings) = sync_channel(16);
        let mut bell = Bell::new(move || ring.try_send(()).unwrap_or(()));
        let folders = BTreeSet::from([folder.path().to_owned(), path("rules.d")]);
        bell.hang_in(&folders);
        let wait = || {
            rings.recv_timeout(PATIENCE).expect("it rings");
            // Of one change come several events.
            while rings.recv_timeout(Duration::from_millis(50)).is_ok() {}
        };
        std::fs::write(path("a"), "1").expect("writes");
        wait();
        std::fs::write(path("a"), "2").expect("writes again");
        wait();
        crate::durable_fs::rename_replace(&path("a"), &path("b")).expect("renames");
        wait();
        std::fs::read(path("b")).expect("reads");
        assert!(rings.recv_timeout(Duration::from_millis(50)).is_err(), "nothing was changed");
        std::fs::create_dir(path("rules.d")).expect("makes");
        wait();
        assert!(bell.lacks_a_folder());
        bell.hang_in(&folders);
        assert!(!bell.lacks_a_folder());
        std::fs::write(path("rules.d/a"), "1").expect("writes");
        wait();
    }
}
