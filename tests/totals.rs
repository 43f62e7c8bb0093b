//! Promise: a file whose sender said what is in it is published only if that is in it.
#![cfg(unix)]

mod support;

use serde_json::Value;
use support::World;

const TOTALS: &str = "ready = { totals = \"{name}.ctl\", stable_for = \"300ms\" }";

#[test]
fn a_file_waits_for_its_totals_which_are_retired_with_it() {
    let world = World::new(TOTALS);
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\ntwo\n");
    // Another one overtakes it.
    world.move_in("in/next.txt.ctl", "{\"records\": 1}");
    world.move_in("in/next.txt", "three\n");
    service.wait_for(&world, "archive/next.txt");
    assert_eq!(world.files("out"), ["next.main"]);
    let digest = world.sh("sha256sum in/pay.txt | cut -c1-64").trim().to_uppercase();
    world.move_in(
        "in/pay.txt.ctl",
        format!("{{\"records\": 2, \"bytes\": 8, \"sha256\": \"{digest}\", \"sender\": \"acme\"}}"),
    );
    service.wait_for(&world, "archive/pay.txt");
    service.wait_until("its totals are retired", || world.has("archive/pay.txt.ctl").then_some(()));
    service.stop();
    assert_eq!(world.files("out"), ["next.main", "pay.main"]);
    assert_eq!(world.files("archive"), ["next.txt", "next.txt.ctl", "pay.txt", "pay.txt.ctl"]);
    assert_eq!(world.files("in"), [""; 0]);
    assert_eq!(world.jobs().len(), 2, "totals are no candidates");
}

#[test]
fn totals_that_do_not_fit_quarantine_both_and_say_all_that_differs() {
    let world = World::new(TOTALS);
    let mut service = world.start();
    world.move_in(
        "in/pay.txt.ctl",
        format!("{{\"records\": 3, \"bytes\": 8, \"sha256\": \"{}\"}}", "0".repeat(64)),
    );
    world.move_in("in/pay.txt", "one\ntwo\n");
    service.wait_for(&world, "in/.landfall/quarantine/pay.txt.error.json");
    let reason: Value =
        serde_json::from_str(&world.text("in/.landfall/quarantine/pay.txt.error.json")).expect("JSON");
    let message = reason["error"]["message"].as_str().expect("text");
    for word in ["records: 3 announced, 2 found", "sha256: 0000"] {
        assert!(message.contains(word), "{message}");
    }
    assert!(!message.contains("bytes:"), "what fits is not named: {message}");
    assert_eq!(world.files("out"), [""; 0]);

    // Mended where they lie, both are taken again.
    world.write("in/.landfall/quarantine/pay.txt.ctl", "{\"records\": 2}");
    let job = world.job();
    world.landfall(&["retry", job["id"].as_str().expect("text")]).done();
    service.wait_for(&world, "archive/pay.txt");
    service.wait_until("its totals too", || world.has("archive/pay.txt.ctl").then_some(()));
    service.stop();
    assert_eq!(world.text("out/pay.main"), "one\ntwo\n");
    assert_eq!(world.files("in"), [""; 0]);
}

#[test]
fn totals_that_are_no_totals_quarantine_the_file_with_what_is_wrong() {
    let world = World::new(TOTALS);
    let mut service = world.start();
    world.move_in("in/pay.txt.ctl", "two records");
    world.move_in("in/pay.txt", "one\ntwo\n");
    service.wait_for(&world, "in/.landfall/quarantine/pay.txt.error.json");
    service.stop();
    let job = world.jobs().pop().expect("a job");
    assert!(
        job["error"]["message"].as_str().is_some_and(
            |text| text.contains("the totals pay.txt.ctl, which lie beside the file, are not JSON")
        ),
        "{job:#}"
    );
    assert!(job["error"]["hint"].as_str().is_some_and(|text| text.contains("records")), "{job:#}");
    assert_eq!(world.files("out"), [""; 0]);
}

#[test]
fn less_than_announced_is_given_back_and_taken_once_the_rest_came() {
    let world = World::new(TOTALS);
    let mut service = world.start();
    world.move_in("in/pay.txt.ctl", "{\"bytes\": 8, \"records\": 2}");
    world.move_in("in/pay.txt", "one\n");
    service.wait_for_log("given back");
    world.sh("printf 'two\n' >> in/pay.txt");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.text("out/pay.main"), "one\ntwo\n");
}

#[test]
fn bytes_and_digest_are_of_the_file_as_it_came_and_records_of_what_is_in_it() {
    let world = World::new(&format!("{TOTALS}\nrecords = {{ format = \"csv\", skip_lines = 1 }}"));
    world.sh(
        "printf 'made today\nid,name\n1,a\n2,b\n' | gzip > in/pay.csv.gz
         printf '{\"records\": 2, \"bytes\": %d, \"sha256\": \"%s\"}' $(stat -c %s in/pay.csv.gz) $(sha256sum in/pay.csv.gz | cut -c1-64) > in/pay.csv.gz.ctl",
    );
    world.ingest(&["in/pay.csv.gz"]).done();
    assert_eq!(world.completed()["records_in"], 2);
    assert_eq!(world.files("in"), ["pay.csv.gz", "pay.csv.gz.ctl"], "by hand both stay as they are");
}

#[test]
fn a_file_by_hand_needs_its_totals_too() {
    let world = World::new(TOTALS);
    world.write("in/pay.txt", "one\n");
    world.ingest(&["in/pay.txt"]).ends_with(1).says(&["pay.txt.ctl are not there", "hint"]);
    assert_eq!(world.jobs(), [Value::Null; 0]);
    world.write("in/pay.txt.ctl", "{\"records\": 1}");
    world.ingest_and_retire("in/pay.txt").done();
    assert_eq!(world.files("archive"), ["pay.txt", "pay.txt.ctl"]);
}

#[test]
fn totals_that_are_older_than_their_file_count() {
    let world = World::new(TOTALS);
    let mut service = world.start();
    world.sh("printf '{\"records\": 1}' > staged; touch -d 2001-01-01 staged; mv staged in/pay.txt.ctl");
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
}

#[test]
fn a_kept_file_keeps_its_totals() {
    let world = World::new(&format!("{TOTALS}\nsource = {{ on_success = \"keep\" }}"));
    let mut service = world.start();
    world.move_in("in/pay.txt.ctl", "{\"records\": 1}");
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "out/pay.main");
    service.stop();
    assert_eq!(world.completed()["records_in"], 1);
    assert_eq!(world.files("in").into_iter().filter(|name| !name.starts_with('.')).count(), 2);
}

#[test]
fn a_marker_and_totals_are_both_waited_for() {
    let world = World::new(
        "ready = { strategy = \"marker\", marker = \"{stem}.done\", totals = \"{stem}.ctl\" }\npaths = [\"in/*\"]",
    );
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    world.move_in("in/pay.done", "");
    world.move_in("in/next.txt", "two\n");
    world.move_in("in/next.ctl", "{\"records\": 1}");
    world.move_in("in/both.txt", "three\n");
    world.move_in("in/both.ctl", "{\"records\": 1}");
    world.move_in("in/both.done", "");
    service.wait_for(&world, "archive/both.txt");
    assert_eq!(world.files("out"), ["both.main"]);
    world.move_in("in/pay.ctl", "{\"records\": 1}");
    world.move_in("in/next.done", "");
    service.wait_for(&world, "archive/pay.txt");
    service.wait_for(&world, "archive/next.txt");
    service.wait_until("all is retired", || (world.files("archive").len() == 9).then_some(()));
    service.stop();
    assert_eq!(world.files("in"), [""; 0]);
}

#[test]
fn no_kill_parts_a_file_from_its_totals_or_loses_either() {
    let world = World::new(TOTALS);
    for number in 0..8 {
        world.move_in(&format!("in/pay-{number}.txt"), format!("{number}\n{}", support::lines(3000)));
        let records = if number % 4 == 3 { 7 } else { 3001 };
        world.move_in(&format!("in/pay-{number}.txt.ctl"), format!("{{\"records\": {records}}}"));
    }
    for round in 0_u64..10 {
        let mut service = world.start();
        service.wait_until("it claims", || (round > 0 || world.has("in/.landfall")).then_some(()));
        std::thread::sleep(std::time::Duration::from_millis(15 * round));
        service.kill();
    }
    let mut service = world.start();
    let ended = |state: &str| world.jobs().iter().filter(|job| job["state"] == state).count();
    service.wait_until("all ended", || (ended("completed") == 6 && ended("failed") == 2).then_some(()));
    service.stop();
    let archived: Vec<_> = [0, 1, 2, 4, 5, 6]
        .iter()
        .flat_map(|number| [format!("pay-{number}.txt"), format!("pay-{number}.txt.ctl")])
        .collect();
    assert_eq!(world.files("archive"), archived);
    let quarantined: Vec<_> = [3, 7]
        .iter()
        .flat_map(|number| {
            ["", ".ctl", ".error.json"].map(|end| format!(".landfall/quarantine/pay-{number}.txt{end}"))
        })
        .collect();
    assert_eq!(world.files("in"), quarantined);
    assert_eq!(world.files("out").len(), 6);
}

#[test]
fn a_file_is_published_only_if_it_has_its_checksum() {
    let world = World::new("ready = { checksum = \"{name}.sum\", stable_for = \"300ms\" }");
    let mut service = world.start();
    world.move_in("in/sha.txt", "one\ntwo\n");
    world.move_in("in/md5.txt", "three\n");
    world.move_in("in/bad.txt", "four\n");
    for (tool, name) in [("sha256sum", "sha"), ("md5sum", "md5")] {
        let said = world.sh(&format!("cd in && {tool} {name}.txt"));
        world.move_in(&format!("in/{name}.txt.sum"), said);
        service.wait_for(&world, &format!("archive/{name}.txt"));
    }
    world.move_in("in/bad.txt.sum", format!("{}  bad.txt\n", "0".repeat(64)));
    service.wait_for(&world, "in/.landfall/quarantine/bad.txt.error.json");
    service.wait_until("its checksum is there too", || {
        world.has("in/.landfall/quarantine/bad.txt.sum").then_some(())
    });
    let reason: Value =
        serde_json::from_str(&world.text("in/.landfall/quarantine/bad.txt.error.json")).expect("JSON");
    let message = reason["error"]["message"].as_str().expect("a message");
    assert!(message.contains("not what its checksum says: sha256: 0000"), "{message}");
    service.stop();
    assert_eq!(world.files("out"), ["md5.main", "sha.main"]);
    assert_eq!(world.files("archive"), ["md5.txt", "md5.txt.sum", "sha.txt", "sha.txt.sum"]);
    world.write("alone.txt", "1\n");
    world
        .landfall(&["ingest", "alone.txt", "--rule", "payments"])
        .ends_with(1)
        .says(&["the checksum", "is not there"]);
}

#[test]
fn totals_and_a_checksum_that_are_empty_yet_are_waited_for() {
    for (key, name, content) in [
        ("totals", "pay.txt.ctl", "{\"records\": 1}\n".to_owned()),
        ("checksum", "pay.txt.sha256", format!("{}\n", sha256_of_one())),
    ] {
        let ready = format!("ready = {{ {key} = \"{name}\", linger = \"0s\", stable_for = \"50ms\" }}")
            .replace("pay.txt", "{name}");
        let world = World::new(&ready);
        let mut service = world.start();
        service.wait_until_it_watches();
        world.write(format!("in/{name}"), "");
        world.move_in("in/pay.txt", "1\n");
        let reason = format!("for its {key}: it is empty yet");
        service.wait_until("it is waited for", || {
            (world.json(&["explain", "in/pay.txt", "--json"])["waits"] == reason.as_str()).then_some(())
        });
        world.write(format!("in/{name}"), content);
        service.wait_for(&world, "archive/pay.txt");
        service.stop();
        assert_eq!(world.jobs().len(), 1, "{key}: it was never taken before");
    }
}

/// Writers on other machines are not seen, and a sender may have no hidden name for what it writes beside a file.
#[test]
fn totals_and_a_checksum_that_are_there_in_part_are_waited_for_however_long_it_takes() {
    let checksum = format!("{}  pay.txt\n", sha256_of_one());
    for (key, name, whole, halves, lacks) in [
        (
            "totals",
            "pay.txt.ctl",
            "{\"records\": 1}\n",
            ["{\"rec", "{\"records\": 1"],
            "JSON that breaks off",
        ),
        (
            "checksum",
            "pay.txt.sha256",
            checksum.as_str(),
            [&checksum[..7], &checksum[..32]], // half of it: as long as an MD5
            "hexadecimal digits",
        ),
    ] {
        let ready = format!("ready = {{ {key} = \"{name}\", linger = \"0s\", stable_for = \"50ms\" }}")
            .replace("pay.txt", "{name}");
        let world = World::new(&ready);
        let mut service = world.start();
        service.wait_until_it_watches();
        world.move_in("in/pay.txt", "1\n");
        let waits = || world.json(&["explain", "in/pay.txt", "--json"])["waits"].to_string();
        for half in halves {
            world.write(format!("in/{name}"), half);
            service.wait_until("it is waited for", || {
                let said = waits();
                (said.contains(&format!("for the rest of its {key}")) && said.contains(lacks)).then_some(())
            });
            // Long after it stood still, through scans.
            world.move_in("in/other.txt", "1\n");
            world.write(format!("in/{}", name.replace("pay", "other")), whole.replace("pay", "other"));
            service.wait_for(&world, "archive/other.txt");
            world.sh("rm archive/other.txt*");
        }
        world.write(format!("in/{name}"), whole);
        service.wait_for(&world, "archive/pay.txt");
        service.stop();
        let of_it = world.jobs().iter().filter(|job| job["source"].to_string().contains("pay.txt")).count();
        assert_eq!(of_it, 1, "{key}: it was never taken before");
    }
}

/// Written in pieces, each closed: what is there may be about another file, or not all of it.
#[test]
fn a_checksum_without_a_line_for_its_file_is_waited_for_and_says_which_names_it_has() {
    let (ours, other) = (sha256_of_one(), "0".repeat(64));
    let world =
        World::new("ready = { checksum = \"{name}.sha256\", linger = \"0s\", stable_for = \"50ms\" }");
    let cases = [
        ("short", format!("{other}  short.tx"), format!("t.old\n{ours}  short.txt\n"), "names \"short.tx\""),
        ("whole", format!("{other}  whole.txt"), format!(".old\n{ours}  whole.txt\n"), "no end yet"),
        ("one", format!("{other}  x.txt\n"), format!("{ours}  one.txt\n"), "names \"x.txt\""),
        (
            "two",
            format!("{other}  x.txt\n{other}  y.txt\n"),
            format!("{ours}  two.txt\n"),
            "names \"x.txt\", \"y.txt\"",
        ),
        ("bare", other.clone(), format!("  x.txt\n{ours}  bare.txt\n"), "no end yet"),
    ];
    for (name, half, ..) in &cases {
        world.write(format!("in/{name}.txt.sha256"), half);
        world.write(format!("in/{name}.txt"), "1\n");
    }
    world.write("in/fits.txt", "1\n");
    world.write("in/fits.txt.sha256", format!("{ours}  before-it-was-renamed.txt"));
    world.write("in/final.txt", "1\n");
    world.write("in/final.txt.sha256", format!("{other}\n"));
    let mut service = world.start();
    for (name, _, _, says) in &cases {
        service.wait_until("it is waited for", || {
            let waits = world.json(&["explain", &format!("in/{name}.txt"), "--json"])["waits"].clone();
            let said = waits.as_str().unwrap_or_default();
            (said.starts_with("for the rest of its checksum: it ") && said.contains(says)).then_some(())
        });
    }
    service.wait_for(&world, "archive/fits.txt");
    service.wait_for(&world, "in/.landfall/quarantine/final.txt");
    for (name, half, rest, _) in &cases {
        let tries = world.jobs().iter().filter(|job| job["source"].to_string().contains(name)).count();
        assert!(tries <= 1, "{name}: tried once, not again and again: {tries}");
        world.write(format!("in/{name}.txt.sha256"), format!("{half}{rest}"));
        service.wait_for(&world, &format!("archive/{name}.txt"));
    }
    service.stop();
    assert!(!world.files("in").iter().any(|file| file.contains("quarantine/") && !file.contains("final")));
}

/// What each tool writes for files of names that it has to escape, or that look like something else.
#[test]
fn a_checksum_is_read_as_the_real_tools_write_it() {
    let names = [
        "plain",
        "two  words",
        " first",
        "last ",
        "star*",
        "*star",
        "par(en) = th",
        "back\\slash",
        "line\nend",
        "cr\rend",
        "\u{e9}",
        "-dash",
    ];
    let tools = [
        "sha256sum --",
        "md5sum --",
        "sha256sum -b --",
        "sha256sum --tag --",
        "md5sum --tag --",
        "openssl dgst -sha256 -r --",
        "openssl dgst -sha256 --",
        "openssl dgst -md5 --",
    ];
    for (number, tool) in tools.into_iter().enumerate() {
        let world =
            World::new("ready = { checksum = \"{name}.sum\", linger = \"0s\", stable_for = \"50ms\" }");
        for name in names {
            // OpenSSL escapes nothing, and takes no name with a dash.
            if tool.starts_with("openssl") && name.contains(['\n', '-']) {
                continue;
            }
            world.write(format!("in/{name}"), format!("{name:?} {tool}\n"));
            world.write(format!("made/{name}"), format!("{name:?} {tool}\n"));
        }
        // In turn: by its name, by a path, beside that of another file, with Windows' line ends, in capitals.
        let tool = if tool.starts_with("openssl") { tool.trim_end_matches(" --") } else { tool };
        world.sh(&format!(
            "cd made; for name in *; do case {number} in
                1) {tool} ../made/\"$name\" ;;
                2) {tool} \"$name\" ../landfall.toml ;;
                3) {tool} \"$name\" | sed 's/$/\\r/' ;;
                4) {tool} \"$name\" | sed 's/= \\([0-9a-f]*\\)$/= \\U\\1/' ;;
                *) {tool} \"$name\" ;;
            esac >../in/\"$name\".sum; done"
        ));
        let count = world.files("made").len();
        let mut service = world.start();
        service.wait_until("all are judged", || {
            (std::fs::read_dir(world.path("archive")).map_or(0, Iterator::count) == 2 * count).then_some(())
        });
        service.stop();
        assert_eq!(world.files("out").len(), count, "{tool}");
    }
}

#[test]
fn a_checksum_that_says_two_things_of_one_file_is_refused_and_says_so() {
    let world = World::new("ready = { checksum = \"{name}.sum\", linger = \"0s\", stable_for = \"50ms\" }");
    let right = sha256_of_one();
    world.write("in/pay.txt", "1\n");
    world.write("in/pay.txt.sum", format!("{right}  pay.txt\n{}  pay.txt\n", "0".repeat(64)));
    world.ingest(&["in/pay.txt"]).ends_with(1).says(&["several lines for this file, with different SHA-256"]);
    world.write(
        "in/pay.txt.sum",
        format!("{right}  pay.txt\n{}  old.txt\n{right} *pay.txt\n", "0".repeat(64)),
    );
    world.ingest(&["in/pay.txt"]).done();
}

#[test]
fn totals_without_a_value_say_which_key_wants_what() {
    let world = World::new(TOTALS);
    world.write("in/pay.txt", "1\n");
    world.write("in/pay.txt.ctl", "{\"records\": null}");
    world
        .ingest(&["in/pay.txt"])
        .ends_with(1)
        .says(&["have null for records", "whole number without quotes"]);
}

/// Of "1" and a line feed.
fn sha256_of_one() -> &'static str {
    "4355a46b19d348dc2f57c046f8ef63d4538ebb936000f3c9ee954a27460dd865"
}

#[test]
fn an_empty_file_may_be_a_placeholder_and_one_that_waits_too_long_is_told() {
    let world = World::new("ready = { empty = \"wait\", late_after = \"1s\", stable_for = \"100ms\" }");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/pay.txt", "");
    service.wait_for_log("this file waits longer than `ready.late_after`");
    let told = world.json(&["explain", "in/pay.txt", "--json"]);
    assert_eq!(
        (&told["seen"]["is_late"], &told["waits"]),
        (&true.into(), &"it is empty (`ready.empty`)".into())
    );
    world.write("in/pay.txt", "1\n");
    service.wait_for(&world, "out/pay.main");
    service.stop();
    assert_eq!(world.jobs().len(), 1);
}
