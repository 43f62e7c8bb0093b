//! Moves that may cross file systems.
//!
//! ```text
//! copy to a hidden name -> mode, mtime -> fsync -> read back: length and hash -> (its identity is written down by whoever moves)
//!   -> rename without replace -> sync folder -> unlink the source -> sync its folder
//! ```
//!
//! A crash before the rename leaves a hidden copy that the next call writes anew under the same name, or renames if it is the one that was
//! written down. A crash after it leaves both files: the next call only unlinks. Where the name is this move's alone, it knows its copy by
//! length, hash and mtime. Where others move files there too, two of them may be alike: only the file that was written down is its copy.
//! The source goes last, after a verified copy is durable.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::path::Path;

use super::error::FsError;
use super::files::{create_private, identity_at, if_there, is_missing, remove_file, sync_all};
use super::folder_sync::sync_folder;
use super::names::{Renamed, hidden_sibling, parent_of};
use super::platform::{self, forget_cached, identity, open_source};
use super::rename::{forget_note, rename_no_replace};
use super::sameness::is_same_file;
use crate::model::identity::{FileIdentity, FolderIdentity};

const COPY_BUFFER_BYTES: usize = 256 << 10;
/// What the hidden name of a copy ends with.
const PARTIAL: &str = "moving.partial";
/// FAT keeps even seconds only.
const MTIME_SLACK_NS: i128 = 2_000_000_000;

/// Moves a file, never over an existing one: rename on one file system; else copy, fsync, verify length and hash, rename
/// without replace into place, sync folder, unlink, sync. Syncs both folders unless the name was taken. After a crash it can be called again:
/// `Missing` with a file at `to` then means that it had been moved. The folder of `to` must be there, and no other move may go to `to`.
pub(crate) fn move_file(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    let renamed = match rename_no_replace(from, to) {
        // Also between bind mounts and subvolumes, which may be one device.
        Err(error) if is_another_file_system(&error) => copy_alone(from, to),
        // Where links stand in for renames, the taken name is told first. It may be that of our own copy, before the source was removed.
        Ok(Renamed::NameTaken) if !is_one_file_system(from, to)? => copy_alone(from, to),
        renamed => renamed,
    }?;
    if renamed != Renamed::NameTaken {
        sync_both(from, to)?; // where it was missing, a crash may have come before that
    }
    Ok(renamed)
}

fn copy_alone(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    if is_gone(from, to)? {
        return Ok(Renamed::Missing);
    }
    copy_over(from, to, false)
}

/// What became of a move that others may make to the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moved {
    Done,
    /// The new name is another's; nothing happened.
    NameTaken,
    /// There is no file under the old name; nothing happened.
    Missing,
    /// A verified copy is durable under a hidden name. Called again with it, once that is written down, the move goes on.
    Copied(Copied),
}

/// A copy that was made and compared just now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Copied {
    /// What it is, to be written down.
    pub copy: FileIdentity,
    /// What its source was then.
    of: FileIdentity,
}

impl From<Renamed> for Moved {
    fn from(renamed: Renamed) -> Self {
        match renamed {
            Renamed::Done => Self::Done,
            Renamed::NameTaken => Self::NameTaken,
            Renamed::Missing => Self::Missing,
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) struct Moving<'a> {
    /// A copy is made also where a rename would do: who has another name of the file could change it afterwards.
    pub always_copies: bool,
    /// The copy that was made before, as it was told with [`Moved::Copied`] and is written down.
    pub copied_as: Option<FileIdentity>,
    /// What [`Moved::Copied`] told just now: unless one of the two files was touched since, they need not be compared once more.
    pub made: Option<Copied>,
    /// A copy is its sender's as its original is, where this user may give it to him.
    pub keeps_owner: bool,
    /// Asked before so many bytes are copied.
    pub may_copy: &'a dyn Fn(u64) -> io::Result<()>,
}

/// [`move_file`] to a name that others may move to as well, and for those who move many files and then sync both folders of each, of those too
/// that were missing.
pub(crate) fn move_by(from: &Path, to: &Path, how: Moving<'_>) -> Result<Moved, FsError> {
    if how.always_copies {
        return copy_noted(from, to, how);
    }
    match rename_no_replace(from, to) {
        Err(error) if is_another_file_system(&error) => copy_noted(from, to, how),
        Ok(Renamed::NameTaken) if !is_one_file_system(from, to)? => copy_noted(from, to, how),
        renamed => renamed.map(Moved::from),
    }
}

fn is_another_file_system(error: &FsError) -> bool {
    error.source.kind() == io::ErrorKind::CrossesDevices
}

fn copy_noted(from: &Path, to: &Path, how: Moving<'_>) -> Result<Moved, FsError> {
    if is_gone(from, to)? {
        return Ok(Moved::Missing);
    }
    let partial = hidden_sibling(to, from, PARTIAL);
    let is_noted = |path: &Path| is_noted(path, how.copied_as.as_ref());
    if !is_missing(to)? {
        // While the copy has its hidden name, what lies there is another's, however like it may be.
        if is_missing(&partial)? && is_noted(to)? && content(from)? == content(to)? {
            return remove_source(from, to).map(Moved::from);
        }
        return remove_file(&partial).map(|()| Moved::NameTaken);
    }
    if is_noted(&partial)? && is_alike(from, &partial, how.made)? {
        return give_name(from, &partial, to).map(Moved::from);
    }
    let found = identity_at(from).map_err(|e| FsError::new("look at", from, e))?;
    (how.may_copy)(found.map_or(0, |found| found.size)).map_err(|error| {
        remove_file(&partial).ok(); // one that is not known again only takes up room
        FsError::new("copy", from, error)
    })?;
    let of = copy_or_nothing(from, &partial, how.keeps_owner)?;
    let copy = identity_at(&partial).map_err(|e| FsError::new("look at", &partial, e))?;
    let gone = || FsError::new("look at", &partial, io::ErrorKind::NotFound.into());
    copy.map(|copy| Moved::Copied(Copied { copy, of })).ok_or_else(gone)
}

/// Whether a copy has the content of its source.
fn is_alike(from: &Path, copy: &Path, made: Option<Copied>) -> Result<bool, FsError> {
    let look = |path: &Path| identity_at(path).map_err(|e| FsError::new("look at", path, e));
    if let Some(made) = made
        && (look(from)?, look(copy)?) == (Some(made.of), Some(made.copy))
    {
        return Ok(true);
    }
    Ok(content(from)? == content(copy)?)
}

/// Whether the file at a path is the copy that was written down.
fn is_noted(path: &Path, noted: Option<&FileIdentity>) -> Result<bool, FsError> {
    let Some(noted) = noted else { return Ok(false) };
    let found = identity_at(path).map_err(|e| FsError::new("look at", path, e))?;
    Ok(found.is_some_and(|found| found.size == noted.size && is_same_file(path, &found, noted)))
}

/// Whether there is nothing to be moved.
fn is_gone(from: &Path, to: &Path) -> Result<bool, FsError> {
    let is_gone = identity_at(from).map_err(|e| FsError::new("look at", from, e))?.is_none();
    if is_gone {
        forget_note(from, to).ok(); // beside a source that is gone it does no harm
    }
    Ok(is_gone)
}

fn is_one_file_system(from: &Path, to: &Path) -> Result<bool, FsError> {
    let device = |path: &Path| {
        let folder = parent_of(path);
        platform::device_of(folder).map_err(|e| FsError::new("find the file system of", folder, e))
    };
    Ok(device(from)? == device(to)?)
}

fn sync_both(from: &Path, to: &Path) -> Result<(), FsError> {
    let (source, target) = (parent_of(from), parent_of(to));
    sync_folder(target)?;
    if source == target { Ok(()) } else { sync_folder(source) }
}

#[derive(PartialEq, Eq)]
struct Content {
    length: u64,
    hash: blake3::Hash,
}

pub(super) fn copy_over(from: &Path, to: &Path, keeps_owner: bool) -> Result<Renamed, FsError> {
    if !is_missing(to)? {
        if !is_our_copy(from, to)? {
            return Ok(Renamed::NameTaken);
        }
        return remove_source(from, to);
    }
    // Named after the source: two moves to one target do not meet in it, a repeated move does.
    let partial = hidden_sibling(to, from, PARTIAL);
    copy_or_nothing(from, &partial, keeps_owner)?;
    give_name(from, &partial, to)
}

/// What the source was when it was copied.
fn copy_or_nothing(from: &Path, partial: &Path, keeps_owner: bool) -> Result<FileIdentity, FsError> {
    copy_verified(from, partial, keeps_owner).inspect_err(|_| {
        // The first error is the one to tell; what stays is written anew by the next attempt.
        remove_file(partial).ok();
    })
}

/// A copy gets the name it was made for, and its source goes.
fn give_name(from: &Path, partial: &Path, to: &Path) -> Result<Renamed, FsError> {
    match rename_no_replace(partial, to)? {
        Renamed::Done => remove_source(from, to),
        Renamed::NameTaken => remove_file(partial).map(|()| Renamed::NameTaken),
        Renamed::Missing => Err(FsError::between("rename", partial, to, io::ErrorKind::NotFound.into())),
    }
}

fn remove_source(from: &Path, to: &Path) -> Result<Renamed, FsError> {
    sync_folder(parent_of(to))?;
    remove_for_good(from)?;
    sync_folder(parent_of(from))?;
    // Of a link that a crash came after: what it made has another name since, and is copied.
    forget_note(from, to)?;
    Ok(Renamed::Done)
}

/// Removes a file that must be gone afterwards. Not to find it says so only while its folder is there: a file system that is
/// unmounted for a moment brings it back.
pub(crate) fn remove_for_good(path: &Path) -> Result<(), FsError> {
    if remove_in(path, |_| true)? {
        return Ok(());
    }
    Err(FsError::new("remove", path, io::ErrorKind::NotFound.into()))
}

/// The same from a folder that `is_it` knows; false: another lies there, or none.
pub(crate) fn remove_in(path: &Path, is_it: impl Fn(&FolderIdentity) -> bool) -> Result<bool, FsError> {
    let removed = if_there(platform::remove_in(path, is_it));
    removed.map(|done| done == Some(true)).map_err(|error| FsError::new("remove", path, error))
}

fn copy_verified(from: &Path, partial: &Path, keeps_owner: bool) -> Result<FileIdentity, FsError> {
    let reading = |e| FsError::new("read", from, e);
    let mut source = open_source(from).map_err(reading)?;
    let before = identity(&source).map_err(reading)?;
    let metadata = source.metadata().map_err(reading)?;
    let mut copy = create_private(partial)?;
    let copied = copy_hashed(&mut source, &mut copy, from, partial)?;
    keep_times_and_permissions(&copy, partial, &metadata, keeps_owner);
    sync_all(&copy, partial)?;
    forget_cached(&copy);
    let after = identity(&source).map_err(reading)?;
    if !before.same_content(&after) || copied.length != before.size {
        let changed = io::Error::other("it changed while it was copied");
        return Err(FsError::new("move", from, changed));
    }
    drop(copy);
    verify(partial, &copied)?;
    Ok(after)
}

/// What lies on the disk is what was read from the source.
fn verify(partial: &Path, copied: &Content) -> Result<(), FsError> {
    if content(partial)? == *copied {
        return Ok(());
    }
    let differs = io::Error::new(io::ErrorKind::InvalidData, "what was read back is not what was written");
    Err(FsError::new("verify the copy", partial, differs))
}

fn copy_hashed(source: &mut File, copy: &mut File, from: &Path, partial: &Path) -> Result<Content, FsError> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; COPY_BUFFER_BYTES];
    loop {
        let count = match source.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(|e| FsError::new("read", from, e))?,
        };
        let Some(block) = buffer.get(..count).filter(|b| !b.is_empty()) else { break };
        hasher.update(block);
        copy.write_all(block).map_err(|e| FsError::new("write", partial, e))?;
    }
    Ok(Content { length: hasher.count(), hash: hasher.finalize() })
}

fn content(path: &Path) -> Result<Content, FsError> {
    let reading = |e| FsError::new("read", path, e);
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(open_source(path).map_err(reading)?).map_err(reading)?;
    Ok(Content { length: hasher.count(), hash: hasher.finalize() })
}

/// Best effort: a file system that cannot keep them is no reason to keep the source.
fn keep_times_and_permissions(copy: &File, partial: &Path, metadata: &fs::Metadata, keeps_owner: bool) {
    if let Err(error) = platform::keep_permissions(copy, metadata, keeps_owner) {
        tracing::debug!(path = %partial.display(), %error, "permissions are not kept");
    }
    if let Ok(modified) = metadata.modified()
        && let Err(error) = copy.set_modified(modified)
    {
        tracing::debug!(path = %partial.display(), %error, "modification time is not kept");
    }
}

/// Whether an earlier move to a name of its own had got as far as the rename: same length and mtime first, since hashing reads both files.
fn is_our_copy(from: &Path, to: &Path) -> Result<bool, FsError> {
    let look = |path: &Path| identity_at(path).map_err(|e| FsError::new("look at", path, e));
    let (Some(source), Some(target)) = (look(from)?, look(to)?) else { return Ok(false) };
    if source.size != target.size || (source.mtime_ns - target.mtime_ns).abs() > MTIME_SLACK_NS {
        return Ok(false);
    }
    Ok(content(from)? == content(to)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_reads_back_otherwise_is_no_copy() {
        let folder = tempfile::tempdir().expect("a folder");
        let partial = folder.path().join("partial");
        let copied = Content { length: 5, hash: blake3::hash(b"right") };
        for (text, is_right) in [("right", true), ("wrong", false), ("righ", false), ("right\0", false)] {
            fs::write(&partial, text).expect("written");
            assert_eq!(verify(&partial, &copied).is_ok(), is_right, "{text:?}");
        }
    }

    #[test]
    fn a_copy_that_fails_leaves_the_source_and_nothing_half() {
        let folder = tempfile::tempdir().expect("a folder");
        let from = folder.path().join("from");
        fs::write(&from, "content").expect("written");
        // Its partial's name is taken by a folder: the copy cannot be made.
        let to = folder.path().join("to");
        fs::create_dir(hidden_sibling(&to, &from, PARTIAL)).expect("made");
        copy_over(&from, &to, false).expect_err("cannot be copied");
        assert_eq!(fs::read_to_string(&from).expect("it is there"), "content");
        assert!(is_missing(&to).expect("can be looked at"));
    }

    fn how(copied_as: Option<FileIdentity>) -> Moving<'static> {
        Moving { always_copies: true, copied_as, made: None, keeps_owner: false, may_copy: &|_| Ok(()) }
    }

    fn copied(from: &Path, to: &Path) -> Copied {
        match move_by(from, to, how(None)).expect("copies") {
            Moved::Copied(copy) => copy,
            other => panic!("{other:?}"),
        }
    }

    /// Goal: of files that are alike in all that can be seen each keeps a name of its own, wherever the process ended.
    #[test]
    fn only_the_copy_that_was_written_down_counts_as_that_of_a_move_to_a_name_that_others_use() {
        for crash in ["before the copy", "before the rename", "after the rename", "after another's rename"] {
            let folder = tempfile::tempdir().expect("a folder");
            let at = |name: &str| folder.path().join(name);
            let (ours, others, to) = (at("ours"), at("others"), at("to"));
            let modified = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
            for path in [&ours, &others] {
                fs::write(path, "alike").expect("written");
                let file = File::options().write(true).open(path).expect("opens");
                file.set_modified(modified).expect("sets it");
            }
            let noted = (crash != "before the copy").then(|| copied(&ours, &to).copy);
            if crash == "after the rename" {
                rename_no_replace(&hidden_sibling(&to, &ours, PARTIAL), &to).expect("renames");
            }
            if crash.ends_with("another's rename") {
                let copy = copied(&others, &to).copy;
                assert_eq!(move_by(&others, &to, how(Some(copy))).expect("moves"), Moved::Done);
            }
            let moved = move_by(&ours, &to, how(noted)).expect(crash);
            let expected = match crash {
                "before the copy" => {
                    assert!(matches!(moved, Moved::Copied(_)), "{moved:?}");
                    continue;
                }
                "after another's rename" => Moved::NameTaken,
                _ => Moved::Done,
            };
            assert_eq!(moved, expected, "{crash}");
            let left = fs::read_dir(folder.path()).expect("listed").count();
            assert_eq!(left, 2, "{crash}: one to each source, and nothing hidden");
            assert_eq!(is_missing(&ours).expect("can be looked at"), moved == Moved::Done, "{crash}");
        }
    }

    /// Goal: what was compared when it was made is not read once more, and what was touched since is.
    #[test]
    fn a_copy_that_was_made_just_now_is_read_again_only_where_it_or_its_source_was_touched() {
        let look = |path: &Path| identity_at(path).expect("can be looked at").expect("is there");
        let touch = |path: &Path| {
            let before = look(path);
            while look(path) == before {
                fs::write(path, "wrong").expect("written"); // its time has ticks
            }
        };
        for (touched, is_taken_for_one) in [("neither", true), ("source", false), ("copy", false)] {
            let folder = tempfile::tempdir().expect("a folder");
            let (from, to) = (folder.path().join("from"), folder.path().join("to"));
            fs::write(&from, "right").expect("written");
            let mut made = copied(&from, &to);
            let partial = hidden_sibling(&to, &from, PARTIAL);
            touch(if touched == "copy" { &partial } else { &from });
            if touched == "neither" {
                made.of = look(&from); // as if it had been so all the time: only who reads it sees that they differ
            }
            let is_one = is_alike(&from, &partial, Some(made)).expect("can be read");
            assert_eq!(is_one, is_taken_for_one, "{touched}");
        }
    }
}
