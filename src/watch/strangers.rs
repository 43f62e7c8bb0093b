//! Names that no rule takes and that were seen to come, by file: so that a rename by a link and an unlink is seen as one.
//!
//! OpenSSH's server renames so for clients that ask for SFTP's own rename: the new name appears, then the old one goes. Nothing else tells
//! that from a file that is only just being written.
//!
//! A short upload may be renamed before the first look at it, so that nothing tells which file it was. Events come in their order, which
//! tells enough: an older name that appeared, and whose end is not told of yet, was there when the new one appeared.
//!
//! ```text
//! sender   .part appears ... new name appears, .part goes
//! watch                                                    .part appears: it is gone; new name appears: a rename; .part goes
//! ```

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::durable_fs;
use crate::model::identity::FileIdentity;

/// Names that are remembered. A file whose older name was forgotten only has to stand still for longer.
const STRANGERS_MAX: usize = 4096;

/// A file: device and inode.
type File = (u64, u64);

/// The names, and what is known of each.
#[derive(Default)]
pub(super) struct Strangers {
    by_file: HashMap<File, Stranger>,
    by_name: HashMap<PathBuf, File>,
    in_order: BTreeMap<u64, PathBuf>,
    next: u64,
    unseen: Unseen,
}

/// Names that appeared and were gone at the first look, until it is told that they went.
#[derive(Default)]
struct Unseen {
    names: HashSet<PathBuf>,
    /// By what their files may be called at last, the oldest first: senders give their files the same names, each in a folder of its own.
    by_target: HashMap<OsString, Vec<PathBuf>>,
}

struct Stranger {
    name: PathBuf,
    number: u64,
    /// A name of the same file that a rule takes.
    candidate: Option<PathBuf>,
}

impl Strangers {
    /// Takes note of a name that no rule takes.
    pub(super) fn note(&mut self, name: PathBuf, identity: &FileIdentity) {
        self.forget(&name);
        let file = (identity.device, identity.inode);
        if let Some(other) = self.by_file.get(&file).map(|it| it.name.clone()) {
            self.forget(&other);
        }
        let number = self.next;
        self.next += 1;
        self.in_order.insert(number, name.clone());
        self.by_name.insert(name.clone(), file);
        self.by_file.insert(file, Stranger { name, number, candidate: None });
        if self.in_order.len() > STRANGERS_MAX
            && let Some((_, oldest)) = self.in_order.pop_first()
        {
            self.forget(&oldest);
        }
    }

    /// Takes note of a name that no rule takes and that is gone already.
    pub(super) fn note_unseen(&mut self, name: &Path) {
        self.unseen.note(name);
    }

    /// A candidate appeared: the other name that its file had, if that is gone already. If it is not, [`Self::gone`] tells when it goes.
    pub(super) fn renamed_to(&mut self, candidate: &Path, identity: &FileIdentity) -> Option<PathBuf> {
        let Some(stranger) = self.by_file.get_mut(&(identity.device, identity.inode)) else {
            return self.unseen.take_for(candidate);
        };
        let is_there = match durable_fs::identity_at(&stranger.name) {
            Ok(found) => found.is_some_and(|it| it.same_file(identity)),
            Err(_) => true,
        };
        if is_there {
            stranger.candidate = Some(candidate.to_owned());
            return None;
        }
        let name = stranger.name.clone();
        self.forget(&name);
        Some(name)
    }

    /// A name is gone: the candidate and the file that it was of.
    pub(super) fn gone(&mut self, name: &Path) -> Option<(PathBuf, File)> {
        self.unseen.forget(name);
        let file = *self.by_name.get(name)?;
        Some((self.forget(name)?.candidate?, file))
    }

    /// Events were lost: a name may be another file's by now.
    pub(super) fn forget_all(&mut self) {
        *self = Self::default();
    }

    fn forget(&mut self, name: &Path) -> Option<Stranger> {
        let stranger = self.by_file.remove(&self.by_name.remove(name)?)?;
        self.in_order.remove(&stranger.number);
        Some(stranger)
    }
}

impl Unseen {
    fn note(&mut self, name: &Path) {
        if self.names.len() >= STRANGERS_MAX {
            *self = Self::default();
        }
        if !self.names.insert(name.to_owned()) {
            return;
        }
        for target in targets(name) {
            self.by_target.entry(target.to_owned()).or_default().push(name.to_owned());
        }
    }

    /// The name whose file may be called so now: one in the same folder before those in others.
    fn take_for(&mut self, candidate: &Path) -> Option<PathBuf> {
        let names = self.by_target.get(candidate.file_name()?)?;
        let beside = names.iter().find(|name| name.parent() == candidate.parent());
        let name = beside.or(names.first())?.clone();
        // Should it be there again, its file is not the candidate.
        let is_gone = durable_fs::identity_at(&name).is_ok_and(|found| found.is_none());
        self.forget(&name);
        is_gone.then_some(name)
    }

    fn forget(&mut self, name: &Path) {
        if !self.names.remove(name) {
            return;
        }
        for target in targets(name) {
            let Entry::Occupied(mut names) = self.by_target.entry(target.to_owned()) else { continue };
            names.get_mut().retain(|other| other != name);
            if names.get().is_empty() {
                names.remove();
            }
        }
    }
}

/// What a file with a temporary name may be called at last: the same in another folder, or without an ending, or a dot before it.
fn targets(name: &Path) -> impl Iterator<Item = &OsStr> {
    let name = name.file_name().unwrap_or_default();
    let stem = Path::new(name).file_stem().unwrap_or_default();
    [Some(name), Some(stem), without_dot(name), without_dot(stem)].into_iter().flatten()
}

fn without_dot(name: &OsStr) -> Option<&OsStr> {
    name.to_str()?.strip_prefix('.').map(OsStr::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(inode: u64) -> FileIdentity {
        FileIdentity { device: 1, inode, size: 1, mtime_ns: 1, ctime_ns: 1 }
    }

    #[test]
    fn a_file_whose_older_name_is_gone_was_renamed_whichever_is_heard_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (old, new) = (folder.path().join("a.part"), folder.path().join("a"));
        std::fs::write(&old, b"x").expect("writes");
        let identity = durable_fs::identity_at(&old).expect("is looked at").expect("is there");
        let mut strangers = Strangers::default();
        strangers.note(old.clone(), &identity);
        std::fs::hard_link(&old, &new).expect("links");
        assert_eq!(strangers.renamed_to(&new, &identity), None);
        durable_fs::remove_file(&old).expect("unlinks");
        assert_eq!(strangers.gone(&old), Some((new.clone(), (identity.device, identity.inode))));

        strangers.note(old.clone(), &identity);
        assert_eq!(strangers.renamed_to(&new, &identity), Some(old.clone()));
        assert_eq!(strangers.gone(&old), None, "it was told of");
    }

    #[test]
    fn a_file_that_was_renamed_before_the_first_look_is_told_by_its_names_and_the_order_of_events() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let at = |name: &str| folder.path().join(name);
        let renamed = |appeared: &str, gone: &str, candidate: &str| {
            let mut strangers = Strangers::default();
            strangers.note_unseen(&at(appeared));
            strangers.gone(&at(gone));
            let found = strangers.renamed_to(&at(candidate), &file(1));
            assert_eq!(strangers.renamed_to(&at(candidate), &file(2)), None, "it counts once");
            found
        };
        for appeared in ["a.csv.filepart", ".a.csv.part", ".a.csv", "elsewhere/a.csv"] {
            assert_eq!(renamed(appeared, "other", "a.csv"), Some(at(appeared)), "{appeared}");
        }
        assert_eq!(renamed("a.csv.part", "a.csv.part", "a.csv"), None, "it went before the candidate came");
        assert_eq!(renamed("b.csv.part", "other", "a.csv"), None, "another file's");
        std::fs::write(at("a.csv.part"), b"x").expect("writes");
        assert_eq!(renamed("a.csv.part", "other", "a.csv"), None, "it is there again");
    }

    /// Three partners send a `pay.csv` each at once.
    #[test]
    fn files_of_one_name_in_several_folders_are_told_apart_in_whatever_order_they_are_heard_of() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let senders = ["acme", "globex", "initech"];
        let at = |sender: &str, name: &str| folder.path().join(sender).join(name);
        for first in 0..senders.len() {
            let mut strangers = Strangers::default();
            for sender in senders {
                strangers.note_unseen(&at(sender, "pay.csv.part"));
                strangers.note_unseen(&at(sender, "pay.csv.part"));
            }
            for sender in senders.iter().cycle().skip(first).take(senders.len()) {
                let found = strangers.renamed_to(&at(sender, "pay.csv"), &file(1));
                assert_eq!(found, Some(at(sender, "pay.csv.part")));
            }
            assert!(strangers.unseen.by_target.is_empty() && strangers.unseen.names.is_empty());
        }
        let mut strangers = Strangers::default();
        strangers.note_unseen(&at("acme", "pay.csv.part"));
        strangers.note_unseen(&at("globex", "pay.csv.part"));
        strangers.gone(&at("globex", "pay.csv.part"));
        let found = strangers.renamed_to(&at("acme", "pay.csv"), &file(1));
        assert_eq!(found, Some(at("acme", "pay.csv.part")), "what went elsewhere takes nothing along");
    }

    #[test]
    fn a_file_that_only_has_the_number_of_one_that_went_was_not_renamed() {
        let mut strangers = Strangers::default();
        strangers.note(PathBuf::from("a.part"), &file(1));
        assert_eq!(strangers.gone(Path::new("a.part")), None);
        assert_eq!(strangers.renamed_to(Path::new("b"), &file(1)), None);
    }

    #[test]
    fn the_oldest_names_are_forgotten_and_no_more_than_that() {
        let mut strangers = Strangers::default();
        for number in 0..=STRANGERS_MAX as u64 {
            strangers.note(PathBuf::from(number.to_string()), &file(number));
        }
        assert_eq!((strangers.by_file.len(), strangers.by_name.len()), (STRANGERS_MAX, STRANGERS_MAX));
        assert_eq!(strangers.renamed_to(Path::new("new"), &file(0)), None);
        assert_eq!(strangers.renamed_to(Path::new("new"), &file(1)), Some(PathBuf::from("1")));
    }
}
