//! Promise: each job that ends is one trace at the collector, and a collector that is away or hangs is in nobody's way.
#![cfg(unix)]

mod support;

use std::net::TcpListener;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use support::receiver::Receiver;
use support::{World, wait_until};

/// What is no JSON fails.
const RULE: &str = r#"
    ready = { stable_for = "0s" }
    records = { format = "jsonl" }
    pipeline = [{ step = "filter", drop = { column = "kind", equals = "old" } }]
    errors = { failed_max = 0 }
"#;
const GOOD: &str = "{\"kind\":\"new\"}\n";

fn world(port: u16) -> World {
    let traces =
        format!("traces = {{ url = \"http://127.0.0.1:{port}/v1/traces\", bearer_file = \"otlp.token\" }}");
    let world = World::with_service(&traces, RULE);
    world.write("otlp.token", "0TLP\n");
    world
}

/// All spans that were taken, of which each post may have several jobs'.
fn spans(receiver: &Receiver) -> Vec<Value> {
    let taken = receiver.taken.lock().expect("no panic");
    let spans = taken.iter().flat_map(|body| {
        let spans = &body["resourceSpans"][0]["scopeSpans"][0]["spans"];
        spans.as_array().expect("has spans").clone()
    });
    spans.collect()
}

fn attribute<'a>(span: &'a Value, key: &str) -> &'a Value {
    let attributes = span["attributes"].as_array().expect("has some");
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    &found.unwrap_or_else(|| panic!("{span} has no {key}"))["value"]
}

#[test]
fn a_job_is_one_trace_of_its_states_and_one_that_failed_says_why() {
    let receiver = Receiver::start(200);
    let world = world(receiver.port);
    let mut service = world.start();
    world.move_in("in/good.txt", GOOD.repeat(2));
    service.wait_until("its trace", || (!spans(&receiver).is_empty()).then_some(()));
    world.move_in("in/broken.txt", "this is no JSON\n");
    service
        .wait_until("both", || spans(&receiver).iter().any(|span| span["status"]["code"] == 2).then_some(()));
    let spans = spans(&receiver);
    let good = spans.iter().find(|span| span["status"]["code"] == 1).expect("one went well");
    assert_eq!(attribute(good, "landfall.records.in")["intValue"], "2");
    assert!(
        attribute(good, "landfall.source")["stringValue"].as_str().expect("a path").ends_with("good.txt")
    );
    let below = spans.iter().filter(|span| span["parentSpanId"] == good["spanId"]);
    let below: Vec<_> = below.map(|span| span["name"].as_str().expect("has one")).collect();
    assert_eq!(below, ["queued", "running", "publishing", "retiring"]);
    let bad = spans.iter().find(|span| span["status"]["code"] == 2).expect("one failed");
    assert!(bad["status"]["message"].as_str().expect("says why").contains("failed"), "{bad}");
    assert!(receiver.heads.lock().expect("no panic").iter().all(|head| head.contains("Bearer 0TLP")));
    service.stop();
}

#[test]
fn a_collector_that_was_away_is_told_when_it_is_back_and_one_that_hangs_holds_up_no_stop() {
    let receiver = Receiver::start(503);
    let world = world(receiver.port);
    let mut service = world.start();
    world.move_in("in/early.txt", GOOD);
    service.wait_until("it was asked", || (receiver.asked() > 0).then_some(()));
    receiver.answer.store(200, Ordering::Release);
    service.wait_until("it is told", || (!spans(&receiver).is_empty()).then_some(()));
    service.stop();

    let silent = TcpListener::bind("127.0.0.1:0").expect("listens");
    let world = self::world(silent.local_addr().expect("is bound").port());
    let service = world.start();
    world.move_in("in/late.txt", GOOD);
    let _held = silent.accept().expect("it comes");
    wait_until("its file is out", || world.has("out/late.main").then_some(()));
    let begun = Instant::now();
    service.stop();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed()); // a post may take 10 s, and is tried again
    let log = world.text("landfall.log");
    let told = log.lines().find(|line| line.contains("traces of jobs were dropped"));
    let told = told.unwrap_or_else(|| panic!("it is not told: {log}"));
    assert!(
        told.contains("not_taken=1") && told.contains("did not answer before the service stopped"),
        "{told}"
    );
}
