//! Files and folders, one at a time, as each system does it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::{Path, PathBuf};

use super::error::{FsError, SYNC};
use super::names::{Entry, Kind, Reach};
use super::platform;
use super::whereabouts::note_place;
use crate::model::identity::{FileIdentity, FolderIdentity, KeptAs, SAMPLE};
use crate::telemetry::metrics::timed;

/// Of a larger file a sample is read to know it again: its windows, evenly spaced from its begin to its end.
const DIGEST_BYTES_MAX: u64 = SAMPLE_WINDOWS * SAMPLE_WINDOW_BYTES;
const SAMPLE_WINDOWS: u64 = 8;
const SAMPLE_WINDOW_BYTES: u64 = 1 << 20;
/// Of what a file begins with.
const HEAD_BYTES: u64 = 4096;

/// Makes the content of an open file durable, and its size; `path` is for the message.
pub fn sync_data(file: &File, path: &Path) -> Result<(), FsError> {
    note_place(path);
    timed("file", || file.sync_data()).map_err(|e| FsError::new(SYNC, path, e))
}

/// Makes the content of an open file durable, and everything about it; `path` is for the message.
pub(crate) fn sync_all(file: &File, path: &Path) -> Result<(), FsError> {
    note_place(path);
    timed("file", || file.sync_all()).map_err(|e| FsError::new(SYNC, path, e))
}

/// Gives a file its Unix permissions, whatever the umask says (nothing to do on Windows).
pub(crate) fn set_mode(file: &File, path: &Path, mode: u32) -> Result<(), FsError> {
    platform::set_mode(file, mode).map_err(|e| FsError::new("set the permissions of", path, e))
}

/// Removes a file; not finding it is fine. Does not sync the folder.
pub fn remove_file(path: &Path) -> Result<(), FsError> {
    match platform::remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FsError::new("remove", path, error)),
        _ => Ok(()),
    }
}

/// Removes what was just seen there: that it is not found means that its folder went away, with it or not.
pub(crate) fn remove_seen(path: &Path) -> Result<(), FsError> {
    platform::remove(path).map_err(|error| FsError::new("remove", path, error))
}

/// None where nothing lies.
pub(super) fn if_there<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        found => found.map(Some),
    }
}

/// The identity of what lies at a path, links not followed; none where nothing lies or where it is no regular file.
pub(crate) fn identity_at(path: &Path) -> io::Result<Option<FileIdentity>> {
    if_there(platform::identity_at(path)).map(Option::flatten)
}

/// The identity of a folder, links followed; none where nothing lies or where it is no folder.
pub(crate) fn folder_identity(folder: &Path) -> io::Result<Option<FolderIdentity>> {
    if_there(platform::folder_identity(folder)).map(Option::flatten)
}

/// Makes a new file, in the place of what had its name, that only its owner can read until its mode is set.
pub fn create_private(path: &Path) -> Result<File, FsError> {
    platform::create_private(path).map_err(|e| FsError::new("create", path, e))
}

/// Opens for reading a small file that only this service writes.
pub(crate) fn open_own(path: &Path) -> io::Result<File> {
    platform::open_own(path, false)
}

/// Opens for reading a file that the operator names, links followed. Nobody need be at the other end of a pipe that lies in a folder: it is
/// refused, as a device is. A shell's own (`/dev/fd/63`) has somebody there.
pub(crate) fn open_named(path: &Path) -> io::Result<File> {
    if path.starts_with("/dev") || path.starts_with("/proc") {
        return File::open(path);
    }
    let file = platform::open_followed(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// Lists a folder as a stream; what vanishes meanwhile is left out.
pub(crate) fn list(folder: &Path) -> io::Result<impl Iterator<Item = io::Result<Entry>> + use<>> {
    platform::Listing::of(folder)
}

/// What lies at a path, links not followed; none where nothing does.
pub(crate) fn kind_at(path: &Path) -> io::Result<Option<Kind>> {
    if_there(platform::kind_at(path))
}

/// What the link at a path says, as it is written there; none where nothing lies.
pub(crate) fn read_link(path: &Path) -> io::Result<Option<PathBuf>> {
    if_there(platform::read_link(path))
}

/// How many names a file has; 0 where nothing lies.
pub(crate) fn names_of(path: &Path) -> Result<u64, FsError> {
    match platform::link_count(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        names => names.map_err(|e| FsError::new("look at", path, e)),
    }
}

/// More of a file that stays, if it is this one, as it was when it was looked at; none where it is not, or that cannot be told.
pub(crate) fn kept_as(path: &Path, identity: &FileIdentity) -> Option<KeptAs> {
    let names = names_of(path).ok()?;
    let digest = digest(&platform::open_source(path).ok()?, identity.size).ok()?;
    // Nobody wrote it meanwhile, nor linked it: both set its ctime.
    let is_it = identity_at(path).is_ok_and(|found| found.as_ref() == Some(identity));
    is_it.then_some(KeptAs { names, digest: Some(digest) })
}

/// BLAKE3 of what a file begins with; none where it cannot be read.
pub(crate) fn head_digest(path: &Path) -> Option<String> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(platform::open_source(path).ok()?.take(HEAD_BYTES)).ok()?;
    Some(hasher.finalize().to_hex().to_string())
}

/// Of all bytes, or of a sample, which is told apart.
fn digest(mut file: &File, size: u64) -> io::Result<String> {
    let mut hasher = blake3::Hasher::new();
    if size <= DIGEST_BYTES_MAX {
        hasher.update_reader(file.take(size + 1))?;
        return Ok(hasher.finalize().to_hex().to_string());
    }
    let last = size - SAMPLE_WINDOW_BYTES;
    for window in 0..SAMPLE_WINDOWS {
        // Divided first: no size is too large for it.
        let between = last / (SAMPLE_WINDOWS - 1);
        let at = if window + 1 == SAMPLE_WINDOWS { last } else { between * window };
        file.seek(io::SeekFrom::Start(at))?;
        hasher.update_reader(file.take(SAMPLE_WINDOW_BYTES))?;
    }
    Ok(format!("{SAMPLE}{}", hasher.finalize().to_hex()))
}

/// When a file was made, nanoseconds since 1970; none where its file system does not tell, or it cannot be opened.
pub(crate) fn born_ns(path: &Path) -> Option<i128> {
    born(&platform::open_source(path).ok()?)
}

fn born(file: &File) -> Option<i128> {
    let born = file.metadata().ok()?.created().ok()?;
    i128::try_from(born.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?.as_nanos()).ok()
}

/// How many names a file has, and when it was made, as [`born_ns`] tells it; none where nothing lies. It is opened for that: NFS asks its
/// server then, and else tells how many there were a while ago.
pub(crate) fn names_and_birth(path: &Path) -> Result<Option<(u64, Option<i128>)>, FsError> {
    let looked = match platform::open_source(path) {
        Ok(file) => platform::open_link_count(&file).map(|names| Some((names, born(&file)))),
        // It may be nobody's to read.
        Err(_) => if_there(platform::link_count(path)).map(|names| names.map(|names| (names, None))),
    };
    looked.map_err(|e| FsError::new("look at", path, e))
}

/// Whether a file has more names than one: who has another of them can change it wherever it is moved. Not where nothing lies.
pub(crate) fn has_other_names(path: &Path) -> Result<bool, FsError> {
    names_of(path).map(|names| names > 1)
}

/// Takes a file out of others' reach as far as this user may: it becomes his, and only he may write it. Where it is `left` its sender's, only
/// how it can be changed is told. Nothing there: none.
pub(crate) fn take_over(path: &Path, left: bool) -> Result<Reach, FsError> {
    match if left { platform::reach_of(path) } else { platform::take_over(path) } {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Reach::None),
        taken => taken.map_err(|e| FsError::new("take over", path, e)),
    }
}

/// Refuses a folder that is not the service's own, or that others can write into.
pub(crate) fn check_own_folder(folder: &Path) -> Result<(), FsError> {
    platform::check_own_folder(folder).map_err(|error| FsError::new("use the folder", folder, error))
}

pub(super) fn is_missing(path: &Path) -> Result<bool, FsError> {
    match platform::kind_at(path) {
        Ok(_) => Ok(false),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound) => Ok(true),
        Err(error) => Err(FsError::new("look at", path, error)),
    }
}

/// Which folder this is, none where nothing lies; refused where it is not the service's own, or others can write into it.
pub(crate) fn own_folder(folder: &Path) -> Result<Option<FolderIdentity>, FsError> {
    let found = if_there(platform::own_folder(folder))
        .map_err(|error| FsError::new("use the folder", folder, error))?;
    let named = || kind_at(folder).map_err(|error| FsError::new("look at the folder", folder, error));
    if found.is_none() && named()?.is_some() {
        // Something else has the name.
        check_own_folder(folder)?;
    }
    Ok(found)
}
