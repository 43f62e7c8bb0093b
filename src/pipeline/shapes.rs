//! Which columns records have at each place of the pipeline, and where a step finds those it names.

use std::sync::Arc;

use super::missing::{LISTED_MAX, MissingColumn, MissingColumns};
use super::plan::{Pipeline, PlannedStep};
use crate::format::{Layout, path_of};
use crate::model::nearest::nearest;
use crate::model::slice::EntryShape;
use crate::model::step::ColumnRef;

/// The place of every column for one entry, by step and category.
pub(super) struct Resolved {
    views: Vec<Vec<Option<View>>>,
}

/// What a step needs to know about the records of one category.
pub(super) struct View {
    /// Their columns.
    pub layout: Arc<Layout>,
    /// Those that the step names.
    pub wanted: Vec<ColumnRef>,
}

impl Resolved {
    /// For the records of a category at a step.
    pub(super) fn view(&self, step: usize, category: usize) -> Option<&View> {
        self.views.get(step)?.get(category)?.as_ref()
    }
}

impl Pipeline {
    /// Checks that the columns the steps name are there in this entry: all missing ones at once.
    pub fn check_shape(&self, shape: &EntryShape) -> Result<(), MissingColumns> {
        self.resolve(shape).map(|_| ())
    }

    /// Finds every column that the steps name in an entry of this shape.
    pub(super) fn resolve(&self, shape: &EntryShape) -> Result<Resolved, MissingColumns> {
        let fields = self.format.layout().map(|layout| layout.fields.clone()).unwrap_or_default();
        let entry = Arc::new(Layout { names: shape.columns.clone().unwrap_or_default(), fields });
        let mut missing = Vec::new();
        let views = self.steps.iter().enumerate();
        let views = views
            .map(|(position, step)| {
                let views = step.before.iter().map(|schema| {
                    let layout = schema.as_ref()?.layout(Some(&entry))?;
                    Some(self.view(position, step, layout, &mut missing))
                });
                views.collect()
            })
            .collect();
        if missing.is_empty() {
            return Ok(Resolved { views });
        }
        Err(MissingColumns {
            entry: shape.name.clone(),
            missing,
            present: entry.names.iter().take(LISTED_MAX).cloned().collect(),
        })
    }

    /// Columns that are missing whatever the entry, as far as the rule tells.
    pub(super) fn missing_before_any_entry(&self) -> Vec<MissingColumn> {
        let entry = self.format.layout();
        let mut missing = Vec::new();
        for (position, step) in self.steps.iter().enumerate() {
            for schema in step.before.iter().flatten() {
                if let Some(layout) = schema.layout(entry.as_ref()) {
                    self.view(position, step, layout, &mut missing);
                }
            }
        }
        missing
    }

    fn view(
        &self,
        position: usize,
        step: &PlannedStep,
        layout: &Arc<Layout>,
        missing: &mut Vec<MissingColumn>,
    ) -> View {
        let mut wanted = Vec::new();
        for column in &step.plan.columns {
            let found = if self.format.has_paths() {
                let path = path_of(column);
                self.paths.iter().position(|known| *known == path)
            } else {
                layout.names.iter().position(|name| name == column)
            };
            if let Some(found) = found {
                wanted.push(ColumnRef(found as u32));
                continue;
            }
            // A column that the step names as well is not meant by another name.
            let others = layout.names.iter().filter(|name| !step.plan.columns.contains(name));
            let near = nearest(column, others.map(String::as_str)).map(str::to_owned);
            let (step, column) = (step.name.clone(), column.clone());
            let column = MissingColumn { step, position, column, nearest: near };
            if !missing.contains(&column) {
                missing.push(column);
            }
        }
        View { layout: Arc::clone(layout), wanted }
    }
}
