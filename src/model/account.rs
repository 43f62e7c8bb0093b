//! The account of a job: every record ends in exactly one place.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::category::Category;

/// Reasons that are told apart at most.
const REASONS_MAX: usize = 1000;
/// What further ones are counted under.
const OTHER_REASONS: &str = "other reasons";

/// The counts of a job, or of a slice: in = Σ categories + dropped + failed + retried.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Records that were read.
    pub records_in: u64,
    /// Records that went to each category.
    pub records_out: BTreeMap<Category, u64>,
    /// Records that a step dropped, by the step as the rule names it.
    pub dropped_by: BTreeMap<String, u64>,
    /// Records on which a step returned an error, and records longer than `record_max`.
    pub records_failed: u64,
    /// Failed records that jobs of their own have since: their accounts say what became of them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub records_retried: u64,
    /// Lines that are no records: blank ones (csv, jsonl) and `skip_lines`.
    pub records_skipped: u64,
    /// Why records were sent to another category, counted.
    pub reasons: BTreeMap<String, u64>,
}

/// The counts do not add up: a bug of this program, met before anything is published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{records_in} records came in, but {accounted} are accounted for")]
pub struct Unbalanced {
    /// Records that were read.
    pub records_in: u64,
    /// Records written, dropped or failed.
    pub accounted: u64,
}

impl Account {
    /// Records that were written to any category.
    pub fn records_written(&self) -> u64 {
        self.records_out.values().sum()
    }

    /// Records that any step dropped.
    pub fn records_dropped(&self) -> u64 {
        self.dropped_by.values().sum()
    }

    /// Refuses an account in which a record is missing or counted twice.
    #[doc(hidden)]
    pub fn balance(&self) -> Result<(), Unbalanced> {
        let accounted =
            self.records_written() + self.records_dropped() + self.records_failed + self.records_retried;
        if accounted == self.records_in {
            Ok(())
        } else {
            Err(Unbalanced { records_in: self.records_in, accounted })
        }
    }

    /// Adds the counts of another account to this one.
    #[doc(hidden)]
    pub fn add(&mut self, other: &Self) {
        self.records_in += other.records_in;
        self.records_failed += other.records_failed;
        self.records_retried += other.records_retried;
        self.records_skipped += other.records_skipped;
        add_counts(&mut self.records_out, &other.records_out);
        add_counts(&mut self.dropped_by, &other.dropped_by);
        for (reason, count) in &other.reasons {
            self.add_reason(reason, *count);
        }
    }

    /// Counts records that were dropped for this reason.
    pub(crate) fn add_dropped(&mut self, by: &str, count: u64) {
        add_bounded(&mut self.dropped_by, by, count);
    }

    /// The account is written again and again: a step of somebody's own may find another reason in each record.
    fn add_reason(&mut self, reason: &str, count: u64) {
        add_bounded(&mut self.reasons, reason, count);
    }
}

fn add_bounded(counts: &mut BTreeMap<String, u64>, reason: &str, count: u64) {
    let is_known = counts.contains_key(reason);
    let reason = if is_known || counts.len() < REASONS_MAX { reason } else { OTHER_REASONS };
    match counts.get_mut(reason) {
        Some(sum) => *sum += count,
        None => drop(counts.insert(reason.to_owned(), count)),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field by reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

fn add_counts<K: Ord + Clone>(sums: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (key, count) in counts {
        match sums.get_mut(key) {
            Some(sum) => *sum += count,
            None => {
                sums.insert(key.clone(), *count);
            }
        }
    }
}

/// A record on which a step returned an error; kept until an operator settles it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRecord {
    /// Position of its entry within the source, from 0.
    pub entry: u32,
    /// The entry's name; empty for a plain file.
    pub entry_name: String,
    /// Number within the entry, from 1; header and skipped lines not counted.
    pub record: u64,
    /// Where it begins in the entry's decoded text, in bytes.
    pub offset: u64,
    /// The line on which it begins, from 1.
    pub line: u64,
    /// The step that failed, as the rule names it (`step 2, exec`), or `records` for an oversized record.
    pub step: String,
    /// What the step said.
    pub error: String,
    /// The record as it was read, without its line end; its beginning only where `length` says more.
    #[serde(with = "base64_bytes")]
    pub bytes: Vec<u8>,
    /// Its whole length in bytes.
    pub length: u64,
}

/// The bytes of a record by themselves; Base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RecordBytes(#[serde(with = "base64_bytes")] pub Vec<u8>);

/// The bytes of one record in JSON.
mod base64_bytes {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_balances_only_when_every_record_has_one_place() {
        let mut account = Account { records_in: 10, records_failed: 1, ..Account::default() };
        account.records_out.insert(Category::main(), 7);
        account.dropped_by.insert("step 1, filter".into(), 2);
        assert_eq!(account.balance(), Ok(()));
        account.records_in = 11;
        assert_eq!(account.balance(), Err(Unbalanced { records_in: 11, accounted: 10 }));
    }

    #[test]
    fn adding_accounts_adds_every_count() {
        let mut one = Account { records_in: 1, records_skipped: 2, ..Account::default() };
        one.records_out.insert(Category::main(), 1);
        one.reasons.insert("id: missing".into(), 3);
        let mut sum = one.clone();
        sum.add(&one);
        assert_eq!((sum.records_in, sum.records_skipped, sum.records_written()), (2, 4, 2));
        assert_eq!(sum.reasons["id: missing"], 6);
    }

    #[test]
    fn reasons_past_a_thousand_are_counted_together() {
        let mut sum = Account::default();
        for number in 0..5000 {
            let mut one = Account::default();
            one.reasons.insert(format!("bad value {number}"), 1);
            sum.add(&one);
        }
        assert_eq!((sum.reasons.len(), sum.reasons[OTHER_REASONS]), (REASONS_MAX + 1, 4000));
    }
}
