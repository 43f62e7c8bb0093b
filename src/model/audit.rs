//! The audit trail: what is written down of what was claimed, published, retired and changed, and by whom.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::job::Job;
use super::job_id::JobId;
use super::job_state::JobState;
use super::os_text::OsText;

/// Who did it where nobody asked for it.
pub(crate) const SERVICE: &str = "service";

/// What happened. Names and hashes, and nothing that a record says: neither reasons nor errors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditEvent {
    /// When.
    pub at: Timestamp,
    /// `claimed`, `published`, `completed`, `failed`, `refused`, `aborted`, `not_claimed`, `forgotten`, `destroyed`; an operator's act by its
    /// command; `started`, `stopped`, `reloaded`, `rekeyed`, `trail_off`, `trail_broken`.
    pub event: String,
    /// The service, or a user.
    pub by: String,
    /// Of which job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Of which rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where the source lay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<OsText>,
    /// The hash of its content, where it is known by now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_hash: Option<String>,
    /// Whose files a pause is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<OsText>,
    /// What was published.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<OsText>,
    /// Where archive or quarantine have the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retired_to: Option<OsText>,
    /// What else there is to say of it: a priority, a record's number. Never a name that a sender gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
}

/// Where the trail ends, as the store knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditHead {
    /// The number of its last line.
    pub seq: u64,
    /// The hash of that line.
    pub hash: String,
    /// The number of the first line of the file that it stands in.
    pub file: u64,
    /// Bytes of that file, with it.
    pub length: u64,
}

/// The same, with what is behind it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AuditEnd {
    /// None: none was ever kept.
    pub head: Option<AuditHead>,
    /// The rows that wait to be written down: a line behind the head is one of them.
    pub waiting: Vec<u64>,
}

impl AuditEvent {
    /// One of this kind, now.
    pub(crate) fn new(at: Timestamp, event: impl Into<String>, by: impl Into<String>) -> Self {
        Self {
            at,
            event: event.into(),
            by: by.into(),
            job: None,
            rule: None,
            source: None,
            content_hash: None,
            sender: None,
            outputs: Vec::new(),
            retired_to: None,
            about: None,
        }
    }

    /// What a job's new state is, if it is written down. Its row as it is now, or was where it is gone.
    pub(crate) fn of_job(
        at: Timestamp,
        before: Option<JobState>,
        state: Option<JobState>,
        job: &Job,
    ) -> Option<Self> {
        let event = match (before, state) {
            (None, Some(JobState::Queued)) => "claimed",
            (_, Some(JobState::Retiring)) => "published",
            (_, Some(JobState::Completed)) => "completed",
            (_, Some(JobState::Failed)) => "failed",
            (_, Some(JobState::Refused)) => "refused",
            (_, Some(JobState::Aborted)) => "aborted",
            (Some(before), None) if before.is_final() => "forgotten",
            (Some(_), None) => "not_claimed",
            _ => return None,
        };
        let mut told = Self::new(at, event, SERVICE);
        (told.job, told.rule) = (Some(job.id), Some(job.rule.clone()));
        told.source = Some(job.source.path.clone());
        told.content_hash.clone_from(&job.content_hash);
        if event == "published" {
            told.outputs = job.outputs.iter().map(|output| output.path.clone()).collect();
        }
        if state.is_some_and(JobState::is_final) {
            told.retired_to.clone_from(&job.retired_to);
        }
        Some(told)
    }

    /// The same with hashes in place of names.
    #[must_use]
    pub(crate) fn without_names(mut self) -> Self {
        let hashed = |name: &OsText| {
            OsText::from(format!("blake3:{}", blake3::hash(name.to_string().as_bytes())).as_str())
        };
        self.source = self.source.as_ref().map(hashed);
        self.sender = self.sender.as_ref().map(hashed);
        self.outputs = self.outputs.iter().map(hashed).collect();
        self.retired_to = self.retired_to.as_ref().map(hashed);
        self
    }
}
