//! `landfall jobs`: one line per job.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;

use super::view::{self, Stop};
use crate::control::{FileWaiting, Handler, JobFilter};
use crate::model::job::Job;
use crate::model::job_state::JobState;
use crate::model::job_view::{VIEW_VERSION, file_waiting_json, job_json};
use crate::model::rule::Settings;

/// Waiting files that are shown in text.
const WAITING_SHOWN_MAX: usize = 20;

/// The arguments of `landfall jobs`.
#[derive(Args, Clone, Debug, Default)]
pub struct JobsArgs {
    /// Only jobs in this state
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    pub state: Option<JobState>,
    /// Only jobs of this rule
    #[arg(long, value_name = "RULE")]
    pub rule: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

fn parse_state(text: &str) -> Result<JobState, String> {
    JobState::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
        let known: Vec<_> = JobState::ALL.iter().map(|state| state.as_str()).collect();
        format!("the states are {}", known.join(", "))
    })
}

/// Lists the jobs of the running service, or of the store where none runs.
pub fn run(args: &JobsArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let handler = view::handler(&settings.service.data_dir)?;
    let filter = JobFilter { state: args.state, rule: args.rule.clone() };
    // No store yet: no jobs yet.
    let handler = handler.as_deref();
    view::print(|out| {
        if args.json {
            print_json(out, handler, &filter)
        } else {
            let rule_width = settings.rules.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
            print_table(out, handler, &filter, rule_width.max(4), crate::clock::now())?;
            print_files_waiting(out, handler.filter(|_| filter == JobFilter::default()))
        }
    })
}

/// Line by line, so that memory does not grow with the list.
fn print_table(
    out: &mut dyn Write,
    handler: Option<&dyn Handler>,
    filter: &JobFilter,
    rule_width: usize,
    now: Timestamp,
) -> Result<(), Stop> {
    let mut jobs = handler.into_iter().flat_map(|handler| handler.jobs(filter)).peekable();
    match jobs.peek() {
        Some(Err(refusal)) => return Err(refusal.clone().into()),
        Some(Ok(_)) => {}
        None => {
            writeln!(out, "no jobs")?;
            return Ok(());
        }
    }
    writeln!(
        out,
        "{:26}  {:10}  {:rule_width$}  {:>11}  {:>4}  SOURCE",
        "JOB", "STATE", "RULE", "RECORDS", "AGE"
    )?;
    for job in jobs {
        let Job { id, state, rule, account, created_at, source, .. } = job?;
        let (records, age) = (account.records_in, view::age(created_at, now));
        writeln!(out, "{id:26}  {state:10}  {rule:rule_width$}  {records:>11}  {age:>4}  {}", source.path)?;
    }
    Ok(())
}

/// The files that wait to be taken; they are no jobs yet, so that a filter leaves them out.
fn print_files_waiting(out: &mut dyn Write, handler: Option<&dyn Handler>) -> Result<(), Stop> {
    let mut more = 0_usize;
    for (position, file) in handler.into_iter().flat_map(Handler::files_waiting).enumerate() {
        let FileWaiting { path, reason } = file?;
        if position == 0 {
            writeln!(out, "\nwaiting files")?;
        }
        if position < WAITING_SHOWN_MAX {
            writeln!(out, "  {path}: {}", view::printable(reason.as_bytes(), usize::MAX))?;
        } else {
            more += 1;
        }
    }
    if more > 0 {
        writeln!(out, "  and {more} more: `--json` has them all")?;
    }
    Ok(())
}

fn print_json(out: &mut dyn Write, handler: Option<&dyn Handler>, filter: &JobFilter) -> Result<(), Stop> {
    write!(out, "{{\"version\":{VIEW_VERSION},\"jobs\":[")?;
    let jobs = handler.into_iter().flat_map(|handler| handler.jobs(filter));
    for (position, job) in jobs.enumerate() {
        let job = job?;
        out.write_all(if position == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &job_json(&job))?;
    }
    out.write_all(b"\n]")?;
    if *filter == JobFilter::default() {
        print_files_waiting_json(out, handler)?;
    }
    out.write_all(b"}\n")?;
    Ok(())
}

fn print_files_waiting_json(out: &mut dyn Write, handler: Option<&dyn Handler>) -> Result<(), Stop> {
    out.write_all(b",\"files_waiting\":[")?;
    for (position, file) in handler.into_iter().flat_map(Handler::files_waiting).enumerate() {
        let FileWaiting { path, reason } = file?;
        out.write_all(if position == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut *out, &file_waiting_json(&path, &reason))?;
    }
    out.write_all(b"\n]")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::printed;
    use super::*;
    use crate::control::StoreHandler;
    use crate::model::job_view::tests::sample_job;
    use crate::store::Store;

    fn handler(folder: &std::path::Path) -> StoreHandler {
        let store = Store::open(folder).expect("opens");
        let mut queued = sample_job();
        queued.id = queued.id.successor();
        queued.state = JobState::Queued;
        store.change().job(&sample_job()).job(&queued).apply().expect("applied");
        StoreHandler::new(store)
    }

    #[test]
    fn the_table_has_one_aligned_line_for_each_job() {
        let folder = tempfile::tempdir().expect("a folder");
        let handler = handler(folder.path());
        let now = Timestamp::from_second(1_796_000_120).expect("a time");
        let text = printed(|out| print_table(out, Some(&handler), &JobFilter::default(), 8, now));
        let expected = "\
JOB                         STATE       RULE          RECORDS   AGE  SOURCE
01mha2vqr00000000000000007  completed   payments           10    2m  /srv/inbox/payments-1.csv.gz
01mha2vqr00000000000000008  queued      payments           10    2m  /srv/inbox/payments-1.csv.gz
";
        let id = sample_job().id.to_string();
        assert_eq!(text.replace(&id[..25], "01mha2vqr0000000000000000"), expected);
    }

    #[test]
    fn the_json_lists_what_passes_the_filter_and_is_valid_without_jobs() {
        let folder = tempfile::tempdir().expect("a folder");
        let handler = handler(folder.path());
        let filter = JobFilter { state: Some(JobState::Queued), rule: Some("payments".into()) };
        for (handler, count) in [(Some(&handler as &dyn Handler), 1), (None, 0)] {
            let text = printed(|out| print_json(out, handler, &filter));
            let json: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
            assert_eq!(
                (json["version"].as_u64(), json["jobs"].as_array().map(Vec::len)),
                (Some(1), Some(count))
            );
        }
    }

    #[test]
    fn an_unknown_state_is_refused_with_the_known_ones() {
        assert!(parse_state("done").expect_err("refused").contains("completed"));
        assert_eq!(parse_state("held"), Ok(JobState::Held));
    }
}
