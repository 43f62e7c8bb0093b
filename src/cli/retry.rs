//! `landfall retry`: failed jobs from their sources again, one or many.

use std::process::ExitCode;

use super::check::counted;
use super::exit::FAILED;
use super::jobs::parse_state;
use super::say::{complain, say, say_aside};
use super::view;
use crate::control;
use crate::engine::{self, Act, Door, JobFilter, Refusal};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::rule::Settings;

/// Which jobs.
#[derive(clap::Args)]
#[command(
    after_help = "The running service reads its configuration anew first: a rule that was mended a moment ago counts.",
    group = clap::ArgGroup::new("which").required(true).multiple(true).args(["job", "state", "rule"])
)]
pub(super) struct RetryArgs {
    /// The job's id, or at least four characters of its end
    #[arg(value_name = "JOB", conflicts_with_all = ["state", "rule"])]
    job: Option<String>,
    /// Every job in this state: failed or refused
    #[arg(long, value_name = "STATE", value_parser = parse_retriable)]
    state: Option<JobState>,
    /// Every failed job of this rule; with --state: those in that state
    #[arg(long, value_name = "NAME")]
    rule: Option<String>,
    /// Let a job whose hidden outputs were removed go on publishing without them; nothing is taken from its source again
    #[arg(long, requires = "job", conflicts_with = "dry_run")]
    accept_missing: bool,
    /// Only say which jobs would be retried
    #[arg(long)]
    dry_run: bool,
}

fn parse_retriable(text: &str) -> Result<JobState, String> {
    match parse_state(text)? {
        state @ (JobState::Failed | JobState::Refused) => Ok(state),
        other => Err(format!("a job that is {other} is not retried: name failed or refused")),
    }
}

pub(super) fn run(args: &RetryArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = control::open(settings)?;
    if door.is_service() {
        // The rule may have been mended a moment ago. What cannot be read now is told with the rest.
        door.reload().ok();
        for told in view::service_not_gone_by(door.as_ref()) {
            say_aside!("warning: {told}");
        }
    }
    retry(args, settings, door.as_ref())
}

fn retry(args: &RetryArgs, settings: &Settings, door: &dyn Door) -> anyhow::Result<ExitCode> {
    let taker = if door.is_service() { "the running service takes it" } else { "`landfall run` takes it" };
    let jobs = match chosen(args, door) {
        Ok(jobs) => jobs,
        Err(refusal) => return Ok(view::refuse(&refusal)),
    };
    if let (true, Some(rule)) = (jobs.is_empty(), &args.rule) {
        view::know_rule(settings, rule, || door.list(&of_rule(rule)).next().is_some())?;
    }
    if args.accept_missing {
        return Ok(accept_missing(&jobs, door));
    }
    let mut all_done = true;
    let (mut queued, chosen) = (0_u64, jobs.len());
    for job in jobs {
        let retried =
            if args.dry_run { would_retry(&job) } else { door.act(&Act::Retry { job: job.id.to_string() }) };
        let source = &job.source;
        match retried {
            Ok(id) if args.dry_run => say!("{id}: would be queued again  {}", source.path),
            Ok(id) => {
                queued += 1;
                say!("{id}: queued again; {taker}  {}", source.path);
            }
            // One that cannot be retried does not stop the others; it changes the exit code.
            Err(refusal) => {
                tell(&job, &refusal);
                all_done = false;
            }
        }
    }
    if args.job.is_none() {
        let done = if args.dry_run { String::new() } else { format!(", {queued} queued again") };
        say!("{} chosen{done}", counted(chosen, "job"));
    }
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Of many jobs it must be told which one was refused.
fn tell(job: &Job, refusal: &Refusal) {
    let (id, message) = (job.id.to_string(), refusal.to_string());
    let names_it = message.contains(&id);
    let message = if names_it { message } else { format!("job {id}: {message}  {}", job.source.path) };
    complain(&message, refusal.hint().as_deref());
}

/// What the retry itself would say of the job's state.
fn would_retry(job: &Job) -> Result<JobId, Refusal> {
    let objection = engine::objection_to_retry(job);
    objection.map_or(Ok(job.id), |objection| Err(Refusal::Fault(objection.job_error().clone())))
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

/// The jobs that are meant, oldest first. A retry changes their states, so that the list is made before.
fn chosen(args: &RetryArgs, door: &dyn Door) -> Result<Vec<Job>, Refusal> {
    if let Some(job) = &args.job {
        return Ok(vec![door.show(job)?]);
    }
    let state = args.state.or(Some(JobState::Failed));
    door.list(&JobFilter { state, rule: args.rule.clone(), ..JobFilter::default() }).collect()
}

fn of_rule(rule: &str) -> JobFilter {
    JobFilter { rule: Some(rule.to_owned()), ..JobFilter::default() }
}
