//! Promise: a store that is lost, restored from a backup or damaged loses and doubles nothing without a word, and says what to do.
#![cfg(unix)]

mod support;

use std::fs;

use landfall::doors::Store;
use support::{Service, World, lines, wait_until};

/// A step that waits for `go` before it lets a file's last line pass: the job runs until the test lets it end.
const GATED: &str = r#"
records = { format = "lines", slice_records = 100 }
pipeline = [{ step = "exec", confine = false, command = ["./gate"], protocol = "line", timeout = "60s" }]
"#;

fn gated(rule: &str) -> World {
    let world = World::with_service("stop_timeout = \"1s\"", &format!("{GATED}\n{rule}"));
    world.write_gate_at("last");
    world
}

/// Drops a file whose job stands still before its end, and kills the service then.
fn killed_in_the_middle(world: &World, name: &str) {
    let mut service = world.start();
    world.move_in(&format!("in/{name}"), format!("{}last\n", lines(1000)));
    service.wait_for(world, "reached");
    let is_partial = |name: &String| name.starts_with(".landfall");
    service.wait_until("a partial", || world.files("out").iter().any(is_partial).then_some(()));
    service.kill();
    support::remove(&world.path("reached"));
}

fn claimed(world: &World) -> Vec<String> {
    let is_claimed = |name: &String| name.contains(".landfall/") && !name.contains("quarantine");
    world.files("in").into_iter().filter(is_claimed).collect()
}

fn lose_store(world: &World) {
    fs::remove_dir_all(world.path("data")).expect("the data folder is lost");
}

fn backup(world: &World) {
    world.sh("rm -rf backup; cp -a data backup");
}

fn restore(world: &World) {
    world.sh("rm -rf data; cp -a backup data");
}

/// A later file overtakes whatever is not taken up.
fn overtaken(world: &World, service: &mut Service, name: &str) {
    world.move_in(&format!("in/{name}"), "overtakes\n");
    service.wait_for(world, &format!("archive/{name}"));
}

#[test]
fn a_lost_store_leaves_claimed_files_that_are_told_and_taken_up_when_somebody_says_so() {
    let world = gated("");
    killed_in_the_middle(&world, "pay.txt");
    lose_store(&world);

    let mut service = world.start();
    service.wait_for_log("landfall recover");
    service.wait_for_log("hidden partials of jobs that this store does not know");
    overtaken(&world, &mut service, "next.txt");
    assert_eq!(claimed(&world).len(), 1, "nothing is taken by guess: {:?}", world.files("in"));
    assert_eq!(world.jobs().len(), 1, "the overtaking one alone");
    service.stop();

    let listed = world.landfall(&["recover", "in/.landfall"]).done();
    listed.says(&["pay.txt", "came from", "in/pay.txt", "rule payments", "unfinished output", "--give-back"]);
    world.landfall(&["recover", "--give-back", "in/.landfall"]).done().says(&["1 given back, 0 stay"]);
    assert_eq!(claimed(&world), [""; 0]);
    assert_eq!(world.files("out"), ["next.main"], "its hidden partials go with it");

    world.write("go", "");
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.text("out/pay.main"), format!("{}last\n", lines(1000)));
    assert_eq!(world.files("out"), ["next.main", "pay.main"]);
}

#[test]
fn recover_says_what_it_found_as_json_with_markers_and_quarantine() {
    let world = World::new("ready = { strategy = \"marker\", marker = \"{name}.done\" }");
    let id = "01k8zzzzzzzzzzzzzzzzzzzzzz";
    world.write(format!("in/.landfall/{id}.pay.txt"), "one\n");
    world.write(format!("in/.landfall/{id}.pay.txt.done"), "");
    world.write("in/.landfall/quarantine/bad.gz", "x");
    let reason = format!(
        "{{\"id\":\"{id}\",\"rule\":\"payments\",\"source\":\"/in/bad.gz\",\"error\":{{\"message\":\"cut off\"}}}}"
    );
    world.write("in/.landfall/quarantine/bad.gz.error.json", reason);
    let told = world.json(&["recover", "in/.landfall", "--json"]);
    assert_eq!(told["claimed"].as_array().map(Vec::len), Some(2), "{told:#}");
    assert_eq!(told["claimed"][0]["job"], id);
    assert_eq!(told["claimed"][0]["origin"], world.path("in/pay.txt").display().to_string());
    assert_eq!(told["claimed"][0]["rule"], "payments");
    assert_eq!(told["quarantined"][0]["error"], "cut off", "{told:#}");
    world.landfall(&["recover", "--give-back", "in/.landfall"]).done().says(&["2 given back"]);
    assert_eq!((world.text("in/pay.txt").as_str(), world.has("in/pay.txt.done")), ("one\n", true));
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert!(world.has("archive/pay.txt.done"), "{:?}", world.files("archive"));
}

/// A file that a sender gave the name of a reason says what he likes.
#[cfg(unix)]
#[test]
fn recover_believes_no_reason_but_of_the_services_own_making() {
    let world = World::new("");
    world.write("in/.landfall/quarantine/bad.gz", "x");
    world.write("in/.landfall/quarantine/bad.gz.error.json", "{\"error\":{\"message\":\"cut off\"}}");
    world.write("in/.landfall/quarantine/odd", "x");
    world.write("in/.landfall/quarantine/odd.error.json", "{\"error\"");
    let reason = world.path("in/.landfall/quarantine/bad.gz.error.json");
    if std::os::unix::fs::chown(reason, Some(2001), None).is_err() {
        return; // not root
    }
    let told = world.json(&["recover", "in/.landfall", "--json"]);
    let foreign = told["quarantined"][0]["error"].as_str().unwrap_or_default();
    assert!(foreign.contains("not the service's own file"), "{told:#}");
    let odd = told["quarantined"][1]["error"].as_str().unwrap_or_default();
    assert!(odd.starts_with("its reason file cannot be read"), "{told:#}");
}

#[test]
fn a_quarantined_source_that_is_called_like_a_reason_is_told_and_not_believed() {
    let world = World::new("");
    for name in ["a.txt", "a.txt.error.json", "b.error.json"] {
        world.write(format!("in/.landfall/quarantine/{name}"), "{\"error\":{\"message\":\"believe me\"}}");
    }
    for name in ["a.txt.error.json", "b.error.json"] {
        let reason = "{\"error\":{\"message\":\"cut off\"}}";
        world.write(format!("in/.landfall/quarantine/{name}.error.json"), reason);
    }
    let told = world.json(&["recover", "in/.landfall", "--json"]);
    let errors: Vec<_> =
        told["quarantined"].as_array().into_iter().flatten().map(|one| one["error"].as_str()).collect();
    assert_eq!(errors, [None, Some("cut off"), Some("cut off")], "{told:#}");
}

#[test]
fn a_quarantined_source_that_is_called_like_a_reason_is_not_replaced_by_one() {
    let world = World::new("paths = [\"in/*\"]\nready = { stable_for = \"50ms\" }");
    let mut service = world.start();
    let bad = |tail: &str| [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], tail.as_bytes()].concat();
    let quarantine = "in/.landfall/quarantine";
    world.move_in("in/bad.error.json", bad("the only copy"));
    service.wait_for(&world, &format!("{quarantine}/bad.error.json.error.json"));
    world.move_in("in/bad", bad("another"));
    service.wait_for(&world, &format!("{quarantine}/bad-1.error.json"));
    service.stop();
    assert_eq!(world.bytes(format!("{quarantine}/bad.error.json")), bad("the only copy"));
}

#[test]
fn what_a_reason_file_says_moves_no_cursor_of_a_terminal() {
    let world = World::new("");
    world.write("in/.landfall/quarantine/bad.gz", "x");
    let reason =
        r#"{"source":"/in/\u202egpj.\u001b[2J","error":{"message":"\u001b]0;owned\u0007\nline\u200b"}}"#;
    world.write("in/.landfall/quarantine/bad.gz.error.json", reason);
    for arguments in [&["recover", "in/.landfall"][..], &["recover", "in/.landfall", "--json"]] {
        let said = world.landfall(arguments).done().stdout;
        assert!(said.contains("owned") && said.contains("gpj"), "{said}");
        assert!(!said.contains(['\x1b', '\x07', '\u{202e}', '\u{200b}']), "{said:?}");
    }
    world.landfall(&["recover", "in/.landfall"]).done().says(&["owned\\u{7}\\nline"]);
}

#[test]
fn a_file_that_may_have_been_published_is_given_back_only_by_its_job() {
    let world = World::new("");
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    // The store was lost between the publishing of the outputs and the archiving of the source.
    let id = world.job()["id"].as_str().expect("an id").to_owned();
    support::rename(&world.path("archive/pay.txt"), &world.path(format!("in/.landfall/{id}.pay.txt")));
    lose_store(&world);
    let stays = world.landfall(&["recover", "--give-back", "in/.landfall"]).ends_with(1);
    stays.says(&["may have been published", &format!("--job {id}"), "0 given back, 1 stay"]);
    world
        .landfall(&["recover", "in/.landfall"])
        .done()
        .says(&["may have been published", "out/pay.main is there"]);
    // Never over another file.
    world.write("in/pay.txt", "newer\n");
    let taken = world.landfall(&["recover", "--give-back", "--job", &id, "in/.landfall"]).ends_with(1);
    taken.says(&["another file has its name"]);
    world
        .landfall(&["recover", "--give-back", "--job", &id, "--to", "elsewhere", "in/.landfall"])
        .ends_with(1);
    fs::create_dir(world.path("elsewhere")).expect("a folder");
    world.landfall(&["recover", "--give-back", "--job", &id, "--to", "elsewhere", "in/.landfall"]).done();
    assert_eq!(
        (world.text("in/pay.txt").as_str(), world.text("elsewhere/pay.txt").as_str()),
        ("newer\n", "one\n")
    );
}

#[test]
fn recover_leaves_alone_what_a_store_has_in_hand_and_refuses_while_a_service_runs() {
    let world = gated("");
    killed_in_the_middle(&world, "pay.txt");
    let stays = world.landfall(&["recover", "--give-back", "in/.landfall"]).ends_with(1);
    stays.says(&["the store has its job", "0 given back, 1 stay"]);
    let mut service = world.start();
    service.wait_for(&world, "reached");
    for arguments in [&["recover", "in/.landfall"][..], &["recover", "--give-back", "in/.landfall"]] {
        let refused = world.landfall(arguments).ends_with(1);
        refused.says(&["in use by process", &service.id().to_string(), "landfall jobs"]);
    }
    world.landfall(&["recover", "nowhere"]).ends_with(1).says(&["there is no folder"]);
    world.landfall(&["recover", "in"]).ends_with(1).says(&["is a watched folder", "in/.landfall"]);
    assert_eq!(claimed(&world).len(), 1);
}

#[test]
fn a_restored_backup_publishes_nothing_twice_that_was_completed_since() {
    let world = gated("");
    killed_in_the_middle(&world, "pay.txt");
    backup(&world);
    world.write("go", "");
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    overtaken(&world, &mut service, "later.txt");
    service.stop();
    restore(&world);
    let mut service = world.start();
    overtaken(&world, &mut service, "next.txt");
    let failed = || world.jobs().into_iter().find(|job| job["state"] == "failed");
    let job = service.wait_until("the job is told", failed);
    service.stop();
    let said = job["error"].to_string();
    assert!(said.contains("lies in the archive as") && said.contains("nothing is lost"), "{said}");
    assert_eq!(world.files("out"), ["later.main", "next.main", "pay.main"], "nothing was published again");
    world.landfall(&["check", "--store"]).done();
}

#[test]
fn a_restored_backup_puts_in_doubt_what_may_have_been_published_since() {
    // The source stays in its place: nothing on the disk but its outputs says that it was done.
    let world = gated("source = { on_success = \"keep\" }");
    killed_in_the_middle(&world, "pay.txt");
    // A folder of claims on the same store bears witness of the later start.
    world.configure(
        "",
        &[
            &format!("{GATED}\nsource = {{ on_success = \"keep\" }}"),
            "name = \"other\"\npaths = [\"also/*\"]",
        ],
    );
    fs::create_dir(world.path("also")).expect("a folder");
    backup(&world);
    world.write("go", "");
    let mut service = world.start();
    service.wait_for(&world, "out/pay.main");
    service.wait_until("it is completed", || (world.job()["state"] == "completed").then_some(()));
    service.stop();
    restore(&world);
    let mut service = world.start();
    service.wait_for_log("an older copy of itself");
    let failed = || world.jobs().into_iter().find(|job| job["state"] == "failed");
    let job = service.wait_until("the job is told", failed);
    service.stop();
    let said = job["error"].to_string();
    assert!(said.contains("may have been published since") && said.contains("landfall retry"), "{said}");
    assert_eq!(world.files("out"), ["pay.main"], "nothing was published again");
    // Once said, it is over.
    let mut service = world.start();
    world.move_in("also/next.txt", "one\n");
    service.wait_for(&world, "archive/next.txt");
    service.stop();
    assert_eq!(world.jobs().iter().filter(|job| job["state"] == "failed").count(), 1);
    // Somebody looked, and its outputs are not there.
    support::remove(&world.path("out/pay.main"));
    world.landfall(&["retry", job["id"].as_str().expect("an id")]).done();
    let mut service = world.start();
    service.wait_for(&world, "out/pay.main");
    service.wait_until("it is completed", || {
        world.jobs().iter().all(|job| job["state"] == "completed").then_some(())
    });
    service.stop();
    assert_eq!(world.text("out/pay.main"), format!("{}last\n", lines(1000)));
}

#[test]
fn a_restored_backup_leaves_what_was_claimed_since_to_be_told_and_given_back() {
    let world = gated("");
    let mut service = world.start();
    overtaken(&world, &mut service, "first.txt");
    service.stop();
    backup(&world);
    killed_in_the_middle(&world, "pay.txt");
    restore(&world);
    let mut service = world.start();
    service.wait_for_log("claimed files lie here that this store does not know");
    service.stop();
    world.landfall(&["recover", "--give-back", "in/.landfall"]).done();
    world.write("go", "");
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.files("out"), ["first.main", "pay.main"]);
    assert_eq!(world.jobs().len(), 2);
}

#[test]
fn a_restored_backup_of_a_store_that_was_retiring_doubles_nothing() {
    // The archive cannot be made: the job stays where its outputs are published and its source is not archived.
    let world = World::new("");
    world.write("archive", "in the way");
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\n");
    service
        .wait_until("it retires", || world.jobs().iter().any(|job| job["state"] == "retiring").then_some(()));
    service.stop();
    backup(&world);
    support::remove(&world.path("archive"));
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    // A consumer took the output since.
    support::remove(&world.path("out/pay.main"));
    restore(&world);
    let service = world.start();
    wait_until("it is completed again", || (world.job()["state"] == "completed").then_some(()));
    service.stop();
    assert_eq!(world.files("out"), [""; 0], "what was gone had been published");
    assert_eq!(world.files("archive"), ["pay.txt"]);
}

#[test]
fn check_store_verifies_with_and_without_a_service_and_finds_a_source_that_is_gone() {
    let world = gated("");
    world.landfall(&["check", "--store"]).ends_with(1).says(&["there is none"]);
    killed_in_the_middle(&world, "pay.txt");
    world.landfall(&["check", "--store"]).done().says(&["ok: ", "store: ok", "1 jobs"]);
    let mut service = world.start();
    service.wait_for(&world, "reached");
    world.landfall(&["check", "--store"]).done().says(&["store: ok", "1 jobs"]);
    service.kill();
    let source = claimed(&world).pop().expect("a claimed file");
    support::remove(&world.path("in").join(source));
    let found = world.landfall(&["check", "--store"]).ends_with(1);
    found.says(&["source of job", "hint: find who removed it", "store: 1 problem"]);
}

#[test]
fn check_store_knows_what_deliveries_and_archives_leave_there() {
    let world = World::new(
        "delivery = { key = \"{name}\", same_key = \"correction\" }\noutput = { main = { path = \"out/{stem}-{revision}\" } }\nsource = { on_success = \"archive\", archive_dir = \"archive\", archive_keep = \"1h\" }",
    );
    world.write("in/pay.txt", "one\n");
    world.ingest_and_retire("in/pay.txt").done();
    world.write("in/pay.txt", "one, corrected\n");
    world.ingest_and_retire("in/pay.txt").done();
    assert_eq!(world.files("out"), ["pay-1", "pay-2"]);
    world.landfall(&["check", "--store"]).done().says(&["store: ok", "2 jobs"]);
}

#[test]
fn a_command_that_finds_the_data_folder_taken_says_by_whom() {
    let world = World::new("");
    world.write("in/.landfall/01k8zzzzzzzzzzzzzzzzzzzzzz.pay.txt", "one\n");
    world.write("pay.txt", "one\n");
    // Neither a service that could be asked, nor a moment only.
    let _taken = Store::open(&world.path("data")).expect("opens");
    let commands = [
        &["check", "--store"][..],
        &["ingest", "--rule", "payments", "pay.txt"],
        &["recover", "in/.landfall"],
        &["recover", "--give-back", "in/.landfall"],
    ];
    std::thread::scope(|scope| {
        for arguments in commands {
            let world = &world;
            scope.spawn(move || {
                let refused = world.landfall(arguments).ends_with(1);
                refused.says(&["is in use by process", &std::process::id().to_string(), "hint: "]);
            });
        }
    });
    assert_eq!(claimed(&world).len(), 1);
}

#[test]
fn a_damaged_store_is_refused_with_advice_by_every_command() {
    let world = World::new("");
    for _ in 0..2 {
        let mut service = world.start();
        world.move_in("in/pay.txt", "one\n");
        service.wait_until("it is taken", || (!world.has("in/pay.txt")).then_some(()));
        service.wait_until("it is done", || claimed(&world).is_empty().then_some(()));
        service.stop();
    }
    world.sh("truncate -s 100 data/store/db");
    for arguments in
        [&["run"][..], &["jobs"], &["check", "--store"], &["ingest", "--rule", "payments", "out/pay.main"]]
    {
        let refused = world.landfall(arguments).ends_with(1);
        refused.says(&["is damaged", "hint: ", "backup", "landfall recover"]);
    }
    // What lies in the claim folder is told all the same.
    world.write("in/.landfall/01k8zzzzzzzzzzzzzzzzzzzzzz.pay.txt", "one\n");
    world.landfall(&["recover", "in/.landfall"]).done().says(&["pay.txt", "is damaged"]);
}

#[test]
fn a_checkpoint_of_another_framing_version_starts_the_job_from_its_first_record() {
    let world = gated("");
    let mut service = world.start();
    world.move_in("in/pay.txt", format!("{}last\n", lines(1500)));
    service.wait_for(&world, "reached");
    service.stop();
    {
        let store = Store::open(&world.path("data")).expect("opens");
        let job = store.unfinished_jobs().expect("read").pop().expect("a job");
        let mut checkpoint = store.checkpoint(job.id).expect("read").expect("a stop leaves a checkpoint");
        assert!(checkpoint.next_slice > 5, "{checkpoint:?}");
        checkpoint.framing_version += 1;
        store.change().checkpoint(job.id, &checkpoint).apply().expect("applied");
        store.sync().expect("synced");
    }
    world.landfall(&["check", "--store"]).done();
    world.write("go", "");
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert!(service_log(&world).contains("the checkpoint cannot be used"), "{}", service_log(&world));
    assert_eq!(world.text("out/pay.main"), format!("{}last\n", lines(1500)), "records were lost or doubled");
    assert_eq!(world.completed()["resumed_at_slice"], 0);
}

fn service_log(world: &World) -> String {
    world.text("landfall.log")
}

/// What a service goes on to write into a file without a name is forgotten with it.
#[test]
fn a_service_whose_store_is_removed_or_replaced_says_so_and_ends_before_it_publishes_anything() {
    // The service makes files in it meanwhile.
    let removed = "until rm -r data; do true; done";
    for how in [removed, "rm data/store/db", &format!("cp -r data copy; {removed}; mv copy data")] {
        let (world, mut service) = in_the_middle();
        world.sh(how);
        world.write("go", "");
        ends_for_its_store(&mut service);
        let shown: Vec<_> = world.files("out").into_iter().filter(|name| !name.starts_with('.')).collect();
        assert!(shown.is_empty() && !world.has("archive/pay.txt"), "{how}: {shown:?}");
    }
}

#[test]
fn a_service_whose_data_folder_is_moved_away_says_so_and_ends_before_it_claims_anything() {
    let (world, mut service) = in_the_middle();
    world.sh("mv data away");
    world.move_in("in/later.txt", "one\n");
    ends_for_its_store(&mut service);
    assert!(world.has("in/later.txt"));
}

/// A job stands still before its end.
fn in_the_middle() -> (World, Service) {
    let world = gated("");
    let mut service = world.start();
    world.move_in("in/pay.txt", format!("{}last\n", lines(1000)));
    service.wait_for(&world, "reached");
    (world, service)
}

fn ends_for_its_store(service: &mut Service) {
    let status = service.wait_until_exit(|| ());
    assert_eq!(status.code(), Some(1), "{}", service.log());
    assert!(service.log().contains("was removed or replaced under the running service"), "{}", service.log());
}

/// It has a checkpoint, and an output that is kept in the store.
#[test]
fn a_job_that_is_under_way_when_the_data_folder_is_copied_keeps_its_output_in_the_copy() {
    let rule = "records_per_second = 1000\nrecords = { format = \"lines\", slice_records = 50 }\n\
                output = { main = { keep_output = \"store\" } }\nsource = { on_success = \"delete\" }";
    let world = World::with_service("", rule);
    let config = world.text("landfall.toml");
    let config: Vec<&str> = config.lines().filter(|line| !line.starts_with("path = ")).collect();
    world.write("landfall.toml", config.join("\n"));
    let mut service = world.start();
    world.sh("seq 2000 > records; mv records in/records.txt");
    service.wait_until("some of it is worked", || {
        (world.jobs().pop()?["slices"]["done"].as_u64()? > 4).then_some(())
    });
    service.stop();
    world.sh("cp -a data copy; rm -r data");
    world.write("landfall.toml", config.join("\n").replace("data_dir = \"data\"", "data_dir = \"copy\""));
    let mut service = world.start();
    let id = service.wait_until("it is done", || {
        let job = world.jobs().pop()?;
        (job["state"] == "completed").then(|| job["id"].as_str().map(str::to_owned))?
    });
    let read = world.landfall(&["output", &id]).done();
    assert_eq!(read.stdout.lines().count(), 2000);
    service.stop();
    assert!(!world.has("data"), "the folder as it was is left alone");
}
