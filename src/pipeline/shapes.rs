//! Which columns records have at each place of the pipeline, and where a step finds those it names.

use std::sync::Arc;

use super::build::PlannedStep;
use super::columns::{Layout, path_of};
use super::params::nearest;
use super::{LISTED_MAX, MissingColumn, MissingColumns, Pipeline};
use crate::model::rule::{FixedField, Format};
use crate::model::slice::EntryShape;
use crate::model::step::{ColumnRef, Selected};

/// The columns of a category's records, as far as they are known before an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Those of the entry, unchanged.
    Entry,
    /// Those that a step chose.
    Chosen(Arc<Layout>),
}

impl Schema {
    /// The columns, if known; `entry` are the entry's.
    pub fn layout<'a>(&'a self, entry: Option<&'a Arc<Layout>>) -> Option<&'a Arc<Layout>> {
        match self {
            Self::Entry => entry,
            Self::Chosen(layout) => Some(layout),
        }
    }

    /// The columns after a step that selects some.
    pub fn select(&self, columns: &[String], selected: &[Selected], entry: Option<&Arc<Layout>>) -> Self {
        let before = self.layout(entry);
        let (mut names, mut fields) = (Vec::new(), Vec::new());
        for choice in selected {
            let width = before.and_then(|layout| {
                let name = columns.get(choice.column)?;
                layout.fields.iter().find(|field| field.name == *name)
            });
            names.push(choice.name.clone());
            fields.extend(width.map(|field| FixedField { name: choice.name.clone(), width: field.width }));
        }
        Self::Chosen(Arc::new(Layout { names: Arc::new(names), fields }))
    }

    /// Whether both are the same columns in the same order.
    pub fn is_same(&self, other: &Self, entry: Option<&Arc<Layout>>) -> bool {
        self == other
            || matches!((self.layout(entry), other.layout(entry)), (Some(one), Some(other)) if one == other)
    }
}

/// The columns of a rule's entries, if the rule tells them.
pub fn layout_of_rule(format: &Format) -> Option<Arc<Layout>> {
    match format {
        Format::Csv(csv) if csv.header => None,
        Format::Csv(csv) => {
            Some(Arc::new(Layout { names: Arc::new(csv.columns.clone()), fields: Vec::new() }))
        }
        Format::Fixed(fixed) => {
            let names = fixed.fields.iter().map(|field| field.name.clone()).collect();
            Some(Arc::new(Layout { names: Arc::new(names), fields: fixed.fields.clone() }))
        }
        Format::Lines | Format::Jsonl => Some(Arc::default()),
    }
}

/// The place of every column for one entry, by step and category.
pub struct Resolved {
    views: Vec<Vec<Option<View>>>,
}

/// What a step needs to know about the records of one category.
pub struct View {
    /// Their columns.
    pub layout: Arc<Layout>,
    /// Those that the step names.
    pub wanted: Vec<ColumnRef>,
}

impl Resolved {
    /// For the records of a category at a step.
    pub fn view(&self, step: usize, category: usize) -> Option<&View> {
        self.views.get(step)?.get(category)?.as_ref()
    }
}

impl Pipeline {
    /// Finds every column that the steps name in an entry of this shape.
    pub(super) fn resolve(&self, shape: &EntryShape) -> Result<Resolved, MissingColumns> {
        let entry = Arc::new(self.entry_layout(shape));
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

    /// The columns of an entry.
    pub(super) fn entry_layout(&self, shape: &EntryShape) -> Layout {
        let fields = match &self.format {
            Format::Fixed(fixed) => fixed.fields.clone(),
            _ => Vec::new(),
        };
        Layout { names: shape.columns.clone().unwrap_or_default(), fields }
    }

    /// Columns that are missing whatever the entry, as far as the rule tells.
    pub(super) fn missing_before_any_entry(&self) -> Vec<MissingColumn> {
        let entry = layout_of_rule(&self.format);
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
            let found = if self.format == Format::Jsonl {
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
