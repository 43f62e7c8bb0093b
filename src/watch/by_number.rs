//! Which candidates are one file under several names.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::model::identity::FileIdentity;

/// The candidates by their files' numbers. Nearly all are alone with theirs; a sender can give one file tens of thousands of names.
#[derive(Default)]
pub(super) struct ByNumber(HashMap<(u64, u64), Names>);

struct Names {
    first: Arc<Path>,
    others: BTreeSet<Arc<Path>>,
}

fn number(identity: &FileIdentity) -> (u64, u64) {
    (identity.device, identity.inode)
}

impl ByNumber {
    pub(super) fn insert(&mut self, path: &Arc<Path>, identity: &FileIdentity) {
        match self.0.entry(number(identity)) {
            Entry::Vacant(free) => {
                free.insert(Names { first: Arc::clone(path), others: BTreeSet::new() });
            }
            Entry::Occupied(mut known) => {
                let names = known.get_mut();
                if names.first != *path {
                    names.others.insert(Arc::clone(path));
                }
            }
        }
    }

    pub(super) fn remove(&mut self, path: &Path, identity: &FileIdentity) {
        let Entry::Occupied(mut known) = self.0.entry(number(identity)) else { return };
        let names = known.get_mut();
        names.others.remove(path);
        if *names.first == *path {
            match names.others.pop_first() {
                Some(other) => names.first = other,
                None => drop(known.remove()),
            }
        }
    }

    /// Another candidate that is this file.
    pub(super) fn other(&self, path: &Path, identity: &FileIdentity) -> Option<&Arc<Path>> {
        let names = self.0.get(&number(identity))?;
        std::iter::once(&names.first).chain(&names.others).find(|other| ***other != *path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_names_of_a_file_each_is_told_the_other_and_nothing_is_kept_of_those_that_went() {
        let identity = |inode| FileIdentity { device: 1, inode, size: 1, mtime_ns: 0, ctime_ns: 0 };
        let [a, b, c] = ["a", "b", "c"].map(|name| Arc::<Path>::from(Path::new(name)));
        let mut files = ByNumber::default();
        files.insert(&a, &identity(1));
        files.insert(&a, &identity(1));
        assert_eq!(files.other(&a, &identity(1)), None);
        for other in [&b, &c] {
            files.insert(other, &identity(1));
        }
        assert_eq!(files.other(&a, &identity(1)), Some(&b));
        assert_eq!(files.other(&b, &identity(1)), Some(&a));
        files.remove(&a, &identity(1));
        assert_eq!(files.other(&b, &identity(1)), Some(&c));
        assert_eq!(files.other(&c, &identity(1)), Some(&b));
        files.remove(&a, &identity(1));
        files.remove(&b, &identity(1));
        files.remove(&c, &identity(1));
        assert!(files.0.is_empty());
    }
}
