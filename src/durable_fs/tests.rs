#![allow(clippy::disallowed_methods, reason = "tests play other processes and crashes")]

use std::fs::{self, File};
#[cfg(unix)]
use std::io;
use std::path::{Path, PathBuf};

use super::names::hidden_sibling;
use super::rename::PartialName;
use super::*;
use crate::model::fault::Fault as _;
#[cfg(unix)]
use crate::model::fault::WaitsFor;

fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).expect("writes");
    path
}

fn content(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .expect("lists")
        .map(|e| e.expect("entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_rename_never_replaces_and_tells_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (file(folder.path(), "a", "A"), file(folder.path(), "b", "B"));
    assert_eq!(rename_no_replace(&a, &b).expect("asks"), Renamed::NameTaken);
    assert_eq!((content(&a), content(&b)), (Some("A".into()), Some("B".into())));
    fs::remove_file(&b).expect("removes");
    assert_eq!(rename_no_replace(&a, &b).expect("renames"), Renamed::Done);
    assert_eq!(rename_no_replace(&a, &b).expect("asks"), Renamed::Missing);
    assert_eq!(rename_replace(&a, &b).expect("asks"), Renamed::Missing);
    let nowhere = folder.path().join("none/b");
    assert!(rename_no_replace(&b, &nowhere).is_err(), "a missing folder is an error, not a missing file");
}

/// As where a link is set to another folder, or one is moved away and another stands in for it, at any moment.
#[cfg(target_os = "linux")]
#[test]
fn a_rename_within_a_folder_never_leaves_it() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let world = tempfile::tempdir().expect("a folder");
    let (home, other) = (world.path().join("home"), world.path().join("other"));
    fs::create_dir(&home).expect("makes");
    fs::create_dir(&other).expect("makes");
    file(&home, "a", "A");
    let (here, is_done) = (File::open(&home).expect("opens"), AtomicBool::new(false));
    let is_here = |name: &str| rustix::fs::statat(&here, name, rustix::fs::AtFlags::empty()).is_ok();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_done.load(Ordering::Relaxed) {
                let (cwd, exchange) = (rustix::fs::CWD, rustix::fs::RenameFlags::EXCHANGE);
                rustix::fs::renameat_with(cwd, &home, cwd, &other, exchange).expect("exchanges");
            }
        });
        let mut has_stayed = true;
        for _ in 0..10_000 {
            for (from, to) in [("a", "b"), ("b", "a")] {
                rename_no_replace(&home.join(from), &home.join(to)).ok(); // it may come back behind the refusal
                has_stayed &= is_here("a") || is_here("b");
            }
        }
        is_done.store(true, Ordering::Relaxed);
        assert!(has_stayed, "it lies in the other folder");
    });
}

/// Where the system has no rename that never replaces, as over NFS.
#[cfg(unix)]
#[test]
fn a_newer_file_that_comes_to_the_old_name_while_one_is_taken_is_never_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    for round in 0..500 {
        let (from, new, taken) =
            (file(folder.path(), "pay", "old"), file(folder.path(), "new", "new"), path("taken"));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..round % 50).for_each(|_| std::thread::yield_now());
                fs::rename(&new, &from).expect("its sender renames it");
            });
            assert_eq!(unix_rename::take_by_plain_rename(&from, &taken).expect("takes"), Renamed::Done);
        });
        let left = content(&from).or_else(|| content(&taken)).expect("one of them");
        assert_eq!(left, "new", "round {round}");
        fs::remove_file(&taken).expect("removes");
        fs::remove_file(&from).ok();
    }
    let (a, b) = (file(folder.path(), "a", "A"), file(folder.path(), "b", "B"));
    assert_eq!(unix_rename::take_by_plain_rename(&a, &b).expect("asks"), Renamed::NameTaken);
    assert_eq!(unix_rename::take_by_plain_rename(&path("gone"), &path("c")).expect("asks"), Renamed::Missing);
}

#[cfg(unix)]
#[test]
fn a_crash_between_link_and_unlink_is_finished() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (file(folder.path(), "a", "A"), folder.path().join("b"));
    fs::hard_link(&a, &b).expect("links");
    assert_eq!(rename_no_replace(&a, &b).expect("finishes"), Renamed::Done);
    assert_eq!(names(folder.path()), ["b"]);
    assert_eq!(rename_no_replace(&b, &b).expect("is itself"), Renamed::Done);
    fs::hard_link(&b, folder.path().join("c")).expect("links");
    assert_eq!(rename_no_replace(&b, &folder.path().join("./b")).expect("is itself"), Renamed::Done);
    assert_eq!(names(folder.path()), ["b", "c"]);
}

#[cfg(unix)]
#[test]
fn link_and_unlink_stand_in_for_the_rename() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (file(folder.path(), "a", "A"), file(folder.path(), "b", "B"));
    assert_eq!(unix_rename::link_then_unlink(&a, &b).expect("asks"), Renamed::NameTaken);
    let c = folder.path().join("c");
    assert_eq!(unix_rename::link_then_unlink(&a, &c).expect("renames"), Renamed::Done);
    assert_eq!(unix_rename::link_then_unlink(&a, &c).expect("asks"), Renamed::Missing);
    assert_eq!(names(folder.path()), ["b", "c"]);
}

/// Where the two names of a file have two numbers: a copy stands for the link that a crash left.
#[cfg(unix)]
#[test]
fn a_link_that_a_crash_left_is_known_by_its_note_and_content_where_it_has_another_number() {
    let folder = tempfile::tempdir().expect("a folder");
    let take = |from: &Path, to: &Path| rename_no_replace(from, to).expect("asks");
    let (a, b) = (file(folder.path(), "a", "same"), file(folder.path(), "b", "same"));
    let note = unix_rename::note_of(unix_rename::Kind::Link, &a, &b);
    assert_eq!(take(&a, &b), Renamed::NameTaken, "without a note it is another's");
    std::fs::write(&b, "else").expect("writes");
    std::fs::write(&note, "").expect("writes");
    assert_eq!(take(&a, &b), Renamed::NameTaken);
    std::fs::write(&b, "same").expect("writes");
    std::fs::write(&note, "").expect("writes");
    assert_eq!(take(&a, &b), Renamed::Done);
    assert_eq!(take(&a, &b), Renamed::Missing);
    assert_eq!(unix_rename::link_with_note(&b, &a).expect("asks"), Renamed::Done);
    assert_eq!(names(folder.path()), ["a"], "no note stays");
    // The crash came behind the unlink, or what has two names is moved by a copy then.
    std::fs::write(unix_rename::note_of(unix_rename::Kind::Link, &b, &a), "").expect("writes");
    assert_eq!(unix_rename::link_with_note(&b, &a).expect("asks"), Renamed::Missing);
    assert_eq!(names(folder.path()), ["a"]);
    fs::copy(&a, &b).expect("copies");
    std::fs::write(unix_rename::note_of(unix_rename::Kind::Link, &a, &b), "").expect("writes");
    let modified = fs::metadata(&a).and_then(|found| found.modified()).expect("is told");
    File::options().write(true).open(&b).and_then(|file| file.set_modified(modified)).expect("sets it");
    assert_eq!(moving::copy_over(&a, &b, false).expect("moves"), Renamed::Done);
    assert_eq!(names(folder.path()), ["b"]);
    fs::rename(&b, &a).expect("renames");
    std::fs::write(&b, "").expect("writes");
    std::fs::write(&note, "").expect("writes");
    assert_eq!(take(&a, &b), Renamed::NameTaken, "an empty file is no link of one that is not");
    std::fs::write(unix_rename::note_of(unix_rename::Kind::Placeholder, &a, &b), "").expect("writes");
    assert_eq!(take(&a, &b), Renamed::Done, "its own placeholder");
    assert_eq!((names(folder.path()), content(&b)), (vec!["b".into()], Some("same".into())));
}

#[cfg(unix)]
#[test]
fn without_hard_links_a_name_is_taken_exclusively() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (file(folder.path(), "a", "A"), file(folder.path(), "b", ""));
    assert_eq!(unix_rename::rename_over_placeholder(&a, &b).expect("asks"), Renamed::NameTaken);
    let c = folder.path().join("c");
    assert_eq!(unix_rename::rename_over_placeholder(&a, &c).expect("renames"), Renamed::Done);
    assert_eq!(unix_rename::rename_over_placeholder(&a, &c).expect("asks"), Renamed::Missing);
    assert_eq!((names(folder.path()), content(&c)), (vec!["b".into(), "c".into()], Some("A".into())));
}

#[cfg(unix)]
#[test]
fn a_crash_before_the_rename_leaves_no_empty_file_under_the_new_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (file(folder.path(), "a", "A"), folder.path().join("b"));
    for placeholder in [false, true] {
        fs::write(unix_rename::note_of(unix_rename::Kind::Placeholder, &a, &b), "")
            .expect("the crash left a note");
        if placeholder {
            fs::write(&b, "").expect("and an empty file");
        }
        assert_eq!(unix_rename::rename_over_placeholder(&a, &b).expect("goes on"), Renamed::Done);
        assert_eq!((names(folder.path()), content(&b)), (vec!["b".into()], Some("A".into())));
        fs::rename(&b, &a).expect("once more");
    }
    // After the rename: the note goes with the next call.
    fs::write(unix_rename::note_of(unix_rename::Kind::Placeholder, &b, &a), "")
        .expect("the crash left a note");
    assert_eq!(unix_rename::rename_over_placeholder(&b, &a).expect("asks"), Renamed::Missing);
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("marker");
    assert_eq!(write_file(&path, b"1", false, 0o640).expect("writes"), Renamed::Done);
    assert_eq!(write_file(&path, b"2", false, 0o640).expect("asks"), Renamed::NameTaken);
    assert_eq!(content(&path), Some("1".into()));
    assert_eq!(write_file(&path, b"3", true, 0o640).expect("replaces"), Renamed::Done);
    assert_eq!((content(&path), names(folder.path())), (Some("3".into()), vec!["marker".to_owned()]));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o640);
    }
}

#[test]
fn folders_are_made_once_and_a_file_in_the_way_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let deep = folder.path().join("a/b/c");
    make_folder(&deep, OpenTo::Owner).expect("makes");
    make_folder(&deep, OpenTo::Owner).expect("is there");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&deep).expect("there").permissions().mode() & 0o777, 0o700);
    }
    let file = file(folder.path(), "file", "");
    assert!(make_folder(&file.join("x"), OpenTo::Group).is_err());
    remove_file(&file).expect("removes");
    remove_file(&file).expect("not finding it is fine");
}

#[test]
fn an_identity_outlives_a_rename_but_not_a_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (file(folder.path(), "a", "A"), folder.path().join("b"));
    let before = identity_at(&a).expect("asks").expect("there");
    assert_eq!(identity(&File::open(&a).expect("opens")).expect("asks"), before);
    assert_eq!(rename_no_replace(&a, &b).expect("renames"), Renamed::Done);
    assert!(identity_at(&b).expect("asks").expect("there").same_content(&before));
    assert_eq!(identity_at(&a).expect("asks"), None);
    assert_eq!(identity_at(folder.path()).expect("asks"), None, "a folder is no file");
    fs::write(&b, "longer").expect("writes");
    assert!(!identity_at(&b).expect("asks").expect("there").same_content(&before));
}

/// Goal: a move over file systems loses and doubles nothing, wherever it was interrupted.
/// Method: the copying way within one folder, from each state that a crash can leave.
#[test]
fn a_copying_move_can_be_repeated_from_every_crash() {
    for crash in ["none", "while copying", "before the unlink", "after the unlink"] {
        let folder = tempfile::tempdir().expect("a folder");
        let (from, to) = (file(folder.path(), "from", "content"), folder.path().join("to"));
        let modified = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        File::options().write(true).open(&from).and_then(|f| f.set_modified(modified)).expect("sets mtime");
        match crash {
            "while copying" => {
                fs::write(hidden_sibling(&to, &from, "moving.partial"), "cont").expect("writes");
            }
            "before the unlink" => {
                fs::copy(&from, &to).expect("copies");
                File::options()
                    .write(true)
                    .open(&to)
                    .and_then(|f| f.set_modified(modified))
                    .expect("sets mtime");
            }
            "after the unlink" => fs::rename(&from, &to).expect("renames"),
            _ => {}
        }
        let moved = if crash == "after the unlink" {
            move_file(&from, &to)
        } else {
            moving::copy_over(&from, &to, false)
        };
        let expected = if crash == "after the unlink" { Renamed::Missing } else { Renamed::Done };
        assert_eq!(moved.expect(crash), expected, "{crash}");
        assert_eq!(
            (names(folder.path()), content(&to)),
            (vec!["to".to_owned()], Some("content".into())),
            "{crash}"
        );
        assert_eq!(fs::metadata(&to).and_then(|m| m.modified()).expect("has mtime"), modified, "{crash}");
    }
}

#[test]
fn a_copying_move_never_replaces_another_file_even_of_the_same_length() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (file(folder.path(), "from", "one"), file(folder.path(), "to", "two"));
    assert_eq!(moving::copy_over(&from, &to, false).expect("asks"), Renamed::NameTaken);
    assert_eq!((content(&from), content(&to)), (Some("one".into()), Some("two".into())));
    assert_eq!(move_file(&from, &to).expect("asks"), Renamed::NameTaken);
}

#[cfg(target_os = "linux")]
#[test]
fn a_move_over_file_systems_keeps_content_and_leaves_one_file() {
    let here = tempfile::tempdir().expect("a folder");
    let Ok(there) = tempfile::tempdir_in("/dev/shm") else {
        eprintln!("skipped: /dev/shm is not there");
        return;
    };
    let device = |folder: &Path| unix::device_of(folder).expect("asks");
    if device(here.path()) == device(there.path()) {
        eprintln!("skipped: /dev/shm is on the file system of the temporary folder");
        return;
    }
    let (from, to) = (file(here.path(), "from", "content"), there.path().join("to"));
    assert_eq!(move_file(&from, &to).expect("moves"), Renamed::Done);
    assert_eq!((names(here.path()), names(there.path())), (vec![], vec!["to".to_owned()]));
    let second = file(here.path(), "from", "another");
    assert_eq!(move_file(&second, &to).expect("asks"), Renamed::NameTaken);
    assert_eq!((content(&second), content(&to)), (Some("another".into()), Some("content".into())));
}

#[test]
fn a_folder_is_told_from_another_of_its_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, away) = (folder.path().join("a"), folder.path().join("b"));
    assert_eq!(folder_identity(&path).expect("asks"), None);
    fs::create_dir(&path).expect("makes");
    let first = folder_identity(&path).expect("asks").expect("there");
    file(&path, "content", "x");
    fs::rename(&path, &away).expect("renames");
    assert!(folder_identity(&away).expect("asks").is_some_and(|found| found.is_same(&first)));
    fs::create_dir(&path).expect("makes another");
    assert!(folder_identity(&path).expect("asks").is_some_and(|found| !found.is_same(&first)));
    assert_eq!(folder_identity(&file(folder.path(), "c", "")).expect("asks"), None);
}

#[test]
fn what_a_killed_write_left_is_replaced_by_the_next_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, other) = (folder.path().join("a"), folder.path().join("b"));
    let left = PartialName::of(&path).0.clone();
    fs::write(&left, "half").expect("writes");
    write_file(&other, b"B", true, 0o600).expect("writes another file first");
    write_file(&path, b"A", true, 0o600).expect("writes");
    assert_eq!(names(folder.path()), ["a", "b"]);
}

/// An antivirus, or a sender that is not done, has the file open and lets nobody rename or remove it.
#[cfg(windows)]
#[test]
fn a_file_that_is_open_elsewhere_is_renamed_when_it_is_let_go() {
    use std::os::windows::fs::OpenOptionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let (a, b) = (file(folder.path(), "a", "A"), folder.path().join("b"));
    let hold = || {
        std::fs::OpenOptions::new()
            .read(true)
            .share_mode(1)
            .open(&a)
            .expect("held without sharing its deletion")
    };
    let held = hold();
    assert!(rename_no_replace(&a, &b).is_err(), "an error in the end: the engine tries again with back-off");
    assert_eq!(names(folder.path()), ["a"]);
    drop(held);
    let held = hold();
    let letting_go = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        drop(held);
    });
    assert_eq!(rename_no_replace(&a, &b).expect("waits for it"), Renamed::Done);
    letting_go.join().expect("ends");
    assert_eq!(names(folder.path()), ["b"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_a_link_or_a_folder_in_the_place_of_a_source_is_refused_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    rustix::fs::mkfifoat(rustix::fs::CWD, at("pipe"), rustix::fs::Mode::RUSR).expect("makes");
    fs::write(at("file"), "x").expect("writes");
    std::os::unix::fs::symlink(at("file"), at("link")).expect("links");
    fs::create_dir(at("folder")).expect("makes");
    for name in ["pipe", "link", "folder"] {
        open_source(&at(name)).expect_err(name);
    }
    open_source(&at("file")).expect("it is a file");
}

/// Each error in the operator's words: none of these is a broken disk.
#[cfg(unix)]
#[test]
fn each_error_of_the_system_says_what_it_means_to_the_operator() {
    use WaitsFor::{Config, Disk, Mount, Retry};
    let table = [
        (libc::EMFILE, Retry, "open files"),
        (libc::ENFILE, Retry, "open files"),
        (libc::ENOSPC, Disk, "make room"),
        (libc::EDQUOT, Disk, "make room"),
        (libc::EROFS, Disk, "writable"),
        (libc::EIO, Disk, "look at the disk"),
        (libc::ESTALE, Mount, "mount"),
        (libc::ENOTCONN, Mount, "mount"),
        (libc::EHOSTUNREACH, Mount, "mount"),
        (libc::ETIMEDOUT, Mount, "mount"),
        (libc::EACCES, Config, "let the service's user"),
        (libc::EPERM, Config, "let the service's user"),
        (libc::ENAMETOOLONG, Config, "shorten the name"),
        (libc::ENOTDIR, Config, "file away"),
        (libc::EISDIR, Config, "folder away"),
        (libc::EFBIG, Disk, "of this size"),
        (libc::ENOMEM, Retry, "memory"),
        (libc::EBUSY, Retry, "somebody else holds"),
        (libc::EAGAIN, Retry, "somebody else holds"),
        (libc::ETXTBSY, Retry, "somebody else holds"),
        (libc::EINTR, Retry, "by itself"),
        (libc::ENETDOWN, Mount, "mount"),
        (libc::ENETUNREACH, Mount, "mount"),
        (libc::ELOOP, Config, "symbolic link"),
    ];
    for (code, waits, hint) in table {
        let error = io::Error::from_raw_os_error(code);
        assert_eq!(waits_for(&error), waits, "{error}");
        assert!(hint_of(&error).contains(hint), "{error}: {}", hint_of(&error));
    }
}

#[cfg(unix)]
#[test]
fn a_path_without_room_is_told_from_a_name_without_room() {
    let error = io::Error::from_raw_os_error(libc::ENAMETOOLONG);
    let deep = PathBuf::from("/in").join(vec!["f".repeat(200); 20].join("/"));
    for (path, words) in [(deep.as_path(), "the whole path"), (Path::new("/in/name"), "shorten the name")] {
        let hint = hint_at(path, Need::Read, &error);
        assert!(hint.contains(words), "{hint}");
    }
}

#[test]
fn a_rename_that_fails_names_both_ends_and_the_folder_that_is_in_the_way() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = file(folder.path(), "a", "A");
    let nowhere = folder.path().join("none/b");
    for failed in [rename_no_replace(&a, &nowhere), rename_replace(&a, &nowhere)] {
        let error = failed.expect_err("there is no such folder");
        assert_eq!(error.to_string(), format!("cannot rename {} to {}", a.display(), nowhere.display()));
        let hint = error.hint().expect("there is one");
        assert!(hint.contains(&*folder.path().join("none").display().to_string()), "{hint}");
    }
}
