//! What a shell completes: the command line by itself, and in it the names of rules and the ids of jobs, as they are at that moment.
//!
//! The script that `landfall completions` prints has this program asked at each key, with [`VARIABLE`] in its environment. Nobody who presses
//! a key waits for a store, or has it opened: ids are those that a running service tells.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCandidates, ArgValueCompleter, CompletionCandidate};

use super::running;
use crate::config;
use crate::engine::{Door as _, JobFilter};
use crate::model::job_line::JobLine;
use crate::model::rule::Settings;

/// Names the shell that asks.
pub(super) const VARIABLE: &str = "LANDFALL_COMPLETE";
/// Of very many jobs the newest are offered.
const JOBS_MAX: usize = 200;

/// Answers a shell and ends, if one asks.
pub(super) fn answer(command: fn() -> Command) {
    CompleteEnv::with_factory(command).var(VARIABLE).bin("landfall").completer("landfall").complete();
}

/// For an argument that names a rule.
pub(super) fn of_rules() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let settings = settings(config_named().as_deref());
        let rules = settings.iter().flat_map(|settings| &settings.rules).filter(|rule| rule.is_base());
        rules.map(|rule| CompletionCandidate::new(&rule.name)).collect()
    })
}

/// For an argument that names a job: its id, also by its end, as commands take it.
pub(super) fn of_jobs() -> ArgValueCompleter {
    ArgValueCompleter::new(|typed: &OsStr| {
        let typed = typed.to_string_lossy();
        let jobs = jobs(config_named().as_deref());
        let by = |fits: fn(&str, &str) -> bool| -> Vec<_> {
            let fitting = jobs.iter().filter(|job| fits(&job.id.to_string(), &typed));
            fitting.enumerate().map(|(place, job)| offered(job).display_order(Some(place))).collect()
        };
        let begin_so = by(|id, typed| id.starts_with(typed));
        if begin_so.is_empty() { by(|id, typed| id.ends_with(typed)) } else { begin_so }
    })
}

fn offered(job: &JobLine) -> CompletionCandidate {
    let about = format!("{}, rule {}", job.state, job.rule);
    CompletionCandidate::new(job.id.to_string()).help(Some(about.into()))
}

/// What the running service goes by, else what the configuration says, if it is right.
fn settings(config: Option<&Path>) -> Option<Settings> {
    let kept = running::client(config).and_then(|client| client.kept_configuration().ok());
    let settings = kept.and_then(|kept| config::read_kept(&kept, None).ok());
    settings.or_else(|| config::read(&config::find(config).ok()?, None).ok()?.settings.ok())
}

/// The newest first.
fn jobs(config: Option<&Path>) -> Vec<JobLine> {
    let Some(client) = running::client(config) else { return Vec::new() };
    let newest = JobFilter { newest_first: true, limit: Some(JOBS_MAX), ..JobFilter::default() };
    client.lines(&newest).filter_map(Result::ok).collect()
}

/// `--config` in the command line that is completed, which stands behind `--` in that of this process.
fn config_named() -> Option<PathBuf> {
    let mut typed = std::env::args_os().skip_while(|word| word != "--");
    loop {
        let word = typed.next()?;
        if word == "--config" {
            return typed.next().map(PathBuf::from);
        }
        if let Some(file) = word.to_str().and_then(|word| word.strip_prefix("--config=")) {
            return Some(PathBuf::from(file));
        }
    }
}
