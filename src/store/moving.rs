//! A store that moves: from the data folder of one machine to the brokers of a cluster, or back.
//!
//! ```text
//!  the other store is marked as being filled, and emptied -> rows are copied -> both are read, and compared
//!    -> this one is marked as moved -> the other one's mark goes
//! ```
//!
//! A store that is marked opens for nobody. So at each moment at most one of the two can be worked with, and after a crash the same command
//! does it again.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::backend::{Applied, Backend, Batch, Value};
use super::error::StoreError;
use super::jetstream::{self, JetStream, WhileTaken};
use super::keys::{self, Key};
use super::sled::Sled;
use super::{check_clock, folder};
use crate::model::at_rest::KeysFrom;
use crate::model::cluster::Cluster;
use crate::model::os_text::escaped_path;
use crate::model::rule::Service;

/// What is said of a store that is only half there.
const BEING_FILLED: &[u8] = b"";
/// Rows that are written together.
const ROWS: usize = 500;

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MoveTo {
    Cluster,
    DataFolder,
}

/// What was moved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    pub rows: u64,
    pub bytes: u64,
    pub jobs: u64,
    pub ledger: u64,
    /// Groups of failed records.
    pub failed: u64,
    /// BLAKE3 over all rows, in order.
    pub hash: String,
}

/// Moves the store of the data folder to its cluster, or back. No service may run here, and no other node have the cluster.
pub(crate) fn move_store(service: &Service, to: MoveTo) -> Result<Moved, StoreError> {
    let data_dir = &service.data_dir;
    check_clock(crate::clock::now())?;
    folder::check_owner(data_dir)?;
    let Some(cluster) = &service.cluster else {
        return Err(refused(
            "no cluster is configured",
            "write `[service.cluster]`: it says where the store moves to, or from",
        ));
    };
    if to == MoveTo::Cluster
        && !super::sled::is_there(data_dir).map_err(|error| folder::failed("look at", data_dir, error))?
    {
        return Err(StoreError::NoStore { data_dir: data_dir.clone() });
    }
    let _held = folder::hold(data_dir)?;
    let own = Sled::open(data_dir)?;
    let brokers = JetStream::open(cluster, WhileTaken::Refuse)?;
    let places = [format!("data folder {}", escaped_path(data_dir)), place_of(cluster)];
    match to {
        MoveTo::Cluster => {
            check_fit(&own, service)?;
            let written =
                || Ok(jetstream::read(cluster)?.into_iter().filter(|(key, _)| moves(key)).collect());
            moved(&own, &brokers, &places[0], &places[1], written)
        }
        MoveTo::DataFolder => moved(&brokers, &own, &places[1], &places[0], || rows_of(&own)),
    }
}

/// Refuses a store that moved away, or is only half there.
pub(super) fn refuse_moved(rows: &dyn Backend, place: impl Fn() -> String) -> Result<(), StoreError> {
    match rows.get(keys::MOVED)? {
        None => Ok(()),
        Some(to) => Err(StoreError::Moved { place: place(), to: text_of(&to) }),
    }
}

pub(super) fn place_of(cluster: &Cluster) -> String {
    format!("cluster {}", cluster.name)
}

fn text_of(to: &Value) -> Option<String> {
    (**to != *BEING_FILLED).then(|| String::from_utf8_lossy(to).into_owned())
}

fn refused(detail: &str, hint: &'static str) -> StoreError {
    StoreError::NotMoved { detail: detail.to_owned(), hint }
}

/// What the other nodes could not go on with.
fn check_fit(rows: &dyn Backend, service: &Service) -> Result<(), StoreError> {
    if rows.get(keys::AUDITING)?.is_some() {
        let hint = "take `audit = true` out, and start and stop the service once: the trail ends, and stays where it is";
        return Err(refused("the store keeps an audit trail, which the nodes of a cluster do not yet", hint));
    }
    if rows.get(keys::SEALS)?.is_some() && service.at_rest.keys == KeysFrom::DataFolder {
        let hint = "name a key that all nodes have (`at_rest = { key_file = … }`), with that of `at_rest.key` behind it";
        return Err(refused("the store is encrypted by the key that was made in this data folder", hint));
    }
    Ok(())
}

fn moved(
    from: &dyn Backend,
    into: &dyn Backend,
    from_place: &str,
    into_place: &str,
    written: impl FnOnce() -> Result<BTreeMap<Key, Value>, StoreError>,
) -> Result<Moved, StoreError> {
    let rows = rows_of(from)?;
    let (from_mark, into_mark) = (from.get(keys::MOVED)?, into.get(keys::MOVED)?);
    if let (Some(to), None) = (&from_mark, &into_mark) {
        return Err(StoreError::Moved { place: from_place.to_owned(), to: text_of(to) });
    }
    if rows.is_empty() {
        return Err(refused(
            &format!("there is nothing in the {from_place}"),
            "see that the configuration names the right one",
        ));
    }
    let there = rows_of(into)?;
    if !there.is_empty() && into_mark.is_none() {
        let hint = "two stores cannot become one: move that one away first, or give the cluster another name";
        return Err(refused(&format!("there is a store in the {into_place} already"), hint));
    }
    mark(into, Some(BEING_FILLED))?;
    write(into, there.into_keys().map(|key| (key, None)))?;
    write(into, rows.iter().map(|(key, value)| (key.clone(), Some(value.clone()))))?;
    into.sync()?;
    let (sent, arrived) = (summed(&rows), summed(&written()?));
    if sent != arrived {
        let detail = format!("{} rows of {} arrived, or others", arrived.rows, sent.rows);
        return Err(StoreError::NotMoved { detail, hint: "say it again; the store is where it was" });
    }
    mark(from, Some(into_place.as_bytes()))?;
    mark(into, None)?;
    Ok(sent)
}

fn mark(rows: &dyn Backend, as_moved: Option<&[u8]>) -> Result<(), StoreError> {
    write(rows, std::iter::once((keys::MOVED.to_vec(), as_moved.map(Value::copy_from_slice))))?;
    rows.sync()
}

fn write(rows: &dyn Backend, changes: impl Iterator<Item = (Key, Option<Value>)>) -> Result<(), StoreError> {
    let mut changes = changes.peekable();
    while changes.peek().is_some() {
        let batch = Batch { rows: changes.by_ref().take(ROWS).collect(), ..Batch::default() };
        let _expects_nothing: Applied = rows.apply(batch)?;
    }
    Ok(())
}

/// All that moves: where a data folder lay is its own.
fn rows_of(rows: &dyn Backend) -> Result<BTreeMap<Key, Value>, StoreError> {
    rows.scan((Bound::Unbounded, Bound::Unbounded))
        .filter(|row| row.as_ref().map_or(true, |(key, _)| moves(key)))
        .collect()
}

/// Whether a row moves with its store.
fn moves(key: &[u8]) -> bool {
    ![keys::MOVED, keys::HOMES].contains(&key)
}

fn summed(rows: &BTreeMap<Key, Value>) -> Moved {
    let (mut sum, mut hash) = (Moved::default(), blake3::Hasher::new());
    for (key, value) in rows {
        for bytes in [key.as_slice(), value] {
            hash.update(&(bytes.len() as u64).to_be_bytes()).update(bytes);
        }
        sum.rows += 1;
        sum.bytes += (key.len() + value.len()) as u64;
        match key.first() {
            Some(&keys::JOB) => sum.jobs += 1,
            Some(&keys::LEDGER) => sum.ledger += 1,
            Some(&keys::FAILED) => sum.failed += 1,
            _ => {}
        }
    }
    sum.hash = hash.finalize().to_string();
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::in_memory::InMemory;

    fn filled(rows: usize) -> InMemory {
        let store = InMemory::default();
        let row =
            |number: usize| (vec![keys::JOB, number.to_be_bytes()[7]], Some(Value::from(vec![1; number])));
        write(&store, (0..rows).map(row)).expect("writes");
        store
    }

    fn move_all(from: &InMemory, into: &InMemory) -> Result<Moved, StoreError> {
        moved(from, into, "one", "other", || rows_of(into))
    }

    #[test]
    fn a_store_that_moved_is_there_once_and_comes_back() {
        let (one, other) = (filled(120), InMemory::default());
        let sum = move_all(&one, &other).expect("moves");
        assert_eq!((sum.rows, sum.jobs), (120, 120));
        refuse_moved(&other, || "other".to_owned()).expect("is live");
        let error = refuse_moved(&one, || "one".to_owned()).expect_err("moved away");
        assert!(error.to_string().contains("other"), "{error}");
        move_all(&one, &other).expect_err("it moved before");
        assert_eq!(move_all(&other, &one).expect("moves back"), sum);
        refuse_moved(&one, || "one".to_owned()).expect("is live");
    }

    #[test]
    fn two_stores_do_not_become_one_and_nothing_does_not_move() {
        move_all(&filled(1), &filled(2)).expect_err("there is one already");
        move_all(&InMemory::default(), &InMemory::default()).expect_err("there is nothing");
    }

    #[test]
    fn what_does_not_arrive_as_it_was_leaves_the_store_where_it_is_and_is_tried_again() {
        let (one, other) = (filled(9), InMemory::default());
        moved(&one, &other, "one", "other", || Ok(BTreeMap::new())).expect_err("nothing arrived");
        refuse_moved(&one, || "one".to_owned()).expect("is live");
        refuse_moved(&other, || "other".to_owned()).expect_err("is half there");
        move_all(&one, &other).expect("moves");
        refuse_moved(&other, || "other".to_owned()).expect("is live");
    }
}
