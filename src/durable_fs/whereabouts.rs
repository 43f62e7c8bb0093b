//! Where each thread was last at a file system: whoever waits for a thread that hangs can say where it is.
//!
//! A file system over a network may not answer for hours, and a thread that asked it cannot be ended meanwhile. Each thread notes a path
//! before it asks.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// The notes of the threads that are alive and made one.
static NOTES: LazyLock<Mutex<HashMap<ThreadId, Arc<Note>>>> = LazyLock::new(Mutex::default);

thread_local! {
    static OWN: Own = Own::new();
}

type Note = Mutex<Option<Place>>;

struct Place {
    path: PathBuf,
    since: Instant,
}

struct Own {
    thread: ThreadId,
    note: Arc<Note>,
}

impl Own {
    fn new() -> Self {
        let (thread, note) = (thread::current().id(), Arc::new(Note::default()));
        lock(&NOTES).insert(thread, Arc::clone(&note));
        Self { thread, note }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        lock(&NOTES).remove(&self.thread);
    }
}

/// Notes that this thread is about to ask the file system of a path.
pub(crate) fn note_place(path: &Path) {
    // A thread that ends asks for the last time.
    OWN.try_with(|own| {
        let mut note = lock(&own.note);
        let since = Instant::now();
        match note.as_mut() {
            Some(place) => {
                path.clone_into(&mut place.path); // keeps its buffer
                place.since = since;
            }
            None => *note = Some(Place { path: path.to_owned(), since }),
        }
    })
    .unwrap_or(());
}

/// Notes that this thread is at no file system: what comes takes time for other reasons.
pub(crate) fn leave_place() {
    OWN.try_with(|own| lock(&own.note).take()).unwrap_or(None);
}

/// The path that a thread asked for last, and how long ago.
pub(crate) fn place_of(thread: ThreadId) -> Option<(PathBuf, Duration)> {
    let note = lock(&NOTES).get(&thread).cloned()?;
    let note = lock(&note);
    note.as_ref().map(|place| (place.path.clone(), place.since.elapsed()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    #[test]
    fn where_a_thread_is_can_be_told_while_it_lives() {
        let ((tell, told), (go_on, wait)) = (sync_channel(0), sync_channel::<()>(0));
        let asking = thread::spawn(move || {
            for place in ["first", "second"] {
                note_place(Path::new(place));
            }
            tell.send(()).expect("the test waits");
            wait.recv().expect("the test goes on");
            leave_place();
            tell.send(()).expect("the test waits");
            wait.recv().expect("the test goes on");
        });
        let id = asking.thread().id();
        told.recv().expect("it asks");
        assert_eq!(place_of(id).map(|(path, _)| path), Some(PathBuf::from("second")));
        go_on.send(()).expect("it waits");
        told.recv().expect("it left");
        assert_eq!(place_of(id), None);
        note_place(Path::new("here"));
        go_on.send(()).expect("it waits");
        asking.join().expect("no panic");
        assert!(!lock(&NOTES).contains_key(&id), "nothing is kept of threads that ended");
    }
}
