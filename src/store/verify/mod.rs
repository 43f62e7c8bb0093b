//! Verifying the store: every key is known, every value can be read, and what refers to something finds it.
//!
//! A walk over all rows, each judged by itself with what it refers to, so that memory stays bounded and a service goes on meanwhile.
//! A row that seems wrong is judged again while nothing is written, and once more after a pause where files are concerned: the engine
//! moves a file after its row says so, or before. Nothing is changed. Slices on their way are not looked at: whoever takes one sees whether
//! it is whole, and has it cut again.

mod files;
mod rows;

use std::collections::VecDeque;
use std::ops::Bound::Unbounded;
use std::sync::PoisonError;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backend::{Backend as _, Rows};
use super::error::StoreError;
use super::{Store, keys};
use crate::model::job_id::JobId;

/// After so many values the walk says that it goes on.
const LOOKED_EVERY: u64 = 1000;
/// Between two looks at files that seem wrong.
const LOOK_AGAIN: Duration = Duration::from_millis(300);
/// Such looks, all together.
const LOOKS_AGAIN_MAX: u32 = 30;

pub(super) const RESTORE: &str = "keep a copy of the data folder, then restore its last backup; `landfall recover CLAIM_DIR` lists what it does not know";
pub(super) const REPORT: &str = "no record is lost by this; report it with the job's `landfall show --json`";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    /// Which row: what it is, and of which job.
    pub place: String,
    /// What is wrong with it.
    pub problem: String,
    /// What the operator can do.
    pub hint: String,
}

/// What a verification has to say as it goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verified {
    Found(Finding),
    /// So many values were looked at so far.
    Looked(u64),
    Ended {
        /// Values, chunks of long ones counted each.
        values: u64,
        /// Jobs among them.
        jobs: u64,
    },
}

impl Store {
    /// Verifies every value, as the answers are asked for; the last one is [`Verified::Ended`].
    pub(crate) fn verify(&self) -> impl Iterator<Item = Verified> + use<> {
        let said: VecDeque<_> =
            self.inner.rows.unknown_tables().iter().map(|name| unknown_table(name)).collect();
        Walk {
            rows: Some(self.scan((Unbounded, Unbounded))),
            store: self.clone(),
            said,
            values: 0,
            jobs: 0,
            looks_left: LOOKS_AGAIN_MAX,
            ended: false,
        }
    }
}

struct Walk {
    store: Store,
    /// None once all were met.
    rows: Option<Rows>,
    said: VecDeque<Verified>,
    values: u64,
    jobs: u64,
    looks_left: u32,
    ended: bool,
}

impl Iterator for Walk {
    type Item = Verified;

    fn next(&mut self) -> Option<Verified> {
        loop {
            if let Some(said) = self.said.pop_front() {
                return Some(said);
            }
            if self.ended {
                return None;
            }
            self.go_on();
        }
    }
}

impl Walk {
    fn go_on(&mut self) {
        match self.rows.as_mut().and_then(Iterator::next) {
            Some(Ok((key, value))) => {
                self.count();
                self.jobs += u64::from(key.first() == Some(&keys::JOB));
                let findings = self.judge_row(&key, &value);
                self.said.extend(findings.into_iter().map(Verified::Found));
            }
            // A backend that cannot read on is a finding, and the end of its rows.
            Some(Err(error)) => {
                self.rows = None;
                self.said.push_back(Verified::Found(unreadable("the rows from here on".to_owned(), &error)));
            }
            None => {
                self.said.push_back(Verified::Ended { values: self.values, jobs: self.jobs });
                self.ended = true;
            }
        }
    }

    fn count(&mut self) {
        self.values += 1;
        if self.values.is_multiple_of(LOOKED_EVERY) {
            self.said.push_back(Verified::Looked(self.values));
        }
    }

    fn judge_row(&mut self, key: &[u8], value: &[u8]) -> Vec<Finding> {
        let mut findings = rows::judge(&self.store, key, value);
        if !findings.is_empty() {
            findings = self.judge_again(key);
        }
        findings.extend(self.judge_files(key));
        findings
    }

    /// With nothing being written meanwhile; a row that went is no longer wrong.
    fn judge_again(&self, key: &[u8]) -> Vec<Finding> {
        let _nothing_is_written = self.store.inner.changing.write().unwrap_or_else(PoisonError::into_inner);
        match self.store.get(key) {
            Ok(Some(value)) => rows::judge(&self.store, key, &value),
            Ok(None) => Vec::new(),
            Err(error) => vec![unreadable(place("row", keys::job_of(key)), &error)],
        }
    }

    fn judge_files(&mut self, key: &[u8]) -> Vec<Finding> {
        let Some(id) = keys::job_of(key).filter(|_| key.first() == Some(&keys::UNFINISHED)) else {
            return Vec::new();
        };
        let mut findings = files::judge(&self.store, id);
        for _ in 0..2 {
            if findings.is_empty() || self.looks_left == 0 {
                break;
            }
            self.looks_left -= 1;
            std::thread::sleep(LOOK_AGAIN);
            findings = files::judge(&self.store, id);
        }
        findings
    }
}

/// A table that this version knows nothing of.
fn unknown_table(name: &str) -> Verified {
    Verified::Found(Finding {
        place: format!("table `{name}`"),
        problem: "this version does not know it".to_owned(),
        hint: "a later version of landfall wrote it: run that version on this data folder".to_owned(),
    })
}

fn place(what: &str, job: Option<JobId>) -> String {
    job.map_or_else(|| what.to_owned(), |job| format!("{what} of job {job}"))
}

fn unreadable(place: String, error: &StoreError) -> Finding {
    use crate::model::fault::Fault as _;
    let hint = match error {
        StoreError::UnknownVersion { .. } => error.hint(),
        _ => None,
    };
    Finding { place, problem: error.chain(), hint: hint.unwrap_or_else(|| RESTORE.to_owned()) }
}

#[cfg(test)]
mod tests;
