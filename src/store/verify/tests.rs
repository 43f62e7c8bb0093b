//! Each kind of damage to rows is found, told with its place and what to do; a store that is used as it should be has none.

use super::super::tests::{at, checkpoint, completed, failed, id, identity, job, ledger_row, put_raw, rule};
use super::super::{ArchivedFile, ArchivedRow, Checkpoint, LedgerOutcome, LedgerRow, value};
use super::*;
use crate::output::Intent;

fn findings(store: &Store) -> Vec<Finding> {
    let said: Vec<_> = store.verify().collect();
    assert!(matches!(said.last(), Some(Verified::Ended { .. })), "it comes to an end");
    said.into_iter()
        .filter_map(|said| match said {
            Verified::Found(finding) => Some(finding),
            _ => None,
        })
        .collect()
}

/// A completed job with failed records, and all that belongs to it.
fn sound() -> Store {
    let store = Store::in_memory();
    let mut job = completed(1);
    job.rule_hash = rule().hash();
    job.account.records_in = 2;
    job.account.records_failed = 2;
    let row = LedgerRow { outcome: LedgerOutcome::Completed, ..ledger_row(1) };
    store
        .change()
        .rule(&rule())
        .job(&job)
        .ledger(&row, true)
        .failed_records(id(1), 0, &[failed(1, 90_000), failed(2, 40_000)])
        .apply()
        .expect("applied");
    store.count_start(0).expect("counted");
    store
}

/// The one finding there is after `spoil`: its place and problem say these words.
#[track_caller]
fn finds(spoil: impl FnOnce(&Store), words: &[&str]) {
    let store = sound();
    assert_eq!(findings(&store), [], "before it is spoilt");
    spoil(&store);
    let found = findings(&store);
    assert!(!found.is_empty(), "nothing was found");
    let text = found.iter().map(|f| format!("{}: {}", f.place, f.problem)).collect::<Vec<_>>().join("\n");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in:\n{text}");
    }
    assert!(found.iter().all(|finding| !finding.hint.is_empty()), "{found:#?}");
}

fn put(store: &Store, key: &[u8], value: &[u8]) {
    put_raw(store, key, Some(value));
}

fn remove(store: &Store, key: &[u8]) {
    assert!(store.get(key).expect("read").is_some(), "was there");
    put_raw(store, key, None);
}

#[test]
fn a_key_that_nobody_knows_is_found() {
    finds(|store| put(store, b"zebra", b"1"), &["row `zebra`", "no kind"]);
}

#[test]
fn values_that_cannot_be_read_are_found_where_they_are() {
    let key = keys::of_job(keys::JOB, id(1));
    let name = id(1).to_string();
    finds(|store| put(store, &key, b""), &["job of job", &name, "empty"]);
    finds(|store| put(store, &key, &[200, 0, 0, 0, 0, 1]), &[&name, "version 200"]);
    finds(|store| put(store, &key, &[1, 9, 0, 0, 0, 1, b'{']), &[&name, "encoding 9"]);
    finds(|store| put(store, &key, &[1, 0, 0, 0, 0, 1, b'{']), &[&name, "damaged"]);
    finds(|store| put(store, &keys::rule(&rule().hash()), &[1]), &["rule", "too short"]);
    finds(|store| put(store, keys::MARK, &[1]), &["mark", "too short"]);
}

#[test]
fn a_long_value_with_a_part_too_few_or_too_many_is_found() {
    let group = keys::failed_group(id(1), 0);
    finds(|store| remove(store, &keys::continued(&group, 1)), &["failed records", "part 1 of"]);
    finds(|store| put(store, &keys::continued(&group, 7), &value::seal(&[b"x"])), &["part 7 of a value"]);
}

#[test]
fn rows_that_miss_what_they_refer_to_are_found() {
    finds(
        |store| remove(store, &keys::rule(&rule().hash())),
        &["snapshot of its rule \"payments\" is missing"],
    );
    finds(|store| remove(store, &keys::of_job(keys::LEDGER, id(1))), &["the ledger has no row", "kept file"]);
    finds(
        |store| put(store, &keys::of_job(keys::UNFINISHED, id(1)), &value::mark()),
        &["counted as unfinished"],
    );
    let orphan = |store: &Store| {
        store
            .change()
            .checkpoint(id(9), &checkpoint(1))
            .intent(id(9), &Intent::default())
            .apply()
            .expect("applied");
        put(store, &keys::of_job(keys::UNFINISHED, id(9)), &value::mark());
    };
    finds(orphan, &["checkpoint", "intent", "index of unfinished jobs", &id(9).to_string(), "no such job"]);
}

#[test]
fn by_what_deliveries_are_found_and_what_was_archived_is_verified_too() {
    let folder = crate::model::identity::FolderIdentity { device: 1, inode: 2, created_ns: None };
    let file = ArchivedFile { path: "/archive/a.csv".into(), identity: identity(1), folder };
    let archived = ArchivedRow { job: id(1), rule: "payments".into(), at: at(1), files: vec![file] };
    let deliver = |store: &Store| {
        let mut job = store.job(id(1)).expect("read").expect("there");
        job.content_hash = Some("blake3:00".into());
        job.delivery.key = Some("acme".into());
        job.delivery.revision = 2;
        let row = LedgerRow::of(&job, LedgerOutcome::Completed);
        let mut changes = store.change();
        changes.job(&job).delivery(&job).ledger(&row, true).archived(&archived).apply().expect("applied");
        assert_eq!(findings(store), [], "a delivery is no problem");
    };
    let content = keys::published_content("payments", "blake3:00", id(1));
    let delivery = keys::published_delivery("payments", &"acme".into(), 2, id(1));
    let name = id(1).to_string();
    for (key, what) in [(&content, "index of published contents"), (&delivery, "index of deliveries")] {
        let spoilt_with = |value: &'static [u8]| {
            move |store: &Store| {
                deliver(store);
                put(store, key, value);
            }
        };
        finds(spoilt_with(b""), &[what, &name, "empty"]);
        finds(spoilt_with(&[1, 2]), &[what, &name, "should have none"]);
        finds(spoilt_with(&[200]), &[what, &name, "version 200"]);
    }
    let forgotten = keys::published_content("payments", "blake3:00", id(9));
    finds(|store| put(store, &forgotten, &value::mark()), &[&id(9).to_string(), "the ledger has no row"]);
    let key = keys::archived("payments", 7, id(1));
    finds(|store| put(store, &key, &[1, 0, 0, 0, 0, 1, b'{']), &["archived source of job", &name, "damaged"]);
    let moved = value::encode("archived source", &archived).expect("encodes").remove(0);
    finds(|store| put(store, &key, &moved), &["archived source of job", &name, "it is that of job"]);
}

#[test]
fn failed_records_that_are_not_as_many_as_the_account_has_are_found() {
    let forget = |store: &Store| drop(store.change().forget_failed_records(id(1), 1).apply());
    finds(forget, &["2 records failed, but 1 are kept"]);
    let counts_more = |store: &Store| {
        let mut running = job(3);
        running.rule_hash = rule().hash();
        let point = Checkpoint { failed_records: 4, ..checkpoint(1) };
        store
            .change()
            .job(&running)
            .ledger(&ledger_row(3), false)
            .checkpoint(id(3), &point)
            .apply()
            .expect("applied");
    };
    finds(counts_more, &["it counts 4 failed records, but 0 are kept"]);
}

#[test]
fn an_account_that_does_not_add_up_and_a_ledger_that_says_otherwise_are_found() {
    let unbalanced = |store: &Store| {
        let mut job = store.job(id(1)).expect("read").expect("there");
        job.account.records_in = 5;
        store.change().job(&job).ledger(&ledger_row(1), true).apply().expect("applied");
    };
    finds(unbalanced, &["5 records came in, but 2", "has its source as Claimed"]);
}

#[test]
fn the_files_of_an_unfinished_job_are_looked_for_where_its_rows_say() {
    let unfinished = |store: &Store| {
        let mut queued = job(3);
        queued.rule_hash = rule().hash();
        queued.source.path = "/nowhere/in/pay.csv".into();
        queued.source.claimed = Some("/nowhere/in/.landfall/pay.csv".into());
        store.change().job(&queued).ledger(&ledger_row(3), false).apply().expect("applied");
    };
    finds(unfinished, &["source of job", &id(3).to_string(), "/nowhere/in/.landfall/pay.csv"]);
}
