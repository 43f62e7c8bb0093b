#![allow(clippy::disallowed_methods, reason = "tests play the operator, who has no durable_fs")]

use super::*;
use crate::model::at_rest::{Encrypt, KeysFrom};

const OWN: &str = "at_rest.key";

struct World {
    folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    fn data(&self) -> &Path {
        self.folder.path()
    }

    fn open(&self, encrypt: Encrypt) -> Store {
        Store::open_with(self.data(), &AtRest { encrypt, ..AtRest::default() }).expect("opens")
    }

    /// Another key before those that are there.
    fn put_a_key_first(&self) {
        let made = tempfile::tempdir().expect("a folder");
        crate::at_rest::load_or_make(&KeysFrom::DataFolder, made.path()).expect("makes one");
        let text = |folder: &Path| std::fs::read_to_string(folder.join(OWN)).expect("reads");
        let both = text(made.path()) + "\n" + &text(self.data());
        std::fs::write(self.data().join(OWN), both).expect("writes");
    }

    fn output(&self, bytes: &[u8]) -> PathBuf {
        let folder = self.data().join(OUTPUTS_FOLDER).join("JOB");
        std::fs::create_dir_all(&folder).expect("makes");
        std::fs::write(folder.join("main.zst"), bytes).expect("writes");
        folder.join("main.zst")
    }

    fn rekey(&self, store: &Store) -> Option<Rekeyed> {
        rekey(store, &kept_outputs(self.data(), false), false, &mut |_| true).expect("is written")
    }
}

fn by_first_key(store: &Store) -> Vec<u8> {
    let key = store.recipient().expect("there is a key").parse::<age::x25519::Recipient>().expect("is one");
    age::encrypt(&key, b"records").expect("encrypts")
}

#[test]
fn what_lies_otherwise_is_written_anew_once_and_kept_outputs_are_told() {
    let world = World::new();
    let store = world.open(Encrypt::AsItIs);
    assert_eq!(world.rekey(&store), None, "nobody asked for it");
    store.count_start(0).expect("is counted");
    store.encrypt_by(&AtRest { encrypt: Encrypt::Yes, ..AtRest::default() }).expect("begins");
    world.output(b"in clear");
    let done = world.rekey(&store).expect("there was something to do");
    assert!(done.renewed.is_some_and(|done| done.renewed > 0), "{done:?}");
    assert_eq!(done.outputs, Outputs { in_clear: 1, ..Outputs::default() });
    assert_eq!(world.rekey(&store), None, "it is done");
}

/// Goal: rows are read once, however long outputs are kept that need an old key.
#[test]
fn rows_are_through_while_an_old_key_waits_for_the_outputs_that_need_it() {
    let world = World::new();
    let store = world.open(Encrypt::Yes);
    store.count_start(0).expect("is counted");
    let output = world.output(&by_first_key(&store));
    let old = store.recipient().expect("there is a key");
    drop(store);
    world.put_a_key_first();
    let store = world.open(Encrypt::Yes);
    let done = world.rekey(&store).expect("there is something to do");
    assert!(done.renewed.is_some_and(|done| done.renewed > 0), "{done:?}");
    assert_eq!(done.outputs.by_other_keys, [(old, 1)]);
    let again = world.rekey(&store).expect("a key is left");
    assert_eq!((again.renewed, again.outputs), (None, done.outputs));
    std::fs::remove_file(output).expect("it goes with its job");
    assert_eq!(world.rekey(&store).expect("a key is left").outputs, Outputs::default());
    assert_eq!(world.rekey(&store), None, "no key is left");
}

#[test]
fn a_store_that_encrypts_no_more_keeps_the_key_of_outputs_that_are_kept() {
    let world = World::new();
    let store = world.open(Encrypt::Yes);
    let output = world.output(&by_first_key(&store));
    let key = store.recipient().expect("there is a key");
    drop(store);
    for is_first in [true, false] {
        let store = world.open(Encrypt::No);
        let done = world.rekey(&store).expect("there is something to do");
        assert_eq!(done.renewed.is_some(), is_first);
        assert_eq!(done.outputs.by_other_keys, [(key.clone(), 1)]);
        assert!(store.keys().expect("has keys").key_of_file(&output).expect("opens").is_some());
    }
    std::fs::rename(world.data().join(OWN), world.data().join("away")).expect("renames");
    Store::open(world.data()).err().expect("it is needed still");
    std::fs::rename(world.data().join("away"), world.data().join(OWN)).expect("renames");
    std::fs::remove_file(output).expect("it goes with its job");
    world.rekey(&world.open(Encrypt::No)).expect("a key is left");
    std::fs::remove_file(world.data().join(OWN)).expect("removes");
    world.open(Encrypt::No);
}

#[test]
fn an_output_of_which_the_key_cannot_be_told_keeps_all_keys() {
    let world = World::new();
    let store = world.open(Encrypt::Yes);
    let output = world.output(&by_first_key(&store));
    let whole = std::fs::read(&output).expect("reads");
    drop(store);
    world.put_a_key_first();
    let store = world.open(Encrypt::Yes);
    world.output(&whole[..60]);
    let done = world.rekey(&store).expect("there is something to do");
    assert_eq!(done.outputs, Outputs { untold: 1, ..Outputs::default() });
    world.output(&whole);
    assert_eq!(world.rekey(&store).expect("all keys are left").outputs.by_other_keys.len(), 1);
}

#[test]
fn a_job_that_began_with_the_key_keeps_it() {
    let world = crate::engine::tests::World::new();
    let data = World::new();
    drop(data.open(Encrypt::Yes));
    let store = data.open(Encrypt::No);
    let mut rule = (*world.rule()).clone();
    for output in rule.outputs.values_mut() {
        output.is_sealed = true;
    }
    let job = crate::model::job::Job { rule_hash: rule.hash(), ..world.job() };
    store.change().rule(&rule).job(&job).apply().expect("writes");
    let done = data.rekey(&store).expect("there is something to do");
    assert!(done.outputs.are_to_come);
    assert!(data.rekey(&store).is_some(), "its key is left");
    let mut done = job;
    done.state = crate::model::job_state::JobState::Aborted.into();
    store.change().job(&done).apply().expect("writes");
    assert_eq!(data.rekey(&store).expect("a key is left").outputs, Outputs::default());
    assert_eq!(data.rekey(&store), None, "no key is left");
}
