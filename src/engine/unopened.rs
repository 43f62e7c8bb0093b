//! The file systems that the start has not got through yet: nothing on them is watched before.

use std::path::PathBuf;
use std::sync::Mutex;
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::{file_systems, lock};
use crate::durable_fs::{self, Mounts};
use crate::model::os_text::escaped_path;
use crate::watch::HERE_FOR;

/// A call that takes so long has met a file system that does not answer.
const PATIENCE: Duration = Duration::from_millis(500);

/// By the numbers that the start gives them.
#[derive(Default)]
pub(super) struct Unopened(Mutex<Vec<FileSystem>>);

struct FileSystem {
    number: usize,
    /// Below which its files lie.
    folders: Vec<PathBuf>,
    /// As they were at the start: where a hanging one is unmounted, its folders would else lie with those of others.
    mounts: Mounts,
    /// Who gets it through the start, once that began.
    thread: Option<ThreadId>,
}

impl Unopened {
    pub(super) fn add(&self, number: usize, folders: Vec<PathBuf>, mounts: &Mounts) {
        lock(&self.0).push(FileSystem { number, folders, mounts: mounts.clone(), thread: None });
    }

    /// By which mounts folders are to be told apart, while any is unopened.
    pub(super) fn mounts(&self) -> Option<Mounts> {
        lock(&self.0).first().map(|unopened| unopened.mounts.clone())
    }

    /// This thread gets it through.
    pub(super) fn enter(&self, number: usize) {
        let of = |unopened: &&mut FileSystem| unopened.number == number;
        if let Some(entered) = lock(&self.0).iter_mut().find(of) {
            entered.thread = Some(thread::current().id());
        }
    }

    pub(super) fn opened(&self, number: usize) {
        lock(&self.0).retain(|unopened| unopened.number != number);
    }

    /// Whether one of these folders is not to be watched yet.
    pub(super) fn has(&self, folders: &[PathBuf], mounts: &Mounts) -> bool {
        lock(&self.0).iter().any(|unopened| file_systems::meet(folders, &unopened.folders, mounts))
    }

    /// Where the start hangs at this one, in words; none where it does not.
    pub(super) fn hangs(&self, number: usize) -> Option<String> {
        let thread = lock(&self.0).iter().find(|unopened| unopened.number == number)?.thread?;
        let (path, _) = durable_fs::place_of(thread).filter(|(_, time)| *time >= PATIENCE)?;
        Some(format!("the file system of {} does not answer", escaped_path(&path)))
    }

    /// The paths at which the start hangs, each with what is to be said of it.
    pub(super) fn waiting(&self) -> Vec<(PathBuf, String)> {
        let threads: Vec<_> = lock(&self.0).iter().filter_map(|unopened| unopened.thread).collect();
        let at = threads.into_iter().filter_map(durable_fs::place_of).filter(|(_, time)| *time >= PATIENCE);
        let say =
            |time: Duration| format!("the start {HERE_FOR} {} s: its file system hangs", time.as_secs());
        at.map(|(path, time)| (path, say(time))).collect()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn what_lies_on_an_unopened_file_system_is_not_watched_before_it_is_opened() {
        let (unopened, mounts) = (Unopened::default(), Mounts::at(&["/", "/mnt/a"]));
        unopened.add(0, vec!["/mnt/a/in".into()], &mounts);
        let has = |folder: &str| unopened.has(&[folder.into()], &mounts);
        assert_eq!([has("/mnt/a/other"), has("/in")], [true, false]);
        unopened.opened(0);
        assert!(!has("/mnt/a/other"));
    }

    #[test]
    fn a_start_that_hangs_is_told_with_its_place_and_one_that_waits_for_others_is_not() {
        let unopened = Unopened::default();
        unopened.add(0, vec!["/mnt/a/in".into()], &Mounts::at(&["/"]));
        assert_eq!(unopened.hangs(0), None, "its thread did not begin yet");
        let (told, tell) = sync_channel::<()>(0);
        thread::scope(|scope| {
            let unopened = &unopened;
            scope.spawn(move || {
                unopened.enter(0);
                durable_fs::note_place(Path::new("/mnt/a/in"));
                tell.recv().expect("the test goes on");
                durable_fs::leave_place();
                tell.recv().expect("the test goes on");
            });
            while unopened.hangs(0).is_none() {
                thread::yield_now();
            }
            let waiting = unopened.waiting();
            assert_eq!(
                waiting.iter().map(|(path, _)| path.as_path()).collect::<Vec<_>>(),
                [Path::new("/mnt/a/in")]
            );
            told.send(()).expect("it hangs");
            while unopened.hangs(0).is_some() {
                thread::yield_now();
            }
            assert!(unopened.waiting().is_empty());
            told.send(()).expect("it waits");
        });
    }
}
