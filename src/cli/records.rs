//! `landfall records JOB`: its failed records.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::view::{self, Stop};
use crate::engine::{Door, Refusal};
use crate::listing::records::{RecordView, list_json};
use crate::model::account::FailedRecord;
use crate::model::rule::Settings;

const LINE_BYTES_MAX: usize = 60;
const ERROR_BYTES_MAX: usize = 200;

/// The arguments of `landfall records`.
#[derive(Args, Clone, Debug)]
pub(super) struct RecordsArgs {
    /// The job's id, or at least four characters of its end
    #[arg(value_name = "JOB")]
    pub job: String,
    /// What to do with them: list them, if nothing is said
    #[command(subcommand)]
    pub action: Option<RecordsAction>,
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
}

/// What to do with a job's failed records.
#[derive(Subcommand, Clone, Debug, PartialEq, Eq)]
pub(super) enum RecordsAction {
    /// Print one line for each; so does no command
    List,
    /// Print one of them in full
    Show {
        /// Its number in the list's first column
        #[arg(value_name = "N")]
        number: u64,
    },
}

/// Lists or shows failed records from the running service, or from the store where none runs.
pub(super) fn run(args: &RecordsArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let Some(door) = view::door(settings)? else {
        return Ok(view::refuse(&Refusal::NoSuchJob { text: args.job.clone() }));
    };
    let door = door.as_ref();
    view::print(|out| match args.action {
        Some(RecordsAction::Show { number }) => show(out, door, &args.job, number, args.json),
        Some(RecordsAction::List) | None if args.json => list_json(out, door, &args.job),
        Some(RecordsAction::List) | None => list(out, door, &args.job),
    })
}

fn list(out: &mut dyn Write, door: &dyn Door, job: &str) -> Result<(), Stop> {
    let Some(records) = view::any(door.records(job))? else { return Ok(writeln!(out, "no failed records")?) };
    writeln!(
        out,
        "{:>6}  {:>10}  {:>10}  {:>12}  STEP: ERROR, then the record",
        "N", "RECORD", "LINE", "OFFSET"
    )?;
    for (number, record) in (1u64..).zip(records) {
        let FailedRecord { record, line, offset, step, error, bytes, entry_name, .. } = record?;
        let error = view::printable(error.as_bytes(), ERROR_BYTES_MAX);
        write!(out, "{number:>6}  {record:>10}  {line:>10}  {offset:>12}  {step}: {error}")?;
        if !entry_name.is_empty() {
            write!(out, " (in {})", view::printable(entry_name.as_bytes(), ERROR_BYTES_MAX))?;
        }
        writeln!(out, "\n{:46}{}", "", view::printable(&bytes, LINE_BYTES_MAX))?;
    }
    Ok(())
}

fn show(out: &mut dyn Write, door: &dyn Door, job: &str, number: u64, json: bool) -> Result<(), Stop> {
    let record = door.record(job, number)?;
    if json {
        return view::json(out, &RecordView::of(number, &record));
    }
    writeln!(out, "record     {}", record.record)?;
    if !record.entry_name.is_empty() {
        writeln!(out, "entry      {}", view::printable(record.entry_name.as_bytes(), usize::MAX))?;
    }
    writeln!(out, "line       {}", record.line)?;
    writeln!(out, "offset     {}", record.offset)?;
    writeln!(out, "length     {} bytes", record.length)?;
    writeln!(out, "step       {}", record.step)?;
    writeln!(out, "error      {}", view::printable(record.error.as_bytes(), usize::MAX))?;
    if record.length > record.bytes.len() as u64 {
        writeln!(out, "kept       its first {} bytes", record.bytes.len())?;
    }
    writeln!(out, "\n{}", view::printable(&record.bytes, usize::MAX))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::view::tests::printed;
    use super::*;
    use crate::engine::Engine;
    use crate::model::job_view::tests::sample_job;
    use crate::store::Store;

    fn door() -> Engine {
        let store = Store::in_memory();
        let job = sample_job();
        let record = |number, bytes: &[u8]| FailedRecord {
            entry: 0,
            entry_name: String::new(),
            record: number,
            offset: 30,
            line: number + 1,
            step: "step 2, exec".into(),
            error: "refused".into(),
            bytes: bytes.to_vec(),
            length: bytes.len() as u64,
        };
        let records = [record(3, b"1,a"), record(7, b"2,\xff")];
        store.change().job(&job).failed_records(job.id, 0, &records).apply().expect("applied");
        Engine::over(store, &[])
    }

    #[test]
    fn failed_records_are_listed_and_shown_by_their_place_in_the_list() {
        let door = door();
        let job = sample_job().id.to_string();
        let text = printed(|out| list(out, &door, &job));
        assert!(
            text.contains("     2           7           8            30  step 2, exec: refused\n"),
            "{text}"
        );
        assert!(text.ends_with("2,\\xff\n"), "{text}");
        let text = printed(|out| show(out, &door, &job, 1, false));
        assert!(text.starts_with("record     3\n") && text.ends_with("\n1,a\n"), "{text}");
        assert!(show(&mut Vec::new(), &door, &job, 3, false).is_err());
        assert!(show(&mut Vec::new(), &door, &job, 0, false).is_err());
    }

    #[test]
    fn the_json_keeps_the_bytes_of_a_record_that_is_not_utf8() {
        let door = door();
        let text = printed(|out| list_json(out, &door, &sample_job().id.to_string()));
        let json: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
        assert_eq!(json["records"][0]["data"], "1,a");
        assert_eq!(json["records"][1]["data_bytes"], "Miz/");
        let mut out = Vec::new();
        assert!(list_json(&mut out, &door, "zzzz").is_err() && out.is_empty());
        assert!(list(&mut out, &door, "zzzz").is_err() && out.is_empty());
    }

    #[test]
    fn the_list_is_what_the_command_does_by_itself() {
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            args: RecordsArgs,
        }
        let parse = |words: &[&str]| Line::try_parse_from(words).expect("parses").args;
        assert_eq!(parse(&["records", "01ab"]).action, None);
        assert_eq!(parse(&["records", "01ab", "list", "--json"]).action, Some(RecordsAction::List));
        assert_eq!(parse(&["records", "01ab", "show", "3"]).action, Some(RecordsAction::Show { number: 3 }));
    }
}
