//! How one source is read: in turns with others, until its job breaks off or the engine stops.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::lock;
use super::run::Run;
use super::shared::{READING_TURN, Shared};
use crate::allowance::{Pace, size};
use crate::durable_fs;

/// Of one job.
pub(super) struct LoadPace {
    shared: Arc<Shared>,
    run: Arc<Run>,
    /// Since when it is its turn.
    since: Mutex<Instant>,
    source: PathBuf,
}

impl LoadPace {
    pub(super) fn new(shared: &Arc<Shared>, run: &Arc<Run>) -> Self {
        let source = run.with_row(|job| job.source_path().as_path().to_owned());
        Self { shared: Arc::clone(shared), run: Arc::clone(run), since: Mutex::new(Instant::now()), source }
    }
}

impl Pace for LoadPace {
    fn step(&self) -> bool {
        if self.shared.dispatch.is_reading_wanted() && lock(&self.since).elapsed() >= READING_TURN {
            self.shared.dispatch.pause_reading(self.run.id);
            *lock(&self.since) = Instant::now();
        }
        durable_fs::note_place(&self.source); // where it reads on
        !self.is_stopped()
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.is_asked() || self.run.is_broken_off()
    }

    fn rest(&self) {
        self.shared.dispatch.rest_reading(self.run.id);
    }

    fn resume(&self) {
        self.shared.dispatch.resume_reading(self.run.id);
        *lock(&self.since) = Instant::now();
    }

    fn get_on(&self) -> bool {
        self.shared.dispatch.slices(); // workers are not told of the first slices
        self.run.begin_reached_entries()
    }

    fn tell_waiting(&self, what: &'static str, bytes: u64) {
        let need = size(bytes);
        tracing::info!(job = %self.run.id, what, need, "reading waits for memory that is in use");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::engine::trouble::Trouble;
    use crate::model::fault::FaultKind;

    #[test]
    fn a_source_is_read_until_its_job_breaks_off_or_the_engine_stops() {
        let world = World::new();
        let run = world.run();
        let pace = LoadPace::new(&world.shared, &run);
        assert!(pace.step() && !pace.is_stopped(), "nobody else wants to read");
        run.break_off(Trouble::new(FaultKind::Input, "a record failed", None));
        assert!(!pace.step() && pace.is_stopped());

        let world = World::new();
        let pace = LoadPace::new(&world.shared, &world.run());
        world.shared.ask_to_stop();
        assert!(!pace.step() && pace.is_stopped());
    }
}
