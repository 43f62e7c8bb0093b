//! What is asked of the engine, and why there may be no answer: by commands now; the HTTP API and the dashboard come in by the same door.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::at_rest::KeyRing;
use crate::durable_fs;
use crate::model::account::RecordBytes;
use crate::model::audit::AuditEnd;
use crate::model::configuration::{ConfigurationState, KeptConfiguration, Reloaded};
use crate::model::expected::Overdue;
use crate::model::fault::{Fault, JobError};
use crate::model::file_known::FileKnown;
use crate::model::files_in_view::{FileWaiting, FilesInView};
use crate::model::halts::{Halting, Halts, is_sender};
use crate::model::hash_sought::HashSought;
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;
use crate::model::notice::Notice;
use crate::model::os_text::OsText;
use crate::model::pace::{PaceSetting, PacesSet};
use crate::model::pattern::PathSought;
use crate::model::priority::Priority;
use crate::model::reason::Reason;
use crate::model::rule::Rule;
use crate::model::settling::{Chosen, NumberedRecord, Settlement};
use crate::model::watch_counts::WatchCounts;
use crate::store::{LedgerRow, Published, Verified};

/// Which jobs are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobFilter {
    /// Only those in this state.
    pub state: Option<JobState>,
    /// Only those of this rule.
    pub rule: Option<String>,
    /// Only those of this sender; see [`is_sender`].
    pub sender: Option<String>,
    /// Only those that were claimed at this moment or later.
    pub since: Option<Timestamp>,
    /// Only these; none: all.
    #[serde(default)]
    pub jobs: BTreeSet<JobId>,
    /// Only those that have not ended.
    #[serde(default)]
    pub unfinished: bool,
    /// Only so many: the newest of them.
    pub limit: Option<usize>,
    /// The newest first.
    pub newest_first: bool,
}

impl JobFilter {
    /// Whether no more than so many can pass.
    pub(crate) fn asks_for_at_most(&self, count: usize) -> bool {
        let named = !self.jobs.is_empty() && self.jobs.len() <= count;
        named || self.limit.is_some_and(|limit| limit <= count)
    }

    /// Whether a job is among them.
    pub(crate) fn takes(&self, job: &Job) -> bool {
        (self.jobs.is_empty() || self.jobs.contains(&job.id))
            && self.state.is_none_or(|state| job.state == state)
            && !(self.unfinished && job.state.is_final())
            && self.rule.as_ref().is_none_or(|rule| *rule == job.rule)
            && self
                .sender
                .as_ref()
                .is_none_or(|sender| is_sender(sender, &job.vars, job.source.path.as_path()))
            && self.since.is_none_or(|since| since <= job.created_at)
    }

    /// Whether it takes none that has ended.
    pub(crate) fn takes_unfinished_alone(&self) -> bool {
        self.unfinished || self.state.is_some_and(|state| !state.is_final())
    }

    /// Whether it takes every job, however many and in which order.
    pub(crate) fn takes_all(&self) -> bool {
        *self == Self { newest_first: self.newest_first, ..Self::default() }
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Refusal {
    /// No job goes by this text.
    #[error("there is no job `{text}`")]
    NoSuchJob { text: String },
    /// Several jobs do.
    #[error("several jobs begin or end with `{text}`: {}", ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Ambiguous { text: String, ids: Vec<JobId> },
    /// The job has no such failed record.
    #[error("job {job} has no failed record {number}")]
    NoSuchRecord { job: JobId, number: u64 },
    /// The job has no such entry, or several, and none is named.
    #[error("{}", match entry {
        Some(entry) => format!("job {job} has no entry `{entry}`"),
        None => format!("job {job} has several entries, and each counts its records from 1"),
    })]
    NoSuchEntry { job: JobId, entry: Option<String>, there: Vec<String> },
    /// Its source, or its entry, has fewer records.
    #[error("job {job} has no record {record}{}: there are {records}", entry.as_ref().map(|name| format!(" in entry `{name}`")).unwrap_or_default())]
    SourceHasNoRecord { job: JobId, entry: Option<String>, record: u64, records: u64 },
    /// Only a running service can do it.
    #[error("the service is not running")]
    NotRunning,
    /// Something failed on the way.
    #[error("{}", .0.message)]
    Fault(JobError),
}

impl Refusal {
    /// What the operator can do.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::NoSuchJob { .. } => {
                Some("`landfall jobs` lists them; four characters of an id's end are enough".into())
            }
            Self::Ambiguous { .. } => {
                Some("give more characters, of the end: ids of one time begin alike".into())
            }
            Self::NoSuchRecord { job, .. } => Some(format!("`landfall records {job}` lists them")),
            Self::NoSuchEntry { there, .. } => {
                Some(format!("say which one with `--entry NAME`: {}", there.join(", ")))
            }
            Self::SourceHasNoRecord { .. } => {
                Some("records are counted from 1; the header, and lines that are skipped, are none".into())
            }
            Self::NotRunning => Some("start it with `landfall run`".into()),
            Self::Fault(error) => error.hint.clone(),
        }
    }

    pub(crate) fn from_fault(fault: &dyn Fault) -> Self {
        Self::Fault(JobError::from_fault(fault))
    }
}

/// What is done for whoever asks. A job is named as [`Door::show`] takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Act {
    /// Queues a failed job again, from its source.
    Retry {
        /// The job.
        job: String,
        /// What was decided on its failed records does not count any more.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        forgets_decisions: bool,
        /// Not under the current rule, but under the one that it went by before.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        same_rule: bool,
    },
    /// Lets a job go on publishing without hidden outputs that somebody removed: they count as published.
    AcceptMissing {
        /// The job.
        job: String,
    },
    /// Has a job go before others from now on, or behind them.
    Set {
        /// The job.
        job: String,
        /// The lower goes first.
        priority: Priority,
    },
    /// Limits the workers that a job has at once; 0: no limit of its own.
    SetWorkers {
        /// The job.
        job: String,
        /// How many.
        workers_max: u32,
    },
    /// Stops a job until it is resumed.
    Pause {
        /// The job.
        job: String,
    },
    /// Lets a paused job go on.
    Resume {
        /// The job.
        job: String,
    },
    /// Ends a job of which nothing is published; its source goes to quarantine.
    Abort {
        /// The job.
        job: String,
    },
    /// Takes a completed job again from where its source is kept, as a new job.
    Rerun {
        /// The job.
        job: String,
        /// Whoever asks twice with the same one is told what was made the first time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<String>,
    },
    /// Ends a job that waits for what never comes back, or that failed or was refused, as it stands.
    Abandon {
        /// The job.
        job: String,
        /// Why.
        reason: Reason,
    },
    /// Gives failed records of a completed job up.
    DropRecords {
        /// The job.
        job: String,
        /// Which.
        records: Chosen,
        /// Why.
        reason: Reason,
    },
    /// Has a new job take failed records of a completed one again.
    RetryRecords {
        /// The job.
        job: String,
        /// Which; of all that are left, those that can be.
        records: Chosen,
    },
    /// Has a new job take one failed record of a completed one again, as an operator wrote it anew.
    EditRecord {
        /// The job.
        job: String,
        /// Which.
        number: u64,
        /// What it is to be.
        data_bytes: RecordBytes,
    },
    /// Takes a file under a rule, now; an earlier one of the same file that is not done goes on instead.
    Ingest {
        /// The file's absolute path.
        path: OsText,
        /// The rule's name.
        rule: String,
        /// It is claimed and ends as the rule says; else it stays as it is.
        retire: bool,
    },
    /// Takes a file that whoever asks has just put there, once, to be ended as the rule says; where a watch was faster, it is that job.
    HandOver {
        /// The file's absolute path, without links to its folder.
        path: OsText,
        /// The rule's name.
        rule: String,
        /// What it was when it was put there.
        #[serde(with = "crate::model::identity::as_text")]
        identity: FileIdentity,
    },
    /// Has a file that lies there never taken, as long as it is the same.
    Adopt {
        /// The file's absolute path.
        path: OsText,
    },
    /// Takes that back.
    GiveUp {
        /// The file's absolute path.
        path: OsText,
    },
}

impl Act {
    /// A retry that keeps what was decided on the job's failed records.
    pub(crate) fn retry(job: String) -> Self {
        Self::Retry { job, forgets_decisions: false, same_rule: false }
    }
}

/// What is sought: all that is named must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sought {
    /// Where a source lay, or lies now.
    pub source: Option<PathSought>,
    /// Where an output was published.
    pub output: Option<PathSought>,
    /// The beginning of the hash of a source's content, or of an output's.
    pub hash: Option<HashSought>,
    /// The rule's name.
    pub rule: Option<String>,
    /// Claimed then or later.
    pub since: Option<Timestamp>,
    /// Claimed before then.
    pub until: Option<Timestamp>,
}

/// A source that was claimed, with its job where it is still known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Found {
    pub row: LedgerRow,
    pub job: Option<Box<Job>>,
}

/// Items one after another, read as they are asked for.
pub(crate) type Answers<'a, T> = Box<dyn Iterator<Item = Result<T, Refusal>> + 'a>;

/// The engine, as whoever asks it sees it: in this process, or in the service that has the data folder. Both answer alike.
pub(crate) trait Door: Send + Sync {
    /// The jobs that pass the filter, oldest first unless it says otherwise.
    fn list(&self, filter: &JobFilter) -> Answers<'_, Job>;
    /// The same, of each what a list has of it: much less work where there are many.
    fn lines(&self, filter: &JobFilter) -> Answers<'_, JobLine>;
    /// One job: named by its id, or by at least four characters of the id's beginning or end.
    fn show(&self, job: &str) -> Result<Job, Refusal>;
    /// The keys of the data folder, where it is encrypted and this process has them. They never go from one process to another.
    fn keys(&self) -> Option<Arc<KeyRing>> {
        None
    }
    /// The rule that a job goes by, or went by, as it was then.
    fn rule_of(&self, job: &str) -> Result<Rule, Refusal>;
    /// The sources that were ever claimed and fit, as long as the ledger remembers them, oldest first.
    fn find(&self, sought: &Sought) -> Answers<'_, Found>;
    /// Whether a job would be retried, paused, resumed, aborted, run again or abandoned, as far as that is told without doing it.
    fn would(&self, act: &Act) -> Result<(), Refusal>;
    /// Does it for this user, and says which job it was about.
    fn act_for(&self, act: &Act, by: &str) -> Result<JobId, Refusal>;
    /// The same for the user of this process.
    fn act(&self, act: &Act) -> Result<JobId, Refusal> {
        self.act_for(act, &durable_fs::user_of_process())
    }
    /// Does several things for this user, and answers in their order. A job that keeps whoever pauses or aborts it waiting holds up no other.
    fn act_all_for<'a>(&'a self, acts: Vec<Act>, by: &str) -> Answers<'a, Result<JobId, Refusal>>;
    /// The same for the user of this process.
    fn act_all(&self, acts: Vec<Act>) -> Answers<'_, Result<JobId, Refusal>> {
        self.act_all_for(acts, &durable_fs::user_of_process())
    }
    /// Pauses rules and senders for this user, or lets them go on; false: nothing was to be changed.
    fn halt_for(&self, halting: &Halting, by: &str) -> Result<bool, Refusal>;
    /// The same for the user of this process.
    fn halt(&self, halting: &Halting) -> Result<bool, Refusal> {
        self.halt_for(halting, &durable_fs::user_of_process())
    }
    /// Sets for this user how fast a rule or a group of rules may work; false: it was so.
    fn set_pace_for(&self, setting: &PaceSetting, by: &str) -> Result<bool, Refusal>;
    /// The same for the user of this process.
    fn set_pace(&self, setting: &PaceSetting) -> Result<bool, Refusal> {
        self.set_pace_for(setting, &durable_fs::user_of_process())
    }
    /// What was set so.
    fn paces(&self) -> Result<PacesSet, Refusal>;
    /// Whoever calls himself so reads these jobs, and no others, and says so again within [`super::READER_SILENT_MAX`]: meanwhile none of them
    /// is destroyed because it is done.
    fn note_reader(&self, reader: &str, jobs: &[JobId]) -> Result<(), Refusal>;
    /// What is paused, and what stopped.
    fn halts(&self) -> Result<Halts, Refusal>;
    /// Every change of a job from now on, as long as the engine is there. Never quiet for long: so who listens can look at something else.
    fn subscribe(&self) -> Answers<'_, Notice>;
    /// A job's failed records, in order; with those that are settled, if `all`.
    fn records(&self, job: &str, all: bool) -> Answers<'_, NumberedRecord>;
    /// One failed record by its place in that list, from 1, also if it is settled.
    fn record(&self, job: &str, number: u64) -> Result<NumberedRecord, Refusal>;
    /// What operators decided on a job's failed records, in order.
    fn settlements(&self, job: &str) -> Result<Vec<Settlement>, Refusal>;
    /// What was published before under a rule: of a content, and of a delivery's key.
    fn published(
        &self,
        rule: &str,
        content_hash: Option<&str>,
        delivery_key: Option<&OsText>,
    ) -> Result<Published, Refusal>;
    /// The files that wait to be taken, by path, at most so many, and what is told of folders; none without a service.
    fn files_waiting(&self, files_max: Option<usize>) -> Answers<'_, FileWaiting>;
    /// The same as numbers, however many they are: nobody is asked who may be busy.
    fn files_in_view(&self) -> Result<FilesInView, Refusal>;
    /// What is known of a file beside its jobs.
    fn file_known(&self, path: &OsText) -> Result<FileKnown, Refusal>;
    /// Verifies every value of the store; the last answer is [`Verified::Ended`].
    fn check_store(&self) -> Answers<'_, Verified>;
    /// Whether a service answers.
    fn is_service(&self) -> bool {
        false
    }
    /// Waits until a service answers that took the place of one that ended. False: none came within this.
    fn reach_again(&self, _within: Duration) -> bool {
        false
    }
    /// Has the service read its configuration anew for this user; what became of it.
    fn reload_for(&self, by: &str) -> Result<Reloaded, Refusal>;
    /// The same for the user of this process.
    fn reload(&self) -> Result<Reloaded, Refusal> {
        self.reload_for(&durable_fs::user_of_process())
    }
    /// What the service goes by, and what is wrong with its configuration as it is now; none without a service.
    fn configuration(&self) -> Result<Option<ConfigurationState>, Refusal>;
    /// How the service sees the files that come; none without a service.
    fn watch_counts(&self) -> Result<Option<WatchCounts>, Refusal>;
    /// Each rule of which files are expected (`expect_every`), and from how many none came for too long; none without a service.
    fn overdue(&self) -> Result<Vec<Overdue>, Refusal>;
    /// The configuration that the service goes by, whole.
    fn kept_configuration(&self) -> Result<KeptConfiguration, Refusal>;
    /// Where the audit trail ends, as the store knows it.
    fn audit_end(&self) -> Result<AuditEnd, Refusal>;
    /// Public keys, one for each by which something in the store may be encrypted.
    fn keys_needed(&self) -> Result<Vec<String>, Refusal>;
}

/// Who reads the configuration of a service.
pub(crate) trait Configuration: Send + Sync {
    /// Reads it anew for this user, from files that stand still.
    fn reload(&self, by: &str) -> Result<Reloaded, Refusal>;
    /// What the service goes by.
    fn state(&self) -> ConfigurationState;
    /// The same, whole.
    fn kept(&self) -> KeptConfiguration;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn a_filter_takes_what_it_names_and_all_where_it_names_nothing() {
        let job = World::new().job();
        let all = JobFilter::default();
        let of = |change: fn(&mut JobFilter, &Job)| {
            let mut filter = all.clone();
            change(&mut filter, &job);
            (filter.takes(&job), filter.takes_all())
        };
        assert_eq!(of(|_, _| {}), (true, true));
        assert_eq!(of(|filter, _| filter.newest_first = true), (true, true));
        assert_eq!(of(|filter, _| filter.limit = Some(1)), (true, false), "a limit is for all together");
        assert_eq!(of(|filter, _| filter.unfinished = true), (true, false));
        assert_eq!(of(|filter, job| filter.jobs = [job.id].into()), (true, false));
        assert_eq!(of(|filter, job| filter.jobs = [job.id.successor()].into()), (false, false));
        assert_eq!(of(|filter, job| filter.state = Some(job.state.get())), (true, false));
        assert_eq!(of(|filter, _| filter.state = Some(JobState::Failed)), (false, false));
        assert_eq!(of(|filter, job| filter.rule = Some(job.rule.clone())), (true, false));
        assert_eq!(of(|filter, _| filter.rule = Some("other".into())), (false, false));
        assert_eq!(
            of(|filter, job| filter.since = Some(job.created_at)),
            (true, false),
            "that moment is in it"
        );
        let later = |filter: &mut JobFilter, job: &Job| {
            filter.since = Some(job.created_at + jiff::SignedDuration::from_nanos(1));
        };
        assert_eq!(of(later), (false, false));
    }

    /// A command of another build may be at the other end: what it sends is told by these words.
    #[test]
    fn what_is_asked_and_refused_keeps_its_words_on_the_way_to_another_process() {
        let id = JobId::from_parts(1, 0);
        let asked = [
            Act::retry("a".into()),
            Act::Retry { job: "a".into(), forgets_decisions: true, same_rule: false },
            Act::Retry { job: "a".into(), forgets_decisions: false, same_rule: true },
            Act::AcceptMissing { job: "a".into() },
            Act::Set { job: "a".into(), priority: Priority::default() },
            Act::SetWorkers { job: "a".into(), workers_max: 1 },
            Act::Pause { job: "a".into() },
            Act::Resume { job: "a".into() },
            Act::Abort { job: "a".into() },
            Act::Rerun { job: "a".into(), idempotency_key: None },
            Act::Abandon { job: "a".into(), reason: "gone".parse().expect("is one") },
            Act::DropRecords {
                job: "a".into(),
                records: Chosen::All,
                reason: "old".parse().expect("is one"),
            },
            Act::RetryRecords { job: "a".into(), records: "3".to_owned().try_into().expect("a number") },
            Act::EditRecord { job: "a".into(), number: 3, data_bytes: RecordBytes(b"1,a".to_vec()) },
            Act::Ingest { path: "/in/a.csv".into(), rule: "payments".into(), retire: true },
            Act::HandOver {
                path: "/in/a.csv".into(),
                rule: "payments".into(),
                identity: FileIdentity { device: 1, inode: 2, size: 3, mtime_ns: 4, ctime_ns: 5 },
            },
            Act::Adopt { path: "/in/a.csv".into() },
            Act::GiveUp { path: "/in/a.csv".into() },
        ];
        let words = r#"[{"retry":{"job":"a"}},{"retry":{"job":"a","forgets_decisions":true}},{"retry":{"job":"a","same_rule":true}},{"accept_missing":{"job":"a"}},{"set":{"job":"a","priority":50}},{"set_workers":{"job":"a","workers_max":1}},{"pause":{"job":"a"}},{"resume":{"job":"a"}},{"abort":{"job":"a"}},{"rerun":{"job":"a"}},{"abandon":{"job":"a","reason":"gone"}},{"drop_records":{"job":"a","records":"all","reason":"old"}},{"retry_records":{"job":"a","records":"3"}},{"edit_record":{"job":"a","number":3,"data_bytes":"MSxh"}},{"ingest":{"path":"/in/a.csv","rule":"payments","retire":true}},{"hand_over":{"path":"/in/a.csv","rule":"payments","identity":"{\"device\":1,\"inode\":2,\"size\":3,\"mtime_ns\":4,\"ctime_ns\":5}"}},{"adopt":{"path":"/in/a.csv"}},{"give_up":{"path":"/in/a.csv"}}]"#;
        assert_eq!(serde_json::to_string(&asked).expect("is written"), words);
        let refused = [
            Refusal::NoSuchJob { text: "a".into() },
            Refusal::Ambiguous { text: "a".into(), ids: vec![id] },
            Refusal::NoSuchRecord { job: id, number: 3 },
            Refusal::NotRunning,
        ];
        for refusal in refused {
            let told = serde_json::to_string(&refusal).expect("is written");
            assert_eq!(serde_json::from_str::<Refusal>(&told).expect("is read"), refusal);
            assert!(refusal.hint().is_some(), "{refusal}: whoever is refused is told what to do");
        }
    }
}
