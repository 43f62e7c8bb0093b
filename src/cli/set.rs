//! `landfall set`: what an operator changes of jobs that wait or run.

use std::process::ExitCode;

use super::exit::FAILED;
use super::say::{complain, say};
use super::view;
use crate::control;
use crate::engine::{Act, Door, JobFilter, Refusal};
use crate::model::job::Job;
use crate::model::priority::Priority;
use crate::model::rule::Settings;

/// Which jobs, and what of them.
#[derive(clap::Args)]
#[command(
    after_help = "A job of a lower number gets the next thread that is free, whatever else waits; what has begun goes on where it was. \
                  It counts at once, and over restarts. For jobs to come, set `priority` in the rule.",
    group = clap::ArgGroup::new("which").required(true).args(["jobs", "rule"])
)]
pub(super) struct SetArgs {
    /// The jobs' ids, or at least four characters of their ends
    #[arg(value_name = "JOB")]
    jobs: Vec<String>,
    /// Every job of this rule that is not done
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// 1 to 100; the lower goes first
    #[arg(long, value_name = "NUMBER", required = true)]
    priority: Priority,
}

pub(super) fn run(args: &SetArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = control::open(settings)?;
    let jobs = match chosen(args, door.as_ref()) {
        Ok(jobs) => jobs,
        Err(refusal) => return Ok(view::refuse(&refusal)),
    };
    if let (true, Some(rule)) = (jobs.is_empty(), &args.rule) {
        view::know_rule(settings, rule, || false)?;
        say!("no job of rule \"{rule}\" waits or runs");
    }
    let mut all_done = true;
    for job in jobs {
        let priority = args.priority;
        match door.act(&Act::Set { job: job.id.to_string(), priority }) {
            Ok(id) => {
                let was = match job.priority {
                    before if before == priority => "as it was".to_owned(),
                    before => format!("was {}", before.get()),
                };
                say!("{id}: priority {} ({was})  {}", priority.get(), job.source.path);
            }
            Err(refusal) => {
                complain(&refusal.to_string(), refusal.hint().as_deref());
                all_done = false;
            }
        }
    }
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn chosen(args: &SetArgs, door: &dyn Door) -> Result<Vec<Job>, Refusal> {
    let Some(rule) = &args.rule else {
        return args.jobs.iter().map(|job| door.show(job)).collect();
    };
    let of_rule = JobFilter { rule: Some(rule.clone()), ..JobFilter::default() };
    let jobs: Result<Vec<_>, _> = door.list(&of_rule).collect();
    let waits = |job: &Job| !job.state.is_final() && !job.state.is_past_intent();
    Ok(jobs?.into_iter().filter(waits).collect())
}
