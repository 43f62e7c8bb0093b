//! `landfall status`: how the service is, for people and for monitors.

use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;

use super::check::counted;
use super::exit::FAILED;
use super::jobs::parse_since;
use super::view::{self, Stop};
use crate::listing::disks::Disk;
use crate::listing::status::{self, Status};
use crate::model::rule::Settings;
use crate::model::shown_json;

/// The arguments of `landfall status`.
#[derive(clap::Args)]
#[command(
    after_help = "Exit code 0: nothing needs attention. 1: something does, which is printed with what to do; also where no service runs. \
                  2: it could not be asked. Failed records that are kept, and pauses, are told and need nobody."
)]
pub(super) struct StatusArgs {
    /// Jobs that failed before need no attention: a date or time (UTC), or how long ago, like 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    since: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &StatusArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = view::door(settings)?;
    let mut needs_attention = false;
    let printed = view::print(|out| {
        let status = status::of(door.as_deref(), settings, args.since)?;
        needs_attention = !status.attention.is_empty();
        if args.json {
            return Ok(writeln!(out, "{}", shown_json::to_string(&status)?)?);
        }
        print(out, &status)
    })?;
    Ok(if needs_attention { ExitCode::from(FAILED) } else { printed })
}

fn print(out: &mut dyn Write, status: &Status) -> Result<(), Stop> {
    let Status {
        service,
        rules,
        rules_off,
        jobs,
        files_waiting,
        files_out_of_view,
        paused,
        disks,
        attention,
        ..
    } = status;
    let off = match (*rules_off, *rules) {
        (0, _) => String::new(),
        (off, rules) if off == rules => ", off: nothing is watched".to_owned(),
        (off, _) => format!(", {off} of them off"),
    };
    writeln!(out, "service    {service}, {rules} {}{off}", if *rules == 1 { "rule" } else { "rules" })?;
    let counts: Vec<_> = jobs.iter().map(|(state, count)| format!("{count} {state}")).collect();
    writeln!(out, "jobs       {}", if counts.is_empty() { "none".to_owned() } else { counts.join(", ") })?;
    if status.failed_records > 0 {
        let (records, jobs) = (status.failed_records, status.jobs_with_failed_records);
        let (records, jobs) = (counted(records, "failed record"), counted(jobs, "job"));
        writeln!(out, "kept       {records} of {jobs}, to be decided on: `landfall jobs` names them")?;
    }
    let so_far = if status.files_first_look { " so far, in a first look through the folders" } else { "" };
    let more = match files_out_of_view {
        0 => String::new(),
        count => format!(", and {count} more that found no room in view at the last scan"),
    };
    writeln!(
        out,
        "waiting    {files_waiting} {}{so_far}{more}",
        if *files_waiting == 1 { "file" } else { "files" }
    )?;
    for pause in paused {
        writeln!(out, "paused     {}", pause.told())?;
    }
    for disk in disks {
        writeln!(out, "disk       {}", told(disk))?;
    }
    if attention.is_empty() {
        return Ok(writeln!(out, "nothing needs attention")?);
    }
    writeln!(out, "\nneeds attention")?;
    for item in attention {
        writeln!(out, "  {}", view::printable(item.message.as_bytes(), usize::MAX))?;
        writeln!(out, "    {}", item.hint)?;
    }
    Ok(())
}

pub(super) fn told(disk: &Disk) -> String {
    let Disk { mount, folder, free, total, trouble, .. } = disk;
    let what = match (trouble, free.zip(*total)) {
        (Some(trouble), _) => trouble.clone(),
        (None, Some((free, total))) => format!("{} of {} free", view::bytes(free), view::bytes(total)),
        (None, None) => "does not tell its size".to_owned(),
    };
    // As long as there are enough nobody asks for them.
    let files =
        disk.files_free.zip(disk.files_total).filter(|(free, total)| *free < total / 10 || *free == 0);
    let files = files.map_or_else(String::new, |(free, total)| format!(", {free} of {total} inodes free"));
    format!("{mount}: {what}{files} ({folder})")
}
