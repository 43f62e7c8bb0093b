//! Stored values: any bytes are an error or a value, which is stored and read again as it is.
//!
//! Input: what the value is, then the bytes of its head and its further values, separated by `0xff`, `0xfe`; for a slice those of its
//! compressed form.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::backend::VALUE_BYTES_MAX;
use super::{ArchivedRow, Checkpoint, LedgerRow, slice_value, value};
use crate::model::account::FailedRecord;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::rule::Rule;
use crate::output::Intent;

pub(crate) fn check(data: &[u8]) {
    let Some((kind, stored)) = data.split_first() else { return };
    match kind {
        b's' => slice(stored),
        b't' => slice(&lz4_flex::compress_prepend_size(stored)),
        b'j' => row::<Job>(stored),
        b'l' => row::<LedgerRow>(stored),
        b'k' => row::<JobId>(stored),
        b'p' => row::<Checkpoint>(stored),
        b'i' => row::<Intent>(stored),
        b'f' => row::<Vec<FailedRecord>>(stored),
        b'r' => row::<Rule>(stored),
        b'a' => row::<ArchivedRow>(stored),
        _ => {}
    }
}

fn slice(packed: &[u8]) {
    let Ok(slice) = slice_value::unpack(packed) else { return };
    let whole = slice.bytes.len();
    assert!(slice.records.iter().all(|record| record.start <= record.end && record.end as usize <= whole));
    let again = slice_value::pack(&slice).expect("what was read can be stored");
    assert_eq!(slice_value::unpack(&again).expect("its own bytes can be read"), slice);
}

fn row<T: Serialize + DeserializeOwned>(stored: &[u8]) {
    let values = split(stored);
    let Ok(row) = read::<T>(&values) else { return };
    let stored = value::encode("row", &row).expect("what was read can be stored");
    assert!(stored.iter().all(|value| value.len() <= VALUE_BYTES_MAX));
    let values: Vec<&[u8]> = stored.iter().map(AsRef::as_ref).collect();
    let again = read::<T>(&values).expect("its own bytes can be read");
    assert_eq!(value::encode("row", &again).expect("likewise"), stored, "it changed on the way");
}

fn read<T: DeserializeOwned>(values: &[&[u8]]) -> Result<T, super::StoreError> {
    let head = value::read_head("row", values.first().copied().unwrap_or_default())?;
    value::decode("row", &head, |index| Ok(values.get(index as usize)))
}

fn split(stored: &[u8]) -> Vec<&[u8]> {
    let mut values = Vec::new();
    let mut rest = stored;
    while let Some(at) = memchr::memmem::find(rest, &[0xff, 0xfe]) {
        values.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    values.push(rest);
    values
}
