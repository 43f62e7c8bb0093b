//! What was published before, and what was archived: found by their keys, never by walking over jobs.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::error::StoreError;
use super::{LedgerRow, Store, keys};
use crate::model::identity::{FileIdentity, FolderIdentity};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;

/// What a job put into the archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArchivedRow {
    /// The job.
    pub job: JobId,
    /// Its rule's name.
    pub rule: String,
    /// When its job was completed.
    pub at: Timestamp,
    /// The source first, then what went with it.
    pub files: Vec<ArchivedFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ArchivedFile {
    /// Where it lies.
    pub path: OsText,
    /// What it was when it came there: another file of this name is none of ours.
    pub identity: FileIdentity,
    /// Of its folder then: in another one of this name, nothing can be said of it.
    pub folder: FolderIdentity,
}

/// An earlier job, and where its source lay, as far as the ledger still knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Earlier {
    /// The job.
    pub job: JobId,
    /// Where its source lay when it was found.
    pub source: Option<OsText>,
}

/// What was published before, of one content and one delivery's key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Published {
    /// The first job that published this content.
    pub same_content: Option<Earlier>,
    /// The last job that published this key, and as which revision.
    pub same_key: Option<(u64, Earlier)>,
}

impl Store {
    /// What was published before under this rule, by others than the asking job.
    pub(crate) fn published(
        &self,
        rule: &str,
        content_hash: Option<&str>,
        delivery_key: Option<&OsText>,
        asking: JobId,
    ) -> Result<Published, StoreError> {
        let earlier = |job: JobId| -> Result<Earlier, StoreError> {
            Ok(Earlier { job, source: self.ledger(job)?.map(|row| row.path) })
        };
        let of_content = |hash| self.first_with_content(rule, hash, asking);
        let same_content = content_hash.map(of_content).transpose()?.flatten().map(earlier).transpose()?;
        let of_key = |key| self.last_delivery(rule, key, asking);
        let same_key = match delivery_key.map(of_key).transpose()?.flatten() {
            Some((revision, job)) => Some((revision, earlier(job)?)),
            None => None,
        };
        Ok(Published { same_content, same_key })
    }

    /// The first job that published this content under this rule, other than the asking one.
    pub(crate) fn first_with_content(
        &self,
        rule: &str,
        content_hash: &str,
        asking: JobId,
    ) -> Result<Option<JobId>, StoreError> {
        for key in self.keys_beginning_with(&keys::content(rule, content_hash)) {
            let job = keys::content_job_of(&key?).ok_or_else(|| too_short("content's key"))?;
            if job != asking {
                return Ok(Some(job));
            }
        }
        Ok(None)
    }

    /// The last revision of this key under this rule and the job that published it, other than the asking one.
    pub(crate) fn last_delivery(
        &self,
        rule: &str,
        delivery_key: &OsText,
        asking: JobId,
    ) -> Result<Option<(u64, JobId)>, StoreError> {
        for key in self.keys_beginning_with(&keys::delivery(rule, delivery_key)).rev() {
            let found = keys::revision_and_job_of(&key?).ok_or_else(|| too_short("delivery's key"))?;
            if found.1 != asking {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// What this rule's jobs archived before a moment and after the row `after`, oldest first.
    pub(crate) fn archived_before(
        &self,
        rule: &str,
        before: Timestamp,
        after: Option<&ArchivedRow>,
    ) -> impl Iterator<Item = Result<ArchivedRow, StoreError>> + use<> {
        use std::ops::Bound::{Excluded, Included};
        let from = match after {
            Some(row) => Excluded(key_of(row)),
            None => Included(keys::archived_by(rule)),
        };
        let upto = Excluded(keys::archived_from(rule, unix_ms(before)));
        self.whole_rows("archived source", (from, upto))
    }
}

impl Changes<'_> {
    /// Writes by what a job's delivery is found later: its content, and its key. With the intent: from there on it is going to be published.
    pub fn delivery(&mut self, job: &Job) -> &mut Self {
        if let Some(hash) = &job.content_hash {
            self.put_mark(keys::published_content(&job.rule, hash, job.id));
        }
        if let Some(key) = &job.delivery.key {
            self.put_mark(keys::published_delivery(&job.rule, key, job.delivery.revision, job.id));
        }
        self
    }

    /// Forgets what [`Self::delivery`] wrote: nothing of the job was published after all.
    pub(crate) fn forget_delivery(&mut self, job: &Job) -> &mut Self {
        if let Some(hash) = &job.content_hash {
            self.remove(keys::published_content(&job.rule, hash, job.id));
        }
        if let Some(key) = &job.delivery.key {
            self.remove(keys::published_delivery(&job.rule, key, job.delivery.revision, job.id));
        }
        self
    }

    pub(crate) fn archived(&mut self, row: &ArchivedRow) -> &mut Self {
        self.put("archived source", key_of(row), row)
    }

    /// Forgets what the job of a ledger row archived, if anything.
    pub(super) fn forget_archived_with(&mut self, row: &LedgerRow) -> &mut Self {
        match row.finished_at {
            Some(at) => self.remove(keys::archived(&row.rule, unix_ms(at), row.job)),
            None => self,
        }
    }

    /// Forgets what a job archived: it is gone, or no business of ours any more.
    pub(crate) fn forget_archived(&mut self, row: &ArchivedRow) -> &mut Self {
        self.remove(key_of(row))
    }
}

pub(super) fn key_of(row: &ArchivedRow) -> keys::Key {
    keys::archived(&row.rule, unix_ms(row.at), row.job)
}

fn unix_ms(at: Timestamp) -> u64 {
    u64::try_from(at.as_millisecond()).unwrap_or(0)
}

fn too_short(what: &'static str) -> StoreError {
    StoreError::corrupt(what, "it is too short")
}
