//! The socket: whoever its permissions let in may ask.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::ApiError;
use crate::durable_fs;
use crate::model::api::Api;

/// In the data folder, unless the configuration says another place.
const FILE: &str = "api.sock";

pub(super) fn bind(api: &Api, data_dir: &Path) -> Result<(UnixListener, PathBuf), ApiError> {
    let path = api.socket.clone().unwrap_or_else(|| data_dir.join(FILE));
    let failed = |source| ApiError::Socket { path: path.clone(), source };
    make_way(&path).map_err(failed)?;
    // Until its group is set, only its owner may write there: no umask of ours gives others that.
    let listener = UnixListener::bind(&path).map_err(failed)?;
    let group = api.socket_group.as_deref();
    let group = group.map(|name| durable_fs::group_id(name).ok_or_else(|| no_group(name))).transpose();
    let mode = if api.socket_group.is_some() { 0o660 } else { 0o600 };
    group
        .and_then(|group| group.map_or(Ok(()), |group| chown(&path, None, Some(group))))
        .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(mode)))
        .and_then(|()| listener.set_nonblocking(true))
        .map_err(failed)?;
    tracing::info!(socket = %path.display(), "the control API listens");
    Ok((listener, path))
}

/// Removes what a service left there that was killed; nothing else.
fn make_way(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::other("something else than a socket lies there"))
        }
        Ok(_) if UnixStream::connect(path).is_ok() => Err(io::Error::other("another program answers there")),
        Ok(_) => durable_fs::remove_file(path).map_err(io::Error::other),
    }
}

fn no_group(name: &str) -> io::Error {
    io::Error::other(format!("there is no group `{name}`"))
}
