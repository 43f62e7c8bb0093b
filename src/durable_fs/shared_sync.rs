//! One fsync of a folder for all who wait for it: many small jobs publish into few folders at once, and each sync would be a commit of the
//! file system's journal.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use super::error::{Failure, FsError, SYNC};
use crate::group_sync::{self, GroupSync, Told};

/// The folders that somebody syncs now, and those whose sync failed: the next one would be believed.
static FOLDERS: LazyLock<Mutex<HashMap<PathBuf, Arc<GroupSync<Failure>>>>> = LazyLock::new(Mutex::default);

impl group_sync::Failure for Failure {
    type Error = FsError;

    fn of(error: &FsError) -> Self {
        Self::of(error)
    }

    fn of_panic() -> Self {
        Self { action: SYNC, kind: io::ErrorKind::Other, code: None }
    }

    fn is_for_good(&self) -> bool {
        self.action == SYNC
    }
}

/// Syncs a folder by `sync`, or waits for one who does.
pub(super) fn share(folder: &Path, sync: impl FnOnce() -> Result<(), FsError>) -> Result<(), FsError> {
    let shared = Arc::clone(folders().entry(folder.to_owned()).or_default());
    let synced = shared.sync(sync);
    let mut folders = folders();
    // The map's and ours: nobody else has it, and nobody gets it while the map is locked.
    if Arc::strong_count(&shared) == 2 && shared.failed_for_good().is_none() {
        folders.remove(folder);
    }
    drop(shared); // while the map is locked: else the last two to leave could each count the other
    synced.map_err(|told| match told {
        Told::Led(error) => error,
        Told::Shared(failure) => failure.tell(folder),
    })
}

fn folders() -> MutexGuard<'static, HashMap<PathBuf, Arc<GroupSync<Failure>>>> {
    FOLDERS.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    const CALLERS: u32 = 8;

    /// Many callers while a round is under way; what they were told, and how many syncs there were.
    fn many_during_a_round(outcome: fn() -> Result<(), FsError>) -> (Vec<Result<(), FsError>>, u32) {
        let name = format!("folder-{:?}", thread::current().id());
        let folder = Path::new(&name);
        let syncs = AtomicU32::new(0);
        let (tell_begun, begun) = mpsc::sync_channel(1);
        let (tell_go_on, go_on) = mpsc::sync_channel::<()>(1);
        let told: Vec<Result<(), FsError>> = thread::scope(|scope| {
            let first = scope.spawn(move || {
                share(folder, || {
                    tell_begun.send(()).expect("the test waits");
                    go_on.recv().expect("the test goes on");
                    Ok(())
                })
            });
            begun.recv().expect("the first began");
            let others: Vec<_> = (0..CALLERS)
                .map(|_| {
                    scope.spawn(|| {
                        share(folder, || {
                            syncs.fetch_add(1, Ordering::SeqCst);
                            outcome()
                        })
                    })
                })
                .collect();
            // All of them have the folder in their hands, besides the map and the first.
            while Arc::strong_count(&folders()[folder]) < CALLERS as usize + 2 {
                thread::yield_now();
            }
            tell_go_on.send(()).expect("the first waits");
            first.join().expect("no panic").expect("synced");
            others.into_iter().map(|other| other.join().expect("no panic")).collect()
        });
        let has_failed = told.iter().any(Result::is_err);
        assert_eq!(folders().contains_key(folder), has_failed, "nobody syncs it any more");
        (told, syncs.load(Ordering::SeqCst))
    }

    #[test]
    fn all_who_come_during_a_round_share_the_next() {
        let (told, syncs) = many_during_a_round(|| Ok(()));
        assert!(told.iter().all(Result::is_ok));
        // One may have the folder in its hands, and not wait yet, when the first round ends.
        assert!((1..CALLERS).contains(&syncs), "{syncs} syncs");
    }

    #[test]
    fn a_failed_sync_is_told_also_to_those_who_come_when_all_have_left() {
        let folder = Path::new("a-folder-that-failed");
        let fails =
            || Err(FsError::new(crate::durable_fs::error::SYNC, folder, io::Error::from_raw_os_error(5)));
        share(folder, fails).expect_err("it fails");
        let later = share(folder, || Ok(())).expect_err("another sync would be believed");
        assert!(later.is_failed_sync());
    }

    #[test]
    fn a_sync_that_panics_leaves_nobody_waiting_and_nobody_believing() {
        let folder = Path::new("a-folder-whose-sync-panics");
        let panics = || share(folder, || panic!("a bug"));
        std::panic::catch_unwind(panics).expect_err("it panics");
        let next = share(folder, || Ok(())).expect_err("what was lost stays lost");
        assert!(next.is_failed_sync());
    }

    #[test]
    fn a_failed_sync_is_told_to_all_who_shared_it() {
        let (told, _) = many_during_a_round(|| {
            let source = io::Error::from_raw_os_error(5);
            Err(FsError::new(crate::durable_fs::error::SYNC, Path::new("folder"), source))
        });
        for told in told {
            let error = told.expect_err("its round failed");
            assert!(error.is_failed_sync());
            assert_eq!(error.source.raw_os_error(), Some(5));
        }
    }
}
