//! Whether the folder with further rules is still the one that they were read from: one that is unmounted or gone looks like one whose files
//! were taken out.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{Problem, Problems, Reading, Texts};
use crate::durable_fs::{self, Mounts};
use crate::model::configuration::KeptConfiguration;
use crate::model::os_text::escaped_path;

/// Where a folder with rules lay when they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RulesFolder {
    /// The mount point of its file system.
    mount: PathBuf,
    /// Its file system; none where that is not known, such as after a restart.
    device: Option<u64>,
}

impl RulesFolder {
    /// The one of what was read; none if there is no rule in it.
    pub(super) fn of(reading: &Reading) -> Option<Self> {
        let folder = reading.rules_dir.as_deref().filter(|folder| has_rules(&reading.texts, folder))?;
        Some(Self { mount: mount_of(folder), device: device_of(folder) })
    }

    /// As the last service had it.
    pub(super) fn kept(kept: &KeptConfiguration) -> Option<Self> {
        let mount = kept.rules_mount.as_ref()?.as_path().to_owned();
        Some(Self { mount, device: None })
    }

    pub(super) fn mount(&self) -> &Path {
        &self.mount
    }

    /// Whether nothing tells that the folder lies on another file system now.
    fn is_still_of(&self, folder: &Path) -> bool {
        let is_same = |before: u64| device_of(folder).is_none_or(|now| now == before);
        self.mount == mount_of(folder) && self.device.is_none_or(is_same)
    }
}

/// What is wrong where a folder had rules before (`had`), has none now, and is not the folder any more: then nobody took them out.
pub(super) fn loss(before: Option<&RulesFolder>, had: &Texts, reading: &Reading) -> Option<Problems> {
    let folder = reading.rules_dir.as_deref()?;
    if !has_rules(had, folder) || has_rules(&reading.texts, folder) {
        return None;
    }
    let shown = escaped_path(folder);
    let (message, hint) = match fs::metadata(folder) {
        Ok(_) if before.is_none_or(|before| before.is_still_of(folder)) => return None,
        Ok(_) => (
            format!("{shown} is empty, and lies on another file system than its rules did"),
            "mount it again; if its rules are to go, name another folder, or remove them while it is mounted",
        ),
        Err(error) => (
            format!("{shown} is gone, with its rules: {error}"),
            durable_fs::hint_if_confined(&error)
                .unwrap_or("bring it back; if its rules are to go, make an empty folder in its place"),
        ),
    };
    Some(Problems(vec![Problem {
        file: Some(reading.main.clone()),
        key: "service.rules_dir".to_owned(),
        message,
        hint: Some(hint.to_owned()),
        ..Problem::default()
    }]))
}

fn has_rules(texts: &Texts, folder: &Path) -> bool {
    texts.keys().any(|file| file.parent() == Some(folder))
}

fn mount_of(folder: &Path) -> PathBuf {
    let real = durable_fs::real_path(folder);
    Mounts::now().of(real.as_deref().unwrap_or(folder))
}

#[cfg(unix)]
fn device_of(folder: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(folder).ok().map(|found| found.dev())
}

#[cfg(windows)]
fn device_of(_: &Path) -> Option<u64> {
    None
}
