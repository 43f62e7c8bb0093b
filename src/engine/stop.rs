//! Whether the engine is asked to stop, and the error that stopped it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use super::lock;
use crate::model::fault::JobError;

/// Asked once, for good.
#[derive(Debug, Default)]
pub(super) struct Stop {
    is_asked: AtomicBool,
    gate: Mutex<()>,
    bell: Condvar,
    fatal: OnceLock<JobError>,
}

impl Stop {
    pub(super) fn ask(&self) {
        self.is_asked.store(true, Ordering::SeqCst);
        drop(lock(&self.gate));
        self.bell.notify_all();
    }

    pub(super) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::SeqCst)
    }

    /// Sleeps, unless the engine stops. True: it stops.
    pub(super) fn pause(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut gate = lock(&self.gate);
        while !self.is_asked() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            gate = self.bell.wait_timeout(gate, left).map_or_else(|e| e.into_inner().0, |(gate, _)| gate);
        }
        true
    }

    /// Waits until it is asked.
    pub(super) fn wait(&self) {
        while !self.pause(Duration::from_hours(1)) {}
    }

    /// A flush or fsync failed: nothing that was written since can be trusted. The first of these is the engine's end.
    pub(super) fn note_fatal(&self, error: JobError) {
        self.fatal.get_or_init(|| {
            tracing::error!(error = %error, "stopping for good: the next start recovers from what is durable");
            error
        });
    }

    pub(super) fn fatal(&self) -> Option<&JobError> {
        self.fatal.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::fault::FaultKind;

    #[test]
    fn a_stop_ends_every_pause_at_once_and_none_begins_after_it() {
        let stop = Stop::default();
        assert!(!stop.pause(Duration::ZERO));
        std::thread::scope(|scope| {
            let pauses = [0, 1].map(|_| scope.spawn(|| stop.pause(Duration::from_hours(1))));
            stop.ask();
            for pause in pauses {
                assert!(pause.join().expect("no panic"));
            }
        });
        assert!(stop.pause(Duration::from_hours(1)) && stop.is_asked());
    }

    #[test]
    fn the_first_error_that_stops_the_engine_is_the_one_that_is_told() {
        let stop = Stop::default();
        let error =
            |message: &str| JobError { kind: FaultKind::Storage, message: message.into(), hint: None };
        stop.note_fatal(error("first"));
        stop.note_fatal(error("second"));
        assert_eq!(stop.fatal().map(|error| error.message.as_str()), Some("first"));
        assert!(!stop.is_asked(), "who notes it asks for the stop");
    }
}
