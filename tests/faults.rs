//! Promise: whatever the system refuses, nothing is lost or half published, the operator sees why, and the job goes on by itself.
#![cfg(target_os = "linux")]

mod support;

use serde_json::Value;
use support::disk::{Disk, FailingDisk, can_mount};
use support::{Service, World, lines};

/// Outputs under `mnt/`, the rest as ever.
const OUT_ON_MNT: &str = r#"output = { main = { path = "mnt/out/{stem}.main" } }"#;

/// The only job, once it waits for this.
#[track_caller]
fn wait_for_waiting(service: &mut Service, world: &World, what: &str) -> Value {
    service.wait_until("the job says what it waits for", || {
        world.jobs().into_iter().find(|job| job["waiting"]["for"] == what)
    })
}

/// The reason for which a file waits, once the service shows one that has this word.
#[track_caller]
fn wait_for_file_waiting(service: &mut Service, world: &World, wanted: &str) -> String {
    service.wait_until("the file is shown with why it waits", || {
        let listed = world.json(&["jobs", "--json"]);
        let files = listed["files_waiting"].as_array().expect("a list").clone();
        files
            .iter()
            .filter_map(|file| file["reason"].as_str())
            .find(|why| why.contains(wanted))
            .map(str::to_owned)
    })
}

#[test]
fn below_free_min_nothing_is_claimed_and_files_go_on_by_themselves_when_there_is_room() {
    if !can_mount() {
        return;
    }
    let world = World::with_service("free_min = \"4MiB\"", OUT_ON_MNT);
    let disk = Disk::mount(&world.path("mnt"), "8m");
    disk.fill(2 << 20);
    let mut service = world.start();
    world.move_in("in/one.txt", "1\n");
    let reason = wait_for_file_waiting(&mut service, &world, "free_min");
    assert!(reason.contains("2.0 MiB free") && reason.contains("4.0 MiB"), "{reason}");
    world.move_in("in/two.txt", "2\n");
    world.landfall(&["jobs"]).done().says(&["no jobs", "waiting files", "in/one.txt: ", "free_min"]);
    world.ingest_and_retire("in/two.txt").ends_with(1).says(&["too little room", "mnt", "make room there"]);
    assert_eq!((world.jobs().len(), world.files("mnt/out").len()), (0, 0));
    disk.empty();
    service.wait_for(&world, "archive/one.txt");
    service.wait_for(&world, "archive/two.txt");
    assert_eq!(
        (world.text("mnt/out/one.main"), world.text("mnt/out/two.main")),
        ("1\n".into(), "2\n".into())
    );
    service.wait_for_log_times("room again", 1);
    service.wait_for_log_times("too little room", 1);
}

/// A step that lets each record through only once `go` is there.
const STEP_THAT_WAITS: &str = r#"pipeline = [{ step = "exec", confine = false, command = ["./wait.sh"], timeout = "60s" }]
"#;

fn write_step_that_waits(world: &World) {
    world.write(
        "wait.sh",
        "#!/bin/bash\nwhile IFS= read -r line; do touch begun; until [ -e go ]; do sleep 0.02; done; echo \"$line\"; done\n",
    );
    world.sh("chmod +x wait.sh");
}

#[test]
fn a_running_job_gives_way_when_room_gets_short_and_goes_on_when_there_is_some() {
    if !can_mount() {
        return;
    }
    let world = World::with_service("free_min = \"4MiB\"", &format!("{STEP_THAT_WAITS}{OUT_ON_MNT}"));
    write_step_that_waits(&world);
    let disk = Disk::mount(&world.path("mnt"), "8m");
    let mut service = world.start();
    world.move_in("in/pay.txt", "1\n2\n3\n");
    service.wait_for(&world, "begun");
    disk.fill(2 << 20);
    service.wait_for_log("too little room");
    world.write("go", "");
    let job = wait_for_waiting(&mut service, &world, "disk");
    // On a busy machine it may be done before it is told to give way: then it waits where it is, before anything is visible.
    let held = job["state"] == "held";
    assert!(held || job["state"] == "publishing", "{job:#}");
    let detail = job["waiting"]["detail"].as_str().expect("text");
    assert!(detail.contains("2.0 MiB free") && detail.contains("/mnt/out"), "{detail}");
    let id = job["id"].as_str().expect("text");
    world.landfall(&["show", id]).done().says(&["waiting    for disk", "2.0 MiB free", "make room there"]);
    assert!(!world.has("mnt/out/pay.main"));
    assert!(!held || world.files("mnt") == ["filler"], "{:?}", world.files("mnt"));
    disk.empty();
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.text("mnt/out/pay.main"), "1\n2\n3\n");
    assert_eq!(world.completed()["records_in"], 3);
}

#[test]
fn what_is_ready_to_be_published_waits_for_room_with_nothing_visible() {
    if !can_mount() {
        return;
    }
    let world = World::bare();
    let recipient = world.age_key();
    // An encrypted output cannot be continued: such a job does not give way.
    let output = format!(
        "output = {{ main = {{ path = \"mnt/out/{{stem}}.age\", recipients = [\"{recipient}\"] }} }}\npublish = {{ marker = \"mnt/out/{{stem}}.done\" }}"
    );
    world.configure("free_min = \"4MiB\"", &[&format!("{STEP_THAT_WAITS}{output}")]);
    write_step_that_waits(&world);
    std::fs::create_dir(world.path("in")).expect("the folder is new");
    let disk = Disk::mount(&world.path("mnt"), "8m");
    let mut service = world.start();
    world.move_in("in/pay.txt", "1\n");
    service.wait_for(&world, "begun");
    disk.fill(2 << 20);
    service.wait_for_log("too little room");
    world.write("go", "");
    let job = wait_for_waiting(&mut service, &world, "disk");
    assert_eq!((&job["state"], &job["error"]["kind"]), (&"publishing".into(), &"storage".into()), "{job:#}");
    let visible = |name: &&String| !name.starts_with("out/.landfall-") && *name != "filler";
    assert_eq!(world.files("mnt").iter().find(visible), None, "{:?}", world.files("mnt"));
    service.kill();
    let mut service = world.start();
    wait_for_waiting(&mut service, &world, "disk");
    disk.empty();
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.files("mnt/out"), ["pay.age", "pay.done"]);
    assert_eq!(world.sh("age -d -i key.txt mnt/out/pay.age"), "1\n");
}

#[test]
fn without_its_mount_nothing_is_claimed_and_nothing_lands_beside_it() {
    if !can_mount() {
        return;
    }
    let world = World::with_service(
        "",
        &format!("publish = {{ mount = \"mnt\", marker = \"mnt/{{stem}}.done\" }}\n{OUT_ON_MNT}"),
    );
    world.landfall(&["check"]).done().says(&["warning: ", "rule \"payments\": publish.mount"]);
    let mut service = world.start();
    world.move_in("in/pay.txt", "1\n");
    let reason = wait_for_file_waiting(&mut service, &world, "publish.mount");
    assert!(reason.contains("no file system is mounted at ") && reason.contains("/mnt"), "{reason}");
    assert!(!world.has("mnt"), "{:?}", world.files("."));
    // On the same device as the folder around it: only the kernel's table of mounts tells.
    let _disk = Disk::bind(&world.path("disk"), &world.path("mnt"));
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.files("disk"), ["out/pay.main", "pay.done"]);
    service.wait_for_log_times("is mounted here now", 1);
    service.wait_for_log_times("is mounted here: nothing", 1);
    assert!(!world.landfall(&["check"]).done().stdout.contains("warning"));
}

#[test]
fn a_mount_that_vanishes_under_a_job_holds_it_until_it_is_back() {
    if !can_mount() {
        return;
    }
    let world =
        World::with_service("", &format!("publish = {{ mount = \"mnt\" }}\n{STEP_THAT_WAITS}{OUT_ON_MNT}"));
    write_step_that_waits(&world);
    let disk = Disk::bind(&world.path("disk"), &world.path("mnt"));
    let mut service = world.start();
    world.move_in("in/pay.txt", "1\n2\n");
    service.wait_for(&world, "begun");
    drop(disk);
    world.write("go", "");
    let job = wait_for_waiting(&mut service, &world, "mount");
    let told = format!("{} {}", job["waiting"]["detail"], job["error"]["hint"]);
    assert!(told.contains("/mnt") && told.contains("mount it"), "{told}");
    assert_eq!(world.files("mnt"), [""; 0], "nothing lands where the mount was");
    let _disk = Disk::bind(&world.path("disk"), &world.path("mnt"));
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.files("disk"), ["out/pay.main"]);
    assert_eq!(world.text("mnt/out/pay.main"), "1\n2\n");
}

#[test]
fn an_output_beside_the_mount_is_a_problem_of_the_configuration() {
    let world = World::new("publish = { mount = \"mnt\", marker = \"elsewhere/{stem}.done\" }");
    let ran = world.landfall(&["check"]).ends_with(2);
    ran.says(&["output.main.path", "publish.marker", "does not lie in `publish.mount`", "2 problems"]);
}

#[test]
fn a_full_output_disk_holds_the_job_and_nothing_is_half_published() {
    if !can_mount() {
        return;
    }
    let world = World::new(&format!("publish = {{ marker = \"mnt/{{stem}}.done\" }}\n{OUT_ON_MNT}"));
    let disk = Disk::mount(&world.path("mnt"), "1m");
    let text = lines(50_000);
    let mut service = world.start();
    world.move_in("in/pay.txt", &text);
    let job = wait_for_waiting(&mut service, &world, "disk");
    assert_eq!(job["state"], "held", "{job:#}");
    let told = format!("{} {}", job["error"]["message"], job["error"]["hint"]);
    for word in ["cannot write", "/mnt/out/", "No space left", "make room on that disk"] {
        assert!(told.contains(word), "`{word}` is not in {told}");
    }
    assert!(!world.has("mnt/pay.done") && !world.has("mnt/out/pay.main"), "{:?}", world.files("mnt"));
    // It is tried again and again meanwhile; in between nothing of it is there.
    service.wait_until("its partials are gone", || world.files("mnt").is_empty().then_some(()));
    disk.change("size=16m");
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.files("mnt"), ["out/pay.main", "pay.done"]);
    assert!(world.text("mnt/out/pay.main") == text);
}

#[test]
fn a_full_archive_disk_loses_no_source_and_the_outputs_are_there() {
    if !can_mount() {
        return;
    }
    let world = World::new("source = { on_success = \"archive\", archive_dir = \"mnt/archive\" }");
    let disk = Disk::mount(&world.path("mnt"), "1m");
    let text = lines(50_000);
    let mut service = world.start();
    world.move_in("in/pay.txt", &text);
    let job = wait_for_waiting(&mut service, &world, "disk");
    assert_eq!(job["state"], "retiring", "{job:#}");
    let told = format!("{} {}", job["error"]["message"], job["error"]["hint"]);
    assert!(told.contains("/mnt/archive") && told.contains("make room on that disk"), "{told}");
    assert!(world.text("out/pay.main") == text);
    assert_eq!((world.files("in").len(), world.files("mnt").len()), (1, 0), "{:?}", world.files("mnt"));
    disk.change("size=16m");
    service.wait_for(&world, "mnt/archive/pay.txt");
    assert!(world.text("mnt/archive/pay.txt") == text);
    service.wait_until("the job is completed", || (world.job()["state"] == "completed").then_some(()));
    assert_eq!((world.files("in").len(), world.files("mnt")), (0, vec!["archive/pay.txt".to_owned()]));
}

#[test]
fn a_full_data_disk_stops_the_service_and_the_next_start_with_room_finishes_every_file() {
    if !can_mount() {
        return;
    }
    // Failed records are kept in the store: more of them than the part of its log that has its room already.
    let rule = "records = { format = \"lines\", record_max = 100 }\nerrors = { failed_max = \"100%\" }";
    let world = World::with_service("data_dir = \"mnt/data\"", rule);
    let disk = Disk::mount(&world.path("mnt"), "64m");
    let mut service = world.start();
    service.wait_for_log("watching");
    disk.fill(64 << 10);
    world.sh("head -c 12000000 /dev/urandom | base64 -w 600 > big; wc -l < big > count; mv big in/big.txt; echo one > small; mv small in/");
    let status = service.wait_until_exit(|| {});
    assert_eq!(status.code(), Some(1), "{}", service.log());
    let told = ["/mnt/data/store cannot ", "No space left", "make room on the disk of `service.data_dir`"];
    assert!(told.iter().all(|word| service.log().contains(word)), "{}", service.log());
    let mut full = world.start();
    assert_eq!(full.wait_until_exit(|| {}).code(), Some(1), "it refuses to start, or stops again");
    disk.empty();
    disk.change("size=256m"); // rewritten pages stay in the log until their segments are used anew
    let mut service = world.start();
    service.wait_for(&world, "archive/big.txt");
    service.wait_for(&world, "archive/small");
    service.stop();
    let failed: Vec<_> = world.jobs().into_iter().map(|job| job["records_failed"].to_string()).collect();
    assert!(failed.contains(&world.text("count").trim().to_owned()), "{failed:?}");
    assert_eq!((world.text("out/small.main"), world.files("in")), ("one\n".to_owned(), Vec::new()));
}

#[test]
fn with_too_few_open_files_everything_still_comes_out_whole() {
    let world = World::new(
        "output = { main = { path = \"out/{stem}-{entry}\" } }\npublish = { marker = \"done/{stem}.done\" }",
    );
    world.sh("mkdir z; for i in $(seq 20); do seq $i > z/$i.txt; done; (cd z; zip -q ../a.zip *.txt)");
    for number in 0..20 {
        world.write(format!("in/plain{number}.txt"), "1\n");
        world.write(format!("in/zip{number}.zip"), world.bytes("a.zip"));
    }
    // An idle service has 26, and its jobs follow two folders together.
    let mut service = world.start_with_open_files(43);
    service.wait_until("all are archived", || (world.files("archive").len() == 40).then_some(()));
    service.wait_for_log("the limit of open files is low");
    assert_eq!((world.files("done").len(), world.files("in")), (40, Vec::<String>::new()));
    let out = world.files("out");
    assert_eq!(out.len(), 20 + 20 * 20, "{out:?}");
    for name in out.iter().filter(|name| name.starts_with("zip")) {
        let entry =
            name.split_once('-').and_then(|(_, entry)| entry.strip_suffix(".txt")).expect("its entry");
        assert_eq!(world.text(format!("out/{name}")).lines().count().to_string(), entry, "{name}");
    }
}

#[test]
fn a_target_that_is_read_only_holds_the_job_until_it_can_be_written() {
    if !can_mount() {
        return;
    }
    let world = World::new(OUT_ON_MNT);
    let disk = Disk::mount(&world.path("mnt"), "4m");
    disk.change("ro");
    let mut service = world.start();
    world.move_in("in/pay.txt", "1\n");
    let job = wait_for_waiting(&mut service, &world, "disk");
    let told = format!("{} {}", job["error"]["message"], job["error"]["hint"]);
    assert!(told.contains("/mnt/out") && told.contains("mount that file system writable"), "{told}");
    disk.change("rw");
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.text("mnt/out/pay.main"), "1\n");
}

#[test]
fn a_target_that_turns_read_only_under_a_job_holds_it_with_nothing_half() {
    if !can_mount() {
        return;
    }
    let world = World::new(&format!(
        "{STEP_THAT_WAITS}output = {{ main = {{ path = \"mnt/{{stem}}.main\" }} }}\npublish = {{ marker = \"mnt/{{stem}}.done\" }}"
    ));
    write_step_that_waits(&world);
    let disk = Disk::mount(&world.path("mnt"), "4m");
    let mut service = world.start();
    world.move_in("in/pay.txt", "1\n2\n");
    service.wait_for(&world, "begun");
    disk.change("ro");
    world.write("go", "");
    let job = wait_for_waiting(&mut service, &world, "disk");
    assert!(job["error"]["hint"].as_str().is_some_and(|hint| hint.contains("writable")), "{job:#}");
    disk.change("rw");
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.files("mnt"), ["pay.done", "pay.main"]);
    assert_eq!(world.text("mnt/pay.main"), "1\n2\n");
}

#[test]
fn a_file_in_the_place_of_the_output_folder_holds_the_job_and_says_so() {
    let world = World::new("");
    world.write("out", "in the way");
    let mut service = world.start();
    world.move_in("in/pay.txt", "1\n");
    let job = wait_for_waiting(&mut service, &world, "config");
    let told = format!("{} {}", job["error"]["message"], job["error"]["hint"]);
    assert!(told.contains("/out") && told.contains("take the file away"), "{told}");
    support::remove(&world.path("out"));
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.text("out/pay.main"), "1\n");
}

#[test]
fn an_output_folder_that_is_taken_away_under_a_job_costs_no_record() {
    let world = World::new(&format!("{STEP_THAT_WAITS}publish = {{ marker = \"out/{{stem}}.done\" }}"));
    // The second record waits: by then the partial of the first is there.
    world.write(
        "wait.sh",
        "#!/bin/bash\nwhile IFS= read -r line; do [ \"$line\" != 5000 ] || { touch begun; until [ -e go ]; do sleep 0.02; done; }; echo \"$line\"; done\n",
    );
    world.sh("chmod +x wait.sh; mkdir out; seq 6000 > numbers");
    let mut service = world.start();
    world.move_in("in/pay.txt", world.bytes("numbers"));
    service.wait_for(&world, "begun");
    service.wait_until("a partial is there", || (!world.files("out").is_empty()).then_some(()));
    world.sh("rm -r out");
    world.write("go", "");
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.files("out"), ["pay.done", "pay.main"]);
    assert!(world.bytes("out/pay.main") == world.bytes("numbers"));
    service.wait_for_log("waiting; it goes on by itself");
}

#[test]
fn a_watched_folder_that_cannot_be_written_keeps_its_files_until_it_can() {
    if !can_mount() {
        return;
    }
    let world = World::new("");
    let disk = Disk::mount(&world.path("in"), "4m");
    world.write("in/pay.txt", "1\n");
    disk.change("ro");
    let mut service = world.start();
    let reason = wait_for_file_waiting(&mut service, &world, "landfall");
    assert!(reason.contains("/in/.landfall") && reason.contains("Read-only file system"), "{reason}");
    assert!(reason.contains("mount that file system writable"), "{reason}");
    assert_eq!((world.jobs().len(), world.text("in/pay.txt")), (0, "1\n".to_owned()));
    disk.change("rw");
    service.wait_for(&world, "archive/pay.txt");
}

#[test]
fn a_watched_file_system_that_vanishes_under_a_job_holds_it_until_it_is_back() {
    if !can_mount() {
        return;
    }
    let world = World::new(STEP_THAT_WAITS);
    write_step_that_waits(&world);
    let disk = Disk::bind(&world.path("disk"), &world.path("in"));
    let mut service = world.start();
    service.wait_for_log("watching");
    world.write("disk/pay.txt", "1\n");
    service.wait_for(&world, "begun");
    drop(disk);
    world.write("go", "");
    let job = service.wait_until("the job says that its source is away", || {
        let job = world.job();
        (!job["waiting"].is_null()).then_some(job)
    });
    let told = format!("{} {}", job["waiting"]["detail"], job["error"]["hint"]);
    assert!(told.contains("/in/.landfall/") || told.contains("/in"), "{told}");
    let _disk = Disk::bind(&world.path("disk"), &world.path("in"));
    service.wait_for(&world, "archive/pay.txt");
    assert_eq!(world.text("out/pay.main"), "1\n");
    world.write("disk/next.txt", "2\n");
    service.wait_for(&world, "archive/next.txt");
}

/// The same as at a boot that mounts late: what is there in its place is another folder.
#[test]
fn a_start_before_the_watched_file_system_is_mounted_fails_and_completes_no_job() {
    if !can_mount() {
        return;
    }
    for held_in in ["running", "retiring"] {
        let world = World::new(STEP_THAT_WAITS);
        write_step_that_waits(&world);
        if held_in == "retiring" {
            world.write("go", "");
            // The archive cannot be made yet.
            world.write("archive", "no folder\n");
        }
        let disk = Disk::bind(&world.path("disk"), &world.path("in"));
        let mut service = world.start();
        service.wait_for_log("watching");
        world.write("disk/pay.txt", "1\n");
        service.wait_for(&world, if held_in == "retiring" { "out/pay.main" } else { "begun" });
        if held_in == "retiring" {
            service.wait_until(held_in, || (world.job()["state"] == held_in).then_some(()));
        }
        service.kill();
        drop(disk);
        if held_in == "retiring" {
            support::remove(&world.path("archive"));
        }
        world.write("go", "");
        let mut service = world.start();
        // Told either way: that it waits, or, wrongly, what became of it.
        let job = service.wait_until("the job is looked at", || {
            let job = world.job();
            let is_told =
                !job["waiting"].is_null() || job["state"] == "completed" || job["state"] == "failed";
            is_told.then_some(job)
        });
        assert!(!job["waiting"].is_null(), "{held_in}: {job:#}");
        let _disk = Disk::bind(&world.path("disk"), &world.path("in"));
        service.wait_for(&world, "archive/pay.txt");
        assert_eq!(world.text("out/pay.main"), "1\n");
        service.stop();
        assert_eq!(world.completed()["records_in"], 1);
    }
}

#[test]
fn a_manifest_that_cannot_be_written_is_written_later_and_the_marker_after_it() {
    if !can_mount() {
        return;
    }
    let world = World::new("publish = { manifest = \"mnt/m/{stem}.json\", marker = \"out/{stem}.done\" }");
    let disk = Disk::mount(&world.path("mnt"), "1m");
    disk.fill(0);
    let mut service = world.start();
    world.move_in("in/pay.txt", "1\n");
    let job = wait_for_waiting(&mut service, &world, "disk");
    assert_eq!(job["state"], "publishing", "{job:#}");
    let signals = ["out/pay.done", "mnt/m/pay.json"].map(|name| world.has(name));
    assert_eq!(
        (world.has("out/pay.main"), signals),
        (true, [false, false]),
        "outputs first, then what tells of them"
    );
    disk.empty();
    service.wait_for(&world, "archive/pay.txt");
    let manifest: Value = serde_json::from_str(&world.text("mnt/m/pay.json")).expect("JSON");
    assert_eq!((world.has("out/pay.done"), &manifest["state"]), (true, &"retiring".into()), "{manifest:#}");
}

#[test]
fn after_a_failed_fsync_of_an_output_the_service_stops_and_its_next_start_writes_it_anew() {
    if !can_mount() {
        return;
    }
    let world = World::new(OUT_ON_MNT);
    let Some(mut disk) = FailingDisk::mount(&world.path("mnt"), &world.path("below"), "3m") else { return };
    let text = lines(100_000);
    let mut service = world.start();
    world.move_in("in/pay.txt", &text);
    assert_eq!(service.wait_until_exit(|| {}).code(), Some(1), "{}", service.log());
    let log = service.log();
    for word in ["cannot sync ", "/mnt/out/.landfall-", "then start the service again"] {
        assert!(log.contains(word), "`{word}` is not in {log}");
    }
    assert!(!world.has("mnt/out/pay.main"));
    disk.mend();
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    disk.forget_cached();
    assert!(world.text("mnt/out/pay.main") == text, "it is on the disk, not only in memory");
    assert_eq!(world.completed()["records_in"], 100_000);
}

#[test]
fn after_a_failed_fsync_of_an_archive_copy_the_source_stays_and_is_copied_anew() {
    if !can_mount() {
        return;
    }
    let world = World::new("source = { on_success = \"archive\", archive_dir = \"mnt/archive\" }");
    let Some(mut disk) = FailingDisk::mount(&world.path("mnt"), &world.path("below"), "3m") else { return };
    let text = lines(100_000);
    let mut service = world.start();
    world.move_in("in/pay.txt", &text);
    assert_eq!(service.wait_until_exit(|| {}).code(), Some(1), "{}", service.log());
    assert_eq!(world.files("in").len(), 1, "the source is there");
    assert!(!world.has("mnt/archive/pay.txt") && service.log().contains("cannot sync "), "{}", service.log());
    disk.mend();
    let mut service = world.start();
    service.wait_for(&world, "mnt/archive/pay.txt");
    service.wait_until("the job is completed", || (world.job()["state"] == "completed").then_some(()));
    service.stop();
    disk.forget_cached();
    assert!(world.text("mnt/archive/pay.txt") == text, "it is on the disk, not only in memory");
    assert_eq!(world.files("in"), [""; 0]);
}

#[test]
fn after_a_failed_fsync_of_the_store_the_next_start_believes_only_the_disk() {
    if !can_mount() {
        return;
    }
    let world = World::with_service("data_dir = \"mnt/data\"", "");
    let Some(mut disk) = FailingDisk::mount(&world.path("mnt"), &world.path("below"), "1m") else { return };
    let mut service = world.start();
    let mut sent = 0;
    let status = service.wait_until_exit(|| {
        if sent < 600 {
            world.move_in(&format!("in/{sent}.txt"), format!("{sent}\n"));
            sent += 1;
        }
    });
    assert_eq!(status.code(), Some(1), "{}", service.log());
    assert!(service.log().contains("/mnt/data/store cannot "), "{}", service.log());
    disk.mend();
    let mut service = world.start();
    // A file whose row the disk lost lies claimed, under its own name: it is not lost either.
    let claimed = || world.files("in").iter().filter(|name| name.starts_with(".landfall/")).count();
    service.wait_until("each file is archived, or still claimed", || {
        // Files first: what is claimed after the look at the jobs has one.
        let all_claimed = world.files("archive").len() + claimed() == sent;
        (all_claimed && world.jobs().iter().all(|job| job["state"] == "completed")).then_some(())
    });
    service.stop();
    disk.forget_cached();
    let archived = world.files("archive").len();
    assert_eq!(world.files("out").len(), archived);
    assert!(world.jobs().iter().all(|job| job["state"] == "completed"));
    let mut service = world.start();
    world.move_in("in/next.txt", "next\n");
    service.wait_for(&world, "archive/next.txt");
    assert_eq!((world.files("out").len(), world.files("archive").len()), (archived + 1, archived + 1));
}
