//! Promise: what a job reads where it lies is published once, by whatever names it is found besides, during the job and after it.
#![cfg(unix)]

mod support;

use std::process::Child;

use serde_json::Value;
use support::mounts::{Kind, Mounted};
use support::{Service, World, lines};

const GATED: &str = "pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"], protocol = \"line\", timeout = \"60s\" }]\n";

fn wait_for_reason(service: &mut Service, world: &World, name: &str, words: &[&str]) {
    service.wait_until(&format!("{name} waits for {words:?}"), || {
        let said = world.json(&["explain", name, "--json"])["waits"].to_string();
        words.iter().all(|word| said.contains(word)).then_some(())
    });
}

/// Once this file is published, all that came before it was seen, by events and by a scan.
fn settle(service: &mut Service, world: &World, name: &str) {
    world.move_in(&format!("in/{name}.txt"), "one\n");
    service.wait_for(world, &format!("out/{name}.main"));
}

fn id_of(job: &Value) -> &str {
    job["id"].as_str().expect("a job has an id")
}

/// An operator's `landfall ingest` that is in the middle of its file.
fn ingesting(world: &World, service: &mut Service, file: &str) -> (Child, String) {
    world.write_gate();
    let ingest = world.command().args(["ingest", "--rule", "payments", file]).spawn().expect("it runs");
    service.wait_for(world, "reached");
    let job = id_of(&world.job()).to_owned();
    (ingest, job)
}

#[test]
fn a_watched_name_of_a_file_that_is_ingested_by_hand_is_not_taken_during_that_or_after() {
    let world = World::new(GATED);
    world.write("elsewhere/x", lines(3000));
    let mut service = world.start();
    service.wait_until_it_watches();
    let (mut ingest, job) = ingesting(&world, &mut service, "elsewhere/x");
    world.sh("ln elsewhere/x in/second.txt");
    wait_for_reason(
        &mut service,
        &world,
        "in/second.txt",
        &["another name of", "elsewhere/x", &job, "has taken"],
    );
    world.write("go", "");
    assert!(ingest.wait().expect("it ends").success());
    let published = ["another name of", "elsewhere/x", &job, "has published"];
    wait_for_reason(&mut service, &world, "in/second.txt", &published);
    service.kill();
    let mut service = world.start();
    wait_for_reason(&mut service, &world, "in/second.txt", &published);
    world.sh("mv elsewhere/x in/third.txt; rm in/second.txt");
    wait_for_reason(&mut service, &world, "in/third.txt", &published);
    settle(&mut service, &world, "settled");
    assert_eq!(world.files("out"), ["settled.main", "x.main"]);
    assert!(
        world.json(&["jobs", "--json"])["files_waiting"].to_string().contains("third.txt"),
        "it is listed"
    );
    // What is written anew is another file; a copy is, too.
    world.sh("cp in/third.txt .copy; mv .copy in/copy.txt; echo new >> in/third.txt");
    service.wait_for(&world, "out/copy.main");
    service.wait_for(&world, "out/third.main");
    service.stop();
}

#[test]
fn a_file_that_waits_and_is_ingested_by_hand_meanwhile_is_not_taken_when_it_is_ready() {
    let world = World::new("ready = { strategy = \"marker\", marker = \"{name}.done\" }");
    world.write("in/pay.txt", "one\n");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.ingest(&["in/pay.txt"]).done().says(&["watches", "not taken again", "--retire"]);
    world.write("in/pay.txt.done", "");
    wait_for_reason(&mut service, &world, "in/pay.txt", &[id_of(&world.job()), "has published"]);
    world.landfall(&["explain", "in/pay.txt"]).done().says(&["has published its records"]);
    // An operator may have it as often as he likes.
    world.ingest(&["in/pay.txt"]).done();
    assert_eq!(world.files("out"), ["pay-1.main", "pay.main"]);
    world.sh("echo two > in/pay.txt; touch in/pay.txt.done");
    service.wait_for(&world, "out/pay-2.main");
    service.stop();
    assert_eq!(world.text("out/pay-2.main"), "two\n");
}

#[test]
fn a_file_that_failed_by_hand_is_its_rules_to_take() {
    let world = World::bare();
    let failing =
        "name = \"other\"\npaths = [\"other/*\"]\npipeline = [{ step = \"exec\", command = [\"false\"] }]";
    world.configure("", &["ready = { strategy = \"marker\", marker = \"{name}.done\" }", failing]);
    world.write("in/pay.txt", "one\n");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.landfall(&["ingest", "--rule", "other", "in/pay.txt"]).ends_with(1);
    world.write("in/pay.txt.done", "");
    service.wait_for(&world, "out/pay.main");
    let failed = world.jobs().into_iter().find(|job| job["state"] == "failed").expect("it failed");
    world.landfall(&["retry", id_of(&failed)]).ends_with(1);
    service.stop();
}

/// Goal: what a link out of quarantine had published does not come out a second time by a retry.
#[test]
fn a_source_that_was_published_by_another_name_is_not_retried() {
    let world = World::new("pipeline = [{ step = \"exec\", confine = false, command = [\"./step\"] }]");
    world.write("step", "#!/bin/sh\nexit 1\n");
    world.sh("chmod +x step");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/pay.txt", "one\n");
    let failed = service.wait_until("it fails", || {
        Some(world.jobs()).filter(|jobs| jobs.iter().any(|job| job["state"] == "failed"))
    });
    let failed = id_of(&failed[0]).to_owned();
    world.write(
        ".step",
        "#!/bin/sh\n[ -e go ] || { touch reached; while [ ! -e go ]; do sleep 0.02; done; }\nexec cat\n",
    );
    world.sh(&format!(
        "sed -i 's#-e go#-e {0}/go#g; s#touch #touch {0}/#' .step; chmod +x .step; mv .step step",
        world.folder().display()
    ));
    world.sh("ln in/.landfall/quarantine/pay.txt in/second.txt");
    service.wait_for(&world, "reached");
    let is_refused = |words: &[&str]| {
        world
            .landfall(&["retry", &failed])
            .ends_with(1)
            .says(&["a second time", "in/second.txt", "copy it"])
            .says(words);
    };
    is_refused(&["has taken it"]);
    service.kill();
    is_refused(&["has taken it"]); // nor where no service runs
    world.write("go", "");
    let mut service = world.start();
    service.wait_for(&world, "archive/second.txt");
    service.wait_until("it is done", || {
        world.jobs().iter().any(|job| job["state"] == "completed").then_some(())
    });
    is_refused(&["has published"]);
    service.stop();
    is_refused(&["has published"]);
    assert_eq!(world.files("out"), ["second.main"]);
}

/// Goal: where files are known by their paths only, a kept file's other name is known all the same.
#[test]
fn a_kept_file_on_a_bindfs_with_a_second_name_of_another_rule_is_taken_by_one_of_them() {
    let world = World::bare();
    let rule = |name: &str, source: &str| {
        format!(
            "name = \"{name}\"\npaths = [\"mnt/{name}/*\"]\noutput = {{ main = {{ path = \"out/{name}-{{stem}}.main\" }} }}\n\
             source = {source}\n{GATED}"
        )
    };
    let moved = rule("moved", "{ on_success = \"archive\", archive_dir = \"archive\" }");
    world.configure("", &[&rule("kept", "{ on_success = \"keep\" }"), &moved]);
    let Some(_mounted) = Mounted::new(&world, Kind::Bindfs("")) else { return };
    world.write_gate();
    world.write(".x", lines(3000));
    world.sh("mkdir mnt/kept mnt/moved; cp .x mnt/kept/early.txt; ln mnt/kept/early.txt mnt/moved/early.txt");
    let mut service = world.start();
    service.wait_for(&world, "reached");
    wait_for_reason(&mut service, &world, "mnt/moved/early.txt", &["another name", "has taken"]);
    world.write("go", "");
    service.wait_for(&world, "out/kept-early.main");
    world.sh("echo one > .y; mv .y mnt/moved/other.txt");
    service.wait_for(&world, "out/moved-other.main");
    wait_for_reason(&mut service, &world, "mnt/moved/early.txt", &["another name", "has published"]);
    service.kill();
    let mut service = world.start();
    wait_for_reason(&mut service, &world, "mnt/moved/early.txt", &["another name", "has published"]);
    service.stop();
    assert_eq!(world.files("out"), ["kept-early.main", "moved-other.main"]);
}

#[test]
fn the_claimed_name_of_a_source_is_a_name_of_it_like_any_other() {
    let world = World::new(GATED);
    world.write_gate();
    world.write("in/pay.txt", lines(3000));
    let mut service = world.start();
    service.wait_for(&world, "reached");
    let job = id_of(&world.job()).to_owned();
    let claimed = format!("in/.landfall/{job}.pay.txt");
    for retire in [&["--retire"][..], &[]] {
        let arguments = [&["ingest", "--rule", "payments"], retire, &[claimed.as_str()]].concat();
        world.landfall(&arguments).ends_with(1).says(&[&job, "has taken it"]);
    }
    world.write("go", "");
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.files("out"), ["pay.main"]);
}

/// Goal: from the word of a retry on its file is the job's, also as long as that lies in quarantine; and what is a copy there is known by what
/// it was copied from.
#[test]
fn a_source_that_is_to_be_taken_out_of_quarantine_is_its_jobs() {
    let world = World::bare();
    let failing = "name = \"other\"\npaths = [\"other/*\"]\npipeline = [{ step = \"exec\", confine = false, command = [\"./step\"] }]";
    world.configure("", &["", failing]);
    world.write("step", "#!/bin/sh\nexit 1\n");
    world.sh("chmod +x step; mkdir in other; echo one > other/one; echo two > two; ln two other/two");
    let mut service = world.start();
    let failed = service.wait_until("both fail", || {
        let jobs = world.jobs();
        (jobs.iter().filter(|job| job["state"] == "failed").count() == 2).then_some(jobs)
    });
    let job_of = |name: &str| {
        let job =
            failed.iter().find(|job| job["source"].as_str().is_some_and(|source| source.ends_with(name)));
        id_of(job.expect("it has a job")).to_owned()
    };
    world.sh("printf '#!/bin/sh\\nexec cat\\n' > .step; chmod +x .step; mv .step step");
    world.landfall(&["ingest", "--rule", "payments", "two"]).done();
    world.landfall(&["retry", &job_of("/two")]).ends_with(1).says(&["a second time"]);
    world.landfall(&["pause", "--rule", "other"]).done();
    let job = job_of("/one");
    world.landfall(&["retry", &job]).done();
    world.sh("ln other/.landfall/quarantine/one in/second");
    wait_for_reason(&mut service, &world, "in/second", &["another name of", &job, "has taken"]);
    world.landfall(&["resume", "--rule", "other"]).done();
    service.wait_for(&world, "out/one.main");
    wait_for_reason(&mut service, &world, "in/second", &["another name of", &job, "has published"]);
    service.stop();
    assert_eq!(world.files("out"), ["one.main", "two.main"]);
}

/// A step that fails as long as the file `failing` is there.
fn failing_step(world: &World) -> &'static str {
    let failing = world.path("failing");
    world.write("step", format!("#!/bin/sh\n[ ! -e {} ] || exit 1\nexec cat\n", failing.display()));
    world.sh("chmod +x step; touch failing");
    "pipeline = [{ step = \"exec\", confine = false, command = [\"./step\"] }]\n"
}

/// The only job that failed by now, and is not one of these.
fn failed_but(service: &mut Service, world: &World, others: &[String]) -> String {
    service.wait_until("it fails", || {
        let failed = world.jobs().into_iter().filter(|job| job["state"] == "failed");
        failed.map(|job| id_of(&job).to_owned()).find(|job| !others.contains(job))
    })
}

/// Goal: whichever job published a file that its rule keeps, a retry of another one that failed with it does not do so again.
#[test]
fn a_kept_file_that_another_job_published_is_not_published_again_by_a_retry() {
    let world = World::bare();
    let step = failing_step(&world);
    let keeps =
        "source = { on_success = \"keep\" }\nready = { strategy = \"marker\", marker = \"{name}.done\" }\n";
    let moves = "name = \"moved\"\npaths = [\"moved/*\"]\nsource = { on_success = \"delete\" }\n";
    world.configure("", &[&format!("{keeps}{step}"), &format!("{moves}{step}")]);
    world.sh("mkdir in moved; for n in hand later named moved; do echo $n > in/$n; done; mv in/moved moved");
    let mut service = world.start();
    service.wait_until_it_watches();
    let by_rule = failed_but(&mut service, &world, &[]); // moved/moved
    world.landfall(&["ingest", "--rule", "payments", "in/hand"]).ends_with(1);
    let by_hand = failed_but(&mut service, &world, std::slice::from_ref(&by_rule));
    let mut failed = vec![by_rule, by_hand];
    for name in ["later", "named"] {
        world.write(format!("in/{name}.done"), "");
        let job = failed_but(&mut service, &world, &failed);
        failed.push(job);
    }
    world.sh("rm failing");
    world.ingest_and_retire("in/later").done();
    world.sh("mv in/named in/other; ln moved/.landfall/quarantine/moved in/link");
    world.sh("touch in/other.done in/hand.done in/link.done");
    for name in ["other", "hand", "link", "later"] {
        service.wait_for(&world, &format!("out/{name}.main"));
    }
    world.sh("mv in/other in/named");
    let settle = |service: &mut Service, name: &str| {
        world.write(format!("in/{name}"), "one\n");
        world.write(format!("in/{name}.done"), "");
        service.wait_for(&world, &format!("out/{name}.main"));
    };
    settle(&mut service, "settled");
    let are_refused = |failed: &[String]| {
        for job in failed {
            world.landfall(&["retry", job]).ends_with(1).says(&["a second time", "has published"]);
        }
    };
    are_refused(&failed);
    let said = world.landfall(&["explain", "in/named"]).done().stdout;
    assert!(said.contains("ingested as job") && !said.contains("retry"), "{said}");
    service.stop();
    are_refused(&failed); // nor where no service runs
    let mut service = world.start();
    settle(&mut service, "after");
    service.stop();
    let out = ["after.main", "hand.main", "later.main", "link.main", "other.main", "settled.main"];
    assert_eq!(world.files("out"), out);
}
