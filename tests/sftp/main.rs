//! Promise: what real clients upload through OpenSSH's server is taken whole and once, and no client is made to fail.
//!
//! `tests/run sftp` prints the tables of `docs/uploads.md` anew (`table.rs`); `tests/run soak` has clients upload at random while the
//! service is killed (`soak.rs`).
#![cfg(target_os = "linux")]

mod manner;
mod soak;
#[path = "../support/mod.rs"]
mod support;
mod table;

use std::fmt::Write as _;
use std::thread;

use manner::{Format, Halted, Manner, batch, local, succeeds};
use support::sftp::SshServer;
use support::{Service, World, lines};

/// One rule for each `trust_close`, named as that, with a folder of that name.
const TRUSTS: [&str; 3] = ["never", "framed", "always"];
/// What is not proven would wait for ever.
const NO_QUIET: &str = "stable_for = \"1h\", linger = \"200ms\"";

/// A world of those rules, with a service and a server that both run.
fn landing_zone(ready: &str, more: &str) -> (World, SshServer, Service) {
    let world = World::bare();
    let rules = TRUSTS.map(|trust| {
        format!(
            "name = \"{trust}\"\npaths = [\"srv/{trust}/*\"]\n\
             ready = {{ {ready}, trust_close = \"{trust}\" }}\n\
             output = {{ main = {{ path = \"out/{trust}/{{name}}\" }} }}\n\
             source = {{ on_success = \"archive\", archive_dir = \"archive/{trust}\" }}\n{more}"
        )
    });
    world.configure("", &rules.each_ref().map(String::as_str));
    let server = SshServer::start(&world, &TRUSTS);
    let mut service = world.start();
    service.wait_until_it_watches();
    (world, server, service)
}

/// Makes a file for upload and returns its text.
fn make(world: &World, name: &str, format: Format, count: usize) -> String {
    let text = lines(count);
    let path = world.write(format!("local/{name}"), &text);
    if format == Format::Gzip {
        world.sh(&format!("gzip -1c '{0}' > packed && mv packed '{0}'", path.display()));
    }
    text
}

/// What a rename, a close or nothing proves.
fn is_proven(manner: Manner, format: Format, trust: &str) -> bool {
    manner.renames() || trust == "always" || trust == "framed" && format == Format::Gzip
}

/// Whole, each once, and as soon as its end is proven; what is not proven waits for quiet.
#[test]
fn what_any_client_uploads_is_taken_when_a_close_or_a_rename_proves_its_end() {
    let (world, server, mut service) = landing_zone(NO_QUIET, "");
    let text = make(&world, "plain", Format::Plain, 100);
    make(&world, "gzip", Format::Gzip, 100);
    for manner in Manner::ALL {
        for format in Format::ALL {
            world.write(
                format!("local/{}", manner.file(format)),
                world.bytes(format!("local/{}", format.name())),
            );
        }
    }
    // All at once: they share the server and the folders.
    thread::scope(|scope| {
        for manner in Manner::ALL {
            let files = Format::ALL.map(|format| manner.file(format));
            let uploads = manner.uploads(&server, &world, &files, &TRUSTS);
            scope.spawn(|| uploads.into_iter().for_each(succeeds));
        }
    });
    let all = Manner::ALL.into_iter().flat_map(|manner| {
        Format::ALL.into_iter().flat_map(move |format| TRUSTS.map(|trust| (manner, format, trust)))
    });
    let (proven, others): (Vec<_>, Vec<_>) =
        all.partition(|(manner, format, trust)| is_proven(*manner, *format, trust));
    for (manner, format, trust) in &proven {
        let name = format!("{trust}/{}", manner.file(*format));
        service.wait_for(&world, &format!("archive/{name}"));
        assert!(world.text(format!("out/{name}")) == text, "{name} is not whole");
    }
    for (manner, format, trust) in others {
        let name = format!("srv/{trust}/{}", manner.file(format));
        assert!(world.has(&name), "{name} was taken before its end was proven");
    }
    service.stop();
    assert_eq!(
        world.files("out").len(),
        proven.len(),
        "something was published twice: {:#?}",
        world.files("out")
    );
}

/// After the last close paramiko asks for the size, asyncssh sets the times: an upload that is gone by then has failed for them, and is
/// sent again.
#[test]
fn clients_that_ask_for_their_upload_once_more_do_not_fail() {
    let (world, server, mut service) = landing_zone("stable_for = \"1h\", linger = \"1s\"", "");
    thread::scope(|scope| {
        for manner in [Manner::Paramiko, Manner::Asyncssh] {
            let names: Vec<_> = (0..30).map(|number| format!("{manner:?}-{number}.txt")).collect();
            for name in &names {
                make(&world, name, Format::Plain, 1);
            }
            let uploads = manner.uploads(&server, &world, &names, &["always"]);
            scope.spawn(|| uploads.into_iter().for_each(succeeds));
        }
    });
    service.wait_until("all are archived", || (world.files("archive/always").len() == 60).then_some(()));
    service.stop();
    assert_eq!(world.files("out").len(), 60);
    assert!(world.jobs().iter().all(|job| job["state"] == "completed"));
}

/// A file that stalls is passed by others; neither it nor a slow one is taken before its end.
#[test]
fn an_upload_that_stalls_or_goes_slowly_is_waited_for() {
    let (world, server, mut service) = landing_zone("stable_for = \"100ms\", linger = \"0s\"", "");
    let text = make(&world, "stalls.txt", Format::Plain, 2_000);
    make(&world, "slow.txt", Format::Plain, 2_000);
    let halted = Halted::start(&server, &world, "stalls.txt", "never");
    let slow = [(local(&world, "slow.txt"), "never/slow.txt".to_owned())];
    succeeds(server.sftp(&["-l", "600"], &batch(&server, &slow, false)));
    service.wait_for(&world, "archive/never/slow.txt");
    assert!(world.text("out/never/slow.txt") == text, "the slow one was taken early");
    assert!(world.has("srv/never/stalls.txt"), "it was taken while it stalled");
    halted.go_on();
    service.wait_for(&world, "archive/never/stalls.txt");
    assert!(world.text("out/never/stalls.txt") == text, "the stalled one is not whole");
    service.stop();
    assert_eq!(world.files("out").len(), 2);
}

/// Its server closes the file as at a good end. The sender comes back within the quiet time and goes on where it was.
#[test]
fn a_session_that_breaks_off_and_comes_back_is_one_whole_file() {
    let (world, server, mut service) = landing_zone("stable_for = \"5s\", linger = \"0s\"", "");
    let mut resumed = String::new();
    let mut texts = Vec::new();
    for (name, format) in [("back-plain", Format::Plain), ("back-gzip", Format::Gzip)] {
        texts.push((name, make(&world, name, format, 2_000)));
        Halted::start(&server, &world, name, "framed").kill();
        let (from, to) = (local(&world, name), server.remote(&format!("framed/{name}")));
        writeln!(resumed, "reput {} {to}", from.display()).expect("a string takes all");
    }
    service.wait_until("the half gzip is given back", || {
        world.jobs().iter().any(|job| job["state"] == "aborted").then_some(())
    });
    succeeds(server.sftp(&[], &resumed));
    for (name, text) in texts {
        service.wait_for(&world, &format!("archive/framed/{name}"));
        assert!(world.text(format!("out/framed/{name}")) == text, "{name} is not whole");
    }
    service.stop();
    assert_eq!(world.files("out").len(), 2);
    assert!(!world.has("srv/framed/.landfall/quarantine"));
}

/// Its receiver gives the half file its final name, as at a good end.
#[test]
fn an_rsync_that_breaks_off_publishes_no_half_file_and_its_next_run_publishes_the_whole_one() {
    let (world, server, mut service) = landing_zone(NO_QUIET, "");
    make(&world, "plain", Format::Plain, 10_000);
    let text = make(&world, "gzip", Format::Gzip, 40_000);
    for manner in [Manner::RsyncPartial, Manner::RsyncInplace] {
        for format in Format::ALL {
            let name = manner.file(format);
            world.write(format!("local/{name}"), world.bytes(format!("local/{}", format.name())));
            assert!(manner.break_off(&server, &world, &name, "framed"), "it was done before");
        }
        let (plain, gzip) = (manner.file(Format::Plain), manner.file(Format::Gzip));
        service.wait_until("the half gzip is given back", || {
            let is_back = |job: &serde_json::Value| {
                job["state"] == "aborted" && job["source"].as_str().is_some_and(|it| it.ends_with(&gzip))
            };
            (world.jobs().iter().any(is_back) && world.has(format!("srv/framed/{plain}"))).then_some(())
        });
        assert_eq!(world.files("out"), [""; 0], "half a file was published");
    }
    // The next run of `--partial` makes a new file of the half one, whose end is proven anew.
    let (manner, gzip) = (Manner::RsyncPartial, Manner::RsyncPartial.file(Format::Gzip));
    manner.uploads(&server, &world, std::slice::from_ref(&gzip), &["framed"]).into_iter().for_each(succeeds);
    service.wait_for(&world, &format!("archive/framed/{gzip}"));
    assert!(world.text(format!("out/framed/{gzip}")) == text, "it is not whole");
    service.stop();
    assert_eq!(world.files("out").len(), 1);
}

#[test]
fn the_same_name_uploaded_while_the_first_is_processed_is_a_source_of_its_own() {
    let (world, server, mut service) = landing_zone(
        "stable_for = \"1h\", linger = \"200ms\"",
        "pipeline = [{ step = \"exec\", confine = false, command = [\"./slow\"], protocol = \"line\" }]",
    );
    world.write("slow", SLOW_STEP);
    world.sh("chmod +x slow");
    let put = |text: &str| {
        world.write("local/pay.txt", text);
        let pair = [(local(&world, "pay.txt"), "always/pay.txt".to_owned())];
        succeeds(server.sftp(&[], &batch(&server, &pair, false)));
    };
    put("first\n");
    service.wait_until("the first is claimed", || (!world.has("srv/always/pay.txt")).then_some(()));
    put("second\n");
    service.wait_until("the second is claimed", || (!world.has("srv/always/pay.txt")).then_some(()));
    world.write("go", "");
    service.wait_until("both are archived", || (world.files("archive").len() == 2).then_some(()));
    service.stop();
    let mut outputs: Vec<_> =
        world.files("out").iter().map(|name| world.text(format!("out/{name}"))).collect();
    outputs.sort();
    assert_eq!(outputs, ["first\n", "second\n"]);
}

/// Holds each record until `go` is there; a child may start in a folder of its own.
const SLOW_STEP: &str = "#!/bin/sh\nwhile read -r line; do while [ ! -e ../go ] && [ ! -e go ]; do sleep 0.05; done; echo \"$line\"; done\n";
