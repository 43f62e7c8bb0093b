//! `landfall show JOB`: timeline, account, outputs, errors with hints.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::check::counted;
use super::complete;
use super::view::{self, Stop};
use crate::engine::Refusal;
use crate::model::account::Account;
use crate::model::deadline::DeadlineReport;
use crate::model::delivery::Delivery;
use crate::model::job::{HeldRecords, Job};
use crate::model::job_state::JobState;
use crate::model::job_view::job_json;
use crate::model::priority::Priority;
use crate::model::rule::Settings;

/// Entries and reasons listed in full; `--json` has them all.
const LISTED_MAX: usize = 20;

/// The arguments of `landfall show`.
#[derive(Args, Clone, Debug)]
pub(super) struct ShowArgs {
    /// The job's id, or at least four characters of its end
    #[arg(value_name = "JOB", add = complete::of_jobs())]
    pub job: String,
    /// Then say what becomes of it, until it has ended
    #[arg(long)]
    pub follow: bool,
    /// Print JSON; with --follow a line of it for each change
    #[arg(long)]
    pub json: bool,
}

/// Shows one job of the running service, or of the store where none runs.
pub(super) fn run(args: &ShowArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let Some(door) = view::door(settings)? else {
        return Ok(view::refuse(&Refusal::NoSuchJob { text: args.job.clone() }));
    };
    view::print(|out| {
        let job = door.show(&args.job)?;
        if args.json {
            return view::json(out, &job_json(&job));
        }
        print_job(out, &job)
    })
}

pub(super) fn print_job(out: &mut dyn Write, job: &Job) -> Result<(), Stop> {
    print_head(out, job)?;
    print_trouble(out, job)?;
    print_account(out, job)?;
    print_outputs(out, job)?;
    print_timeline(out, job)?;
    Ok(())
}

fn print_head(out: &mut dyn Write, job: &Job) -> io::Result<()> {
    writeln!(out, "job        {}", job.id)?;
    writeln!(out, "state      {}", job.state)?;
    writeln!(out, "rule       {}", job.rule)?;
    if job.priority != Priority::default() {
        writeln!(out, "priority   {}", job.priority.get())?;
    }
    if job.workers_max > 0 {
        writeln!(out, "workers    {} at most", job.workers_max)?;
    }
    writeln!(out, "source     {}", job.source.path)?;
    if let Some(first) = job.parent {
        let what = if job.retries.is_some() {
            "some failed records of which it takes again"
        } else {
            "which it runs again"
        };
        writeln!(out, "parent     {first}, {what}")?;
    }
    if let Some(kept) = &job.source.lies_at {
        writeln!(out, "read from  {kept}, where it stays")?;
    }
    if let Some(place) = place_of(job) {
        writeln!(out, "{place}")?;
    }
    if let Some(by) = job.source.complete_by {
        writeln!(out, "complete   by {}", by.told())?;
    }
    for (name, value) in &job.vars {
        writeln!(out, "variable   {name} = {value}")?;
    }
    writeln!(out, "read       {}, {} decoded", view::bytes(job.bytes_read), view::bytes(job.bytes_decoded))?;
    if job.state == JobState::Running {
        let (worked, size) = (view::bytes(job.bytes_worked), view::bytes(job.source.identity.size));
        writeln!(out, "worked     about {worked} of {size}")?;
    }
    if let Some(hash) = &job.content_hash {
        writeln!(out, "content    {hash}")?;
    }
    print_delivery(out, &job.delivery)?;
    writeln!(out, "slices     {} of {} done, attempt {}", job.slices.done, job.slices.total, job.attempts)?;
    if let Some(deaths) = job.state.deaths().filter(|deaths| *deaths > 0) {
        let times = counted(deaths, "time");
        writeln!(out, "deaths     the service died {times} while it was at this job")?;
    }
    if job.resumed_at_slice > 0 || job.records_again > 0 {
        writeln!(
            out,
            "resumed    at slice {}, after record {}; {} ran again",
            job.resumed_at_slice,
            job.resumed_at_record,
            counted(job.records_again, "record")
        )?;
    }
    if !job.resumable {
        writeln!(
            out,
            "resume     after a stop it starts from its first slice: an encrypted output cannot be continued"
        )?;
    }
    Ok(())
}

/// Where the source is. Its claimed name is free once it went on; a place that is planned is not told before it is there.
pub(super) fn place_of(job: &Job) -> Option<String> {
    match (&job.retired_to, &job.source.claimed) {
        (Some(place), _)
            if matches!(job.state.get(), JobState::Failed | JobState::Refused | JobState::Aborted) =>
        {
            Some(format!("quarantine {place}"))
        }
        (Some(place), _) if job.state.is_final() => Some(format!("retired    {place}")),
        (None, Some(claimed)) if job.leaves_its_source() => Some(format!("claimed    {claimed}")),
        (None, Some(_)) if job.state == JobState::Completed => {
            Some("retired    deleted (`source.on_success`)".to_owned())
        }
        (_, Some(claimed)) if !job.state.is_final() => Some(format!("claimed    {claimed}")),
        _ => None,
    }
}

fn print_delivery(out: &mut dyn Write, delivery: &Delivery) -> io::Result<()> {
    if let Some(key) = &delivery.key {
        writeln!(out, "delivery   {key}, revision {}", delivery.revision)?;
    }
    if let Some(first) = delivery.duplicate_of {
        writeln!(out, "duplicate  of job {first}: the same content")?;
    }
    if let Some(last) = delivery.corrects {
        writeln!(out, "corrects   job {last}")?;
    }
    Ok(())
}

fn print_deadline(out: &mut dyn Write, report: &DeadlineReport) -> io::Result<()> {
    write!(out, "deadline   {}: {}", view::moment(report.at), report.state)?;
    if let Some(expected) = report.expected_at {
        write!(out, ", expected at {}", view::moment(expected))?;
    }
    if !report.detail.is_empty() {
        write!(out, "; {}", report.detail)?;
    }
    writeln!(out)
}

fn print_trouble(out: &mut dyn Write, job: &Job) -> io::Result<()> {
    if let Some(report) = &job.deadline {
        print_deadline(out, report)?;
    }
    if let Some(waiting) = &job.waiting {
        let what = serde_json::to_value(waiting.waits_for)?;
        write!(out, "waiting    for {}", what.as_str().unwrap_or_default())?;
        if let Some(until) = waiting.until {
            write!(out, ", until {}", view::moment(until))?;
        }
        writeln!(out, ": {}", printable(&waiting.detail))?;
    }
    if let Some(error) = &job.error {
        let kind = serde_json::to_value(error.kind)?;
        writeln!(out, "error      {}: {}", kind.as_str().unwrap_or_default(), printable(&error.message))?;
        if let Some(hint) = &error.hint {
            writeln!(out, "hint       {}", printable(hint))?;
        }
    }
    Ok(())
}

fn print_account(out: &mut dyn Write, job: &Job) -> io::Result<()> {
    let account = &job.account;
    let published = match job.state.get() {
        JobState::Completed | JobState::Retiring => "",
        // Given back, or changed by its sender.
        JobState::Aborted if *account == Account::default() && job.slices.done > 0 => {
            ": nothing counts; what its file is now is another job's"
        }
        JobState::Aborted if !job.outputs.is_empty() => ": some of it is published, or may be",
        JobState::Publishing => " (being published)",
        JobState::Failed | JobState::Refused | JobState::Aborted => {
            " of what was read; nothing was published"
        }
        JobState::Queued | JobState::Running | JobState::Held | JobState::Paused => {
            " so far; nothing is published yet"
        }
    };
    writeln!(out, "\naccount{published}")?;
    let records = |count: u64| if count == 1 { "record" } else { "records" };
    writeln!(out, "  {:>12}  {} in", account.records_in, records(account.records_in))?;
    print_counts(out, "to", &account.records_out)?;
    print_counts(out, "dropped by", &account.dropped_by)?;
    writeln!(out, "  {:>12}  failed {}", account.records_failed, records(account.records_failed))?;
    if account.records_retried > 0 {
        let how = match job.state.get() {
            _ if job.held_records == HeldRecords::default() => "retried in jobs of their own",
            state if state.is_final() => "to be taken again, before the job ended",
            _ => "to be taken again",
        };
        writeln!(out, "  {:>12}  {how}", account.records_retried)?;
    }
    if account.records_skipped > 0 {
        writeln!(out, "  {:>12}  lines skipped: no records", account.records_skipped)?;
    }
    if job.characters_replaced > 0 {
        writeln!(out, "  {:>12}  characters replaced: not in the encoding", job.characters_replaced)?;
    }
    if job.unterminated {
        writeln!(out, "\nthe last record has no line end: see whether the file was cut off")?;
    }
    if !account.reasons.is_empty() {
        writeln!(out, "\nreasons")?;
        print_counts(out, "", &account.reasons)?;
    }
    if account.records_failed > 0 {
        writeln!(out, "\n`landfall records {}` lists the failed records", job.id)?;
    }
    if job.entries.len() > 1 || job.entries.iter().any(|entry| entry.skipped.is_some()) {
        writeln!(out, "\nentries")?;
        for entry in job.entries.iter().take(LISTED_MAX) {
            let name = printable(&entry.name);
            let note = if entry.unterminated { " (its last record has no line end)" } else { "" };
            match &entry.skipped {
                None => writeln!(out, "  {:>12}  {name}{note}", entry.records)?,
                Some(reason) => writeln!(out, "  {:>12}  {name} ({reason})", "skipped")?,
            }
        }
        print_more(out, job.entries.len())?;
    }
    Ok(())
}

/// The largest first.
fn print_counts<K: Display + Ord>(
    out: &mut dyn Write,
    word: &str,
    counts: &BTreeMap<K, u64>,
) -> io::Result<()> {
    let mut largest: Vec<_> = counts.iter().collect();
    largest.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), *name));
    for (name, count) in largest.into_iter().take(LISTED_MAX) {
        let name = printable(&name.to_string());
        let space = if word.is_empty() { "" } else { " " };
        writeln!(out, "  {count:>12}  {word}{space}{name}")?;
    }
    print_more(out, counts.len())
}

fn print_more(out: &mut dyn Write, count: usize) -> io::Result<()> {
    match count.checked_sub(LISTED_MAX) {
        None | Some(0) => Ok(()),
        Some(more) => writeln!(out, "  {:>12}  and {more} more: `--json` has them all", "…"),
    }
}

fn print_outputs(out: &mut dyn Write, job: &Job) -> io::Result<()> {
    if job.outputs.is_empty() {
        return Ok(());
    }
    // A name that is only planned is not told as a place.
    let planned = (job.state == JobState::Publishing).then_some(", as planned: not all of them are there");
    writeln!(out, "\noutputs{}", planned.unwrap_or_default())?;
    for output in &job.outputs {
        let size = view::bytes(output.bytes);
        writeln!(out, "  {:>12}  {}  {} ({size})", output.records, output.category, output.path)?;
        if let Some(hash) = &output.sha256 {
            writeln!(out, "  {:>12}  sha256 {hash}", "")?;
        }
    }
    Ok(())
}

fn print_timeline(out: &mut dyn Write, job: &Job) -> io::Result<()> {
    writeln!(out, "\ntimeline")?;
    for moment in &job.timeline {
        let line = format!("{}  {:10}  {}", view::moment(moment.at), moment.state, printable(&moment.detail));
        writeln!(out, "  {}", line.trim_end())?;
    }
    Ok(())
}

fn printable(text: &str) -> String {
    view::printable(text.as_bytes(), usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::printed;
    use super::*;
    use crate::model::job_view::tests::sample_job;

    #[test]
    fn a_job_is_shown_with_its_trouble_account_outputs_and_timeline() {
        let job = sample_job();
        let expected = format!(
            "\
job        {}
state      completed
rule       payments
source     /srv/inbox/payments-1.csv.gz
retired    /data/archive/payments-1.csv.gz
variable   sender = acme
read       1 B, 2 B decoded
content    blake3:bb
delivery   acme/payments-1, revision 2
corrects   job {}
slices     1 of 1 done, attempt 1
deadline   2026-11-30T00:53:20Z: met
waiting    for key: no identity fits
error      input: cut short
hint       send it again

account
            10  records in
             8  to main
             2  to invalid
             0  failed records

the last record has no line end: see whether the file was cut off

reasons
             2  amount: not a decimal

outputs
             8  main  /data/out/payments-1.csv (120 B)

timeline
  2026-11-30T00:53:20Z  queued      claimed
",
            job.id,
            job.delivery.corrects.expect("it corrects one")
        );
        assert_eq!(printed(|out| print_job(out, &job)), expected);
    }

    #[test]
    fn a_job_that_failed_does_not_read_as_published_and_its_source_is_named_where_it_is() {
        let shown = |state: JobState| {
            printed(|out| print_job(out, &Job { state: state.into(), outputs: Vec::new(), ..sample_job() }))
        };
        let failed = shown(JobState::Failed);
        for words in
            ["quarantine /data/archive/payments-1.csv.gz", "account of what was read; nothing was published"]
        {
            assert!(failed.contains(words), "`{words}` is not in:\n{failed}");
        }
        assert!(!failed.contains("retired"), "{failed}");
        // A place that is planned is not where it is.
        let retiring = shown(JobState::Retiring);
        assert!(!retiring.contains("/data/archive"), "{retiring}");
        let running = shown(JobState::Running);
        assert!(
            running.contains("worked     about 1 B of") && running.contains("nothing is published yet"),
            "{running}"
        );
    }
}
