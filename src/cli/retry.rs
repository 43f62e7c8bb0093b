//! `landfall retry`: a failed job from its source again.

use std::process::ExitCode;

use super::view;
use crate::control::{self, Client, Handler as _, Reached, Refusal};
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
    let store = match control::reach(&settings.service.data_dir, Store::open_as_owner)? {
        Reached::Store(store) => store,
        Reached::Service(service) => return Ok(ask(&service, &args.job)),
    };
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

fn ask(service: &Client, job: &str) -> ExitCode {
    match service.retry(job) {
        Ok(id) => {
            println!("{id}: queued again; the running service takes it");
            ExitCode::SUCCESS
        }
        Err(refusal) => view::refuse(&refusal),
    }
}
