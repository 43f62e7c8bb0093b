//! Hooks: whoever asked for it is told that something happened, by a program or over HTTP, and never in the data's way.
//!
//! What is to be told lies in the store (`store::hooks`), in the batch that made it so. Each hook has a thread of its own, which takes its oldest
//! event, tells it, and removes its row: so it is told at least once, whatever is killed, and one that hangs holds up itself alone.

mod command;
mod courier;
mod message;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::model::hook::{Hook, HookState};
use crate::store::{Store, StoreError};
use courier::{Courier, Fare, Stop};

/// How long a hook that is being told may take to its end when the service stops. It is told again after the next start.
const STOP_PATIENCE: Duration = Duration::from_secs(2);
const STOP_LOOK_EVERY: Duration = Duration::from_millis(10);

/// The hooks of a service.
pub(crate) struct Hooks {
    store: Store,
    running: Mutex<Vec<Running>>,
}

struct Running {
    hook: Hook,
    fare: Arc<Mutex<Fare>>,
    stop: Arc<Stop>,
    thread: JoinHandle<()>,
}

impl Hooks {
    /// Of the service that has this store.
    pub(crate) fn new(store: Store) -> Self {
        Self { store, running: Mutex::default() }
    }

    /// These are the hooks from now on. Those that are as before go on.
    pub(crate) fn take(&self, hooks: &[Hook]) -> Result<(), StoreError> {
        let mut running = lock(&self.running);
        if running.iter().map(|running| &running.hook).eq(hooks) && !hooks.is_empty() {
            return Ok(());
        }
        let lost = self.store.take_hooks(hooks)?;
        if lost > 0 {
            tracing::warn!(events = lost, "events for hooks that are gone are lost: nobody is told of them");
        }
        let before = std::mem::take(&mut *running);
        let (kept, gone) = before.into_iter().partition::<Vec<_>, _>(|running| hooks.contains(&running.hook));
        *running = kept;
        for Running { stop, .. } in &gone {
            stop.kill(); // what it is being told is told again, by the one in its place
        }
        self.store.ring_hooks();
        for hook in hooks {
            if running.iter().any(|running| running.hook == *hook) {
                continue;
            }
            match self.start(hook) {
                Ok(started) => running.push(started),
                Err(error) => tracing::error!(
                    hook = hook.name, %error, hint = "raise the limits of processes and memory, and restart the service",
                    "no thread can be started for this hook: it is told nothing"
                ),
            }
        }
        Ok(())
    }

    fn start(&self, hook: &Hook) -> io::Result<Running> {
        let (fare, stop) = (Arc::<Mutex<Fare>>::default(), Arc::<Stop>::default());
        let courier = Courier::new(self.store.clone(), hook.clone(), Arc::clone(&fare), Arc::clone(&stop));
        let thread =
            std::thread::Builder::new().name(format!("hook-{}", hook.name)).spawn(move || courier.run())?;
        Ok(Running { hook: hook.clone(), fare, stop, thread })
    }

    /// How each fares.
    pub(crate) fn states(&self) -> Vec<HookState> {
        let counts = self.store.hook_counts();
        let state = |running: &Running| {
            let name = &running.hook.name;
            let counts = counts.iter().find(|counts| counts.hook == *name);
            let (waiting, lost) = counts.map_or((0, 0), |counts| (counts.waiting, counts.lost));
            let lost_at = counts.and_then(|counts| counts.lost_at);
            let Fare { failures, refused, failing_since, error, .. } = lock(&running.fare).clone();
            HookState { name: name.clone(), waiting, refused, failures, failing_since, error, lost, lost_at }
        };
        lock(&self.running).iter().map(state).collect()
    }

    /// Nobody is told anything from now on. Waits a moment for those who are being told, and kills their programs then.
    pub(crate) fn stop(&self, within: Duration) {
        let running = std::mem::take(&mut *lock(&self.running));
        if running.is_empty() {
            return;
        }
        for one in &running {
            one.stop.ask();
        }
        self.store.ring_hooks();
        let patience = Instant::now() + within.min(STOP_PATIENCE);
        let all_ended = || running.iter().all(|running| running.thread.is_finished());
        while !all_ended() && Instant::now() < patience {
            std::thread::sleep(STOP_LOOK_EVERY);
        }
        for one in &running {
            one.stop.kill();
        }
        // A program is killed at once. A connection that hangs ends with the process.
        let patience = Instant::now() + STOP_PATIENCE / 4;
        while !all_ended() && Instant::now() < patience {
            std::thread::sleep(STOP_LOOK_EVERY);
        }
        // Else the next start tells once more what was told last.
        if let Err(error) = self.store.sync_waiting() {
            tracing::debug!(%error, "what hooks were told last is told again");
        }
    }
}

/// A service that does not start leaves nobody behind who has its store.
impl Drop for Hooks {
    fn drop(&mut self) {
        self.stop(STOP_PATIENCE);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
