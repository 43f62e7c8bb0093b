//! Which jobs this program reads: what of them would be destroyed, because they are done, stays meanwhile.
//!
//! A thread says so every few seconds to whoever has the jobs, so that a program that is killed keeps nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::Builder;
use std::time::Duration;

use super::new_secret;
use crate::engine::{Door, READER_SILENT_MAX};
use crate::model::job_id::JobId;

const TELL_EVERY: Duration = Duration::from_secs(10);
const _: () = assert!(TELL_EVERY.as_millis() * 2 < READER_SILENT_MAX.as_millis());
/// Jobs that are named at once: more go in several requests, each as a reader of its own.
const JOBS_AT_ONCE: usize = 1000;

/// All that one program reads by one handle.
pub(crate) struct Readings(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    state: Mutex<State>,
    /// Who says what is read, one at a time; in how many parts it was said last.
    saying: Mutex<usize>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// How often each is read.
    jobs: BTreeMap<JobId, usize>,
    is_news: bool,
    has_ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.bell.notify_all();
    }
}

/// A job that is read as long as this is there.
#[derive(Debug)]
pub(crate) struct Reading {
    shared: Arc<Shared>,
    job: JobId,
}

impl Readings {
    pub(crate) fn begin(door: &Arc<dyn Door>) -> io::Result<Self> {
        let name = format!("{}-{}", std::process::id(), new_secret().to_hex());
        let shared = Arc::new(Shared {
            name,
            state: Mutex::default(),
            saying: Mutex::default(),
            bell: Condvar::new(),
        });
        let (telling, door) = (Arc::clone(&shared), Arc::downgrade(door));
        Builder::new().name("readings".into()).spawn(move || tell(&telling, &door))?;
        Ok(Self(shared))
    }

    pub(crate) fn of(&self, job: JobId) -> Arc<Reading> {
        self.0.change(|state| {
            *state.jobs.entry(job).or_default() += 1;
            state.is_news = true;
        });
        Arc::new(Reading { shared: Arc::clone(&self.0), job })
    }

    /// Says now what is read.
    pub(crate) fn tell(&self, door: &dyn Door) {
        say(door, &self.0);
    }
}

impl Drop for Readings {
    fn drop(&mut self) {
        self.0.change(|state| state.has_ended = true);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.shared.change(|state| {
            let Some(count) = state.jobs.get_mut(&self.job) else { return };
            *count -= 1;
            if *count == 0 {
                state.jobs.remove(&self.job);
                state.is_news = true;
            }
        });
    }
}

fn tell(shared: &Shared, door: &Weak<dyn Door>) {
    loop {
        let waits = |state: &mut State| !state.is_news && !state.has_ended;
        let waited = shared.bell.wait_timeout_while(shared.lock(), TELL_EVERY, waits);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        if state.has_ended {
            return;
        }
        state.is_news = false;
        drop(state);
        let Some(door) = door.upgrade() else { return };
        say(door.as_ref(), shared);
    }
}

/// Where nobody answers, nothing is destroyed either; a service that starts anew gives whoever reads time to say so again.
fn say(door: &dyn Door, shared: &Shared) {
    let mut said_before = shared.saying.lock().unwrap_or_else(PoisonError::into_inner);
    let jobs: Vec<JobId> = shared.lock().jobs.keys().copied().collect();
    let parts: Vec<&[JobId]> = jobs.chunks(JOBS_AT_ONCE).collect();
    for part in 0..parts.len().max(*said_before) {
        let jobs = parts.get(part).copied().unwrap_or_default();
        if let Err(refusal) = door.note_reader(&format!("{}-{part}", shared.name), jobs) {
            tracing::debug!(%refusal, "who has the jobs was not told that they are read");
        }
    }
    *said_before = parts.len();
}
