//! One at a time for each key: what may hang at a file system holds up only those who want the same.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Condvar, Mutex, PoisonError};

use super::lock;

/// The keys that somebody has now.
#[derive(Debug)]
pub(super) struct OneAtATime<K> {
    taken: Mutex<HashSet<K>>,
    bell: Condvar,
}

impl<K> Default for OneAtATime<K> {
    fn default() -> Self {
        Self { taken: Mutex::default(), bell: Condvar::new() }
    }
}

/// The key is this thread's until it is dropped.
pub(super) struct Entered<'a, K: Eq + Hash> {
    of: &'a OneAtATime<K>,
    key: K,
}

impl<K: Eq + Hash + Clone> OneAtATime<K> {
    /// Waits until nobody else has this key.
    pub(super) fn enter(&self, key: K) -> Entered<'_, K> {
        let mut taken = lock(&self.taken);
        while !taken.insert(key.clone()) {
            taken = self.bell.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        Entered { of: self, key }
    }
}

impl<K: Eq + Hash> Drop for Entered<'_, K> {
    fn drop(&mut self) {
        lock(&self.of.taken).remove(&self.key);
        self.of.bell.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn who_wants_the_same_waits_and_nobody_else_does() {
        let (places, is_over) = (OneAtATime::default(), AtomicBool::new(false));
        let first = places.enter("a");
        drop(places.enter("b"));
        std::thread::scope(|scope| {
            let second = scope.spawn(|| {
                let _entered = places.enter("a");
                is_over.load(Ordering::SeqCst)
            });
            is_over.store(true, Ordering::SeqCst);
            drop(first);
            assert!(second.join().expect("no panic"), "it came after the first");
        });
        assert!(lock(&places.taken).is_empty(), "nothing is kept of keys that nobody has");
    }
}
