//! What Windows does otherwise; under Wine, too.

use std::fs;
use std::io;
use std::os::windows::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use windows_sys::Win32::Foundation::ERROR_SHARING_VIOLATION;

use super::windows::not_gone;
use super::*;
use crate::model::fault::WaitsFor;

fn error(code: u32) -> io::Error {
    io::Error::from_raw_os_error(code.cast_signed())
}

#[test]
fn a_file_that_is_held_is_tried_again() {
    assert_eq!(waits_for(&error(ERROR_SHARING_VIOLATION)), WaitsFor::Retry);
    assert!(hint_of(&error(ERROR_SHARING_VIOLATION)).contains("somebody else holds"));
}

/// By its codes of the system: the standard library takes some of them for a file that is not there.
#[test]
fn a_share_or_a_drive_that_is_away_is_waited_for() {
    for code in [15, 51, 53, 55, 57, 59, 64, 65, 67, 121, 240, 1222, 1231, 1232, 1236] {
        assert_eq!(waits_for(&error(code)), WaitsFor::Mount, "{code}");
        let told = not_gone(error(code));
        assert_eq!(told.kind(), io::ErrorKind::HostUnreachable, "it is no file that is not there: {code}");
        assert_eq!(waits_for(&told), WaitsFor::Mount, "{code}");
    }
    for code in [2, 3] {
        assert_eq!(not_gone(error(code)).kind(), io::ErrorKind::NotFound, "{code}");
    }
}

/// Of a real file, which another program has open without sharing.
#[test]
fn a_source_that_another_program_has_for_itself_is_no_broken_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("a");
    fs::write(&path, "A").expect("writes");
    let held = fs::OpenOptions::new().read(true).share_mode(0).open(&path).expect("held");
    let refused = open_source(&path).expect_err("held");
    assert_eq!(waits_for(&refused), WaitsFor::Retry, "{refused:?}");
    drop(held);
    open_source(&path).expect("let go");
}

/// More than 260 characters, in folders of their own.
fn long(folder: &Path) -> PathBuf {
    let path = folder.join("x".repeat(100)).join("y".repeat(100)).join("z".repeat(100));
    assert!(path.as_os_str().len() > 300);
    path
}

#[test]
fn paths_longer_than_260_characters_are_made_written_renamed_asked_and_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let long = long(folder.path());
    make_folder(&long, OpenTo::Owner).expect("makes");
    let [a, b, c] = ["a.csv", "b.csv", "c.csv"].map(|name| long.join(name));
    write_file(&a, b"A", false, 0o600).expect("writes");
    write_secret(&c, b"C").expect("writes and closes to others");
    assert_eq!(rename_no_replace(&a, &b).expect("renames"), Renamed::Done);
    assert_eq!(rename_no_replace(&b, &c).expect("asks"), Renamed::NameTaken);
    assert_eq!(rename_replace(&b, &c).expect("renames"), Renamed::Done);
    assert_eq!(fs::read(&c).expect("reads"), b"A");
    let file = open_source(&c).expect("opens");
    assert_eq!(identity(&file).expect("asks").size, 1);
    assert!(space_at(&long).is_ok());
    drop(file);
    remove_file(&c).expect("removes");
    assert_eq!(fs::read_dir(&long).expect("lists").count(), 0);
}

/// As the installer does; Wine makes something else of the list.
#[test]
fn a_folder_is_made_closed_to_others_than_the_service_once() {
    let folder = tempfile::tempdir().expect("a folder");
    for (account, writes) in [("SY", true), ("LS", false)] {
        let path = folder.path().join(account);
        make_closed_folder(&path, account, writes).expect("makes");
        fs::write(path.join("a"), "A").expect("an administrator may write");
        make_closed_folder(&path, account, writes).expect_err("it is there");
    }
    make_closed_folder(&folder.path().join("b"), "nonsense", true).expect_err("there is no such account");
}

#[test]
fn whose_something_is_and_who_may_write_it_is_a_text() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = access_of(folder.path()).expect("asks");
    assert!(list.starts_with("O:") && list.contains("D:"), "{list}");
    access_of(&folder.path().join("none")).expect_err("is not there");
    assert!(number_of_user().expect("asks").starts_with("S-1-5-"));
    assert_eq!(number_of_account(r"NT AUTHORITY\LocalService").expect("is known"), "S-1-5-19");
    number_of_account("nobody of this name").expect_err("is not known");
}

#[test]
fn a_share_is_no_drive_and_neither_is_a_disk_of_this_machine_a_mapped_one() {
    for path in [r"\\server\share\in", r"C:\in", r"\\?\C:\in", "in"] {
        assert!(!is_on_mapped_drive(Path::new(path)), "{path}");
    }
}
