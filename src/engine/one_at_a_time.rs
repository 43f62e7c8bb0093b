//! One at a time for each key: what may hang at a file system holds up only those who want the same.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

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

    /// The same for who may not wait for a thread that hangs; none: somebody else has the key all that time.
    pub(super) fn enter_within(&self, key: K, patience: Duration) -> Option<Entered<'_, K>> {
        let taken = lock(&self.taken);
        let is_taken = |taken: &mut HashSet<K>| taken.contains(&key);
        let waited = self.bell.wait_timeout_while(taken, patience, is_taken);
        let (mut taken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        taken.insert(key.clone()).then(|| Entered { of: self, key })
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

    #[test]
    fn who_may_not_wait_for_long_is_turned_away_and_leaves_the_key_to_who_has_it() {
        let places = OneAtATime::default();
        let first = places.enter("a");
        for _ in 0..2 {
            assert!(places.enter_within("a", Duration::from_millis(1)).is_none());
        }
        std::thread::scope(|scope| {
            let second = scope.spawn(|| places.enter_within("a", Duration::MAX).is_some());
            drop(first);
            assert!(second.join().expect("no panic"), "it was let go of in time");
        });
        assert!(lock(&places.taken).is_empty());
    }
}
