//! `landfall retry`: failed, refused or aborted jobs from their sources again, one or many.

use std::process::ExitCode;

use super::pause::{Patience, goes_on};
use super::say::{say, say_aside};
use super::selection::Selection;
use super::view;
use crate::control;
use crate::engine::{Act, Door};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::rule::Settings;

/// Which jobs.
#[derive(clap::Args)]
#[command(
    after_help = "With --rule, --sender or --since alone: failed jobs; --state says otherwise. \
                  The running service reads its configuration anew first: a rule that was mended a moment ago counts.",
    group = clap::ArgGroup::new("which").required(true).multiple(true).args(["jobs", "state", "rule", "sender", "since"])
)]
pub(super) struct RetryArgs {
    #[command(flatten)]
    selection: Selection,
    /// Let a job whose hidden outputs were removed go on publishing without them; nothing is taken from its source again
    #[arg(long, requires = "jobs", conflicts_with = "dry_run")]
    accept_missing: bool,
    /// Take a job by the rule that it went by before, and not by the rule as it is now
    #[arg(long, conflicts_with_all = ["accept_missing", "forget_decisions"])]
    same_rule: bool,
    /// Forget what was decided on a job's failed records, and take it by the rule as it is now
    #[arg(long, conflicts_with = "accept_missing")]
    forget_decisions: bool,
}

pub(super) fn run(args: &RetryArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    if let Some(other) = args.selection.state.filter(|state| !is_retriable(*state)) {
        let message = format!("a job that is {other} is not retried: name failed, refused or aborted");
        super::say::complain(&message, None);
        return Ok(ExitCode::from(super::exit::USAGE));
    }
    let door = control::open(settings)?;
    if door.is_service() && !args.same_rule {
        // The rule may have been mended a moment ago. What cannot be read now is told with the rest.
        door.reload().ok();
        for told in view::service_not_gone_by(door.as_ref()) {
            say_aside!("warning: {told}");
        }
    }
    retry(args, settings, door.as_ref())
}

fn is_retriable(state: JobState) -> bool {
    matches!(state, JobState::Failed | JobState::Refused | JobState::Aborted)
}

fn retry(args: &RetryArgs, settings: &Settings, door: &dyn Door) -> anyhow::Result<ExitCode> {
    // Of jobs that were given back there is nothing to retry, and only who names one is told so.
    let wanted = args.selection.state.unwrap_or(JobState::Failed);
    let chosen = |job: &Job| job.state == wanted && job.is_retriable();
    let jobs = match args.selection.chosen(door, chosen) {
        Ok(jobs) => jobs,
        Err(refusal) => return Ok(view::refuse(&refusal)),
    };
    if jobs.is_empty() {
        args.selection.know_rule(settings, door)?;
    }
    if args.accept_missing {
        return Ok(accept_missing(&jobs, door));
    }
    let patience = Patience::until_begun();
    let (forgets_decisions, same_rule) = (args.forget_decisions, args.same_rule);
    let told = |job: &Job, id: JobId| {
        let is_by_decisions =
            !forgets_decisions && job.held_records.decided.max(job.held_records.waiting) > 0;
        let with = match (is_by_decisions, same_rule) {
            (true, _) => ", by what was decided on its failed records and the rule that it was claimed under",
            (false, true) => ", by the rule that it went by before",
            (false, false) => "",
        };
        format!("queued again{with}; {}", goes_on(door, &id.to_string(), &patience))
    };
    let words = ("would be queued again", "queued again");
    let act = |job| Act::Retry { job, forgets_decisions, same_rule };
    Ok(args.selection.each(door, &jobs, words, act, told))
}

fn accept_missing(jobs: &[Job], door: &dyn Door) -> ExitCode {
    for job in jobs {
        match door.act(&Act::AcceptMissing { job: job.id.to_string() }) {
            Ok(id) => say!("{id}: goes on without what is missing  {}", job.source.path),
            Err(refusal) => return view::refuse(&refusal),
        }
    }
    ExitCode::SUCCESS
}
