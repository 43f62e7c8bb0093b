//! `landfall retry`: a failed job from its source again.

use std::process::ExitCode;

use super::view;
use crate::control::{Client, Handler as _, Refusal};
use crate::engine;
use crate::model::rule::Settings;
use crate::store::{JobMatch, Store};

/// Which job.
#[derive(clap::Args)]
pub struct RetryArgs {
    /// The job's id, or at least four characters of its beginning or end
    #[arg(value_name = "JOB")]
    job: String,
}

pub(super) fn run(args: &RetryArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    if let Some(service) = Client::connect(&settings.service.data_dir) {
        return Ok(match service.retry(&args.job) {
            Ok(id) => {
                println!("{id}: queued again; the running service takes it");
                ExitCode::SUCCESS
            }
            Err(refusal) => view::refuse(&refusal),
        });
    }
    let store = Store::open_as_owner(&settings.service.data_dir)?;
    let text = args.job.clone();
    let id = match store.find_job(&args.job)? {
        JobMatch::One(id) => id,
        JobMatch::None => return Ok(view::refuse(&Refusal::NoSuchJob { text })),
        JobMatch::Several(ids) => return Ok(view::refuse(&Refusal::Ambiguous { text, ids })),
    };
    engine::retry_stored(&store, &settings.rules, id)?;
    println!("{id}: queued again; `landfall run` takes it");
    Ok(ExitCode::SUCCESS)
}
