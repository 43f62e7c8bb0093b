//! What kind of file system a folder lies on: on some, others than this machine change files, and no event tells of it.

use std::io;
use std::path::Path;

use crate::model::identity::FolderIdentity;

/// The kind of a folder's file system, as the system calls it (`nfs`, `cifs`, `fuse.sshfs`), if files may come there without events; links
/// are followed.
#[cfg(target_os = "linux")]
pub(crate) fn far_file_system(folder: &Path) -> io::Result<Option<String>> {
    super::note_place(folder);
    let found = rustix::fs::statfs(folder)?;
    Ok(far_kind(plain(found.f_type)).map(|kind| mounted_as(folder).unwrap_or_else(|| kind.to_owned())))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn far_file_system(_: &Path) -> io::Result<Option<String>> {
    Ok(None)
}

/// Those in user space whose locks no other machine sees: they are on disks of this one, or pass no locks on. Any other may be a cluster.
#[cfg(target_os = "linux")]
const FUSE_WITH_OWN_LOCKS: [&str; 12] = [
    "sshfs",
    "bindfs",
    "exfat",
    "exfat-fuse",
    "ntfs",
    "ntfs-3g",
    "fuse-overlayfs",
    "mergerfs",
    "gocryptfs",
    "encfs",
    "rclone",
    "s3fs",
];

/// Whether no other machine sees the locks that are taken in this folder. What cannot be asked may be another's.
#[cfg(target_os = "linux")]
pub(crate) fn is_of_this_machine(folder: &Path) -> bool {
    let Ok(found) = rustix::fs::statfs(folder) else { return false };
    match far_kind(plain(found.f_type)) {
        None => true,
        Some("fuse") => mounted_as(folder).is_some_and(|kind| has_own_locks(&kind)),
        Some(_) => false,
    }
}

/// `fuseblk` is a disk; what says no more than `fuse`, like bindfs, is no cluster that is known.
#[cfg(target_os = "linux")]
fn has_own_locks(kind: &str) -> bool {
    ["fuse", "fuseblk"].contains(&kind)
        || kind.strip_prefix("fuse.").is_some_and(|kind| FUSE_WITH_OWN_LOCKS.contains(&kind))
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn is_of_this_machine(_: &Path) -> bool {
    false
}

/// Whether a file that lies at a path, or did, has the same number whenever it is looked at. In user space, on FAT and over SMB a number may
/// be that of what the kernel remembers of it, or of its name: it is another one after the file system was mounted again, or when
/// memory was short. One that cannot be asked is taken for one that keeps them.
#[cfg(target_os = "linux")]
pub(super) fn numbers_last(path: &Path) -> bool {
    file_system_number(path).map_or(true, has_lasting_numbers)
}

#[cfg(windows)]
pub(super) fn numbers_last(path: &Path) -> bool {
    super::windows::volume_at(path)
        .map_or(true, |(name, flags)| super::file_numbers::keeps_numbers(&name, flags))
}

#[cfg(not(any(target_os = "linux", windows)))]
pub(super) fn numbers_last(_: &Path) -> bool {
    true
}

/// Whether the number of a device is that of a disk. What lies on none (in user space, over the network, in memory) is given any that is free.
#[cfg(target_os = "linux")]
pub(super) fn is_disk(device: u64) -> bool {
    rustix::fs::major(device) != 0
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_disk(_: u64) -> bool {
    true
}

/// Whether a folder may be one that was `known` by other numbers: it lies on a file system whose numbers do not last, and nothing tells that
/// the known one lay on another kind. A mount point lies on what is mounted there.
#[cfg(target_os = "linux")]
pub(super) fn is_numbered_anew(folder: &Path, found: &FolderIdentity, known: &FolderIdentity) -> bool {
    if is_disk(found.device) != is_disk(known.device)
        || found.created_ns.is_some() != known.created_ns.is_some()
    {
        return false;
    }
    let number = super::reach::folder(folder).and_then(|reached| {
        Ok(match reached {
            Some(reached) => rustix::fs::fstatfs(&reached)?,
            None => rustix::fs::statfs(folder)?,
        })
    });
    number.is_ok_and(|number| !has_lasting_numbers(plain(number.f_type)))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn is_numbered_anew(_: &Path, _: &FolderIdentity, _: &FolderIdentity) -> bool {
    false
}

/// That of `statfs(2)`, of the folder of a path.
#[cfg(target_os = "linux")]
pub(super) fn file_system_number(path: &Path) -> io::Result<FsNumber> {
    let found = super::reach::on(path, |at| match at.name.parent() {
        Some(folder) if at.name.is_absolute() => rustix::fs::statfs(folder),
        _ => rustix::fs::fstatfs(at.folder()),
    })?;
    Ok(plain(found.f_type))
}

/// Some numbers have the highest of 32 bits set, and come with a sign on some machines.
#[cfg(target_os = "linux")]
type FsNumber = u32;

#[cfg(target_os = "linux")]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the numbers have 32 bits")]
fn plain(number: rustix::fs::FsWord) -> FsNumber {
    number as FsNumber
}

#[cfg(target_os = "linux")]
const FUSE: FsNumber = 0x6573_5546;

#[cfg(target_os = "linux")]
pub(super) fn is_fuse(number: FsNumber) -> bool {
    number == FUSE
}

#[cfg(target_os = "linux")]
fn has_lasting_numbers(number: FsNumber) -> bool {
    const FAT: FsNumber = 0x4D44;
    const EXFAT: FsNumber = 0x2011_BAB0;
    !matches!(
        (number, far_kind(number)),
        (FAT | EXFAT | FUSE, _) | (_, Some("smb" | "cifs" | "smb2" | "9p" | "vboxsf"))
    )
}

/// By the numbers of `statfs(2)`.
#[cfg(target_os = "linux")]
fn far_kind(number: FsNumber) -> Option<&'static str> {
    Some(match number {
        0x6969 => "nfs",
        0x517B => "smb",
        0xFF53_4D42 => "cifs",
        0xFE53_4D42 => "smb2",
        FUSE => "fuse",
        0x0102_1997 => "9p",
        0x00C3_6400 => "ceph",
        0x0BD0_0BD0 => "lustre",
        0x4750_4653 => "gpfs",
        0x5346_414F | 0x6B41_4653 => "afs",
        0x7375_7245 => "coda",
        0x786F_4256 => "vboxsf",
        0x0116_1970 => "gfs2",
        0x7461_636F => "ocfs2",
        0xAAD7_AAEA => "panfs",
        _ => return None,
    })
}

/// The type that it was mounted as, which tells one in user space from another.
#[cfg(target_os = "linux")]
fn mounted_as(folder: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let device = std::fs::metadata(folder).ok()?.dev();
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    kind_of_device(&table, &number).map(str::to_owned)
}

/// Behind a lone `-` comes the type; the third field is the device.
#[cfg(target_os = "linux")]
fn kind_of_device<'a>(table: &'a str, device: &str) -> Option<&'a str> {
    let line = table.lines().find(|line| line.split(' ').nth(2) == Some(device))?;
    line.split_once(" - ")?.1.split(' ').next()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_other_machines_or_programs_serve_is_told_from_what_this_one_has() {
        for near in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630, 0x2FC1_2FC1] {
            assert_eq!(far_kind(near), None, "ext4, xfs, btrfs, tmpfs, overlay, zfs");
        }
        assert_eq!(far_kind(0x6969), Some("nfs"));
        assert_eq!(far_kind(0x6573_5546), Some("fuse"));
        assert_eq!(far_kind(plain(i64::from(0xFF53_4D42_u32.cast_signed()))), Some("cifs"), "with its sign");
        assert_eq!(far_file_system(Path::new("/proc")).expect("is there"), None);
    }

    #[test]
    fn those_that_number_files_anew_are_known() {
        for lasting in [0xEF53, 0x5846_5342, 0x0102_1994, 0x794C_7630, 0x6969] {
            assert!(has_lasting_numbers(lasting), "ext4, xfs, tmpfs, overlay, nfs");
        }
        for passing in [FUSE, 0x4D44, 0x2011_BAB0, 0xFF53_4D42, 0xFE53_4D42] {
            assert!(!has_lasting_numbers(passing), "fuse, vfat, exfat, cifs, smb3");
        }
        assert!(numbers_last(Path::new("/proc/self/status")));
    }

    #[test]
    fn one_in_user_space_that_nobody_knows_may_be_a_cluster() {
        assert!(["fuse", "fuse.sshfs", "fuse.bindfs", "fuseblk"].iter().all(|kind| has_own_locks(kind)));
        assert!(
            !["fuse.glusterfs", "fuse.juicefs", "fuse.new", "nfs"].iter().any(|kind| has_own_locks(kind))
        );
    }

    #[test]
    fn one_in_user_space_is_called_as_it_was_mounted() {
        let table =
            "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n36 22 0:52 / /mnt/s rw shared:1 - fuse.sshfs a@b:/ rw\n";
        assert_eq!(kind_of_device(table, "0:52"), Some("fuse.sshfs"));
        assert_eq!(kind_of_device(table, "0:5"), None);
    }
}
