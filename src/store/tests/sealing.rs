//! Encryption at rest: what lies in the data folder, and what becomes of it when keys come and go.

use super::*;
use crate::model::at_rest::{Encrypt, KeysFrom};

const SECRET: &str = "the salary of a director";

fn asked(encrypt: Encrypt, file: &Path) -> AtRest {
    AtRest { encrypt, keys: KeysFrom::File(file.to_owned()) }
}

/// Files with keys, the first of which encrypts.
fn key_file(folder: &Path, name: &str, keys: &[&str]) -> std::path::PathBuf {
    let file = folder.join(name);
    std::fs::write(&file, keys.join("\n")).expect("writes");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("closes it");
    }
    file
}

/// Two keys that were made for this test.
fn keys(folder: &Path) -> [String; 2] {
    ["one", "two"].map(|name| {
        let made = folder.join(name);
        std::fs::create_dir(&made).expect("makes");
        crate::at_rest::load_or_make(&KeysFrom::DataFolder, &made).expect("makes one");
        let text = std::fs::read_to_string(made.join("at_rest.key")).expect("reads");
        text.lines().last().expect("a key").to_owned()
    })
}

fn write(store: &Store) {
    let record = FailedRecord { bytes: SECRET.as_bytes().to_vec(), error: SECRET.to_owned(), ..failed(1, 3) };
    store.change().job(&job(1)).failed_records(id(1), 0, &[record]).apply().expect("writes");
    store.sync().expect("syncs");
}

fn reads(store: &Store) {
    let found: Vec<_> = store.failed_records(id(1)).map(|record| record.expect("reads").bytes).collect();
    assert_eq!(found, [SECRET.as_bytes()]);
}

/// Whether a text lies anywhere in a folder in clear.
fn lies_in(folder: &Path, text: &str) -> bool {
    let entries = std::fs::read_dir(folder).expect("lists").map(|entry| entry.expect("lists").path());
    let mut found = false;
    for path in entries {
        found |= if path.is_dir() {
            lies_in(&path, text)
        } else {
            std::fs::read(&path).expect("reads").windows(text.len()).any(|bytes| bytes == text.as_bytes())
        };
    }
    found
}

#[test]
fn nothing_of_what_is_kept_lies_there_in_clear() {
    let folder = folder();
    for (encrypt, is_clear) in [(Encrypt::AsItIs, true), (Encrypt::Yes, false)] {
        let data = folder.path().join(format!("{encrypt:?}"));
        let store = Store::open_with(&data, &AtRest { encrypt, ..AtRest::default() }).expect("opens");
        write(&store);
        let queue = store.slice_queue(MemoryBudget::new(0), 4 << 20);
        let text = Bytes::from(SECRET);
        let records = vec![Span { start: 0, end: SECRET.len() as u32 }];
        for number in 0..2 {
            let slice = Slice { bytes: text.clone(), records: records.clone(), ..slice(number, 10) };
            assert!(queue.put(slice).expect("put"));
        }
        assert_eq!(queue.stored().0, 1);
        let rule = "the name of a rule"; // short rows are not compressed
        store
            .change()
            .ledger(&LedgerRow { rule: rule.into(), ..ledger_row(2) }, false)
            .apply()
            .expect("writes");
        store.sync().expect("syncs");
        assert_eq!(lies_in(&data.join("slices"), SECRET), is_clear);
        assert_eq!(lies_in(&data.join("store"), SECRET), is_clear);
        assert!(!matches!(queue.take().expect("taken"), Taken::Empty));
        let Taken::Slice(taken, _lease) = queue.take().expect("taken") else { panic!("there is one") };
        assert_eq!(taken.bytes, text);
        reads(&store);
        drop((queue, store));
        reads(&Store::open(&data).expect("its key lies there"));
    }
}

#[test]
fn a_key_that_is_away_refuses_the_store_and_changes_nothing() {
    let folder = folder();
    let [one, two] = keys(folder.path());
    let data = folder.path().join("data");
    let right = asked(Encrypt::Yes, &key_file(folder.path(), "right", &[&one]));
    write(&Store::open_with(&data, &right).expect("opens"));
    let wrong = asked(Encrypt::Yes, &key_file(folder.path(), "wrong", &[&two]));
    let away = asked(Encrypt::Yes, &folder.path().join("away"));
    for (at_rest, words) in [
        (&wrong, "which the key file"),
        (&away, "the keys of the store cannot be had, which is encrypted by that of age1"),
        (&AtRest::default(), "the keys of the store cannot be had, which is encrypted by that of age1"),
    ] {
        let error = Store::open_with(&data, at_rest).err().expect("is refused");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(crate::model::fault::Fault::kind(&error), FaultKind::Config);
        let hint = crate::model::fault::Fault::hint(&error).expect("says what to do");
        assert!(hint.to_lowercase().contains("nothing was changed"), "{hint}");
    }
    assert!(
        !data.join("at_rest.key").try_exists().expect("looks"),
        "no key is made where another one is needed"
    );
    reads(&Store::open_with(&data, &right).expect("opens"));
}

#[test]
fn keys_are_exchanged_and_an_old_one_is_needed_until_all_is_written_anew() {
    let folder = folder();
    let [one, two] = keys(folder.path());
    let data = folder.path().join("data");
    let file = |name: &str, keys: &[&str]| asked(Encrypt::Yes, &key_file(folder.path(), name, keys));
    write(&Store::open_with(&data, &file("old", &[&one])).expect("opens"));
    let both = file("both", &[&two, &one]);
    reads(&Store::open_with(&data, &both).expect("opens"));
    Store::open_with(&data, &file("new", &[&two])).err().expect("the old one is needed");
    let store = Store::open_with(&data, &both).expect("opens");
    let due = |store: &Store| store.due().expect("tells");
    assert_eq!(due(&store), Some(Due { rows: true, keys: true, unopened: 0 }));
    store.release_keys(&[]).expect("are looked at");
    assert!(due(&store).is_some_and(|due| due.keys), "rows may be by it");
    store.renew(&mut |_| true).expect("is written").expect("to its end");
    assert_eq!(due(&store), Some(Due { rows: false, keys: true, unopened: 0 }));
    store.release_keys(&[]).expect("are released");
    assert_eq!(due(&store), None);
    drop(store);
    let store = Store::open_with(&data, &file("new", &[&two])).expect("the old one is not needed");
    reads(&store);
    let unreadable =
        |said: &Verified| matches!(said, Verified::Found(found) if found.problem.contains("encrypted"));
    assert!(!store.verify().any(|said| unreadable(&said)));
}

#[test]
fn a_store_in_clear_is_encrypted_while_it_is_used_and_can_be_clear_again() {
    let folder = folder();
    let [one, _] = keys(folder.path());
    let data = folder.path().join("data");
    let keys = key_file(folder.path(), "key", &[&one]);
    let store = Store::open_with(&data, &AtRest::default()).expect("opens");
    write(&store);
    assert_eq!(store.due().expect("tells"), None);
    store.encrypt_by(&asked(Encrypt::Yes, &keys)).expect("begins");
    reads(&store);
    assert!(store.is_encrypted() && store.due().expect("tells").is_some());
    let done = store.renew(&mut |_| true).expect("is written").expect("to its end");
    assert!(done.renewed > 0);
    reads(&store);
    drop(store);
    assert!(Store::open_with(&data, &asked(Encrypt::AsItIs, &keys)).expect("opens").is_encrypted());
    let store = Store::open_with(&data, &asked(Encrypt::No, &keys)).expect("opens");
    assert!(!store.is_encrypted() && store.due().expect("tells").is_some());
    store.renew(&mut |_| true).expect("is written").expect("to its end");
    store.release_keys(&[]).expect("are released");
    drop(store);
    reads(&Store::open(&data).expect("needs no key"));
}

/// Goal: whoever goes back and forth between keys has all rows looked at each time; a value that does not open keeps all keys on the list.
#[test]
fn rows_are_through_for_one_key_and_a_value_that_does_not_open_keeps_all_keys() {
    let folder = folder();
    let [one, two] = keys(folder.path());
    let data = folder.path().join("data");
    let open = |name: &str, keys: &[&str]| {
        Store::open_with(&data, &asked(Encrypt::Yes, &key_file(folder.path(), name, keys))).expect("opens")
    };
    let due = |store: &Store| store.due().expect("tells");
    write(&open("by one", &[&one]));
    let store = open("two first", &[&two, &one]);
    assert!(due(&store).is_some_and(|due| due.rows));
    drop(store);
    let store = open("one first", &[&one, &two]);
    assert!(due(&store).is_some_and(|due| due.rows), "some may be by the second one");
    store.renew(&mut |_| true).expect("is written").expect("to its end");
    drop(store);
    assert!(!due(&open("one first", &[&one, &two])).expect("a key is left").rows, "that is durable");
    let store = open("two first", &[&two, &one]);
    let moved = store.inner.rows.stored(&keys::of_job(keys::JOB, id(1)));
    store.inner.rows.store_as_it_is(&keys::of_job(keys::JOB, id(2)), moved);
    let done = store.renew(&mut |_| true).expect("is written").expect("to its end");
    assert_eq!(done.unopened, 1);
    store.release_keys(&[]).expect("nothing is released");
    drop(store);
    let store = open("two first", &[&two, &one]);
    assert_eq!(due(&store), Some(Due { rows: false, keys: true, unopened: 1 }));
    drop(store);
    let alone = asked(Encrypt::Yes, &key_file(folder.path(), "two alone", &[&two]));
    Store::open_with(&data, &alone).err().expect("the other one is needed");
}
