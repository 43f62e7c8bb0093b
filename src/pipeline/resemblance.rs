//! Columns of jsonl that no record of a sample has, while they have others of nearly the same names.
//!
//! A record of jsonl may lack any column, so that this alone is no fault; it tells who is to blame for records that are.

use serde_json::Value;

use super::columns::path_of;
use super::params::nearest;
use super::{MissingColumn, MissingColumns, Pipeline};
use crate::model::rule::Format;
use crate::model::slice::Slice;

/// Records that are looked at.
const SAMPLE_RECORDS_MAX: usize = 100;

/// What the records say of the columns that steps name.
#[derive(Debug, PartialEq, Eq)]
pub enum Resemblance {
    /// There are no names to look for, or not in jsonl.
    Unknown,
    /// Every named column is in some record, or has nothing like it there.
    Fits,
    /// Some are in none, and similar ones are.
    Misspelt(MissingColumns),
}

impl Pipeline {
    /// Looks for the named columns in the first records of a slice.
    pub fn resemblance(&self, slice: &Slice, entry: &str) -> Resemblance {
        let records = slice.records.iter().take(SAMPLE_RECORDS_MAX);
        let records = records.filter_map(|span| slice.bytes.get(span.start as usize..span.end as usize));
        let sample: Vec<Value> = records
            .filter_map(|record| serde_json::from_slice(record).ok())
            .filter(Value::is_object)
            .collect();
        if self.format != Format::Jsonl || sample.is_empty() {
            return Resemblance::Unknown;
        }
        let named = self.named_in_source();
        if named.is_empty() {
            return Resemblance::Unknown;
        }
        let missing: Vec<_> = named
            .iter()
            .filter_map(|(position, step, column)| {
                let others = |name: &str| named.iter().all(|(_, _, named)| *named != name);
                let near = misspelt(&path_of(column), &sample, &others)?;
                let (step, column) = ((*step).to_owned(), (*column).to_owned());
                Some(MissingColumn { step, position: *position, column, nearest: Some(near) })
            })
            .collect();
        if missing.is_empty() {
            return Resemblance::Fits;
        }
        Resemblance::Misspelt(MissingColumns { entry: entry.to_owned(), missing, present: Vec::new() })
    }

    /// The columns that steps name while records still have those that they came with.
    fn named_in_source(&self) -> Vec<(usize, &str, &str)> {
        let mut named = Vec::new();
        for (position, step) in self.steps.iter().enumerate() {
            let columns = step.plan.columns.iter();
            named.extend(columns.map(|column| (position, step.name.as_str(), column.as_str())));
            if step.plan.selected.is_some() {
                break;
            }
        }
        named
    }
}

/// The path that is nearly this one, where no record has this one.
fn misspelt(path: &[String], sample: &[Value], is_other: &dyn Fn(&str) -> bool) -> Option<String> {
    for depth in 0..path.len() {
        let (above, name) = (path.get(..depth)?, path.get(depth)?);
        let parents: Vec<_> = sample
            .iter()
            .filter_map(|record| above.iter().try_fold(record, |value, key| value.get(key))?.as_object())
            .collect();
        if parents.iter().any(|parent| parent.contains_key(name)) {
            continue;
        }
        let spelt = |name: &str| above.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".");
        let names = parents.iter().flat_map(|parent| parent.keys()).map(String::as_str);
        return nearest(name, names.filter(|name| is_other(&spelt(name)))).map(spelt);
    }
    None
}
