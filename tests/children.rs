//! Promise: whatever the program of an `exec` step does, it costs attempts and records of its own job, never the service.
#![cfg(unix)]

mod support;

use support::{World, lines};

/// A world whose records go through `script`.
fn asking(script: &str) -> World {
    let world = World::new(
        "records = { format = \"lines\", slice_records = 50 }
         pipeline = [{ step = \"exec\", confine = false, command = [\"./step\"] }]
         errors = { failed_max = \"50%\", attempts = 1 }",
    );
    world.write("step", script);
    world.sh("chmod +x step");
    world
}

/// An answer without an end is cut off where a record would be; the service holds no more of it.
#[cfg(target_os = "linux")]
#[test]
fn an_answer_without_an_end_costs_its_record_and_no_memory() {
    let world = asking(
        "#!/bin/bash
while IFS= read -r line; do
    case $line in 'line 120 '*) exec tr '\\0' x < /dev/zero ;; esac
    printf '%s\\n' \"$line\"
done
",
    );
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(200));
    service.wait_for(&world, "archive/pay.txt");
    let peak = service.peak_memory_bytes();
    service.stop();
    let job = world.completed();
    let failed = world.failed_records(&job);
    assert_eq!((failed.len(), &failed[0]["record"]), (1, &120.into()), "{failed:#?}");
    let why = failed[0]["error"].as_str().expect("a text");
    assert!(why.contains("longer than record_max"), "{why}");
    assert!(peak < 160 << 20, "{} MiB", peak >> 20);
}

/// A child that has no memory left ends; its record fails, the others go on.
#[test]
fn a_child_that_runs_out_of_memory_costs_its_record() {
    let world = asking(
        "#!/usr/bin/env python3
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))
for line in sys.stdin:
    if line.startswith('line 120 '): bytearray(1 << 29)
    print(line, end='', flush=True)
",
    );
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(200));
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    let failed = world.failed_records(&world.completed());
    assert_eq!((failed.len(), &failed[0]["record"]), (1, &120.into()), "{failed:#?}");
    assert!(failed[0]["error"].as_str().is_some_and(|why| why.contains("MemoryError")), "{failed:#?}");
    assert_eq!(
        world.text("out/pay.main"),
        lines(200)
            .lines()
            .filter(|line| !line.starts_with("line 120 "))
            .fold(String::new(), |text, line| text + line + "\n")
    );
}

/// Starts a service whose child has answered and sits there, deaf to the end of its input; the child's process id.
#[cfg(target_os = "linux")]
fn with_a_deaf_child(world: &World) -> (support::Service, String) {
    let mut service = world.start();
    world.move_in("in/pay.txt", "one\ntwo\n");
    service.wait_for(world, "deaf");
    let child = world.text("deaf").trim().to_owned();
    (service, child)
}

#[cfg(target_os = "linux")]
const DEAF: &str = "#!/bin/bash
read -r line; echo \"$line\"; echo $$ > staged-pid; mv staged-pid deaf; exec sleep 600
";

#[cfg(target_os = "linux")]
#[test]
fn where_memory_runs_out_the_kernel_takes_the_child_before_the_service() {
    let world = asking(DEAF);
    let (service, child) = with_a_deaf_child(&world);
    let score = |process: &str| {
        let path = format!("/proc/{process}/oom_score_adj");
        std::fs::read_to_string(path).expect("it runs").trim().parse::<i32>().expect("a number")
    };
    assert_eq!(score(&child), 1000);
    assert!(score(&service.id().to_string()) < 1000);
}

#[cfg(target_os = "linux")]
#[test]
fn no_child_outlives_a_killed_service() {
    let world = asking(DEAF);
    let (service, child) = with_a_deaf_child(&world);
    service.kill();
    support::wait_until("the child is gone", || {
        // One that has ended and that nobody waits for is gone too.
        let status = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
        let state = status.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
        (state.is_empty() || state.starts_with('Z')).then_some(())
    });
}

/// At a clean stop a child meets the end of its input, and has the time to write down what it has.
#[test]
fn a_clean_stop_lets_children_write_down_what_they_have() {
    let world = asking(
        "#!/bin/bash
touch started-$$
while IFS= read -r line; do
    case $line in 'line 120 '*) touch reached; until [ -e go ]; do sleep 0.02; done ;; esac
    printf '%s\\n' \"$line\"
done
sleep 0.2; touch written-$$
",
    );
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(20_000));
    service.wait_for(&world, "reached");
    service.signal(rustix::process::Signal::TERM);
    world.write("go", "");
    let status = support::wait_until("it stops", || service.exited());
    assert!(status.success(), "{}", service.log());
    let count = |prefix: &str| world.files(".").iter().filter(|name| name.starts_with(prefix)).count();
    assert!(count("started-") > 0);
    assert_eq!(count("started-"), count("written-"), "{:#?}", world.files("."));
}

/// Its job is not published, for nobody knows what it would still have said; the next start asks another.
#[test]
fn a_stop_waits_for_no_child_that_takes_no_notice_of_the_end_of_its_input() {
    let world = World::with_service(
        "stop_timeout = \"2s\"",
        "pipeline = [{ step = \"exec\", confine = false, command = [\"./step\"], timeout = \"1h\" }]",
    );
    let answers = "#!/bin/sh\nwhile IFS= read -r line; do echo \"$line\"; done\n";
    world.write("step", format!("{answers}touch reached\nexec sleep 600\n"));
    world.sh("chmod +x step");
    let mut service = world.start();
    world.move_in("in/pay.txt", lines(200));
    service.wait_for(&world, "reached");
    let begun = std::time::Instant::now();
    service.stop();
    assert!(begun.elapsed() < std::time::Duration::from_secs(4), "it took {:?}", begun.elapsed());
    assert!(!world.has("out/pay.main"));
    world.write("step", answers);
    let mut service = world.start();
    service.wait_for(&world, "archive/pay.txt");
    service.stop();
    assert_eq!(world.text("out/pay.main"), lines(200));
    world.completed();
}

/// What a shell started for its step ends with the step: after a time-out, and where a stop does not wait for its answer.
#[cfg(target_os = "linux")]
#[test]
fn what_a_child_started_outlives_neither_a_time_out_nor_a_stop() {
    for (timeout, ends_by) in [("300ms", "a time-out"), ("1h", "a stop")] {
        let world = World::with_service(
            "stop_timeout = \"2s\"",
            &format!(
                "pipeline = [{{ step = \"exec\", confine = false, command = [\"./step\"], timeout = \"{timeout}\" }}]
                 errors = {{ failed_max = \"100%\", attempts = 1 }}"
            ),
        );
        world.write("step", "#!/bin/sh\nread line\nsleep 1000 &\necho $! > pid.new\nmv pid.new pid\nwait\n");
        world.sh("chmod +x step");
        let mut service = world.start();
        world.move_in("in/pay.txt", "one\n");
        service.wait_for(&world, "pid");
        let grandchild = format!("/proc/{}/cmdline", world.text("pid").trim());
        // Of a zombie that nobody reaps yet it is empty.
        let lives = || std::fs::read(&grandchild).is_ok_and(|line| line.starts_with(b"sleep"));
        if ends_by == "a time-out" {
            service.wait_until("it ends with its step", || (!lives()).then_some(()));
            service.stop();
        } else {
            assert!(lives());
            service.stop();
            support::wait_until("it ends with the service", || (!lives()).then_some(()));
        }
    }
}
