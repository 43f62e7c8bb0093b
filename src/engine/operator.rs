//! What an operator said that outlives jobs: the values that the stages go by.

use std::sync::{Arc, Mutex};

use super::expectations::Expectations;
use super::lock;
use crate::model::halts::Halts;
use crate::model::pace::PacesSet;
use crate::store::{Changes, Said, Store, StoreError};

/// All of it. Each part locks for itself.
#[derive(Debug, Default)]
pub(super) struct Operator {
    /// What is paused or stopped.
    pub halts: Kept<Halts>,
    /// How fast rules may work.
    pub paces: Kept<PacesSet>,
    /// Who is to send files.
    pub expected: Expectations,
}

impl Operator {
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self {
            halts: Kept::load(store)?,
            paces: Kept::load(store)?,
            expected: Expectations::load(store)?,
        })
    }
}

/// One value in memory, and in its row.
#[derive(Debug, Default)]
pub(super) struct Kept<T> {
    /// Locked while it is changed, written and told: the last word is the last one told.
    changing: Mutex<()>,
    now: Mutex<Arc<T>>,
}

impl<T: Said + Clone + PartialEq> Kept<T> {
    /// As it was kept.
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        Ok(Self { changing: Mutex::default(), now: Mutex::new(Arc::new(store.said()?)) })
    }

    pub(super) fn now(&self) -> Arc<T> {
        Arc::clone(&lock(&self.now))
    }

    /// Tells of it as it is.
    pub(super) fn tell(&self, tell: impl FnOnce(&T)) {
        let _changing = lock(&self.changing);
        tell(&self.now());
    }

    /// Changes it, and its row, not durably yet, and tells of it; what the change says of itself.
    pub(super) fn change<S>(
        &self,
        store: &Store,
        change: impl FnOnce(&mut T) -> S,
        tell: impl FnOnce(&T),
    ) -> Result<S, StoreError> {
        let _changing = lock(&self.changing);
        let before = self.now();
        let mut next = T::clone(&before);
        let said = change(&mut next);
        if next != *before {
            store.change().said(&next).apply()?;
            tell(&next);
            *lock(&self.now) = Arc::new(next);
        }
        Ok(said)
    }

    /// Changes it in one batch with these changes, not durably yet: all of that is there after a crash, or nothing.
    pub(super) fn change_with<S>(
        &self,
        changes: &mut Changes<'_>,
        change: impl FnOnce(&mut T) -> S,
    ) -> Result<(), StoreError> {
        let _changing = lock(&self.changing);
        let before = self.now();
        let mut next = T::clone(&before);
        change(&mut next);
        if next == *before {
            return changes.apply();
        }
        changes.said(&next).apply()?;
        *lock(&self.now) = Arc::new(next);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::engine::tests::World;
    use crate::model::halts::Scope;

    #[test]
    fn what_is_changed_is_told_and_kept_and_what_stays_as_it_is_is_neither() {
        let world = World::new();
        let store = &world.shared.store;
        let kept = Kept::<Halts>::load(store).expect("nothing was said");
        let pause = |halts: &mut Halts| halts.pause(Scope::default(), clock::now(), "root");
        let mut told = Vec::new();
        assert!(kept.change(store, pause, |halts| told.push(halts.clone())).expect("is written"));
        assert!(!kept.change(store, pause, |halts| told.push(halts.clone())).expect("is so already"));
        assert_eq!(told, [Halts::clone(&kept.now())]);
        assert_eq!(Kept::<Halts>::load(store).expect("reads").now(), kept.now());
    }
}
