//! What is known of one file that is no job: how the watch has seen it, and what the ledger says of it as it lies there.

use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::job_id::JobId;
use super::job_state::JobState;
use super::os_text::OsText;
use super::shell;

/// What is known of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileKnown {
    /// It waits to be taken.
    pub waiting: Option<FileSeen>,
    /// It stays where it lies, and is not taken again as long as it is the same.
    pub kept: Option<FileKept>,
    /// Why it is not taken, where a job has it, or had it, by this name or another one; in a sentence.
    #[serde(default)]
    pub not_taken: Option<String>,
}

/// A file that waits, as the watch has seen it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileSeen {
    /// What it waits for, in a sentence.
    pub reason: String,
    /// It waits longer than its rule's `ready.late_after`.
    pub is_late: bool,
    /// It waits for that since then.
    pub reason_since: Timestamp,
    pub first_seen_at: Timestamp,
    /// Nothing of it changed since then.
    pub still_since: Timestamp,
    /// Its sizes, each with when it was first seen: the first one, and the last ones.
    pub sizes: Vec<SizeSeen>,
    /// When it is looked at again, if nothing is told of it before; none: it is complete.
    pub next_look_at: Option<Timestamp>,
}

/// A size that a file had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SizeSeen {
    pub at: Timestamp,
    pub bytes: u64,
}

/// A file that was ingested and stays, or that was adopted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileKept {
    /// The job that it became; none: an operator said that it was dealt with.
    pub job: Option<JobId>,
    /// What became of that, as long as it is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// It ended badly, and this is why it would not be retried now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_refused: Option<String>,
    pub rule: String,
    /// Where it lay then, if it is known by another name now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lay_at: Option<OsText>,
    pub at: Timestamp,
}

/// A file that stays where it lies, as it was taken, or adopted, by another name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TakenBefore {
    pub rule: String,
    pub path: OsText,
    /// The job that took it, and what it did with it; none: it was adopted.
    pub job: Option<(JobId, &'static str)>,
}

impl TakenBefore {
    /// Why another rule, or the same for another sender, does not take it where it lies now, and what has it taken.
    pub(crate) fn told(&self, path: &Path, rule: &str) -> String {
        let Self { rule: before, path: lay, job } = self;
        let was = match job {
            Some((id, did)) => format!("rule \"{before}\" took it as {lay}: job {id} {did}"),
            None => format!("it was adopted as {lay}, of rule \"{before}\""),
        };
        let way = ingest_here(path, rule);
        format!("{was}; another name makes no other file of it, and it is not taken again: {way}")
    }
}

/// What has a file taken that stays where it lies.
pub(crate) fn ingest_here(path: &Path, rule: &str) -> String {
    let file = shell::word(path);
    format!("`landfall ingest {file} --rule {rule} --retire` has it taken here")
}

impl FileKept {
    /// What became of it, in a few words.
    pub(crate) fn became(&self) -> String {
        let Some(job) = self.job else { return "adopted".to_owned() };
        match (self.state, &self.retry_refused) {
            (None | Some(JobState::Completed), _) => format!("ingested as job {job}"),
            (Some(state @ (JobState::Failed | JobState::Refused)), Some(why)) => {
                format!("its job {job} is {state} ({why}): `landfall abandon {job} --reason TEXT` ends it")
            }
            (Some(JobState::Failed), None) => format!("its job {job} failed: `landfall retry {job}`"),
            (Some(JobState::Refused), None) => {
                format!("its job {job} was refused: `landfall retry {job}` takes it all the same")
            }
            (Some(JobState::Aborted), None) => {
                format!(
                    "its job {job} was ended by an operator: `landfall retry {job}` takes it all the same"
                )
            }
            (Some(state), _) => format!("its job {job} is {state}"),
        }
    }
}
