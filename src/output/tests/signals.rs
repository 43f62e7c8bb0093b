//! Manifest and marker.

use super::*;

fn world() -> World {
    World::new(&[("main", "out.csv")], |rule, folder| {
        let path = |name: &str| Some(folder.join(name).to_str().expect("UTF-8").to_owned());
        rule.publish = Publish {
            marker: path("done/{stem}.done"),
            manifest: path("{stem}.{sender}.json"),
            ..Publish::default()
        };
    })
}

fn choose(world: &World) -> Intent {
    Intent::choose(&world.rule, &world.job, Vec::new(), &|_| false).expect("chooses")
}

#[test]
fn manifest_and_marker_are_written_again_without_harm() {
    let world = world();
    let intent = choose(&world);
    for _ in 0..2 {
        intent.signal(b"{}").expect("signals");
    }
    assert_eq!(world.names(), ["done", "pay.acme.json"]);
    assert_eq!(fs::read(world.path("done/pay.done")).expect("reads"), b"");
}

#[test]
fn those_of_an_earlier_job_stay_and_never_vouch_for_a_later_one() {
    let world = world();
    choose(&world).signal(b"first").expect("signals");
    choose(&world).signal(b"second").expect("signals");
    assert_eq!(fs::read(world.path("pay.acme.json")).expect("reads"), b"first");
    assert_eq!(fs::read(world.path("pay.acme-1.json")).expect("reads"), b"second");
    assert!(world.path("done/pay-1.done").try_exists().expect("can be looked at"));
}

#[test]
fn a_name_that_another_job_has_chosen_is_not_chosen_again() {
    let world = world();
    let first = choose(&world);
    let reserved = |path: &Path| first.final_names().any(|name| name == path);
    let second = Intent::choose(&world.rule, &world.job, Vec::new(), &reserved).expect("chooses");
    assert!(second.final_names().all(|name| !reserved(name)));
}

/// The intent of a job whose outputs are finished, with the hidden files of its signals.
fn prepared(world: &World) -> Intent {
    let mut partials = world.start();
    let signals = partials.prepare_signals().expect("prepares");
    let finished = partials.finish().expect("finishes");
    let intent = Intent::choose(&world.rule, &world.job, finished, &|_| false).expect("chooses");
    Intent { signals, ..intent }
}

fn take_away(path: &Path) {
    crate::durable_fs::remove_file(path).expect("a consumer takes it");
}

#[test]
fn a_marker_that_a_consumer_took_away_is_not_published_again() {
    let world = world();
    let intent = prepared(&world);
    intent.signal(b"{}").expect("signals");
    assert_eq!(fs::read(world.path("pay.acme.json")).expect("reads"), b"{}");
    take_away(&world.path("pay.acme.json"));
    take_away(&world.path("done/pay.done"));
    intent.signal(b"{}").expect("signals again after a crash");
    assert!(!world.path("pay.acme.json").exists() && !world.path("done/pay.done").exists());
}

#[test]
fn a_crash_between_manifest_and_marker_publishes_the_marker_alone() {
    let world = world();
    let intent = prepared(&world);
    Intent { marker: None, ..intent.clone() }.signal(b"{}").expect("the manifest");
    take_away(&world.path("pay.acme.json"));
    intent.signal(b"{}").expect("signals again after a crash");
    assert!(!world.path("pay.acme.json").exists() && world.path("done/pay.done").exists());
}

#[test]
fn our_own_marker_is_not_retracted() {
    let world = world();
    let intent = prepared(&world);
    fs::write(world.path("done/pay.done"), "").expect("of an earlier job");
    intent.retract_marker().expect("retracts");
    assert!(!world.path("done/pay.done").exists(), "it must not vouch for what is still appearing");
    intent.signal(b"{}").expect("signals");
    intent.retract_marker().expect("nothing to retract");
    assert!(world.path("done/pay.done").exists());
}

fn hidden_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("lists");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_job_that_breaks_off_leaves_no_hidden_files_of_its_signals() {
    let world = world();
    let mut partials = world.start();
    partials.prepare_signals().expect("prepares");
    partials.discard().expect("discards");
    let left = || [world.names(), hidden_in(&world.path("done"))].concat();
    assert_eq!(left(), ["done"]);
    world.start().prepare_signals().expect("prepares");
    remove_partials(&world.rule, &world.job, &[]).expect("removes");
    assert_eq!(left(), ["done"]);
}
