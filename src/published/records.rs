//! The records of an output, as they were written.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use super::error::ReadError;
use super::text::{Keys, scratch, with_text};
use crate::at_rest::KeyRing;
use crate::model::category::Category;
use crate::model::job::{Job, PublishedOutput};
use crate::model::job_state::JobState;
use crate::model::rule::{LineEnd, Output, Records, Rule};
use crate::record::Cutter;

/// A record of an output may be longer than one of a source.
const RECORD_BYTES_MAX: u64 = 256 << 20;
const BLOCK_BYTES: usize = 64 << 10;
/// Names that are told where another one was asked for.
const NAMES_MAX: usize = 20;

/// Cuts an output's text into records; with how it was written.
pub(crate) fn cut<'r, R: Read>(
    text: R,
    path: &Path,
    rule: &'r Rule,
    category: &Category,
) -> Result<(Cutter<R>, &'r Output), ReadError> {
    let planned = rule.outputs.get(category);
    let planned = planned.ok_or_else(|| ReadError::NoOutput { category: category.to_string() })?;
    if planned.line_end == LineEnd::None {
        return Err(ReadError::NoEnds { path: path.to_owned() });
    }
    // What a record ends in besides is its own: a carriage return of the source's.
    let separator = Some(String::from_utf8_lossy(planned.line_end.bytes()).into_owned());
    let records = Records { record_max: RECORD_BYTES_MAX, separator, ..rule.records.as_written(planned) };
    let cutter = Cutter::new(text, &records, &rule.decode, 0, String::new(), 0)?;
    Ok((cutter.with_blank_records(), planned))
}

/// Records of an output, both ends in it; up to the greatest number: all from the first on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// Writes an output, or some of its records with the header before them.
pub(crate) fn print(
    output: &PublishedOutput,
    rule: &Rule,
    range: Option<Range>,
    keys: &Keys<'_>,
    out: &mut dyn Write,
) -> Result<(), ReadError> {
    let path = output.path.as_path();
    let too_few = || ReadError::TooFew { path: path.to_owned(), records: output.records };
    let is_beyond = |range: Range| {
        range.first > output.records || (range.last > output.records && range.last != u64::MAX)
    };
    if range.is_some_and(is_beyond) {
        return Err(too_few());
    }
    with_text(path, Some(output), rule, keys, |text| match range {
        None => copy(text, path, out),
        Some(range) if print_range(text, rule, output, range, out)? || range.last == u64::MAX => Ok(()),
        Some(_) => Err(too_few()),
    })
}

/// By no keys but those of the data folder: what is encrypted to others cannot be read.
pub(crate) fn print_alone(
    output: &PublishedOutput,
    rule: &Rule,
    range: Option<Range>,
    own: Option<Arc<KeyRing>>,
    out: &mut dyn Write,
) -> Result<(), ReadError> {
    let scratch = scratch()?;
    print(output, rule, range, &Keys { identities: &[], own, scratch: scratch.path() }, out)
}

fn copy(text: &mut dyn Read, path: &Path, out: &mut dyn Write) -> Result<(), ReadError> {
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        match text.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => out.write_all(block.get(..count).unwrap_or_default()).map_err(ReadError::Print)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ReadError::of(path, error)),
        }
    }
}

/// Whether all of the range was there.
fn print_range(
    text: &mut dyn Read,
    rule: &Rule,
    output: &PublishedOutput,
    range: Range,
    out: &mut dyn Write,
) -> Result<bool, ReadError> {
    let (mut cutter, written) = cut(text, output.path.as_path(), rule, &output.category)?;
    let end = written.line_end.bytes();
    let mut put = |record: &[u8]| {
        let put = out.write_all(record).and_then(|()| out.write_all(end));
        put.map_err(ReadError::Print)
    };
    if let Some(header) = cutter.shape()?.header {
        put(&header)?;
    }
    while let Some(slice) = cutter.next_slice()? {
        for (index, span) in slice.records.iter().enumerate() {
            let number = slice.record_number(index);
            if number > range.last {
                return Ok(true);
            }
            if number >= range.first {
                put(slice.bytes.get(span.start as usize..span.end as usize).unwrap_or_default())?;
            }
            if number == range.last {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Refuses a job of which nothing is published.
pub(crate) fn check_published(job: &Job) -> Result<(), ReadError> {
    if matches!(job.state.get(), JobState::Retiring | JobState::Completed) || job.abandoned.is_some() {
        return Ok(());
    }
    Err(ReadError::NotPublished { job: job.id, state: job.state.get() })
}

/// Those of a job's outputs that are asked for; else why there is none.
pub(crate) fn chosen<'j>(
    job: &'j Job,
    category: Option<&str>,
    entry: Option<&str>,
) -> Result<Vec<&'j PublishedOutput>, ReadError> {
    check_published(job)?;
    let is_it = |output: &&PublishedOutput| {
        category.is_none_or(|category| output.category.as_str() == category)
            && entry.is_none_or(|entry| output.entry.as_deref() == Some(entry))
    };
    let chosen: Vec<_> = job.outputs.iter().filter(is_it).collect();
    if chosen.is_empty() {
        return Err(no_such_output(job, category));
    }
    Ok(chosen)
}

/// With the names of what was named wrongly.
fn no_such_output(job: &Job, category: Option<&str>) -> ReadError {
    let of_category =
        |output: &&PublishedOutput| category.is_none_or(|name| output.category.as_str() == name);
    let found: Vec<_> = job.outputs.iter().filter(of_category).collect();
    let entry_is_wrong = !found.is_empty();
    let there: BTreeSet<_> = if entry_is_wrong {
        found.iter().filter_map(|output| output.entry.clone()).collect()
    } else {
        job.outputs.iter().map(|output| output.category.to_string()).collect()
    };
    ReadError::NoSuchOutput { job: job.id, entry_is_wrong, there: told(there) }
}

/// Of very many names the first ones.
fn told(names: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut names: Vec<_> = names.into_iter().collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    names.truncate(NAMES_MAX);
    names.extend((more > 0).then(|| format!("and {more} more")));
    names
}

/// Where one is asked for, and there are several.
pub(crate) fn only<'j>(job: &Job, chosen: &[&'j PublishedOutput]) -> Result<&'j PublishedOutput, ReadError> {
    match chosen {
        [output] => Ok(output),
        _ => Err(ReadError::Several { job: job.id, there: names(job) }),
    }
}

/// What can be chosen by.
fn names(job: &Job) -> Vec<String> {
    let name = |output: &PublishedOutput| match &output.entry {
        Some(entry) => format!("{} of entry {entry}", output.category),
        None => output.category.to_string(),
    };
    told(job.outputs.iter().map(name))
}
