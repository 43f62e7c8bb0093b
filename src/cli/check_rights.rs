//! Whether the user who asks `landfall check` has the rights that the service needs. Where he is not the service's user they say nothing.

use std::fs;
use std::io;
use std::path::Path;

use crate::durable_fs;
use crate::model::os_text::escaped_path;

pub(super) const HINT: &str =
    "give the service's user the right to write there, and to go into each folder on the way";

/// Whether the rights of this process are those of the service: it owns the data folder, or nobody does yet.
#[cfg(unix)]
pub(super) fn are_the_services(data_dir: &Path) -> bool {
    service_user(data_dir) == rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
pub(super) fn are_the_services(_: &Path) -> bool {
    true
}

pub(super) fn lack_of_data_dir(data_dir: &Path) -> Option<String> {
    match fs::metadata(data_dir) {
        Ok(found) if found.is_dir() => {
            let is_open = durable_fs::may_list(data_dir) && durable_fs::may_write_in(data_dir);
            (!is_open).then(|| format!("this user may not open the data folder {}", escaped_path(data_dir)))
        }
        // Told by itself.
        Ok(_) => None,
        Err(_) => lack(data_dir),
    }
}

/// What keeps this user from making files in a folder, which may have to be made first.
pub(super) fn lack(folder: &Path) -> Option<String> {
    let mut ancestors = folder.ancestors();
    let (nearest, found) = ancestors.find_map(|ancestor| match fs::metadata(ancestor) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        found => Some((ancestor, found)),
    })?;
    let shown = escaped_path(nearest);
    match found {
        Err(error) => Some(format!("{shown} cannot be looked at: {error}")),
        Ok(found) if !found.is_dir() => Some(format!("{shown} is no folder")),
        Ok(_) if durable_fs::may_write_in(nearest) => None,
        Ok(_) if nearest == folder => Some(format!("this user may not write in {shown}")),
        Ok(_) => {
            Some(format!("this user may not make {}: he may not write in {shown}", escaped_path(folder)))
        }
    }
}

/// The user that the service runs as: the owner of its data folder where that is there, else who asks.
#[cfg(unix)]
pub(super) fn service_user(data_dir: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(data_dir).map_or_else(|_| rustix::process::geteuid().as_raw(), |found| found.uid())
}

#[cfg(not(unix))]
pub(super) fn service_user(_: &Path) -> u32 {
    0
}
