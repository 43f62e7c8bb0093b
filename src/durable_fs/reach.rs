//! How a name is reached: by a descriptor of its folder where that lies in a landing root, or where names that senders give lead to; by its
//! path elsewhere.
//!
//! ```text
//! /srv/sftp      / acme / inbox            / .landfall / quarantine   / pay.csv
//! landing root     no links (openat2)        real folders of the service's    renameat2, unlinkat, openat, O_NOFOLLOW
//! links of root's                            user, closed to others
//! ```
//!
//! The folder is looked at once, held open, and used: nothing can be exchanged in between.
//!
//! Mostly there is no link on the whole way, and one call that refuses every link opens the folder: then neither part has one. Only where
//! that call meets a link, the root is opened first, over those links that may be followed, and the rest from there.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path};
use std::rc::Rc;

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2, readlinkat};

use super::kept::{forget_kept, kept_or_reached};
use super::landing::{self, CLAIM_FOLDER};
use super::names::parent_of;
use super::whereabouts::note_place;

/// As many as the kernel follows.
const LINKS_MAX: usize = 40;

/// A name, in a folder that is held open if it lies in a landing root.
pub(super) struct At<'a> {
    folder: Option<Rc<OwnedFd>>,
    was_kept: bool,
    pub(super) name: &'a Path,
}

impl At<'_> {
    /// What [`Self::name`] is relative to.
    pub(super) fn folder(&self) -> BorrowedFd<'_> {
        self.folder.as_ref().map_or(CWD, |folder| folder.as_fd())
    }
}

/// Reaches the folder of a path.
pub(super) fn at(path: &Path) -> io::Result<At<'_>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        note_place(path);
        return Ok(At { folder: None, was_kept: false, name: path });
    };
    let (folder, was_kept) = kept_or_reached(parent, folder)?;
    note_place(path);
    let name = if folder.is_some() { Path::new(name) } else { path };
    Ok(At { folder, was_kept, name })
}

pub(super) fn on<T>(path: &Path, act: impl Fn(&At<'_>) -> rustix::io::Result<T>) -> io::Result<T> {
    let place = at(path)?;
    match act(&place) {
        // Its folder may have been made anew.
        Err(rustix::io::Errno::NOENT) if place.was_kept => {
            forget_kept();
            Ok(act(&at(path)?)?)
        }
        done => Ok(done?),
    }
}

pub(super) fn on_both<T>(
    from: &Path,
    to: &Path,
    act: impl Fn(&At<'_>, &At<'_>) -> rustix::io::Result<T>,
) -> io::Result<T> {
    let (old, new) = at_both(from, to)?;
    match act(&old, &new) {
        Err(rustix::io::Errno::NOENT) if old.was_kept || new.was_kept => {
            forget_kept();
            let (old, new) = at_both(from, to)?;
            Ok(act(&old, &new)?)
        }
        done => Ok(done?),
    }
}

/// Two names. Those of one folder are reached in one and the same: the kernel looks up each path by itself, and another folder may stand in
/// for it in between. Then a file would leave its folder by a rename within it.
fn at_both<'a>(from: &'a Path, to: &'a Path) -> io::Result<(At<'a>, At<'a>)> {
    let old = at(from)?;
    let (Some(old_name), Some(new_name)) = (from.file_name(), to.file_name()) else {
        return Ok((old, at(to)?));
    };
    if from.parent() != to.parent() {
        return Ok((old, at(to)?));
    }
    note_place(to);
    let folder = match old.folder {
        Some(folder) => folder,
        None => Rc::new(rustix::io::retry_on_intr(|| openat(CWD, parent_of(from), FOLDER, Mode::empty()))?),
    };
    let named = |name| At { folder: Some(Rc::clone(&folder)), was_kept: old.was_kept, name: Path::new(name) };
    Ok((named(old_name), named(new_name)))
}

/// Reaches a folder; none where it lies in no root, neither of senders nor of what we write.
pub(super) fn folder(folder: &Path) -> io::Result<Option<OwnedFd>> {
    note_place(folder);
    let Some((root, below)) = landing::root_of(folder) else {
        let target = landing::target_root_of(folder);
        return target.map(|(root, below)| open_target(root, below, folder)).transpose();
    };
    let Some(claims) = claim_folder_of(folder, below) else {
        return open_landing(root, folder).map(Some);
    };
    // The landing folder is the sender's, and so is its name for ours: from here on each folder must be our own.
    let mut at = open_landing(root, claims)?;
    check_opened(&at, folder)?;
    for name in folder.strip_prefix(claims).into_iter().flat_map(Path::components) {
        at = open_below(at.as_fd(), Path::new(name.as_os_str()), folder)?;
        check_opened(&at, folder)?;
    }
    Ok(Some(at))
}

/// The claim folder that a folder is, or lies in.
fn claim_folder_of<'a>(folder: &'a Path, below: &Path) -> Option<&'a Path> {
    let depth = below.components().count();
    let is_claim_folder = |ancestor: &&Path| ancestor.file_name().is_some_and(|name| name == CLAIM_FOLDER);
    folder.ancestors().take(depth).filter(is_claim_folder).last()
}

/// Opens a folder to write into: over any link to its root, and over those of root and of the service's user from there on.
fn open_target(root: &Path, below: &Path, folder: &Path) -> io::Result<OwnedFd> {
    match open_without_links(CWD, folder, ResolveFlags::empty()) {
        Err(error) if error == rustix::io::Errno::LOOP || lacks_openat2(error) => {}
        opened => return Ok(opened?),
    }
    let root = rustix::io::retry_on_intr(|| openat(CWD, root, FOLDER, Mode::empty()))?;
    follow_own_links(root, below, folder)
}

fn open_landing(root: &Path, folder: &Path) -> io::Result<OwnedFd> {
    let below = folder.strip_prefix(root).map_err(io::Error::other)?;
    if below.components().all(|name| matches!(name, Component::Normal(_))) {
        match open_without_links(CWD, folder, ResolveFlags::empty()) {
            Err(error) if error == rustix::io::Errno::LOOP || lacks_openat2(error) => {}
            opened => return Ok(opened?),
        }
    }
    let root = open_root(root)?;
    if below.as_os_str().is_empty() { Ok(root) } else { open_below(root.as_fd(), below, folder) }
}

fn check_opened(opened: &OwnedFd, folder: &Path) -> io::Result<()> {
    let found = fstat(opened)?;
    landing::check_own(found.st_mode, found.st_uid, folder)
}

pub(super) const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens a folder below another without following a link. `whole` is for the message.
fn open_below(root: BorrowedFd<'_>, below: &Path, whole: &Path) -> io::Result<OwnedFd> {
    match open_without_links(root, below, ResolveFlags::BENEATH) {
        Ok(folder) => Ok(folder),
        Err(rustix::io::Errno::LOOP) => Err(landing::link_below_root(whole)),
        Err(error) if lacks_openat2(error) => open_step_by_step(root, below, whole),
        Err(error) => Err(error.into()),
    }
}

fn open_without_links(from: BorrowedFd<'_>, way: &Path, how: ResolveFlags) -> rustix::io::Result<OwnedFd> {
    let how = how | ResolveFlags::NO_SYMLINKS;
    rustix::io::retry_on_intr(|| openat2(from, way, FOLDER, Mode::empty(), how))
}

/// Kernels before 5.6, and filters of system calls that do not know it.
fn lacks_openat2(error: rustix::io::Errno) -> bool {
    matches!(error, rustix::io::Errno::NOSYS | rustix::io::Errno::PERM | rustix::io::Errno::AGAIN)
}

fn open_step_by_step(root: BorrowedFd<'_>, below: &Path, whole: &Path) -> io::Result<OwnedFd> {
    let mut at = root.try_clone_to_owned()?;
    for name in below.components() {
        let Component::Normal(name) = name else { return Err(landing::link_below_root(whole)) };
        at = match open_one(at.as_fd(), name)? {
            One::Folder(folder) => folder,
            One::Link(_) => return Err(landing::link_below_root(whole)),
        };
    }
    Ok(at)
}

enum One {
    Folder(OwnedFd),
    Link(OwnedFd),
}

fn open_one(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<One> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let found = rustix::io::retry_on_intr(|| openat(folder, name, flags, Mode::empty()))?;
    match FileType::from_raw_mode(fstat(&found)?.st_mode) {
        FileType::Directory => Ok(One::Folder(found)),
        FileType::Symlink => Ok(One::Link(found)),
        _ => Err(io::ErrorKind::NotADirectory.into()),
    }
}

fn open_root(root: &Path) -> io::Result<OwnedFd> {
    match open_without_links(CWD, root, ResolveFlags::empty()) {
        Ok(folder) => Ok(folder),
        Err(error) if error == rustix::io::Errno::LOOP || lacks_openat2(error) => {
            let here = openat(CWD, ".", FOLDER, Mode::empty())?;
            follow_own_links(here, root, root)
        }
        Err(error) => Err(error.into()),
    }
}

/// Walks to a folder and follows the links of root and of the service's user on the way: a sender may own a part of it. `whole` is for the
/// message.
fn follow_own_links(from: OwnedFd, way: &Path, whole: &Path) -> io::Result<OwnedFd> {
    let own = landing::own_user();
    let mut ahead: VecDeque<OsString> = way.components().map(|name| name.as_os_str().to_owned()).collect();
    let mut at = from;
    let mut links = 0;
    while let Some(name) = ahead.pop_front() {
        at = match open_one(at.as_fd(), &name)? {
            One::Folder(folder) => folder,
            One::Link(link) => {
                links += 1;
                let owner = fstat(&link)?.st_uid;
                if owner != own && owner != 0 {
                    return Err(landing::foreign_link(whole, owner));
                }
                if links > LINKS_MAX {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let target = OsString::from_vec(readlinkat(&link, "", Vec::new())?.into_bytes());
                let target = Path::new(&target).components().map(|name| name.as_os_str().to_owned());
                target.rev().for_each(|name| ahead.push_front(name));
                at
            }
        };
    }
    Ok(at)
}

/// Opens a name in a folder that was reached, without following a link or waiting for a pipe's other end.
pub(super) fn open(path: &Path, flags: OFlags, mode: Mode) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let open = |at: &At<'_>| rustix::io::retry_on_intr(|| openat(at.folder(), at.name, flags, mode));
    on(path, open).map(File::from)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustix::fs::{AtFlags, statat};

    use super::super::kept::keep_reached;
    use super::*;

    #[test]
    fn below_what_we_write_into_links_of_others_are_not_followed_and_our_own_are() {
        let real = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(real.path().join("elsewhere/acme")).expect("made");
        symlink("elsewhere", real.path().join("out")).expect("linked");
        let root = real.path().join("out");
        landing::add_target_root(&root);
        symlink("acme", root.join("own")).expect("linked");
        for below in ["", "acme", "own", "own/../acme"] {
            assert!(folder(&root.join(below)).expect("reached").is_some(), "{below}");
        }
        assert!(folder(real.path()).expect("reached").is_none(), "what is above is the operator's");
        if landing::own_user() != 0 {
            return; // only root can make a link of somebody else's
        }
        std::os::unix::fs::lchown(root.join("own"), Some(65_534), None).expect("given away");
        let refused = folder(&root.join("own")).expect_err("somebody else's");
        assert!(landing::hint_of(&refused).is_some(), "{refused}");
    }

    fn landing_root() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a folder");
        landing::add_landing_root(root.path());
        root
    }

    #[test]
    fn below_a_landing_root_no_link_is_followed_at_any_depth() {
        let root = landing_root();
        let victim = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(victim.path().join("inbox")).expect("made");
        symlink(victim.path(), root.path().join("acme")).expect("linked");
        for below in ["acme", "acme/inbox", "acme/inbox/.landfall"] {
            let refused = folder(&root.path().join(below)).expect_err("a link is on the way");
            assert!(landing::hint_of(&refused).is_some(), "{below}: {refused}");
        }
    }

    #[test]
    fn without_openat2_the_same_is_reached_and_refused() {
        let root = landing_root();
        fs::create_dir_all(root.path().join("acme/inbox")).expect("made");
        symlink("acme", root.path().join("alias")).expect("linked");
        let opened = folder(root.path()).expect("reached").expect("is a landing root");
        let steps = |below: &str| open_step_by_step(opened.as_fd(), Path::new(below), Path::new(below));
        let fast = |below: &str| open_below(opened.as_fd(), Path::new(below), Path::new(below));
        for way in [&steps as &dyn Fn(&str) -> _, &fast] {
            assert!(way("acme/inbox").is_ok());
            assert!(way("alias/inbox").is_err());
            assert!(way("acme/../acme").is_err() || way("..").is_err());
            assert_eq!(way("acme/none").err().map(|error| error.kind()), Some(io::ErrorKind::NotFound));
        }
    }

    #[test]
    fn what_is_kept_is_let_go_with_its_keeper_and_which_folder_lies_there_is_looked_at_anew() {
        let root = landing_root();
        let (inbox, away) = (root.path().join("inbox"), root.path().join("away"));
        fs::create_dir(&inbox).expect("made");
        let file = inbox.join("pay");
        let is_there = || on(&file, |at| statat(at.folder(), at.name, AtFlags::empty())).is_ok();
        fs::write(&file, "1").expect("written");
        let keeps = keep_reached();
        let inner = keep_reached();
        assert!(is_there());
        drop(inner);
        crate::durable_fs::rename_replace(&inbox, &away).expect("moved away");
        symlink(&away, &inbox).expect("linked");
        assert!(is_there(), "the folder that was reached is held");
        assert!(folder(&inbox).is_err(), "a new look meets the link");
        drop(keeps);
        assert!(at(&file).is_err(), "nothing is held any more");
    }

    #[test]
    fn a_folder_that_was_made_anew_while_it_was_kept_is_met() {
        let root = landing_root();
        let inbox = root.path().join("inbox");
        let file = inbox.join("pay");
        let is_there = || on(&file, |at| statat(at.folder(), at.name, AtFlags::empty())).is_ok();
        fs::create_dir(&inbox).expect("made");
        let _keeps = keep_reached();
        assert!(!is_there());
        crate::durable_fs::rename_replace(&inbox, &root.path().join("away")).expect("moved away");
        fs::create_dir(&inbox).expect("made");
        fs::write(&file, "1").expect("written");
        assert!(is_there());
    }

    #[test]
    fn a_claim_folder_that_others_can_write_into_is_not_entered() {
        let root = landing_root();
        let claims = root.path().join(CLAIM_FOLDER);
        let quarantine = claims.join("quarantine");
        fs::create_dir_all(&quarantine).expect("made");
        let set =
            |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("set");
        set(&claims, 0o700);
        set(&quarantine, 0o700);
        assert!(folder(&quarantine).is_ok());
        set(&quarantine, 0o770);
        assert!(folder(&quarantine).is_err() && folder(&claims).is_ok());
        set(&claims, 0o757);
        assert!(folder(&claims).is_err());
    }

    #[test]
    fn links_of_our_own_on_the_way_to_a_landing_root_are_followed() {
        let real = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(real.path().join("deep/inbox")).expect("made");
        symlink("deep", real.path().join("relative")).expect("linked");
        symlink(real.path().join("relative/../relative"), real.path().join("absolute")).expect("linked");
        let root = real.path().join("absolute/inbox");
        landing::add_landing_root(&root);
        assert!(folder(&root).expect("reached").is_some());
        symlink("circle", real.path().join("circle")).expect("linked");
        let circle = real.path().join("circle/inbox");
        landing::add_landing_root(&circle);
        assert!(folder(&circle).is_err());
    }
}
