//! The files that were given back because they ended early, and what they were: the same bytes are not given back twice.
//!
//! A file whose checksum does not fit, and may still be written, waits until one of the two is another.
//!
//! A sender may take such a file away, and no job ever asks for it again: of very many the oldest is forgotten, which costs it another try.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::lock;
use crate::durable_fs;
use crate::model::identity::FileIdentity;

/// Files that are remembered at most.
const REMEMBERED_MAX: usize = 10_000;

/// Files that were given back.
#[derive(Debug, Default)]
pub(super) struct GivenBack {
    early: Mutex<Remembered<FileIdentity>>,
    unfit: Mutex<Remembered<(FileIdentity, Unfit)>>,
}

/// What a file with a checksum held that did not fit, and may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub text: blake3::Hash,
    /// It follows the name of what it is about.
    pub why: String,
}

#[derive(Debug)]
struct Remembered<T> {
    /// With the number under which it stands in the order.
    files: HashMap<PathBuf, (u64, T)>,
    /// The oldest first, with files that are forgotten already.
    order: VecDeque<(u64, PathBuf)>,
    count: u64,
}

impl GivenBack {
    /// Whether these bytes were not given back before; remembered then. Otherwise the file is forgotten.
    pub(super) fn is_first(&self, path: &Path, identity: &FileIdentity, may_be: bool) -> bool {
        let mut remembered = lock(&self.early);
        match remembered.files.remove(path) {
            Some((_, before)) if durable_fs::is_same_content(path, identity, &before) => false,
            _ if !may_be => false,
            _ => {
                remembered.add(path, *identity);
                true
            }
        }
    }

    /// The file went its way.
    pub(super) fn forget(&self, path: &Path) {
        lock(&self.early).files.remove(path);
        lock(&self.unfit).files.remove(path);
    }

    /// It waits as long as it and its checksum are these.
    pub(super) fn waits(&self, path: &Path, identity: &FileIdentity, unfit: &Unfit) {
        lock(&self.unfit).add(path, (*identity, unfit.clone()));
    }

    /// Why a file waits that lies beside a checksum of this text.
    pub(super) fn waits_for(&self, path: &Path, identity: &FileIdentity, text: &[u8]) -> Option<String> {
        let unfit = lock(&self.unfit);
        let (_, (before, unfit)) = unfit.files.get(path)?;
        let is_it = durable_fs::is_same_content(path, identity, before) && unfit.text == blake3::hash(text);
        is_it.then(|| unfit.why.clone())
    }
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { files: HashMap::new(), order: VecDeque::new(), count: 0 }
    }
}

impl<T> Remembered<T> {
    fn add(&mut self, path: &Path, what: T) {
        self.count += 1;
        self.files.insert(path.to_owned(), (self.count, what));
        self.order.push_back((self.count, path.to_owned()));
        while self.order.len() > REMEMBERED_MAX {
            let Some((number, oldest)) = self.order.pop_front() else { return };
            if self.files.get(&oldest).is_some_and(|(known, _)| *known == number) {
                self.files.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> FileIdentity {
        FileIdentity { device: 1, inode, size: 1, mtime_ns: 1, ctime_ns: 1 }
    }

    #[test]
    fn the_same_bytes_are_given_back_once_and_others_again() {
        let given_back = GivenBack::default();
        let path = Path::new("in/pay.csv");
        assert!(given_back.is_first(path, &file(1), true));
        assert!(!given_back.is_first(path, &file(1), true));
        assert!(given_back.is_first(path, &file(1), true), "it was forgotten with its end");
        assert!(given_back.is_first(path, &file(2), true), "another file");
        assert!(!given_back.is_first(path, &file(3), false), "an operator named it");
        given_back.is_first(path, &file(4), true);
        given_back.forget(path);
        assert!(given_back.is_first(path, &file(4), true));
    }

    #[test]
    fn files_that_never_come_again_do_not_pile_up() {
        let given_back = GivenBack::default();
        for number in 0..3 * REMEMBERED_MAX as u64 {
            let path = PathBuf::from(number.to_string());
            assert!(given_back.is_first(&path, &file(number), true));
            if number % 3 == 0 {
                given_back.forget(&path);
            }
        }
        let remembered = lock(&given_back.early);
        assert!(remembered.files.len() <= REMEMBERED_MAX && remembered.order.len() <= REMEMBERED_MAX);
    }
}
