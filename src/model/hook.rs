//! `[[hook]]`: whom the service tells that something happened, and of what.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::job_id::JobId;
use super::job_state::JobState;
use super::os_text::OsText;
use super::post_url::PostUrl;

/// What can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookEvent {
    /// A job is completed.
    Completed,
    /// A job is completed, and records of it failed and are kept, beside what it published.
    SetAside,
    /// A job failed.
    Failed,
    /// A job was refused.
    Refused,
    /// A job is held, and was not held for this before.
    Held,
    /// A rule claims nothing any more (`errors.stop_after`).
    RuleStopped,
    /// A file waits longer than `ready.late_after`.
    Late,
    /// As it goes now, a job will not be done by its deadline, or was not.
    DeadlineAtRisk,
    /// A file system has less room than `service.free_min`.
    DiskLow,
    /// No file came for as long as `expect_every` says.
    NothingCame,
}

impl HookEvent {
    /// All of them, with the words of the configuration.
    pub const ALL: [(&'static str, Self); 10] = [
        ("completed", Self::Completed),
        ("set_aside", Self::SetAside),
        ("failed", Self::Failed),
        ("refused", Self::Refused),
        ("held", Self::Held),
        ("rule_stopped", Self::RuleStopped),
        ("late", Self::Late),
        ("deadline_at_risk", Self::DeadlineAtRisk),
        ("disk_low", Self::DiskLow),
        ("nothing_came", Self::NothingCame),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, event)| *event == self).map_or("", |(word, _)| word)
    }

    /// What it may be that a job came to this state.
    pub fn of_state(state: JobState) -> &'static [Self] {
        match state {
            JobState::Completed => &[Self::Completed, Self::SetAside],
            JobState::Failed => &[Self::Failed],
            JobState::Refused => &[Self::Refused],
            JobState::Held => &[Self::Held],
            _ => &[],
        }
    }
}

impl fmt::Display for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One `[[hook]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Unique among hooks: what it was not told yet is kept under it.
    pub name: String,
    /// What it is told.
    pub events: Vec<HookEvent>,
    /// Of which rules; empty: of all, and of what is no rule's.
    pub rules: Vec<String>,
    /// How.
    pub target: HookTarget,
    /// Then a try counts as failed; a command is killed.
    pub timeout: Duration,
}

impl Hook {
    /// The file of its token.
    pub fn secret_file(&self) -> Option<&PathBuf> {
        match &self.target {
            HookTarget::Url { bearer_file, .. } => bearer_file.as_ref(),
            HookTarget::Command { .. } => None,
        }
    }

    /// Whether it is told this.
    pub fn wants(&self, event: HookEvent, rule: Option<&str>) -> bool {
        let is_of_rule =
            || self.rules.is_empty() || rule.is_some_and(|rule| self.rules.iter().any(|of| of == rule));
        self.events.contains(&event) && is_of_rule()
    }
}

/// How a hook is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookTarget {
    /// A program is run.
    Command {
        /// The program, absolute or to be found in `PATH`, and its arguments.
        command: Vec<String>,
        /// Where it runs.
        folder: PathBuf,
    },
    /// JSON is posted.
    Url {
        /// Where to.
        url: PostUrl,
        /// A file with the token of `Authorization: Bearer`.
        bearer_file: Option<PathBuf>,
    },
}

/// Something that happened, and that hooks are to be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Happened {
    /// What.
    pub event: HookEvent,
    /// When.
    pub at: Timestamp,
    /// Of which rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Of which job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Of which file or folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<OsText>,
    /// What there is to say.
    pub message: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How a hook fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HookState {
    /// The hook's name.
    pub name: String,
    /// How many events it was not told yet.
    pub waiting: u64,
    /// Of these, so many it did not take when they were tried.
    #[serde(default)]
    pub refused: u64,
    /// Tries that failed since it is owed such an event.
    pub failures: u32,
    /// Since when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<Timestamp>,
    /// Why the last one failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How many events it was never told, since the service started.
    pub lost: u64,
    /// When the last one of these was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_at: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_of_some_rules_is_told_of_these_and_of_nothing_that_is_no_rules() {
        let target = HookTarget::Command { command: vec!["true".into()], folder: "/".into() };
        let (name, timeout) = ("ops".to_owned(), Duration::from_secs(1));
        let mut hook = Hook { name, events: vec![HookEvent::Failed], rules: vec![], target, timeout };
        assert!(hook.wants(HookEvent::Failed, None) && !hook.wants(HookEvent::Completed, None));
        hook.rules.push("pay".into());
        assert!(hook.wants(HookEvent::Failed, Some("pay")));
        assert!(!hook.wants(HookEvent::Failed, Some("other")) && !hook.wants(HookEvent::Failed, None));
    }
}
