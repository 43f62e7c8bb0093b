//! What does not go on until an operator says so: rules and senders that are paused, rules that stopped after failures.
//!
//! One value, kept as a whole. A pause holds back every job of its scope that is not on its way to be published, and no file of it is
//! claimed. A rule that stopped claims nothing; its jobs go on.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::job::Job;
use super::job_id::JobId;
use super::os_text::{OsText, escaped};
use super::shell;

/// Whose files: of a rule, of a sender, of both, or all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    /// The rule's name.
    pub rule: Option<String>,
    /// See [`is_sender`].
    pub sender: Option<String>,
}

/// The name by which a rule's pattern tells senders apart.
const SENDER: &str = "sender";

/// Whose a file is, where its rule's pattern tells.
pub(crate) fn sender_of(vars: &BTreeMap<String, OsText>) -> Option<&OsText> {
    vars.get(SENDER)
}

/// Whether a file is of this sender: by `{sender}` of its rule's pattern, or by the folder in which it was found.
pub(crate) fn is_sender(sender: &str, vars: &BTreeMap<String, OsText>, path: &Path) -> bool {
    let by_name = || sender_of(vars).is_some_and(|named| named.as_os_str() == sender);
    path.parent() == Some(Path::new(sender)) || by_name()
}

impl Scope {
    /// Whether a file that was found there is in it.
    pub(crate) fn takes(&self, rule: &str, vars: &BTreeMap<String, OsText>, path: &Path) -> bool {
        self.rule.as_ref().is_none_or(|named| named == rule)
            && self.sender.as_ref().is_none_or(|named| is_sender(named, vars, path))
    }

    /// Whether everything of another one is in it.
    pub(crate) fn holds(&self, other: &Self) -> bool {
        let is_in = |own: &Option<String>, of: &Option<String>| own.is_none() || own == of;
        is_in(&self.rule, &other.rule) && is_in(&self.sender, &other.sender)
    }

    /// The options of a command by which it is meant; none for everything.
    pub(crate) fn options(&self) -> String {
        let named = |option: &str, value: &Option<String>| {
            let word = |value: &String| shell::word(Path::new(value));
            value.as_ref().map_or_else(String::new, |value| format!(" --{option} {}", word(value)))
        };
        named("rule", &self.rule) + &named("sender", &self.sender)
    }

    /// Whether a job is.
    pub(crate) fn takes_job(&self, job: &Job) -> bool {
        self.takes(&job.rule, &job.vars, job.source.path.as_path())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Anybody may say it who may pause, and everybody reads it.
        let escaped = |name: &Option<String>| name.as_ref().map(|name| escaped(OsStr::new(name)));
        match (escaped(&self.rule), escaped(&self.sender)) {
            (Some(rule), Some(sender)) => write!(f, "sender \"{sender}\" of rule \"{rule}\""),
            (Some(rule), None) => write!(f, "rule \"{rule}\""),
            (None, Some(sender)) => write!(f, "sender \"{sender}\""),
            (None, None) => f.write_str("everything"),
        }
    }
}

/// A scope that an operator paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pause {
    /// What of it.
    #[serde(flatten)]
    pub scope: Scope,
    /// Since when.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

impl Pause {
    /// The same, and what ends it.
    pub(crate) fn told(&self) -> String {
        format!("{self}: {}", self.remedy())
    }

    /// The command that ends it.
    pub(crate) fn remedy(&self) -> String {
        let words = if self.scope == Scope::default() { " --all".to_owned() } else { self.scope.options() };
        format!("`landfall resume{words}` lets it go on")
    }
}

impl fmt::Display for Pause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scope, at, by } = self;
        write!(f, "{scope} was paused by {by} at {}", at.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

/// What an operator says of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Halting {
    /// Nothing of it goes on, and no file of it is claimed.
    Pause(Scope),
    /// It goes on; a rule that stopped by itself, too.
    Resume(Scope),
}

/// How the last jobs of a rule ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FailedInARow {
    /// So many failed, and none was completed since.
    pub failures: u32,
    /// The last of them: it is not counted twice.
    pub last: JobId,
    /// Since when the rule claims nothing because of that.
    pub stopped_at: Option<Timestamp>,
}

/// A failed job behind which its rule's sequence stops.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SequenceStop {
    /// The rule's name.
    pub rule: String,
    /// Of which folder's files, where each folder has a sequence of its own.
    pub folder: Option<OsText>,
    /// Where the file of the failed job lay.
    pub source: OsText,
    /// Since when.
    pub at: Timestamp,
    /// The job is retried, and has not ended again: only where it is told, never in the row.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_retried: bool,
}

impl SequenceStop {
    /// Whose jobs wait for which, and what ends it.
    pub(crate) fn told(&self, id: JobId) -> String {
        let Self { rule, folder, source, is_retried, .. } = self;
        let of = folder.as_ref().map_or_else(String::new, |folder| format!(" for files of {folder}"));
        if *is_retried {
            return format!(
                "the sequence of rule \"{rule}\"{of} waits for job {id} ({source}), which failed and is retried: those behind it go on once it is completed"
            );
        }
        format!(
            "the sequence of rule \"{rule}\"{of} stopped behind job {id} ({source}), which failed: `landfall retry {id}`, or `landfall abandon {id} --reason …`, lets those behind it go on"
        )
    }
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Halts {
    /// In the order in which they were said.
    pub pauses: Vec<Pause>,
    /// By the rule's name.
    pub failed: BTreeMap<String, FailedInARow>,
    /// Failed jobs with others behind them in a sequence, or to come.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sequences: BTreeMap<JobId, SequenceStop>,
}

impl Halts {
    /// The first pause that holds a job back.
    pub(crate) fn pause_of(&self, job: &Job) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.scope.takes_job(job))
    }

    /// The same of a file that was found there.
    pub(crate) fn pause_of_file(
        &self,
        rule: &str,
        vars: &BTreeMap<String, OsText>,
        path: &Path,
    ) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.scope.takes(rule, vars, path))
    }

    /// All that holds a job back, with what ends it: each must be lifted.
    pub(crate) fn why_held_back(&self, job: &Job) -> Option<String> {
        all_told(self.pauses.iter().filter(|pause| pause.scope.takes_job(job)).map(Pause::told))
    }

    /// All that holds a whole scope back, besides what was said of it in the same words.
    pub(crate) fn why_held_back_whole(&self, scope: &Scope) -> Option<String> {
        let holds = |pause: &&Pause| pause.scope.holds(scope) && pause.scope != *scope;
        all_told(self.pauses.iter().filter(holds).map(Pause::told))
    }

    /// The pause that was said of a scope in the same words.
    pub(crate) fn pause_in_words(&self, scope: &Scope) -> Option<&Pause> {
        self.pauses.iter().find(|pause| pause.scope == *scope)
    }

    /// Why a file that was found there is not claimed.
    pub(crate) fn why_not_claimed(
        &self,
        rule: &str,
        vars: &BTreeMap<String, OsText>,
        path: &Path,
    ) -> Option<String> {
        let pauses = self.pauses.iter().filter(|pause| pause.scope.takes(rule, vars, path));
        all_told(pauses.map(Pause::told).chain(self.stop_of(rule)))
    }

    /// Why a rule claims nothing, where it stopped after failures.
    pub(crate) fn stop_of(&self, rule: &str) -> Option<String> {
        let of = self.failed.get(rule).filter(|of| of.stopped_at.is_some())?;
        let (failures, last) = (of.failures, of.last);
        Some(format!(
            "rule \"{rule}\" stopped after {failures} failed jobs in a row (`errors.stop_after`), the last is {last}: `landfall resume --rule {rule}` lets it go on"
        ))
    }

    /// The failed job behind which a job waits, as far as this tells; and what is to be done.
    pub(crate) fn sequence_stop_of(&self, job: &Job) -> Option<String> {
        let parent = job.source.path.as_path().parent();
        let is_of = |stop: &SequenceStop| {
            stop.rule == job.rule
                && stop.folder.as_ref().is_none_or(|folder| parent == Some(folder.as_path()))
        };
        let is_behind = job.retries.is_none() && !self.sequences.contains_key(&job.id);
        let stop = self.sequences.iter().find(|(_, stop)| is_behind && is_of(stop));
        stop.map(|(id, stop)| stop.told(*id))
    }

    /// Pauses a scope; false: it is paused.
    pub(crate) fn pause(&mut self, scope: Scope, at: Timestamp, by: &str) -> bool {
        let is_new = self.pauses.iter().all(|pause| pause.scope != scope);
        if is_new {
            self.pauses.push(Pause { scope, at, by: by.to_owned() });
        }
        is_new
    }

    /// Whether there is something to take back of this scope: the same as [`Self::resume`] says.
    pub(crate) fn is_said(&self, scope: &Scope) -> bool {
        self.clone().resume(scope)
    }

    /// Takes that back, of this scope alone; of a rule, also that it stopped. False: neither was said.
    pub(crate) fn resume(&mut self, scope: &Scope) -> bool {
        let before = self.pauses.len();
        self.pauses.retain(|pause| pause.scope != *scope);
        let stopped = match scope {
            Scope { rule: Some(rule), sender: None } => {
                self.failed.remove(rule).is_some_and(|of| of.stopped_at.is_some())
            }
            _ => false,
        };
        self.pauses.len() < before || stopped
    }

    /// A job of the rule failed, which stops after so many in a row. True: it stops now. Where it has stopped, a retry that fails is in no row.
    pub(crate) fn note_failed(&mut self, rule: &str, job: JobId, stop_after: u32, at: Timestamp) -> bool {
        let new = || FailedInARow { failures: 0, last: job, stopped_at: None };
        let of = self.failed.entry(rule.to_owned()).or_insert_with(new);
        if of.stopped_at.is_some() || of.failures > 0 && of.last == job {
            return false;
        }
        of.failures += 1;
        of.last = job;
        let stops = of.failures >= stop_after;
        if stops {
            of.stopped_at = Some(at);
        }
        stops
    }

    /// A job of the rule was completed: what failed before it counts no more. A rule that stopped waits for its operator all the same.
    pub(crate) fn note_completed(&mut self, rule: &str) -> bool {
        let counts = self.failed.get(rule).is_some_and(|of| of.stopped_at.is_none());
        if counts {
            self.failed.remove(rule);
        }
        counts
    }
}

fn all_told(told: impl Iterator<Item = String>) -> Option<String> {
    let told: Vec<_> = told.collect();
    (!told.is_empty()).then(|| told.join("; and "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(number: u64) -> JobId {
        JobId::from_parts(number, 0)
    }

    fn scope(rule: Option<&str>, sender: Option<&str>) -> Scope {
        Scope { rule: rule.map(str::to_owned), sender: sender.map(str::to_owned) }
    }

    #[test]
    fn a_sender_is_known_by_its_name_in_the_pattern_and_by_its_folder() {
        let vars = BTreeMap::from([("sender".to_owned(), OsText::from("acme"))]);
        let path = Path::new("/in/acme/pay.csv");
        let takes = |rule, sender| scope(rule, sender).takes("payments", &vars, path);
        assert!(takes(None, None) && takes(Some("payments"), None) && takes(None, Some("acme")));
        assert!(takes(Some("payments"), Some("/in/acme")));
        assert!(
            !takes(Some("other"), Some("acme")) && !takes(None, Some("acm")) && !takes(None, Some("/in"))
        );
    }

    #[test]
    fn a_pause_is_taken_back_by_the_same_words_and_leaves_others() {
        let mut halts = Halts::default();
        let (all, rule) = (scope(None, None), scope(Some("payments"), None));
        assert!(halts.pause(all.clone(), Timestamp::UNIX_EPOCH, "root"));
        assert!(halts.pause(rule.clone(), Timestamp::UNIX_EPOCH, "root"));
        assert!(!halts.pause(rule.clone(), Timestamp::UNIX_EPOCH, "another"), "it is paused");
        assert!(halts.resume(&all) && !halts.resume(&all));
        let why = halts.why_not_claimed("payments", &BTreeMap::new(), Path::new("/in/a"));
        assert!(why.is_some_and(|why| why.contains("paused by root")));
        assert!(halts.resume(&rule) && halts == Halts::default());
    }

    #[test]
    fn all_that_holds_a_file_or_a_scope_back_is_told_each_with_the_command_that_lifts_it() {
        let mut halts = Halts::default();
        let rule = scope(Some("payments"), None);
        for scope in
            [rule.clone(), scope(None, None), scope(None, Some("it's new")), scope(Some("other"), None)]
        {
            halts.pause(scope, Timestamp::UNIX_EPOCH, "root");
        }
        let vars = BTreeMap::from([("sender".to_owned(), OsText::from("it's new"))]);
        let why = halts.why_not_claimed("payments", &vars, Path::new("/in/a")).expect("is held back");
        for command in ["--rule payments`", "--all`", r"--sender 'it'\''s new'`"] {
            assert!(why.contains(&format!("`landfall resume {command}")), "{why}");
        }
        assert!(!why.contains("other"), "{why}");
        let whole = halts.why_held_back_whole(&rule).expect("is held back");
        assert!(whole.starts_with("everything was paused") && !whole.contains("; and "), "{whole}");
        assert!(halts.pause_in_words(&rule).is_some());
        assert_eq!(Halts::default().why_held_back_whole(&rule), None);
    }

    #[test]
    fn a_scope_is_told_without_what_a_terminal_would_obey() {
        let told = scope(None, Some("x\x1b[31m\n")).to_string();
        assert!(!told.contains(['\x1b', '\n']) && told.contains("[31m"), "{told}");
    }

    #[test]
    fn a_rule_stops_after_so_many_failures_in_a_row_each_job_counted_once() {
        let mut halts = Halts::default();
        let fail =
            |halts: &mut Halts, number| halts.note_failed("payments", job(number), 2, Timestamp::UNIX_EPOCH);
        assert!(!fail(&mut halts, 1) && !fail(&mut halts, 1), "the same job");
        assert!(halts.note_completed("payments") && !halts.note_completed("payments"));
        assert!(!fail(&mut halts, 2) && halts.stop_of("payments").is_none());
        assert!(fail(&mut halts, 3) && !fail(&mut halts, 4), "it is told once");
        assert!(!halts.note_completed("payments"), "an operator lets it go on");
        assert!(halts.stop_of("payments").is_some_and(|why| why.contains("2 failed jobs")));
        assert!(halts.resume(&scope(Some("payments"), None)) && halts.stop_of("payments").is_none());
    }
}
