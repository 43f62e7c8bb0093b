//! Promise: a file that stays where it lies, by `keep` or by `adopt`, is taken again once it is another, and only then.
#![cfg(unix)]

mod support;

use std::process::Stdio;
use std::time::Duration;

use support::random::Random;
use support::{Service, World};

const KEEPS: &str = "source = { on_success = \"keep\" }\noutput = { main = { path = \"out/{name}\", on_exists = \"number\" } }\n";

const KEEPS_WITH_TOTALS: &str = "source = { on_success = \"keep\" }\nready = { totals = \"{name}.ctl\" }\noutput = { main = { path = \"out/{name}\", on_exists = \"number\" } }\n";

/// Once this file is published, all that came before it was seen, by events and by a scan.
fn settle(service: &mut Service, world: &World, name: &str) {
    world.move_in(&format!("in/{name}"), format!("{name}\n"));
    service.wait_for(world, &format!("out/{name}"));
}

/// With `kept.txt` ingested and `adopted.txt` adopted.
fn world() -> (World, Service) {
    let world = World::new(KEEPS);
    world.write("in/adopted.txt", "theirs\n");
    world.sh("truncate -s 9M in/large.txt"); // too large to be read whole for this
    world.landfall(&["adopt", "in/adopted.txt", "in/large.txt"]).done();
    let mut service = world.start();
    settle(&mut service, &world, "kept.txt");
    (world, service)
}

#[test]
fn another_name_or_other_rights_make_no_file_another_whether_the_service_runs_or_not() {
    let (world, mut service) = world();
    // A backup that links, another user's link, one with a watched name, and their end.
    for (number, script) in [
        "mkdir backup; ln in/kept.txt in/adopted.txt in/large.txt backup",
        "ln in/kept.txt in/watched.txt; ln in/adopted.txt in/too.txt",
        "rm in/watched.txt in/too.txt",
        "cp -al backup older; rm -r backup",
        "rm -r older; chmod 600 in/kept.txt in/adopted.txt in/large.txt",
        "ln in/large.txt second; rm second", // between two looks
    ]
    .into_iter()
    .enumerate()
    {
        world.sh(script);
        settle(&mut service, &world, &format!("while-{number}"));
    }
    service.stop();
    for (number, script) in [
        "mkdir backup; ln in/kept.txt in/adopted.txt in/large.txt backup",
        "rm -r backup",
        "chmod 640 in/large.txt",
    ]
    .into_iter()
    .enumerate()
    {
        world.sh(script);
        let mut service = world.start();
        settle(&mut service, &world, &format!("without-{number}"));
        service.stop();
    }
    let again: Vec<_> = world
        .files("out")
        .into_iter()
        .filter(|name| !name.starts_with("wh") && !name.starts_with("without"))
        .collect();
    assert_eq!(again, ["kept.txt"]);
    let said = world.landfall(&["explain", "in/adopted.txt"]).done().stdout;
    assert!(said.contains("adopted") && said.contains("not taken as long as it is the same"), "{said}");
}

/// Its size and its time are what they were, as a tool leaves them that sets times back.
#[test]
fn what_is_written_in_place_is_another_also_beside_a_change_of_its_names() {
    const WRITE: &str =
        "touch -r in/$f .t; printf %s $with | dd of=in/$f conv=notrunc status=none; touch -r .t in/$f";
    let (world, mut service) = world();
    for (with, before, then) in [
        ("K", "mkdir backup; ln in/kept.txt in/adopted.txt backup", ":"),
        ("L", ":", ":"),
        ("M", ":", "rm -r backup"),
    ] {
        let write = |file: &str| format!("f={file}; with={with}; {WRITE}");
        world.sh(&format!("{before}; {}; {}; {then}", write("kept.txt"), write("adopted.txt")));
        let is_published = || {
            let texts =
                world.files("out").into_iter().map(|name| world.text(std::path::Path::new("out").join(name)));
            texts.filter(|text| text.starts_with(with)).count() == 2
        };
        service.wait_until("both are taken", || is_published().then_some(()));
        settle(&mut service, &world, &format!("after-{with}"));
        assert!(is_published(), "once");
    }
    service.stop();
}

#[test]
fn an_adoption_of_many_files_that_is_killed_has_each_or_has_it_not_and_the_next_one_has_them_all() {
    const FILES: usize = 200;
    let world = World::new(KEEPS);
    let files: Vec<_> = (0..FILES).map(|n| format!("in/f-{n}")).collect();
    for file in &files {
        world.write(file, "theirs\n");
    }
    let mut random = Random::seeded();
    for _ in 0..6 {
        let mut adopts = world.command();
        let mut adopts = adopts
            .arg("adopt")
            .args(&files)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        std::thread::sleep(Duration::from_millis(random.below(120)));
        adopts.kill().expect("is ours"); // SIGKILL
        adopts.wait().expect("has ended");
        // What it said of a file before it was killed holds.
        let file = random.one_of(&files).expect("there are some");
        let before = world.json(&["explain", file, "--json"])["kept"].clone();
        let said = world.landfall(&["adopt", file]).done().stdout;
        assert_eq!(said.contains("was adopted before"), !before.is_null(), "{said} {before}");
    }
    let arguments: Vec<_> = std::iter::once("adopt").chain(files.iter().map(String::as_str)).collect();
    let said = world.landfall(&arguments).done().stdout;
    let adopted = said.lines().filter(|line| line.contains("adopted")).count();
    assert_eq!(adopted, FILES, "{said}");
    let mut service = world.start();
    settle(&mut service, &world, "new");
    service.stop();
    assert_eq!((world.files("out"), world.jobs().len()), (vec!["new".to_owned()], 1));
}

/// What `landfall jobs` says of a file that waits.
fn waits(world: &World, file: &str) -> Option<String> {
    let listed = world.json(&["jobs", "--json"]);
    let mut files = listed["files_waiting"].as_array().expect("a list").iter();
    let path = world.path(file).display().to_string();
    files.find(|it| it["path"] == path.as_str())?["reason"].as_str().map(str::to_owned)
}

/// Goal: a file that somebody puts where files are taken never lies there without a word; and what is published is not published again by
/// itself, nor by a restart.
#[test]
fn a_kept_file_that_is_moved_to_another_rule_or_sender_is_listed_with_the_command_that_has_it_taken_there() {
    let world = World::bare();
    let keeps = "name = \"keeps\"\npaths = [\"in/k/{sender}/*\"]\nsource = { on_success = \"keep\" }\n\
        output = { main = { path = \"k-out/{sender}-{name}\" } }\n";
    let other = "name = \"other\"\npaths = [\"in/b/*\"]\noutput = { main = { path = \"b-out/{name}\" } }\n";
    world.configure("", &[keeps, other]);
    world.sh("mkdir -p in/b in/k/globex");
    for name in ["moved", "linked", "of-globex", "renamed"] {
        world.write(format!("in/k/acme/{name}"), format!("{name}\n"));
    }
    world.write("in/k/acme/adopted", "theirs\n");
    world.landfall(&["adopt", "in/k/acme/adopted"]).done();
    let mut service = world.start();
    service.wait_until("all are published", || (world.files("k-out").len() == 4).then_some(()));
    world.sh(
        "cd in; mv k/acme/moved b/moved; mv k/acme/adopted b/adopted; ln k/acme/linked b/linked; mv k/acme/of-globex k/globex/of-globex; \
         mv k/acme/renamed k/acme/renamed-here",
    );
    let told = [
        ("in/b/moved", "in/k/acme/moved", "other", "has published its records"),
        ("in/b/linked", "in/k/acme/linked", "other", "has published its records"),
        ("in/b/adopted", "in/k/acme/adopted", "other", "it was adopted as"),
        ("in/k/globex/of-globex", "in/k/acme/of-globex", "keeps", "has published its records"),
    ];
    for restarts in [false, true] {
        if restarts {
            service.stop();
            // Without a service, too.
            world
                .landfall(&["explain", "in/b/moved"])
                .done()
                .says(&["`landfall ingest ", "--rule other --retire`"]);
            service = world.start();
        }
        for (file, lay, rule, was) in told {
            let reason = service.wait_until(file, || waits(&world, file));
            let lay = world.path(lay).display().to_string();
            let way = format!("`landfall ingest {} --rule {rule} --retire`", world.path(file).display());
            for word in [lay.as_str(), was, "rule \"keeps\"", &way] {
                assert!(reason.contains(word), "`{word}` is not in: {reason}");
            }
            let said = world.landfall(&["explain", file]).done();
            assert!(!said.stdout.contains("takes it"), "{}", said.stdout);
            said.says(&["it is not taken (see below)", &format!("as {lay} under rule \"keeps\"")]);
        }
    }
    world.write("in/b/seen", "all before it was seen\n");
    service.wait_for(&world, "b-out/seen");
    assert_eq!(waits(&world, "in/k/acme/renamed-here"), None, "it is where its rule has it");
    assert_eq!(world.jobs().len(), 5, "nothing is taken by itself");
    for (file, output) in [("in/b/moved", "b-out/moved"), ("in/k/globex/of-globex", "k-out/globex-of-globex")]
    {
        let reason = waits(&world, file).expect("it waits");
        let command = reason.split('`').find_map(|word| word.strip_prefix("landfall ")).expect("a command");
        world.landfall(&command.split(' ').collect::<Vec<_>>()).done();
        assert!(world.has(output), "{:?}", world.files("."));
    }
    service.stop();
    let mut service = world.start();
    world.move_in("in/b/last", "last\n");
    service.wait_for(&world, "b-out/last");
    assert_eq!((waits(&world, "in/b/moved"), waits(&world, "in/k/globex/of-globex")), (None, None));
    service.stop();
    assert_eq!(world.files("b-out"), ["last", "moved", "seen"]);
}

/// The totals, or the checksum, of the version before stay beside it. They neither fail the next one nor let a part of it pass.
#[test]
fn the_next_version_of_a_kept_file_waits_for_totals_or_a_checksum_of_its_own() {
    let sum = "sha256sum in/pay.txt | sed s,in/,,";
    for (key, beside, of_first, of_last) in [
        ("totals", "ctl", "echo '{ \"records\": 2 }'", "echo '{ \"records\": 2 }'"),
        ("checksum", "sha256", "printf '1\\n2\\n' | sha256sum | sed s,-,pay.txt,", sum),
    ] {
        let world = World::new(
            &KEEPS_WITH_TOTALS.replace("totals = \"{name}.ctl\"", &format!("{key} = \"{{name}}.{beside}\"")),
        );
        let mut service = world.start();
        service.wait_until_it_watches();
        world.sh(&format!("{of_first} > first; mv first in/pay.txt.{beside}"));
        world.move_in("in/pay.txt", "1\n2\n");
        service.wait_for(&world, "out/pay.txt");
        for restarts in [false, true] {
            world.move_in("in/pay.txt", if restarts { "5\n6\n" } else { "3\n4\n" }); // as many
            if restarts {
                service.stop();
                service = world.start();
            }
            service.wait_until("it waits", || {
                let reason = waits(&world, "in/pay.txt")?;
                reason.contains("what lies there was for an earlier version").then_some(())
            });
        }
        assert_eq!(world.files("out").len(), 1, "{key}: {:?}", world.files("out"));
        world.sh(&format!("{of_last} > new; mv new in/pay.txt.{beside}"));
        service.wait_for(&world, "out/pay-1.txt");
        assert_eq!(world.text("out/pay-1.txt"), "5\n6\n");
        service.stop();
    }
}

/// The same where an operator had it ingested, and its rule archives files.
#[test]
fn the_next_version_of_a_file_that_was_ingested_by_hand_waits_for_a_checksum_of_its_own() {
    let world = World::new("ready = { checksum = \"{name}.sha256\" }\n");
    world.write("in/pay.txt", "1\n2\n");
    world.sh("cd in; sha256sum pay.txt > pay.txt.sha256");
    world.ingest(&["in/pay.txt"]).done();
    let mut service = world.start();
    service.wait_until("the first is told", || {
        waits(&world, "in/pay.txt")?.contains("has published").then_some(())
    });
    world.move_in("in/pay.txt", "3\n4\n");
    service.wait_until("the next one waits", || {
        waits(&world, "in/pay.txt")?.contains("what lies there was for an earlier version").then_some(())
    });
    assert_eq!(world.jobs().len(), 1);
    world.sh("cd in; sha256sum pay.txt > ../new; mv ../new pay.txt.sha256");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!((world.jobs().len(), world.files("in")), (2, Vec::<String>::new()));
}

/// Goal: what the command promises holds: a job that waits publishes its file once it goes on, so that the file is not adopted before.
#[test]
fn a_file_whose_job_waits_is_adopted_once_that_is_ended_and_not_before() {
    for (source, by_hand) in [(KEEPS, false), ("", true)] {
        let world = World::new(&format!("{source}decode = {{ identities = [\"key.txt\"] }}\n"));
        let recipient = world.age_key();
        world.sh(&format!("printf 'one\n' | age -r {recipient} -o in/pay.txt.age; mv key.txt key.right; age-keygen -o key.txt 2>/dev/null"));
        if by_hand {
            world.ingest(&["in/pay.txt.age"]).ends_with(1);
        }
        let mut service = world.start();
        let id = service.wait_until("it waits for its key", || {
            let job = world.jobs().pop()?;
            (job["state"] == "held").then(|| job["id"].as_str().expect("an id is text").to_owned())
        });
        let refused =
            ["publishes it once it goes on", &id, &format!("`landfall abandon {id} --reason TEXT`")];
        world.landfall(&["adopt", "in/pay.txt.age"]).ends_with(1).says(&refused);
        service.stop();
        world.landfall(&["adopt", "in/pay.txt.age"]).ends_with(1).says(&refused);
        let mut service = world.start();
        // A start tries it once more, and what runs is not abandoned.
        service.wait_until("it is ended", || {
            let told = world.landfall(&["abandon", &id, "--reason", "dealt with"]);
            assert!(told.code == Some(0) || told.stderr.contains("is running"), "{told:#?}");
            (told.code == Some(0)).then_some(())
        });
        assert_eq!(world.json(&["show", &id, "--json"])["state"], "aborted");
        world.landfall(&["adopt", "in/pay.txt.age"]).done().says(&["adopted"]);
        world.sh("mv key.right key.txt");
        let (next, output) = ("next.txt", if by_hand { "out/next.main" } else { "out/next.txt" });
        world.move_in(&format!("in/{next}"), "next\n");
        service.wait_for(&world, output);
        service.stop();
        assert_eq!(world.files("out").len(), 1, "{:?}", world.files("out"));
        assert!(world.has("in/pay.txt.age"));
    }
}

/// What its totals say is mended before each is tried again.
#[test]
fn a_failed_job_of_a_file_that_got_other_rights_or_names_has_it_when_it_is_tried_again() {
    const SCRIPTS: [(&str, &str); 4] = [
        ("chmod", "chmod 600 in/chmod"),
        ("link", "ln in/link side/link"),
        ("copied", "cp -al in/copied side/"),
        ("unlinked", "ln in/unlinked side/u; rm side/u"),
    ];
    let world = World::new(KEEPS_WITH_TOTALS);
    let totals = |name: &str, records: u64| {
        world.write(format!("in/{name}.ctl"), format!("{{\"records\":{records}}}"))
    };
    world.sh("mkdir side");
    for (name, _) in SCRIPTS {
        totals(name, 1);
        world.write(format!("in/{name}"), format!("{name}\n2\n"));
    }
    totals("by-hand", 1);
    world.write("in/by-hand", "by-hand\n2\n");
    world.landfall(&["ingest", "--rule", "rule", "in/by-hand"]);
    let mut service = world.start();
    let states = |state: &str| world.jobs().iter().filter(|job| job["state"] == state).count();
    service.wait_until("all have failed", || (states("failed") >= SCRIPTS.len()).then_some(()));
    let jobs = world.jobs().len();
    for (_, script) in SCRIPTS {
        world.sh(script);
    }
    world.sh("chmod 600 in/by-hand");
    totals("settle", 1);
    settle(&mut service, &world, "settle"); // the watch has seen them
    for (name, _) in SCRIPTS {
        let said = world.landfall(&["explain", &format!("in/{name}")]).done().stdout;
        assert!(said.contains("failed: `landfall retry") && !said.contains("ingested"), "{said}");
        totals(name, 2);
    }
    let hint = world.jobs().iter().map(|job| job["error"]["hint"].to_string()).collect::<String>();
    assert!(hint.contains("beside it") && !hint.contains("quarantine"), "{hint}");
    totals("by-hand", 2);
    let said = world.landfall(&["retry", "--state", "failed"]).done().stdout;
    service.wait_until(&said, || (states("completed") == jobs + 1).then_some(()));
    service.stop();
    let mut service = world.start();
    totals("later", 1);
    settle(&mut service, &world, "later");
    service.stop();
    assert_eq!(world.files("out").len(), world.jobs().len(), "{:?}", world.files("out"));
    assert_eq!(world.jobs().len(), jobs + 2);
    for (name, _) in SCRIPTS {
        assert_eq!(world.text(format!("out/{name}")), format!("{name}\n2\n"));
    }
}

#[test]
fn a_backup_by_links_fails_no_job_that_reads_the_file() {
    let world = World::new(&format!(
        "{KEEPS}pipeline = [{{ step = \"exec\", confine = false, command = [\"./gate\"], protocol = \"line\" }}]\n"
    ));
    world.write_gate_at("slow");
    world.sh("mkdir side");
    let mut service = world.start();
    world.move_in("in/a", "slow\n2\n");
    service.wait_until("it is read", || world.has("reached").then_some(()));
    world.sh("ln in/a side/1; cp -al in/a side/2; chmod 600 in/a; touch go");
    service.wait_for(&world, "out/a");
    settle(&mut service, &world, "b");
    service.stop();
    let jobs = world.jobs();
    let ended: Vec<_> = jobs.iter().map(|job| (job["state"].as_str(), job["attempts"].as_u64())).collect();
    assert_eq!(ended, [(Some("completed"), Some(1)); 2], "{jobs:#?}");
}

#[test]
fn a_large_file_that_is_written_at_its_begin_or_its_end_is_another_though_its_time_is_set_back() {
    let world = World::new(KEEPS);
    world.move_in("in/large", "a line of it, \n".repeat((9 << 20) / 15 + 1));
    let mut service = world.start();
    service.wait_for(&world, "out/large");
    for (number, offset) in [(1, 0), (2, 9 << 20)] {
        world.sh(&format!(
            "touch -r in/large .t; echo | dd of=in/large bs=1 seek={offset} conv=notrunc status=none; touch -r .t in/large"
        ));
        service.wait_for(&world, &format!("out/large-{number}"));
    }
    service.stop();
    assert_eq!(world.jobs().len(), 3);
}

/// Goal: a job that finds its file no more leaves nothing that keeps the file, under its new name, from being taken.
#[test]
fn a_file_that_is_renamed_while_its_job_runs_or_once_it_failed_is_taken_by_its_new_name() {
    let world = World::new(&format!(
        "{KEEPS}pipeline = [{{ step = \"exec\", confine = false, command = [\"./step\"] }}]\n"
    ));
    let here = world.folder().display();
    world.write(
        "step",
        format!("#!/bin/sh\ncd {here}\ntouch reached\nwhile [ ! -e go ]; do sleep 0.02; done\n[ ! -e failing ] || exit 1\nexec cat\n"),
    );
    world.sh("chmod +x step");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/running", "one\n");
    service.wait_for(&world, "reached");
    world.sh("mv in/running in/moved; touch failing go");
    service.wait_until("it failed by its new name", || {
        let is_it = |job: &serde_json::Value| {
            job["state"] == "failed"
                && job["source"].as_str().is_some_and(|source| source.ends_with("/moved"))
        };
        world.jobs().iter().any(is_it).then_some(())
    });
    world.sh("rm failing; mv in/moved in/again");
    service.wait_for(&world, "out/again");
    // What is done is known by its new name, also after a restart.
    world.sh("mv in/again in/done");
    settle(&mut service, &world, "while");
    service.stop();
    let mut service = world.start();
    settle(&mut service, &world, "after");
    service.stop();
    assert_eq!(world.files("out"), ["after", "again", "while"]);
}

/// A kept file whose job failed: it ends early, and was not mended.
fn failed() -> (World, Service, String) {
    let world = World::new(KEEPS);
    world.sh("seq 20000 | gzip | head -c -100 > in/cut.gz");
    let mut service = world.start();
    let id = service.wait_until("it fails", || {
        let job = world.jobs().pop()?;
        (job["state"] == "failed").then(|| job["id"].as_str().expect("an id is text").to_owned())
    });
    (world, service, id)
}

/// Goal: what the command says is so: the file is adopted, and its job is nobody's to look at any more.
#[test]
fn a_kept_file_whose_job_failed_is_adopted_and_its_job_is_ended() {
    for has_service in [true, false] {
        let (world, service, id) = failed();
        let jobs = world.jobs().len(); // it was given back before
        let mut service = Some(service);
        if !has_service {
            service.take().expect("it runs").stop();
        }
        world.landfall(&["adopt", "in/cut.gz"]).done().says(&["adopted", &id, "is ended"]);
        world.landfall(&["adopt", "in/cut.gz"]).done().says(&["was adopted before"]);
        let job = world.json(&["show", &id, "--json"]);
        let why = job["error"]["message"].as_str().unwrap_or_default();
        assert!(job["state"] == "aborted" && why.ends_with("its file was adopted"), "{job:#}");
        world
            .landfall(&["explain", "in/cut.gz"])
            .done()
            .says(&["adopted", "not taken as long as it is the same"]);
        let mut service = service.unwrap_or_else(|| world.start());
        settle(&mut service, &world, "next");
        assert_eq!(world.jobs().len(), jobs + 1, "it is not taken");
        world.landfall(&["adopt", "--undo", "in/cut.gz"]).done();
        service.wait_until("it is taken anew", || (world.jobs().len() > jobs + 1).then_some(()));
        service.stop();
    }
}

#[test]
fn what_explain_advises_for_a_failed_kept_file_is_not_refused() {
    let world = World::bare();
    let other =
        "name = \"other\"\npaths = [\"other/*\"]\noutput = { main = { path = \"other-out/{name}\" } }\n";
    world.configure("", &[KEEPS_WITH_TOTALS, other]);
    world.write("in/pay.ctl", "{\"records\":1}");
    world.write("in/pay", "1\n2\n");
    let mut service = world.start();
    let id = service.wait_until("it fails", || {
        let job = world.jobs().pop()?;
        (job["state"] == "failed").then(|| job["id"].as_str().expect("an id is text").to_owned())
    });
    let retry = format!("`landfall retry {id}`");
    world.landfall(&["explain", "in/pay"]).done().says(&["failed", &retry]);
    world.landfall(&["ingest", "--rule", "other", "in/pay"]).done();
    let said =
        world.landfall(&["explain", "in/pay"]).done().says(&["a second time", "landfall abandon", &id]);
    assert!(!said.stdout.contains(&retry), "{said:?}");
    world.landfall(&["retry", &id]).ends_with(1).says(&["a second time", "landfall abandon"]);
    world.landfall(&["abandon", &id, "--reason", "taken by hand"]).done();
    let said = world.landfall(&["explain", "in/pay"]).done().says(&["aborted"]);
    assert!(!said.stdout.contains("landfall retry"), "{said:?}");
    service.stop();
}

/// Goal: who takes an adoption back is told what becomes of the file then, and that is what becomes of it.
#[test]
fn an_adoption_that_is_taken_back_is_told_with_what_becomes_of_the_file() {
    let world = World::new("ready = { strategy = \"stable\", stable_for = \"100ms\" }");
    for name in ["by-hand", "paused", "free", "strange"] {
        world.write(format!("in/{name}.txt"), format!("{name}\n"));
        world.landfall(&["adopt", &format!("in/{name}.txt")]).done().says(&["never takes it"]);
    }
    let undo = |name: &str| world.landfall(&["adopt", "--undo", &format!("in/{name}.txt")]);
    world.ingest(&["in/by-hand.txt"]).done();
    let job = world.job()["id"].as_str().expect("an id").to_owned();
    world.landfall(&["adopt", "in/by-hand.txt"]).done().says(&["adopted before", &job, "has published"]);
    let told = undo("by-hand").done();
    assert!(!told.stdout.contains("it is taken once"), "{}", told.stdout);
    told.says(&["adopted no more; it is not taken all the same", &job, "has published its records"]);
    world.landfall(&["explain", "in/by-hand.txt"]).done().says(&["not taken: ", "has published its records"]);
    let files = world.landfall(&["check", "--files"]).done().stdout;
    assert!(
        files.contains("has published its records") && files.contains("0 files would be taken"),
        "{files}"
    );
    world.landfall(&["pause", "--rule", "payments"]).done();
    undo("paused")
        .done()
        .says(&["once it is complete, and this is lifted", "`landfall resume --rule payments`"]);
    world.landfall(&["resume", "--rule", "payments"]).done();
    undo("free").done().says(&["it is taken once it is complete, by the next `landfall run`"]);
    undo("free").ends_with(1).says(&["is not adopted as it lies there"]);
    let mut service = world.start();
    service.wait_for(&world, "out/paused.main");
    service.wait_for(&world, "out/free.main");
    assert_eq!(world.files("out"), ["by-hand.main", "free.main", "paused.main"], "that one was by hand");
    world.landfall(&["explain", "in/by-hand.txt"]).done().says(&["has published its records"]);
    service.stop();
    world.configure("", &["paths = [\"other/*\"]"]);
    undo("strange").done().says(&["adopted no more; no live rule takes it"]);
    undo("gone-long-ago").ends_with(1).says(&["is not there"]);
}
