//! Real file systems with habits of their own, in this test's own view of the mounts (see [`can_mount`]): they vanish with it.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::disk::{Disk, can_mount};
use super::{World, wait_until};

const SFTP_SERVER: &str = "/usr/lib/openssh/sftp-server";

/// What is mounted at the world's `mnt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Over SFTP, without a network; with options of `sshfs -o`, if any. Knows no rename without replace, and numbers files anew.
    Sshfs(&'static str),
    /// Another folder once more, in user space; with options of `bindfs`, if any.
    Bindfs(&'static str),
    /// In user space, on a loop device: no hard links, no owners, no rights, times of two seconds; with options of `-o`.
    Exfat(&'static str),
    /// Two folders laid over each other.
    Overlay,
    /// A real disk's, on a loop device.
    Ext4,
}

/// A file system at the world's `mnt`, until this is dropped.
pub struct Mounted {
    kind: Kind,
    world: PathBuf,
    /// Shift the number that the next mount's device gets.
    others: Vec<Disk>,
}

impl Mounted {
    /// None, loudly, where it cannot be had.
    pub fn new(world: &World, kind: Kind) -> Option<Self> {
        let mounted = Self { kind, world: world.path(""), others: Vec::new() };
        if !can_mount() {
            return None;
        }
        for folder in ["mnt", "behind", "upper", "work"] {
            fs::create_dir_all(world.path(folder)).expect("the world is new");
        }
        let made = match kind {
            Kind::Exfat(_) => mounted.sh("truncate -s 64M image && mkfs.exfat image"),
            Kind::Ext4 => mounted.sh("truncate -s 64M image && mkfs.ext4 -qF image"),
            Kind::Sshfs(_) => mounted.sh(&format!(
                "printf '#!/bin/sh\\nexec {SFTP_SERVER}\\n' > sftp && chmod +x sftp && [ -x {SFTP_SERVER} ]"
            )),
            Kind::Bindfs(_) | Kind::Overlay => true,
        };
        if made && mounted.try_mount() {
            return Some(mounted);
        }
        eprintln!(
            "NOT TESTED: {kind:?} cannot be mounted here (its programs, /dev/fuse or loop devices are missing)"
        );
        None
    }

    fn try_mount(&self) -> bool {
        let with = |options: &str| if options.is_empty() { String::new() } else { format!("-o {options}") };
        let script = match self.kind {
            Kind::Sshfs(options) => {
                format!("sshfs {} -o ssh_command=\"$PWD/sftp\" \"x:$PWD/behind\" mnt", with(options))
            }
            Kind::Bindfs(options) => format!("bindfs {options} behind mnt"),
            Kind::Exfat(options) => {
                format!(
                    "[ -e loop ] || losetup -f --show image > loop; mount.exfat-fuse {} $(cat loop) mnt",
                    with(options)
                )
            }
            Kind::Overlay => {
                "mount -t overlay none -o lowerdir=behind,upperdir=upper,workdir=work mnt".to_owned()
            }
            Kind::Ext4 => "mount -o loop image mnt".to_owned(),
        };
        self.sh(&script) && self.sh("mountpoint -q mnt")
    }

    /// Nobody sees it any more. A service that does nothing there lets go of it.
    #[track_caller]
    pub fn unmount(&self) {
        wait_until("it can be unmounted", || self.sh("umount mnt").then_some(()));
    }

    /// Mounts it again, mostly with the number that its device had.
    #[track_caller]
    pub fn mount_as_before(&self) {
        wait_until("it is mounted again", || self.try_mount().then_some(()));
    }

    /// Mounts it again, with another number for its device.
    #[track_caller]
    pub fn mount_again(&mut self) {
        let other = self.world.join(format!("other-{}", self.others.len()));
        self.others.push(Disk::mount(&other, "64k"));
        self.mount_as_before(); // a server in user space may not have let go of it yet
    }

    /// Runs a script in it while it is not mounted for others to see.
    #[track_caller]
    pub fn fill(&self, script: &str) {
        let done = match self.kind {
            Kind::Ext4 => self.sh(&format!(
                "mkdir -p aside; mount -o loop image aside; cd aside; {script}; cd ..; umount aside"
            )),
            _ => self.sh(&format!("cd behind; {script}")),
        };
        assert!(done, "{script}");
    }

    fn sh(&self, script: &str) -> bool {
        let mut command = Command::new("bash");
        command.args(["-euc", script]).current_dir(&self.world);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.sh("umount mnt || umount -l mnt");
        self.sh("[ ! -e loop ] || losetup -d $(cat loop)");
    }
}
