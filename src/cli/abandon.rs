//! `landfall abandon`: ends a job that waits for what never comes back, or that failed, and says what of it is published.

use std::process::ExitCode;

use super::complete;
use super::say::{complain, say};
use super::view;
use crate::control;
use crate::engine::{Act, Door};
use crate::model::job::Job;
use crate::model::reason::Reason;
use crate::model::rule::Settings;

/// Which job, and why.
#[derive(clap::Args)]
#[command(
    after_help = "For a job that waits: for a folder or a mount that was removed for good, a key that nobody has, a source that is gone. \
                  It ends as it stands, and says of each output whether it is published; that, the reason and who gave it stay in its \
                  history. What is hidden is removed, its source is left where it is. A job that nothing holds up is ended by `landfall abort`.\n\n\
                  For a job that failed, or was refused, and is not going to be retried, as where its file was taken care of by hand: it is \
                  aborted then, and nobody is asked to look at it any more."
)]
pub(super) struct AbandonArgs {
    /// The job's id, or at least four characters of its end
    #[arg(value_name = "JOB", add = complete::of_jobs())]
    job: String,
    /// Why; it is kept in the job's history
    #[arg(long, value_name = "TEXT")]
    reason: Reason,
    /// Only say what it waits for, or why it failed
    #[arg(long)]
    dry_run: bool,
}

pub(super) fn run(args: &AbandonArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = control::open(settings)?;
    let door = door.as_ref();
    let before = match door.show(&args.job) {
        Ok(job) => job,
        Err(refusal) => return Ok(view::refuse(&refusal)),
    };
    let act = Act::Abandon { job: before.id.to_string(), reason: args.reason.clone() };
    if args.dry_run {
        if let Err(refusal) = door.would(&act) {
            return Ok(view::refuse(&refusal));
        }
        let error = before.error.as_ref().map_or("why is not known", |error| error.message.as_str());
        let waits =
            before.waiting.as_ref().map_or("nothing that is known", |waiting| waiting.detail.as_str());
        let how =
            if before.state.is_final() { format!(": {error}") } else { format!(" and waits for: {waits}") };
        say!("{}: would be abandoned; it is {}{how}", before.id, before.state);
        return Ok(ExitCode::SUCCESS);
    }
    match door.act(&act) {
        Ok(id) => {
            say!("{id}: abandoned (was {})  {}", before.state, before.source.path);
            tell(door, &before);
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => Ok(view::refuse(&refusal)),
    }
}

/// What was written down of it.
fn tell(door: &dyn Door, before: &Job) {
    match door.show(&before.id.to_string()) {
        Ok(job) => {
            let news = job.timeline.iter().skip_while(|moment| before.timeline.contains(moment));
            for moment in news.filter(|moment| !moment.detail.is_empty()) {
                say!("  {}", view::printable(moment.detail.as_bytes(), usize::MAX));
            }
        }
        Err(refusal) => complain(&refusal.to_string(), refusal.hint().as_deref()),
    }
}
