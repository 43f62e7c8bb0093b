//! `landfall output JOB`: what a job published, unpacked and decrypted.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context as _, bail};
use clap::Args;

use super::exit::FAILED;
use super::own_output::{self, Keys};
use super::say::{complain, say_aside};
use super::view;
use crate::engine::Refusal;
use crate::model::job::{Job, PublishedOutput};
use crate::model::job_state::JobState;
use crate::model::os_text::escaped_path;
use crate::model::rule::{LineEnd, Output, Records, Rule, Settings};
use crate::record::Cutter;

/// A record of an output may be longer than one of a source.
const RECORD_BYTES_MAX: u64 = 256 << 20;

/// The arguments of `landfall output`.
#[derive(Args, Clone, Debug)]
pub(super) struct OutputArgs {
    /// The job's id, or at least four characters of its end
    #[arg(value_name = "JOB")]
    job: String,
    /// Only this category, like main or invalid
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Only this entry, where each entry of an archive has an output of its own
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// Only these records of one output, like 3 or 5-9: the first one is 1; a header comes before them
    #[arg(long, value_name = "RANGE")]
    records: Option<Range>,
    /// A file with an age identity, for encrypted outputs; may be given several times
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
}

/// Records of an output, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: u64,
    last: u64,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |digits: &str| digits.parse::<u64>().ok().filter(|number| *number > 0);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err("write a number from 1 on, or two, like 5-9".to_owned()),
        }
    }
}

/// Reads the files that the job published, in this process and as its user.
pub(super) fn run(args: &OutputArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let Some(door) = view::door(settings)? else {
        return Ok(view::refuse(&Refusal::NoSuchJob { text: args.job.clone() }));
    };
    let (job, rule) = match door.show(&args.job).and_then(|job| Ok((job, door.rule_of(&args.job)?))) {
        Ok(found) => found,
        Err(refusal) => return Ok(view::refuse(&refusal)),
    };
    let chosen = match chosen(&job, args) {
        Ok(chosen) => chosen,
        Err((message, hint)) => {
            complain(&message, Some(&hint));
            return Ok(ExitCode::from(FAILED));
        }
    };
    let scratch = tempfile::Builder::new().prefix("landfall-output-").tempdir();
    let scratch = scratch.context("cannot make a temporary folder")?;
    let keys = Keys { identities: &args.identity, scratch: scratch.path() };
    let mut out = io::BufWriter::new(io::stdout().lock());
    for output in &chosen {
        if chosen.len() > 1 {
            let entry = output.entry.as_ref().map(|entry| format!(", entry {entry}")).unwrap_or_default();
            say_aside!("{}{entry}: {} records, {}", output.category, output.records, output.path);
        }
        let printed = print(output, &rule, args.records, &keys, &mut out);
        match printed.and_then(|()| Ok(out.flush()?)) {
            Ok(()) => {}
            // The reader has seen enough: `landfall output JOB | head`.
            Err(error) if is_closed(&error) => return Ok(ExitCode::SUCCESS),
            Err(error) => return Err(error),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_closed(error: &anyhow::Error) -> bool {
    let is_it = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref().is_some_and(is_it))
}

/// The outputs that are asked for; else why there is none, and what to do.
fn chosen<'j>(job: &'j Job, args: &OutputArgs) -> Result<Vec<&'j PublishedOutput>, (String, String)> {
    if !matches!(job.state.get(), JobState::Retiring | JobState::Completed) && job.abandoned.is_none() {
        let message = format!("job {} is {}: nothing of it is published", job.id, job.state);
        return Err((message, format!("`landfall show {}` says why", job.id)));
    }
    let is_it = |output: &&PublishedOutput| {
        args.category.as_ref().is_none_or(|category| output.category.as_str() == category)
            && args.entry.as_ref().is_none_or(|entry| output.entry.as_ref() == Some(entry))
    };
    let chosen: Vec<_> = job.outputs.iter().filter(is_it).collect();
    let names: Vec<_> = job.outputs.iter().map(|output| output.category.as_str()).collect();
    if chosen.is_empty() {
        let hint = if names.is_empty() {
            "no record went to an output; `landfall show` has the account".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        };
        return Err((format!("job {} has no such output", job.id), hint));
    }
    if chosen.len() > 1 && args.records.is_some() {
        let message = "records are counted for each output, and there are several".to_owned();
        return Err((message, "choose one with `--category` and `--entry`".to_owned()));
    }
    Ok(chosen)
}

fn print(
    output: &PublishedOutput,
    rule: &Rule,
    range: Option<Range>,
    keys: &Keys<'_>,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let path = output.path.as_path();
    check_unchanged(output, path)?;
    own_output::with_text(path, rule, keys, |text| match range {
        None => {
            io::copy(text, out)?;
            Ok(())
        }
        Some(range) => {
            let planned = rule.outputs.get(&output.category).context("its rule has no such output")?;
            print_range(text, rule, planned, range, out).and_then(|found| {
                anyhow::ensure!(found, "it has {} records", output.records);
                Ok(())
            })
        }
    })
    .with_context(|| format!("cannot print {}", escaped_path(path)))
}

/// Whoever takes outputs may have taken or changed this one.
fn check_unchanged(output: &PublishedOutput, path: &Path) -> anyhow::Result<()> {
    let found = match path.metadata() {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("{} is not there any more", output.path)
        }
        Err(error) => return Err(error).with_context(|| format!("cannot look at {}", output.path)),
    };
    anyhow::ensure!(
        found == output.bytes,
        "{} is not what was published: it has {found} bytes, and had {}",
        output.path,
        output.bytes
    );
    Ok(())
}

/// Whether all of the range was there.
fn print_range(
    text: &mut dyn Read,
    rule: &Rule,
    output: &Output,
    range: Range,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    anyhow::ensure!(output.line_end != LineEnd::None, "its records have no ends to tell them by");
    let records = Records { record_max: RECORD_BYTES_MAX, ..rule.records.as_written(output) };
    let mut cutter = Cutter::new(text, &records, &rule.decode, 0, String::new(), 0)?;
    let end = output.line_end.bytes();
    if let Some(header) = cutter.shape()?.header {
        out.write_all(&header)?;
        out.write_all(end)?;
    }
    while let Some(slice) = cutter.next_slice()? {
        for (index, span) in slice.records.iter().enumerate() {
            let number = slice.record_number(index);
            if number > range.last {
                return Ok(true);
            }
            if number >= range.first {
                out.write_all(slice.bytes.get(span.start as usize..span.end as usize).unwrap_or_default())?;
                out.write_all(end)?;
            }
            if number == range.last {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_number_or_two_in_order() {
        let range = |text: &str| text.parse::<Range>().ok().map(|range| (range.first, range.last));
        assert_eq!((range("3"), range("5-9"), range("7-7")), (Some((3, 3)), Some((5, 9)), Some((7, 7))));
        assert_eq!(
            (range("0"), range("9-5"), range(""), range("-3"), range("3-")),
            (None, None, None, None, None)
        );
    }
}
