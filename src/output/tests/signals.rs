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
