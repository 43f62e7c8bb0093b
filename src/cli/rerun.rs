//! `landfall rerun`: completed jobs again, from their archives, as new jobs.

use std::process::ExitCode;

use super::pause::{Patience, goes_on};
use super::say::say_aside;
use super::selection::Selection;
use super::view;
use crate::control;
use crate::engine::Act;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::rule::Settings;

/// Which jobs.
#[derive(clap::Args)]
#[command(
    after_help = "Each becomes a new job under its rule as it is now, with the first one as its `parent`; its source is read in the archive \
                  and stays there. Its outputs come to lie beside those of the first job, or in their place, as `on_exists` says. \
                  What the rule says of resends does not hold it up.",
    group = clap::ArgGroup::new("which").required(true).multiple(true).args(["jobs", "rule", "sender", "state", "since"])
)]
pub(super) struct RerunArgs {
    #[command(flatten)]
    selection: Selection,
}

pub(super) fn run(args: &RerunArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = control::open(settings)?;
    let (door, selection) = (door.as_ref(), &args.selection);
    selection.know_rule(settings, door)?;
    if door.is_service() {
        // The rule may have been changed a moment ago.
        door.reload().ok();
        for told in view::service_not_gone_by(door) {
            say_aside!("warning: {told}");
        }
    }
    // Who says "all of this rule" means each file once.
    let is_first = |job: &Job| job.state == JobState::Completed && job.parent.is_none();
    let patience = Patience::until_begun();
    let told = |job: &Job, id: JobId| {
        format!("runs job {} again; {}", job.id, goes_on(door, &id.to_string(), &patience))
    };
    let words = ("would be run again", "run again");
    Ok(selection.each_chosen(door, is_first, words, |job| Act::Rerun { job, idempotency_key: None }, told))
}
