//! Folders that a thread keeps for a few steps.
//!
//! Who does something to many files keeps what it reached until it is done ([`keep_reached`]). That gives nobody a way in: what is held
//! was reached, and looked at, as any folder is, and an exchange after that is one that comes right behind the look. A claim folder that
//! is moved away meanwhile stays ours; in a landing folder that is, its owner meets renames of his own files, each of which is compared with
//! what was claimed as it is everywhere. Who asks which folder lies at a path is told by a new look, and what is not found in a folder that was
//! kept is looked for anew: the folder may have been made anew.

use std::cell::RefCell;
use std::io;
use std::marker::PhantomData;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Folders that were reached, by the path that they were asked for.
type Reached = Vec<(PathBuf, Rc<OwnedFd>)>;

thread_local! {
    /// The folders that this thread keeps; none where it keeps nothing.
    static KEPT: RefCell<Option<Reached>> = const { RefCell::new(None) };
}

/// A thread at one step deals with the files of few folders at a time; each costs a descriptor.
const KEPT_MAX: usize = 4;

/// While it lives, this thread keeps the folders that it reaches.
#[must_use]
pub(crate) struct KeepsReached {
    is_outer: bool,
    _of_this_thread: PhantomData<*const ()>,
}

/// Begins to keep the folders that this thread reaches. Not over anything that waits: a folder that is held cannot be unmounted.
pub(crate) fn keep_reached() -> KeepsReached {
    let is_outer = KEPT.with_borrow_mut(|kept| kept.is_none() && kept.insert(Vec::new()).is_empty());
    KeepsReached { is_outer, _of_this_thread: PhantomData }
}

impl Drop for KeepsReached {
    fn drop(&mut self) {
        if self.is_outer {
            KEPT.set(None);
        }
    }
}

pub(super) fn forget_kept() {
    KEPT.with_borrow_mut(|kept| kept.iter_mut().for_each(Vec::clear));
}

/// A folder, and whether it was reached before; else `reach` gets there.
pub(super) fn kept_or_reached(
    path: &Path,
    reach: impl FnOnce(&Path) -> io::Result<Option<OwnedFd>>,
) -> io::Result<(Option<Rc<OwnedFd>>, bool)> {
    KEPT.with_borrow_mut(|kept| {
        let known = kept.iter().flatten().find(|(known, _)| known.as_os_str() == path.as_os_str());
        if let Some((_, folder)) = known {
            return Ok((Some(Rc::clone(folder)), true));
        }
        let Some(reached) = reach(path)?.map(Rc::new) else { return Ok((None, false)) };
        if let Some(kept) = kept {
            if kept.len() == KEPT_MAX {
                kept.remove(0);
            }
            kept.push((path.to_owned(), Rc::clone(&reached)));
        }
        Ok((Some(reached), false))
    })
}
