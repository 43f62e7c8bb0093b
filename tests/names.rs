//! Promise: whatever a name stands for, and whatever it is made of, a file is taken once and what is no file is left alone; `explain` says why.
#![cfg(unix)]

mod support;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use support::World;
use support::random::Random;

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
fn a_second_name_that_is_made_as_soon_as_the_first_is_there_doubles_nothing() {
    const FILES: usize = 60;
    let world = World::new("ready = { trust_close = \"always\", stable_for = \"50ms\", linger = \"0s\" }");
    let mut service = world.start();
    service.wait_until_it_watches();
    for n in 0..FILES {
        world.move_in(&format!("in/a-{n}"), format!("{n}\n"));
        std::fs::hard_link(world.path(format!("in/a-{n}")), world.path(format!("in/b-{n}"))).unwrap_or(());
    }
    // Each is archived, or waits for one of its names to go.
    let twins = || world.files("in").into_iter().filter(|name| name.starts_with("b-")).collect::<Vec<_>>();
    service.wait_until("all are settled", || {
        (world.files("archive").len() + twins().len() == FILES).then_some(())
    });
    for twin in twins() {
        support::remove(&world.path("in").join(twin));
    }
    service.wait_until("all are archived", || (world.files("archive").len() == FILES).then_some(()));
    service.stop();
    let mut expected: Vec<_> = (0..FILES).map(|n| format!("a-{n}")).collect();
    expected.sort();
    assert_eq!(world.files("archive"), expected);
    assert_eq!(world.files("out").len(), FILES);
}

#[test]
fn what_is_no_file_is_left_alone_and_explain_says_what_it_is() {
    let world = World::new("");
    world.write("real", "no\n");
    world.sh("cd in; ln -s ../real link.txt; ln -s gone dangling.txt; mkdir folder.txt; mkfifo pipe.txt");
    world.sh("python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"in/socket.txt\")'");
    let mut names = vec!["link", "dangling", "folder", "pipe", "socket"];
    // The numbers of the null device, and of a loop device.
    for (name, kind) in [("character", "c 1 3"), ("block", "b 7 250")] {
        match world.sh(&format!("mknod in/{name}.txt {kind} 2>&1 || true")).as_str() {
            "" => names.push(name),
            why => eprintln!("skipped: a device file cannot be made here: {why}"),
        }
    }
    let mut service = world.start();
    world.move_in("in/yes.txt", "yes\n");
    service.wait_for(&world, "archive/yes.txt");
    for name in names {
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

/// What a name may be made of: plain, not UTF-8, controls, composed and decomposed, not seen, private use, patterns, templates, shells.
const PIECES: [&[u8]; 40] = [
    b"a",
    b"Z9",
    b"-",
    b"--",
    b" ",
    b".",
    b"..",
    b",",
    b"#",
    b"%41",
    b"\xff",
    b"\x80\xfe",
    b"\xc3",
    b"\xed\xa0\x80",
    b"\n",
    b"\r",
    b"\t",
    b"\x07",
    b"\x1b[2J",
    b"\x7f",
    b"\xc2\x85",
    "\u{e9}".as_bytes(),
    "e\u{301}".as_bytes(),
    "\u{202e}".as_bytes(),
    "\u{feff}".as_bytes(),
    "\u{e000}".as_bytes(),
    "\u{f8ff}".as_bytes(),
    "\u{f0000}".as_bytes(),
    "\u{10fffd}".as_bytes(),
    b"*",
    b"?",
    b"[a]",
    b"{x}",
    b"{stem}",
    b"{{",
    b"\\",
    b"\\x41",
    b"'\"",
    b"$(x)`",
    b"&|;<>",
];

/// One to 255 bytes; many are of 255.
fn any_name(random: &mut Random) -> Vec<u8> {
    let length = if random.once_in(4) { 255 } else { 1 + random.below(40) };
    let mut name = Vec::new();
    while (name.len() as u64) < length {
        name.extend_from_slice(random.one_of(&PIECES).expect("there are some"));
    }
    name.truncate(usize::try_from(length).expect("small"));
    name
}

/// What never counts: hidden, or as uploads are called while they run.
fn never_counts(name: &[u8]) -> bool {
    name.starts_with(b".") || name.ends_with(b"~")
}

/// The name of its output, as far as it is not cut: what is not shown as it is becomes `%HH`, and a backslash `_`.
fn output_of(name: &[u8]) -> Vec<u8> {
    let mut output = Vec::new();
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => output.push(b'_'),
                c if c.is_control() || c == '\u{202e}' || c == '\u{feff}' => {
                    let bytes = c.to_string().into_bytes();
                    output.extend(bytes.iter().flat_map(|byte| format!("%{byte:02x}").into_bytes()));
                }
                c => output.extend(c.to_string().bytes()),
            }
        }
        output.extend_from_slice(chunk.invalid());
    }
    output
}

/// The last name of a path that JSON tells under this key: as it is, or as bytes beside it.
fn name_in(told: &serde_json::Value, key: &str) -> Vec<u8> {
    let shown = told[key].as_str().unwrap_or_else(|| panic!("no {key}: {told}"));
    let bytes = told[format!("{key}_bytes")]
        .as_str()
        .map_or_else(|| shown.as_bytes().to_vec(), |text| STANDARD.decode(text).expect("is Base64"));
    std::path::Path::new(OsStr::from_bytes(&bytes)).file_name().expect("a name").as_bytes().to_vec()
}

#[test]
fn any_bytes_that_can_be_a_name_are_taken_once_published_archived_and_told_as_they_are() {
    let world = World::new(
        "output = { main = { path = \"out/{name}\" } }\nready = { linger = \"0s\", stable_for = \"100ms\" }",
    );
    let mut random = Random::seeded();
    let mut names = std::collections::BTreeMap::new();
    while names.len() < 60 {
        let name = any_name(&mut random);
        if name != b"." && name != b".." {
            names.insert(output_of(&name), name); // outputs that meet are another promise
        }
    }
    for name in names.values() {
        world.write(std::path::Path::new("in").join(OsStr::from_bytes(name)), content(name));
    }
    let taken = |name: &&Vec<u8>| !never_counts(name);
    let count = names.values().filter(taken).count();
    let mut service = world.start();
    let listed = |folder: &str| -> Vec<Vec<u8>> {
        let all = std::fs::read_dir(world.path(folder)).into_iter().flatten();
        all.map(|entry| entry.expect("can be listed").file_name().as_bytes().to_vec()).collect()
    };
    service.wait_until("all are archived", || (listed("archive").len() == count).then_some(()));
    let explain = |name: &[u8]| -> serde_json::Value {
        let file = world.path("in").join(OsStr::from_bytes(name));
        let arguments: [&OsStr; 4] =
            [OsStr::new("explain"), OsStr::new("--json"), OsStr::new("--"), file.as_os_str()];
        serde_json::from_str(&world.landfall(&arguments).done().stdout).expect("JSON")
    };
    let jobs = world.jobs();
    assert_eq!(jobs.len(), count, "each once");
    let sources: std::collections::BTreeSet<_> = jobs.iter().map(|job| name_in(job, "source")).collect();
    for (output, name) in &names {
        let shown = name.escape_ascii();
        if never_counts(name) {
            let left = world.path("in").join(OsStr::from_bytes(name));
            assert_eq!(std::fs::read_to_string(left).expect("it stays"), content(name), "{shown}");
            continue;
        }
        assert!(sources.contains(name), "{shown}");
        let archived = world.path("archive").join(OsStr::from_bytes(name));
        assert_eq!(std::fs::read_to_string(archived).expect("under its own name"), content(name), "{shown}");
        let job = jobs.iter().find(|job| name_in(job, "source") == *name).expect("one");
        assert_eq!(name_in(job, "retired_to"), *name, "{job:#}");
        let published = name_in(&job["outputs"][0], "path");
        let is_right = *output == published || output.len() > 255 && published.len() <= 255;
        assert!(is_right, "{} for {shown}", published.escape_ascii());
        let text = std::fs::read_to_string(world.path("out").join(OsStr::from_bytes(&published)));
        assert_eq!(text.expect("is there"), content(name), "{shown}");
    }
    // Each explanation is a process of its own.
    for _ in 0..8 {
        let all: Vec<_> = names.values().collect();
        let name = random.one_of(&all).expect("there are some");
        let said = explain(name);
        assert_eq!(name_in(&said, "path"), **name);
        assert_eq!(said["found_as"][0] == "source", !never_counts(name), "{said:#}");
        assert_eq!(said["rule"] == "payments", !never_counts(name), "{said:#}");
    }
    service.stop();
}
