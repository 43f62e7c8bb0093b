//! One fsync of a folder for all who wait for it.
//!
//! ```text
//! A  rename  sync ─────── leads round 1 ────────┐
//! B     rename  sync  waits, round 1 began before ├─ leads round 2 ──┐
//! C       rename  sync  waits ────────────────────┴─ shares round 2 ─┘
//! ```
//!
//! A round that began before a caller's change may not have seen it; the next one has. Many small jobs publish into few folders at once:
//! each sync would be a commit of the file system's journal.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};

use super::FsError;
use super::rounds::Failure;

/// The folders that somebody syncs now.
static FOLDERS: LazyLock<Mutex<HashMap<PathBuf, Arc<Folder>>>> = LazyLock::new(Mutex::default);

#[derive(Debug, Default)]
struct Folder {
    rounds: Mutex<Rounds>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    done: u64,
    leading: bool,
    /// The last round that failed. The system tells a failed sync once: all who shared the round are told here.
    failed: Option<(u64, Failure)>,
}

/// Syncs a folder by `sync`, or waits for one who does.
pub(super) fn share(folder: &Path, sync: impl FnOnce() -> Result<(), FsError>) -> Result<(), FsError> {
    let shared = Arc::clone(lock(&FOLDERS).entry(folder.to_owned()).or_default());
    let synced = shared.sync(folder, sync);
    let mut folders = lock(&FOLDERS);
    // The map's and ours: nobody else has it, and nobody gets it while the map is locked. What failed is kept: the next sync would be believed.
    if Arc::strong_count(&shared) == 2 && !shared.has_failed(folder) {
        folders.remove(folder);
    }
    drop(shared); // while the map is locked: else the last two to leave could each count the other
    synced
}

impl Folder {
    fn has_failed(&self, folder: &Path) -> bool {
        lock(&self.rounds).failed_sync(folder).is_some()
    }

    fn sync(&self, folder: &Path, sync: impl FnOnce() -> Result<(), FsError>) -> Result<(), FsError> {
        let mut rounds = lock(&self.rounds);
        let ticket = rounds.begun + 1;
        while rounds.leading && rounds.done < ticket {
            rounds = self.ended.wait(rounds).unwrap_or_else(PoisonError::into_inner);
        }
        if rounds.done >= ticket {
            return match rounds.failed {
                Some((round, failure)) if round >= ticket => Err(failure.tell(folder)),
                _ => Ok(()),
            };
        }
        // It was told once: another sync of what may be lost would succeed.
        if let Some(error) = rounds.failed_sync(folder) {
            return Err(error);
        }
        rounds.leading = true;
        rounds.begun += 1;
        drop(rounds);
        // A sync that panics has not succeeded, and nobody may wait for it.
        let mut lead = Lead { folder: self, failed: Some(Failure::of_panic()) };
        let synced = sync();
        lead.failed = synced.as_ref().err().map(Failure::of);
        synced
    }
}

impl Rounds {
    fn failed_sync(&self, folder: &Path) -> Option<FsError> {
        self.failed.map(|(_, failure)| failure.tell(folder)).filter(FsError::is_failed_sync)
    }
}

/// A round under way: ends when it is dropped, with what came of it.
struct Lead<'a> {
    folder: &'a Folder,
    failed: Option<Failure>,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut rounds = lock(&self.folder.rounds);
        rounds.leading = false;
        rounds.done = rounds.begun;
        if let Some(failure) = self.failed {
            rounds.failed = Some((rounds.done, failure));
        }
        drop(rounds);
        self.folder.ended.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io;
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
            while Arc::strong_count(&lock(&FOLDERS)[folder]) < CALLERS as usize + 2 {
                thread::yield_now();
            }
            tell_go_on.send(()).expect("the first waits");
            first.join().expect("no panic").expect("synced");
            others.into_iter().map(|other| other.join().expect("no panic")).collect()
        });
        let has_failed = told.iter().any(Result::is_err);
        assert_eq!(lock(&FOLDERS).contains_key(folder), has_failed, "nobody syncs it any more");
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
        let fails = || Err(FsError::new(crate::durable_fs::SYNC, folder, io::Error::from_raw_os_error(5)));
        share(folder, fails).expect_err("it fails");
        let later = share(folder, || Ok(())).expect_err("another sync would be believed");
        assert!(later.is_failed_sync());
    }

    #[test]
    fn a_sync_that_panics_leaves_nobody_waiting_and_nobody_believing() {
        let folder = Folder::default();
        let path = Path::new("folder");
        let panics = std::panic::AssertUnwindSafe(|| folder.sync(path, || panic!("a bug")));
        std::panic::catch_unwind(panics).expect_err("it panics");
        let next = folder.sync(path, || Ok(())).expect_err("what was lost stays lost");
        assert!(next.is_failed_sync());
    }

    #[test]
    fn a_failed_sync_is_told_to_all_who_shared_it() {
        let (told, _) = many_during_a_round(|| {
            let source = io::Error::from_raw_os_error(5);
            Err(FsError::new(crate::durable_fs::SYNC, Path::new("folder"), source))
        });
        for told in told {
            let error = told.expect_err("its round failed");
            assert!(error.is_failed_sync());
            assert_eq!(error.source.raw_os_error(), Some(5));
        }
    }
}
