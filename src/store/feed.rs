//! Who listens to the changes of jobs, and what each of them has not heard yet.
//!
//! ```text
//!  apply ──(under the listeners' lock: rows written, then told)──> queue of each listener ──> next_within
//! ```
//!
//! # Invariants
//! - Each change of a job's row, and of its account by an act on failed records, is told once, in the order in which the rows changed: that of
//!   one batch, and those of several.
//! - Nobody waits for a listener: a queue that is full is emptied, and its listener told to read anew.
//! - Where nobody listens a change costs one look at a number.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::backend::{self, Batch, Value};
use super::keys::{self, Key};
use super::{Store, value};
use crate::model::notice::{JobChange, Notice};
use crate::model::standing::Standing;

/// Changes that wait for a listener at most.
const WAITING_MAX: usize = 1024;

#[derive(Default)]
pub(super) struct Feed {
    listeners: Mutex<Vec<Weak<Queue>>>,
    /// Written under the lock, read without it.
    count: AtomicUsize,
}

impl Feed {
    /// The caller sees that no rows change meanwhile: else a change could be neither told nor read.
    pub(super) fn subscribe(&self) -> Subscription {
        let waiting = Waiting { read_anew: true, changes: VecDeque::new() };
        let queue = Arc::new(Queue { waiting: Mutex::new(waiting), bell: Condvar::new() });
        let mut listeners = lock(&self.listeners);
        listeners.push(Arc::downgrade(&queue));
        self.count.store(listeners.len(), Ordering::Release);
        Subscription { queue }
    }

    /// The right to tell what changes while it is held; none where nobody listens.
    pub(super) fn telling(&self) -> Option<Telling<'_>> {
        let somebody = self.count.load(Ordering::Acquire) > 0;
        somebody.then(|| Telling { feed: self, listeners: lock(&self.listeners) })
    }
}

/// Held over the writing of rows, so that they are told in the order in which they are written.
pub(super) struct Telling<'a> {
    feed: &'a Feed,
    listeners: MutexGuard<'a, Vec<Weak<Queue>>>,
}

impl Telling<'_> {
    pub(super) fn tell(&mut self, changes: &[JobChange]) {
        self.listeners.retain(|listener| match listener.upgrade() {
            Some(queue) => {
                queue.put(changes);
                true
            }
            None => false,
        });
        self.feed.count.store(self.listeners.len(), Ordering::Release);
    }
}

struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

struct Waiting {
    read_anew: bool,
    changes: VecDeque<JobChange>,
}

impl Queue {
    fn put(&self, changes: &[JobChange]) {
        let mut waiting = lock(&self.waiting);
        for change in changes {
            if waiting.changes.len() == WAITING_MAX {
                waiting.changes.clear();
                waiting.read_anew = true;
            }
            waiting.changes.push_back(change.clone());
        }
        drop(waiting);
        self.bell.notify_all();
    }
}

/// The changes of all jobs from the moment on that it was made.
pub(crate) struct Subscription {
    queue: Arc<Queue>,
}

impl Subscription {
    /// The next notice; [`Notice::Quiet`] where none comes within this time.
    pub(crate) fn next_within(&self, time: Duration) -> Notice {
        let is_quiet = |waiting: &mut Waiting| !waiting.read_anew && waiting.changes.is_empty();
        let waited = self.queue.bell.wait_timeout_while(lock(&self.queue.waiting), time, is_quiet);
        let (mut waiting, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut waiting.read_anew) {
            return Notice::ReadAnew;
        }
        waiting.changes.pop_front().map_or(Notice::Quiet, Notice::Changed)
    }
}

/// What a batch changes of jobs. Nothing else is applied meanwhile.
pub(super) fn changes_of(store: &Store, batch: &Batch) -> Vec<JobChange> {
    let rows = |kind: u8| batch.rows.range(backend::beginning_with(&[kind])).map(|(key, _)| key);
    let changed = rows(keys::JOB).filter_map(|key| change_of(store, batch, key));
    changed.chain(rows(keys::SETTLED).filter_map(|act| account_moved(store, batch, act))).collect()
}

/// An act on failed records moves the account of a job whose row stays as it is.
fn account_moved(store: &Store, batch: &Batch, act: &Key) -> Option<JobChange> {
    let job = keys::job_of(act)?;
    let key = keys::of_job(keys::JOB, job);
    if batch.rows.contains_key(&key) || batch.rows.get(act)?.is_none() {
        return None; // it is told with its row
    }
    let row = row_of(&key, |key| store.get(key).ok().flatten())?;
    let (state, waits) = (Some(row.state.get()), row.waiting.is_some());
    Some(JobChange { job, before: state, state, waits, rule: row.rule })
}

fn change_of(store: &Store, batch: &Batch, key: &Key) -> Option<JobChange> {
    let written = |key: &[u8]| batch.rows.get(key).cloned().flatten();
    let stored = |key: &[u8]| match batch.expected.iter().find(|(expected, _)| expected == key) {
        Some((_, found)) => found.clone(),
        None => store.get(key).ok().flatten(),
    };
    let is_as_before = |key: &[u8]| stored(key) == written(key);
    let further =
        written(key).map_or(0, |value| value::read_head("job", &value).map_or(0, |head| head.chunks));
    if is_as_before(key) && (1..further).all(|index| is_as_before(&keys::continued(key, index))) {
        return None; // a long row is written again as it was
    }
    let (before, now) = (row_of(key, stored), row_of(key, written));
    let state = |row: &Option<RowOfJob>| row.as_ref().map(|row| row.state.get());
    Some(JobChange {
        job: keys::job_of(key)?,
        before: state(&before),
        state: state(&now),
        waits: now.as_ref().is_some_and(|row| row.waiting.is_some()),
        rule: now.or(before)?.rule,
    })
}

/// What of a job's row is told.
#[derive(Deserialize)]
struct RowOfJob {
    rule: String,
    state: Standing,
    #[serde(default)]
    waiting: Option<IgnoredAny>,
}

/// A row that is damaged tells nothing; whoever reads it is told so.
fn row_of(key: &Key, get: impl Fn(&[u8]) -> Option<Value>) -> Option<RowOfJob> {
    let head = get(key)?;
    let head = value::read_head("job", &head).ok()?;
    value::decode("job", &head, |index| Ok(get(&keys::continued(key, index)))).ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
