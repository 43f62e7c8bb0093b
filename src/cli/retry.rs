//! `landfall retry`: a failed job from its source again.

use std::path::Path;
use std::process::ExitCode;

use super::source::Source;

/// Which job.
#[derive(clap::Args)]
pub struct RetryArgs {
    /// The job's id, or enough of its beginning or end
    #[arg(value_name = "JOB")]
    job: String,
}

pub(super) fn run(args: &RetryArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let source = Source::open(config)?;
    let (job, running) = source.retry(&args.job)?;
    let when = if running { "the running service takes it" } else { "`landfall run` will take it" };
    println!("{}: queued again; {when}", job.id);
    Ok(ExitCode::SUCCESS)
}
