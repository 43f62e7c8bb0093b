//! The data folder: made private, and held by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::StoreError;

const LOCK_FILE: &str = "landfall.lock";
/// Who has the folder. On Windows a locked file cannot be read by others, so that it stands in a file of its own.
const HOLDER_FILE: &str = if cfg!(windows) { "landfall.holder" } else { LOCK_FILE };
/// A holder's note is shorter; whatever else lies there is not read in whole.
const HOLDER_BYTES_MAX: u64 = 4096;

/// The data folder, ours until this is dropped.
#[derive(Debug)]
pub(super) struct HeldFolder {
    _lock: File,
}

#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: Option<String>,
    started_at: jiff::Timestamp,
}

impl HeldFolder {
    /// Makes the folder, if need be, and takes it for this process.
    ///
    /// The lock is the operating system's: it goes with the process, however that ends.
    pub(super) fn take(data_dir: &Path) -> Result<Self, StoreError> {
        make_private(data_dir)?;
        let lock = open_private(&data_dir.join(LOCK_FILE))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(data_dir)),
            Err(TryLockError::Error(error)) => return Err(failed("lock", &data_dir.join(LOCK_FILE), error)),
        }
        note_holder(&data_dir.join(HOLDER_FILE))?;
        Ok(Self { _lock: lock })
    }
}

fn note_holder(path: &Path) -> Result<(), StoreError> {
    let holder = Holder { pid: std::process::id(), host: host(), started_at: crate::clock::now() };
    let write = || -> io::Result<()> {
        let mut file = private_options().open(path)?;
        file.set_len(0)?;
        file.rewind()?;
        serde_json::to_writer(&mut file, &holder)?;
        file.write_all(b"\n")
    };
    write().map_err(|error| failed("write", path, error))
}

fn in_use(data_dir: &Path) -> StoreError {
    let holder = read_holder(&data_dir.join(HOLDER_FILE));
    let words = match &holder {
        Some(Holder { pid, host: Some(host), started_at }) => {
            format!("process {pid} on {host}, since {started_at}")
        }
        Some(Holder { pid, host: None, started_at }) => format!("process {pid}, since {started_at}"),
        None => "another process".to_owned(),
    };
    StoreError::InUse { data_dir: data_dir.to_owned(), pid: holder.map(|holder| holder.pid), holder: words }
}

fn read_holder(path: &Path) -> Option<Holder> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(HOLDER_BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn host() -> Option<String> {
    let name = if cfg!(windows) {
        std::env::var("COMPUTERNAME").ok()
    } else {
        std::fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| std::env::var("HOSTNAME").ok())
    };
    name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Makes a folder that only its owner may enter; one that is there already keeps its permissions.
pub(super) fn make_private(folder: &Path) -> Result<(), StoreError> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder).map_err(|error| failed("make the folder", folder, error))
}

/// Makes the names in a folder durable; Windows does so by itself.
pub(super) fn sync_names(folder: &Path) -> Result<(), StoreError> {
    if cfg!(unix) {
        let sync = || File::open(folder)?.sync_all();
        sync().map_err(|error| failed("sync the folder", folder, error))?;
    }
    Ok(())
}

/// Refuses a data folder of another user: files that root left there could not be read by the service.
#[cfg(unix)]
pub(super) fn check_owner(data_dir: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt as _;
    let owner = match std::fs::metadata(data_dir) {
        Ok(metadata) => metadata.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", data_dir, error)),
    };
    if owner == rustix::process::geteuid().as_raw() {
        return Ok(());
    }
    Err(StoreError::OtherOwner { data_dir: data_dir.to_owned(), owner: user_name(owner) })
}

/// Windows gives files in the data folder the folder's permissions, whoever makes them.
#[cfg(windows)]
#[allow(clippy::unnecessary_wraps, reason = "the Unix twin can refuse")]
pub(super) fn check_owner(_data_dir: &Path) -> Result<(), StoreError> {
    Ok(())
}

#[cfg(unix)]
fn user_name(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    passwd
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let number: u32 = fields.nth(1)?.parse().ok()?;
            (number == uid).then(|| name.to_owned())
        })
        .unwrap_or_else(|| format!("#{uid}"))
}

fn open_private(path: &Path) -> Result<File, StoreError> {
    private_options().open(path).map_err(|error| failed("open", path, error))
}

fn private_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    StoreError::Folder { action, path: PathBuf::from(path), source }
}
