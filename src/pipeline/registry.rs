//! The registered steps, by name.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::context::StepContext;
use super::problem::{PipelineProblem, Planned};
use super::steps;
use super::surroundings::{OwnFolder, Surroundings};
use crate::model::step::StepPlan;

/// Makes a step's plan from its parameters.
pub(super) type Factory = Arc<dyn Fn(&Map<String, Value>, &StepContext<'_>) -> Planned + Send + Sync>;

/// The registered steps.
#[derive(Clone, Default)]
pub struct Registry {
    factories: BTreeMap<String, Factory>,
    /// Rules are cut off before a step that is not run: what only later steps make has no output.
    cuts_off: bool,
    surroundings: Arc<Surroundings>,
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

    /// The same steps, for rules of which the last steps may be missing.
    pub(crate) fn for_cut_off_rules(self) -> Self {
        Self { cuts_off: true, ..self }
    }

    /// The same steps, whose programs have this around them.
    pub(crate) fn with_surroundings(self, surroundings: Arc<Surroundings>) -> Self {
        Self { surroundings, ..self }
    }

    /// A folder for the time being, where those of programs are made.
    pub(crate) fn temporary_folder(&self) -> io::Result<OwnFolder> {
        self.surroundings.make_folder()
    }

    pub(crate) fn surroundings(&self) -> &Arc<Surroundings> {
        &self.surroundings
    }

    pub(super) fn cuts_off(&self) -> bool {
        self.cuts_off
    }

    /// Adds a step under the name that rules give; one of the same name is replaced.
    ///
    /// The factory is called for each rule that names the step, whenever a configuration is read. It checks the parameters, best by
    /// [`Params`](crate::step::Params). Its problems are told with file, line and key.
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
