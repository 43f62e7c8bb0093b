//! The file systems that rules use, each looked at by a thread of its own: one that hangs is told as hanging.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::durable_fs::{self, Space};
use crate::engine::disks_of;
use crate::model::os_text::escaped_path;
use crate::model::rule::{FreeMin, Settings};

/// All of them together.
const LOOKS_TAKE: Duration = Duration::from_secs(1);

/// Mounts at which a thread looks now, or hangs: none is asked twice at once.
static LOOKED_AT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A file system in use.
#[derive(Debug, Serialize)]
pub(crate) struct Disk {
    /// Where it is mounted.
    pub(crate) mount: String,
    /// A folder of ours on it.
    pub(crate) folder: String,
    /// Bytes; none where it does not tell, or does not answer.
    pub(crate) free: Option<u64>,
    pub(crate) total: Option<u64>,
    /// What `service.free_min` keeps free there.
    pub(crate) free_min: Option<u64>,
    /// Files that may still be made there (inodes), all, and how many `service.free_min` keeps free; none where it has no such bound.
    pub(crate) files_free: Option<u64>,
    pub(crate) files_total: Option<u64>,
    pub(crate) files_free_min: Option<u64>,
    /// Why nothing is known of it.
    pub(crate) trouble: Option<String>,
}

impl Disk {
    pub(crate) fn is_short(&self) -> bool {
        self.free.zip(self.free_min).is_some_and(|(free, free_min)| free < free_min)
    }

    pub(crate) fn is_short_of_files(&self) -> bool {
        let files = self.files_free.zip(self.files_free_min);
        files.is_some_and(|(free, free_min)| free < free_min || free == 0)
    }
}

pub(crate) fn look(settings: &Settings) -> Vec<Disk> {
    let disks = disks_of(&settings.rules, &settings.service.data_dir);
    let (sender, answers) = sync_channel(disks.len());
    let mut found: Vec<Disk> = Vec::new();
    for (mount, folder) in &disks {
        let mut disk = unknown(mount, folder);
        if lock().insert(mount.clone()) {
            let (mount, folder, sender, at) = (mount.clone(), folder.clone(), sender.clone(), found.len());
            let look = move || {
                let space = durable_fs::space_at(&folder);
                durable_fs::leave_place();
                lock().remove(&mount);
                sender.send((at, space)).ok(); // nobody may wait for it any more
            };
            if let Err(error) = std::thread::Builder::new().name("disk-look".into()).spawn(look) {
                lock().remove(&disks[found.len()].0);
                disk.trouble = Some(format!("no thread can be started to look at it: {error}"));
            }
        }
        found.push(disk);
    }
    drop(sender);
    let until = Instant::now() + LOOKS_TAKE;
    while let Ok((at, space)) = answers.recv_timeout(until.saturating_duration_since(Instant::now())) {
        if let Some(disk) = found.get_mut(at) {
            tell(disk, space, settings.service.free_min);
        }
    }
    found
}

fn lock() -> std::sync::MutexGuard<'static, BTreeSet<PathBuf>> {
    LOOKED_AT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unknown(mount: &Path, folder: &Path) -> Disk {
    Disk {
        mount: escaped_path(mount),
        folder: escaped_path(folder),
        free: None,
        total: None,
        free_min: None,
        files_free: None,
        files_total: None,
        files_free_min: None,
        trouble: Some("it does not answer".to_owned()),
    }
}

fn tell(disk: &mut Disk, space: std::io::Result<Space>, free_min: FreeMin) {
    match space {
        Ok(space) => {
            disk.trouble = None;
            if space.total > 0 {
                disk.free = Some(space.free);
                disk.total = Some(space.total);
                disk.free_min = Some(free_min.of(space.total));
            }
            if space.files_total > 0 {
                disk.files_free = Some(space.files_free);
                disk.files_total = Some(space.files_total);
                disk.files_free_min = Some(free_min.files_of(space.files_total));
            }
        }
        Err(error) => disk.trouble = Some(format!("it cannot be looked at: {error}")),
    }
}
