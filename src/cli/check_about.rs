//! What `landfall check` says, and of which rule.

use super::check_rights::Rights;
use crate::config::{Places, Problem};
use crate::model::rule::{Rule, Settings};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Level {
    /// It can never do what is meant.
    Problem,
    /// It can be meant, or depends on what is on this machine now.
    Warning,
    /// Nothing is wrong.
    Note,
}

impl Level {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// Something about the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Finding {
    pub level: Level,
    pub problem: Problem,
}

/// One rule, and what there is to say of it.
pub(super) struct About<'a> {
    pub settings: &'a Settings,
    pub rule: &'a Rule,
    pub rights: Rights,
    pub places: &'a Places,
    pub position: usize,
    pub findings: Vec<Finding>,
}

impl<'a> About<'a> {
    pub(super) fn tell(&mut self, level: Level, key: &[&str], message: String, hint: &str) {
        let problem = self.places.of_rule(self.position, key, message, hint);
        self.findings.push(Finding { level, problem });
    }

    pub(super) fn warn(&mut self, key: &[&str], message: String, hint: &str) {
        self.tell(Level::Warning, key, message, hint);
    }

    pub(super) fn note(&mut self, key: &[&str], message: String, hint: &str) {
        self.tell(Level::Note, key, message, hint);
    }

    pub(super) fn products(&self) -> Vec<(Vec<&'a str>, &'a str)> {
        let rule = self.rule;
        let outputs = rule
            .outputs
            .iter()
            .filter(|(_, output)| !output.is_in_store) // that place is ours
            .map(|(category, output)| (vec!["output", category.as_str(), "path"], output.path.as_str()));
        let marker = rule.publish.marker.as_deref().map(|text| (vec!["publish", "marker"], text));
        let manifest = rule.publish.manifest.as_deref().map(|text| (vec!["publish", "manifest"], text));
        outputs.chain(marker).chain(manifest).collect()
    }
}
