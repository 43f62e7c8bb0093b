//! What this backend does besides keeping a backend's promises, which `conformance_tests` tries.

use super::pending::WAITING_BYTES_MAX;
use super::*;
use crate::store::Store;
use crate::store::tests::{folder, id, job};
use crate::store::verify::Verified;

fn put(engine: &Sled, key: &str, length: usize) {
    let rows = [(key.into(), Some(vec![7; length].into()))].into();
    assert_eq!(engine.apply(Batch { rows, ..Batch::default() }).expect("applied"), Applied::Done);
}

fn is_in_table(engine: &Sled, key: &str) -> bool {
    engine.table.contains_key(key).expect("can be read")
}

#[test]
fn a_row_waits_for_the_next_sync_or_scan() {
    let folder = folder();
    let engine = Sled::open(folder.path()).expect("opens");
    put(&engine, "synced", 1);
    assert!(engine.has_unsynced() && !is_in_table(&engine, "synced"));
    engine.sync().expect("synced");
    assert!(is_in_table(&engine, "synced"));
    put(&engine, "scanned", 1);
    assert_eq!(engine.scan(backend::beginning_with(b"s")).count(), 2);
    assert!(is_in_table(&engine, "scanned") && engine.has_unsynced(), "the engine has it, and no disk yet");
    engine.sync().expect("synced");
    assert!(!engine.has_unsynced());
}

#[test]
fn rows_do_not_wait_in_any_number() {
    let folder = folder();
    let engine = Sled::open(folder.path()).expect("opens");
    let mut number = 0;
    while !is_in_table(&engine, "row 1") {
        number += 1;
        assert!(number * 1000 < 2 * WAITING_BYTES_MAX, "none was given to the engine");
        put(&engine, &format!("row {number}"), 1000);
    }
}

#[test]
fn a_store_that_is_closed_without_a_sync_keeps_its_rows() {
    let folder = folder();
    let store = Store::open(folder.path()).expect("opens");
    store.change().job(&job(1)).apply().expect("applied");
    drop(store);
    let store = Store::open(folder.path()).expect("opens again");
    assert!(store.job(id(1)).expect("read").is_some());
}

#[test]
fn a_table_that_nobody_knows_is_found() {
    let folder = folder();
    drop(Store::open(folder.path()).expect("opens"));
    let engine = opening::open_engine(&folder.path().join(FOLDER)).expect("opens");
    drop((engine.open_tree("zebra").expect("a table"), engine));
    let said = Store::open(folder.path()).expect("opens").verify().next();
    assert!(matches!(said, Some(Verified::Found(found)) if found.place == "table `zebra`"));
}
