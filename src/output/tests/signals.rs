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

#[track_caller]
fn signal(world: &World, intent: &mut Intent, json: &[u8]) -> RolledForward {
    intent.signal(&world.rule, &world.job, &|| json.to_vec(), &|_| false).expect("signals")
}

#[test]
fn manifest_and_marker_are_written_again_without_harm() {
    let world = world();
    let mut intent = prepared(&world);
    for _ in 0..2 {
        signal(&world, &mut intent, b"{}");
    }
    assert_eq!(world.names(), ["done", "pay.acme.json"]);
    assert_eq!(fs::read(world.path("done/pay.done")).expect("reads"), b"");
}

#[test]
fn those_of_an_earlier_job_stay_and_never_vouch_for_a_later_one() {
    let world = world();
    signal(&world, &mut prepared(&world), b"first");
    signal(&world, &mut prepared(&world), b"second");
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
    let finished = finish(&mut partials).expect("finishes");
    let intent = Intent::choose(&world.rule, &world.job, finished, &|_| false).expect("chooses");
    Intent { signals, ..intent }
}

fn take_away(path: &Path) {
    crate::durable_fs::remove_file(path).expect("a consumer takes it");
}

#[test]
fn a_marker_that_a_consumer_took_away_is_not_published_again() {
    let world = world();
    let mut intent = prepared(&world);
    signal(&world, &mut intent, b"{}");
    assert_eq!(fs::read(world.path("pay.acme.json")).expect("reads"), b"{}");
    take_away(&world.path("pay.acme.json"));
    take_away(&world.path("done/pay.done"));
    signal(&world, &mut intent, b"{}");
    assert!(!world.path("pay.acme.json").exists() && !world.path("done/pay.done").exists());
}

#[test]
fn a_crash_between_manifest_and_marker_publishes_the_marker_alone() {
    let world = world();
    let mut intent = prepared(&world);
    signal(&world, &mut Intent { marker: None, ..intent.clone() }, b"{}");
    intent = intent.begun().into_owned(); // as the next start reads it
    take_away(&world.path("pay.acme.json"));
    signal(&world, &mut intent, b"{}");
    assert!(!world.path("pay.acme.json").exists() && world.path("done/pay.done").exists());
}

#[test]
fn a_file_that_took_the_name_of_a_signal_meanwhile_is_not_overwritten() {
    for (taken, names) in [
        ("pay.acme.json", ["pay.acme-1.json", "done/pay-1.done"]),
        ("done/pay.done", ["pay.acme.json", "done/pay-1.done"]),
    ] {
        let world = world();
        let mut intent = prepared(&world);
        fs::write(world.path(taken), "another's").expect("writes");
        assert_eq!(signal(&world, &mut intent, b"{}"), RolledForward::ChoseAgain);
        assert_eq!(signal(&world, &mut intent, b"{}"), RolledForward::Done);
        assert_eq!(fs::read(world.path(taken)).expect("reads"), b"another's");
        let found: Vec<_> = intent.final_names().skip(intent.outputs.len()).map(Path::to_owned).collect();
        assert_eq!(found, names.map(|name| world.path(name)));
        assert_eq!(names.map(|name| fs::read(world.path(name)).expect("reads")), [&b"{}"[..], b""]);
    }
}

#[test]
fn where_outputs_are_replaced_so_are_manifest_and_marker() {
    let mut world = world();
    let mut rule = Rule::clone(&world.rule);
    rule.outputs.values_mut().for_each(|output| output.on_exists = OnExists::Replace);
    world.rule = Arc::new(rule);
    let mut intent = prepared(&world);
    fs::write(world.path("pay.acme.json"), "of an earlier job").expect("writes");
    assert_eq!(signal(&world, &mut intent, b"{}"), RolledForward::Done);
    assert_eq!(fs::read(world.path("pay.acme.json")).expect("reads"), b"{}");
}

/// Goal: a crash between link and unlink, where the file system has no better rename, takes no byte from who reads the manifest.
#[cfg(unix)]
#[test]
fn a_manifest_under_both_names_is_not_written_again() {
    let world = world();
    let mut intent = prepared(&world);
    let hidden = world.path(&format!(".landfall-{}-manifest.partial", world.job.id));
    fs::write(&hidden, "written").expect("writes");
    fs::hard_link(&hidden, world.path("pay.acme.json")).expect("links");
    assert_eq!(signal(&world, &mut intent, b"another time"), RolledForward::Done);
    assert_eq!(fs::read(world.path("pay.acme.json")).expect("reads"), b"written");
    assert!(!hidden.exists(), "both names are left");
}

#[test]
fn our_own_marker_is_not_retracted() {
    let world = world();
    let mut intent = prepared(&world);
    fs::write(world.path("done/pay.done"), "").expect("of an earlier job");
    intent.retract_marker().expect("retracts");
    assert!(!world.path("done/pay.done").exists(), "it must not vouch for what is still appearing");
    signal(&world, &mut intent, b"{}");
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

/// As a file system that is unmounted and mounted again, or another folder that stands in for it, at any moment.
#[cfg(unix)]
#[test]
fn signals_whose_folder_goes_and_comes_back_are_published_in_it_before_they_count() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let world = world();
    let (home, away) = (world.path("done"), world.path("away"));
    for round in 0..30 {
        let mut intent = prepared(&world);
        let is_done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Not for ever: on a busy machine no signal might find the folder twice.
                for _ in 0..200 {
                    if is_done.load(Ordering::Relaxed) {
                        return;
                    }
                    fs::rename(&home, &away).expect("goes");
                    fs::create_dir(&home).expect("another stands in for it");
                    fs::remove_dir_all(&home).ok(); // it may be written to just now
                    while fs::rename(&away, &home).is_err() {
                        fs::remove_dir_all(&home).ok();
                    }
                }
            });
            let signal = |intent: &mut Intent| intent.signal(&world.rule, &world.job, &Vec::new, &|_| false);
            while !matches!(signal(&mut intent), Ok(RolledForward::Done)) {}
            is_done.store(true, Ordering::Relaxed);
        });
        let names: Vec<_> = intent.final_names().skip(intent.outputs.len()).collect();
        assert!(names.iter().all(|name| name.exists()), "round {round}: {names:?}");
    }
}
