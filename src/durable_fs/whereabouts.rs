//! Where each thread was last at a file system: whoever waits for a thread that hangs can say where it is.
//!
//! A file system over a network may not answer for hours, and a thread that asked it cannot be ended meanwhile. Each thread notes a path
//! before it asks.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// The notes of the threads that are alive and made one.
static NOTES: LazyLock<Mutex<HashMap<ThreadId, Arc<Note>>>> = LazyLock::new(Mutex::default);

thread_local! {
    static OWN: Own = Own::new();
}

struct Note {
    place: Mutex<Option<Place>>,
    /// What the system tells of the thread.
    task: Option<PathBuf>,
}

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
        let task = fs::read_link("/proc/thread-self").ok().map(|task| Path::new("/proc").join(task));
        let (thread, note) = (thread::current().id(), Arc::new(Note { place: Mutex::default(), task }));
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
        let mut note = lock(&own.note.place);
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
    OWN.try_with(|own| lock(&own.note.place).take()).unwrap_or(None);
}

/// The path that a thread asked for last, and how long ago.
pub(crate) fn place_of(thread: ThreadId) -> Option<(PathBuf, Duration)> {
    let note = lock(&NOTES).get(&thread).cloned()?;
    let place = lock(&note.place);
    place.as_ref().map(|place| (place.path.clone(), place.since.elapsed()))
}

/// The path that a thread asked for so long ago or longer, unless the system tells that it is at work. Who works on after an answer leaves
/// his place.
pub(crate) fn hangs_at(thread: ThreadId, least: Duration) -> Option<(PathBuf, Duration)> {
    let note = lock(&NOTES).get(&thread).cloned()?;
    let place = lock(&note.place).as_ref().map(|place| (place.path.clone(), place.since.elapsed()));
    place.filter(|(_, time)| *time >= least && !is_at_work(&note))
}

/// Whether the thread has a processor, or waits for one.
fn is_at_work(note: &Note) -> bool {
    let told = note.task.as_ref().and_then(|task| fs::read_to_string(task.join("syscall")).ok());
    told.is_some_and(|told| told.starts_with("running"))
}

/// The paths that threads of this process asked for so long ago and have had no answer yet. Only Linux tells.
pub(crate) fn hanging(least: Duration) -> Vec<(PathBuf, Duration)> {
    let notes: Vec<_> = lock(&NOTES).values().cloned().collect();
    let hangs = |note: Arc<Note>| {
        let place = lock(&note.place).as_ref().map(|place| (place.path.clone(), place.since.elapsed()));
        place.filter(|(_, time)| *time >= least && is_in_call(&note))
    };
    notes.into_iter().filter_map(hangs).collect()
}

/// Whether the thread is in a call of the system that does not wait for another thread or process, or for time.
#[cfg(target_os = "linux")]
fn is_in_call(note: &Note) -> bool {
    const WAITING: &[i64] = &[
        libc::SYS_futex,
        libc::SYS_wait4,
        libc::SYS_waitid,
        libc::SYS_ppoll,
        libc::SYS_epoll_pwait,
        libc::SYS_nanosleep,
        libc::SYS_clock_nanosleep,
        libc::SYS_recvfrom,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_epoll_wait,
    ];
    let told = note.task.as_ref().and_then(|task| fs::read_to_string(task.join("syscall")).ok());
    // The call's number, or a word where it is in none.
    let call = told.and_then(|told| told.split(' ').next()?.trim().parse::<i64>().ok());
    call.is_some_and(|call| call >= 0 && !WAITING.contains(&call))
}

#[cfg(not(target_os = "linux"))]
fn is_in_call(note: &Note) -> bool {
    debug_assert!(note.task.is_none(), "there is no such list");
    false
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

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_hangs_in_a_call_that_is_not_answered_and_not_while_it_waits_for_others() {
        use std::io::{Read as _, Write as _};
        let (mut reader, mut writer) = std::io::pipe().expect("a pipe");
        let (go_on, wait) = sync_channel::<()>(0);
        let asking = thread::spawn(move || {
            note_place(Path::new("/mnt/hangs"));
            reader.read_exact(&mut [0]).expect("is written");
            wait.recv().expect("the test goes on");
        });
        let hangs = || hanging(Duration::ZERO).iter().any(|(path, _)| path == Path::new("/mnt/hangs"));
        while !hangs() {
            thread::yield_now();
        }
        writer.write_all(b"1").expect("is read");
        while hangs() {
            thread::yield_now();
        }
        go_on.send(()).expect("it waits");
        asking.join().expect("no panic");
    }
}
