//! Random choices that can be repeated.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::OnceLock;

/// What this test process chooses by: `LANDFALL_TEST_SEED`, or anything.
pub fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    *SEED.get_or_init(|| match std::env::var("LANDFALL_TEST_SEED") {
        Ok(text) => text.parse().expect("LANDFALL_TEST_SEED is a number"),
        Err(_) => RandomState::new().build_hasher().finish() >> 16,
    })
}

/// xorshift64*.
pub struct Random(u64);

impl Random {
    /// Prints its seed: `LANDFALL_TEST_SEED` repeats an earlier run, as far as the scheduler lets it.
    pub fn seeded() -> Self {
        let seed = seed();
        println!("LANDFALL_TEST_SEED={seed}");
        Self::new(seed)
    }

    /// The choices of this seed; neighbouring seeds have nothing in common.
    pub fn new(seed: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        random.below(1);
        random
    }

    /// A number below the limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    /// One of these, if there are any.
    pub fn one_of<'t, T>(&mut self, things: &'t [T]) -> Option<&'t T> {
        let length = u64::try_from(things.len()).expect("a length");
        if length == 0 {
            None
        } else {
            things.get(usize::try_from(self.below(length)).expect("below a length"))
        }
    }

    /// Whether something that happens once in so many times happens.
    pub fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}
