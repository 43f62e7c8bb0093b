//! `landfall trace JOB --record N`: what each step made of a record, and where it went.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;

use super::complete;
use super::view::{self, Stop};
use crate::engine::{self, Refusal, TraceAsked, TraceDecisions, TraceEnd};
use crate::listing::trace::Traced;
use crate::model::category::Category;
use crate::model::job_state::JobState;
use crate::model::rule::LineEnd;
use crate::pipeline::{Registry, StepOutcome, StepTrace};

/// The arguments of `landfall trace`.
#[derive(Args, Clone, Debug)]
pub(super) struct TraceArgs {
    /// The job's id, or at least four characters of its end
    #[arg(value_name = "JOB", add = complete::of_jobs())]
    job: String,
    /// The record's number within its entry: 1 is the first one behind the header
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    record: u64,
    /// The entry of an archive, where it has several
    #[arg(long, value_name = "NAME")]
    entry: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Reads the job's source again, in this process and as its user, and tells where one of its records went.
pub(super) fn run(args: &TraceArgs, config: Option<&Path>, registry: &Registry) -> anyhow::Result<ExitCode> {
    let settings = super::settings(config)?;
    engine::keep_private(registry, &settings);
    let Some(door) = view::door(&settings)? else {
        return Ok(view::refuse(&Refusal::NoSuchJob { text: args.job.clone() }));
    };
    let traced = || {
        let (job, rule) = (door.show(&args.job)?, door.rule_of(&args.job)?);
        let asked = TraceAsked { record: args.record, entry: args.entry.clone() };
        let decided = TraceDecisions::of(&*door, &job)?;
        let line_ends: BTreeMap<_, _> =
            rule.outputs.iter().map(|(category, output)| (category.clone(), output.line_end)).collect();
        let trace =
            engine::trace(rule, registry, settings.service.memory_max, &job, &asked, &decided, &|| true)?;
        Ok((job, trace, line_ends))
    };
    let (job, trace, line_ends) = match traced() {
        Ok(found) => found,
        Err(refusal) => return Ok(view::refuse(&refusal)),
    };
    view::print(|out| {
        let traced = Traced::new(&*door, &job, &trace)?;
        if args.json { view::json(out, &traced.view()) } else { print(out, &traced, &line_ends) }
    })
}

/// Of what was written: by its category.
type LineEnds = BTreeMap<Category, LineEnd>;

fn print(out: &mut dyn Write, traced: &Traced<'_>, line_ends: &LineEnds) -> Result<(), Stop> {
    let Traced { job, trace, .. } = traced;
    writeln!(out, "record     {}", trace.record)?;
    if !trace.entry.is_empty() {
        writeln!(out, "entry      {}", view::printable(trace.entry.as_bytes(), usize::MAX))?;
    }
    writeln!(out, "line       {}", trace.line)?;
    writeln!(out, "offset     {}", trace.offset)?;
    writeln!(out, "job        {}, rule \"{}\"", job.id, job.rule)?;
    writeln!(out, "read from  {}", trace.source)?;
    writeln!(out, "\n{}", view::printable(&trace.bytes, usize::MAX))?;
    trace.steps.iter().try_for_each(|step| print_step(out, step))?;
    print_end(out, traced, line_ends)
}

fn print_step(out: &mut dyn Write, seen: &StepTrace) -> Result<(), Stop> {
    let printable = |text: &str| view::printable(text.as_bytes(), usize::MAX);
    let told = match &seen.outcome {
        StepOutcome::On if seen.changed_to.is_some() => "changed it".to_owned(),
        StepOutcome::On => "let it pass".to_owned(),
        StepOutcome::To { category, reason: None } => format!("sent it to `{category}`"),
        StepOutcome::To { category, reason: Some(reason) } => {
            format!("sent it to `{category}`: {}", printable(reason))
        }
        StepOutcome::Dropped => "dropped it".to_owned(),
        StepOutcome::Failed(error) => format!("failed: {}", printable(error)),
    };
    writeln!(out, "\n{}: {told}", seen.step)?;
    if let Some(changed) = &seen.changed_to {
        writeln!(out, "{}", view::printable(changed, usize::MAX))?;
    }
    Ok(())
}

fn print_end(out: &mut dyn Write, traced: &Traced<'_>, line_ends: &LineEnds) -> Result<(), Stop> {
    let Traced { job, trace, output, failed } = traced;
    if let Some(failed) = failed {
        let (number, record) = (failed.number, &failed.record);
        let error = view::printable(record.error.as_bytes(), usize::MAX);
        writeln!(out, "\nfailed     in {}: {error}", record.step)?;
        let settled = failed.settled.as_deref().map(|text| view::printable(text.as_bytes(), usize::MAX));
        let settled = settled.unwrap_or_else(|| format!("`landfall records {} show {number}`", job.id));
        return Ok(writeln!(out, "           failed record {number} of the job; {settled}")?);
    }
    match &trace.end {
        TraceEnd::Dropped { step } => {
            writeln!(out, "\ndropped    by {}", view::printable(step.as_bytes(), usize::MAX))?;
        }
        TraceEnd::Failed { step, error } => {
            let error = view::printable(error.as_bytes(), usize::MAX);
            writeln!(out, "\nfailed     in {step}: {error}")?;
            if job.state.get().is_final() {
                writeln!(out, "           now; it is not among the failed records of the job")?;
            }
        }
        TraceEnd::Written { category, bytes, .. } => {
            let place = match (output, traced.position()) {
                (None, _) => format!("`{category}`, which has no output of this job"),
                (Some(output), None) => format!(
                    "{}; as which record is not told: its rule has a step that asks others, which would be asked about all records before it",
                    output.path
                ),
                (Some(output), Some(position)) => format!("{}, as record {position}", output.path),
            };
            let is_out = matches!(job.state.get(), JobState::Retiring | JobState::Completed);
            if job.abandoned.is_some() {
                writeln!(
                    out,
                    "\nits job was given up: `landfall show {}` says which outputs are published",
                    job.id
                )?;
            }
            let word = if is_out { "written    to" } else { "goes       to" };
            // Blanks at its end are a part of it.
            let end = line_ends.get(category).map_or(&b"\n"[..], |end| end.bytes());
            let record = bytes.strip_suffix(end).unwrap_or(bytes);
            writeln!(out, "\n{word} {place}\n{}", view::printable(record, usize::MAX))?;
        }
    }
    Ok(())
}
