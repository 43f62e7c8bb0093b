//! What Unix has: `renameat2`, hard links, `fsync` of folders.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustix::fs::{
    AtFlags, FileType, Gid, Mode, OFlags, Stat, Uid, linkat, mkdirat, renameat, statat, unlinkat,
};
use rustix::io::retry_on_intr;

use super::landing;
#[cfg(target_os = "linux")]
use super::mounts::Mounts;
use super::names::{Entry, Kind, OpenTo, Reach, Unkept, Wanted, parent_of};
use super::reach::{self, on, on_both};
use crate::model::identity::{FileIdentity, FolderIdentity};

const PRIVATE_FILE_MODE: u32 = 0o600;
/// Somebody who makes one private file anew each time that it is removed does not hold us up for ever.
const CREATE_TRIES: u32 = 16;

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
pub(super) fn rename_exclusively(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{RenameFlags, renameat_with};
    on_both(from, to, |from, to| {
        let flags = RenameFlags::NOREPLACE;
        retry_on_intr(|| renameat_with(from.folder(), from.name, to.folder(), to.name, flags))
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
pub(super) fn rename_exclusively(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// NFS and some FUSE file systems answer EINVAL, old kernels ENOSYS.
pub(super) fn is_unsupported(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS | libc::EOPNOTSUPP))
}

/// The standard library knows them all.
pub(super) fn kind_of_error(error: &io::Error) -> io::ErrorKind {
    error.kind()
}

/// Whether this process, or the whole system, has as many files open as it may.
pub(crate) fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Whether an open file was removed, or another put in its place: it is gone with whoever has it open. Unknown counts as no.
pub(crate) fn has_no_name(file: &File) -> bool {
    // It is told of an open file whatever becomes of its folder; were it not, the look by its path would tell.
    file.metadata().is_ok_and(|found| found.nlink() == 0)
}

/// A link where none is followed, or links in a circle.
pub(super) fn is_link_loop(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ELOOP)
}

pub(super) fn has_no_locks(error: &io::Error) -> bool {
    is_unsupported(error) || error.raw_os_error() == Some(libc::ENOLCK)
}

pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    on_both(from, to, |from, to| {
        retry_on_intr(|| linkat(from.folder(), from.name, to.folder(), to.name, AtFlags::empty()))
    })
}

pub(super) fn has_no_links(error: &io::Error) -> bool {
    is_unsupported(error) || matches!(error.raw_os_error(), Some(libc::EPERM | libc::EMLINK))
}

/// Capabilities count, and read-only file systems too.
pub(super) fn may(folder: &Path, write: bool) -> bool {
    use rustix::fs::{Access, CWD, accessat};
    let access = if write { Access::EXEC_OK | Access::WRITE_OK } else { Access::EXEC_OK | Access::READ_OK };
    let asked = accessat(CWD, folder, access, AtFlags::EACCESS);
    !matches!(asked, Err(rustix::io::Errno::ACCESS | rustix::io::Errno::ROFS | rustix::io::Errno::PERM))
}

pub(super) fn rename_replace(from: &Path, to: &Path) -> io::Result<()> {
    on_both(from, to, |from, to| retry_on_intr(|| renameat(from.folder(), from.name, to.folder(), to.name)))
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    on(path, |at| retry_on_intr(|| unlinkat(at.folder(), at.name, AtFlags::empty())))
}

/// What a name stands for, links not followed.
pub(super) fn look_at(path: &Path) -> io::Result<Stat> {
    on(path, |at| retry_on_intr(|| statat(at.folder(), at.name, AtFlags::SYMLINK_NOFOLLOW)))
}

pub(super) fn is_file(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode) == FileType::RegularFile
}

pub(super) fn kind_at(path: &Path) -> io::Result<Kind> {
    look_at(path).map(|found| kind_of(FileType::from_raw_mode(found.st_mode)))
}

/// What a link says.
pub(super) fn read_link(path: &Path) -> io::Result<PathBuf> {
    let target = on(path, |at| rustix::fs::readlinkat(at.folder(), at.name, Vec::new()))?;
    Ok(PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes())))
}

fn kind_of(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        _ => Kind::Other,
    }
}

/// What is made private is its owner's alone already.
#[allow(clippy::unnecessary_wraps, reason = "one signature for all platforms")]
pub(super) fn keep_to_owner(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Lets nobody else write what this process makes, whatever the umask that it was started under. Once, at the start.
pub(crate) fn narrow_umask() {
    let others = Mode::from_raw_mode(0o022);
    let given = rustix::process::umask(others);
    rustix::process::umask(given | others);
}

pub(super) fn open_link_count(file: &File) -> io::Result<u64> {
    Ok(file.metadata()?.nlink())
}

pub(super) fn link_count(path: &Path) -> io::Result<u64> {
    look_at(path).map(|found| found.st_nlink)
}

/// Makes a file this user's, and nobody else's to write; it keeps its group.
pub(super) fn take_over(path: &Path) -> io::Result<Reach> {
    let found = look_at(path)?;
    let own = rustix::process::geteuid();
    if found.st_nlink > 1 {
        return Ok(Reach::Named);
    }
    let is_ours = found.st_uid == own.as_raw();
    if is_ours && found.st_mode & 0o022 == 0 {
        return Ok(Reach::None);
    }
    let file = match open_source(path) {
        // Who may not read it may not take it over either.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !is_ours => return Ok(Reach::Owned),
        opened => opened?,
    };
    let taken = if is_ours { Ok(()) } else { rustix::fs::fchown(&file, Some(own), None).map_err(Into::into) };
    // Behind the change of owner, which takes the rights away by which it would run as us.
    match taken.and_then(|()| set_mode(&file, found.st_mode & 0o755)) {
        Ok(()) => Ok(Reach::Open),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied || is_unsupported(&error) => {
            Ok(Reach::Owned)
        }
        Err(error) => Err(error),
    }
}

/// How others can still change a file that is left its sender's.
pub(super) fn reach_of(path: &Path) -> io::Result<Reach> {
    let found = look_at(path)?;
    let is_ours = found.st_uid == rustix::process::geteuid().as_raw() && found.st_mode & 0o022 == 0;
    Ok(if found.st_nlink > 1 {
        Reach::Named
    } else if is_ours {
        Reach::None
    } else {
        Reach::Owned
    })
}

/// Whether a file belongs to another user.
pub(crate) fn is_foreign(path: &Path) -> bool {
    look_at(path).is_ok_and(|found| found.st_uid != rustix::process::geteuid().as_raw())
}

pub(super) fn folder_metadata(folder: &Path) -> io::Result<Metadata> {
    match reach::folder(folder)? {
        Some(folder) => File::from(folder).metadata(),
        None => fs::metadata(folder),
    }
}

/// Which folder this is, of those that [`check_own_folder`] lets pass.
pub(super) fn own_folder(folder: &Path) -> io::Result<FolderIdentity> {
    // Below a landing root it is reached without links: what was opened is what has the name.
    let is_below_root = landing::root_of(folder).is_some_and(|(_, below)| !below.as_os_str().is_empty());
    if is_below_root && let Ok(Some(reached)) = reach::folder(folder) {
        let found = File::from(reached).metadata()?;
        landing::check_own(found.mode(), found.uid(), folder)?;
        return Ok(folder_identity_of(&found));
    }
    check_own_folder(folder)?;
    folder_identity(folder)?.ok_or_else(|| io::ErrorKind::NotADirectory.into())
}

pub(super) fn check_own_folder(folder: &Path) -> io::Result<()> {
    if kind_at(folder)? != Kind::Folder {
        return Err(landing::no_folder(folder));
    }
    let found = match reach::folder(folder)? {
        Some(folder) => rustix::fs::fstat(folder)?,
        None => rustix::fs::stat(folder)?,
    };
    landing::check_own(found.st_mode, found.st_uid, folder)
}

pub(super) struct Listing {
    folder: PathBuf,
    names: rustix::fs::Dir,
}

impl Listing {
    pub(super) fn of(folder: &Path) -> io::Result<Self> {
        Ok(Self { folder: folder.to_owned(), names: rustix::fs::Dir::new(open_folder(folder)?)? })
    }
}

impl Iterator for Listing {
    type Item = io::Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        use std::os::unix::ffi::OsStrExt as _;
        loop {
            let entry = match self.names.read()? {
                Ok(entry) => entry,
                Err(error) => return Some(Err(error.into())),
            };
            let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let path = self.folder.join(name);
            let kind = match entry.file_type() {
                FileType::Unknown => kind_at(&path),
                known => Ok(kind_of(known)),
            };
            match kind {
                Ok(kind) => return Some(Ok(Entry { path, kind })),
                // It vanished while it was looked at.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

pub(super) fn open_folder(folder: &Path) -> io::Result<File> {
    match reach::folder(folder)? {
        Some(reached) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = retry_on_intr(|| rustix::fs::openat(&reached, ".", flags, Mode::empty()))?;
            Ok(File::from(opened))
        }
        None => File::open(folder),
    }
}

/// Opens whatever lies there for reading, without following a link or waiting for a pipe's other end.
pub(crate) fn open_unblocked(path: &Path) -> io::Result<File> {
    reach::open(path, OFlags::RDONLY, Mode::empty())
}

/// Opens for reading, links followed, without waiting for a pipe's other end.
pub(super) fn open_followed(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

/// Opens a source for reading: no link, and no pipe or device that somebody put in its place.
pub(crate) fn open_source(path: &Path) -> io::Result<File> {
    let file = open_unblocked(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(landing::no_plain_file(path)) }
}

/// Opens for reading and writing what is there: no link, and no pipe or device that somebody put in its place.
pub(crate) fn open_to_write(path: &Path) -> io::Result<File> {
    let file = reach::open(path, OFlags::RDWR, Mode::empty())?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(landing::no_plain_file(path)) }
}

/// Opens, and makes where it is not there, a file that nobody but this user can have made.
pub(super) fn open_own(path: &Path, create: bool) -> io::Result<File> {
    let flags = if create { OFlags::RDWR | OFlags::CREATE } else { OFlags::RDONLY };
    own(reach::open(path, flags, Mode::from_raw_mode(PRIVATE_FILE_MODE))?, path)
}

/// The file, if it is ours. Its folder is ours alone, or the operator's: nobody else can have given it the name.
fn own(file: File, path: &Path) -> io::Result<File> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(landing::no_plain_file(path));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(landing::foreign_file(path));
    }
    Ok(file)
}

pub(super) fn create_new(path: &Path, flags: OFlags) -> io::Result<File> {
    reach::open(path, flags | OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(PRIVATE_FILE_MODE))
}

/// An empty file that was not there.
pub(super) fn create_probe(path: &Path) -> io::Result<File> {
    create_new(path, OFlags::RDWR)
}

/// Gives a file of ours these; what of them it does not get.
pub(super) fn give(file: &File, wanted: Wanted) -> io::Result<Vec<Unkept>> {
    let (user, group) = (wanted.user.map(Uid::from_raw), wanted.group.map(Gid::from_raw));
    // Each by itself: one may be refused without the other.
    rustix::fs::fchown(file, None, group).ok();
    rustix::fs::fchown(file, user, None).ok();
    set_mode(file, wanted.mode).ok();
    let found = file.metadata()?;
    let mode = found.mode() & 0o7777;
    let unkept = [
        wanted.user.filter(|user| *user != found.uid()).map(|_| Unkept::User),
        wanted.group.filter(|group| *group != found.gid()).map(|_| Unkept::Group),
        (mode != wanted.mode).then_some(Unkept::Mode(mode)),
    ];
    Ok(unkept.into_iter().flatten().collect())
}

/// Removes an empty folder.
pub(super) fn remove_folder(path: &Path) -> io::Result<()> {
    on(path, |at| retry_on_intr(|| unlinkat(at.folder(), at.name, AtFlags::REMOVEDIR)))
}

/// Writes bytes at a place of a file, whatever else is read or written there.
pub(crate) fn write_at(file: &File, at: u64, bytes: &[u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::write_all_at(file, bytes, at)
}

/// Fills the buffer from a place of a file.
pub(crate) fn read_at(file: &File, at: u64, bytes: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// An empty file under this name. One of our own is emptied in place: were it removed first, a crash would leave none, and a hidden file that
/// is gone counts as published. Another's is replaced.
pub(super) fn create_private(path: &Path) -> io::Result<File> {
    for _ in 1..CREATE_TRIES {
        match create_new(path, OFlags::RDWR) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created,
        }
        match reach::open(path, OFlags::RDWR, Mode::empty()).and_then(|file| own(file, path)) {
            Ok(file) => return file.set_len(0).map(|()| file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(_) => {}
        }
        match remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    create_new(path, OFlags::RDWR)
}

/// How many files the process may have open; none: any number.
pub(crate) fn open_files_max() -> Option<u64> {
    rustix::process::getrlimit(rustix::process::Resource::Nofile).current
}

/// Never open to others' writing, whatever the umask allows.
pub(super) fn make_one_folder(folder: &Path, open_to: OpenTo) -> io::Result<()> {
    let mode = Mode::from_raw_mode(match open_to {
        OpenTo::Owner => 0o700,
        OpenTo::Group => 0o750,
        OpenTo::All => 0o755,
    });
    on(folder, |at| retry_on_intr(|| mkdirat(at.folder(), at.name, mode)))
}

pub(super) fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode & 0o7777))
}

/// Its group, and the permissions to read: a copy is ours, and runs as nobody and is written by nobody else, whatever its sender set. With
/// `keeps_owner` it is his, with his own permissions. What this user may not give is told when all else is given.
pub(super) fn keep_permissions(copy: &File, metadata: &Metadata, keeps_owner: bool) -> io::Result<()> {
    let owner = keeps_owner.then(|| Uid::from_raw(metadata.uid()));
    let group = Some(Gid::from_raw(metadata.gid()));
    let given = rustix::fs::fchown(copy, owner, group).or_else(|refused| {
        rustix::fs::fchown(copy, None, group)?;
        Err(refused)
    });
    // Behind the change of owner, which takes rights away.
    let is_his = keeps_owner && given.is_ok();
    set_mode(copy, metadata.mode() & if is_his { 0o777 } else { 0o644 })?;
    Ok(given?)
}

/// Asks the kernel to begin writing a part of a file, so that a later sync is short. A hint: nothing is promised.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "neither std nor rustix has sync_file_range")]
pub fn start_writeback(file: &File, offset: u64, length: u64) {
    use std::os::fd::AsRawFd as _;
    let (Ok(offset), Ok(length)) = (i64::try_from(offset), i64::try_from(length)) else { return };
    // SAFETY: the descriptor is open for the time of the call, which touches no memory of ours. Its answer does not matter: it
    // is a hint, and a failing disk is met by the sync that follows.
    unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
}

/// There is no such hint.
#[cfg(not(target_os = "linux"))]
pub fn start_writeback(_file: &File, _offset: u64, _length: u64) {}

/// Asks the kernel to drop what it has in memory of a file and need not write any more, so that the next read is of the disk. After a
/// failed sync the two may differ (Linux; elsewhere nothing is done).
#[cfg(target_os = "linux")]
pub(crate) fn forget_cached(file: &File) {
    // A hint.
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).ok();
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn forget_cached(_file: &File) {}

/// The identity of an open file.
pub fn identity(file: &File) -> io::Result<FileIdentity> {
    file.metadata().map(|m| identity_of(&m))
}

pub(super) fn identity_at(path: &Path) -> io::Result<Option<FileIdentity>> {
    look_at(path).map(|found| file_identity_of(&found))
}

/// None of what is no regular file.
fn file_identity_of(found: &Stat) -> Option<FileIdentity> {
    is_file(found).then(|| FileIdentity {
        device: found.st_dev,
        inode: found.st_ino,
        size: u64::try_from(found.st_size).unwrap_or_default(), // never negative
        mtime_ns: nanoseconds(found.st_mtime, found.st_mtime_nsec),
        ctime_ns: nanoseconds(found.st_ctime, found.st_ctime_nsec),
    })
}

fn nanoseconds(seconds: impl Into<i128>, rest: impl Into<i128>) -> i128 {
    seconds.into() * 1_000_000_000 + rest.into()
}

fn identity_of(metadata: &Metadata) -> FileIdentity {
    FileIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        size: metadata.size(),
        mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// To look into a folder; elsewhere than on Linux it must be readable for that.
#[cfg(target_os = "linux")]
const FOLDER: OFlags = reach::FOLDER;
#[cfg(not(target_os = "linux"))]
const FOLDER: OFlags = OFlags::DIRECTORY.union(OFlags::CLOEXEC);

/// The folder of a path, and the regular file that has the path's name in it, both by one descriptor.
pub(super) fn look_in_folder(path: &Path) -> io::Result<(FolderIdentity, Option<FileIdentity>)> {
    let (folder, name) = folder_and_name(path)?;
    let found = match retry_on_intr(|| statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW)) {
        Err(rustix::io::Errno::NOENT) => None,
        found => file_identity_of(&found?),
    };
    Ok((folder_identity_of(&folder.metadata()?), found))
}

/// The folder of a path by a new look, held open, and the path's name in it.
fn folder_and_name(path: &Path) -> io::Result<(File, &OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let parent = parent_of(path);
    let folder = match reach::folder(parent)? {
        Some(folder) => folder,
        None => retry_on_intr(|| rustix::fs::open(parent, FOLDER, Mode::empty()))?,
    };
    Ok((File::from(folder), name))
}

/// Removes a name from its folder, if `is_it` knows that. What was looked at is held open: nothing is unmounted or exchanged in between.
pub(super) fn remove_in(path: &Path, is_it: impl Fn(&FolderIdentity) -> bool) -> io::Result<bool> {
    let (folder, name) = folder_and_name(path)?;
    if !is_it(&folder_identity_of(&folder.metadata()?)) {
        return Ok(false);
    }
    match retry_on_intr(|| unlinkat(&folder, name, AtFlags::empty())) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn folder_identity(folder: &Path) -> io::Result<Option<FolderIdentity>> {
    let metadata = folder_metadata(folder)?;
    Ok(metadata.is_dir().then(|| folder_identity_of(&metadata)))
}

fn folder_identity_of(metadata: &Metadata) -> FolderIdentity {
    FolderIdentity {
        device: metadata.dev(),
        inode: metadata.ino(),
        created_ns: metadata.created().ok().and_then(unix_ns),
    }
}

fn unix_ns(time: SystemTime) -> Option<i128> {
    i128::try_from(time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos()).ok()
}

pub(super) fn free_and_total(folder: &Path) -> io::Result<(u64, u64)> {
    let found = rustix::io::retry_on_intr(|| rustix::fs::statvfs(folder))?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    Ok((bytes(found.f_bavail), bytes(found.f_blocks)))
}

/// Files that may still be made, and all: each needs an inode.
pub(super) fn files_free_and_total(folder: &Path) -> io::Result<(u64, u64)> {
    let found = rustix::io::retry_on_intr(|| rustix::fs::statvfs(folder))?;
    Ok((found.f_favail, found.f_files))
}

/// Asks for `folder/.`, so that one that is mounted when it is needed (autofs) is mounted now.
#[cfg(target_os = "linux")]
pub(super) fn is_mount_point(folder: &Path) -> io::Result<bool> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let inside = folder.join(".");
    let asked = rustix::io::retry_on_intr(|| statx(CWD, &inside, AtFlags::empty(), StatxFlags::empty()));
    if let Ok(found) = asked
        && found.stx_attributes_mask.contains(StatxAttributes::MOUNT_ROOT)
    {
        return Ok(found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT));
    }
    // Kernels before 5.8 do not say.
    let folder = fs::canonicalize(inside)?;
    match fs::read("/proc/self/mountinfo") {
        Ok(table) => Ok(Mounts::listed(&table).is_one(&folder)),
        Err(_) => differs_from_parent(&folder),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_mount_point(folder: &Path) -> io::Result<bool> {
    differs_from_parent(&fs::canonicalize(folder)?)
}

/// On another device than the folder above it, or the root.
fn differs_from_parent(folder: &Path) -> io::Result<bool> {
    let Some(parent) = folder.parent() else { return Ok(true) };
    Ok(device_of(folder)? != device_of(parent)?)
}

pub(super) fn device_of(folder: &Path) -> io::Result<u64> {
    folder_metadata(folder).map(|m| m.dev())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_mounts_tells_a_mount_point_by_its_whole_name() {
        let table =
            b"36 35 98:0 / / rw - ext4 /dev/a rw\n37 36 0:5 /sub /mnt/with\\040blank rw - tmpfs none rw\n";
        let is_mounted = |folder: &str| Mounts::listed(table).is_one(Path::new(folder));
        assert!(is_mounted("/") && is_mounted("/mnt/with blank"));
        assert!(!is_mounted("/mnt") && !is_mounted("/mnt/with") && !is_mounted("/sub"));
    }

    #[test]
    fn without_the_table_another_device_tells_a_mount_point() {
        assert!(differs_from_parent(Path::new("/proc")).expect("it is there"));
        assert!(!differs_from_parent(Path::new("/proc/self/fd")).expect("it is there"));
    }
}
