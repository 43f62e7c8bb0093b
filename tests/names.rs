//! Promise: whatever a name stands for, and whatever it is made of, a file is taken once and what is no file is left alone; `explain` says why.
#![cfg(unix)]

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use support::World;

#[test]
fn a_file_with_two_watched_names_is_taken_once_one_of_them_is_left() {
    let world = World::new("");
    world.write("a", "one\n");
    world.sh("ln a in/first.txt; ln a in/second.txt; rm a");
    for _ in 0..2 {
        let mut service = world.start();
        for (name, other) in [("first", "second"), ("second", "first")] {
            service.wait_until("it waits for its other name to go", || {
                let said = world.json(&["explain", &format!("in/{name}.txt"), "--json"])["waits"].to_string();
                (said.contains("another name") && said.contains(other)).then_some(())
            });
        }
        service.stop();
    }
    let mut service = world.start();
    world.sh("rm in/first.txt");
    service.wait_for(&world, "archive/second.txt");
    // A second name that no rule takes holds up nothing.
    world.write("elsewhere", "two\n");
    world.sh("ln elsewhere in/third.txt");
    service.wait_for(&world, "archive/third.txt");
    service.stop();
    assert_eq!(world.files("out"), ["second.main", "third.main"]);
}

#[test]
fn what_is_no_file_is_left_alone_and_explain_says_what_it_is() {
    let world = World::new("");
    world.write("real", "no\n");
    world.sh("cd in; ln -s ../real link.txt; ln -s gone dangling.txt; mkdir folder.txt; mkfifo pipe.txt");
    world.sh("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"in/socket.txt\")'");
    let mut service = world.start();
    world.move_in("in/yes.txt", "yes\n");
    service.wait_for(&world, "archive/yes.txt");
    for name in ["link", "dangling", "folder", "pipe", "socket"] {
        let file = format!("in/{name}.txt");
        let said = world.landfall(&["explain", &file]).done().stdout;
        assert!(said.contains("only regular files are taken") && !said.contains("takes it"), "{said}");
        assert_eq!(world.json(&["explain", &file, "--json"])["rule"], serde_json::Value::Null);
        assert!(world.has(&file));
    }
    service.stop();
    assert_eq!(world.files("out"), ["yes.main"]);
}

/// Tells whose it is.
fn content(name: &[u8]) -> String {
    format!("{}\n", name.escape_ascii())
}

/// Names of every kind, through claim, output, archive and what the commands print.
#[test]
fn whatever_a_name_is_made_of_it_is_kept_byte_for_byte_and_shown_escaped() {
    let world = World::new("");
    let names: [&[u8]; 12] = [
        b"plain",
        b" blanks at both ends ",
        b"-rf",
        b"--help",
        b"new\nline",
        b"tab\tbell\x07",
        b"esc\x1b[31mred",
        b"not utf-8 \xff\xfe",
        "nfc \u{e9}".as_bytes(),
        "nfd e\u{301}".as_bytes(),
        "rtl \u{202e}gnp".as_bytes(),
        b"quote'\"$(x)`\\",
    ];
    for name in names {
        world.write(std::path::Path::new("in").join(OsStr::from_bytes(name)), content(name));
    }
    let mut service = world.start();
    let count = |folder: &str| std::fs::read_dir(world.path(folder)).map_or(0, Iterator::count);
    service.wait_until("all are archived", || (count("archive") == names.len()).then_some(()));
    for name in names {
        let archived = world.path("archive").join(OsStr::from_bytes(name));
        assert_eq!(std::fs::read_to_string(&archived).expect("under its own name"), content(name));
        let arguments: [&OsStr; 3] = [OsStr::new("explain"), OsStr::new("--"), archived.as_os_str()];
        let said = world.landfall(&arguments).done().stdout;
        assert!(said.contains("retired source"), "{said}");
    }
    for arguments in [&["jobs"][..], &["jobs", "--json"]] {
        let said = world.landfall(arguments).done().stdout;
        let is_harmless = |it: char| it == '\n' || !(it.is_control() || it == '\u{202e}');
        assert!(said.chars().all(is_harmless), "{said:?}");
    }
    service.stop();
    assert_eq!(count("out"), names.len());
    assert_eq!(world.jobs().len(), names.len());
}
