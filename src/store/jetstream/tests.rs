//! What the suite of promises does not ask: leases, answers that were lost, batches that are too large.

use std::collections::BTreeMap;
use std::ops::Bound::Unbounded;
use std::time::{Duration, Instant};

use super::broker::Broker;
use super::writer::ROWS_MAX;
use super::{JetStream, WhileTaken};
use crate::model::fault::Fault as _;
use crate::store::backend::{Applied, Backend as _, Batch, Value};
use crate::store::error::StoreError;
use crate::store::keys::Key;

fn opened(broker: &Broker, node: &str) -> JetStream {
    JetStream::open(&broker.cluster(node), WhileTaken::Wait).expect("opens")
}

fn apply(store: &JetStream, rows: BTreeMap<Key, Option<Value>>) -> Result<(), StoreError> {
    let applied = store.apply(Batch { rows, ..Batch::default() })?;
    assert_eq!(applied, Applied::Done, "it expects nothing");
    Ok(())
}

fn put(store: &JetStream, key: &str, value: &str) -> Result<(), StoreError> {
    apply(store, BTreeMap::from([(Key::from(key), Some(Value::copy_from_slice(value.as_bytes())))]))
}

fn count(store: &JetStream) -> usize {
    store.scan((Unbounded, Unbounded)).count()
}

fn get(store: &JetStream, key: &str) -> Option<Value> {
    store.get(key.as_bytes()).expect("reads")
}

#[test]
fn what_was_synced_outlives_a_kill_of_broker_and_node_and_what_was_not_comes_whole_or_not_at_all() {
    let Some(mut broker) = Broker::start() else { return };
    let store = opened(&broker, "a");
    for number in 0..50 {
        put(&store, "one", &number.to_string()).expect("applies");
    }
    store.sync().expect("is durable");
    let rows = ["one", "two"].map(|key| (Key::from(key), Some(Value::from_static(b"later"))));
    apply(&store, rows.into()).expect("applies");
    store.killed();
    broker.restart();
    let store = opened(&broker, "a");
    match get(&store, "one").as_deref() {
        Some(b"49") => assert_eq!(get(&store, "two"), None),
        one => assert_eq!((one, get(&store, "two").as_deref()), (Some(&b"later"[..]), one)),
    }
}

#[test]
fn while_a_node_has_the_rows_no_other_gets_them_and_when_it_gives_them_up_the_next_has_them_at_once() {
    let Some(broker) = Broker::start() else { return };
    let store = opened(&broker, "a");
    put(&store, "one", "1").expect("applies");
    let refused = JetStream::open(&broker.cluster("b"), WhileTaken::Refuse).err().expect("is refused");
    assert!(matches!(&refused, StoreError::Taken { node, .. } if node == "a"), "{refused}");
    drop(store);
    let began = Instant::now();
    let store = JetStream::open(&broker.cluster("b"), WhileTaken::Refuse).expect("opens");
    assert!(began.elapsed() < broker.cluster("b").lease, "{:?}", began.elapsed());
    assert_eq!(get(&store, "one").as_deref(), Some(&b"1"[..]));
}

#[test]
fn a_node_that_is_silent_for_its_lease_is_followed_and_writes_nothing_when_it_wakes() {
    let Some(broker) = Broker::start() else { return };
    let asleep = opened(&broker, "a");
    put(&asleep, "one", "a").expect("applies");
    asleep.sync().expect("is durable");
    asleep.queue.trip.sleep(true);
    put(&asleep, "one", "written too late").expect("is queued");
    let began = Instant::now();
    let next = opened(&broker, "b");
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    put(&next, "two", "b").expect("applies");
    next.sync().expect("is durable");
    asleep.queue.trip.sleep(false);
    let error = asleep.sync().expect_err("it was taken over");
    assert!(error.is_poisoned() && error.to_string().contains("node b"), "{error}");
    assert!(error.hint().is_some_and(|hint| hint.contains("stands by")), "{error:?}");
    assert!(put(&asleep, "three", "a").expect_err("is refused").is_poisoned());
    drop((asleep, next));
    let store = opened(&broker, "c");
    assert_eq!(
        [get(&store, "one"), get(&store, "two")],
        ["a", "b"].map(|text| Some(Value::from_static(text.as_bytes())))
    );
}

#[test]
fn while_the_brokers_are_away_who_waits_waits_and_then_all_is_there_once() {
    let Some(mut broker) = Broker::start() else { return };
    let store = opened(&broker, "a");
    put(&store, "before", "").expect("applies");
    store.sync().expect("is durable");
    broker.kill();
    for number in 0..2000 {
        put(&store, &number.to_string(), "").expect("is queued");
    }
    assert!(store.has_unsynced());
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| store.sync());
        broker.restart();
        waits.join().expect("no panic").expect("is durable");
    });
    drop(store);
    let store = opened(&broker, "a");
    assert_eq!(count(&store), 2001);
}

#[test]
fn a_batch_that_is_too_large_for_the_brokers_is_whole_or_not_there_wherever_its_writing_ends() {
    const ROWS: usize = 3 * ROWS_MAX;
    for ends_behind in 0..6 {
        let Some(broker) = Broker::start() else { return };
        let store = opened(&broker, "a");
        put(&store, "0", "goes").expect("applies");
        store.sync().expect("is durable");
        store.queue.trip.end_behind(ends_behind);
        let mut rows: BTreeMap<_, _> = (1..=ROWS)
            .map(|number| (Key::from(number.to_string()), Some(Value::from(vec![1; 700]))))
            .collect();
        rows.insert(Key::from("0"), None);
        apply(&store, rows).expect("is queued");
        store.queue.trip.wait_for_the_end();
        store.killed();
        let next = opened(&broker, "b");
        let found = count(&next);
        let whole = if ends_behind == 0 { 1 } else { ROWS };
        assert_eq!((found, get(&next, "0").is_some()), (whole, ends_behind == 0), "behind {ends_behind}");
        drop(next);
        let next = opened(&broker, "c");
        let again = count(&next);
        assert_eq!(again, whole, "carried out once, behind {ends_behind}");
    }
}
