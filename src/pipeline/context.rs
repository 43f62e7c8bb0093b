//! What a step's factory is told.

use std::path::Path;
use std::sync::Arc;

use super::params::Params;
use super::problem::PipelineProblem;
use super::surroundings::Surroundings;
use crate::format::RecordFormat;
use crate::model::category::Category;
use crate::model::nearest::nearest;
use crate::model::rule::Records;
use crate::model::step::CategoryId;

/// What a factory is told about the rule besides the step's parameters.
#[derive(Clone, Copy)]
pub struct StepContext<'a> {
    /// `[rule.records]`.
    pub(crate) records: &'a Records,
    /// How these records are read and written.
    pub(crate) format: &'a Arc<dyn RecordFormat>,
    /// The folder that relative commands and files start from.
    pub base_dir: &'a Path,
    /// The rule's categories: those that have an output table.
    pub categories: &'a [Category],
    /// What programs have around them.
    pub(crate) surroundings: &'a Arc<Surroundings>,
}

impl StepContext<'_> {
    /// The category of this name, for [`StepPlan::sending_to`](crate::step::StepPlan::sending_to) and outcomes.
    ///
    /// # Errors
    ///
    /// A problem at `key`, the path of the parameter ([`Params::path_of`]): the category has no output.
    pub fn category(&self, name: &str, key: Vec<String>) -> Result<CategoryId, PipelineProblem> {
        let position = self.categories.iter().position(|category| category.as_str() == name);
        let id = position.map(|position| CategoryId(position as u16));
        id.ok_or_else(|| no_output(name, key, self.categories))
    }

    /// The same for a parameter, whose problem is kept.
    pub(super) fn category_of(&self, params: &mut Params<'_>, key: &str, name: &str) -> Option<CategoryId> {
        params.accept(self.category(name, params.path_of(key)).map_err(|problem| vec![problem]))
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
