//! Kept files that only their bytes tell from others (`chmod -R`, a backup by links): a thread that does nothing else reads them, so that
//! the watch goes on meanwhile.
//!
//! ```text
//! watch    seen: may be kept ──> asked ............................ answered: kept, or a candidate
//! reader                          └> reads, writes its row anew ──┘
//! ```

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

use super::message::{Answers, Message};
use super::offer::Answer;
use crate::durable_fs;
use crate::model::file_known::TakenBefore;
use crate::model::identity::FileIdentity;

/// Files that wait to be read at most; what comes beyond it is seen again by the next scan.
const ASKED_MAX: usize = 1024;

/// What a look tells of a file that may be one that stays where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
    /// The same; its job took it by another name.
    ByOtherName(TakenBefore),
    /// As long as its job is unfinished: that may let go of it.
    ForNow,
    No,
    /// It has to be read.
    ByItsBytes,
}

/// Looks a file up; true: reads it, where only that tells.
pub(crate) type LookUp = Arc<dyn Fn(&Path, &FileIdentity, bool) -> Kept + Send + Sync>;

/// What the reading thread needs.
pub(super) struct Reading {
    pub(super) look_up: LookUp,
    pub(super) inbox: SyncSender<Message>,
    pub(super) answers: Answers,
    pub(super) stopping: Arc<AtomicBool>,
}

/// A file as it was when it was seen.
type ToRead = (PathBuf, FileIdentity);

/// The watch's side. Dropping it ends the thread.
pub(super) struct KeptReader {
    reading: Arc<Reading>,
    asked: HashMap<PathBuf, FileIdentity>,
    /// Some were not asked for, for want of room.
    passed_over: bool,
    /// Begins with the first file.
    thread: Option<(SyncSender<ToRead>, JoinHandle<()>)>,
}

impl KeptReader {
    pub(super) fn new(reading: Reading) -> Self {
        Self { reading: Arc::new(reading), asked: HashMap::new(), passed_over: false, thread: None }
    }

    /// What is known of a file without reading it.
    pub(super) fn look_up(&self, path: &Path, identity: &FileIdentity) -> Kept {
        (self.reading.look_up)(path, identity, false)
    }

    /// Has a file read. False: there is no thread for it.
    pub(super) fn ask(&mut self, path: &Path, identity: &FileIdentity) -> bool {
        if self.asked.get(path) == Some(identity) {
            return true;
        }
        if self.asked.len() >= ASKED_MAX {
            self.passed_over = true;
            return true;
        }
        let Some(files) = self.files() else { return false };
        match files.try_send((path.to_owned(), *identity)) {
            Ok(()) => drop(self.asked.insert(path.to_owned(), *identity)),
            Err(TrySendError::Full(_)) => self.passed_over = true, // it was asked for as it was before, too
            // A panic ended it: nobody reads what it was asked.
            Err(TrySendError::Disconnected(_)) => {
                self.thread = None;
                self.asked.clear();
                return false;
            }
        }
        true
    }

    fn files(&mut self) -> Option<&SyncSender<ToRead>> {
        if self.thread.is_none() {
            let (files, to_read) = sync_channel(ASKED_MAX);
            let reading = Arc::clone(&self.reading);
            let run = move || reading.read_all(&to_read);
            let thread = thread::Builder::new().name("kept-read".to_owned()).spawn(run).ok()?;
            self.thread = Some((files, thread));
        }
        self.thread.as_ref().map(|(files, _)| files)
    }

    /// Takes note of an answer. True: all that was asked for is answered, and there is more.
    pub(super) fn answered(&mut self, path: &Path, identity: &FileIdentity) -> bool {
        if self.asked.get(path) == Some(identity) {
            self.asked.remove(path);
        }
        self.asked.is_empty() && std::mem::take(&mut self.passed_over)
    }

    /// Whether all that it met is read.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty() && !self.passed_over
    }

    /// What is to be read yet.
    pub(super) fn asked(&self) -> impl Iterator<Item = &PathBuf> {
        self.asked.keys()
    }
}

impl Drop for KeptReader {
    fn drop(&mut self) {
        let Some((files, thread)) = self.thread.take() else { return };
        self.reading.stopping.store(true, Ordering::Release); // nobody wants the others
        drop(files);
        thread.join().ok(); // a panic was told
    }
}

impl Reading {
    fn read_all(&self, files: &Receiver<ToRead>) {
        for (path, identity) in files {
            if self.stopping.load(Ordering::Acquire) {
                return;
            }
            let is_kept = (self.look_up)(&path, &identity, true) != Kept::No;
            durable_fs::leave_place();
            let answer = Answer::WasRead { identity, is_kept };
            self.answers.lock().unwrap_or_else(PoisonError::into_inner).push((path, answer));
            self.inbox.try_send(Message::Wake).ok(); // a full inbox means that it is awake
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const FILE: FileIdentity = FileIdentity { device: 1, inode: 2, size: 3, mtime_ns: 4, ctime_ns: 5 };

    /// A reader, what it was told to tell, and what it tells.
    fn reader(
        read: impl Fn(&Path) -> Kept + Send + Sync + 'static,
    ) -> (KeptReader, Answers, Receiver<Message>) {
        let look_up =
            move |path: &Path, _: &FileIdentity, reads| if reads { read(path) } else { Kept::ByItsBytes };
        let ((inbox, told), answers) = (sync_channel(8), Answers::default());
        let stopping = Arc::new(AtomicBool::new(false));
        let reading = Reading { look_up: Arc::new(look_up), inbox, answers: Arc::clone(&answers), stopping };
        (KeptReader::new(reading), answers, told)
    }

    fn path(number: usize) -> PathBuf {
        PathBuf::from(format!("/in/{number}"))
    }

    /// Of so many answers, in the order in which they were asked for.
    fn next(answers: &Answers, told: &Receiver<Message>, count: usize) -> Vec<(PathBuf, bool)> {
        loop {
            let mut answers = answers.lock().expect("no panic");
            if answers.len() >= count {
                let of = |answer: (PathBuf, Answer)| match answer {
                    (path, Answer::WasRead { is_kept, .. }) => (path, is_kept),
                    other => panic!("{other:?}"),
                };
                return std::mem::take(&mut *answers).into_iter().map(of).collect();
            }
            drop(answers);
            told.recv_timeout(std::time::Duration::from_secs(20)).expect("it answers");
        }
    }

    #[test]
    fn a_file_is_read_once_for_all_that_ask_and_the_watch_goes_on_meanwhile() {
        let (go, gate) = sync_channel(2);
        let gate = Mutex::new(gate);
        let (mut reader, answers, told) = reader(move |path| {
            gate.lock().expect("no panic").recv().expect("it is let go on");
            if path.ends_with("1") { Kept::Yes } else { Kept::No }
        });
        for _ in 0..3 {
            assert!(reader.ask(&path(1), &FILE) && reader.ask(&path(2), &FILE));
        }
        assert!(!reader.is_idle());
        assert_eq!(reader.asked().count(), 2);
        (0..2).for_each(|_| go.send(()).expect("it reads"));
        assert_eq!(next(&answers, &told, 2), [(path(1), true), (path(2), false)]);
        assert!(!reader.answered(&path(1), &FILE));
        let changed = FileIdentity { ctime_ns: 6, ..FILE };
        assert!(!reader.answered(&path(2), &changed) && !reader.is_idle(), "it was asked for as it is now");
        assert!(!reader.answered(&path(2), &FILE) && reader.is_idle());
    }

    #[test]
    fn what_finds_no_room_is_told_of_once_all_others_are_read() {
        let (go, gate) = sync_channel::<()>(0);
        let gate = Mutex::new(gate);
        let (mut reader, answers, told) = reader(move |_| {
            gate.lock().expect("no panic").recv().expect_err("it is let go on for good");
            Kept::Yes
        });
        (0..ASKED_MAX + 10).for_each(|number| assert!(reader.ask(&path(number), &FILE), "it is not offered"));
        assert_eq!(reader.asked().count(), ASKED_MAX);
        drop(go);
        let read = next(&answers, &told, ASKED_MAX);
        let more: Vec<_> = read.iter().map(|(path, _)| reader.answered(path, &FILE)).collect();
        assert_eq!(more.iter().position(|more| *more), Some(ASKED_MAX - 1), "once, at the end");
        assert!(reader.is_idle());
    }

    #[test]
    fn after_a_panic_nothing_waits_for_an_answer_and_others_are_read() {
        let (mut reader, answers, told) = reader(|path| {
            assert!(!path.ends_with("1"), "a panic of this test");
            Kept::Yes
        });
        assert!(reader.ask(&path(1), &FILE));
        while !reader.thread.as_ref().is_some_and(|(_, thread)| thread.is_finished()) {
            thread::yield_now();
        }
        assert!(!reader.ask(&path(2), &FILE), "it is told that nobody reads it");
        assert_eq!(reader.asked().count(), 0);
        assert!(reader.ask(&path(2), &FILE));
        assert_eq!(next(&answers, &told, 1), [(path(2), true)]);
    }

    #[test]
    fn a_reader_that_is_dropped_reads_no_more_than_the_file_that_it_is_at() {
        let (read, (begun, begins), (go, gate)) =
            (Arc::new(AtomicUsize::new(0)), sync_channel(0), sync_channel::<()>(0));
        let (gate, counted) = (Mutex::new(gate), Arc::clone(&read));
        let (mut reader, ..) = reader(move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            begun.send(()).expect("it is waited for");
            gate.lock().expect("no panic").recv().expect_err("it is let go on for good");
            Kept::Yes
        });
        (0..10).for_each(|number| assert!(reader.ask(&path(number), &FILE)));
        begins.recv().expect("it reads");
        let stopping = Arc::clone(&reader.reading.stopping);
        thread::scope(|scope| {
            scope.spawn(move || drop(reader));
            while !stopping.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            drop(go);
        });
        assert_eq!(read.load(Ordering::SeqCst), 1);
    }
}
