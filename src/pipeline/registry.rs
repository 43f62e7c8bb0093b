//! The registered steps, by name.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::params::nearest;
use super::{PipelineProblem, steps};
use crate::model::category::Category;
use crate::model::rule::{Format, Records};
use crate::model::step::{CategoryId, StepPlan};

/// What a factory is told about the rule besides the step's parameters.
#[derive(Clone, Copy)]
pub struct StepContext<'a> {
    /// `[rule.records]`.
    pub records: &'a Records,
    /// The folder that relative commands and files start from.
    pub base_dir: &'a Path,
    /// The rule's categories: those that have an output table.
    pub categories: &'a [Category],
}

impl StepContext<'_> {
    /// The category of this name, for [`StepPlan::sending_to`] and outcomes; a problem at `key` where it has no output.
    pub fn category(&self, name: &str, key: Vec<String>) -> Result<CategoryId, PipelineProblem> {
        match self.categories.iter().position(|category| category.as_str() == name) {
            Some(position) => Ok(CategoryId(position as u16)),
            None => Err(no_output(name, key, self.categories)),
        }
    }

    /// How the records are cut.
    pub fn format(&self) -> &Format {
        &self.records.format
    }
}

/// The problem of a category without an output.
pub(super) fn no_output(name: &str, key: Vec<String>, categories: &[Category]) -> PipelineProblem {
    let hint = match nearest(name, categories.iter().map(Category::as_str)) {
        Some(near) => format!("give it [rule.output.{name}], or did you mean `{near}`?"),
        None => format!("give it [rule.output.{name}]"),
    };
    PipelineProblem { key, message: format!("category `{name}` has no output"), hint: Some(hint) }
}

/// Makes a step's plan from its parameters, or says everything that is wrong with them; keys of problems begin at the parameters.
pub type Factory = Arc<
    dyn Fn(&Map<String, Value>, &StepContext<'_>) -> Result<StepPlan, Vec<PipelineProblem>> + Send + Sync,
>;

/// The registered steps.
#[derive(Clone, Default)]
pub struct Registry {
    factories: BTreeMap<String, Factory>,
}

impl Registry {
    /// The built-in steps.
    pub fn with_builtin_steps() -> Self {
        let mut registry = Self::default();
        registry.register("validate", steps::validate::plan);
        registry.register("filter", steps::filter::plan);
        registry.register("route", steps::route::plan);
        registry.register("select", steps::select::plan);
        registry.register("reverse", steps::reverse::plan);
        registry.register("exec", steps::exec::plan);
        registry
    }

    /// Adds a step; one of the same name is replaced.
    pub fn register(
        &mut self,
        name: &str,
        factory: impl Fn(&Map<String, Value>, &StepContext<'_>) -> Result<StepPlan, Vec<PipelineProblem>>
        + Send
        + Sync
        + 'static,
    ) {
        self.factories.insert(name.to_owned(), Arc::new(factory));
    }

    /// The names of the registered steps.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }

    pub(super) fn factory(&self, name: &str) -> Option<&Factory> {
        self.factories.get(name)
    }
}
