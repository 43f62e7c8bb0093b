//! Which columns the records of a category have.

use std::sync::Arc;

use crate::format::Layout;
use crate::model::rule::FixedField;
use crate::model::step::Selected;

/// The columns of a category's records, as far as they are known before an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// Those of the entry, unchanged.
    Entry,
    /// Those that a step chose.
    Chosen(Arc<Layout>),
}

impl Schema {
    /// The columns, if known; `entry` are the entry's.
    pub(super) fn layout<'a>(&'a self, entry: Option<&'a Arc<Layout>>) -> Option<&'a Arc<Layout>> {
        match self {
            Self::Entry => entry,
            Self::Chosen(layout) => Some(layout),
        }
    }

    /// The columns after a step that selects some.
    pub(super) fn select(
        &self,
        columns: &[String],
        selected: &[Selected],
        entry: Option<&Arc<Layout>>,
    ) -> Self {
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
    pub(super) fn is_same(&self, other: &Self, entry: Option<&Arc<Layout>>) -> bool {
        self == other
            || matches!((self.layout(entry), other.layout(entry)), (Some(one), Some(other)) if one == other)
    }
}
