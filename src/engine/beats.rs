//! Whether the engine still gets on: the loops that must turn whatever a file system, a step or a sender does.
//!
//! `tick` asks the store, `disk-space` and the scheduler's clock have every job go on, and each `watch` sees what lands. None of them
//! waits for anything that may hang outside of this process, but a watch for its file system, which notes that (`durable_fs::hangs_at`).
//! Threads of crews are no proof: a step may take as long as it likes.
//!
//! Nothing here judges: how long a loop may stand still is for whoever asks.

use std::time::{Duration, Instant};

use super::give_way::PAUSE_IDLE;
use super::handle::Engine;
use super::pulse::Turns;
use super::shared::Shared;
use super::tick::TICK;
use crate::store::StoreError;

/// A clock that is woken comes within this, unless nobody lets it.
const CLOCK_TAKES: Duration = Duration::from_secs(1);

/// A loop, as it was when somebody looked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Beat {
    pub(crate) name: String,
    pub(crate) turns: u64,
    /// It has nothing to do, or waits for a file system: that it does not turn says nothing.
    pub(crate) rests: bool,
    /// How long it may sleep between two turns.
    pub(crate) sleeps: Duration,
}

impl Engine {
    /// How the loops are that show that it gets on.
    pub(crate) fn beats(&self) -> Vec<Beat> {
        self.stages().map(|stages| beats(stages)).unwrap_or_default()
    }

    /// Jobs that run, and all that are not done.
    pub(crate) fn open_jobs(&self) -> Result<(u64, u64), StoreError> {
        let running = self.stages().map_or(0, |stages| stages.dispatch.runs().len() as u64);
        let open = self.store().count_unfinished()?;
        Ok((running.min(open), open))
    }

    /// Sleeps, unless the stages stop. True: they do.
    pub(crate) fn pause(&self, time: Duration) -> bool {
        self.stages().is_none_or(|stages| stages.stop.pause(time))
    }
}

/// All of them. It takes the scheduler's lock, which nobody holds over anything that waits: who does not come back from here has proof.
fn beats(shared: &Shared) -> Vec<Beat> {
    let counted = |name: &str, turns: &Turns, sleeps| Beat {
        name: name.to_owned(),
        turns: turns.now(),
        rests: false,
        sleeps,
    };
    let pulse = &shared.resources.pulse;
    let due = shared.dispatch.clock_is_due(Instant::now());
    let clock = Beat { name: "clock".to_owned(), turns: 0, rests: !due, sleeps: CLOCK_TAKES };
    let mut beats =
        vec![counted("tick", &pulse.tick, TICK), counted("disk-space", &pulse.disk_space, PAUSE_IDLE), clock];
    for (number, watch) in shared.claims.watches.all().iter().enumerate() {
        let (turns, rests) = watch.pulse();
        beats.push(Beat { name: format!("watch {number}"), turns, rests, sleeps: Duration::ZERO });
    }
    beats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    fn beat(shared: &Shared, name: &str) -> Beat {
        beats(shared).into_iter().find(|beat| beat.name == name).expect("is told")
    }

    #[test]
    fn a_turn_is_seen_and_a_loop_that_counts_turns_never_rests() {
        let world = World::new();
        let before = beat(&world.shared, "tick");
        world.shared.resources.pulse.tick.turn();
        let after = beat(&world.shared, "tick");
        assert_eq!((after.turns, after.rests), (before.turns + 1, false));
    }

    #[test]
    fn a_clock_that_nothing_waits_for_rests() {
        let world = World::new();
        assert!(beat(&world.shared, "clock").rests);
    }
}
