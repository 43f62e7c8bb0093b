use std::ops::Bound::Unbounded;

use super::*;
use crate::model::job_id::JobId;
use crate::store::in_memory::InMemory;

fn sealed(ring: &Arc<KeyRing>) -> Sealed {
    let rows = Sealed::new(Box::<InMemory>::default());
    rows.go_by(Arc::clone(ring), true);
    rows
}

fn put(rows: &dyn Backend, key: &[u8], value: &[u8]) {
    let mut batch = Batch::default();
    batch.rows.insert(key.to_vec(), Some(value.to_vec().into()));
    assert_eq!(rows.apply(batch).expect("applies"), Applied::Done);
}

fn get(rows: &dyn Backend, key: &[u8]) -> Vec<u8> {
    rows.get(key).expect("reads").expect("is there").to_vec()
}

fn failed_group(job: u64, first: u64) -> Key {
    keys::failed_group(JobId::from_parts(job, job.into()), first)
}

#[test]
fn a_value_lies_encrypted_and_is_read_as_it_was_written() {
    let rows = sealed(&Arc::new(KeyRing::random(1)));
    let key = failed_group(1, 1);
    put(&rows, &key, b"\x01a record");
    assert_eq!(get(&rows, &key), b"\x01a record");
    assert_eq!(rows.snapshot().get(&key).expect("reads").as_deref(), Some(&b"\x01a record"[..]));
    let stored = get(&*rows.inner, &key);
    assert!(at_rest::is_sealed(&stored) && !stored.windows(6).any(|bytes| bytes == b"record"));
    let scanned: Vec<_> = rows.scan((Unbounded, Unbounded)).map(|row| row.expect("reads").1).collect();
    assert_eq!(scanned, [Value::from_static(b"\x01a record")]);
}

/// Goal: what was taken from another job, or another place of the same one, is told as damage, and never as a record of this one.
#[test]
fn a_value_that_was_moved_to_another_job_or_number_does_not_open() {
    let rows = sealed(&Arc::new(KeyRing::random(1)));
    put(&rows, &failed_group(1, 1), b"\x01of job 1");
    let stored = get(&*rows.inner, &failed_group(1, 1));
    for other in [failed_group(2, 1), failed_group(1, 2)] {
        put(&*rows.inner, &other, &stored);
        let error = rows.get(&other).expect_err("it is another place").to_string();
        assert!(error.contains("moved") && error.contains("failed records"), "{error}");
    }
    for changed in [&stored[..stored.len() - 1], &[&stored[..40], b"x", &stored[41..]].concat()] {
        put(&*rows.inner, &failed_group(1, 1), changed);
        rows.get(&failed_group(1, 1)).expect_err("it was cut or changed");
    }
}

#[test]
fn what_a_batch_expects_is_what_was_read_and_not_how_it_lies_there() {
    let ring = Arc::new(KeyRing::random(1));
    for is_sealed_before in [true, false] {
        let rows = Sealed::new(Box::<InMemory>::default());
        rows.go_by(Arc::clone(&ring), is_sealed_before);
        put(&rows, b"jrow", b"\x01before");
        rows.go_by(Arc::clone(&ring), true);
        let change = |expected: &'static [u8], now: &'static [u8]| {
            let expected = vec![(b"jrow".to_vec(), Some(Value::from_static(expected)))];
            let mut batch = Batch { expected, ..Batch::default() };
            batch.rows.insert(b"jrow".to_vec(), Some(Value::from_static(now)));
            rows.apply(batch).expect("applies")
        };
        assert_eq!(change(b"\x01other", b"\x01wrong"), Applied::Outdated);
        assert_eq!(change(b"\x01before", b"\x01after"), Applied::Done);
        assert_eq!(change(b"\x01before", b"\x01wrong"), Applied::Outdated);
        assert_eq!(get(&rows, b"jrow"), b"\x01after");
    }
}

#[test]
fn values_in_clear_and_by_an_earlier_key_are_read_until_they_are_written_anew() {
    let old = Arc::new(KeyRing::random(2));
    let rows = Sealed::new(Box::<InMemory>::default());
    put(&rows, b"jclear", b"\x01one");
    put(&rows, b"ujob", b"\x01");
    rows.go_by(Arc::clone(&old), true);
    put(&rows, b"jold", b"\x01two");
    let new = Arc::new(old.with_first(1));
    rows.go_by(Arc::clone(&new), true);
    let both = |rows: &Sealed| [get(rows, b"jclear"), get(rows, b"jold")];
    assert_eq!(both(&rows), [b"\x01one", b"\x01two"]);
    let done = rows.renew(&mut |_| true).expect("is written").expect("to its end");
    assert_eq!(done, Renewed { values: 3, renewed: 2, unopened: 0 }, "what is empty says nothing");
    rows.go_by(Arc::new(new.first_alone()), true);
    assert_eq!(both(&rows), [b"\x01one", b"\x01two"]);
    let again = rows.renew(&mut |_| true).expect("is written").expect("to its end");
    assert_eq!(again.renewed, 0);
    rows.go_by(new, false);
    assert_eq!(rows.renew(&mut |_| true).expect("is written").expect("to its end").renewed, 2);
    assert_eq!(get(&*rows.inner, b"jold"), b"\x01two");
}

#[test]
fn writing_anew_that_was_ended_or_broke_off_loses_nothing_and_begins_again() {
    let rows = sealed(&Arc::new(KeyRing::random(1)));
    for number in 0..3000u64 {
        put(&*rows.inner, &[b"j", &number.to_be_bytes()[..]].concat(), b"\x01clear");
    }
    assert_eq!(rows.renew(&mut |_| false).expect("is written"), None);
    assert!(rows.scan((Unbounded, Unbounded)).all(|row| row.expect("reads").1 == b"\x01clear"[..]));
    let done = rows.renew(&mut |_| true).expect("is written").expect("to its end");
    assert_eq!((done.values, done.renewed), (3000, 2000));
}

#[test]
fn a_value_that_does_not_open_is_passed_over_and_counted() {
    let rows = sealed(&Arc::new(KeyRing::random(1)));
    put(&rows, b"jmoved", b"\x01from here");
    put(&*rows.inner, b"jto", &get(&*rows.inner, b"jmoved"));
    put(&rows, b"jz", b"\x01behind it");
    rows.go_by(Arc::new(KeyRing::random(1)), true);
    put(&*rows.inner, b"jzz", b"\x01in clear");
    let done = rows.renew(&mut |_| true).expect("is written").expect("to its end");
    assert_eq!(done, Renewed { values: 4, renewed: 1, unopened: 3 });
    assert!(at_rest::is_sealed(&get(&*rows.inner, b"jzz")), "those behind it are written");
}

/// Goal: a store whose encryption begins by a reload goes on, whoever reads and writes it meanwhile. The one who writes waits for a reader's
/// snapshot; the reader must not wait for him in turn.
#[test]
fn encryption_begins_while_one_reads_a_snapshot_and_another_one_waits_to_write() {
    use std::sync::mpsc;
    use std::time::Duration;
    let folder = tempfile::tempdir().expect("a folder");
    let inner = crate::store::sled::Sled::open(folder.path()).expect("opens");
    let old = Arc::new(KeyRing::random(2));
    let new = Arc::new(old.with_first(1));
    let second = new.recipient().to_owned();
    let rows = Arc::new(Sealed::new(Box::new(inner)));
    rows.go_by(old, true);
    put(&*rows, b"jrow", b"\x01read");
    let (done, is_done) = mpsc::sync_channel(1);
    let threads = Arc::clone(&rows);
    std::thread::spawn(move || {
        let threads = &*threads;
        let now = threads.snapshot();
        std::thread::scope(|scope| {
            let writes = scope.spawn(|| put(threads, b"jother", b"\x01written"));
            let begins = scope.spawn(move || {
                // He who writes is at it: he holds what `go_by` waits for.
                while threads.applying.try_write().is_ok() {
                    std::thread::yield_now();
                }
                threads.go_by(new, true);
            });
            // The ring is another one, though one writes and one reads.
            while threads.ring().is_none_or(|ring| ring.recipient() != second) {
                std::thread::yield_now();
            }
            assert_eq!(now.get(b"jrow").expect("reads").as_deref(), Some(&b"\x01read"[..]));
            assert!(!writes.is_finished() && !begins.is_finished());
            drop(now);
        });
        done.send(()).expect("somebody waits");
    });
    is_done.recv_timeout(Duration::from_secs(30)).expect("nobody waits for ever");
    assert_eq!(get(&*rows, b"jother"), b"\x01written");
}

impl Sealed {
    /// How a value lies there.
    pub(in crate::store) fn stored(&self, key: &[u8]) -> Value {
        self.inner.get(key).expect("reads").expect("is there")
    }

    /// Puts one there as it is.
    pub(in crate::store) fn store_as_it_is(&self, key: &[u8], value: Value) {
        let rows = [(key.to_vec(), Some(value))].into();
        assert_eq!(self.inner.apply(Batch { rows, ..Batch::default() }).expect("applies"), Applied::Done);
    }
}
