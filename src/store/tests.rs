//! What the store promises, each as write, drop, reopen, assert.

use std::ops::Bound::Unbounded;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::*;
use crate::model::account::FailedRecord;
use crate::model::at_rest::AtRest;
use crate::model::fault::{FaultKind, JobError};
use crate::model::identity::FileIdentity;
use crate::model::job::{Job, Source};
use crate::model::job_id::JobId;
use crate::model::job_state::JobEvent;
use crate::model::os_text::OsText;
use crate::model::slice::{Slice, Span};
use crate::output::Intent;

mod deliveries;
mod feed;
mod known_files;
mod sealing;
mod stored;

const MS: i64 = 1_796_000_000_000;

pub(super) fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

pub(super) fn open(folder: &Path) -> Store {
    Store::open(folder).expect("the store opens")
}

pub(super) fn id(number: u64) -> JobId {
    JobId::from_parts(MS.cast_unsigned() + number, u128::from(number))
}

pub(super) fn at(number: u64) -> Timestamp {
    Timestamp::from_millisecond(MS + number.cast_signed()).expect("a time")
}

pub(super) fn identity(number: u64) -> FileIdentity {
    FileIdentity { device: 1, inode: number, size: 3, mtime_ns: -4, ctime_ns: 5 }
}

pub(super) fn job(number: u64) -> Job {
    let source = Source::found(OsText::from("/in/a.csv"), identity(number));
    Job::queued(id(number), "payments", "blake3:00", source, at(number))
}

pub(super) fn completed(number: u64) -> Job {
    let mut job = job(number);
    for event in [JobEvent::Started, JobEvent::AccountBalanced, JobEvent::Published, JobEvent::Retired] {
        job.take(event, at(number), "").expect("a legal life");
    }
    job
}

pub(super) fn ledger_row(number: u64) -> LedgerRow {
    LedgerRow {
        kept_as: None,
        job: id(number),
        rule: "payments".into(),
        path: OsText::from("/in/a.csv"),
        identity: identity(number),
        claimed_at: at(0),
        outcome: LedgerOutcome::Claimed,
        finished_at: None,
        content_hash: None,
        delivery_key: None,
        revision: None,
        folder: None,
        lay_at: None,
    }
}

pub(super) fn failed(record: u64, length: usize) -> FailedRecord {
    FailedRecord {
        entry: 0,
        entry_name: String::new(),
        record,
        offset: record * 10,
        line: record,
        step: "step 1, validate".into(),
        error: "amount: not a decimal".into(),
        bytes: noise(record as u32, length),
        length: length as u64,
    }
}

/// Bytes that do not compress.
pub(super) fn noise(seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1);
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    })
    .take(length)
    .collect()
}

pub(super) fn slice(number: u64, length: usize) -> Slice {
    Slice {
        number,
        entry: 0,
        first_record: number + 1,
        offset: 0,
        first_line: 0,
        bytes: Bytes::from(noise(number as u32, length)),
        records: vec![Span { start: 0, end: length as u32 }],
        skipped: 0,
        oversized: None,
        places: Vec::new(),
    }
}

pub(super) fn checkpoint(entries: usize) -> Checkpoint {
    let entries = (0..entries).map(|n| Entry {
        name: format!("folder/entry-{n}-{}.csv", n * 7919),
        records: n as u64,
        ..Entry::default()
    });
    Checkpoint {
        framing_version: 1,
        next_slice: 2,
        partials: Vec::new(),
        account: Account::default(),
        entries: entries.collect(),
        failed_records: 3,
        content: "00".repeat(32),
    }
}

/// Writes a row's bytes, or removes it.
pub(super) fn put_raw(store: &Store, key: &[u8], value: Option<&[u8]>) {
    let rows = [(key.to_vec(), value.map(backend::Value::copy_from_slice))].into();
    let applied = store.inner.rows.apply(Batch { rows, ..Batch::default() });
    assert_eq!(applied.expect("applied"), Applied::Done);
}

pub(super) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("listed").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

fn assert_no_blobs(folder: &Path) {
    let blobs = std::fs::read_dir(folder.join("store/blobs")).expect("sled's folder").count();
    assert_eq!(blobs, 0, "a page became a file that is never fsynced");
}

#[test]
fn what_was_applied_together_is_there_after_a_reopen() {
    let folder = folder();
    let store = open(folder.path());
    store
        .change()
        .job(&job(1))
        .ledger(&ledger_row(1), true)
        .checkpoint(id(1), &checkpoint(2))
        .intent(id(1), &Intent::default())
        .failed_records(id(1), 0, &[failed(1, 10)])
        .apply()
        .expect("applied");
    store.sync().expect("synced");
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.job(id(1)).expect("read"), Some(job(1)));
    assert_eq!(store.ledger(id(1)).expect("read"), Some(ledger_row(1)));
    assert_eq!(store.kept(&ledger_row(1).path, &identity(1)).expect("read"), Some(id(1)));
    assert_eq!(store.checkpoint(id(1)).expect("read"), Some(checkpoint(2)));
    assert_eq!(store.intent(id(1)).expect("read"), Some(Intent::default()));
    assert_eq!(store.failed_records(id(1)).collect::<Result<Vec<_>, _>>().expect("read"), [failed(1, 10)]);
    assert_eq!(store.kept(&ledger_row(2).path, &identity(2)).expect("read"), None);
    store.change().unclaim(id(1)).apply().expect("applied");
    assert_eq!(store.job(id(1)).expect("read"), None);
    assert_eq!(store.ledger(id(1)).expect("read"), None);
    assert_eq!(store.kept(&ledger_row(1).path, &identity(1)).expect("read"), None);
    assert_eq!(store.unfinished_jobs().expect("read"), []);
    assert_eq!(store.failed_records_count(id(1)).expect("read"), 0);
}

#[test]
fn a_second_process_is_refused_and_told_who_has_the_folder() {
    let folder = folder();
    let store = open(folder.path());
    match Store::open(folder.path()).err().expect("refused") {
        StoreError::InUse { pid, .. } => assert_eq!(pid, Some(std::process::id())),
        other => panic!("{other}"),
    }
    drop(store);
    open(folder.path());
}

#[test]
fn a_command_makes_no_store_where_there_is_none() {
    let folder = folder();
    assert!(matches!(Store::open_own(folder.path(), &AtRest::default()), Err(StoreError::NoStore { .. })));
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 0);
    drop(open(folder.path()));
    Store::open_own(folder.path(), &AtRest::default()).expect("the owner may");
}

#[test]
fn a_store_of_a_later_format_is_refused() {
    let folder = folder();
    let store = open(folder.path());
    put_raw(&store, keys::FORMAT, Some(&value::seal(&[&7u32.to_be_bytes()])));
    store.sync().expect("synced");
    drop(store);
    assert!(matches!(Store::open(folder.path()), Err(StoreError::Newer { found: 7, known: 2, .. })));
}

#[test]
fn a_row_of_a_later_version_is_refused_with_advice() {
    use crate::model::fault::Fault as _;
    let store = Store::in_memory();
    put_raw(&store, &keys::of_job(keys::JOB, id(1)), Some(&[200, 1, 2]));
    let error = store.job(id(1)).expect_err("refused");
    assert!(matches!(error, StoreError::UnknownVersion { what: "job", found: 200 }));
    assert!(error.hint().expect("advice").contains("later version"));
}

#[test]
fn jobs_come_in_order_and_only_unfinished_ones_are_in_the_index() {
    let store = Store::in_memory();
    let mut changes = store.change();
    for number in [3, 1, 2] {
        changes.job(&job(number));
    }
    changes.job(&completed(4)).job(&completed(2)).apply().expect("applied");
    let ids = |jobs: Vec<Job>| jobs.into_iter().map(|job| job.id).collect::<Vec<_>>();
    let all = store.jobs().collect::<Result<Vec<_>, _>>().expect("read");
    assert_eq!(ids(all), [id(1), id(2), id(3), id(4)]);
    let newest = store.jobs_newest_first().collect::<Result<Vec<_>, _>>().expect("read");
    assert_eq!(ids(newest), [id(4), id(3), id(2), id(1)]);
    assert_eq!(ids(store.unfinished_jobs().expect("read")), [id(1), id(3)]);
}

#[test]
fn a_job_is_found_by_four_characters_of_either_end_unless_several_fit() {
    let store = Store::in_memory();
    store.change().job(&job(1)).job(&job(2)).apply().expect("applied");
    let text = id(2).to_string();
    assert_eq!(store.find_job(&text).expect("read"), JobMatch::One(id(2)));
    assert_eq!(store.find_job(&text[22..].to_uppercase()).expect("read"), JobMatch::One(id(2)));
    assert_eq!(store.find_job(&text[..4]).expect("read"), JobMatch::Several(vec![id(1), id(2)]));
    assert_eq!(store.find_job(&text[23..]).expect("read"), JobMatch::None);
    assert_eq!(store.find_job("zzzz").expect("read"), JobMatch::None);
}

#[test]
fn a_long_row_comes_back_whole_and_its_old_chunks_go_when_it_shrinks() {
    let folder = folder();
    let store = open(folder.path());
    let rows = |store: &Store| store.scan((Unbounded, Unbounded)).count();
    let before = rows(&store);
    store.change().checkpoint(id(1), &checkpoint(60_000)).apply().expect("applied");
    store.sync().expect("synced");
    drop(store);
    let store = open(folder.path());
    assert!(rows(&store) > before + 2, "{} rows", rows(&store));
    assert_eq!(store.checkpoint(id(1)).expect("read"), Some(checkpoint(60_000)));
    store.change().checkpoint(id(1), &checkpoint(1)).apply().expect("applied");
    assert_eq!(rows(&store), before + 1);
    store.change().checkpoint(id(1), &checkpoint(60_000)).apply().expect("applied");
    store.change().forget_work(id(1)).apply().expect("applied");
    assert_eq!(rows(&store), before);
    assert_no_blobs(folder.path());
}

#[test]
fn failed_records_are_cut_back_to_a_position_also_within_a_group() {
    let store = Store::in_memory();
    let records: Vec<_> = (0..50).map(|n| failed(n, 3000)).collect();
    store.change().failed_records(id(1), 0, &records[..30]).apply().expect("applied");
    store
        .change()
        .failed_records(id(1), 30, &records[30..])
        .failed_records(id(2), 0, &records[..1])
        .apply()
        .expect("applied");
    let read = |store: &Store| store.failed_records(id(1)).collect::<Result<Vec<_>, _>>().expect("read");
    assert_eq!(read(&store), records);
    assert_eq!(store.failed_record(id(1), 33).expect("read").as_ref(), Some(&records[33]));
    assert_eq!(store.failed_record(id(1), 50).expect("read"), None);
    store.change().forget_failed_records(id(1), 17).apply().expect("applied");
    assert_eq!(read(&store), records[..17]);
    assert_eq!(store.failed_records_count(id(1)).expect("read"), 17);
    // Removed and written anew in one step, as a resume does.
    store
        .change()
        .forget_failed_records(id(1), 5)
        .failed_records(id(1), 5, &records[5..8])
        .apply()
        .expect("applied");
    assert_eq!(read(&store), records[..8]);
    store
        .change()
        .failed_records(id(1), 8, &records[8..9])
        .forget_failed_records(id(1), 0)
        .apply()
        .expect("applied");
    assert_eq!(read(&store), []);
    assert_eq!(store.failed_records_count(id(2)).expect("read"), 1);
}

#[test]
fn large_values_never_become_files_that_are_not_fsynced() {
    let folder = folder();
    let store = open(folder.path());
    let queue = store.slice_queue(MemoryBudget::new(0), u64::MAX);
    for number in 0..300 {
        assert!(queue.put(slice(number, 56 << 10)).expect("put"));
    }
    assert!(queue.put(slice(300, 9 << 20)).expect("put"));
    store
        .change()
        .failed_records(id(1), 0, &[failed(1, 8 << 20), failed(2, 60 << 10)])
        .apply()
        .expect("applied");
    for number in 0..120 {
        store.change().failed_records(id(2), number, &[failed(number, 60 << 10)]).apply().expect("applied");
    }
    store.sync().expect("synced");
    assert_no_blobs(folder.path());
    for number in 0..=300 {
        match queue.take().expect("taken") {
            Taken::Slice(taken, _lease) => assert_eq!(taken.number, number),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(queue.stored().1, 0);
    drop((queue, store));
    let store = open(folder.path());
    let records = store.failed_records(id(1)).collect::<Result<Vec<_>, _>>().expect("read");
    assert_eq!(records, [failed(1, 8 << 20), failed(2, 60 << 10)]);
    assert_no_blobs(folder.path());
}

#[test]
fn slices_on_their_way_are_forgotten_by_a_restart() {
    let folder = folder();
    let store = open(folder.path());
    drop(store);
    let left = folder.path().join("slices/1-0");
    std::fs::create_dir_all(&left).expect("as a kill leaves it");
    std::fs::write(left.join("db"), noise(1, 100)).expect("written");
    let store = open(folder.path());
    assert!(!folder.path().join("slices").try_exists().expect("can be looked at"));
    drop(store);
}

#[test]
fn order_is_kept_through_memory_and_the_disk_with_a_slow_taker() {
    let store = Store::in_memory();
    let memory = MemoryBudget::new(20_000);
    let queue = Arc::new(store.slice_queue(Arc::clone(&memory), 30_000));
    let putter = {
        let queue = Arc::clone(&queue);
        std::thread::spawn(move || {
            for number in 0..400 {
                assert!(queue.put(slice(number, 1000)).expect("put"));
            }
            queue.end();
        })
    };
    let mut next = 0;
    loop {
        match queue.take().expect("taken") {
            Taken::Slice(taken, lease) => {
                assert_eq!(taken, slice(next, 1000));
                assert!(queue.stored().1 <= 30_000);
                next += 1;
                if next % 7 == 0 {
                    std::thread::yield_now();
                }
                drop(lease);
            }
            Taken::Empty => std::thread::yield_now(),
            Taken::Ended => break,
        }
    }
    putter.join().expect("no panic");
    assert_eq!(next, 400);
    assert_eq!(memory.used(), 0);
    assert_eq!(queue.stored().1, 0);
}

#[test]
fn two_jobs_with_a_tiny_budget_both_get_on() {
    let store = Store::in_memory();
    let memory = MemoryBudget::new(1);
    let queues: Vec<_> = (0..2).map(|_| Arc::new(store.slice_queue(Arc::clone(&memory), 0))).collect();
    let _elsewhere = memory.lease(1_000_000);
    std::thread::scope(|scope| {
        for queue in &queues {
            scope.spawn(|| {
                for number in 0..100 {
                    assert!(queue.put(slice(number, 100)).expect("put"));
                }
                queue.end();
            });
        }
        for queue in &queues {
            let mut taken = 0;
            loop {
                match queue.take().expect("taken") {
                    Taken::Slice(..) => taken += 1,
                    Taken::Empty => std::thread::yield_now(),
                    Taken::Ended => break,
                }
            }
            assert_eq!(taken, 100);
        }
    });
}

#[test]
fn a_stop_ends_a_waiting_put_and_leaves_nothing_behind() {
    let store = Store::in_memory();
    let memory = MemoryBudget::new(1);
    let queue = store.slice_queue(Arc::clone(&memory), 3000);
    assert!(queue.put(slice(0, 1000)).expect("put"));
    assert!(queue.put(slice(1, 1000)).expect("put"));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let mut number = 2;
            while queue.put(slice(number, 1000)).expect("put") {
                number += 1;
            }
        });
        queue.stop();
        waiting.join().expect("no panic");
    });
    assert!(matches!(queue.take().expect("taken"), Taken::Ended));
    assert_eq!(memory.used(), 0);
}

#[test]
fn retention_forgets_what_is_done_and_nothing_unprocessed() {
    let store = Store::in_memory();
    let mut broken = job(2);
    let error = JobError { kind: FaultKind::Input, message: "cut short".into(), hint: None };
    broken.fail(error).and_then(|()| broken.end_failing(at(2))).expect("legal");
    let mut with_failed = completed(3);
    with_failed.account.records_failed = 1;
    store
        .change()
        .job(&completed(1))
        .ledger(&ledger_row(1), true)
        .job(&broken)
        .job(&with_failed)
        .failed_records(id(3), 0, &[failed(1, 5)])
        .job(&job(4))
        .job(&completed(500))
        .apply()
        .expect("applied");
    assert_eq!(store.forget_finished(at(100), false).expect("forgot"), 1);
    let left: Vec<_> = store.jobs().map(|job| job.expect("read").id).collect();
    assert_eq!(left, [id(2), id(3), id(4), id(500)]);
    assert_eq!(store.failed_records(id(3)).count(), 1);
    assert_eq!(
        store.kept(&ledger_row(1).path, &identity(1)).expect("read"),
        Some(id(1)),
        "else the file would be taken again"
    );
    assert!(store.ledger(id(1)).expect("read").is_some());
}

/// An operator retries a job that was aborted long ago while retention walks over the rows.
#[test]
fn retention_leaves_a_job_that_is_taken_up_again_since_it_was_judged() {
    let store = Store::in_memory();
    let judged = completed(1);
    let again = Job { finished_at: None, ..job(1) };
    store.change().job(&judged).apply().expect("applied");
    store.change().job(&again).failed_records(id(1), 0, &[failed(1, 5)]).apply().expect("is retried");
    store.change().forget_ended(&judged).apply().expect("applied");
    assert_eq!(store.job(id(1)).expect("read"), Some(again.clone()));
    assert_eq!(store.unfinished_jobs().expect("read"), [again], "a restart finds it");
    assert_eq!(store.failed_records(id(1)).count(), 1);
    store.change().job(&judged).forget_ended(&judged).apply().expect("applied");
    assert_eq!(store.job(id(1)).expect("read"), None);
    assert_eq!(store.failed_records(id(1)).count(), 0);
}

#[test]
fn snapshots_of_rules_go_when_no_job_refers_to_them() {
    let store = Store::in_memory();
    let (old, held, current) = (rule_to("/old"), rule_to("/held"), rule_to("/current"));
    let mut waiting = job(1);
    waiting.rule_hash = held.hash();
    let mut gone = completed(2);
    gone.rule_hash = old.hash();
    store.change().rule(&old).rule(&held).rule(&current).job(&waiting).job(&gone).apply().expect("applied");
    assert_eq!(
        store.forget_rules(|| vec![current.hash()]).expect("forgot"),
        0,
        "a listed job still shows its rule"
    );
    assert_eq!(store.forget_finished(at(3), false).expect("forgot"), 1);
    assert_eq!(store.forget_rules(|| vec![current.hash()]).expect("forgot"), 1);
    assert_eq!(store.rule(&old.hash()).expect("read"), None);
    assert_eq!(store.rule(&held.hash()).expect("read"), Some(held.clone()));
    assert_eq!(store.rule(&current.hash()).expect("read"), Some(current));
    // What is written again after it went is there again.
    store.change().rule(&old).apply().expect("applied");
    assert_eq!(store.rule(&old.hash()).expect("read"), Some(old));
}

#[test]
fn fifty_threads_that_write_and_sync_all_find_their_rows_after_a_reopen() {
    let folder = folder();
    let store = open(folder.path());
    std::thread::scope(|scope| {
        for number in 0..50 {
            let store = &store;
            scope.spawn(move || {
                store.change().job(&job(number)).apply().expect("applied");
                store.sync().expect("synced");
            });
        }
    });
    drop(store);
    assert_eq!(open(folder.path()).unfinished_jobs().expect("read").len(), 50);
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_enter_what_the_store_makes() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let data_dir = folder.path().join("data");
    drop(open(&data_dir));
    for (path, mode) in
        [(data_dir.clone(), 0o700), (data_dir.join("store"), 0o700), (data_dir.join("landfall.lock"), 0o600)]
    {
        let found = std::fs::metadata(&path).expect("is there").permissions().mode() & 0o777;
        assert_eq!(found, mode, "{}", path.display());
    }
}

#[cfg(unix)]
#[test]
fn the_rules_of_a_folder_whose_name_is_not_unicode_are_kept_and_told_apart() {
    use std::os::unix::ffi::OsStrExt as _;
    let store = Store::in_memory();
    let base_dir = Path::new(std::ffi::OsStr::from_bytes(b"/etc/l\xff"));
    let mut rules = [rule_to("/one"), rule_to("/two")];
    for rule in &mut rules {
        rule.base_dir = base_dir.to_owned();
    }
    let [one, two] = rules;
    assert_ne!(one.hash(), two.hash());
    store.change().rule(&one).rule(&two).apply().expect("applied");
    assert_eq!(store.rule(&one.hash()).expect("read"), Some(one));
    assert_eq!(store.rule(&two.hash()).expect("read"), Some(two));
}

/// A rule as the configuration makes it.
pub(super) fn rule() -> crate::model::rule::Rule {
    rule_to("/out")
}

pub(super) fn rule_to(out: &str) -> crate::model::rule::Rule {
    let folder = folder();
    let file = folder.path().join("landfall.toml");
    let toml = format!(
        "config_version = 1\n[[rule]]\nname = \"payments\"\npaths = [\"/in/*.csv\"]\nrecords = {{ format = \"lines\" }}
        output = {{ main = {{ path = \"{out}/{{stem}}\" }} }}\nsource = {{ on_success = \"archive\", archive_dir = \"/done\" }}\n"
    );
    std::fs::write(&file, toml).expect("written");
    let settings = crate::config::load(&file, &crate::pipeline::Registry::with_builtin_steps());
    let mut rule = settings.expect("a sound configuration").rules.remove(0);
    rule.base_dir = "/".into(); // not the temporary folder: equal rules hash alike
    rule
}
