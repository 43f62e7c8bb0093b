//! What the system's list of mounts says of the file system that a path lies on.

use std::fs;
use std::path::{Path, PathBuf};

use super::mounts::point;

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountEntry {
    /// Where it is mounted.
    pub at: PathBuf,
    /// `ext4`, `vfat`, `fuse.sshfs`.
    pub kind: String,
    /// What is mounted: a device, a share.
    pub source: String,
    /// Of the file system itself, parted by commas.
    options: String,
}

impl MountEntry {
    /// That of a path, which need not be there.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        // The rest of the way may be closed to this user, or not there.
        let path = path.ancestors().find_map(|ancestor| {
            let found = fs::canonicalize(ancestor).ok()?;
            Some(found.join(path.strip_prefix(ancestor).ok()?))
        })?;
        Self::listed(&fs::read("/proc/self/mountinfo").ok()?, &path)
    }

    /// The deepest; of several at one place the last, which hides the others.
    fn listed(table: &[u8], path: &Path) -> Option<Self> {
        let lines = table.split(|byte| *byte == b'\n').filter_map(Self::parsed);
        lines.filter(|entry| path.starts_with(&entry.at)).max_by_key(|entry| entry.at.components().count())
    }

    fn parsed(line: &[u8]) -> Option<Self> {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let dash = fields.iter().position(|field| *field == b"-")?;
        let text = |at: usize| fields.get(at).map(|field| String::from_utf8_lossy(field).into_owned());
        Some(Self {
            at: point(fields.get(4)?),
            kind: text(dash + 1)?,
            source: text(dash + 2)?,
            options: text(dash + 3).unwrap_or_default(),
        })
    }

    /// The options by which all on it belongs to one user alone; none where files have owners of their own.
    pub(crate) fn owner_options(&self, user: &str, group: &str) -> Option<String> {
        let whose = format!("uid={user},gid={group}");
        match self.kind.as_str() {
            "vfat" | "msdos" | "exfat" | "ntfs" | "ntfs3" | "fuseblk" | "fuse.exfat" | "fuse.ntfs" => {
                Some(format!("{whose},umask=077"))
            }
            "fuse.sshfs" => Some(whose),
            "cifs" | "smb3" => Some(format!("{whose},file_mode=0600,dir_mode=0700")),
            _ => None,
        }
    }

    /// The user who mounted it for himself alone: nobody else is let in, not even root.
    pub(super) fn only_for(&self) -> Option<u32> {
        let has = |wanted: &str| self.options.split(',').any(|option| option == wanted);
        let user = self.options.split(',').find_map(|option| option.strip_prefix("user_id="));
        user.filter(|_| self.kind.starts_with("fuse") && !has("allow_other"))?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
        36 22 0:52 / /mnt/a\\040b rw shared:1 - fuse.sshfs a@b:/ rw,user_id=1000,group_id=1000\n\
        37 22 7:0 / /mnt/usb rw - vfat /dev/sdb1 rw,fmask=0022\n38 37 7:1 / /mnt/usb rw - exfat /dev/sdb2 rw\n";

    #[test]
    fn the_deepest_and_last_mount_is_that_of_a_path() {
        let of = |path: &str| MountEntry::listed(TABLE, Path::new(path)).expect("the root is mounted");
        assert_eq!(of("/mnt").source, "/dev/sda1");
        assert_eq!((of("/mnt/a b/c").only_for(), of("/").only_for()), (Some(1000), None));
        assert_eq!(of("/mnt/usb/in").kind, "exfat");
        assert_eq!(of("/mnt/usb").owner_options("u", "g").as_deref(), Some("uid=u,gid=g,umask=077"));
        assert_eq!(of("/").owner_options("u", "g"), None);
    }
}
