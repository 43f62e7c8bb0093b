//! Promise: on file systems with habits of their own every file is published exactly once, whatever happens to the service and to the mount.
//!
//! Where one cannot be mounted (not root, no `/dev/fuse`, no loop devices), its test says so and passes.
#![cfg(target_os = "linux")]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::mounts::{Kind, Mounted};
use support::{Service, World, assert_balanced, wait_until};

/// What a service may use of a processor while 32 files come and go, in seconds: with much room for a build that is not optimised.
const CPU_SECONDS_MAX: f64 = 10.0;

/// A rule that takes files from `mnt/in`, and puts its outputs and archive below `at`.
fn rule(at: &str) -> String {
    format!(
        "paths = [\"mnt/in/*\"]\nready = {{ stable_for = \"500ms\", linger = \"200ms\" }}\n\
         output = {{ main = {{ path = \"{at}out/{{name}}\" }} }}\n\
         source = {{ on_success = \"archive\", archive_dir = \"{at}archive\" }}"
    )
}

fn started(world: &World) -> Service {
    let mut service = world.start();
    service.wait_until_it_watches();
    service
}

/// Goal: files of several sizes that come in every manner are published once each, as they were sent, through a kill and a remount.
fn comes_out_once(kind: Kind, at: &str) {
    let world = World::with_service("scan_every = \"300ms\"", &rule(at));
    let Some(mut mounted) = Mounted::new(&world, kind) else { return };
    world.sh("mkdir mnt/in sent mnt/stage
        for n in $(seq 10); do seq $((n * n * 1500)) > sent/copied-$n; seq $((n * 10)) > sent/moved-$n; seq $n > sent/synced-$n; done
        seq 300 > sent/slow");
    let mut service = started(&world);
    world.sh("cp sent/copied-* mnt/in/; cp sent/moved-* mnt/stage/; mv mnt/stage/* mnt/in/; rsync -a sent/synced-* mnt/in/");
    world.sh("while read -r line; do echo $line; sleep 0.005; done < sent/slow > mnt/in/slow");
    service.wait_until("some are published", || (world.files(&format!("{at}out")).len() > 5).then_some(()));
    service.kill();
    let mut service = started(&world);
    service
        .wait_until("all are archived", || (world.files(&format!("{at}archive")).len() == 31).then_some(()));
    mounted.unmount();
    service.wait_for_log("the folder to be watched is not there yet");
    mounted.mount_again();
    world.sh("seq 7 > sent/after; cp sent/after mnt/in/");
    service.wait_for(&world, &format!("{at}archive/after"));
    let are_completed = |jobs: &[Value]| jobs.iter().all(|job| job["state"] == "completed");
    service.wait_until("all jobs are completed", || are_completed(&world.jobs()).then_some(()));
    let used = service.cpu_seconds();
    service.stop();
    assert!(used < CPU_SECONDS_MAX, "it used the processor for {used} s");
    for folder in ["out", "archive"] {
        world.sh(&format!("diff -r sent {at}{folder}"));
    }
    let jobs = world.jobs();
    assert_eq!(jobs.len(), 32, "{jobs:#?}");
    jobs.iter().for_each(assert_balanced);
    // FUSE keeps a file that is removed while it is open under a hidden name, until it hears of the close: after the close.
    wait_until("nothing is left where the files came in", || world.files("mnt/in").is_empty().then_some(()));
}

#[test]
fn files_on_an_sshfs_come_out_once_there() {
    comes_out_once(Kind::Sshfs(""), "mnt/");
}

#[test]
fn files_on_an_sshfs_without_caches_come_out_once_elsewhere() {
    comes_out_once(Kind::Sshfs("allow_other,reconnect,dir_cache=no,attr_timeout=0,entry_timeout=0"), "");
}

#[test]
fn files_on_a_bindfs_come_out_once_there() {
    comes_out_once(Kind::Bindfs(""), "mnt/");
}

#[test]
fn files_on_a_bindfs_come_out_once_elsewhere() {
    comes_out_once(Kind::Bindfs("--realistic-permissions --ctime-from-mtime"), "");
}

#[test]
fn files_on_an_exfat_come_out_once_there() {
    comes_out_once(Kind::Exfat("umask=077"), "mnt/");
}

#[test]
fn files_on_an_exfat_come_out_once_elsewhere() {
    comes_out_once(Kind::Exfat("umask=077"), "");
}

#[test]
fn files_on_an_overlay_come_out_once_there() {
    comes_out_once(Kind::Overlay, "mnt/");
}

#[test]
fn files_on_a_disk_come_out_once_there() {
    comes_out_once(Kind::Ext4, "mnt/");
}

/// Goal: a file that stays where it lies is not published again because its device, or the file, has another number now.
fn is_known_after_a_remount(kind: Kind) {
    let rule = "paths = [\"mnt/in/*\"]\noutput = { main = { path = \"out/{name}\" } }\nsource = { on_success = \"keep\" }";
    let world = World::new(rule);
    let Some(mut mounted) = Mounted::new(&world, kind) else { return };
    world.sh("mkdir mnt/in; for n in $(seq 5); do seq $n > mnt/in/$n; done");
    let mut service = started(&world);
    service.wait_until("all are done", || {
        let jobs = world.jobs();
        (jobs.len() == 5 && jobs.iter().all(|job| job["state"] == "completed")).then_some(())
    });
    // The scan that finds a later file came past those that were there.
    let sees = |service: &mut Service, name: &str| {
        world.sh(&format!("echo {name} > mnt/in/{name}"));
        service.wait_for(&world, &format!("out/{name}"));
    };
    mounted.unmount();
    mounted.mount_again();
    sees(&mut service, "mounted-again");
    service.stop();
    mounted.unmount();
    mounted.mount_again();
    let mut service = started(&world);
    sees(&mut service, "started-again");
    world.sh("seq 100 > mnt/in/1"); // another content is another source
    service.wait_for(&world, "out/1-1");
    service.stop();
    assert_eq!(world.files("out"), ["1", "1-1", "2", "3", "4", "5", "mounted-again", "started-again"]);
}

const KEEPS: &str = "paths = [\"mnt/in/*\"]\noutput = { main = { path = \"out/{name}\" } }\nsource = { on_success = \"keep\" }\n";

/// Once this file is published, all that came before it was seen by a scan.
fn sees(service: &mut Service, world: &World, name: &str) {
    world.sh(&format!("echo {name} > mnt/in/{name}"));
    service.wait_for(world, &format!("out/{name}"));
}

/// Goal: what a file is by now is what its job knows of it from a retry on.
fn is_known_after_other_rights_a_retry_and_a_remount(kind: Kind) {
    let world = World::new(&format!(
        "{KEEPS}pipeline = [{{ step = \"exec\", confine = false, command = [\"./step\"] }}]\n"
    ));
    let failing = world.path("failing");
    world.write("step", format!("#!/bin/sh\n[ ! -e {} ] || exit 1\nexec cat\n", failing.display()));
    let Some(mut mounted) = Mounted::new(&world, kind) else { return };
    world.sh("chmod +x step; touch failing; mkdir mnt/in; seq 5 > mnt/in/a");
    let mut service = started(&world);
    let ends_as = |service: &mut Service, state: &str| {
        service.wait_until(state, || (world.jobs().last()?["state"] == state).then_some(()));
    };
    ends_as(&mut service, "failed");
    world.sh("rm failing; chmod 600 mnt/in/a");
    world.landfall(&["explain", "mnt/in/a"]).done().says(&["failed", "landfall retry"]); // it has its new rights
    world.landfall(&["retry", world.job()["id"].as_str().expect("an id")]).done();
    ends_as(&mut service, "completed");
    service.stop();
    mounted.unmount();
    mounted.mount_again();
    let mut service = started(&world);
    sees(&mut service, &world, "b");
    sees(&mut service, &world, "c");
    service.stop();
    assert_eq!(world.files("out"), ["a", "b", "c"]);
}

#[test]
fn a_kept_file_on_a_bindfs_or_an_overlay_is_known_after_other_rights_a_retry_and_a_remount() {
    is_known_after_other_rights_a_retry_and_a_remount(Kind::Bindfs(""));
    is_known_after_other_rights_a_retry_and_a_remount(Kind::Overlay);
}

/// Goal: where numbers of files last, that of their device may be another: a rename that nobody saw makes no file another.
#[test]
fn a_kept_file_that_is_renamed_or_linked_before_a_remount_is_known_by_its_other_name() {
    for kind in [Kind::Overlay, Kind::Ext4] {
        let world = World::new(KEEPS);
        let Some(mut mounted) = Mounted::new(&world, kind) else { return };
        world.sh("mkdir mnt/in; seq 5 > mnt/in/renamed; seq 7 > mnt/in/linked");
        let mut service = started(&world);
        service.wait_until("they are done", || (world.files("out").len() == 2).then_some(()));
        service.stop();
        world.sh("mv mnt/in/renamed mnt/in/by-now; ln mnt/in/linked mnt/in/too");
        mounted.unmount();
        mounted.mount_again();
        let mut service = started(&world);
        sees(&mut service, &world, "a");
        sees(&mut service, &world, "b");
        service.stop();
        assert_eq!(world.files("out"), ["a", "b", "linked", "renamed"], "{kind:?}");
    }
}

/// Goal: where numbers are dealt anew, a file that got the number of one that was ingested by hand does not wait for that.
#[test]
fn files_that_get_the_numbers_of_those_that_were_ingested_by_hand_are_taken() {
    let world = World::new("paths = [\"mnt/in/*\"]\noutput = { main = { path = \"out/{name}\" } }");
    let Some(mounted) = Mounted::new(&world, Kind::Sshfs("")) else { return };
    // Of one size and one time, and so many that some get the numbers of others.
    world.sh("mkdir -p behind/by-hand behind/in; for n in $(seq 10 29); do echo $n > behind/by-hand/$n; done; touch -d '2026-01-01 10:00' behind/by-hand/*");
    let by_hand: Vec<_> = (10..30).map(|number| format!("mnt/by-hand/{number}")).collect();
    world.ingest(&by_hand.iter().map(String::as_str).collect::<Vec<_>>()).done();
    mounted.unmount();
    world.sh("rm -r behind/by-hand; for n in $(seq 30 69); do echo $n > behind/in/$n; done; touch -d '2026-01-01 10:00' behind/in/*");
    mounted.mount_as_before();
    let mut service = started(&world);
    service.wait_until("all are done", || (world.files("out").len() == 60).then_some(()));
    service.stop();
}

/// Goal: where numbers are dealt anew, a file that got the number of a kept one is not taken for it.
#[test]
fn files_that_get_the_numbers_of_kept_ones_are_taken() {
    let rule = "paths = [\"mnt/in/*\"]\noutput = { main = { path = \"out/{name}\" } }\nsource = { on_success = \"keep\" }";
    let world = World::new(rule);
    let Some(mounted) = Mounted::new(&world, Kind::Sshfs("")) else { return };
    // Of one size and one time, so that only their numbers and names differ.
    world.sh("mkdir behind/in; for n in 1 2 3; do echo $n > behind/in/$n; done; touch -d '2026-01-01 10:00' behind/in/*");
    let mut service = started(&world);
    service.wait_until("they are done", || (world.files("out").len() == 3).then_some(()));
    service.stop();
    mounted.unmount();
    world.sh("rm behind/in/1; for n in 4 5 6; do echo $n > behind/in/$n; done; touch -d '2026-01-01 10:00' behind/in/*");
    mounted.mount_as_before();
    let mut service = started(&world);
    service.wait_until("all are done", || (world.files("out").len() == 6).then_some(()));
    service.stop();
}

/// Goal: outputs on a volume that is away are not taken for published, also where the folder below its mount point is on a file system that
/// numbers files anew.
#[test]
fn an_output_folder_that_is_away_below_a_file_system_in_user_space_is_waited_for() {
    let world = World::new(
        "paths = [\"in/*\"]\nsource = { on_success = \"delete\" }\n\
         output = { main = { path = \"mnt/out/{name}\", on_exists = \"replace\" } }",
    );
    let Some(_below) = Mounted::new(&world, Kind::Bindfs("")) else { return };
    // A folder under the output's name refuses the rename.
    world.sh("mkdir -p mnt/out volume/a; mount --bind volume mnt/out; seq 5 > in/a");
    let mut service = started(&world);
    let waits = |jobs: &[Value]| {
        jobs.iter().any(|job| job["state"] == "publishing" && job["waiting"].is_object()).then_some(())
    };
    service.wait_until("it waits in the middle of publishing", || waits(&world.jobs()));
    service.kill();
    world.sh("umount mnt/out; rmdir volume/a");
    let mut service = started(&world);
    service.wait_for_log("is not the one");
    assert!(waits(&world.jobs()).is_some(), "{:#?}", world.jobs());
    world.sh("mount --bind volume mnt/out");
    service.wait_for(&world, "mnt/out/a");
    service.stop();
    world.sh("umount mnt/out");
    assert_eq!((world.text("volume/a"), world.files("mnt/out")), ("1\n2\n3\n4\n5\n".to_owned(), vec![]));
}

#[test]
fn a_kept_file_on_an_sshfs_is_known_after_a_remount() {
    is_known_after_a_remount(Kind::Sshfs(""));
}

#[test]
fn a_kept_file_on_a_bindfs_is_known_after_a_remount() {
    is_known_after_a_remount(Kind::Bindfs(""));
}

#[test]
fn a_kept_file_on_an_exfat_is_known_after_a_remount() {
    is_known_after_a_remount(Kind::Exfat("umask=077"));
}

#[test]
fn a_kept_file_on_an_overlay_is_known_after_a_remount() {
    is_known_after_a_remount(Kind::Overlay);
}

/// Goal: a job that was killed goes on after a remount, with the file that it had claimed: neither given back nor taken for changed.
fn goes_on_after_a_remount(kind: Kind, source: &str) {
    let rule = format!(
        "paths = [\"mnt/in/*\"]\noutput = {{ main = {{ path = \"mnt/out/{{name}}\" }} }}\nsource = {source}\n\
         pipeline = [{{ step = \"exec\", confine = false, command = [\"./gate\"], timeout = \"60s\" }}]"
    );
    let world = World::new(&rule);
    world.write("gate", "#!/bin/sh\n[ -e go ] || { touch begun; exec sleep 60; }\nexec cat\n");
    world.sh("chmod +x gate");
    let Some(mut mounted) = Mounted::new(&world, kind) else { return };
    world.sh("mkdir mnt/in; seq 100 > mnt/in/a");
    let mut service = started(&world);
    service.wait_for(&world, "begun");
    service.kill();
    mounted.unmount();
    mounted.mount_again();
    world.write("go", "");
    let mut service = started(&world);
    wait_until("it is completed", || (world.jobs().last()?["state"] == "completed").then_some(()));
    service.wait_until("its source is gone", || (!world.has("mnt/in/a")).then_some(()));
    service.stop();
    let jobs = world.jobs();
    assert_eq!(jobs.len(), 1, "{jobs:#?}");
    assert_eq!(world.files("mnt/out"), ["a"]);
    assert_eq!(world.files("mnt/in"), [""; 0]);
}

#[test]
fn a_job_on_an_sshfs_goes_on_after_a_remount() {
    goes_on_after_a_remount(Kind::Sshfs(""), "{ on_success = \"delete\" }");
    goes_on_after_a_remount(Kind::Sshfs(""), "{ on_success = \"archive\", archive_dir = \"archive\" }");
}

#[test]
fn a_job_on_a_bindfs_or_an_overlay_goes_on_after_a_remount() {
    goes_on_after_a_remount(Kind::Bindfs(""), "{ on_success = \"delete\" }");
    goes_on_after_a_remount(Kind::Overlay, "{ on_success = \"archive\", archive_dir = \"mnt/archive\" }");
}

#[test]
fn a_job_on_an_exfat_goes_on_after_a_remount() {
    goes_on_after_a_remount(Kind::Exfat("umask=077"), "{ on_success = \"delete\" }");
}

/// What comes only by a scan comes after the test.
const NO_SCAN: &str = "scan_every = \"1h\"";

/// From a mount to the publishing of what lies there, with much room for a busy machine.
const SEEN_WITHIN: Duration = Duration::from_secs(5);

/// Goal: a watched folder that was unmounted and is mounted again has its files taken soon, whatever tells of them, and those that waited
/// there are not taken for gone.
fn is_seen_when_it_is_mounted(kind: Kind) {
    let rule = "paths = [\"mnt/in/*\"]\nready = { strategy = \"marker\", marker = \"{name}.done\" }\n\
                output = { main = { path = \"out/{name}\" } }\nsource = { on_success = \"delete\" }";
    let world = World::with_service(NO_SCAN, rule);
    let Some(mut mounted) = Mounted::new(&world, kind) else { return };
    world.sh("mkdir mnt/in; seq 5 > mnt/in/waits");
    let mut service = started(&world);
    let waits = |service: &mut Service, words: &str| {
        service.wait_until(words, || world.landfall(&["jobs"]).stdout.contains(words).then_some(()));
    };
    waits(&mut service, "mnt/in/waits");
    mounted.unmount();
    waits(&mut service, "the folder is not there yet");
    mounted.fill("seq 7 > in/new; touch in/new.done");
    mounted.mount_again();
    let from = Instant::now();
    service.wait_for(&world, "out/new");
    assert!(from.elapsed() < SEEN_WITHIN, "it took {:?}", from.elapsed());
    waits(&mut service, "mnt/in/waits");
    mounted.unmount();
    mounted.fill("touch in/waits.done");
    mounted.mount_again();
    service.wait_for(&world, "out/waits");
    service.stop();
    assert_eq!(world.files("out"), ["new", "waits"]);
    assert_eq!(world.jobs().len(), 2);
}

#[test]
fn what_lies_on_a_disk_that_is_mounted_again_is_taken_soon() {
    is_seen_when_it_is_mounted(Kind::Ext4);
}

#[test]
fn what_lies_on_a_bindfs_that_is_mounted_again_is_taken_soon() {
    is_seen_when_it_is_mounted(Kind::Bindfs(""));
}

#[test]
fn what_lies_on_an_sshfs_that_is_mounted_again_is_taken_soon() {
    is_seen_when_it_is_mounted(Kind::Sshfs(""));
}

/// Of a mount below the folder that a pattern begins in that folder tells nothing.
#[test]
fn a_sender_whose_folder_is_mounted_while_the_service_runs_is_served_soon() {
    let rule = "paths = [\"{sender}/in/*\"]\nready = { stable_for = \"100ms\" }\n\
                output = { main = { path = \"out/{name}\" } }\nsource = { on_success = \"delete\" }";
    let world = World::with_service(NO_SCAN, rule);
    let Some(mut mounted) = Mounted::new(&world, Kind::Ext4) else { return };
    mounted.unmount();
    let mut service = started(&world);
    for name in ["a", "b"] {
        mounted.fill(&format!("mkdir -p in; seq 5 > in/{name}"));
        mounted.mount_again();
        service.wait_for(&world, &format!("out/{name}"));
        world.sh(&format!("mkdir -p mnt/in; seq 5 > mnt/in/{name}-later"));
        service.wait_for(&world, &format!("out/{name}-later"));
        mounted.unmount();
    }
    service.stop();
    assert_eq!(world.jobs().len(), 4);
}

/// Goal: who has a file ingested by hand finds it where it lay, though a rule watches there and its number is another after a remount.
#[test]
fn a_file_that_is_ingested_by_hand_from_an_sshfs_stays_its_jobs_through_a_kill_and_a_remount() {
    let world = World::new(
        "paths = [\"mnt/in/*\"]\nready = { strategy = \"stable\", stable_for = \"2s\" }\noutput = { main = { path = \"out/{name}\" } }\n\
         pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"], timeout = \"60s\" }]",
    );
    world.write("gate", "#!/bin/sh\nuntil [ -e go ]; do touch begun; sleep 0.05; done\nexec cat\n");
    world.sh("chmod +x gate");
    let Some(mut mounted) = Mounted::new(&world, Kind::Sshfs("")) else { return };
    // What is looked up first has the lower numbers.
    world.sh("mkdir mnt/in mnt/other; touch mnt/other/{1..9}; ls -lR mnt; seq 100 > mnt/in/a");
    let service = started(&world);
    let mut by_hand =
        world.command().args(["ingest", "--rule", "payments", "mnt/in/a"]).spawn().expect("starts");
    wait_until("it is read", || world.has("begun").then_some(()));
    service.kill();
    by_hand.wait().expect("ends with the service");
    mounted.unmount();
    mounted.mount_again();
    let mut service = started(&world);
    service.wait_until("it waits for its job", || {
        let listed = world.json(&["jobs", "--json"]);
        listed["files_waiting"].to_string().contains("has taken it").then_some(())
    });
    world.write("go", "");
    service.wait_until("its job is done", || (world.jobs().first()?["state"] == "completed").then_some(()));
    service.stop();
    assert_eq!((world.jobs().len(), world.files("out")), (1, vec!["a".to_owned()]));
    assert!(world.has("mnt/in/a"), "it was asked for by hand");
}
