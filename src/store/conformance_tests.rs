//! What a backend promises, tried on each of them. A new one gets an `impl` of [`Case`] and a line in [`conform`]'s list of backends.

#![allow(
    clippy::needless_pass_by_value,
    reason = "some promises need a case as their own, and all are called alike"
)]

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Included, Unbounded};
use std::ops::RangeBounds as _;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

use super::backend::{self, Applied, Backend, Batch, KeyRange, Row, VALUE_BYTES_MAX, Value};
use super::error::StoreError;
use super::in_memory::InMemory;
use super::jetstream::broker::Broker;
use super::jetstream::{JetStream, WhileTaken};
use super::keys::Key;
use super::sled::Sled;
use super::tests::noise;

/// A backend under test, new and empty.
trait Case: Send + Sync + Sized {
    fn new() -> Self;
    fn backend(&self) -> &dyn Backend;
    /// As a write that fails leaves it.
    fn break_it(&self);
    /// Closed and opened again, where that is more than forgetting it.
    fn reopened(self) -> Self;
}

struct OfSled {
    backend: Sled,
    folder: TempDir,
}

impl OfSled {
    fn opened(folder: TempDir) -> Self {
        Self { backend: Sled::open(folder.path()).expect("opens"), folder }
    }

    /// As a kill leaves it now.
    fn killed(&self) -> Self {
        let left = tempfile::tempdir().expect("a folder");
        super::tests::copy(&self.folder.path().join("store"), &left.path().join("store"));
        Self::opened(left)
    }
}

impl Case for OfSled {
    fn new() -> Self {
        Self::opened(tempfile::tempdir().expect("a folder"))
    }

    fn backend(&self) -> &dyn Backend {
        &self.backend
    }

    fn break_it(&self) {
        self.backend.break_by(&failure());
    }

    fn reopened(self) -> Self {
        drop(self.backend);
        Self::opened(self.folder)
    }
}

struct OfJetStream(Option<(JetStream, Broker)>); // it closes before the broker ends

impl OfJetStream {
    fn inner(&self) -> &JetStream {
        &self.0.as_ref().expect("asked only where there is one").0
    }
}

impl Case for OfJetStream {
    fn new() -> Self {
        let broker = Broker::start().expect("there was one before");
        Self(Some((opened(&broker), broker)))
    }

    fn backend(&self) -> &dyn Backend {
        self.inner()
    }

    fn break_it(&self) {
        self.inner().break_by(&failure());
    }

    fn reopened(mut self) -> Self {
        let (backend, broker) = self.0.take().expect("it is open");
        drop(backend);
        Self(Some((opened(&broker), broker)))
    }
}

fn opened(broker: &Broker) -> JetStream {
    JetStream::open(&broker.cluster("a"), WhileTaken::Wait).expect("opens")
}

impl Case for InMemory {
    fn new() -> Self {
        Self::default()
    }

    fn backend(&self) -> &dyn Backend {
        self
    }

    fn break_it(&self) {
        self.break_by(&failure());
    }

    fn reopened(self) -> Self {
        self
    }
}

fn failure() -> StoreError {
    StoreError::Failed { action: "write", path: "/data/store".into(), source: "the disk is gone".into() }
}

macro_rules! conform {
    ($($promise:ident),* $(,)?) => {
        mod sled {
            $(#[test]
            fn $promise() {
                super::$promise(<super::OfSled as super::Case>::new());
            })*
        }

        mod jetstream {
            $(#[test]
            fn $promise() {
                if super::Broker::start().is_some() {
                    super::$promise(<super::OfJetStream as super::Case>::new());
                }
            })*
        }

        mod in_memory {
            $(#[test]
            fn $promise() {
                super::$promise(super::InMemory::default());
            })*
        }
    };
}

conform!(
    what_a_batch_changes_is_read_at_once_and_only_together,
    a_batch_that_expects_what_is_not_so_changes_nothing,
    of_threads_that_count_up_one_row_none_counts_in_vain,
    rows_come_in_order_from_either_end_and_within_their_bounds,
    a_scan_meets_each_row_that_stays_once_while_others_come_and_go,
    keys_and_values_may_be_empty_and_values_as_long_as_they_get,
    after_a_failed_write_nothing_is_written_and_all_is_read,
    whoever_syncs_finds_it_durable_and_nothing_left_to_do,
    any_changes_leave_what_a_map_would_have,
);

fn put<const N: usize>(backend: &dyn Backend, rows: [(&str, &str); N]) {
    let rows = rows.map(|(key, value)| (Key::from(key), Some(Value::copy_from_slice(value.as_bytes()))));
    assert_eq!(
        backend.apply(Batch { rows: rows.into(), ..Batch::default() }).expect("applied"),
        Applied::Done
    );
}

fn get(backend: &dyn Backend, key: &str) -> Option<Value> {
    backend.get(key.as_bytes()).expect("read")
}

fn all(backend: &dyn Backend) -> Vec<Row> {
    backend.scan((Unbounded, Unbounded)).collect::<Result<_, _>>().expect("read")
}

fn what_a_batch_changes_is_read_at_once_and_only_together(case: impl Case) {
    let (backend, ended) = (case.backend(), AtomicBool::new(false));
    put(backend, [("a", "0"), ("b", "0")]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                let now = backend.snapshot();
                let [a, b] = [b"a", b"b"].map(|key| now.get(key).expect("read"));
                assert_eq!(a, b);
            }
        });
        for number in 0..300u32 {
            let value = number.to_string();
            put(backend, [("a", &value), ("b", &value)]);
            assert_eq!(get(backend, "b").as_deref(), Some(value.as_bytes()));
            if number % 100 == 0 {
                backend.sync().expect("synced");
            }
        }
        ended.store(true, Ordering::Relaxed);
    });
}

fn a_batch_that_expects_what_is_not_so_changes_nothing(case: impl Case) {
    let backend = case.backend();
    put(backend, [("a", "1")]);
    let value = |text: &'static str| Some(Value::from_static(text.as_bytes()));
    let apply = |expected: &[(&str, Option<Value>)]| {
        let expected = expected.iter().map(|(key, value)| (Key::from(*key), value.clone())).collect();
        let rows = [(Key::from("a"), None), (Key::from("c"), value("3"))].into();
        backend.apply(Batch { expected, rows, as_of: None }).expect("judged")
    };
    for round in 0..2 {
        for outdated in [("a", None), ("a", value("2")), ("b", value("1"))] {
            assert_eq!(
                apply(&[("a", value("1")), ("x", None), outdated.clone()]),
                Applied::Outdated,
                "{outdated:?}"
            );
            assert_eq!(all(backend), [(Key::from("a"), Value::from_static(b"1"))]);
        }
        if round == 0 {
            backend.sync().expect("synced"); // the same of what is durable
        }
    }
    assert_eq!(apply(&[("a", value("1")), ("b", None)]), Applied::Done);
    assert_eq!(all(backend), [(Key::from("c"), Value::from_static(b"3"))]);
}

fn of_threads_that_count_up_one_row_none_counts_in_vain(case: impl Case) {
    const THREADS: u32 = 4;
    const COUNTS: u32 = 100;
    let (backend, key) = (case.backend(), Key::from("count"));
    let number = |value: &Option<Value>| {
        value.as_deref().map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().expect("four bytes")))
    };
    let count_up = || {
        loop {
            let as_of = backend.applied_count();
            let old = backend.get(&key).expect("read");
            let new = Value::copy_from_slice(&(number(&old) + 1).to_be_bytes());
            let (expected, rows) = (vec![(key.clone(), old)], [(key.clone(), Some(new))].into());
            let batch = Batch { expected, as_of, rows };
            if backend.apply(batch).expect("judged") == Applied::Done {
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| (0..COUNTS).for_each(|_| count_up()));
        }
    });
    assert_eq!(number(&backend.get(&key).expect("read")), THREADS * COUNTS);
}

fn rows_come_in_order_from_either_end_and_within_their_bounds(case: impl Case) {
    let backend = case.backend();
    put(backend, [("b", "2"), ("a", "1"), ("ab", "3"), ("c", "4"), ("b\u{7f}", "5")]);
    backend.sync().expect("synced");
    put(backend, [("ba", "6")]);
    let key = |text: &str| Key::from(text);
    let found = |range: KeyRange| {
        let keys = |rows: &mut dyn Iterator<Item = Result<Row, StoreError>>| {
            rows.map(|row| String::from_utf8(row.expect("read").0).expect("text")).collect::<Vec<_>>()
        };
        let forward = keys(&mut backend.scan(range.clone()));
        let mut backward = keys(&mut backend.scan(range).rev());
        backward.reverse();
        assert_eq!(forward, backward);
        forward
    };
    assert_eq!(found((Unbounded, Unbounded)), ["a", "ab", "b", "ba", "b\u{7f}", "c"]);
    assert_eq!(found((Included(key("ab")), Excluded(key("ba")))), ["ab", "b"]);
    assert_eq!(found((Excluded(key("ab")), Included(key("ba")))), ["b", "ba"]);
    assert_eq!(found((Excluded(key("aa")), Unbounded)), ["ab", "b", "ba", "b\u{7f}", "c"]);
    assert_eq!(found(backend::beginning_with(b"b")), ["b", "ba", "b\u{7f}"]);
    assert_eq!(found(backend::beginning_with(b"zz")), [""; 0]);
    for (from, upto) in [("c", "a"), ("b", "b")] {
        assert_eq!(found((Included(key(from)), Excluded(key(upto)))), [""; 0]);
        assert_eq!(found((Excluded(key(from)), Excluded(key(upto)))), [""; 0]);
    }
    assert_eq!(found((Included(key("b")), Included(key("b")))), ["b"]);
    let mut both = backend.scan((Unbounded, Unbounded));
    let ends = [
        both.next(),
        both.next_back(),
        both.next(),
        both.next_back(),
        both.next(),
        both.next_back(),
        both.next(),
    ];
    let ends = ends.map(|row| row.map(|row| row.expect("read").0));
    assert_eq!(ends.map(Option::unwrap_or_default), ["a", "c", "ab", "b\u{7f}", "b", "ba", ""].map(key));
}

fn a_scan_meets_each_row_that_stays_once_while_others_come_and_go(case: impl Case) {
    let backend = case.backend();
    let name = |number: u32| format!("{number:04}");
    for number in (0..400).step_by(2) {
        put(backend, [(&name(number), "stays")]);
    }
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                for number in (1..400).step_by(8) {
                    put(backend, [(&name(number), "comes")]);
                    let rows = [(Key::from(name(number)), None)].into();
                    let gone = backend.apply(Batch { rows, ..Batch::default() });
                    assert_eq!(gone.expect("applied"), Applied::Done);
                }
            }
        });
        for _ in 0..20 {
            let rows = all(backend);
            assert!(rows.is_sorted_by(|(one, _), (next, _)| one < next), "each once and in order");
            assert_eq!(rows.iter().filter(|(_, value)| value == "stays").count(), 200);
        }
        ended.store(true, Ordering::Relaxed);
    });
}

fn keys_and_values_may_be_empty_and_values_as_long_as_they_get(case: impl Case) {
    let long = Value::from(noise(7, VALUE_BYTES_MAX));
    let rows = BTreeMap::from([
        (Key::new(), Some(Value::from_static(b"of the empty key"))),
        (vec![0], Some(Value::new())),
        (vec![0xff; 300], Some(long)),
    ]);
    let expected: Vec<Row> =
        rows.clone().into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
    assert_eq!(case.backend().apply(Batch { rows, ..Batch::default() }).expect("applied"), Applied::Done);
    assert_eq!(all(case.backend()), expected);
    case.backend().sync().expect("synced");
    let case = case.reopened();
    assert_eq!(all(case.backend()), expected);
    assert_eq!(case.backend().get(b"").expect("read").as_deref(), Some(b"of the empty key".as_slice()));
    assert_eq!(case.backend().get(&[0xff]).expect("read"), None);
}

fn after_a_failed_write_nothing_is_written_and_all_is_read(case: impl Case) {
    let backend = case.backend();
    put(backend, [("a", "1")]);
    backend.sync().expect("synced");
    case.break_it();
    let rows = BTreeMap::from([(Key::from("a"), None)]);
    for _ in 0..2 {
        let refused =
            [backend.apply(Batch { rows: rows.clone(), ..Batch::default() }).err(), backend.sync().err()];
        for error in refused {
            let error = error.expect("refused");
            assert!(
                matches!(&error, StoreError::Poisoned { reason, .. } if reason.contains("the disk is gone")),
                "{error}"
            );
        }
    }
    assert_eq!(get(backend, "a").as_deref(), Some(b"1".as_slice()));
    assert_eq!(backend.snapshot().get(b"a").expect("read").as_deref(), Some(b"1".as_slice()));
    assert_eq!(all(backend).len(), 1);
}

fn whoever_syncs_finds_it_durable_and_nothing_left_to_do(case: impl Case) {
    let (backend, begin) = (case.backend(), Barrier::new(8));
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let begin = &begin;
            scope.spawn(move || {
                begin.wait();
                for number in 0..5 {
                    put(backend, [(&format!("{thread}-{number}"), "")]);
                    backend.sync().expect("synced");
                }
            });
        }
    });
    assert!(!backend.has_unsynced());
    let case = case.reopened();
    assert_eq!(all(case.backend()).len(), 40);
}

/// What is done with a backend and a map alike.
#[derive(Clone, Debug)]
enum Step {
    /// Rows; and whether what is there is expected, or what is not.
    Apply(Vec<(Key, Option<Vec<u8>>)>, Option<bool>),
    Scan(Key, Key),
    Sync,
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || prop::collection::vec(0..3u8, 0..4);
    let row = (key(), prop::option::of(prop::collection::vec(any::<u8>(), 0..9)));
    let step = prop_oneof![
        8 => (prop::collection::vec(row, 0..6), any::<Option<bool>>()).prop_map(|(rows, expects)| Step::Apply(rows, expects)),
        4 => (key(), key()).prop_map(|(from, upto)| Step::Scan(from, upto)),
        1 => Just(Step::Sync),
        1 => Just(Step::Reopen),
    ];
    prop::collection::vec(step, 1..40)
}

fn any_changes_leave_what_a_map_would_have<C: Case>(_: C) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) };
    let as_a_map = |steps: Vec<Step>| {
        let (mut case, mut model) = (C::new(), BTreeMap::<Key, Value>::new());
        for step in steps {
            match step {
                Step::Apply(rows, expects) => {
                    let rows: BTreeMap<_, _> =
                        rows.into_iter().map(|(key, value)| (key, value.map(Value::from))).collect();
                    let is_current = expects != Some(false) || rows.is_empty();
                    let expected = |key: &Key| {
                        if is_current {
                            model.get(key).cloned()
                        } else {
                            Some(Value::from_static(b"another value"))
                        }
                    };
                    let expected = rows
                        .keys()
                        .filter(|_| expects.is_some())
                        .map(|key| (key.clone(), expected(key)))
                        .collect();
                    let applied = case
                        .backend()
                        .apply(Batch { expected, rows: rows.clone(), as_of: None })
                        .expect("judged");
                    prop_assert_eq!(applied == Applied::Done, is_current);
                    for (key, value) in rows.into_iter().filter(|_| is_current) {
                        match value {
                            Some(value) => drop(model.insert(key, value)),
                            None => drop(model.remove(&key)),
                        }
                    }
                }
                Step::Scan(from, upto) => {
                    let range = (Included(from), Excluded(upto));
                    let wanted = model
                        .iter()
                        .filter(|(key, _)| range.contains(*key))
                        .map(|(key, value)| (key.clone(), value.clone()));
                    let found: Result<Vec<_>, _> = case.backend().scan(range.clone()).collect();
                    prop_assert_eq!(found.expect("read"), wanted.collect::<Vec<_>>());
                }
                Step::Sync => case.backend().sync().expect("synced"),
                Step::Reopen => case = case.reopened(),
            }
        }
        let wanted: Vec<_> = model.into_iter().collect();
        prop_assert_eq!(all(case.backend()), wanted);
        Ok(())
    };
    TestRunner::new(config).run(&steps(), as_a_map).expect("as a map");
}

#[test]
fn what_was_synced_outlives_a_kill_and_what_was_not_comes_whole_or_not_at_all() {
    let case = OfSled::new();
    put(&case.backend, [("a", "1"), ("b", "1")]);
    case.backend.sync().expect("synced");
    let killed = case.killed();
    assert_eq!(all(&killed.backend), all(&case.backend));
    put(&case.backend, [("a", "2"), ("b", "2")]);
    let killed = case.killed();
    assert_eq!(get(&killed.backend, "a"), get(&killed.backend, "b"));
}

#[test]
fn a_range_of_keys_that_begin_alike_ends_behind_the_last_of_them() {
    assert_eq!(backend::beginning_with(&[1, 0xff]), (Included(vec![1, 0xff]), Excluded(vec![2])));
    assert_eq!(backend::beginning_with(&[0xff]), (Included(vec![0xff]), Unbounded));
    assert_eq!(backend::beginning_with(&[]), (Included(vec![]), Unbounded));
}
