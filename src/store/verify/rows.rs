//! What each kind of row must be like, and what it refers to.

use serde::de::DeserializeOwned;

use super::{Finding, REPORT, RESTORE, place, unreadable};
use crate::model::account::FailedRecord;
use crate::model::audit::{AuditEvent, AuditHead};
use crate::model::clock_steps::ClockSteps;
use crate::model::configuration::KeptConfiguration;
use crate::model::expected::Expected;
use crate::model::halts::Halts;
use crate::model::hook::Happened;
use crate::model::job::{HeldRecords, Job};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::OsText;
use crate::model::pace::PacesSet;
use crate::model::places::Places;
use crate::model::rule::Rule;
use crate::model::settling::Settlement;
use crate::output::Intent;
use crate::store::error::StoreError;
use crate::store::keys::{self, Place};
use crate::store::sealed::Seals;
use crate::store::{
    ArchivedRow, Checkpoint, FailedEntry, LedgerOutcome, LedgerRow, Marked, OtherNames, Store, deliveries,
    value,
};

pub(super) fn judge(store: &Store, key: &[u8], value: &[u8]) -> Vec<Finding> {
    let mut judge = Judge { store, findings: Vec::new() };
    if let Err((place, error)) = judge.row(key, value) {
        judge.findings.push(unreadable(place, &error));
    }
    judge.findings
}

fn read<T>(id: JobId, read: Result<T, StoreError>) -> Result<T, Unreadable> {
    read.map_err(|error| (place("rows", Some(id)), error))
}

struct Judge<'a> {
    store: &'a Store,
    findings: Vec<Finding>,
}

/// What could not be read, and why.
type Unreadable = (String, StoreError);

impl Judge<'_> {
    fn find(&mut self, place: String, problem: impl Into<String>, hint: &str) {
        self.findings.push(Finding { place, problem: problem.into(), hint: hint.to_owned() });
    }

    fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), Unreadable> {
        match keys::place_of(key) {
            // The one is judged at every opening; the next says nothing but that it is there; the last outlives its job, by its outputs in the
            // store.
            Some(Place::Format | Place::Auditing | Place::Destroy(_)) => Ok(()),
            Some(Place::AuditHead) => {
                self.decoded::<AuditHead>("end of the audit trail", None, key, value).map(drop)
            }
            Some(Place::Audited) => {
                self.decoded::<AuditEvent>("event of the audit trail", None, key, value).map(drop)
            }
            Some(Place::Seals) => self.decoded::<Seals>("list of keys", None, key, value).map(drop),
            Some(Place::Mark) => self.decoded::<crate::store::Mark>("mark", None, key, value).map(drop),
            Some(Place::Configuration) => {
                self.decoded::<KeptConfiguration>("configuration", None, key, value).map(drop)
            }
            Some(Place::Halts) => self.decoded::<Halts>("halts", None, key, value).map(drop),
            Some(Place::ClockSteps) => {
                self.decoded::<ClockSteps>("steps of the clock", None, key, value).map(drop)
            }
            Some(Place::Places) => self.decoded::<Places>("places", None, key, value).map(drop),
            Some(Place::Homes) => {
                self.decoded::<Vec<OsText>>("places of the data folder", None, key, value).map(drop)
            }
            Some(Place::Paces) => self.decoded::<PacesSet>("limits", None, key, value).map(drop),
            Some(Place::Expected) => self.decoded::<Expected>("expected files", None, key, value).map(drop),
            Some(Place::Job(id)) => self.job(id, key, value),
            // That its state agrees is judged with the job's row.
            Some(Place::Unfinished(id)) => self.job_must_be_there("index of unfinished jobs, entry", id),
            Some(Place::Ledger(id)) => self.ledger(id, key, value),
            Some(Place::Kept | Place::KeptAt) => self.kept(key, value),
            // It may outlive its job; whose the file is, is asked when it comes.
            Some(Place::OtherNames) => {
                self.decoded::<OtherNames>("other names of a file", None, key, value).map(drop)
            }
            // Its file may be gone by now.
            Some(Place::Marked) => self.decoded::<Marked>("marked file", None, key, value).map(drop),
            Some(Place::Checkpoint(id)) => {
                self.decoded::<Checkpoint>("checkpoint", Some(id), key, value)?;
                self.job_must_be_there("checkpoint", id)
            }
            Some(Place::Intent(id)) => {
                self.decoded::<Intent>("intent", Some(id), key, value)?;
                self.job_must_be_there("intent", id)
            }
            Some(Place::Failed(id)) => {
                self.decoded::<Vec<FailedRecord>>("failed records", Some(id), key, value)?;
                self.job_must_be_there("failed records", id)
            }
            Some(Place::Settled(id)) => {
                self.decoded::<Settlement>("act on failed records", Some(id), key, value)?;
                self.job_must_be_there("act on failed records", id)
            }
            Some(Place::Shape(id)) => {
                self.decoded::<FailedEntry>("entry of failed records", Some(id), key, value)?;
                self.job_must_be_there("entry of failed records", id)
            }
            Some(Place::Rule) => self.decoded::<Rule>("rule", None, key, value).map(drop),
            Some(Place::Content(id)) => self.index("index of published contents, entry", id, value),
            Some(Place::Delivery(id)) => self.index("index of deliveries, entry", id, value),
            // Its job may be gone, and its hook.
            Some(Place::Event) => self.decoded::<Happened>("event for a hook", None, key, value).map(drop),
            Some(Place::Archived(id)) => self.archived(id, key, value),
            Some(Place::Continued { head, index }) => self.continued(head, index, value),
            None => {
                let hint =
                    "a later version of landfall may have written it: run that version on this data folder";
                self.find(
                    format!("row `{}`", key.escape_ascii()),
                    "its key is of no kind that is known",
                    hint,
                );
                Ok(())
            }
        }
    }

    fn decoded<T: DeserializeOwned>(
        &self,
        what: &'static str,
        job: Option<JobId>,
        key: &[u8],
        value: &[u8],
    ) -> Result<Option<T>, Unreadable> {
        self.store.whole_row(what, key, value).map_err(|error| (place(what, job), error))
    }

    fn job_must_be_there(&mut self, what: &str, id: JobId) -> Result<(), Unreadable> {
        let key = keys::of_job(keys::JOB, id);
        if read(id, self.store.get(&key))?.is_none() {
            self.find(place(what, Some(id)), "there is no such job", RESTORE);
        }
        Ok(())
    }

    fn job(&mut self, id: JobId, key: &[u8], value: &[u8]) -> Result<(), Unreadable> {
        let Some(job) = self.decoded::<Job>("job", Some(id), key, value)? else { return Ok(()) };
        let here = || place("row", Some(id));
        if job.id != id {
            self.find(here(), format!("it is that of job {}", job.id), RESTORE);
        }
        if read(id, self.store.get(&keys::rule(&job.rule_hash)))?.is_none() {
            let hint = "`landfall retry` takes a failed job under the rule as it is now";
            self.find(here(), format!("the snapshot of its rule \"{}\" is missing", job.rule), hint);
        }
        let is_indexed = read(id, self.store.get(&keys::of_job(keys::UNFINISHED, id)))?.is_some();
        if is_indexed == job.state.is_final() {
            let problem = if is_indexed { "it ended, and is" } else { "it is" };
            let problem = format!(
                "{problem} {}, {}",
                job.state,
                if is_indexed {
                    "yet counted as unfinished"
                } else {
                    "yet not counted as unfinished: no start takes it up"
                }
            );
            self.find(here(), problem, RESTORE);
        }
        self.job_against_ledger(&job)?;
        self.job_against_work(&job)
    }

    fn job_against_ledger(&mut self, job: &Job) -> Result<(), Unreadable> {
        let Some(row) = read(job.id, self.store.ledger(job.id))? else {
            self.find(place("row", Some(job.id)), "the ledger has no row for its source", RESTORE);
            return Ok(());
        };
        let agrees = match job.state.get() {
            JobState::Completed => row.outcome == LedgerOutcome::Completed,
            JobState::Failed => row.outcome == LedgerOutcome::Failed,
            state if !state.is_final() => row.outcome == LedgerOutcome::Claimed,
            _ => row.outcome != LedgerOutcome::Completed,
        };
        if !agrees {
            let problem =
                format!("the job is {}, but the ledger has its source as {:?}", job.state, row.outcome);
            self.find(place("ledger row", Some(job.id)), problem, REPORT);
        }
        Ok(())
    }

    /// Failed records, checkpoint and intent of a job are as its state says.
    fn job_against_work(&mut self, job: &Job) -> Result<(), Unreadable> {
        let id = job.id;
        let kept = read(id, self.store.failed_records_count(id))?;
        for record in self.store.failed_records(id) {
            record.map_err(|error| (place("failed records", Some(id)), error))?;
        }
        let is_balanced = job.state.is_past_intent() || job.state == JobState::Completed;
        let HeldRecords { decided, waiting } = job.held_records;
        let failed = job.account.records_failed.saturating_add(decided);
        if is_balanced && kept != failed {
            let problem = format!("{failed} records failed, but {kept} are kept");
            self.find(place("failed records", Some(id)), problem, RESTORE);
        }
        if let (true, Err(unbalanced)) = (is_balanced, job.account.balance()) {
            self.find(place("account", Some(id)), unbalanced.to_string(), RESTORE);
        }
        if !is_balanced && kept < decided.max(waiting) {
            let problem = format!(
                "{} of its failed records are to be decided on, but {kept} are kept",
                decided.max(waiting)
            );
            self.find(place("failed records", Some(id)), problem, RESTORE);
        }
        let counted = read(id, self.store.checkpoint(id))?.map_or(0, |point| point.failed_records);
        if !is_balanced && kept < counted {
            let problem = format!("it counts {counted} failed records, but {kept} are kept");
            self.find(place("checkpoint", Some(id)), problem, RESTORE);
        }
        if job.state == JobState::Publishing && read(id, self.store.intent(id))?.is_none() {
            self.find(
                place("row", Some(id)),
                "it is publishing, but what it publishes is not written down",
                RESTORE,
            );
        }
        Ok(())
    }

    fn ledger(&mut self, id: JobId, key: &[u8], value: &[u8]) -> Result<(), Unreadable> {
        let row = self.decoded::<LedgerRow>("ledger row", Some(id), key, value)?;
        if let Some(row) = row.filter(|row| row.job != id) {
            self.find(place("ledger row", Some(id)), format!("it is that of job {}", row.job), RESTORE);
        }
        Ok(())
    }

    fn kept(&mut self, key: &[u8], value: &[u8]) -> Result<(), Unreadable> {
        let Some(id) = self.decoded::<JobId>("kept file", None, key, value)? else { return Ok(()) };
        let row = read(id, self.store.ledger(id))?;
        if row.is_none_or(|row| {
            keys::kept(&row.identity) != key && keys::kept_at(&row.path, &row.identity) != key
        }) {
            let problem = "the ledger does not know this kept file";
            self.find(place("kept file", Some(id)), problem, RESTORE);
        }
        Ok(())
    }

    /// An entry that says all by its key. It goes with its job's ledger row; that what it says agrees cannot be asked for: a job that is
    /// retried under another rule may have another content.
    fn index(&mut self, what: &'static str, id: JobId, value: &[u8]) -> Result<(), Unreadable> {
        let here = || place(what, Some(id));
        if !value::unseal(what, value).map_err(|error| (here(), error))?.is_empty() {
            self.find(here(), "it has a value, and should have none", REPORT);
        }
        if read(id, self.store.get(&keys::of_job(keys::LEDGER, id)))?.is_none() {
            self.find(here(), "the ledger has no row of that job", REPORT);
        }
        Ok(())
    }

    /// It may outlive its job and the ledger's row: the file lies in the archive as long as the rule says.
    fn archived(&mut self, id: JobId, key: &[u8], value: &[u8]) -> Result<(), Unreadable> {
        let row = self.decoded::<ArchivedRow>("archived source", Some(id), key, value)?;
        if let Some(row) = row.filter(|row| deliveries::key_of(row) != key) {
            let problem =
                format!("it is that of job {} under rule \"{}\", archived at {}", row.job, row.rule, row.at);
            self.find(place("archived source", Some(id)), problem, RESTORE);
        }
        Ok(())
    }

    fn continued(&mut self, head: &[u8], index: u32, value: &[u8]) -> Result<(), Unreadable> {
        let here = || place("part of a long value", keys::job_of(head));
        value::unseal("part of a long value", value).map_err(|error| (here(), error))?;
        let chunks = match self.store.get(head).map_err(|error| (here(), error))? {
            Some(head) => value::read_head("row", &head).map_err(|error| (here(), error))?.chunks,
            None => 0,
        };
        if index >= chunks {
            self.find(here(), format!("part {index} of a value that has {chunks} parts"), REPORT);
        }
        Ok(())
    }
}
