//! Promise: whoever asked for it is told what happened, at least once, whatever is killed; and no file waits for who is told.
#![cfg(unix)]

mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use support::random::Random;
use support::receiver::Receiver;
use support::{Service, World, wait_until};

/// Every file is taken at once; one whose name begins with `bad` fails.
const RULE: &str = r#"
    ready = { stable_for = "0s" }
    records = { format = "jsonl" }
    pipeline = [{ step = "filter", drop = { column = "kind", equals = "old" } }]
    errors = { failed_max = 0 }
"#;

fn with_hooks(service: &str, rule: &str, hooks: &str) -> World {
    let world = World::with_service(service, rule);
    let config = format!("{}\n{hooks}", world.text("landfall.toml"));
    world.write("landfall.toml", config);
    world
}

fn url_hook(receiver: &Receiver, events: &str) -> String {
    format!(
        "[[hook]]\nname = \"ops\"\nevents = [{events}]\nurl = \"http://127.0.0.1:{}/hook\"\n",
        receiver.port
    )
}

fn good(world: &World, name: &str) {
    world.move_in(&format!("in/{name}"), "{\"kind\":\"new\"}\n");
}

fn bad(world: &World, name: &str) {
    world.move_in(&format!("in/{name}"), "this is no JSON\n");
}

#[track_caller]
fn wait_for_event(service: &mut Service, receiver: &Receiver, event: &str) -> Value {
    service.wait_until(event, || receiver.taken(event).first().cloned())
}

#[test]
fn what_becomes_of_jobs_is_posted_with_the_token_and_neither_that_nor_the_url_is_logged() {
    let receiver = Receiver::start(200);
    let hooks = format!(
        "[[hook]]\nname = \"ops\"\nevents = [\"completed\", \"failed\"]\nurl = \"http://127.0.0.1:{}/T0PSECRET?key=T0PSECRET\"\n\
         bearer_file = \"token\"\n",
        receiver.port
    );
    let world = with_hooks("", RULE, &hooks);
    world.write("token", "B3ARER\n");
    let mut service = world.start();
    good(&world, "good.jsonl");
    let completed = wait_for_event(&mut service, &receiver, "completed");
    bad(&world, "bad.jsonl");
    let failed = wait_for_event(&mut service, &receiver, "failed");
    assert_eq!((&completed["hook"], &completed["rule"]), (&"ops".into(), &support::RULE.into()));
    assert_eq!(completed["job"], completed["job_now"]["id"]);
    assert_eq!(completed["job_now"]["state"], "completed", "{completed:#}");
    assert!(failed["path"].as_str().is_some_and(|path| path.ends_with("in/bad.jsonl")), "{failed:#}");
    assert_eq!(failed["message"], failed["job_now"]["error"]["message"], "{failed:#}");
    assert_ne!(failed["id"], completed["id"]);
    assert_eq!(receiver.asked(), 2, "each once");
    let heads = receiver.heads.lock().expect("no panic").join("\n");
    assert!(
        heads.contains("POST /T0PSECRET?key=T0PSECRET ") && heads.contains("Authorization: Bearer B3ARER"),
        "{heads}"
    );
    receiver.answer.store(500, Ordering::Release);
    good(&world, "later.jsonl");
    service.wait_for_log("this hook cannot be told");
    let log = service.log();
    assert!(!log.contains("T0PSECRET") && !log.contains("B3ARER"), "{log}");
    service.stop();
}

#[test]
fn what_could_not_be_told_is_told_after_a_kill_with_the_same_id_and_status_tells_of_it_meanwhile() {
    let receiver = Receiver::start(503);
    let world = with_hooks("", RULE, &url_hook(&receiver, "\"completed\""));
    let mut service = world.start();
    good(&world, "one.jsonl");
    service.wait_until("it was tried three times", || (receiver.asked() >= 3).then_some(()));
    wait_until("status tells", || {
        let status = world.landfall(&["status"]);
        status
            .stdout
            .contains("hook \"ops\" cannot be told")
            .then(|| status.ends_with(1).says(&["answers 503"]))
    });
    service.kill();
    receiver.answer.store(200, Ordering::Release);
    let mut service = world.start();
    let told = wait_for_event(&mut service, &receiver, "completed");
    let refused = receiver.refused.lock().expect("no panic").clone();
    assert!(refused.len() >= 3 && told["id"].is_string(), "{told:#}");
    assert!(refused.iter().all(|body| body["id"] == told["id"]), "{told:#}: {refused:#?}");
    wait_until("status is well", || {
        world.landfall(&["status"]).stdout.contains("nothing needs attention").then_some(())
    });
    service.stop();
}

/// Goal: that an event is owed which its hook does not take is told steadily, not only between events that it takes.
/// Method: a program refuses the event of one file, and takes those of others, which keep coming.
#[test]
fn a_hook_that_refuses_one_event_and_takes_others_needs_attention_until_that_is_told_and_is_logged_once() {
    let hooks = "[[hook]]\nname = \"ops\"\nevents = [\"completed\"]\ncommand = [\"./picky\"]\n";
    let world = with_hooks("", RULE, hooks);
    world.write("picky", "#!/bin/sh\ncase $LANDFALL_PATH in\n*odd*) test -e mended || { echo odd >> refused; exit 1; };;\nesac\n\
                          echo \"$LANDFALL_PATH\" >> noted\n");
    world.sh("chmod +x picky");
    let mut service = world.start();
    good(&world, "odd.jsonl");
    let lines = |file: &str| if world.has(file) { world.text(file).lines().count() } else { 0 };
    for more in 1..=4 {
        service.wait_until("it is refused again", || (lines("refused") >= more).then_some(()));
        good(&world, &format!("{more}.jsonl"));
        service.wait_until("another is taken", || (lines("noted") == more).then_some(()));
        if more >= 3 {
            world.landfall(&["status"]).ends_with(1).says(&["hook \"ops\" cannot be told an event since"]);
        }
    }
    world.write("mended", "");
    service.wait_until("it is told", || (lines("noted") == 5).then_some(()));
    service.wait_for_log("nothing is owed any more that this hook could not be told");
    world.landfall(&["status"]).done().says(&["nothing needs attention"]);
    service.stop();
    let log = world.text("landfall.log");
    let times = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!((times("this hook cannot be told"), times("nothing is owed any more")), (1, 1), "{log}");
}

/// Goal: each completed job is told at least once.
/// Method: files keep coming while the service is killed again and again, at random moments; the receiver refuses now and then.
#[test]
fn no_kill_keeps_the_end_of_a_job_from_being_told() {
    let mut random = Random::seeded();
    let receiver = Receiver::start(200);
    let world = with_hooks("", RULE, &url_hook(&receiver, "\"completed\", \"failed\""));
    for round in 0..6 {
        let service = world.start();
        for file in 0..5 {
            good(&world, &format!("{round}-{file}.jsonl"));
            receiver.answer.store(if random.once_in(3) { 503 } else { 200 }, Ordering::Release);
            std::thread::sleep(Duration::from_millis(random.below(120)));
        }
        service.kill();
    }
    receiver.answer.store(200, Ordering::Release);
    let mut service = world.start();
    service.wait_until("all are told", || {
        let told = receiver.taken("completed");
        let is_told = |job: &Value| told.iter().any(|event| event["job"] == job["id"]);
        let jobs = world.jobs();
        let ended = jobs.iter().filter(|job| job["state"] == "completed").count();
        (ended == 30 && jobs.iter().all(is_told)).then_some(())
    });
    service.stop();
}

#[test]
fn a_command_gets_what_happened_and_one_that_hangs_is_killed_and_holds_up_neither_files_nor_others() {
    let hooks = "[[hook]]\nname = \"hangs\"\nevents = [\"completed\"]\ncommand = [\"./hang\"]\ntimeout = \"1s\"\n\
                 [[hook]]\nname = \"writes\"\nevents = [\"completed\"]\ncommand = [\"./note\", \"-x\"]\n";
    let world = with_hooks("", RULE, hooks);
    world.write("hang", "#!/bin/sh\necho $$ >> hanging\nexec sleep 600\n");
    world.write("note", "#!/bin/sh\nread -r json\necho \"$1 $LANDFALL_EVENT $LANDFALL_RULE $LANDFALL_JOB $LANDFALL_PATH\" >> noted\n\
                         echo \"$json\" >> json\nenv > environment\n");
    world.sh("chmod +x hang note");
    let mut service = world.start();
    for file in 0..8 {
        good(&world, &format!("{file}.jsonl"));
    }
    service.wait_until("all are published", || (world.files("out").len() == 8).then_some(()));
    service.wait_until("all are noted", || {
        (world.has("noted") && world.text("noted").lines().count() == 8).then_some(())
    });
    assert!(
        world.text("noted").starts_with(&format!("-x completed {} ", support::RULE)),
        "{}",
        world.text("noted")
    );
    let first: Value =
        serde_json::from_str(world.text("json").lines().next().expect("a line")).expect("is JSON");
    assert_eq!(first["job_now"]["state"], "completed");
    assert!(!world.text("environment").contains("CARGO"), "{}", world.text("environment"));
    service.wait_for_log("took longer than 1s, and was killed");
    let hung = world.text("hanging").lines().next().expect("it ran").to_owned();
    service.wait_until("it is gone", || std::fs::metadata(format!("/proc/{hung}")).is_err().then_some(()));
    let begun = Instant::now();
    service.stop();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn other_hooks_count_as_soon_as_they_are_saved_and_what_the_old_ones_were_not_told_is_lost_and_logged() {
    let (old, new) = (Receiver::start(503), Receiver::start(200));
    let world = with_hooks("", RULE, &url_hook(&old, "\"completed\""));
    let plain = world.text("landfall.toml");
    let mut service = world.start();
    good(&world, "one.jsonl");
    service.wait_until("it was tried", || (old.asked() > 0).then_some(()));
    let renamed = url_hook(&new, "\"completed\"").replace("\"ops\"", "\"others\"");
    let config = format!("{}{renamed}", plain.split("[[hook]]").next().expect("is there"));
    world.write("landfall.toml", config);
    world.landfall(&["reload"]).done();
    let is_logged = || world.text("landfall.log").contains("events for hooks that are gone are lost");
    service.wait_until("it is logged", || is_logged().then_some(()));
    good(&world, "two.jsonl");
    let told = wait_for_event(&mut service, &new, "completed");
    assert!(
        told["path"].as_str().is_some_and(|path| path.ends_with("two.jsonl")) && told["hook"] == "others"
    );
    service.stop();
}

#[test]
fn rules_that_stop_files_that_are_late_or_do_not_come_and_disks_that_run_full_are_told_too() {
    let receiver = Receiver::start(200);
    let events = "\"rule_stopped\", \"late\", \"nothing_came\"";
    let rule = RULE.replace(
        "stable_for = \"0s\"",
        "stable_for = \"0s\", late_after = \"1s\", checksum = \"{name}.sha256\"",
    );
    let rule = format!("{rule}\nexpect_every = \"1s\"")
        .replace("failed_max = 0", "failed_max = 0, stop_after = { failures = 1 }");
    let world = with_hooks("listen = \"socket\"", &rule, &url_hook(&receiver, events));
    let mut service = world.start();
    good(&world, "lonely.jsonl");
    let late = wait_for_event(&mut service, &receiver, "late");
    assert!(late["path"].as_str().is_some_and(|path| path.ends_with("in/lonely.jsonl")), "{late:#}");
    let nothing = wait_for_event(&mut service, &receiver, "nothing_came");
    assert!(nothing["message"].as_str().is_some_and(|told| told.contains("no file came")), "{nothing:#}");
    wait_until("status tells of both", || {
        let status = world.landfall(&["status"]).ends_with(1);
        let told = ["no file came under rule", "one is expected every 1s", "a file is late: "];
        told.iter().all(|told| status.stdout.contains(told)).then_some(())
    });
    let status = world.landfall(&["status", "--json"]).ends_with(1).stdout;
    let status: Value = serde_json::from_str(&status).expect("is JSON");
    assert_eq!((&status["senders_overdue"], &status["files_late"]), (&1.into(), &1.into()), "{status:#}");
    let metrics = world.sh("curl -s --unix-socket data/api.sock http://landfall/metrics");
    for metric in ["landfall_senders_overdue{rule=\"payments\"} 1", "landfall_files_late 1"] {
        assert!(metrics.contains(metric), "{metric}: {metrics}");
    }
    bad(&world, "bad.jsonl");
    world.sh("cd in && sha256sum bad.jsonl > ../sum && mv ../sum bad.jsonl.sha256");
    let stopped = wait_for_event(&mut service, &receiver, "rule_stopped");
    assert!(
        stopped["hint"].as_str().is_some_and(|hint| hint.contains("landfall resume --rule")),
        "{stopped:#}"
    );
    service.stop();
    let receiver = Receiver::start(200);
    let world = with_hooks("free_min = \"1000TiB\"", RULE, &url_hook(&receiver, "\"disk_low\""));
    let mut service = world.start();
    good(&world, "waits.jsonl");
    let low = wait_for_event(&mut service, &receiver, "disk_low");
    assert!(
        low["rule"].is_null() && low["message"].as_str().is_some_and(|told| told.contains("less room")),
        "{low:#}"
    );
    service.stop();
}

#[test]
fn a_hook_that_could_not_be_told_anything_is_refused_with_what_to_do_and_a_plain_connection_is_warned_of() {
    let hooks = r#"
[[hook]]
name = "one"
events = ["complete"]
rules = ["payment"]
[[hook]]
name = "two"
events = ["failed"]
command = ["true"]
url = "https://user:secret@example.org/"
[[hook]]
name = "two"
events = []
url = "example.org"
"#;
    let world = with_hooks("", RULE, hooks);
    let told = world.landfall(&["check"]).ends_with(2);
    let told = format!("{}{}", told.stdout, told.stderr);
    for problem in [
        "unknown value \"complete\"",
        "did you mean",
        "no rule is named \"payment\"",
        "hook[1].url: missing",
        "not both",
        "another hook is named \"two\"",
        "this hook is told nothing",
        "a URL begins with `https://`",
    ] {
        assert!(told.contains(problem), "{problem}: {told}");
    }
    let world = with_hooks(
        "",
        RULE,
        "[[hook]]\nname = \"a\"\nevents = [\"failed\"]\nurl = \"http://hooks.example/T0PSECRET\"\n",
    );
    let told = world.landfall(&["check"]);
    let told = format!("{}{}", told.stdout, told.stderr);
    assert!(told.contains("in clear") && !told.contains("T0PSECRET"), "{told}");
}
