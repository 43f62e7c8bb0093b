//! Columns that steps name and records do not have.

use crate::model::fault::{Fault, FaultKind};
use crate::model::quoted::Quoted;

/// Columns that the pipeline names and an entry does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}", where_of(.entry), list_of(.missing))]
pub struct MissingColumns {
    /// The entry's name; empty for a plain file.
    pub entry: String,
    /// Every missing column.
    pub missing: Vec<MissingColumn>,
    /// The columns that are there, the first of them.
    pub present: Vec<String>,
}

impl MissingColumns {
    /// Whether columns of nearly these names are there: then the rule may misspell them.
    pub fn resembles(&self) -> bool {
        self.missing.iter().any(|missing| missing.nearest.is_some())
    }

    /// What a job tells that went on without them, since records of its format may lack any.
    pub fn remark(&self) -> String {
        let text = |missing: &MissingColumn| {
            let MissingColumn { step, column, nearest, .. } = missing;
            let near = nearest.as_ref().map(|near| format!("; the nearest is {}", quoted(near)));
            format!(
                "none of the first records has column `{}`, which {step} names{}",
                column.escape_debug(),
                near.unwrap_or_default()
            )
        };
        let texts: Vec<String> = self.missing.iter().take(LISTED_MAX).map(text).collect();
        format!("{}{}", where_of(&self.entry), texts.join("; "))
    }
}

/// A column that a step names and an entry does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingColumn {
    /// The step, as the rule names it.
    pub step: String,
    /// Position of the step in the pipeline.
    pub position: usize,
    /// The column.
    pub column: String,
    /// The column that is there and has nearly the same name.
    pub nearest: Option<String>,
}

/// Columns that a hint lists at most.
pub(super) const LISTED_MAX: usize = 20;

fn where_of(entry: &str) -> String {
    if entry.is_empty() { String::new() } else { format!("entry {entry}: ") }
}

fn quoted(column: &str) -> Quoted {
    Quoted::new(format!("`{}`", column.escape_debug()))
}

fn list_of(missing: &[MissingColumn]) -> String {
    let texts: Vec<String> = missing
        .iter()
        .take(LISTED_MAX)
        .map(|missing| format!("{} needs column `{}`, which is not there", missing.step, missing.column))
        .collect();
    texts.join("; ")
}

impl Fault for MissingColumns {
    fn kind(&self) -> FaultKind {
        FaultKind::Input
    }

    fn hint(&self) -> Option<String> {
        if let (Some(delimiter), [only]) =
            (crate::record::delimiter_meant(&self.present), self.present.as_slice())
        {
            return Some(format!(
                "the header has one column, {}: is `records.delimiter = \"{delimiter}\"` meant?",
                quoted(only)
            ));
        }
        let near: Vec<String> = self
            .missing
            .iter()
            .take(LISTED_MAX)
            .filter_map(|missing| {
                Some(format!("{} for `{}`", quoted(missing.nearest.as_ref()?), missing.column))
            })
            .collect();
        if near.is_empty() {
            let present: Vec<&str> = self.present.iter().take(LISTED_MAX).map(String::as_str).collect();
            return Some(format!("the columns are: {}", Quoted::new(present.join(", "))));
        }
        Some(format!("perhaps the rule means {}", near.join(", ")))
    }
}
