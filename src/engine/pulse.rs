//! The turns of loops that show that the engine gets on: see [`super::beats`].

use std::sync::atomic::{AtomicU64, Ordering};

/// The turns of loops that count them here.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    pub tick: Turns,
    pub disk_space: Turns,
}

/// How often a loop went round.
#[derive(Debug, Default)]
pub(super) struct Turns(AtomicU64);

impl Turns {
    pub(super) fn turn(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_is_another_number() {
        let turns = Turns::default();
        let before = turns.now();
        turns.turn();
        assert_eq!(turns.now(), before + 1);
    }
}
