//! Jobs: the work for one source, as it is stored and shown.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::category::Category;
pub(crate) use super::companion::Companion;
use super::complete_by::CompleteBy;
use super::deadline::DeadlineReport;
use super::default::is_default;
use super::delivery::Delivery;
use super::fault::{JobError, WaitsFor};
use super::identity::{FileIdentity, FolderIdentity, KeptAs};
use super::job_id::JobId;
use super::job_state::{IllegalTransition, JobEvent, JobState};
use super::os_text::OsText;
use super::priority::Priority;
use super::privacy::Privacy;
use super::rule::{OnSuccess, Rule};
use super::shadow::Shadow;
use super::standing::Standing;
use super::throughput::Throughput;

/// What a restart says of a job that it goes on with: no news of the job itself.
pub(crate) const RESTARTED: &str = "the service started again";
/// Moments of a job that are kept at most.
const MOMENTS_MAX: usize = 100;

/// The work for one source, with a lifecycle that an operator sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Sorts by time.
    pub id: JobId,
    /// The rule's name.
    pub rule: String,
    /// Which snapshot of the rule; the store has it under this hash.
    pub(crate) rule_hash: String,
    /// The rule's named wildcards.
    pub vars: BTreeMap<String, OsText>,
    /// The file it is made from.
    pub source: Source,
    /// Where it is in its life.
    pub(crate) state: Standing,
    /// Whether it goes before others: as its rule said when it was claimed, or as an operator said since.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) priority: Priority,
    /// At most so many workers at once; 0: no limit of its own.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) workers_max: u32,
    /// What it waits for, where it does.
    #[serde(default, skip_serializing_if = "is_default")]
    pub waiting: Option<Waiting>,
    /// When it was claimed.
    pub created_at: Timestamp,
    /// By when it is to be done, as its rule said when it was claimed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub due_at: Option<Timestamp>,
    /// How it stands to that: only where it is shown, never in its row.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) deadline: Option<DeadlineReport>,
    /// How it went over time.
    #[serde(default, skip_serializing_if = "Throughput::is_trivial")]
    pub(crate) throughput: Throughput,
    /// When it was first taken by a loader.
    #[serde(default, skip_serializing_if = "is_default")]
    pub started_at: Option<Timestamp>,
    /// When it reached a final state.
    #[serde(default, skip_serializing_if = "is_default")]
    pub finished_at: Option<Timestamp>,
    /// Bytes of the source that were read.
    pub bytes_read: u64,
    /// Of those, bytes whose records are worked and collected, as far as the slices tell.
    #[serde(default, skip_serializing_if = "is_default")]
    pub bytes_worked: u64,
    /// Bytes after decryption and decompression.
    pub bytes_decoded: u64,
    /// `blake3:` and the hash of the decoded content: a plain file's bytes, an archive's entries with their names; once all are read.
    #[serde(default, skip_serializing_if = "is_default")]
    pub content_hash: Option<String>,
    /// Characters that `on_bad_encoding = "replace"` replaced.
    pub characters_replaced: u64,
    /// The last record of an entry had no line end, or separator, behind it: it may have been cut off.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unterminated: bool,
    /// Where its records went.
    pub account: Account,
    /// Its entries, in order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub entries: Vec<Entry>,
    /// How far it is.
    pub(crate) slices: Slices,
    /// In which epoch of a cluster its node has it; 0: there is no cluster.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) epoch: u64,
    /// How often it was started, clean stops not counted.
    pub attempts: u32,
    /// Whether it can go on from a checkpoint; false where an output is encrypted.
    pub(crate) resumable: bool,
    /// Slices that need not run again because a checkpoint has them, when it was last started.
    pub(crate) resumed_at_slice: u64,
    /// Records in those slices: they did not run again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) resumed_at_record: u64,
    /// How many records ran again because a start did not come to the job's end, all together; after a power cut it may be more.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) records_again: u64,
    /// Its outputs: planned from `publishing` on, there from `retiring` on.
    #[serde(default, skip_serializing_if = "is_default")]
    pub outputs: Vec<PublishedOutput>,
    /// Where the archive, or the quarantine, has the source.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retired_to: Option<OsText>,
    /// Why it failed or is held.
    #[serde(default, skip_serializing_if = "is_default")]
    pub error: Option<JobError>,
    /// What happened when, oldest first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub timeline: Vec<Moment>,
    /// Whether it is a resend, and of what.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) delivery: Delivery,
    /// Its file was taken away before it was read to its end: it does not come again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) is_gone: bool,
    /// The completed job that this one takes again, from its archive; or some failed records of which.
    #[serde(default, skip_serializing_if = "is_default")]
    pub parent: Option<JobId>,
    /// The jobs that took this one again from its archive, the newest last; the oldest of very many are left out.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) reruns: Vec<Rerun>,
    /// It takes failed records of that one, and no file.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) retries: Option<Retries>,
    /// Whether what is said of it quotes its records.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) privacy: Privacy,
    /// Which of its failed records it waits for, or was decided on (`errors.on_record_error = "hold"`).
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) held_records: HeldRecords,
    /// An operator gave it up while it waited.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) abandoned: Option<Abandoned>,
    /// It published nothing: what would have been.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) shadow: Option<Box<Shadow>>,
}

/// A job that takes a completed one again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rerun {
    /// That job.
    pub job: JobId,
    /// The hash of the word by which whoever asked for it knows it again; none: it was asked for without one.
    #[serde(default, skip_serializing_if = "is_default")]
    pub asked_as: Option<String>,
}

/// What a job has of its list of failed records that waits for each of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeldRecords {
    /// So many of the list, the first ones, were decided on before it was begun last: by that its records are worked.
    pub decided: u64,
    /// It waits until so many are, all that there are; 0: it waits for none.
    pub waiting: u64,
}

/// Which failed records of its parent a job takes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retries {
    /// The parent's [`super::settling::Settlement`] that has them.
    pub act: u64,
    /// Which retry it is, of the parent and of those that the parent retries itself, the first one first: `-retry1` in names.
    pub numbers: Vec<u32>,
}

/// An operator's word that a job is given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Abandoned {
    /// Who said so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// The file that a job is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Where it lay when it was found.
    pub path: OsText,
    /// Where it lies while it is ours; none for `keep` and for `ingest` without `--retire`.
    #[serde(default, skip_serializing_if = "is_default")]
    #[doc(hidden)]
    pub claimed: Option<OsText>,
    /// Where it lies instead, and stays: in the archive of the job that it is taken from again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) lies_at: Option<OsText>,
    /// The folder that it is claimed into, or in which it stays: another one in its place has nothing of ours.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) claim_folder: Option<FolderIdentity>,
    /// What more is known of it, where it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kept_as: Option<KeptAs>,
    /// What it was when it was claimed.
    pub(crate) identity: FileIdentity,
    /// Its marker and other companion files, retired with it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) companions: Vec<Companion>,
    /// By what it counted as complete.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) complete_by: Option<CompleteBy>,
    /// Whether retiring follows the rule; false for `ingest` without `--retire`: the file stays as it is.
    #[doc(hidden)]
    pub retire: bool,
    /// It was written to after it was read, and went to quarantine although its job is completed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) is_set_apart: bool,
    /// What is kept of it is a copy: it had a second name when it was retired, or a writer, who could have changed it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) is_copied: bool,
    /// The copy that was made of it and not renamed yet, when that was written: behind a crash nothing else counts as its copy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub(crate) copied_as: Option<FileIdentity>,
}

impl Source {
    /// A source where it was found: not claimed, alone, and to be retired as its rule says.
    #[doc(hidden)]
    pub fn found(path: impl Into<OsText>, identity: FileIdentity) -> Self {
        Self {
            path: path.into(),
            claimed: None,
            lies_at: None,
            claim_folder: None,
            kept_as: None,
            identity,
            companions: Vec::new(),
            complete_by: None,
            retire: true,
            is_set_apart: false,
            is_copied: false,
            copied_as: None,
        }
    }

    /// Notes the copy that is on its way to where the source goes.
    pub(crate) fn note_copy(&mut self, copy: FileIdentity) {
        self.copied_as = Some(copy);
    }

    /// Forgets all copies that were made of it and of what belongs to it.
    pub(crate) fn forget_copies(&mut self) {
        self.copied_as = None;
        self.companions.iter_mut().for_each(|companion| companion.copied_as = None);
    }

    /// Whether a rule can end it: what stays where it lies was not claimed, and what was claimed cannot stay.
    pub(crate) fn ends_as(&self, rule: &Rule) -> bool {
        !self.retire || self.claimed.is_some() == (rule.source.on_success != OnSuccess::Keep)
    }
}

/// What a job waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// In one word.
    #[serde(rename = "for")]
    pub waits_for: WaitsFor,
    /// When it is tried again.
    pub until: Option<Timestamp>,
    /// In a sentence.
    pub detail: String,
    /// The job that comes first, and goes on by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behind: Option<JobId>,
}

/// Between the path and the seconds of one that hangs.
const NOT_ANSWERED: &str = " has not answered for ";

impl Waiting {
    /// For a file system that has not answered for so long. Nothing is written of it: it may answer any moment.
    pub(crate) fn for_answer(path: &str, seconds: u64) -> Self {
        let detail = format!("a mount: the file system of {path}{NOT_ANSWERED}{seconds} s");
        Self { waits_for: WaitsFor::Mount, until: None, detail, behind: None }
    }

    /// Whether nobody has to do anything: a file system that has not answered yet, a limit of its work, a job before it.
    pub(crate) fn is_passing(&self) -> bool {
        let is_for_answer = self.waits_for == WaitsFor::Mount && self.detail.contains(NOT_ANSWERED);
        is_for_answer || self.waits_for == WaitsFor::Throttle || self.behind.is_some()
    }
}

/// One member of an archive; a plain file is one entry without a name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path in the archive; empty for a plain file.
    pub name: String,
    /// Records in it.
    pub records: u64,
    /// Its last record had no line end, or separator, behind it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unterminated: bool,
    /// Why it was passed over (`symbolic link`, `hidden`); it has no records then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skipped: Option<String>,
}

/// How many slices a job has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slices {
    /// Cut so far.
    pub total: u64,
    /// Collected.
    pub done: u64,
    /// Broken by a step and worked record by record.
    pub failed: u64,
}

/// An output of a job under its final name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedOutput {
    /// The category it holds.
    pub category: Category,
    /// The entry it holds, where the template has `{entry}`.
    pub entry: Option<String>,
    /// Its final path.
    pub path: OsText,
    /// Records in it, the header not counted.
    pub records: u64,
    /// Its size.
    pub bytes: u64,
    /// Hexadecimal, where the rule asks for it.
    pub sha256: Option<String>,
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// In which state it was from then on.
    pub state: JobState,
    /// In a sentence; empty where the state says it.
    pub detail: String,
}

impl Job {
    /// Where it is in its life.
    pub fn state(&self) -> JobState {
        self.state.get()
    }

    /// A job that was just claimed.
    #[doc(hidden)]
    pub fn queued(id: JobId, rule: &str, rule_hash: &str, source: Source, at: Timestamp) -> Self {
        Self {
            id,
            rule: rule.to_owned(),
            rule_hash: rule_hash.to_owned(),
            vars: BTreeMap::new(),
            source,
            state: JobState::Queued.into(),
            priority: Priority::default(),
            workers_max: 0,
            waiting: None,
            created_at: at,
            due_at: None,
            deadline: None,
            throughput: Throughput::default(),
            started_at: None,
            finished_at: None,
            bytes_read: 0,
            bytes_worked: 0,
            bytes_decoded: 0,
            content_hash: None,
            characters_replaced: 0,
            unterminated: false,
            account: Account::default(),
            entries: Vec::new(),
            slices: Slices::default(),
            epoch: 0,
            attempts: 0,
            resumable: true,
            resumed_at_slice: 0,
            resumed_at_record: 0,
            records_again: 0,
            outputs: Vec::new(),
            retired_to: None,
            error: None,
            timeline: vec![Moment { at, state: JobState::Queued, detail: "claimed".to_owned() }],
            delivery: Delivery::default(),
            is_gone: false,
            parent: None,
            reruns: Vec::new(),
            retries: None,
            privacy: Privacy::default(),
            held_records: HeldRecords::default(),
            abandoned: None,
            shadow: None,
        }
    }

    /// What is worked of the source, by the slices: they hold about equally much.
    pub(crate) fn reckon_worked(&mut self) {
        let Slices { done, total, .. } = self.slices;
        let worked = u128::from(self.bytes_read) * u128::from(done.min(total)) / u128::from(total.max(1));
        self.bytes_worked = u64::try_from(worked).unwrap_or(self.bytes_read);
    }

    /// Moves the job on and writes the moment down.
    #[doc(hidden)]
    pub fn take(&mut self, event: JobEvent, at: Timestamp, detail: &str) -> Result<(), IllegalTransition> {
        self.state.take(event)?;
        let next = self.state.get();
        self.waiting = None;
        if event == JobEvent::Started {
            self.started_at.get_or_insert(at);
        }
        self.finished_at = next.is_final().then_some(at);
        self.write_down(Moment { at, state: next, detail: detail.to_owned() });
        Ok(())
    }

    /// Writes down what happened to the job without moving it on.
    pub(crate) fn note(&mut self, at: Timestamp, detail: &str) {
        self.write_down(Moment { at, state: self.state.get(), detail: detail.to_owned() });
    }

    /// What was written down beside the moves from state to state.
    pub(crate) fn remarks(&self) -> impl Iterator<Item = &str> {
        let stays = |pair: &&[Moment]| matches!(pair, [before, after] if before.state == after.state);
        let details = self.timeline.windows(2).filter(stays).filter_map(|pair| pair.last());
        details.map(|moment| moment.detail.as_str()).filter(|detail| !detail.is_empty())
    }

    /// A job that is held for one reason again and again keeps one moment for it, so that waiting for days costs nothing.
    fn write_down(&mut self, moment: Moment) {
        if moment.state == JobState::Held {
            let same = |held: &Moment| held.state == JobState::Held && held.detail == moment.detail;
            // What has a word of its own, like an interruption, stays.
            let waits = |between: &Moment| {
                matches!(between.state, JobState::Queued | JobState::Running) && between.detail.is_empty()
            };
            if let Some(first) = self.timeline.iter().rposition(same)
                && self.timeline[first + 1..].iter().all(waits)
            {
                self.timeline.truncate(first + 1);
                return;
            }
        }
        self.timeline.push(moment);
        self.trim_history();
    }

    /// So that it does not grow for ever: the beginning and the end tell most.
    pub(crate) fn trim_history(&mut self) {
        while self.timeline.len() > MOMENTS_MAX {
            self.timeline.remove(MOMENTS_MAX / 2);
        }
    }

    /// Whether it has been held for this reason since it was queued with a word of its own: an operator's, or that its failed records are
    /// decided on. What is found again after that is news.
    pub(crate) fn was_held_for(&self, detail: &str) -> bool {
        let has_word = |moment: &&Moment| {
            moment.state == JobState::Queued && !moment.detail.is_empty() && moment.detail != RESTARTED
        };
        let since = self.timeline.iter().rev().take_while(|moment| !has_word(moment));
        since.into_iter().any(|moment| moment.state == JobState::Held && moment.detail == detail)
    }

    /// Whether an earlier delivery of its key comes first.
    pub(crate) fn waits_for_delivery(&self) -> bool {
        self.waiting.as_ref().is_some_and(|waiting| waiting.waits_for == WaitsFor::Delivery)
    }

    /// Whether it is still open what becomes of its delivery: neither on its way to be published nor at an end, nor in an operator's hands.
    pub(crate) fn is_undecided(&self) -> bool {
        let is_decided = self.state.is_final() || self.state.is_past_intent() || self.is_failing();
        !(is_decided || self.waits_for_settling())
    }

    /// Whether its state lets an operator take it from its source again; an output that is lacking is another matter.
    pub(crate) fn is_retriable(&self) -> bool {
        if self.retries.is_some() && self.state.is_final() {
            return false; // its records went back to its parent
        }
        matches!(self.state.get(), JobState::Failed | JobState::Refused)
            || self.was_ended_by_operator()
            || self.waits_for_settling()
            || self.waits_for_delivery()
    }

    /// Whether an operator ended it, with nothing of it published: its source is still ours, or stays where it lies.
    pub(crate) fn was_ended_by_operator(&self) -> bool {
        let has_source =
            self.retired_to.is_some() || self.source.claimed.is_none() || self.abandoned.is_some();
        self.state == JobState::Aborted && has_source && !self.is_gone && self.outputs.is_empty()
    }

    /// Whether it waits in the middle of publishing: a hidden output of it may be gone, perhaps with its folder, and then it cannot go on
    /// without an operator's word. Its intent tells.
    pub(crate) fn may_lack_an_output(&self) -> bool {
        self.state == JobState::Publishing && self.waiting.is_some()
    }

    /// Where the source lies as far as the row knows.
    pub(crate) fn source_path(&self) -> &OsText {
        let Source { claimed, lies_at, path, .. } = &self.source;
        claimed.as_ref().or(lies_at.as_ref()).unwrap_or(path)
    }

    /// Whether its claimed source is still in its claim folder after its end, as far as is known: nobody who looks there takes it for a stray.
    pub(crate) fn leaves_its_source(&self) -> bool {
        self.state == JobState::Failed || self.abandoned.is_some()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::model) fn job() -> Job {
        let identity = FileIdentity { device: 1, inode: 2, size: 3, mtime_ns: 4, ctime_ns: 5 };
        let source = Source::found("in/pay.csv", identity);
        Job::queued(JobId::from_parts(1, 1), "rule", "hash", source, Timestamp::UNIX_EPOCH)
    }

    fn try_again(job: &mut Job, reason: &str) {
        job.take(JobEvent::Started, Timestamp::UNIX_EPOCH, "").expect("starts");
        job.take(JobEvent::Hindered, Timestamp::UNIX_EPOCH, reason).expect("is held");
        job.take(JobEvent::Mended, Timestamp::UNIX_EPOCH, "").expect("is tried again");
    }

    #[test]
    fn a_job_that_waits_for_days_keeps_a_short_timeline() {
        let mut job = job();
        for _ in 0..1000 {
            try_again(&mut job, "no key");
        }
        assert!(job.timeline.len() < 10, "{}", job.timeline.len());
        for number in 0..1000 {
            try_again(&mut job, &format!("no key {number}"));
        }
        assert_eq!(job.timeline.len(), MOMENTS_MAX);
        assert_eq!(job.timeline[0].detail, "claimed");
    }

    #[test]
    fn every_interruption_stays_in_the_timeline_of_a_job_that_waits() {
        let mut job = job();
        for _ in 0..3 {
            try_again(&mut job, "no key");
            try_again(&mut job, "no key");
            job.take(JobEvent::Started, Timestamp::UNIX_EPOCH, "").expect("starts");
            job.take(JobEvent::Recovered, Timestamp::UNIX_EPOCH, RESTARTED).expect("goes on");
            job.note(Timestamp::UNIX_EPOCH, "the service died");
        }
        let told = |detail: &str| job.timeline.iter().filter(|moment| moment.detail == detail).count();
        assert_eq!((told(RESTARTED), told("the service died")), (3, 3));
        assert!(job.timeline.len() < 20, "{:#?}", job.timeline);
    }
}
