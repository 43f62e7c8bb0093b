//! The files that were given back because they ended early, and what they were: the same bytes are not given back twice.
//!
//! A file whose checksum does not fit, and may still be written, waits until one of the two is another, or until the checksum has stood as it
//! is for long enough to be whole.
//!
//! A sender may take such a file away, and no job ever asks for it again: of very many the oldest is forgotten, which costs it another try,
//! that the watch puts off.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::lock;
use crate::durable_fs;
use crate::model::identity::FileIdentity;

/// Files that are remembered at most.
const REMEMBERED_MAX: usize = 10_000;
/// Files of which only that they wait is remembered, at most: more than two full watches have in view; 64 bytes each, about.
const WAITING_MAX: usize = 250_000;
/// Why one of them waits.
const UNFIT: &str = "does not fit this file (`landfall jobs` has what differs)";

/// Files that were given back.
#[derive(Debug)]
pub(super) struct GivenBack {
    early: Mutex<Remembered<FileIdentity>>,
    unfit: Mutex<Unfits>,
    /// Whether a number tells which file lies at a path, for as long as it is there.
    has_lasting_number: fn(&Path) -> bool,
}

/// Files whose checksums do not fit.
#[derive(Debug, Default)]
struct Unfits {
    /// Until when each waits, by a digest of what it and its checksum are; with the number under which it stands in the order.
    until: HashMap<Print, (u64, Instant)>,
    /// The oldest first, with those that wait no more.
    order: VecDeque<(u64, Print)>,
    count: u64,
    told: Remembered<(Print, Unfit)>,
}

type Print = [u8; 16];

/// What a file with a checksum held that did not fit, and may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub text: blake3::Hash,
    /// Whether all that it may lack is the end of its line.
    pub is_unended: bool,
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
        let mut unfit = lock(&self.unfit);
        if let Some((_, (print, _))) = unfit.told.files.remove(path) {
            unfit.until.remove(&print);
        }
    }

    /// It waits as long as it and its checksum are these, but not longer than this. False: it did.
    pub(super) fn waits(
        &self,
        path: &Path,
        identity: &FileIdentity,
        unfit: &Unfit,
        at_most: Duration,
    ) -> bool {
        let (now, print) = (Instant::now(), self.print(path, identity, &unfit.text));
        let mut unfits = lock(&self.unfit);
        if let Some((_, until)) = unfits.until.get(&print) {
            return now < *until;
        }
        unfits.add(print, now.checked_add(at_most).unwrap_or(now));
        unfits.told.add(path, (print, unfit.clone()));
        true
    }

    /// Why a file waits that lies beside a checksum of this text.
    pub(super) fn waits_for(&self, path: &Path, identity: &FileIdentity, text: &[u8]) -> Option<String> {
        let print = self.print(path, identity, &blake3::hash(text));
        let unfits = lock(&self.unfit);
        let (_, until) = unfits.until.get(&print)?;
        let told = unfits.told.files.get(path).filter(|(_, (told, _))| *told == print);
        (Instant::now() < *until)
            .then(|| told.map_or_else(|| UNFIT.to_owned(), |(_, (_, unfit))| unfit.why.clone()))
    }

    /// Of a file and the text of its checksum, as a file that is given back has it: a rename changes neither. A number counts only where it
    /// lasts: elsewhere each one that a file is dealt would let it wait anew, for ever.
    fn print(&self, path: &Path, identity: &FileIdentity, text: &blake3::Hash) -> Print {
        let number = if (self.has_lasting_number)(path) { identity.inode } else { 0 };
        let mut hasher = blake3::Hasher::new();
        hasher.update(text.as_bytes()).update(&number.to_le_bytes()).update(&identity.size.to_le_bytes());
        hasher.update(&identity.mtime_ns.to_le_bytes()).update(path.as_os_str().as_encoded_bytes());
        let mut print = Print::default();
        hasher.finalize_xof().fill(&mut print);
        print
    }
}

impl Default for GivenBack {
    fn default() -> Self {
        let has_lasting_number = durable_fs::is_known_by_number;
        Self { early: Mutex::default(), unfit: Mutex::default(), has_lasting_number }
    }
}

impl Unfits {
    fn add(&mut self, print: Print, until: Instant) {
        self.count += 1;
        self.until.insert(print, (self.count, until));
        self.order.push_back((self.count, print));
        while self.order.len() > WAITING_MAX {
            let Some((number, oldest)) = self.order.pop_front() else { return };
            // One that was forgotten and added again stands there twice.
            if self.until.get(&oldest).is_some_and(|(known, _)| *known == number) {
                self.until.remove(&oldest);
            }
        }
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

    fn unfit(text: &str) -> Unfit {
        Unfit { text: blake3::hash(text.as_bytes()), is_unended: true, why: "does not fit".to_owned() }
    }

    #[test]
    fn a_file_that_does_not_fit_waits_while_both_are_the_same_and_not_for_ever() {
        let (given_back, path, long) =
            (GivenBack::default(), Path::new("in/pay.csv"), Duration::from_hours(1));
        let why = |file: &FileIdentity, text: &str| given_back.waits_for(path, file, text.as_bytes());
        assert!(given_back.waits(path, &file(1), &unfit("a"), long));
        assert!(given_back.waits(path, &file(1), &unfit("a"), Duration::ZERO), "since the first time");
        assert_eq!(why(&file(1), "a").as_deref(), Some("does not fit"));
        assert_eq!((why(&file(2), "a"), why(&file(1), "b")), (None, None));
        given_back.forget(path);
        assert_eq!(why(&file(1), "a"), None);
        assert!(given_back.waits(path, &file(1), &unfit("a"), Duration::ZERO));
        assert_eq!(why(&file(1), "a"), None, "it is tried once more");
        assert!(!given_back.waits(path, &file(1), &unfit("a"), long), "and fails then");
    }

    /// A file on sshfs, exFAT or SMB may be dealt another number while it waits, by each of its claims, and when it is given back.
    #[test]
    fn where_numbers_do_not_last_a_file_that_does_not_fit_waits_no_longer_for_each_number_that_it_is_dealt() {
        let given_back = GivenBack { has_lasting_number: |_| false, ..GivenBack::default() };
        let (path, long) = (Path::new("in/pay.csv"), Duration::from_hours(1));
        assert!(given_back.waits(path, &file(1), &unfit("a"), Duration::ZERO));
        assert!(
            !given_back.waits(path, &file(2), &unfit("a"), long),
            "its time is over, whatever its number"
        );
        given_back.forget(path);
        assert!(given_back.waits(path, &file(3), &unfit("a"), long));
        let why = |file: &FileIdentity, text: &str| given_back.waits_for(path, file, text.as_bytes());
        assert_eq!(why(&file(4), "a").as_deref(), Some("does not fit"));
        let longer = FileIdentity { size: 2, ..file(4) };
        assert_eq!((why(&longer, "a"), why(&file(4), "b")), (None, None), "one of them is another");
    }

    #[test]
    fn of_very_many_files_that_do_not_fit_each_waits() {
        let (given_back, long) = (GivenBack::default(), Duration::from_hours(1));
        let count = 3 * REMEMBERED_MAX as u64;
        for number in 0..count {
            assert!(given_back.waits(&PathBuf::from(number.to_string()), &file(number), &unfit("a"), long));
        }
        let waits =
            |number: &u64| given_back.waits_for(&PathBuf::from(number.to_string()), &file(*number), b"a");
        assert!((0..count).all(|number| waits(&number).is_some()));
        assert!(lock(&given_back.unfit).told.files.len() <= REMEMBERED_MAX);
    }

    #[test]
    fn what_was_forgotten_and_does_not_fit_again_waits_as_the_last_one_of_all() {
        let mut unfits = Unfits::default();
        let until = Instant::now() + Duration::from_hours(1);
        let print = |number: usize| {
            let mut print = Print::default();
            print[..8].copy_from_slice(&(number as u64).to_le_bytes());
            print
        };
        unfits.add(print(0), until);
        unfits.until.remove(&print(0));
        (1..WAITING_MAX - 1).for_each(|number| unfits.add(print(number), until));
        unfits.add(print(0), until);
        unfits.add(print(WAITING_MAX), until);
        assert!(unfits.until.contains_key(&print(0)), "its first place is nobody's");
        assert!(unfits.order.len() <= WAITING_MAX);
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
