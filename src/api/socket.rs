//! The socket: whoever its permissions let in may ask.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread::Builder;
use std::time::Duration;

use super::ApiError;
use crate::durable_fs;
use crate::model::api::Api;

/// In the data folder, unless the configuration says another place.
const FILE: &str = "api.sock";
/// An owner of it that lives is met within this.
const ANSWERS_WITHIN: Duration = Duration::from_secs(1);

/// Where a service has bound its socket. Another one may lie there later: somebody made the folder anew, and another service runs in it.
#[derive(Debug)]
pub(super) struct Bound {
    path: PathBuf,
    /// What was bound, if it could be looked at.
    is: Option<Number>,
}

/// Its device, inode and ctime: an inode's number is dealt again.
type Number = (u64, u64, i64, i64);

impl Bound {
    fn at(path: PathBuf) -> Self {
        Self { is: number_of(&path), path }
    }

    /// Removes it in the end, unless it is another one by now. One that stays is of no harm: nobody answers, and the next start replaces it.
    pub(super) fn remove(&self) {
        if self.is.is_some() && number_of(&self.path) == self.is {
            durable_fs::remove_file(&self.path).ok();
        }
    }
}

fn number_of(path: &Path) -> Option<Number> {
    let found = std::fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

pub(super) fn bind(api: &Api, data_dir: &Path) -> Result<(UnixListener, Bound), ApiError> {
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
    Ok((listener, Bound::at(path)))
}

/// Removes what a service left there that was killed; nothing else.
fn make_way(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            Err(io::Error::other("something else than a socket lies there"))
        }
        Ok(_) => match who_answers(path) {
            Ok(true) => Err(io::Error::other("another program answers there")),
            Ok(false) => durable_fs::remove_file(path).map_err(io::Error::other),
            Err(error) => Err(error),
        },
    }
}

/// Whether somebody does. Who is stopped, with as many at its door as it has room for, lets nobody in: then the thread that asks stays
/// as long as that.
fn who_answers(path: &Path) -> io::Result<bool> {
    let (tell, told) = sync_channel(1);
    let path = path.to_owned();
    Builder::new().name("api-socket".into()).spawn(move || {
        tell.send(UnixStream::connect(path).map(drop)).ok(); // whoever asked may have given up
    })?;
    let silent = |_| io::Error::other("another program has it, and does not answer: it may be stopped");
    match told.recv_timeout(ANSWERS_WITHIN).map_err(silent)? {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn no_group(name: &str) -> io::Error {
    io::Error::other(format!("there is no group `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Method: a listener that takes nobody up; connections are made until there is no room for another.
    #[test]
    fn a_socket_whose_owner_is_stopped_holds_up_no_start_and_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(FILE);
        let listener = UnixListener::bind(&path).expect("binds");
        let mut queued = 0;
        while let Ok(true) = who_answers(&path) {
            queued += 1;
            assert!(queued < 10_000, "there is always room for one more");
        }
        let refused = make_way(&path).expect_err("it is somebody's");
        assert!(refused.to_string().contains("does not answer"), "{refused}");
        assert!(path.try_exists().expect("looks"));
        drop(listener);
    }

    #[test]
    fn who_ends_removes_his_own_socket_and_no_other_that_lies_there_by_now() {
        let folder = tempfile::tempdir().expect("a folder");
        let bind = || {
            let path = folder.path().join(FILE);
            make_way(&path).expect("nobody answers");
            (UnixListener::bind(&path).expect("binds"), Bound::at(path))
        };
        let is_there = || folder.path().join(FILE).try_exists().expect("looks");
        let (listener, first) = bind();
        drop(listener);
        let (_listening, second) = bind();
        first.remove();
        assert!(is_there());
        second.remove();
        assert!(!is_there());
    }
}
