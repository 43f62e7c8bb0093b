//! The parts of a rule that others own: they judge patterns, templates and steps; tests judge by simpler means.

use std::collections::BTreeSet;
use std::path::Path;

use crate::model::category::Category;
use crate::model::fault::Fault as _;
use crate::model::rule::Rule;
use crate::model::template::Template;
use crate::output::OutputPlan;
use crate::pipeline::{Pipeline, PipelineProblem, Registry};
use crate::watch::pattern::Pattern;

/// What is wrong with a part, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub message: String,
    pub hint: Option<String>,
}

/// A verdict with a hint.
pub(super) fn verdict(message: String, hint: &str) -> Verdict {
    Verdict { message, hint: Some(hint.to_owned()) }
}

/// A pattern that its owner accepted.
pub(super) struct Accepted {
    /// Its named wildcards.
    pub names: Vec<String>,
    /// Whether it takes this file.
    pub matches: Box<dyn Fn(&Path) -> bool>,
    /// Whether it could take some file directly in this folder.
    pub could_match_in: Box<dyn Fn(&Path) -> bool>,
}

/// Judges the parts that the configuration does not own.
pub(super) trait Judge {
    /// An absolute pattern.
    fn pattern(&self, text: &str) -> Result<Accepted, Verdict>;
    /// An absolute template; `known` are the rule's named wildcards.
    fn template(&self, text: &str, known: &BTreeSet<String>) -> Result<(), Verdict>;
    /// The recipients that an output's own table names.
    fn recipients(&self, rule: &Rule, category: &Category) -> Result<(), Verdict>;
    /// The steps and how they fit the outputs.
    fn pipeline(&self, rule: &Rule) -> Vec<PipelineProblem>;
}

/// The owners themselves; without a registry nobody judges steps.
pub(super) struct Owners<'a>(pub Option<&'a Registry>);

impl Judge for Owners<'_> {
    fn pattern(&self, text: &str) -> Result<Accepted, Verdict> {
        let pattern = Pattern::parse(text).map_err(|e| Verdict { message: e.message, hint: e.hint })?;
        let names = pattern.names().to_vec();
        let twin = pattern.clone();
        Ok(Accepted {
            names,
            matches: Box::new(move |file| twin.matches(file).is_some()),
            could_match_in: Box::new(move |folder| pattern.could_match_in(folder)),
        })
    }

    fn template(&self, text: &str, known: &BTreeSet<String>) -> Result<(), Verdict> {
        match Template::parse(text, known) {
            Ok(_) => Ok(()),
            Err(e) => Err(Verdict { message: e.message, hint: e.hint }),
        }
    }

    fn recipients(&self, rule: &Rule, category: &Category) -> Result<(), Verdict> {
        let mut alone = rule.clone();
        alone.outputs.retain(|name, _| name == category);
        // A file of recipients belongs to the machine that runs the rule: it need not be here.
        alone.outputs.values_mut().for_each(|output| output.recipients_file = None);
        match OutputPlan::build(&alone, std::slice::from_ref(category)) {
            Ok(_) => Ok(()),
            Err(error) => Err(Verdict { message: error.to_string(), hint: error.hint() }),
        }
    }

    fn pipeline(&self, rule: &Rule) -> Vec<PipelineProblem> {
        self.0.and_then(|registry| Pipeline::build(rule, registry).err()).unwrap_or_default()
    }
}
