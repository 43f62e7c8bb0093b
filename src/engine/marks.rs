//! The store's mark in a claim folder: which store claims here, and how often it was started.
//!
//! A service leaves it before it claims anything in that folder; [`super::restored`] says what a later mark than the store's own means.

use std::io::{self, Read as _};
use std::path::Path;

use super::trouble::Trouble;
use crate::durable_fs;
use crate::model::fault::FaultKind;
use crate::model::os_text::OsText;
use crate::store::Mark;

/// In a claim folder: which store claims here, and how often it was started.
const MARK_FILE: &str = "landfall.store";

/// A mark is shorter.
const MARK_BYTES_MAX: u64 = 4096;

/// Leaves the mark in a claim folder, durably, if another one is there. One that cannot be read is not written over: it may say that a
/// backup was restored.
pub(super) fn leave_mark(folder: &Path, mark: &Mark) -> Result<(), Trouble> {
    let found = read_mark(folder).map_err(|error| {
        let path = OsText::from(folder.join(MARK_FILE));
        let message = format!("the store's mark {path} cannot be read: {error}");
        let hint = "mend it, or remove it if no older copy of the data folder was restored; files of this folder wait until then";
        Trouble::new(FaultKind::Storage, message, Some(hint))
    })?;
    if found.as_ref() == Some(mark) {
        return Ok(());
    }
    let json =
        serde_json::to_vec(mark).map_err(|error| Trouble::new(FaultKind::Bug, error.to_string(), None))?;
    durable_fs::write_file(&folder.join(MARK_FILE), &json, true, 0o600)?;
    Ok(())
}

/// None: there is none.
fn read_mark(folder: &Path) -> io::Result<Option<Mark>> {
    let mut text = Vec::new();
    match durable_fs::open_own(&folder.join(MARK_FILE)) {
        Ok(file) => file.take(MARK_BYTES_MAX).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(serde_json::from_slice(&text)?))
}

/// As [`read_mark`]; one that somebody put there to be unreadable does not stop the start. Nothing is claimed there before it is mended.
pub(super) fn seen_mark(folder: &Path) -> Option<Mark> {
    read_mark(folder).unwrap_or_else(|error| {
        let folder = OsText::from(folder);
        tracing::warn!(%folder, %error, "the store's mark in this claim folder cannot be read: whether a backup was restored is not seen by it");
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_cannot_be_read_is_no_missing_one_and_is_not_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let mark = Mark { store: "a store".to_owned(), starts: 7 };
        assert_eq!(read_mark(folder.path()).expect("nothing is there"), None);
        leave_mark(folder.path(), &mark).expect("it is written");
        assert_eq!(read_mark(folder.path()).expect("it is there"), Some(mark.clone()));
        let path = folder.path().join(MARK_FILE);
        for text in ["", "{\"store\":", "\0\0\0\0"] {
            std::fs::write(&path, text).expect("writes");
            let refused = leave_mark(folder.path(), &mark).expect_err("whose it is cannot be told");
            assert!(refused.error.message.contains(MARK_FILE), "{refused:?}");
            assert_eq!(std::fs::read_to_string(&path).expect("reads"), text);
        }
    }
}
