//! One sync for all who wait for it: the store's flush and fsync, and the fsync of each folder.
//!
//! Syncing is slow, and one sync makes durable what all have written by then. It knows neither what is synced nor how.

// The algorithm takes its lock and its condition from here: the tests compile it a second time, with those of `shuttle`.
use std::sync as primitives;

mod rounds;

pub(crate) use rounds::{Failure, GroupSync, Told};

#[cfg(test)]
mod schedule_tests;
#[cfg(test)]
mod tests;
