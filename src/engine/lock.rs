//! Locking what is plain data.

use std::sync::{Mutex, MutexGuard};

/// Locks; a thread that panicked while it held the lock has already been reported, and what it guarded is plain data.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_that_panicked_had_locked_is_locked_again_as_it_left_it() {
        let mutex = Mutex::new(1);
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| {
                *lock(&mutex) += 1;
                let _held = lock(&mutex);
                std::panic::panic_any("while it has the lock")
            });
            panics.join().map(|()| 0).expect_err("it panicked");
        });
        assert!(mutex.is_poisoned());
        assert_eq!(*lock(&mutex), 2);
    }
}
