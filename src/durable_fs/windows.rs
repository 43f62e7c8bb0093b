//! What Windows has: `MoveFileExW`, written through; no sync of folders; and other programs (scanners, indexers) that
//! hold a file for a moment after it was closed, so that everything is tried again for a while.

use std::ffi::c_void;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::os::windows::io::AsRawHandle as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ADAP_HDW_ERR, ERROR_ALREADY_EXISTS, ERROR_BAD_NET_NAME, ERROR_BAD_NETPATH,
    ERROR_CANT_RESOLVE_FILENAME, ERROR_CONNECTION_ABORTED, ERROR_DEV_NOT_EXIST, ERROR_FILE_EXISTS,
    ERROR_HOST_UNREACHABLE, ERROR_INVALID_DRIVE, ERROR_INVALID_FUNCTION, ERROR_LOCK_VIOLATION,
    ERROR_NETNAME_DELETED, ERROR_NETWORK_ACCESS_DENIED, ERROR_NETWORK_UNREACHABLE, ERROR_NO_NETWORK,
    ERROR_NOT_SUPPORTED, ERROR_REM_NOT_LIST, ERROR_SEM_TIMEOUT, ERROR_SHARING_VIOLATION,
    ERROR_TOO_MANY_OPEN_FILES, ERROR_UNEXP_NET_ERR, ERROR_VC_DISCONNECTED, FILETIME,
};
use windows_sys::Win32::Storage::FileSystem::{
    BY_HANDLE_FILE_INFORMATION, FILE_BASIC_INFO, FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OPEN_REPARSE_POINT,
    FILE_ID_INFO, FILE_INFO_BY_HANDLE_CLASS, FileBasicInfo, FileIdInfo, GetDiskFreeSpaceExW,
    GetFileInformationByHandle, GetFileInformationByHandleEx, GetVolumeInformationByHandleW,
    GetVolumePathNameW, MOVE_FILE_FLAGS, MOVEFILE_REPLACE_EXISTING, MOVEFILE_WRITE_THROUGH, MoveFileExW,
};

use super::file_numbers::number_of_id;
use super::names::{Entry, Kind, OpenTo, Reach, Unkept, Wanted, parent_of};
pub(super) use super::windows_access::keep_to_owner;
use super::windows_access::wide;
use super::{landing, reach};
use crate::model::identity::{FileIdentity, FolderIdentity};

/// 10 + 20 + … + 640 + 640 ms: about 2 s in all.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(640);
const TRIES: u32 = 9;
/// 100 ns units from 1601 to 1970.
const UNIX_EPOCH_AS_FILETIME: i128 = 116_444_736_000_000_000;

pub(super) fn is_taken(error: &io::Error) -> bool {
    matches!(raw(error), Some(ERROR_ALREADY_EXISTS | ERROR_FILE_EXISTS))
}

/// Access lists are asked by trying only.
pub(super) fn may(_folder: &Path, _write: bool) -> bool {
    true
}

pub(super) fn rename_replace(from: &Path, to: &Path) -> io::Result<()> {
    move_file_ex(from, to, MOVEFILE_WRITE_THROUGH | MOVEFILE_REPLACE_EXISTING)
}

#[allow(unsafe_code, reason = "std has no rename without replace and none that is written through")]
pub(super) fn move_file_ex(from: &Path, to: &Path, flags: MOVE_FILE_FLAGS) -> io::Result<()> {
    reach::check(parent_of(from))?;
    reach::check(parent_of(to))?;
    let (from, to) = (wide(from), wide(to));
    retry_held(|| {
        // SAFETY: both are NUL-terminated and outlive the call.
        match unsafe { MoveFileExW(from.as_ptr(), to.as_ptr(), flags) } {
            0 => Err(not_gone(io::Error::last_os_error())),
            _ => Ok(()),
        }
    })
}

#[allow(clippy::disallowed_methods, reason = "this is the place that the ban points to")]
pub(super) fn remove(path: &Path) -> io::Result<()> {
    reach::check(parent_of(path))?;
    retry_held(|| fs::remove_file(path)).map_err(not_gone)
}

pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    raw(error) == Some(ERROR_TOO_MANY_OPEN_FILES)
}

/// A file that is open here keeps its name.
pub(crate) fn has_no_name(_: &File) -> bool {
    false
}

/// A link where none is followed, or links in a circle.
pub(super) fn is_link_loop(error: &io::Error) -> bool {
    raw(error) == Some(ERROR_CANT_RESOLVE_FILENAME)
}

/// Some network redirectors have no byte-range locks.
pub(super) fn has_no_locks(error: &io::Error) -> bool {
    matches!(raw(error), Some(ERROR_INVALID_FUNCTION | ERROR_NOT_SUPPORTED))
}

/// Folders take their access list from their parent; the installer sets that of the data folder.
pub(super) fn make_one_folder(folder: &Path, _open_to: OpenTo) -> io::Result<()> {
    reach::check(parent_of(folder))?;
    fs::create_dir(folder).map_err(not_gone)
}

pub(super) fn kind_at(path: &Path) -> io::Result<Kind> {
    reach::check(parent_of(path))?;
    Ok(kind_of(fs::symlink_metadata(path).map_err(not_gone)?.file_type()))
}

/// What a link says.
pub(super) fn read_link(path: &Path) -> io::Result<PathBuf> {
    reach::check(parent_of(path))?;
    fs::read_link(path).map_err(not_gone)
}

fn kind_of(kind: fs::FileType) -> Kind {
    if kind.is_file() {
        Kind::File
    } else if kind.is_dir() {
        Kind::Folder
    } else if kind.is_symlink() {
        Kind::Link
    } else {
        Kind::Other
    }
}

pub(crate) fn narrow_umask() {}

pub(super) fn open_link_count(file: &File) -> io::Result<u64> {
    Ok(u64::from(information(file)?.nNumberOfLinks))
}

pub(super) fn link_count(path: &Path) -> io::Result<u64> {
    Ok(u64::from(information(&open_to_ask(path, FILE_FLAG_OPEN_REPARSE_POINT)?)?.nNumberOfLinks))
}

/// Who may write a file is its folder's matter here.
pub(super) fn take_over(path: &Path) -> io::Result<Reach> {
    Ok(if link_count(path)? > 1 { Reach::Named } else { Reach::None })
}

/// The same whoever it is left to.
pub(super) fn reach_of(path: &Path) -> io::Result<Reach> {
    take_over(path)
}

pub(crate) fn is_foreign(_path: &Path) -> bool {
    false
}

/// Whose a folder is stands in access lists, which the installer sets for the data folder; the others inherit theirs.
pub(super) fn check_own_folder(folder: &Path) -> io::Result<()> {
    reach::check(folder)?;
    if fs::symlink_metadata(folder).map_err(not_gone)?.is_dir() {
        Ok(())
    } else {
        Err(landing::no_folder(folder))
    }
}

/// Which folder this is, of those that [`check_own_folder`] lets pass.
pub(super) fn own_folder(folder: &Path) -> io::Result<FolderIdentity> {
    check_own_folder(folder)?;
    folder_identity(folder)?.ok_or_else(|| io::ErrorKind::NotADirectory.into())
}

pub(super) struct Listing(fs::ReadDir);

impl Listing {
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        reach::check(folder)?;
        fs::read_dir(folder).map(Self).map_err(not_gone)
    }
}

impl Iterator for Listing {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.0.next()?;
        let told =
            entry.and_then(|entry| Ok(Entry { kind: kind_of(entry.file_type()?), path: entry.path() }));
        Some(told.map_err(not_gone))
    }
}

pub(super) fn open_followed(path: &Path) -> io::Result<File> {
    File::open(path).map_err(not_gone)
}

pub(crate) fn open_source(path: &Path) -> io::Result<File> {
    open_plain(path, false)
}

/// Opens for reading and writing what is there.
pub(crate) fn open_to_write(path: &Path) -> io::Result<File> {
    open_plain(path, true)
}

fn open_plain(path: &Path, to_write: bool) -> io::Result<File> {
    reach::check(parent_of(path))?;
    let file = OpenOptions::new()
        .read(true)
        .write(to_write)
        .custom_flags(FILE_FLAG_OPEN_REPARSE_POINT)
        .open(path)
        .map_err(not_gone)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(landing::no_plain_file(path)) }
}

/// Opens, and makes where it is not there, a file of the service's own.
pub(super) fn open_own(path: &Path, create: bool) -> io::Result<File> {
    reach::check(parent_of(path))?;
    let mut options = OpenOptions::new();
    options.read(true).write(create).create(create).truncate(false);
    let file = options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path).map_err(not_gone)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(landing::no_plain_file(path)) }
}

/// An empty file that was not there.
pub(super) fn create_probe(path: &Path) -> io::Result<File> {
    reach::check(parent_of(path))?;
    OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(not_gone)
}

/// Owners and modes are access lists here, which files inherit from their folder.
#[allow(clippy::unnecessary_wraps, reason = "the Unix twin can fail")]
pub(super) fn give(_file: &File, _wanted: Wanted) -> io::Result<Vec<Unkept>> {
    Ok(Vec::new())
}

/// Removes an empty folder.
pub(super) fn remove_folder(path: &Path) -> io::Result<()> {
    reach::check(parent_of(path))?;
    fs::remove_dir(path).map_err(not_gone)
}

pub(super) fn create_private(path: &Path) -> io::Result<File> {
    reach::check(parent_of(path))?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    let file = options.open(path).map_err(not_gone)?;
    if reach::is_link(&file.metadata()?) {
        return Err(landing::no_plain_file(path));
    }
    file.set_len(0).map(|()| file)
}

/// There is no such limit.
pub(crate) fn open_files_max() -> Option<u64> {
    None
}

#[allow(clippy::unnecessary_wraps, reason = "one signature for all platforms")]
pub(super) fn set_mode(_file: &File, _mode: u32) -> io::Result<()> {
    Ok(())
}

/// Whose it is stands in access lists, which a file takes from its folder.
pub(super) fn keep_permissions(copy: &File, metadata: &fs::Metadata, _keeps_owner: bool) -> io::Result<()> {
    copy.set_permissions(metadata.permissions())
}

pub(crate) fn write_at(file: &File, mut at: u64, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::os::windows::fs::FileExt::seek_write(file, bytes, at)?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        (at, bytes) = (at + written as u64, &bytes[written..]);
    }
    Ok(())
}

pub(crate) fn read_at(file: &File, mut at: u64, mut bytes: &mut [u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let read = std::os::windows::fs::FileExt::seek_read(file, bytes, at)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        (at, bytes) = (at + read as u64, &mut bytes[read..]);
    }
    Ok(())
}

/// There is no such hint.
pub fn start_writeback(_file: &File, _offset: u64, _length: u64) {}

pub(crate) fn forget_cached(_file: &File) {}

/// The identity of an open file.
pub fn identity(file: &File) -> io::Result<FileIdentity> {
    let found = information(file)?;
    Ok(FileIdentity {
        device: u64::from(found.dwVolumeSerialNumber),
        inode: number_of(file, &found),
        size: u64::from(found.nFileSizeHigh) << 32 | u64::from(found.nFileSizeLow),
        mtime_ns: unix_ns(filetime(found.ftLastWriteTime)),
        ctime_ns: unix_ns(i128::from(change_time(file)?)),
    })
}

pub(super) fn identity_at(path: &Path) -> io::Result<Option<FileIdentity>> {
    reach::check(parent_of(path))?;
    if !fs::symlink_metadata(path).map_err(not_gone)?.is_file() {
        return Ok(None);
    }
    identity(&open_to_ask(path, FILE_FLAG_OPEN_REPARSE_POINT)?).map(Some)
}

/// The folder of a path, and the regular file at it: the folder is the same before and after the look. One that goes away and comes back in
/// between is not seen to.
pub(super) fn look_in_folder(path: &Path) -> io::Result<(FolderIdentity, Option<FileIdentity>)> {
    let away = || io::Error::from(io::ErrorKind::NotFound);
    let folder = || folder_identity(parent_of(path))?.ok_or_else(away);
    let before = folder()?;
    let found = match identity_at(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => found?,
    };
    let after = folder()?;
    // Not every file system keeps the time of its making.
    let is_same = (before.device, before.inode) == (after.device, after.inode);
    if is_same { Ok((after, found)) } else { Err(away()) }
}

/// Removes a name from its folder, if `is_it` knows that.
pub(super) fn remove_in(path: &Path, is_it: impl Fn(&FolderIdentity) -> bool) -> io::Result<bool> {
    let (folder, _) = look_in_folder(path)?;
    if !is_it(&folder) {
        return Ok(false);
    }
    match remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // By its path: another folder may have come in between.
    let (folder, found) = look_in_folder(path)?;
    Ok(is_it(&folder) && found.is_none())
}

pub(super) fn folder_identity(folder: &Path) -> io::Result<Option<FolderIdentity>> {
    reach::check(folder)?;
    if !fs::metadata(folder).map_err(not_gone)?.is_dir() {
        return Ok(None);
    }
    let folder = open_to_ask(folder, 0)?;
    let found = information(&folder)?;
    Ok(Some(FolderIdentity {
        device: u64::from(found.dwVolumeSerialNumber),
        inode: number_of(&folder, &found),
        created_ns: Some(unix_ns(filetime(found.ftCreationTime))),
    }))
}

#[allow(unsafe_code, reason = "std does not tell the room on a disk")]
pub(super) fn free_and_total(folder: &Path) -> io::Result<(u64, u64)> {
    let folder = wide(folder);
    let (mut free, mut total) = (0, 0);
    // SAFETY: the path is NUL-terminated and outlives the call, both numbers are ours, and the third is not asked for.
    match unsafe { GetDiskFreeSpaceExW(folder.as_ptr(), &raw mut free, &raw mut total, std::ptr::null_mut()) }
    {
        0 => Err(not_gone(io::Error::last_os_error())),
        _ => Ok((free, total)),
    }
}

/// Volumes have no bound that is told.
#[allow(clippy::unnecessary_wraps, reason = "elsewhere the system is asked")]
pub(super) fn files_free_and_total(_folder: &Path) -> io::Result<(u64, u64)> {
    Ok((0, 0))
}

/// The root of a drive, or a folder in which a volume is mounted.
#[allow(unsafe_code, reason = "std does not tell where a volume is mounted")]
pub(super) fn is_mount_point(folder: &Path) -> io::Result<bool> {
    fs::metadata(folder).map_err(not_gone)?; // one that is not there is told by the volume above it
    let folder = std::path::absolute(folder)?;
    let asked = wide(&folder);
    let mut root = vec![0_u16; asked.len() + 2];
    let length = u32::try_from(root.len()).unwrap_or(u32::MAX);
    // SAFETY: the path is NUL-terminated, and the buffer is ours and as long as is said.
    if unsafe { GetVolumePathNameW(asked.as_ptr(), root.as_mut_ptr(), length) } == 0 {
        return Err(not_gone(io::Error::last_os_error()));
    }
    let shown = |units: &[u16]| {
        let text = String::from_utf16_lossy(units.split(|unit| *unit == 0).next().unwrap_or_default());
        text.trim_end_matches('\\').to_lowercase()
    };
    Ok(shown(&root) == shown(&asked))
}

pub(super) fn device_of(folder: &Path) -> io::Result<u64> {
    let found = information(&open_to_ask(folder, 0)?)?;
    Ok(u64::from(found.dwVolumeSerialNumber))
}

/// Without any access right: it disturbs nobody, and nobody's lock refuses it.
fn open_to_ask(path: &Path, flags: u32) -> io::Result<File> {
    retry_held(|| {
        OpenOptions::new().access_mode(0).custom_flags(FILE_FLAG_BACKUP_SEMANTICS | flags).open(path)
    })
    .map_err(not_gone)
}

#[allow(unsafe_code, reason = "std does not show serial number and index on stable Rust")]
fn information(file: &File) -> io::Result<BY_HANDLE_FILE_INFORMATION> {
    let mut found = BY_HANDLE_FILE_INFORMATION::default();
    // SAFETY: the handle is open, and the structure is ours for the time of the call.
    match unsafe { GetFileInformationByHandle(file.as_raw_handle(), &raw mut found) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(found),
    }
}

fn change_time(file: &File) -> io::Result<i64> {
    let mut found = FILE_BASIC_INFO::default();
    ask(file, FileBasicInfo, &mut found)?;
    Ok(found.ChangeTime)
}

/// Its id has 128 bits where the file system gives such; what gives none has an index of 64.
fn number_of(file: &File, found: &BY_HANDLE_FILE_INFORMATION) -> u64 {
    let mut id = FILE_ID_INFO::default();
    match ask(file, FileIdInfo, &mut id) {
        Ok(()) => number_of_id(id.FileId.Identifier),
        Err(_) => u64::from(found.nFileIndexHigh) << 32 | u64::from(found.nFileIndexLow),
    }
}

/// `T` is the structure of that class.
#[allow(unsafe_code, reason = "std does not show change time and id on stable Rust")]
fn ask<T>(file: &File, class: FILE_INFO_BY_HANDLE_CLASS, found: &mut T) -> io::Result<()> {
    let place = (&raw mut *found).cast::<c_void>();
    let length = u32::try_from(size_of::<T>()).unwrap_or(u32::MAX);
    // SAFETY: the handle is open; the class, the structure and its size belong together.
    match unsafe { GetFileInformationByHandleEx(file.as_raw_handle(), class, place, length) } {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The name of the file system on which a path's folder lies, and its flags.
#[allow(unsafe_code, reason = "std does not tell of volumes")]
pub(super) fn volume_at(path: &Path) -> io::Result<(String, u32)> {
    const NAME_UNITS: usize = 64; // `MAX_PATH + 1` is the most that is ever given; names are short
    let folder = open_to_ask(parent_of(path), 0)?;
    let (mut name, mut flags) = ([0_u16; NAME_UNITS], 0);
    // SAFETY: the handle is open, and buffer and number are ours; what is null is not asked for.
    match unsafe {
        GetVolumeInformationByHandleW(
            folder.as_raw_handle(),
            std::ptr::null_mut(),
            0,
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            &raw mut flags,
            name.as_mut_ptr(),
            NAME_UNITS as u32,
        )
    } {
        0 => Err(io::Error::last_os_error()),
        _ => {
            let name = name.split(|unit| *unit == 0).next().unwrap_or_default();
            Ok((String::from_utf16_lossy(name), flags))
        }
    }
}

fn filetime(time: FILETIME) -> i128 {
    i128::from(u64::from(time.dwHighDateTime) << 32 | u64::from(time.dwLowDateTime))
}

fn unix_ns(filetime: i128) -> i128 {
    (filetime - UNIX_EPOCH_AS_FILETIME) * 100
}

fn raw(error: &io::Error) -> Option<u32> {
    error.raw_os_error().and_then(|code| u32::try_from(code).ok())
}

/// The kind of an error, also of those that the standard library tells no kind of.
pub(super) fn kind_of_error(error: &io::Error) -> io::ErrorKind {
    match raw(error) {
        Some(ERROR_SHARING_VIOLATION | ERROR_LOCK_VIOLATION) => io::ErrorKind::ResourceBusy,
        Some(
            ERROR_BAD_NETPATH
            | ERROR_BAD_NET_NAME
            | ERROR_NETNAME_DELETED
            | ERROR_UNEXP_NET_ERR
            | ERROR_DEV_NOT_EXIST
            | ERROR_SEM_TIMEOUT
            | ERROR_INVALID_DRIVE
            | ERROR_REM_NOT_LIST
            | ERROR_ADAP_HDW_ERR
            | ERROR_NETWORK_ACCESS_DENIED
            | ERROR_VC_DISCONNECTED
            | ERROR_NO_NETWORK
            | ERROR_NETWORK_UNREACHABLE
            | ERROR_HOST_UNREACHABLE
            | ERROR_CONNECTION_ABORTED,
        ) => io::ErrorKind::HostUnreachable,
        _ => error.kind(),
    }
}

/// A share or a drive that is away: the standard library takes some of its errors for a file that is not there, and who sees such a file is done with it.
pub(crate) fn not_gone(error: io::Error) -> io::Error {
    match kind_of_error(&error) {
        io::ErrorKind::HostUnreachable => io::Error::new(io::ErrorKind::HostUnreachable, error),
        _ => error,
    }
}

fn is_held(error: &io::Error) -> bool {
    matches!(raw(error), Some(ERROR_SHARING_VIOLATION | ERROR_LOCK_VIOLATION | ERROR_ACCESS_DENIED))
}

fn retry_held<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..TRIES {
        match call() {
            Err(error) if is_held(&error) => thread::sleep(pause),
            done => return done,
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
    call()
}

/// Who asks: the user of this process. It is told, and gives no right.
pub(crate) fn user_of_process() -> String {
    std::env::var("USERNAME").unwrap_or_else(|_| "a user without a name".to_owned())
}
