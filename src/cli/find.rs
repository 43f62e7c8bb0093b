//! `landfall find`: which job a source became, and which one an output came from.

use std::io::Write;
use std::process::ExitCode;

use clap::{ArgGroup, Args};
use jiff::Timestamp;

use super::check::counted;
use super::complete;
use super::exit::FAILED;
use super::jobs::parse_since;
use super::say::complain;
use super::view::{self, Stop};
use crate::engine::{Answers, Found, Sought};
use crate::listing::find::print_json;
use crate::model::fault::Fault as _;
use crate::model::hash_sought::HashSought;
use crate::model::mistake::Mistake;
use crate::model::os_text::escaped_path;
use crate::model::pattern::PathSought;
use crate::model::rule::Settings;
use crate::store::StoreError;

/// The arguments of `landfall find`.
#[derive(Args, Clone, Debug)]
#[group(skip)]
#[command(group(ArgGroup::new("sought").required(true).multiple(true)))]
pub(super) struct FindArgs {
    /// Where a source lay, or lies now: a path, or a file's name; `*` and `?` are wildcards
    #[arg(long, value_name = "PATH", value_parser = path_sought, group = "sought")]
    source: Option<PathSought>,
    /// The same of an output, as long as its job is listed
    #[arg(long, value_name = "PATH", value_parser = path_sought, group = "sought")]
    output: Option<PathSought>,
    /// The hash of a source's content, or of an output where its rule has them made; its beginning is enough
    #[arg(long, value_name = "HASH", group = "sought", value_parser = hash_sought)]
    hash: Option<HashSought>,
    /// Only what this rule took
    #[arg(long, value_name = "NAME", group = "sought", add = complete::of_rules())]
    rule: Option<String>,
    /// Claimed then or later: a date or time (UTC), or how long ago, like 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_since, group = "sought")]
    since: Option<Timestamp>,
    /// Claimed before then
    #[arg(long, value_name = "TIME", value_parser = parse_since, group = "sought")]
    until: Option<Timestamp>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Paths are known from the root; one that starts from here is meant so.
fn path_sought(text: &str) -> Result<PathSought, std::io::Error> {
    let starts_here = text.contains(std::path::is_separator) && !text.starts_with('*');
    Ok(if starts_here { escaped_path(&std::path::absolute(text)?).into() } else { text.to_owned().into() })
}

/// With what to do: an argument that is refused is told in one text.
fn hash_sought(text: &str) -> Result<HashSought, String> {
    text.parse()
        .map_err(|mistake: Mistake| format!("{mistake}: {}", mistake.hint.as_deref().unwrap_or_default()))
}

/// Asks the running service, or the store where none runs. Nothing that fits is told by the exit code, as `grep` does.
pub(super) fn run(args: &FindArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = view::door(settings)?;
    if door.is_none() {
        let missing = StoreError::NoStore { data_dir: settings.service.data_dir.clone() };
        complain(&missing.to_string(), missing.hint().as_deref());
    }
    let FindArgs { source, output, hash, rule, since, until, json } = args.clone();
    let sought = Sought { source, output, hash, rule, since, until };
    let found = || -> Answers<'_, Found> {
        door.as_deref()
            .map_or_else(|| Box::new(std::iter::empty()) as Answers<'_, Found>, |door| door.find(&sought))
    };
    let mut count = 0_u64;
    let counted = Box::new(found().inspect(|_| count += 1));
    let code = view::print(|out| if json { print_json(out, counted) } else { print(out, counted) })?;
    if count > 0 || code != ExitCode::SUCCESS {
        return Ok(code);
    }
    complain("nothing that was claimed fits", Some(NOTHING));
    Ok(ExitCode::from(FAILED))
}

/// What may be wrong then.
const NOTHING: &str = "all that is named must fit; `*` and `?` are wildcards, and a text without a separator is a whole file name; `landfall explain PATH` \
     tells of a file that waits";

fn print(out: &mut dyn Write, found: Answers<'_, Found>) -> Result<(), Stop> {
    for found in found {
        let Found { row, job } = found?;
        let outcome = serde_json::to_value(row.outcome)?;
        let outcome = outcome.as_str().unwrap_or_default().replace('_', " ");
        let ended = row.finished_at.map(|at| format!(", ended {}", view::moment(at))).unwrap_or_default();
        let gone = if job.is_none() { ", no longer listed" } else { "" };
        writeln!(out, "{}  {outcome}{gone}  {}  {}", row.job, row.rule, row.path)?;
        writeln!(out, "    claimed {}{ended}", view::moment(row.claimed_at))?;
        if let Some(hash) = &row.content_hash {
            writeln!(out, "    content {hash}")?;
        }
        let Some(job) = job else { continue };
        for output in &job.outputs {
            let records = counted(output.records, "record");
            writeln!(out, "    {}: {records}, {}", output.category, output.path)?;
        }
        if let Some(retired) = &job.retired_to {
            writeln!(out, "    source  now at {retired}")?;
        }
    }
    Ok(())
}
