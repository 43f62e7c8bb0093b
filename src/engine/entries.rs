//! The entries between loading and collecting: an archive may have any number, and those that are collected are not kept.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use crate::allowance::Permit;
use crate::model::slice::EntryShape;
use crate::output::EntryName;
use crate::store::MemoryLease;

/// An entry that loading has reached.
#[derive(Clone, Debug)]
pub(super) struct LoadedEntry {
    pub name: EntryName,
    pub shape: Arc<EntryShape>,
    /// What it holds until it is collected.
    pub _memory: Arc<EntryMemory>,
}

/// The memory of an entry that waits to be collected.
#[derive(Debug)]
pub(super) struct EntryMemory {
    /// Counts against the slices.
    pub _lease: MemoryLease,
    /// Of a header of its own.
    pub _header: Option<Permit>,
}

/// The entries of a running job.
pub(super) struct Entries(RwLock<Kept>);

#[derive(Default)]
struct Kept {
    /// Position of the first that is kept.
    first: usize,
    /// Entries that loading reached.
    reached: usize,
    entries: VecDeque<LoadedEntry>,
}

impl Entries {
    /// None is kept before this position.
    pub(super) fn from(first: usize) -> Self {
        Self(RwLock::new(Kept { first, ..Kept::default() }))
    }

    /// The loader reached an entry.
    pub(super) fn add(&self, entry: LoadedEntry) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.reached >= kept.first {
            kept.entries.push_back(entry);
        }
        kept.reached += 1;
    }

    /// An entry that loading reached and collecting has not passed.
    pub(super) fn get(&self, position: usize) -> Option<LoadedEntry> {
        self.look(position, LoadedEntry::clone)
    }

    /// Its shape.
    pub(super) fn shape(&self, position: usize) -> Option<Arc<EntryShape>> {
        self.look(position, |entry| Arc::clone(&entry.shape))
    }

    fn look<R>(&self, position: usize, at: impl FnOnce(&LoadedEntry) -> R) -> Option<R> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        kept.entries.get(position.checked_sub(kept.first)?).map(at)
    }

    /// How many loading reached.
    pub(super) fn reached(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).reached
    }

    /// Collecting has come to this entry: nobody asks for those before it any more.
    pub(super) fn pass_before(&self, position: usize) {
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let passed = position.saturating_sub(kept.first).min(kept.entries.len());
        kept.entries.drain(..passed);
        kept.first += passed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::MemoryBudget;

    fn entry(position: u32) -> LoadedEntry {
        let name = EntryName { position, name: position.to_string().as_str().into() };
        let lease = MemoryBudget::new(1 << 20).lease(1);
        let shape = EntryShape { name: position.to_string(), ..EntryShape::default() };
        let memory = EntryMemory { _lease: lease, _header: None };
        LoadedEntry { name, shape: Arc::new(shape), _memory: Arc::new(memory) }
    }

    fn kept(entries: &Entries) -> Vec<String> {
        (0..entries.reached()).filter_map(|position| Some(entries.shape(position)?.name.clone())).collect()
    }

    #[test]
    fn entries_are_kept_by_their_positions_until_they_are_passed() {
        let entries = Entries::from(0);
        (0..4).for_each(|position| entries.add(entry(position)));
        assert_eq!(kept(&entries), ["0", "1", "2", "3"]);
        entries.pass_before(2);
        entries.pass_before(1); // a look back brings nothing back
        assert_eq!(kept(&entries), ["2", "3"]);
        assert!(entries.get(1).is_none() && entries.get(4).is_none());
        entries.pass_before(9);
        assert_eq!((kept(&entries).len(), entries.reached()), (0, 4));
    }

    #[test]
    fn a_job_that_goes_on_inside_an_archive_keeps_none_of_the_entries_before() {
        let entries = Entries::from(2);
        (0..3).for_each(|position| entries.add(entry(position)));
        assert_eq!(kept(&entries), ["2"]);
    }
}
