//! A job as a list has it: one line for each of very many.
//!
//! Most of a row is of no use to a list: its timeline, its outputs, its counts by category and reason. [`JobRowBrief`] is read from the same row
//! and passes over them, which costs much less than reading it whole. The job that it makes is told of what stands beside the rows like any
//! other; it is never written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::complete_by::CompleteBy;
use super::deadline::DeadlineReport;
use super::default::is_default;
use super::fault::JobError;
use super::identity::FileIdentity;
use super::job::{HeldRecords, Job, Moment, Retries, Slices, Source, Waiting};
use super::job_id::JobId;
use super::job_state::JobState;
use super::os_text::OsText;
use super::priority::Priority;
use super::standing::Standing;

/// See the module. Lines go over the control connection: what says nothing is not written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobLine {
    /// Its id.
    pub id: JobId,
    /// The rule's name.
    pub rule: String,
    /// Where the file lay when it was found.
    pub source: OsText,
    /// Its bytes.
    pub size: u64,
    /// Where the job is in its life.
    pub state: JobState,
    /// The lower goes first.
    pub priority: Priority,
    /// Workers that have it in hand now.
    #[serde(default, skip_serializing_if = "is_default")]
    pub workers: usize,
    /// See [`Job::workers_max`].
    #[serde(default, skip_serializing_if = "is_default")]
    pub workers_max: u32,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waiting: Option<Waiting>,
    /// Why it failed, or is held.
    #[serde(default, skip_serializing_if = "is_default")]
    pub error: Option<String>,
    /// Why it was aborted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub aborted: Option<String>,
    /// How it stands to its deadline.
    #[serde(default, skip_serializing_if = "is_default")]
    pub deadline: Option<DeadlineReport>,
    /// By what its file counted as complete.
    #[serde(default, skip_serializing_if = "is_default")]
    pub complete_by: Option<CompleteBy>,
    /// When it was claimed.
    pub created_at: Timestamp,
    /// When it was first taken by a loader.
    #[serde(default, skip_serializing_if = "is_default")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub finished_at: Option<Timestamp>,
    /// Records that were read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub records_in: u64,
    /// Of those, the failed ones that nobody settled.
    #[serde(default, skip_serializing_if = "is_default")]
    pub records_failed: u64,
    /// Of its bytes, those whose records are worked.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bytes_worked: u64,
}

impl JobLine {
    /// Of a job that nobody works for.
    pub(crate) fn of(job: Job) -> Self {
        let state = job.state.get();
        let last = job.timeline.last().filter(|_| state == JobState::Aborted);
        Self {
            id: job.id,
            size: job.source.identity.size,
            state,
            priority: job.priority,
            workers: 0,
            workers_max: job.workers_max,
            aborted: last.map(|moment| moment.detail.clone()),
            rule: job.rule,
            source: job.source.path,
            complete_by: job.source.complete_by,
            waiting: job.waiting,
            error: job.error.map(|error| error.message),
            deadline: job.deadline,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            records_in: job.account.records_in,
            records_failed: job.account.records_failed,
            bytes_worked: job.bytes_worked,
        }
    }

    /// What it waits for, why it ended badly, or what it left to be decided on.
    pub(crate) fn trouble(&self) -> Option<Cow<'_, str>> {
        let waits = self.waiting.as_ref().map(|waiting| waiting.detail.as_str());
        let told = waits.or(self.error.as_deref()).or(self.aborted.as_deref());
        told.map(Cow::Borrowed).or_else(|| self.left_to_decide().map(Cow::Owned))
    }

    /// Failed records that are kept beside what was published, until somebody decides on them.
    fn left_to_decide(&self) -> Option<String> {
        let records = self.failed_records_kept()?;
        Some(format!("{records} failed {}", if records == 1 { "record" } else { "records" }))
    }

    /// How many these are; none where there is none.
    pub(crate) fn failed_records_kept(&self) -> Option<u64> {
        (self.state == JobState::Completed && self.records_failed > 0).then_some(self.records_failed)
    }

    /// Whether its deadline is at risk, or has passed.
    pub(crate) fn deadline_in_trouble(&self) -> Option<&DeadlineReport> {
        self.deadline.as_ref().filter(|report| report.state.is_trouble())
    }
}

/// What a list needs of a job's row.
#[derive(Deserialize)]
pub(crate) struct JobRowBrief {
    id: JobId,
    rule: String,
    vars: BTreeMap<String, OsText>,
    source: BriefSource,
    state: Standing,
    #[serde(default)]
    priority: Priority,
    #[serde(default)]
    workers_max: u32,
    #[serde(default)]
    waiting: Option<Waiting>,
    created_at: Timestamp,
    #[serde(default)]
    due_at: Option<Timestamp>,
    #[serde(default)]
    started_at: Option<Timestamp>,
    #[serde(default)]
    finished_at: Option<Timestamp>,
    bytes_read: u64,
    #[serde(default)]
    bytes_worked: u64,
    account: BriefAccount,
    slices: Slices,
    #[serde(default)]
    error: Option<JobError>,
    #[serde(default)]
    timeline: LastMoment,
    #[serde(default)]
    retries: Option<Retries>,
    #[serde(default)]
    held_records: HeldRecords,
}

#[derive(Deserialize)]
struct BriefSource {
    path: OsText,
    #[serde(default)]
    claimed: Option<OsText>,
    #[serde(default)]
    lies_at: Option<OsText>,
    identity: BriefIdentity,
    #[serde(default)]
    complete_by: Option<CompleteBy>,
}

#[derive(Deserialize)]
struct BriefIdentity {
    size: u64,
}

#[derive(Deserialize)]
struct BriefAccount {
    records_in: u64,
    records_failed: u64,
}

/// What the last moment of a timeline says, and when it was: acts on failed records are told among the moments.
#[derive(Default)]
struct LastMoment {
    at: Timestamp,
    detail: String,
}

impl<'de> Deserialize<'de> for LastMoment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        /// Read for the last one alone: those before it are passed over as they stand.
        #[derive(Deserialize)]
        struct BriefMoment<'m> {
            #[serde(borrow)]
            at: Cow<'m, str>,
            #[serde(borrow)]
            detail: Cow<'m, str>,
        }
        struct Last;
        impl<'de> Visitor<'de> for Last {
            type Value = LastMoment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a timeline")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut moments: A) -> Result<LastMoment, A::Error> {
                let mut last = None;
                while let Some(moment) = moments.next_element::<BriefMoment<'_>>()? {
                    last = Some(moment);
                }
                let Some(BriefMoment { at, detail }) = last else { return Ok(LastMoment::default()) };
                Ok(LastMoment { at: at.parse().map_err(A::Error::custom)?, detail: detail.into_owned() })
            }
        }
        deserializer.deserialize_seq(Last)
    }
}

impl From<JobRowBrief> for Job {
    /// What was passed over is as of a job that was just claimed.
    fn from(row: JobRowBrief) -> Self {
        let identity =
            FileIdentity { device: 0, inode: 0, size: row.source.identity.size, mtime_ns: 0, ctime_ns: 0 };
        let source = Source {
            claimed: row.source.claimed,
            lies_at: row.source.lies_at,
            complete_by: row.source.complete_by,
            ..Source::found(row.source.path, identity)
        };
        let mut job = Job::queued(row.id, "", "", source, row.created_at);
        let state = row.state.get();
        let LastMoment { at, detail } = row.timeline;
        job.timeline = vec![Moment { at, state, detail }];
        job.rule = row.rule;
        job.vars = row.vars;
        job.state = row.state;
        job.priority = row.priority;
        job.workers_max = row.workers_max;
        job.waiting = row.waiting;
        job.due_at = row.due_at;
        job.started_at = row.started_at;
        job.finished_at = row.finished_at;
        job.bytes_read = row.bytes_read;
        job.bytes_worked = row.bytes_worked;
        job.account.records_in = row.account.records_in;
        job.account.records_failed = row.account.records_failed;
        job.slices = row.slices;
        job.error = row.error;
        job.retries = row.retries;
        job.held_records = row.held_records;
        job
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job_view::tests::sample_job;
    use crate::model::settling::{self, Numbers, Settled, Settlement};

    fn brief(job: &Job) -> Job {
        let row = serde_json::to_string(job).expect("is written");
        serde_json::from_str::<JobRowBrief>(&row).expect("is read").into()
    }

    /// Goal: who adds a field to the line, and forgets it in the brief row, is told.
    #[test]
    fn a_line_is_the_same_of_a_row_that_was_read_whole_and_of_one_that_was_not() {
        for state in JobState::ALL {
            let mut job = Job { state: state.into(), workers_max: 3, bytes_worked: 7, ..sample_job() };
            job.account.records_failed = 2;
            job.priority = Priority::new(7).expect("is one");
            job.deadline = None; // it is in no row
            job.source.complete_by = Some(CompleteBy::Marker);
            job.finished_at = Some(job.created_at);
            let (whole, read) = (JobLine::of(job.clone()), JobLine::of(brief(&job)));
            assert_eq!(whole, read);
            let sent = serde_json::to_string(&whole).expect("is written");
            assert_eq!(serde_json::from_str::<JobLine>(&sent).expect("is read"), whole);
            assert_eq!(whole.aborted.is_some(), state == JobState::Aborted, "{whole:?}");
        }
    }

    /// What of a job says what it waits for, where no row says it: pauses, windows, sequences, file systems that hang, deadlines.
    #[test]
    fn a_brief_row_has_what_a_job_is_told_by() {
        let mut job = sample_job();
        job.source.claimed = Some("/in/.landfall/x".into());
        job.source.lies_at = Some("/archive/x".into());
        job.due_at = Some(job.created_at);
        job.retries = Some(Retries { act: 0, numbers: vec![1] });
        job.held_records = HeldRecords { decided: 1, waiting: 2 };
        let read = brief(&job);
        assert_eq!((&read.vars, &read.rule, read.id), (&job.vars, &job.rule, job.id));
        assert_eq!((&read.source.claimed, &read.source.lies_at), (&job.source.claimed, &job.source.lies_at));
        assert_eq!((read.due_at, read.started_at, read.slices), (job.due_at, job.started_at, job.slices));
        assert_eq!((read.bytes_read, &read.retries, &read.state), (job.bytes_read, &job.retries, &job.state));
        assert_eq!(read.held_records, job.held_records);
    }

    #[test]
    fn a_job_that_an_operator_ended_says_so_and_not_what_was_decided_on_its_records_before() {
        let mut job = Job { state: JobState::Aborted.into(), ..sample_job() };
        let end = job.timeline.last().expect("it has some").at + jiff::SignedDuration::from_secs(60);
        job.timeline.push(Moment { at: end, state: JobState::Aborted, detail: "aborted by root".into() });
        let act = Settlement {
            at: end - jiff::SignedDuration::from_secs(30),
            by: "root".into(),
            records: Numbers::upto(3),
            how: Settled::Again { edited: None },
        };
        for mut job in [job.clone(), brief(&job)] {
            settling::tell_in_history(std::slice::from_ref(&act), &mut job);
            assert_eq!(JobLine::of(job).aborted.as_deref(), Some("aborted by root"));
        }
    }
}
