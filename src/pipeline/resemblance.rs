//! Columns of jsonl that no record of a sample has, while they have others of nearly the same names.
//!
//! A record of jsonl may lack any column, so that this alone is no fault; it tells who is to blame for records that are.
//! Records are looked through where they lie: a tree of their values would take many times their bytes.

use std::borrow::Cow;
use std::ops::ControlFlow;

use super::missing::{MissingColumn, MissingColumns};
use super::plan::Pipeline;
use crate::format::{json, path_of};
use crate::model::nearest::nearest;
use crate::model::slice::Slice;

const SAMPLE_RECORDS_MAX: usize = 100;
/// Names that a missing one is compared with.
const NAMES_MAX: usize = 10_000;
/// Bytes of a name that is like another one, at most.
const NAME_BYTES_MAX: usize = 1_000;

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
        let named = self.named_in_source();
        if !self.format.has_paths() || named.is_empty() {
            return Resemblance::Unknown;
        }
        let records = slice.records.iter().take(SAMPLE_RECORDS_MAX);
        let records = records.filter_map(|span| slice.bytes.get(span.start as usize..span.end as usize));
        let is_object = |record: &&[u8]| record.trim_ascii_start().starts_with(b"{");
        let sample: Vec<&[u8]> =
            records.filter(is_object).filter(|record| json::check(record).is_ok()).collect();
        if sample.is_empty() {
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
fn misspelt(path: &[String], sample: &[&[u8]], is_other: &dyn Fn(&str) -> bool) -> Option<String> {
    for depth in 0..path.len() {
        let (above, name) = (path.get(..depth)?, path.get(depth)?);
        let spelt = |name: &str| above.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".");
        let mut names: Vec<Cow<'_, str>> = Vec::new();
        let mut parents =
            sample.iter().filter_map(|record| json::at_path(record, None, above).ok().flatten());
        let found = parents.any(|parent| look_for(name, parent, &mut names));
        if !found {
            let names = names.iter().map(AsRef::as_ref);
            return nearest(name, names.filter(|name| is_other(&spelt(name)))).map(spelt);
        }
    }
    None
}

/// Whether an object has a key; if not, its keys are noted.
fn look_for<'t>(name: &str, object: &'t [u8], names: &mut Vec<Cow<'t, str>>) -> bool {
    json::each_member(object, &mut |key, _| {
        let is_short = key.len() <= NAME_BYTES_MAX.max(name.len().saturating_mul(6)); // each may be escaped
        match if is_short { json::text_of(key) } else { None } {
            Some(key) if key == name => return ControlFlow::Break(()),
            Some(key) if names.len() < NAMES_MAX => names.push(key),
            _ => {}
        }
        ControlFlow::Continue(())
    })
    .is_break()
}
