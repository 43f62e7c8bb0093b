//! What the engine's dispatch is built on; its test under `shuttle` puts that crate's in this place.

pub(super) use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, atomic};
