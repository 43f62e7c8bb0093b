//! The last files of a kind, by their numbers.

use std::collections::{HashMap, VecDeque};

use crate::model::identity::FileIdentity;

/// So many files of a kind: the oldest is forgotten for the next one.
#[derive(Default)]
pub(super) struct Remembered {
    files: HashMap<(u64, u64), FileIdentity>,
    in_order: VecDeque<(u64, u64)>,
}

impl Remembered {
    /// Remembers one, of `max` at most.
    pub(super) fn insert(&mut self, identity: FileIdentity, max: usize) {
        let key = (identity.device, identity.inode);
        if self.files.insert(key, identity).is_none() {
            self.in_order.push_back(key);
        }
        if self.in_order.len() > max
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.files.remove(&oldest);
        }
    }

    /// Whether it is among them, as it was then.
    pub(super) fn has(&self, identity: &FileIdentity) -> bool {
        let known = self.files.get(&(identity.device, identity.inode));
        known.is_some_and(|known| known.same_content(identity))
    }
}
