//! What was published and archived is found again, and forgotten in time.

use super::*;
use crate::model::delivery::Delivery;
use crate::model::identity::FolderIdentity;

fn delivered(number: u64, content: &str, key: &str, revision: u64) -> Job {
    let delivery = Delivery { key: Some(OsText::from(key)), revision, ..Delivery::default() };
    Job { content_hash: Some(content.to_owned()), delivery, ..completed(number) }
}

fn publish(store: &Store, job: &Job) {
    let row = LedgerRow::of(job, LedgerOutcome::Completed);
    store.change().job(job).delivery(job).ledger(&row, false).apply().expect("applied");
}

fn archived(number: u64) -> ArchivedRow {
    let folder = FolderIdentity { device: 1, inode: 2, created_ns: None };
    let file = ArchivedFile { path: OsText::from("/archive/a.csv"), identity: identity(number), folder };
    ArchivedRow { job: id(number), rule: "payments".into(), at: at(number), files: vec![file] }
}

fn archived_jobs(store: &Store, before: u64, after: Option<&ArchivedRow>) -> Vec<JobId> {
    let rows = store.archived_before("payments", at(before), after);
    rows.map(|row| row.expect("read").job).collect()
}

#[test]
fn the_first_of_a_content_and_the_last_of_a_key_are_found_after_a_reopen() {
    let folder = folder();
    let store = open(folder.path());
    let key = OsText::from("acme/pay");
    publish(&store, &delivered(5, "blake3:aa", "acme/pay", 2));
    publish(&store, &delivered(3, "blake3:aa", "acme/pay", 10));
    publish(&store, &delivered(4, "blake3:bb", "acme/other", 1));
    store.sync().expect("synced");
    drop(store);
    let store = open(folder.path());
    let first =
        |content: &str, asking| store.first_with_content("payments", content, id(asking)).expect("read");
    assert_eq!(first("blake3:aa", 9), Some(id(3)));
    assert_eq!(first("blake3:aa", 3), Some(id(5)), "nobody is a duplicate of itself");
    assert_eq!(first("blake3:bb", 4), None);
    assert_eq!(first("blake3:a", 9), None);
    assert_eq!(store.first_with_content("other", "blake3:aa", id(9)).expect("read"), None, "rule by rule");
    let last = |asking| store.last_delivery("payments", &key, id(asking)).expect("read");
    assert_eq!(last(9), Some((10, id(3))));
    assert_eq!(last(3), Some((2, id(5))));
    assert_eq!(store.last_delivery("payments", &OsText::from("acme"), id(9)).expect("read"), None);
}

#[test]
fn the_ledger_forgets_what_is_old_and_with_it_what_it_was_known_by() {
    let store = Store::in_memory();
    for number in 1..=4 {
        publish(&store, &delivered(number, "blake3:aa", "acme/pay", number));
        store.change().archived(&archived(number)).apply().expect("applied");
    }
    let kept = LedgerRow::of(&completed(6), LedgerOutcome::Completed);
    store.change().ledger(&kept, true).apply().expect("applied");
    let never = |_: &str| false;
    assert_eq!(
        store.forget_ledger(at(100), 10, &never, &mut |_| true).expect("done"),
        0,
        "their jobs are listed"
    );
    assert_eq!(store.forget_finished(at(100), false).expect("done"), 4);
    assert_eq!(store.forget_ledger(at(3), 10, &|rule| rule == "payments", &mut |_| true).expect("done"), 2);
    assert_eq!(archived_jobs(&store, 100, None).len(), 4, "they are still to be removed");
    assert_eq!(
        store.forget_ledger(at(100), 1, &never, &mut |_| true).expect("done"),
        1,
        "no more than asked for"
    );
    let key = OsText::from("acme/pay");
    assert_eq!(store.first_with_content("payments", "blake3:aa", id(9)).expect("read"), Some(id(4)));
    assert_eq!(store.last_delivery("payments", &key, id(9)).expect("read"), Some((4, id(4))));
    assert_eq!(store.forget_ledger(at(100), 10, &never, &mut |_| true).expect("done"), 1);
    assert_eq!(store.first_with_content("payments", "blake3:aa", id(9)).expect("read"), None);
    assert_eq!(store.last_delivery("payments", &key, id(9)).expect("read"), None);
    assert_eq!(archived_jobs(&store, 100, None), [id(1), id(2)]);
    assert_eq!(store.ledger(id(6)).expect("read"), Some(kept), "a kept file may still lie there");
}

#[test]
fn archived_sources_come_oldest_first_up_to_a_moment_and_after_a_row() {
    let store = Store::in_memory();
    for number in [7, 3, 5] {
        store.change().archived(&archived(number)).apply().expect("applied");
    }
    assert_eq!(archived_jobs(&store, 7, None), [id(3), id(5)]);
    assert_eq!(archived_jobs(&store, 8, Some(&archived(3))), [id(5), id(7)]);
    assert_eq!(archived_jobs(&store, 2, Some(&archived(3))), []);
    assert_eq!(archived_jobs(&store, 0, None), []);
    store.change().forget_archived(&archived(3)).apply().expect("applied");
    assert_eq!(archived_jobs(&store, 8, None), [id(5), id(7)]);
    assert_eq!(store.archived_before("other", at(8), None).count(), 0);
}

/// Rows as the version before deliveries wrote them.
#[test]
fn rows_without_deliveries_are_read_as_first_ones() {
    let store = Store::in_memory();
    let old = |row: serde_json::Value, added: &[&str]| {
        let mut row = row;
        let fields = row.as_object_mut().expect("a table");
        for name in added {
            assert!(fields.remove(*name).is_some(), "{name}");
        }
        row
    };
    let mut job_row = serde_json::to_value(job(1)).expect("JSON"); // what says nothing is not written
    job_row["source"]["companions"] =
        serde_json::json!([{ "path": "/in/a.done", "claimed": null, "identity": identity(2) }]);
    let ledger = old(serde_json::to_value(ledger_row(1)).expect("JSON"), &["delivery_key", "revision"]);
    let put = |key: keys::Key, row: &serde_json::Value| {
        let values = value::encode("row", row).expect("encodes");
        put_raw(&store, &key, Some(&values[0]));
    };
    put(keys::of_job(keys::JOB, id(1)), &job_row);
    put(keys::of_job(keys::LEDGER, id(1)), &ledger);
    let read = store.job(id(1)).expect("read").expect("there");
    assert_eq!((read.delivery, read.source.companions.len()), (Delivery::default(), 1));
    assert_eq!(store.ledger(id(1)).expect("read"), Some(ledger_row(1)));
}

/// By index: a look-up costs a small part of walking over the rows once.
#[test]
fn a_delivery_is_found_among_many_without_walking_over_them() {
    const ROWS: u64 = 20_000;
    let store = Store::in_memory();
    let mut changes = store.change();
    for number in 0..ROWS {
        changes.delivery(&delivered(
            number,
            &format!("blake3:{number}"),
            &format!("key-{}", number % 1000),
            number,
        ));
    }
    changes.apply().expect("applied");
    let begun = std::time::Instant::now();
    assert_eq!(store.keys_beginning_with(b"h").count() as u64, ROWS);
    let walk = begun.elapsed();
    let begun = std::time::Instant::now();
    for number in 0..100 {
        let found =
            store.first_with_content("payments", &format!("blake3:{number}"), id(ROWS)).expect("read");
        assert_eq!(found, Some(id(number)));
        let key = OsText::from(format!("key-{number}").as_str());
        let last = store.last_delivery("payments", &key, id(ROWS)).expect("read");
        assert_eq!(last, Some((ROWS - 1000 + number, id(ROWS - 1000 + number))));
    }
    let look_up = begun.elapsed() / 200;
    assert!(look_up * 10 < walk, "{look_up:?} for one, {walk:?} to walk over all");
}
