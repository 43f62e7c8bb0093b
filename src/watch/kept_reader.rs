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
use crate::model::identity::FileIdentity;

/// Files that wait to be read at most; what comes beyond it is seen again by the next scan.
const ASKED_MAX: usize = 1024;

/// What a look tells of a file that may be one that stays where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    Yes,
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
