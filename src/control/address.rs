//! The file that tells commands where the service listens.
//!
//! It is this service's as long as its token is in it. Who removes it cuts the service off from its operator, so that it is written anew; but
//! only where the data folder is still the one that this process has: after that was removed and made anew, it is another service's to write.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::protocol::{ADDRESS_BYTES_MAX, ADDRESS_FILE, Address};
use crate::durable_fs::{self, FsError};
use crate::model::identity::FileIdentity;
use crate::model::os_text::escaped_path;

/// `control.json` of a service.
#[derive(Debug)]
pub(crate) struct AddressFile {
    path: PathBuf,
    text: Vec<u8>,
    state: Mutex<State>,
}

#[derive(Debug)]
enum State {
    /// Before it is written, and after it was removed: it is not to be there.
    Withdrawn,
    /// As it was when it was ours, if it could be looked at; and whether it is told already that it cannot be written anew.
    Posted(Option<FileIdentity>, bool),
}

impl AddressFile {
    pub(super) fn new(data_dir: &Path, address: &Address) -> Self {
        // Plain data: serializing it cannot fail.
        let text = serde_json::to_vec(address).unwrap_or_default();
        Self { path: data_dir.join(ADDRESS_FILE), text, state: Mutex::new(State::Withdrawn) }
    }

    pub(super) fn post(&self) -> Result<(), FsError> {
        self.with_state(|state| self.write(state))
    }

    /// Writes it anew if it was removed, or another one lies in its place. `is_held` tells whether the data folder is still ours.
    pub(crate) fn keep(&self, is_held: impl FnOnce() -> bool) {
        self.with_state(|state| {
            let State::Posted(known, is_told) = *state else { return };
            let Ok(found) = durable_fs::identity_at(&self.path) else { return };
            if found.is_some() && found == known {
                return;
            }
            if self.is_there() {
                *state = State::Posted(found, is_told);
                return;
            }
            if !is_held() {
                return;
            }
            let file = escaped_path(&self.path);
            match self.write(state) {
                Ok(()) => tracing::warn!(
                    file,
                    "the file by which commands reach this service was removed or replaced: it is written anew"
                ),
                Err(error) if !is_told => {
                    *state = State::Posted(known, true);
                    tracing::error!(file, %error, "the file by which commands reach this service was removed, and cannot be written anew");
                }
                Err(_) => {}
            }
        });
    }

    /// From now on it is not written any more. Another service's stays.
    pub(super) fn withdraw(&self) -> Result<(), FsError> {
        self.with_state(|state| {
            let was_posted = matches!(std::mem::replace(state, State::Withdrawn), State::Posted(..));
            if was_posted && self.is_there() { durable_fs::remove_file(&self.path) } else { Ok(()) }
        })
    }

    fn write(&self, state: &mut State) -> Result<(), FsError> {
        durable_fs::write_secret(&self.path, &self.text)?;
        *state = State::Posted(durable_fs::identity_at(&self.path).ok().flatten(), false);
        Ok(())
    }

    /// Whether what lies there is this service's.
    fn is_there(&self) -> bool {
        let mut text = Vec::new();
        let file = durable_fs::open_source(&self.path); // what is there may be a stranger's
        let read = file.and_then(|file| file.take(ADDRESS_BYTES_MAX).read_to_end(&mut text));
        read.is_ok() && text == self.text
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posted(folder: &Path, port: u16) -> AddressFile {
        let address = Address { pid: 1, port, token: "secret".to_owned() };
        let file = AddressFile::new(folder, &address);
        file.post().expect("writes");
        file
    }

    fn text(folder: &Path) -> Option<Vec<u8>> {
        std::fs::read(folder.join(ADDRESS_FILE)).ok()
    }

    #[test]
    fn a_file_that_was_removed_or_replaced_is_written_anew_as_long_as_the_folder_is_held() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(ADDRESS_FILE);
        let file = posted(folder.path(), 7);
        let written = text(folder.path()).expect("is there");
        durable_fs::remove_file(&path).expect("somebody removes it");
        file.keep(|| false);
        assert_eq!(text(folder.path()), None, "the folder is another one");
        file.keep(|| true);
        assert_eq!(text(folder.path()).as_ref(), Some(&written));
        std::fs::write(&path, "{}").expect("somebody puts an old one there");
        file.keep(|| true);
        assert_eq!(text(folder.path()), Some(written));
        file.keep(|| panic!("it lies there, and nothing else is asked"));
        file.withdraw().expect("removes");
        file.keep(|| true);
        assert_eq!(text(folder.path()), None, "the service has ended");
    }

    #[test]
    fn what_another_service_has_written_stays_when_this_one_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = posted(folder.path(), 7);
        let _second = posted(folder.path(), 8);
        let written = text(folder.path());
        first.keep(|| false);
        first.withdraw().expect("leaves it");
        assert_eq!(text(folder.path()), written);
        assert!(written.is_some());
    }
}
