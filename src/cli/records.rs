//! `landfall records JOB`: its failed records, and what becomes of them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};

use super::complete;
use super::edit;
use super::pause::{Patience, goes_on};
use super::private;
use super::say::{complain, say};
use super::view::{self, Stop};
use crate::engine::{Act, Door, Refusal};
use crate::listing::records::{RecordView, Wanted, list_json};
use crate::model::account::{FailedRecord, RecordBytes};
use crate::model::job::Job;
use crate::model::job_view::VIEW_VERSION;
use crate::model::os_text::escaped_path;
use crate::model::reason::Reason;
use crate::model::rule::Settings;
use crate::model::settling::{Chosen, EDITED_BYTES_MAX, NumberedRecord, Numbers};
use crate::model::shown_json;

const LINE_BYTES_MAX: usize = 60;
const ERROR_BYTES_MAX: usize = 200;
/// Of those that were named and acted on, so many are told one by one.
const TOLD_MAX: usize = 10;
/// Of a record that is no text, shown in a line.
const HEX_BYTES: usize = 16;

/// The arguments of `landfall records`.
#[derive(Args, Clone, Debug)]
pub(super) struct RecordsArgs {
    /// The job's id, or at least four characters of its end
    #[arg(value_name = "JOB", add = complete::of_jobs())]
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
    /// Print one line for each that is left; so does no command
    List {
        /// Those too that were dropped or retried
        #[arg(long)]
        settled: bool,
    },
    /// Print one of them in full; one that is no text in hexadecimal
    Show {
        /// Its number in the list's first column
        #[arg(value_name = "N")]
        number: u64,
    },
    /// Write them as they were read, one a line
    Export {
        #[command(flatten)]
        which: Which,
        /// `raw`: the bytes; `jsonl`: with all that is known of each
        #[arg(long, value_enum, default_value_t = ExportAs::Raw)]
        format: ExportAs,
        /// Into this file, which must not be there yet; else to standard output
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
    },
    /// Take them again: in a job of their own, under the rule as it is now; or with the job that waits for them
    Retry {
        #[command(flatten)]
        which: Which,
    },
    /// Write one of them anew in $VISUAL or $EDITOR, and take it again so
    Edit {
        /// Its number in the list's first column
        #[arg(value_name = "N")]
        number: u64,
    },
    /// Give them up: the account says why
    Drop {
        #[command(flatten)]
        which: Which,
        /// Why; it stays in the account and the history
        #[arg(long, value_name = "TEXT")]
        reason: Reason,
    },
}

/// Which failed records.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[group(required = true)]
pub(super) struct Which {
    /// Numbers in the list's first column, like 3 or 5-9
    #[arg(value_name = "N", group = "which")]
    numbers: Vec<Numbers>,
    /// All that are left
    #[arg(long, group = "which")]
    all: bool,
}

impl Which {
    fn numbers(&self) -> Option<Numbers> {
        let ranges = self.numbers.iter().flat_map(|numbers| numbers.ranges().iter().copied());
        if self.all { None } else { Some(Numbers::of(ranges)) }
    }

    fn chosen(&self) -> Chosen {
        self.numbers().map_or(Chosen::All, Chosen::These)
    }
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExportAs {
    Raw,
    Jsonl,
}

/// Lists or shows failed records, or does something with them, in the running service, or in the store where none runs.
pub(super) fn run(args: &RecordsArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let Some(opened) = view::door(settings)? else {
        return Ok(view::refuse(&Refusal::NoSuchJob { text: args.job.clone() }));
    };
    let (door, job) = (opened.as_ref(), args.job.as_str());
    match &args.action {
        Some(RecordsAction::Show { number }) => view::print(|out| show(out, door, job, *number, args.json)),
        Some(RecordsAction::Export { .. }) if args.json => {
            complain(
                "`export` has a format of its own",
                Some("`--format jsonl` writes JSON, a line for each"),
            );
            Ok(ExitCode::from(super::exit::USAGE))
        }
        Some(RecordsAction::Export { which, format, to: Some(file) }) => {
            export_to(file, door, job, which, *format)
        }
        Some(RecordsAction::Export { which, format, to: None }) => {
            let mut cut = 0;
            let code = view::print(|out| export(out, door, job, which, *format).map(|count| cut = count))?;
            Ok(tell_cut(cut, code))
        }
        Some(RecordsAction::Drop { which, reason }) => {
            let act =
                Act::DropRecords { job: job.to_owned(), records: which.chosen(), reason: reason.clone() };
            let named = which.numbers().unwrap_or_default();
            Ok(act_on(door, job, &act, (&named, args.json), |_| "dropped".to_owned()))
        }
        Some(RecordsAction::Retry { which }) => {
            let act = Act::RetryRecords { job: job.to_owned(), records: which.chosen() };
            let named = which.numbers().unwrap_or_default();
            Ok(retry(door, job, &act, (&named, args.json), "retried"))
        }
        Some(RecordsAction::Edit { number }) => {
            drop(opened); // nobody has the store while an editor is open
            edit_one(settings, job, *number, args.json)
        }
        Some(RecordsAction::List { settled: true }) if args.json => {
            view::print(|out| list_json(out, door, job, Wanted::all(true)))
        }
        Some(RecordsAction::List { settled: true }) => view::print(|out| list(out, door, job, true)),
        Some(RecordsAction::List { settled: false }) | None if args.json => {
            view::print(|out| list_json(out, door, job, Wanted::all(false)))
        }
        Some(RecordsAction::List { settled: false }) | None => view::print(|out| list(out, door, job, false)),
    }
}

fn retry(door: &dyn Door, job: &str, act: &Act, told: (&Numbers, bool), what: &str) -> ExitCode {
    // The rule may have been mended a moment ago.
    if door.is_service() {
        door.reload().ok();
    }
    // Where it waits for them, they are taken with it.
    let own = door.show(job).ok().filter(Job::waits_for_records).map(|job| job.id.to_string());
    act_on(door, job, act, told, |child| {
        if own.is_some_and(|own| own == child) {
            return format!("{what} with their job, once each is decided on");
        }
        let goes_on = goes_on(door, &child, &Patience::until_begun());
        format!("{what} as job {child}; {goes_on}")
    })
}

/// Has one written anew, and taken again so.
fn edit_one(settings: &Settings, job: &str, number: u64, json: bool) -> anyhow::Result<ExitCode> {
    let edit_to = |bytes| Act::EditRecord { job: job.to_owned(), number, data_bytes: RecordBytes(bytes) };
    let was = match what_to_edit(settings, job, number, &edit_to(Vec::new()))? {
        Ok(was) => was,
        Err(code) => return Ok(code), // before anybody writes what nobody takes
    };
    let edited = edit::edit(&was)?;
    let why_not = if edited.bytes == was {
        Some(
            "was not changed; an editor that leaves its window open and ends at once must be told to wait, as `code --wait` is",
        )
    } else {
        edited.bytes.is_empty().then_some("would be empty; `landfall records JOB drop N` drops one")
    };
    if let Some(why_not) = why_not {
        say!("nothing was done: failed record {number} {why_not}");
        return Ok(ExitCode::SUCCESS);
    }
    let code = if edited.bytes.len() > EDITED_BYTES_MAX {
        // More than a running service takes in one line.
        let message = format!("what was written has more than {EDITED_BYTES_MAX} bytes; nothing was done");
        complain(&message, Some("have the record sent again, and drop this one"));
        ExitCode::from(super::exit::FAILED)
    } else {
        let named = Numbers::of([(number, number)]);
        match view::door(settings) {
            Ok(Some(door)) => {
                let act = edit_to(edited.bytes.clone());
                retry(door.as_ref(), job, &act, (&named, json), "edited, and retried")
            }
            Ok(None) => view::refuse(&Refusal::NoSuchJob { text: job.to_owned() }),
            Err(error) => {
                super::explain::explain(&error);
                ExitCode::from(super::exit::FAILED)
            }
        }
    };
    if code != ExitCode::SUCCESS {
        complain(&format!("what was written is kept in {}", edited.keep().display()), None);
    }
    Ok(code)
}

/// What the record is now; else why it cannot be edited was told.
fn what_to_edit(
    settings: &Settings,
    job: &str,
    number: u64,
    act: &Act,
) -> anyhow::Result<Result<Vec<u8>, ExitCode>> {
    let Some(door) = view::door(settings)? else {
        return Ok(Err(view::refuse(&Refusal::NoSuchJob { text: job.to_owned() })));
    };
    let found = match door.record(job, number) {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(view::refuse(&refusal))),
    };
    let NumberedRecord { record, settled, edited, .. } = found;
    let cannot = if let Some(settled) = settled {
        Some(format!("was {}", view::printable(settled.as_bytes(), ERROR_BYTES_MAX)))
    } else if record.length > record.bytes.len() as u64 {
        Some("is kept only in part".to_owned())
    } else {
        let is_long = record.bytes.len() > EDITED_BYTES_MAX;
        is_long.then(|| format!("has more than {EDITED_BYTES_MAX} bytes"))
    };
    if let Some(why) = cannot {
        let hint = format!("`landfall records {job}` lists those that are left");
        complain(&format!("failed record {number} {why}, and is not edited"), Some(&hint));
        return Ok(Err(ExitCode::from(super::exit::FAILED)));
    }
    match door.would(act) {
        Ok(()) => Ok(Ok(edited.map_or(record.bytes, |edited| edited.0))),
        Err(refusal) => Ok(Err(view::refuse(&refusal))),
    }
}

/// Does it, and says which failed records that were, if they were named, and how many are left.
fn act_on(
    door: &dyn Door,
    job: &str,
    act: &Act,
    (named, json): (&Numbers, bool),
    told: impl FnOnce(String) -> String,
) -> ExitCode {
    let failed = |door: &dyn Door| door.show(job).map(|job| job.account.records_failed);
    let done = failed(door).and_then(|before| Ok((before, door.act(act)?.to_string(), failed(door)?)));
    match done {
        Ok((before, id, left)) => {
            let count = before.saturating_sub(left);
            if json {
                say!(
                    "{}",
                    serde_json::json!({ "version": VIEW_VERSION, "id": id, "records": count, "left": left })
                );
                return ExitCode::SUCCESS;
            }
            let s = if count == 1 { "" } else { "s" };
            say!("{count} failed record{s} {}", told(id));
            for number in named.ranges().iter().flat_map(|(first, last)| *first..=*last).take(TOLD_MAX) {
                if let Ok(found) = door.record(job, number) {
                    say!("  {number}: {}", in_a_line(&found.record));
                }
            }
            if left > 0 {
                say!("{left} left: `landfall records {job}` lists them");
            }
            ExitCode::SUCCESS
        }
        Err(refusal) => view::refuse(&refusal),
    }
}

/// Where it stood, and how it begins, as the list shows it.
fn in_a_line(record: &FailedRecord) -> String {
    let FailedRecord { record, line, bytes, entry_name, .. } = record;
    let of_entry = match entry_name.as_str() {
        "" => String::new(),
        name => format!(" (in {})", view::printable(name.as_bytes(), ERROR_BYTES_MAX)),
    };
    format!("record {record}, line {line}{of_entry}: {}", view::printable(bytes, LINE_BYTES_MAX))
}

fn list(out: &mut dyn Write, door: &dyn Door, job: &str, settled: bool) -> Result<(), Stop> {
    let Some(records) = view::any(door.records(job, settled))? else {
        return Ok(writeln!(out, "no failed records")?);
    };
    writeln!(
        out,
        "{:>6}  {:>10}  {:>10}  {:>12}  STEP: ERROR, then the record",
        "N", "RECORD", "LINE", "OFFSET"
    )?;
    for found in records {
        let NumberedRecord { number, record, settled, .. } = found?;
        let FailedRecord { record, line, offset, step, error, bytes, entry_name, .. } = record;
        let error = view::printable(error.as_bytes(), ERROR_BYTES_MAX);
        write!(out, "{number:>6}  {record:>10}  {line:>10}  {offset:>12}  {step}: {error}")?;
        if !entry_name.is_empty() {
            write!(out, " (in {})", view::printable(entry_name.as_bytes(), ERROR_BYTES_MAX))?;
        }
        if let Some(settled) = settled {
            write!(out, "\n{:46}{}", "", view::printable(settled.as_bytes(), ERROR_BYTES_MAX))?;
        }
        writeln!(out, "\n{:46}{}", "", view::printable(&bytes, LINE_BYTES_MAX))?;
    }
    Ok(())
}

fn show(out: &mut dyn Write, door: &dyn Door, job: &str, number: u64, json: bool) -> Result<(), Stop> {
    let found = door.record(job, number)?;
    if json {
        return view::json(out, &RecordView::of(&found));
    }
    let record = &found.record;
    writeln!(out, "record     {}", record.record)?;
    if !record.entry_name.is_empty() {
        writeln!(out, "entry      {}", view::printable(record.entry_name.as_bytes(), usize::MAX))?;
    }
    writeln!(out, "line       {}", record.line)?;
    writeln!(out, "offset     {}", record.offset)?;
    writeln!(out, "length     {} bytes", record.length)?;
    writeln!(out, "step       {}", record.step)?;
    writeln!(out, "error      {}", view::printable(record.error.as_bytes(), usize::MAX))?;
    if let Some(settled) = &found.settled {
        writeln!(out, "settled    {}", view::printable(settled.as_bytes(), usize::MAX))?;
    }
    if record.length > record.bytes.len() as u64 {
        writeln!(out, "kept       its first {} bytes", record.bytes.len())?;
    }
    writeln!(out)?;
    show_bytes(out, &record.bytes)?;
    if let Some(edited) = &found.edited {
        writeln!(out, "\nedited to\n")?;
        show_bytes(out, &edited.0)?;
    }
    Ok(())
}

fn show_bytes(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Stop> {
    if std::str::from_utf8(bytes).is_err() {
        return hexadecimal(out, bytes);
    }
    Ok(writeln!(out, "{}", view::printable(bytes, usize::MAX))?)
}

/// Bytes as `xxd` shows them: where, in hexadecimal, and as text.
fn hexadecimal(out: &mut dyn Write, bytes: &[u8]) -> Result<(), Stop> {
    for (line, bytes) in bytes.chunks(HEX_BYTES).enumerate() {
        write!(out, "{:08x} ", line * HEX_BYTES)?;
        for position in 0..HEX_BYTES {
            match bytes.get(position) {
                Some(byte) => write!(out, " {byte:02x}")?,
                None => write!(out, "   ")?,
            }
        }
        let shown = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '.' };
        writeln!(out, "  {}", bytes.iter().map(shown).collect::<String>())?;
    }
    Ok(())
}

/// Into a file that is made for it.
fn export_to(
    file: &Path,
    door: &dyn Door,
    job: &str,
    which: &Which,
    format: ExportAs,
) -> anyhow::Result<ExitCode> {
    // Before the file is made: what is asked for may not be there.
    let is_there = door.show(job).map(drop).and_then(|()| know_last(door, job, which.numbers().as_ref()));
    if let Err(refusal) = is_there {
        return Ok(view::refuse(&refusal));
    }
    let made = private::new_file(file);
    if made.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::AlreadyExists) {
        complain(
            &format!("{} is there already", escaped_path(file)),
            Some("name another file: none is overwritten"),
        );
        return Ok(ExitCode::from(super::exit::FAILED));
    }
    let made = made.with_context(|| format!("cannot make {}", file.display()))?;
    let mut out = io::BufWriter::new(made);
    let exported = export(&mut out, door, job, which, format).and_then(|cut| {
        out.flush()?;
        out.get_ref().sync_all()?;
        Ok(cut)
    });
    match exported {
        Ok(cut) => Ok(tell_cut(cut, ExitCode::SUCCESS)),
        Err(Stop::Refused(refusal)) => Ok(view::refuse(&refusal)),
        Err(Stop::Output(error)) => {
            Err(error).with_context(|| format!("cannot write to {}: it is not whole", file.display()))
        }
    }
}

/// Refuses numbers of which the last is not there: numbers have no gaps.
fn know_last(door: &dyn Door, job: &str, numbers: Option<&Numbers>) -> Result<(), Refusal> {
    let last = numbers.and_then(|numbers| numbers.ranges().last());
    last.map_or(Ok(()), |(_, last)| door.record(job, *last).map(drop))
}

/// Writes them; how many of them are kept only in part.
fn export(
    out: &mut dyn Write,
    door: &dyn Door,
    job: &str,
    which: &Which,
    format: ExportAs,
) -> Result<u64, Stop> {
    let numbers = which.numbers();
    // One that is named may be settled; one that is not there is refused before anything is written.
    know_last(door, job, numbers.as_ref())?;
    let mut cut = 0;
    for found in door.records(job, numbers.is_some()) {
        let found = found?;
        if numbers.as_ref().is_some_and(|numbers| !numbers.contains(found.number)) {
            continue;
        }
        cut += u64::from(found.record.length > found.record.bytes.len() as u64);
        match format {
            ExportAs::Raw => out.write_all(&found.record.bytes)?,
            ExportAs::Jsonl => out.write_all(shown_json::to_string(&RecordView::of(&found))?.as_bytes())?,
        }
        out.write_all(b"\n")?;
    }
    Ok(cut)
}

fn tell_cut(cut: u64, code: ExitCode) -> ExitCode {
    if cut == 0 {
        return code;
    }
    let message = format!("{cut} of these records are kept only in part: they were longer than `record_max`");
    complain(&message, Some("the whole of them is in the source"));
    ExitCode::from(super::exit::FAILED)
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
        let text = printed(|out| list(out, &door, &job, false));
        assert!(
            text.contains("     2           7           8            30  step 2, exec: refused\n"),
            "{text}"
        );
        assert!(text.ends_with("2,\\xff\n"), "{text}");
        let text = printed(|out| show(out, &door, &job, 2, false));
        assert!(
            text.ends_with("\n00000000  32 2c ff                                         2,.\n"),
            "{text}"
        );
        let text = printed(|out| show(out, &door, &job, 1, false));
        assert!(text.starts_with("record     3\n") && text.ends_with("\n1,a\n"), "{text}");
        assert!(show(&mut Vec::new(), &door, &job, 3, false).is_err());
        assert!(show(&mut Vec::new(), &door, &job, 0, false).is_err());
    }

    #[test]
    fn the_json_keeps_the_bytes_of_a_record_that_is_not_utf8() {
        let door = door();
        let text = printed(|out| list_json(out, &door, &sample_job().id.to_string(), Wanted::all(false)));
        let json: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
        assert_eq!(json["records"][0]["data"], "1,a");
        assert_eq!(json["records"][1]["data_bytes"], "Miz/");
        let mut out = Vec::new();
        assert!(list_json(&mut out, &door, "zzzz", Wanted::all(false)).is_err() && out.is_empty());
        assert!(list(&mut out, &door, "zzzz", false).is_err() && out.is_empty());
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
        assert_eq!(
            parse(&["records", "01ab", "list", "--json"]).action,
            Some(RecordsAction::List { settled: false })
        );
        assert_eq!(parse(&["records", "01ab", "show", "3"]).action, Some(RecordsAction::Show { number: 3 }));
    }
}
