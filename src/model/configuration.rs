//! The configuration as a running service goes by it: what it said when it was taken, what is wrong in it since, what an exchange changed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::hook::{Hook, HookState};
use super::os_text::OsText;

/// The files of a configuration as they were when it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptConfiguration {
    /// The main file, absolute.
    pub main: OsText,
    /// When it was read.
    pub taken_at: Timestamp,
    /// Every file with its text, by path; the main file is among them.
    pub files: Vec<(OsText, String)>,
    /// The mount that `rules_dir` lay on, where there are rules in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules_mount: Option<OsText>,
}

/// One thing that is wrong in a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigurationProblem {
    /// The file, or none for the environment.
    pub file: Option<OsText>,
    /// From 1.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// `rule "payments": output.invalid.path`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// All of it, as `landfall check` prints it.
    pub text: String,
}

/// What an edit changed: in the rules, by name, in their order; and in the hooks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigurationChange {
    /// Which set of rules it is, counted from the start of the service.
    pub generation: u64,
    /// Rules that are new.
    pub added: Vec<String>,
    /// Rules of the same name that say something else.
    pub changed: Vec<String>,
    /// Rules that are gone.
    pub removed: Vec<String>,
    /// How many are as they were.
    pub unchanged: usize,
    /// Whether those that stayed come in another order, which decides overlaps.
    pub reordered: bool,
    /// What an operator said of rules by names that none has any more, each with what takes it back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub of_no_rule: Vec<String>,
    /// The same of hooks.
    #[serde(default)]
    pub hooks: HooksChange,
}

impl ConfigurationChange {
    /// Whether all is as it was.
    pub(crate) fn is_none(&self) -> bool {
        !self.has_rules() && self.hooks.is_none()
    }

    /// Whether rules are not as they were.
    pub(crate) fn has_rules(&self) -> bool {
        !(self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()) || self.reordered
    }
}

/// What an edit changed in the hooks; by name, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HooksChange {
    /// Hooks that are new.
    pub added: Vec<String>,
    /// Hooks of the same name that say something else.
    pub changed: Vec<String>,
    /// Hooks that are gone: what they were not told yet is told to nobody.
    pub removed: Vec<String>,
    /// How many are as they were.
    pub unchanged: usize,
}

impl HooksChange {
    /// From these hooks to those.
    pub(crate) fn between(before: &[Hook], now: &[Hook]) -> Self {
        let of_name = |hooks: &[Hook], hook: &Hook| hooks.iter().find(|of| of.name == hook.name).cloned();
        let mut change = Self::default();
        for hook in now {
            match of_name(before, hook) {
                None => change.added.push(hook.name.clone()),
                Some(of) if of == *hook => change.unchanged += 1,
                Some(_) => change.changed.push(hook.name.clone()),
            }
        }
        let gone = before.iter().filter(|hook| of_name(now, hook).is_none());
        change.removed = gone.map(|hook| hook.name.clone()).collect();
        change
    }

    /// Whether all are as they were.
    pub(crate) fn is_none(&self) -> bool {
        self.added.is_empty() && self.changed.is_empty() && self.removed.is_empty()
    }
}

/// What became of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reloaded {
    /// What is wrong; then nothing was changed.
    pub problems: Vec<ConfigurationProblem>,
    /// What was changed.
    pub rules: ConfigurationChange,
    /// Keys of `[service]` that say something else than what the service was started with: they count after a restart.
    pub needs_restart: Vec<String>,
}

/// What a service goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigurationState {
    /// The main file, absolute.
    pub file: OsText,
    /// When what it goes by was read from there.
    pub taken_at: Timestamp,
    /// What is wrong in the files as they are now; then it goes by what they said before.
    pub problems: Vec<ConfigurationProblem>,
    /// Since when something is.
    pub wrong_since: Option<Timestamp>,
    /// See [`Reloaded::needs_restart`].
    pub needs_restart: Vec<String>,
    /// A file that was changed and is not taken yet, because it does not stand still or somebody has it open for writing.
    pub unsettled: Option<OsText>,
    /// What the last edit changed, since the service was started.
    #[serde(default)]
    pub last_change: Option<ConfigurationChange>,
    /// How each hook fares.
    #[serde(default)]
    pub hooks: Vec<HookState>,
    /// Why the audit trail cannot be written just now.
    #[serde(default)]
    pub trail_trouble: Option<String>,
}
