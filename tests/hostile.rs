//! Promise: who owns a landing folder can do in it what he likes, and nothing outside of it is read, written or moved by the service for
//! him; other senders' files go on.
//!
//! The service is root here and the sender a user of his own; where the tests do not run as root they say so and pass.
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use support::{Service, World};

/// The sender's user and group id.
const SENDER: u32 = 2001;

/// Two senders' folders under one rule: `in/acme/inbox` belongs to a user who means ill, `in/initech/inbox` to root. A file that does not
/// start like gzip but is named so in `acme` fails; all others are lines.
struct Zone {
    world: World,
}

impl Zone {
    fn new() -> Option<Self> {
        Self::with("")
    }

    /// With more in the rule. None: this needs root.
    fn with(more: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: a service and a sender of different users need root");
            return None;
        }
        let world = World::new(&format!(
            "paths = [\"in/{{sender}}/inbox/*.txt\"]\ndecode = {{ layers = [] }}\n\
             output = {{ main = {{ path = \"out/{{sender}}/{{stem}}.main\" }} }}\n{more}"
        ));
        fs::set_permissions(world.folder(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        for folder in ["in/acme/inbox", "in/initech/inbox", "victim"] {
            fs::create_dir_all(world.path(folder)).expect("the world is new");
        }
        world.sh(&format!("chown -R {SENDER}:{SENDER} in/acme"));
        Some(Self { world })
    }

    /// Runs a script as the sender, in his landing folder's parent.
    #[track_caller]
    fn sender(&self, script: &str) {
        let folder = self.world.path("in/acme");
        self.world.sh(&format!(
            "cd {} && setpriv --reuid={SENDER} --regid={SENDER} --clear-groups bash -euc '{script}'",
            folder.display()
        ));
    }

    /// A file of the other sender is published: nobody holds him up.
    #[track_caller]
    fn innocent_goes_on(&self, service: &mut Service, name: &str) {
        self.world.move_in(&format!("in/initech/inbox/{name}.txt"), "innocent\n");
        service.wait_for(&self.world, &format!("out/initech/{name}.main"));
    }

    fn victims(&self) -> Vec<String> {
        self.world.files("victim")
    }
}

/// gzip's first bytes, and then none of it: the file's content is refused.
const CORRUPT: &str = r"printf \\x1f\\x8b\\x08\\0\\0\\0\\0\\0\\0\\3garbage > .bad && mv .bad inbox/bad.txt";

#[test]
fn a_quarantine_that_the_sender_made_as_a_link_gets_nothing() {
    let Some(zone) = Zone::new() else { return };
    zone.sender("mkdir -p inbox/.landfall; ln -s ../../../../victim inbox/.landfall/quarantine");
    let mut service = zone.world.start();
    zone.sender(CORRUPT);
    service.wait_for_log("belongs to user 2001");
    zone.innocent_goes_on(&mut service, "one");
    assert_eq!(zone.victims(), [""; 0]);
    assert!(zone.world.has("in/acme/inbox/bad.txt"), "it waits where it lies");
    service.wait_until("`jobs` says why", || {
        let jobs = zone.world.landfall(&["jobs"]);
        let said = format!("{}{}", jobs.stdout, jobs.stderr);
        (said.contains("bad.txt") && said.contains("belongs to user 2001")).then_some(())
    });
    // The reason gone, the file goes its way by itself.
    zone.sender("rm -r inbox/.landfall");
    service.wait_for(&zone.world, "in/acme/inbox/.landfall/quarantine/bad.txt");
    service.stop();
}

#[test]
fn a_claim_folder_that_is_exchanged_for_a_link_is_not_followed() {
    let Some(zone) = Zone::new() else { return };
    let mut service = zone.world.start();
    zone.sender("echo one > .a && mv .a inbox/a.txt");
    service.wait_for(&zone.world, "archive/a.txt");
    zone.sender("mv inbox/.landfall inbox/.gone; ln -s ../../../victim inbox/.landfall");
    zone.sender(CORRUPT);
    zone.sender("echo two > .b && mv .b inbox/b.txt");
    service.wait_for_log("symbolic link");
    zone.innocent_goes_on(&mut service, "one");
    assert_eq!(zone.victims(), [""; 0]);
    service.stop();
}

#[test]
fn a_claim_folder_whose_quarantine_is_exchanged_for_a_link_takes_nothing_there() {
    let Some(zone) = Zone::new() else { return };
    let mut service = zone.world.start();
    zone.sender("echo one > .a && mv .a inbox/a.txt");
    service.wait_for(&zone.world, "archive/a.txt");
    // He cannot write into ours, so that he can only put one of his own in its place.
    zone.sender("mv inbox/.landfall inbox/.gone; mkdir inbox/.landfall; ln -s ../../../../victim inbox/.landfall/quarantine");
    zone.sender(CORRUPT);
    service.wait_for_log("belongs to user 2001");
    zone.innocent_goes_on(&mut service, "one");
    assert_eq!(zone.victims(), [""; 0]);
    service.stop();
}

#[test]
fn a_landing_folder_that_is_exchanged_for_a_link_gives_no_victims_file_away() {
    let Some(zone) = Zone::with("ready = { stable_for = \"1s\" }") else { return };
    zone.world.write("victim/pay.txt", "secret\n");
    let mut service = zone.world.start();
    zone.sender("echo mine > inbox/pay.txt; mv inbox .inbox2; ln -s ../../victim inbox");
    // A file that comes later is taken later: by then the victim's would have been.
    zone.innocent_goes_on(&mut service, "one");
    std::thread::sleep(Duration::from_millis(1200)); // nothing must happen, for longer than it would take
    zone.innocent_goes_on(&mut service, "two");
    assert_eq!(zone.victims(), ["pay.txt"]);
    assert!(!zone.world.has("out/acme/pay.main"));
    service.stop();
}

#[test]
fn what_the_sender_puts_in_the_place_of_our_small_files_neither_hangs_nor_stops_the_service() {
    let Some(zone) = Zone::new() else { return };
    // A second name of his own file for the lock: no other user's files can be linked (`fs.protected_hardlinks`).
    zone.sender("mkdir inbox/.landfall; mkfifo inbox/.landfall/landfall.store; echo kept > mine; ln mine inbox/.landfall/landfall.lock");
    let mut service = zone.world.start();
    zone.sender("echo one > .a && mv .a inbox/a.txt");
    service.wait_for_log("belongs to user 2001");
    zone.innocent_goes_on(&mut service, "one");
    service.stop();
}

#[test]
fn a_foreign_lock_lets_its_own_files_wait_and_nobody_elses() {
    let Some(zone) = Zone::new() else { return };
    zone.sender("mkdir inbox/.landfall; touch inbox/.landfall/landfall.lock");
    let lock = zone.world.path("in/acme/inbox/.landfall/landfall.lock");
    let locked = fs::File::open(lock).expect("it is there");
    locked.lock().expect("nobody has it");
    let mut service = zone.world.start();
    zone.sender("echo one > .a && mv .a inbox/a.txt");
    service.wait_for_log("belongs to user 2001");
    zone.innocent_goes_on(&mut service, "one");
    service.stop();
}

/// In a claim folder of our own, which only root could have put there.
#[test]
fn a_pipe_or_a_link_in_the_place_of_a_small_file_is_refused_and_not_touched() {
    for place in ["landfall.lock", "landfall.store"] {
        for make in ["mkfifo", "ln -s ../../../../victim/file"] {
            let Some(zone) = Zone::new() else { return };
            zone.world.write("victim/file", "untouched");
            zone.world.sh(&format!(
                "mkdir -m 700 in/acme/inbox/.landfall; cd in/acme/inbox/.landfall; {make} {place}"
            ));
            let mut service = zone.world.start();
            zone.sender("echo one > .a && mv .a inbox/a.txt");
            zone.innocent_goes_on(&mut service, "one");
            service.stop();
            assert_eq!(zone.world.text("victim/file"), "untouched", "{make} {place}");
        }
    }
}

#[test]
fn a_pipe_that_is_named_like_a_source_holds_up_nobody() {
    let Some(zone) = Zone::new() else { return };
    zone.sender("mkfifo inbox/pipe.txt");
    let mut service = zone.world.start();
    zone.innocent_goes_on(&mut service, "one");
    zone.innocent_goes_on(&mut service, "two");
    service.stop();
}

#[test]
fn a_second_name_of_a_source_cannot_change_what_is_archived() {
    let Some(zone) = Zone::new() else { return };
    zone.sender("echo sent > .a && ln .a second && mv .a inbox/a.txt");
    let mut service = zone.world.start();
    service.wait_for(&zone.world, "archive/a.txt");
    service.stop();
    zone.sender("echo forged > second");
    assert_eq!(zone.world.text("archive/a.txt"), "sent\n");
    let archived = zone.world.path("archive/a.txt").metadata().expect("it is there");
    assert_eq!((archived.nlink(), archived.uid()), (1, 0));
    assert!(!zone.world.has("in/acme/inbox/.landfall/a.txt"));
}

/// A descriptor to read it by is opened again for writing, which the system allows to whom the file is open.
#[test]
fn neither_a_descriptor_kept_open_nor_its_path_changes_an_archived_source() {
    let Some(zone) = Zone::new() else { return };
    let mut service = zone.world.start();
    zone.sender(
        "echo sent > .a; chmod 6777 .a
         ( exec 3<.a; mv .a inbox/a.txt; while [ ! -e go ]; do sleep 0.02; done
           (echo forged > /proc/self/fd/3) || true; touch tried ) < /dev/null > /dev/null 2>&1 &",
    );
    service.wait_for(&zone.world, "archive/a.txt");
    zone.world.sh("chmod 755 archive");
    zone.sender("touch go; while [ ! -e tried ]; do sleep 0.02; done");
    zone.sender("echo forged > ../../archive/a.txt || true; chmod 777 ../../archive/a.txt || true");
    service.stop();
    assert_eq!(zone.world.text("archive/a.txt"), "sent\n");
    let archived = zone.world.path("archive/a.txt").metadata().expect("it is there");
    assert_eq!((archived.uid(), archived.gid(), archived.mode() & 0o7777), (0, SENDER, 0o755));
}

#[test]
fn a_second_name_of_a_marker_cannot_change_what_is_archived() {
    let Some(zone) = Zone::with("ready = { strategy = \"marker\", marker = \"{name}.done\" }") else {
        return;
    };
    let mut service = zone.world.start();
    zone.sender("echo sent > .a; echo mark > .m; ln .m second; mv .a inbox/a.txt; mv .m inbox/a.txt.done");
    service.wait_for(&zone.world, "archive/a.txt.done");
    zone.sender("echo sent > .b; echo mark > .m; chmod 666 .m; mv .b inbox/b.txt; mv .m inbox/b.txt.done");
    service.wait_for(&zone.world, "archive/b.txt.done");
    service.stop();
    zone.world.sh("chmod 755 archive");
    zone.sender("echo forged > second; echo forged > ../../archive/b.txt.done || true");
    for marker in ["archive/a.txt.done", "archive/b.txt.done"] {
        assert_eq!(zone.world.text(marker), "mark\n");
        assert_eq!(zone.world.path(marker).metadata().expect("it is there").uid(), 0);
    }
}

#[test]
fn a_source_that_would_run_as_root_does_not_when_it_is_copied() {
    let Some(zone) = Zone::new() else { return };
    zone.sender("echo sent > .a && chmod 6777 .a && ln .a second && mv .a inbox/a.txt");
    let mut service = zone.world.start();
    service.wait_for(&zone.world, "archive/a.txt");
    service.stop();
    let mode = zone.world.path("archive/a.txt").metadata().expect("it is there").mode();
    assert_eq!(mode & 0o7777, 0o644);
}

#[test]
fn a_landing_folder_that_its_sender_renames_goes_on_under_its_new_name() {
    let Some(zone) = Zone::new() else { return };
    let mut service = zone.world.start();
    zone.sender("echo one > .a && mv .a inbox/a.txt");
    service.wait_for(&zone.world, "archive/a.txt");
    zone.world.sh("mv in/acme in/acme-corp");
    zone.world.move_in("in/acme-corp/inbox/b.txt", "two\n");
    service.wait_for(&zone.world, "out/acme-corp/b.main");
    service.stop();
}

#[test]
fn nothing_that_the_service_makes_can_be_written_by_others_whatever_the_umask() {
    let Some(zone) = Zone::new() else { return };
    zone.world.move_in("in/initech/inbox/a.txt", "one\n");
    zone.world.sh("chmod 755 in in/initech in/initech/inbox victim");
    let binary = env!("CARGO_BIN_EXE_landfall");
    zone.world.sh(&format!("umask 000; {binary} ingest --rule payments --retire in/initech/inbox/a.txt"));
    let found = zone.world.sh("find data out archive in/initech -perm /022 ! -type l");
    assert_eq!(found, "");
}

#[test]
fn more_landing_folders_than_files_may_be_open_are_all_served() {
    const FOLDERS: usize = 400;
    let Some(zone) = Zone::new() else { return };
    let mut service = zone.world.start_with_open_files(256);
    for number in 0..FOLDERS {
        zone.world.move_in(&format!("in/sender-{number}/inbox/a.txt"), "one\n");
    }
    service.wait_until("all are published", || {
        (0..FOLDERS).all(|number| zone.world.has(format!("out/sender-{number}/a.main"))).then_some(())
    });
    service.stop();
}

/// Without `CAP_LEASE` the system does not tell who writes another user's file.
#[test]
fn a_service_that_cannot_see_who_still_writes_says_so_once_for_each_folder() {
    const SERVICE: u32 = 2002;
    let Some(zone) = Zone::new() else { return };
    zone.world.sh(&format!(
        "mkdir archive out data; chown {SERVICE}:{SERVICE} archive out data . && chmod 777 in/acme/inbox && chmod 755 in in/acme"
    ));
    let mut service = zone.world.start_as(SERVICE);
    for name in ["a", "b"] {
        zone.sender(&format!("echo one > inbox/{name}.txt; chmod 666 inbox/{name}.txt"));
    }
    service.wait_for_log("stalls longer than `ready.stable_for` is taken half");
    service.wait_until("no file waits any more", || {
        let listed = zone.world.json(&["jobs", "--json"]);
        let count = |key: &str| listed[key].as_array().expect("a list").len();
        (count("jobs") == 2 && count("files_waiting") == 0 && count("folder_notices") == 1).then_some(())
    });
    zone.world.landfall(&["jobs"]).done().says(&["\nfolders\n"]);
    for path in ["in/acme/inbox/a.txt", "in/acme/inbox/none.txt", "in/acme/inbox", "out/acme/a.main"] {
        let told = zone.world.json(&["explain", path, "--json"]);
        let notes = [&told["waits"], &told["held_up_at"], &told["folder_note"]];
        assert!(notes.iter().all(|note| note.is_null()), "{path}: {told:#}");
    }
    zone.sender("umask 077; echo one > inbox/c.txt"); // it cannot be opened, and waits
    service.wait_until("what is known of the folder is told of a file that waits", || {
        let told = zone.world.json(&["explain", "in/acme/inbox/c.txt", "--json"]);
        (told["folder_note"]["path"].is_string() && told["seen"].is_object()).then_some(())
    });
    service.wait_until("a monitor learns of it", || {
        let told = zone.world.landfall(&["status"]);
        told.stdout.contains("a file cannot be read: ").then_some(())
    });
    zone.sender("chmod 666 inbox/c.txt");
    service.wait_until("it is taken, and nothing is told of it any more", || {
        let told = zone.world.landfall(&["status"]);
        (!told.stdout.contains("cannot be read") && zone.world.has("out/acme/c.main")).then_some(())
    });
    service.stop();
    let log = fs::read_to_string(zone.world.path("landfall.log")).expect("it logged");
    assert_eq!(log.matches("is taken half").count(), 1, "{log}");
}

/// As if the service had claimed it.
const CLAIMED: &str = "01k8zzzzzzzzzzzzzzzzzzzzzz.pay.txt";

impl Zone {
    /// A claimed file of the other sender's, whom nothing of his sender does may cost it.
    fn with_claimed_of_initech() -> Option<Self> {
        let zone = Self::new()?;
        zone.world.write(format!("in/initech/inbox/.landfall/{CLAIMED}"), "innocent\n");
        Some(zone)
    }

    /// `landfall recover` trusts nothing in this folder, whatever it is asked to do; with the configuration or without.
    #[track_caller]
    fn recover_refuses(&self, folder: &str, words: &[&str]) {
        for asked in
            [&["recover"][..], &["recover", "--json"], &["recover", "--give-back", "--job", &CLAIMED[..26]]]
        {
            let refused = self.world.landfall(&[asked, &[folder]].concat()).ends_with(1);
            refused.says(words).says(&["hint: run the command as the user that the service runs as"]);
        }
        assert!(self.world.has(format!("in/initech/inbox/.landfall/{CLAIMED}")), "it stays where it is");
    }
}

#[test]
fn recover_gives_no_senders_files_to_another_who_linked_to_their_claim_folder() {
    let Some(zone) = Zone::with_claimed_of_initech() else { return };
    zone.sender("ln -s ../../initech/inbox/.landfall inbox/.landfall; ln -s ../initech/inbox alias");
    zone.sender("mkdir deep; ln -s ../../initech/inbox/.landfall deep/.landfall");
    for config in ["landfall.toml", "elsewhere.toml"] {
        if config == "elsewhere.toml" {
            support::rename(&zone.world.path("landfall.toml"), &zone.world.path(config));
        }
        for folder in ["in/acme/inbox/.landfall", "in/acme/inbox/.landfall/", "in/acme/deep/./.landfall"] {
            zone.recover_refuses(folder, &["is a symbolic link"]);
        }
        zone.recover_refuses("in/acme/alias/.landfall", &["link"]);
    }
    let refused = zone.world.landfall(&["recover", "in/acme/alias/../inbox/.landfall"]).ends_with(1);
    refused.says(&["in/acme/alias is a symbolic link"]);
    zone.world
        .landfall(&["recover", "--give-back", "--job", &CLAIMED[..26], "in/initech/inbox/.landfall"])
        .done();
    assert!(zone.world.has("in/initech/inbox/pay.txt"));
}

#[test]
fn recover_gives_back_into_no_folder_behind_a_link_of_a_senders() {
    let Some(zone) = Zone::with_claimed_of_initech() else { return };
    zone.sender("ln -s ../../victim inbox/aside");
    let id = &CLAIMED[..26];
    let claims = "in/initech/inbox/.landfall";
    for to in ["in/acme/inbox/aside", "in/acme/inbox/aside/"] {
        zone.world
            .landfall(&["recover", "--give-back", "--job", id, "--to", to, claims])
            .ends_with(1)
            .says(&["link"]);
    }
    assert_eq!(zone.victims(), [""; 0]);
    assert!(zone.world.has(format!("{claims}/{CLAIMED}")));
}

#[test]
fn recover_trusts_no_claim_folder_that_a_sender_made_or_that_others_can_write() {
    let Some(zone) = Zone::with_claimed_of_initech() else { return };
    zone.sender(&format!("mkdir -m 755 inbox/.landfall; echo mine > inbox/.landfall/{CLAIMED}"));
    zone.recover_refuses("in/acme/inbox/.landfall", &["belongs to user 2001"]);
    // A folder of the service's, with a quarantine that is not.
    let claims = "in/initech/inbox/.landfall";
    zone.world.sh(&format!("mkdir {claims}/quarantine; chown {SENDER} {claims}/quarantine"));
    zone.recover_refuses(claims, &["quarantine belongs to user 2001"]);
    zone.world.sh(&format!("chown 0 {claims}/quarantine; chmod 777 {claims}"));
    zone.recover_refuses(claims, &["can be written by other users"]);
}

#[test]
fn recover_is_for_the_user_that_the_service_runs_as() {
    let Some(zone) = Zone::with_claimed_of_initech() else { return };
    zone.world.sh(&format!("mkdir data; chown {SENDER} data"));
    let refused = zone.world.landfall(&["recover", "in/initech/inbox/.landfall"]);
    refused.says(&["belongs to user", "2001", "hint: ", "sudo -u"]);
}

/// Goal: no moment of an exchange gives a victim's file away or writes into his folder.
/// Method: a sender exchanges folder and link without a pause while his files come. `LANDFALL_TEST_RACE_SECONDS` makes it longer.
#[test]
fn an_exchange_at_any_moment_gives_nothing_away() {
    let Some(zone) = Zone::with("ready = { stable_for = \"10ms\" }") else { return };
    let seconds =
        std::env::var("LANDFALL_TEST_RACE_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    for number in 0..50 {
        zone.world.write(format!("victim/pay-{number}.txt"), "secret\n");
    }
    let before = zone.victims();
    let mut service = zone.world.start();
    let racing: PathBuf = zone.world.path("race.sh");
    fs::write(
        &racing,
        "end=$((SECONDS + $1)); n=0
         while [ $SECONDS -lt $end ]; do
             n=$(((n + 1) % 50))
             echo mine > inbox/pay-$n.txt 2>/dev/null || true
             printf '\\x1f\\x8b\\x08garbage' > inbox/bad-$n.txt 2>/dev/null || true
             mv -T inbox .aside && ln -s ../../victim inbox && rm inbox && mv -T .aside inbox
             [ -d inbox/.landfall ] && mv -T inbox/.landfall inbox/.claims && ln -s ../../../victim inbox/.landfall \\
                 && rm inbox/.landfall && mv -T inbox/.claims inbox/.landfall
         done",
    )
    .expect("the world is ours");
    let started = Instant::now();
    zone.sender(&format!("bash {} {seconds} || true", racing.display()));
    assert!(started.elapsed() >= Duration::from_secs(seconds - 1), "the race was run");
    zone.innocent_goes_on(&mut service, "one");
    assert_eq!(zone.victims(), before);
    for name in zone.world.files("out/acme") {
        assert_ne!(zone.world.text(format!("out/acme/{name}")), "secret\n", "{name}");
    }
    service.stop();
}

/// Where he fetches what was published he may write, too.
const IS_HIS: &str = "chown 2001:2001 out archive";

#[test]
fn a_link_that_is_planted_on_the_way_to_an_output_is_not_followed_and_the_job_goes_on_without_it() {
    let Some(zone) = Zone::with("source = { on_success = \"archive\", archive_dir = \"archive/{sender}\" }")
    else {
        return;
    };
    zone.world.sh(&format!("mkdir out archive; {IS_HIS}"));
    zone.sender("ln -s ../victim ../../out/acme; ln -s ../victim ../../archive/acme");
    let mut service = zone.world.start();
    zone.sender("echo one > .a && mv .a inbox/a.txt");
    service.wait_for_log("belongs to user 2001");
    zone.innocent_goes_on(&mut service, "one");
    assert_eq!(zone.victims(), [""; 0]);
    service.wait_until("`jobs` says why", || {
        let jobs = zone.world.landfall(&["jobs"]);
        (jobs.stdout.contains("a.txt") && jobs.stdout.contains("the link")).then_some(())
    });
    zone.sender("rm ../../out/acme ../../archive/acme");
    service.wait_for(&zone.world, "out/acme/a.main");
    service.wait_for(&zone.world, "archive/acme/a.txt");
    service.stop();
}

#[test]
fn a_part_of_the_outputs_that_the_operator_put_elsewhere_is_written_there() {
    let Some(zone) = Zone::new() else { return };
    zone.world.sh(&format!("mkdir out archive elsewhere; ln -s ../elsewhere out/acme; {IS_HIS}"));
    let mut service = zone.world.start();
    zone.sender("echo one > .a && mv .a inbox/a.txt");
    service.wait_for(&zone.world, "elsewhere/a.main");
    service.stop();
}

/// Goal: no moment of an exchange writes an output into a victim's folder.
#[test]
fn an_exchange_of_an_outputs_folder_at_any_moment_writes_nothing_elsewhere() {
    let Some(zone) = Zone::with("ready = { stable_for = \"10ms\" }") else { return };
    zone.world.sh(&format!("mkdir -p out/acme archive; chown 2001 out/acme; {IS_HIS}"));
    let mut service = zone.world.start();
    zone.sender(
        "end=$((SECONDS + 2)); n=0
         while [ $SECONDS -lt $end ]; do
             n=$((n + 1))
             echo mine > inbox/pay-$n.txt
             mv -T ../../out/acme ../../out/.aside && ln -s ../victim ../../out/acme && rm ../../out/acme && mv -T ../../out/.aside ../../out/acme || true
         done",
    );
    zone.innocent_goes_on(&mut service, "one");
    assert_eq!(zone.victims(), [""; 0]);
    service.stop();
}
