//! A rename without replace on Unix: `renameat2`, else hard links, else a placeholder.

use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use super::error::FsError;
use super::files::{create_private, is_missing, remove_file};
use super::folder_sync::sync_folder;
use super::fs_type::numbers_last;
use super::fuse;
use super::names::{Renamed, hidden_sibling, parent_of};
use super::unix::{
    create_new, folder_metadata, has_no_links, is_file, is_out_of_descriptors, is_unsupported, link, look_at,
    open_source, rename_exclusively, rename_replace,
};

/// Compared at once.
const COMPARED_BYTES: usize = 64 << 10;

/// Renames on one file system, never over an existing file. Does not sync folders.
///
/// Where the file system has no such rename, a hard link and an unlink stand in, and without hard links an empty file, made
/// exclusively, that the rename then replaces. A crash between link and unlink leaves both names on one file: the next call finishes it.
pub(crate) fn rename_no_replace(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    match rename_exclusively(from, to) {
        Ok(()) => Ok(Renamed::Done),
        Err(error) if is_unsupported(&error) => link_then_unlink(from, to),
        Err(error) => settle(error, from, to),
    }
}

/// Takes a file that others may replace meanwhile, under a name in a folder of ours that nobody else gives. Does not sync folders.
///
/// By a rename, never by a link and an unlink: the unlink could meet a newer file, which has come to the old name in between. A file that
/// has the new name already, and another besides, is taken: the other name is its sender's.
pub(crate) fn take_file(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    match rename_exclusively(from, to) {
        Ok(()) => Ok(Renamed::Done),
        Err(error) if is_unsupported(&error) => take_by_plain_rename(from, to),
        Err(error) => settle_taking(error, from, to),
    }
}

pub(super) fn take_by_plain_rename(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    if !is_missing(to)? {
        return Ok(taken_before(from, to));
    }
    match rename_replace(from, to) {
        Ok(()) => Ok(Renamed::Done),
        Err(error) => settle_taking(error, from, to),
    }
}

fn settle_taking(error: io::Error, from: &Path, to: &Path) -> Result<Renamed, FsError> {
    match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(taken_before(from, to)),
        _ => settle(error, from, to),
    }
}

/// The new name is there before a file is taken under it.
fn taken_before(from: &Path, to: &Path) -> Renamed {
    match (look_at(from), look_at(to)) {
        (Ok(old), Ok(new)) if (old.st_dev, old.st_ino) == (new.st_dev, new.st_ino) => Renamed::Done,
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => Renamed::Missing,
        _ => Renamed::NameTaken,
    }
}

/// The refusals that are answers, not errors.
fn settle(error: io::Error, from: &Path, to: &Path) -> Result<Renamed, FsError> {
    match error.kind() {
        io::ErrorKind::AlreadyExists => finish_link(from, to),
        io::ErrorKind::NotFound if is_missing(from)? => Ok(Renamed::Missing),
        _ => Err(FsError::between("rename", from, to, error)),
    }
}

pub(super) fn link_then_unlink(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    if fuse::loses_its_number(to).map_err(|error| FsError::between("rename", from, to, error))? {
        return rename_over_placeholder(from, to);
    }
    if !numbers_last(to) {
        return link_with_note(from, to);
    }
    match link(from, to) {
        Ok(()) => unlink_after_link(from, to),
        Err(error) if has_no_links(&error) => rename_over_placeholder(from, to),
        Err(error) => settle(error, from, to),
    }
}

/// Where the two names of one file may have two numbers, a crash between link and unlink would leave what looks like another's file under the
/// name. A note says whose it may be: see [`finish_noted`]. It stays where the answer does not say that no link was made.
pub(super) fn link_with_note(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    let note = note_of(Kind::Link, from, to);
    let was_noted = note_down(&note, to)?;
    match link(from, to) {
        Ok(()) => {
            let renamed = unlink_after_link(from, to)?;
            remove_file(&note).ok(); // as below
            Ok(renamed)
        }
        Err(error) => {
            let has_no_links = has_no_links(&error);
            let is_over = error.kind() == io::ErrorKind::NotFound && is_missing(from)?;
            if has_no_links || is_over || !was_noted && is_refusal(&error) {
                remove_file(&note)?;
            }
            if has_no_links { rename_over_placeholder(from, to) } else { settle(error, from, to) }
        }
    }
}

/// Whether the answer is one of the file system that looked, and did nothing. One that was lost on its way may have been the opposite.
fn is_refusal(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    let is_known = matches!(
        error.kind(),
        Kind::AlreadyExists
            | Kind::NotFound
            | Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::CrossesDevices
            | Kind::InvalidFilename
            | Kind::NotADirectory
    );
    is_known || is_out_of_descriptors(error)
}

/// The name is taken, by a file with another number. By our own link or placeholder, if an earlier call noted that it would take the name
/// so, and what lies there is the same or nothing.
fn finish_noted(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    let (link, placeholder) = (note_of(Kind::Link, from, to), note_of(Kind::Placeholder, from, to));
    if !is_missing(&link)? && is_copy(from, to)? {
        unlink_after_link(from, to)?;
    } else if !is_missing(&placeholder)? && is_empty_file(to) {
        replace_placeholder(from, to)?;
    } else {
        forget_note(from, to)?;
        return Ok(Renamed::NameTaken);
    }
    forget_note(from, to).ok();
    Ok(Renamed::Done)
}

/// Removes the notes of a rename that came to its end, if a crash left them.
pub(crate) fn forget_note(from: &Path, to: &Path) -> Result<(), FsError> {
    [Kind::Link, Kind::Placeholder].into_iter().try_for_each(|kind| remove_file(&note_of(kind, from, to)))
}

/// A crash came after the link.
#[cfg(test)]
pub(crate) fn note_link(from: &Path, to: &Path) -> Result<bool, FsError> {
    note_down(&note_of(Kind::Link, from, to), to)
}

/// Leaves a note, durably. Whether it was there.
fn note_down(note: &Path, to: &Path) -> Result<bool, FsError> {
    if !is_missing(note)? {
        return Ok(true);
    }
    create_private(note)?;
    sync_folder(parent_of(to))?;
    Ok(false)
}

/// Whether two files have the same content.
fn is_copy(one: &Path, other: &Path) -> Result<bool, FsError> {
    let compare = || -> io::Result<bool> {
        let (one, other) = (open_source(one)?, open_source(other)?);
        let length = one.metadata()?.len();
        if length != other.metadata()?.len() {
            return Ok(false);
        }
        let (mut of_one, mut of_other) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
        let mut at = 0;
        while at < length {
            let count = COMPARED_BYTES.min(usize::try_from(length - at).unwrap_or(COMPARED_BYTES));
            let (Some(of_one), Some(of_other)) = (of_one.get_mut(..count), of_other.get_mut(..count)) else {
                break;
            };
            one.read_exact_at(of_one, at)?;
            other.read_exact_at(of_other, at)?;
            if of_one != of_other {
                return Ok(false);
            }
            at += count as u64;
        }
        Ok(true)
    };
    compare().map_err(|error| FsError::between("compare", one, other, error))
}

/// The new name is durable before the old one goes: a power cut must not keep the unlink and lose the link.
fn unlink_after_link(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    sync_folder(parent_of(to))?;
    remove_file(from)?;
    Ok(Renamed::Done)
}

/// The name is taken. By the same file under its second name: a crash came between link and unlink.
fn finish_link(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    let (old, new) = match (look_at(from), look_at(to)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => return Ok(Renamed::Missing),
        _ => return Ok(Renamed::NameTaken),
    };
    if (old.st_dev, old.st_ino) != (new.st_dev, new.st_ino) {
        return finish_noted(from, to);
    }
    if is_one_name(from, to)? {
        return Ok(Renamed::Done);
    }
    // One link under two paths is one name seen twice (a case-insensitive file system): unlinking would lose it.
    if old.st_nlink < 2 { Ok(Renamed::NameTaken) } else { unlink_after_link(from, to) }
}

/// Whether both paths are the same name in the same folder, however they are spelled.
fn is_one_name(from: &Path, to: &Path) -> Result<bool, FsError> {
    let folder = |path: &Path| {
        let parent = parent_of(path);
        folder_metadata(parent).map(|m| (m.dev(), m.ino())).map_err(|e| FsError::new("look at", parent, e))
    };
    Ok(from.file_name() == to.file_name() && folder(from)? == folder(to)?)
}

/// Last resort, without hard links: the name is taken by an empty file, exclusively, and that file replaced. A hidden note beside it
/// says so before, so that an empty file which a crash left under the name is known for ours by the next call.
pub(super) fn rename_over_placeholder(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    let note = note_of(Kind::Placeholder, from, to);
    if is_missing(from)? {
        remove_file(&note)?;
        return Ok(Renamed::Missing);
    }
    let was_noted = note_down(&note, to)?;
    let renamed = match create_new(to, OFlags::WRONLY) {
        Ok(_) => replace_placeholder(from, to),
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(FsError::new("create", to, error)),
        Err(_) if was_noted && is_empty_file(to) => replace_placeholder(from, to),
        Err(_) => Ok(Renamed::NameTaken),
    };
    // The outcome stands; a note that stays is met by the next call.
    remove_file(&note).ok();
    renamed
}

/// What a note says that a name is about to be taken by.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Link,
    Placeholder,
}

/// The hidden name that a rename of this file to that one is noted under.
pub(super) fn note_of(kind: Kind, from: &Path, to: &Path) -> PathBuf {
    let mut key = from.as_os_str().to_owned();
    key.push("\0");
    key.push(to);
    let kind = match kind {
        Kind::Link => "linking",
        Kind::Placeholder => "taking",
    };
    hidden_sibling(to, Path::new(&key), kind)
}

fn is_empty_file(path: &Path) -> bool {
    look_at(path).is_ok_and(|found| is_file(&found) && found.st_size == 0)
}

fn replace_placeholder(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    match rename_replace(from, to) {
        Ok(()) => Ok(Renamed::Done),
        Err(error) => {
            // The answer of one that was done may be lost: only while the file has its old name is what lies there our placeholder.
            let is_undone = is_missing(from).is_ok_and(|is_gone| !is_gone);
            if is_undone && is_empty_file(to) {
                remove_file(to).ok(); // the rename's error is the one to tell
            }
            Err(FsError::between("rename", from, to, error))
        }
    }
}
