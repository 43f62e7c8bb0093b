//! `landfall audit`: what the audit trail says, and whether it is whole.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;

use super::complete;
use super::exit::FAILED;
use super::jobs::parse_since;
use super::say::{complain, say};
use super::view::{self, Stop};
use crate::audit::{self, Line};
use crate::control;
use crate::model::audit::AuditEnd;
use crate::model::os_text::{OsText, escaped, escaped_path};
use crate::model::rule::Settings;

/// Lists the audit trail, or verifies it.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    verify: Option<AuditCommand>,
    /// Only what became of this job: its id
    #[arg(long, value_name = "JOB", add = complete::of_jobs())]
    job: Option<String>,
    /// From then on: a date or time (UTC), or how long ago, like 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(clap::Subcommand, Debug)]
enum AuditCommand {
    /// Hold each line against the one before it, and the end against what the store knows
    Verify(VerifyArgs),
}

#[derive(clap::Args, Debug)]
struct VerifyArgs {
    /// These files alone, in this order, such as those of a backup; the store is not asked
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
}

pub(super) fn run(args: &AuditArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    match &args.verify {
        Some(AuditCommand::Verify(VerifyArgs { files })) => verify(files, settings),
        None => list(args, settings),
    }
}

fn files_of(settings: &Settings) -> anyhow::Result<Vec<PathBuf>> {
    control::check_owner(settings)?;
    let folder = audit::folder_of(&settings.service.data_dir);
    let files = audit::files_of(&folder)
        .with_context(|| format!("cannot list the audit trail in {}", escaped_path(&folder)))?;
    Ok(files.into_iter().map(|(_, path)| path).collect())
}

fn verify(files: &[PathBuf], settings: &Settings) -> anyhow::Result<ExitCode> {
    let is_whole = files.is_empty();
    let (files, head) = match files {
        // The store is asked first: what is appended later lies behind the end that it told.
        [] => {
            let head = end_of(settings)?.head;
            (files_of(settings)?, head)
        }
        named => (named.to_vec(), None),
    };
    if files.is_empty() {
        let folder = escaped_path(&audit::folder_of(&settings.service.data_dir));
        match head {
            None => complain("there is no audit trail", Some(NONE)),
            Some(head) => {
                let what = format!(
                    "the audit trail is gone: no file of it lies in {folder}, and the store knows number {}",
                    head.seq
                );
                complain(&what, Some(BROKEN));
            }
        }
        return Ok(ExitCode::from(FAILED));
    }
    match audit::verify(&files, head.as_ref()) {
        Ok(sound) => {
            // And once more: what a service wrote meanwhile it knows by now.
            if let Some(number) =
                is_whole.then(|| end_of(settings)).transpose()?.and_then(|end| sound.stranger(&end))
            {
                let what = format!(
                    "number {number} stands behind the end that the store knows, and is not the service's"
                );
                complain(&what, Some(BROKEN));
                return Ok(ExitCode::from(FAILED));
            }
            let end =
                sound.last.map_or_else(String::new, |(seq, hash)| format!("; ends at number {seq}, {hash}"));
            let begin = if sound.first > 1 {
                format!(", from number {}: earlier files lie elsewhere", sound.first)
            } else {
                String::new()
            };
            for gap in &sound.gaps {
                complain(&gap.to_string(), Some(BROKEN));
            }
            if sound.gaps.is_empty() {
                say!("ok: {} lines{begin}{end}", sound.lines);
                return Ok(ExitCode::SUCCESS);
            }
            say!("{} lines but for that{begin}{end}", sound.lines);
            Ok(ExitCode::from(FAILED))
        }
        Err(found) => {
            complain(&found.to_string(), Some(BROKEN));
            Ok(ExitCode::from(FAILED))
        }
    }
}

const NONE: &str = "`service.audit = true` has the service keep one";
const BROKEN: &str = "what stands before that place is as it was written; compare the rest with a copy, and see who may write in the data folder";

fn end_of(settings: &Settings) -> anyhow::Result<AuditEnd> {
    Ok(view::door(settings)?.map(|door| door.audit_end()).transpose()?.unwrap_or_default())
}

fn list(args: &AuditArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let files = files_of(settings)?;
    if files.is_empty() {
        complain("there is no audit trail", Some(NONE));
        return Ok(ExitCode::from(FAILED));
    }
    let takes = |line: &Line| {
        args.since.is_none_or(|since| since <= line.event.at)
            && args
                .job
                .as_ref()
                .is_none_or(|job| line.event.job.is_some_and(|id| is_named(&id.to_string(), job)))
    };
    view::print(|out| {
        for line in audit::lines_of(files) {
            let line = line?;
            if takes(&line) {
                print(out, &line, args.json)?;
            }
        }
        Ok(())
    })
}

/// By the whole id, or by its beginning or end, as other commands take it.
fn is_named(id: &str, text: &str) -> bool {
    !text.is_empty() && (id.starts_with(text) || id.ends_with(text))
}

fn print(out: &mut dyn Write, line: &Line, json: bool) -> Result<(), Stop> {
    if json {
        serde_json::to_writer(&mut *out, line)?;
        writeln!(out)?;
        return Ok(());
    }
    let event = &line.event;
    write!(out, "{:>6}  {}  {}  {}", line.seq, view::moment(event.at), event.by, event.event)?;
    let job = event.job.map(|job| job.to_string());
    let plain = |text: &Option<String>| text.as_ref().map(|text| escaped(text.as_ref()));
    let named = |name: &Option<OsText>| name.as_ref().map(ToString::to_string);
    let told = [job, plain(&event.rule), named(&event.source), named(&event.sender), plain(&event.about)];
    for text in told.into_iter().flatten() {
        write!(out, "  {text}")?;
    }
    writeln!(out)?;
    for output in &event.outputs {
        writeln!(out, "        to {output}")?;
    }
    if let Some(place) = &event.retired_to {
        writeln!(out, "        source now at {place}")?;
    }
    Ok(())
}
