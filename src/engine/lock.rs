//! Locking what is plain data.

use std::sync::{Mutex, MutexGuard};

/// Locks; a thread that panicked while it held the lock has already been reported, and what it guarded is plain data.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
