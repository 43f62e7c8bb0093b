//! `landfall output JOB`: what a job published, unpacked and decrypted.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Args;

use super::complete;
use super::exit::FAILED;
use super::say::{complain, say_aside};
use super::view;
use crate::control::{Reading, Readings};
use crate::engine::{Door, Refusal};
use crate::model::fault::{Fault as _, JobError};
use crate::model::job::{Job, PublishedOutput};
use crate::model::rule::{OnComplete, Rule, Settings};
use crate::published::{self, Keys, Range, ReadError};

/// The arguments of `landfall output`.
#[derive(Args, Clone, Debug)]
pub(super) struct OutputArgs {
    /// The job's id, or at least four characters of its end
    #[arg(value_name = "JOB", add = complete::of_jobs())]
    job: String,
    /// Only this category, like main or invalid
    #[arg(long, value_name = "NAME")]
    category: Option<String>,
    /// Only this entry, where each entry of an archive has an output of its own
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// Only these records of one output, like 3 or 5-9: the first one is 1; a header comes before them
    #[arg(long, value_name = "RANGE")]
    records: Option<Asked>,
    /// A file with an age identity, or a secret key of OpenPGP, for encrypted outputs; may be given several times
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
}

/// `--records`.
#[derive(Clone, Copy, Debug)]
struct Asked(Range);

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |digits: &str| digits.parse::<u64>().ok().filter(|number| *number > 0);
        match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self(Range { first, last })),
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
    let door: Arc<dyn Door> = Arc::from(door);
    let _read = kept_while_read(&door, &job, &rule)?;
    let chosen = match published::chosen(&job, args.category.as_deref(), args.entry.as_deref()) {
        Ok(chosen) if chosen.len() > 1 && args.records.is_some() => {
            let hint = "choose one with `--category` and `--entry`";
            complain("records are counted for each output, and there are several", Some(hint));
            return Ok(ExitCode::from(FAILED));
        }
        Ok(chosen) => chosen,
        Err(error) => {
            complain(&error.to_string(), error.hint().as_deref());
            return Ok(ExitCode::from(FAILED));
        }
    };
    let scratch = published::scratch()?;
    let own = match door
        .keys()
        .map_or_else(|| published::own_keys(&rule, &settings.service), |keys| Ok(Some(keys)))
    {
        Ok(own) => own,
        Err(error) => {
            complain(&JobError::from_fault(&error).message, error.hint().as_deref());
            return Ok(ExitCode::from(FAILED));
        }
    };
    let keys = Keys { identities: &args.identity, own, scratch: scratch.path() };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut not_shown = Vec::new();
    for output in &chosen {
        let name = name_of(output);
        if chosen.len() > 1 {
            say_aside!("{name}: {} records, {}", output.records, output.path);
        }
        if published::may_be_anothers(&job, output) {
            say_aside!(
                "warning: {} was changed after the job had ended: another file may have taken its place",
                output.path
            );
        }
        let range = args.records.map(|Asked(range)| range);
        let printed = published::print(output, &rule, range, &keys, &mut out);
        match printed.and_then(|()| out.flush().map_err(ReadError::Print)) {
            Ok(()) => {}
            // The reader has seen enough: `landfall output JOB | head`.
            Err(ReadError::Print(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Ok(ExitCode::SUCCESS);
            }
            Err(error) if chosen.len() == 1 => return Err(error.into()),
            // The others may be told all the same: the key of one category need not be that of another.
            Err(error) => {
                complain(&error.to_string(), error.hint().as_deref());
                not_shown.push(name);
            }
        }
    }
    if not_shown.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let (count, all) = (not_shown.len(), chosen.len());
    let message =
        format!("{count} of {all} outputs could not be shown, or not whole: {}", not_shown.join("; "));
    complain(&message, None);
    Ok(ExitCode::from(FAILED))
}

/// A job that would be destroyed, because it is done, stays until this is dropped.
fn kept_while_read(
    door: &Arc<dyn Door>,
    job: &Job,
    rule: &Rule,
) -> anyhow::Result<Option<(Readings, Arc<Reading>)>> {
    if rule.source.on_complete == OnComplete::Keep {
        return Ok(None);
    }
    let readings = Readings::begin(door).context("cannot start a thread")?;
    let reading = readings.of(job.id);
    readings.tell(door.as_ref());
    Ok(Some((readings, reading)))
}

fn name_of(output: &PublishedOutput) -> String {
    let entry = output.entry.as_ref().map(|entry| format!(", entry {entry}")).unwrap_or_default();
    format!("{}{}", output.category, view::printable(entry.as_bytes(), usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_number_or_two_in_order() {
        let range = |text: &str| text.parse::<Asked>().ok().map(|Asked(range)| (range.first, range.last));
        assert_eq!((range("3"), range("5-9"), range("7-7")), (Some((3, 3)), Some((5, 9)), Some((7, 7))));
        assert_eq!(
            (range("0"), range("9-5"), range(""), range("-3"), range("3-")),
            (None, None, None, None, None)
        );
    }
}
