//! `landfall ingest`: these files now, with a progress bar.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};

use super::{FAILED, dry_run};
use crate::config;
use crate::engine::{Engine, Purpose};
use crate::model::fault::{Fault as _, FaultKind};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::escaped_path;
use crate::model::rule::Settings;
use crate::pipeline::Registry;
use crate::store::Store;

/// Which files, under which rule.
#[derive(clap::Args)]
pub struct IngestArgs {
    /// The files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The rule to ingest them under
    #[arg(long, value_name = "NAME")]
    rule: String,
    /// Claim, archive or delete the files as the rule says; without it they stay as they are
    #[arg(long)]
    retire: bool,
    /// Show what would come out; write no output
    #[arg(long, conflicts_with = "retire")]
    dry_run: bool,
}

pub(super) fn run(args: &IngestArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let file = config::find(config)?;
    let settings = config::load(&file, &Registry::with_builtin_steps())?;
    if args.dry_run {
        return rehearse(args, settings);
    }
    let store = Store::open(&settings.service.data_dir)?;
    let all_done = ingest(args, settings, store, Path::to_owned)?;
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn rehearse(args: &IngestArgs, settings: Settings) -> anyhow::Result<ExitCode> {
    let scratch = tempfile::Builder::new()
        .prefix("landfall-dry-run-")
        .tempdir()
        .context("cannot make a temporary folder")?;
    // The rules may name different drives; the outputs of one rule are shown under the root of its first.
    let root = settings
        .rules
        .iter()
        .find(|rule| rule.name == args.rule)
        .and_then(|rule| rule.outputs.values().next())
        .map_or_else(PathBuf::new, |output| dry_run::root_of(Path::new(&output.path)));
    let settings = dry_run::into_scratch(settings, scratch.path());
    let store = Store::open(&settings.service.data_dir)?;
    println!("dry run: no output is written, no file is touched");
    let all_done = ingest(args, settings, store, |path| dry_run::real_path(path, scratch.path(), &root))?;
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn ingest(
    args: &IngestArgs,
    settings: Settings,
    store: Store,
    shown: impl Fn(&Path) -> PathBuf,
) -> anyhow::Result<bool> {
    let engine = Engine::start(settings, Registry::with_builtin_steps(), store, Purpose::Ingest)?;
    let mut all_done = true;
    for file in &args.files {
        let id = match engine.ingest(file, &args.rule, args.retire) {
            // The rule is wrong, and it is the rule of every file.
            Err(error) if error.kind() == FaultKind::Config => {
                engine.stop()?;
                return Err(error.into());
            }
            taken => taken.map_err(anyhow::Error::from),
        };
        let done = id.and_then(|id| follow(&engine, id)).map(|job| {
            tell(&job, &shown);
            job.state == JobState::Completed
        });
        // One bad file does not stop the others; it changes the exit code.
        all_done &= done.unwrap_or_else(|error| {
            super::explain(&error);
            false
        });
    }
    engine.stop()?;
    Ok(all_done)
}

/// Shows progress until the job reached an end, or waits for something that this command will not see mended.
fn follow(engine: &Engine, id: JobId) -> anyhow::Result<Job> {
    let bar = std::io::stderr().is_terminal().then(progress_bar);
    loop {
        let job =
            engine.wait_for(id, Duration::from_millis(200))?.context("the job vanished from the store")?;
        if let Some(bar) = &bar {
            bar.set_length(job.source.identity.size);
            bar.set_position(job.bytes_read);
            bar.set_message(job.source.path.to_string());
        }
        if job.state.is_final() || job.waiting.is_some() {
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
            return Ok(job);
        }
    }
}

fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {percent}% {bytes_per_sec} {eta}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn tell(job: &Job, shown: impl Fn(&Path) -> PathBuf) {
    let account = &job.account;
    println!("{}: {} (job {})", job.source.path, job.state, job.id);
    println!(
        "    {} records in, {} written, {} dropped, {} failed",
        account.records_in,
        account.records_written(),
        account.records_dropped(),
        account.records_failed
    );
    for output in &job.outputs {
        let path = escaped_path(&shown(output.path.as_path()));
        println!("    {}: {} records, {} bytes, {path}", output.category, output.records, output.bytes);
    }
    for (reason, count) in &account.reasons {
        println!("    {reason}: {count}");
    }
    if let Some(error) = &job.error {
        println!("    {}: {}", if job.waiting.is_some() { "waits" } else { "error" }, error.message);
        if let Some(hint) = &error.hint {
            println!("    hint: {hint}");
        }
    }
}
