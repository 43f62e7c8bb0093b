//! A name that nothing has yet, in a folder that a source goes to.

use std::path::{Path, PathBuf};

use super::claim_names::{FILE_NAME_MAX, reason_of};
use super::trouble::Trouble;
use crate::durable_fs;
use crate::model::fault::FaultKind;
use crate::model::first_free::first_free;
use crate::model::os_text::OsText;

/// A name in `folder` that nothing has yet: `pay.csv.gz`, `pay.csv.gz-1` … One that leaves no room for `room` bytes more is shortened.
/// With room for a reason: not a name whose reason would replace a source that is called like it.
pub(super) fn free_name(folder: &Path, source: &Path, room: usize) -> Result<PathBuf, Trouble> {
    let is_taken = |number| {
        let path = numbered(folder, source, number, room);
        match durable_fs::kind_at(&path) {
            Ok(None) => Ok(room > 0 && has_reason(&reason_of(&path))),
            Ok(Some(_)) => Ok(true),
            Err(error) => {
                let message = format!("cannot look at {}: {error}", OsText::from(path));
                let hint = "make the folder accessible to the service's user; the job goes on by itself";
                Err(Trouble::new(FaultKind::Storage, message, Some(hint)))
            }
        }
    };
    let number = first_free(0, u64::MAX, is_taken)?.unwrap_or(0);
    Ok(numbered(folder, source, number, room))
}

pub(super) fn numbered(folder: &Path, source: &Path, number: u64, room: usize) -> PathBuf {
    let name = source.file_name().unwrap_or(source.as_os_str());
    let suffix = if number > 0 { format!("-{number}") } else { String::new() };
    let bytes_max = FILE_NAME_MAX.saturating_sub(suffix.len() + room);
    let mut fitting = OsText::from(name).shortened(bytes_max).as_os_str().to_owned();
    fitting.push(suffix);
    folder.join(fitting)
}

/// Whether a source lies there that is called like a reason: it has one of its own.
fn has_reason(path: &Path) -> bool {
    durable_fs::kind_at(path).is_ok_and(|found| found.is_some())
        && durable_fs::kind_at(&reason_of(path)).is_ok_and(|found| found.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder_with(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for name in names {
            std::fs::write(folder.path().join(name), "1\n").expect("writes");
        }
        folder
    }

    fn name_in(folder: &Path, source: &str, room: usize) -> String {
        let path = free_name(folder, Path::new(source), room).expect("can be looked at");
        path.file_name().expect("has one").to_string_lossy().into_owned()
    }

    #[test]
    fn a_name_that_is_taken_gets_the_first_number_that_is_free() {
        let folder = folder_with(&["pay.csv", "pay.csv-1", "pay.csv-3"]);
        assert_eq!(name_in(folder.path(), "in/pay.csv", 0), "pay.csv-2");
        assert_eq!(name_in(folder.path(), "in/new.csv", 0), "new.csv");
    }

    #[test]
    fn the_longest_name_is_shortened_as_far_as_its_number_and_its_reason_need() {
        let longest = "n".repeat(FILE_NAME_MAX);
        let folder = folder_with(&[&longest]);
        assert_eq!(name_in(folder.path(), &longest, 0).len(), FILE_NAME_MAX);
        let with_room = name_in(folder.path(), &longest, 11);
        assert!(with_room.len() + 11 <= FILE_NAME_MAX, "{}", with_room.len());
    }

    /// Goal: the reason of one source never replaces another source that is called like it.
    #[test]
    fn no_source_gets_a_name_whose_reason_is_another_source() {
        let folder = folder_with(&["pay.error.json", "pay.error.json.error.json"]);
        assert_eq!(name_in(folder.path(), "in/pay", 11), "pay-1");
        assert_eq!(name_in(folder.path(), "in/pay", 0), "pay", "where no reason comes beside it");
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_cannot_be_looked_at_gives_no_name() {
        let folder = folder_with(&[]);
        let trouble = free_name(&folder.path().join("n".repeat(300)), Path::new("in/pay"), 0);
        assert_eq!(trouble.expect_err("no file system has such a name").error.kind, FaultKind::Storage);
    }
}
