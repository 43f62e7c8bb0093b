//! `landfall set`: what an operator changes of jobs that wait or run, and of how fast rules may work.

use std::collections::BTreeSet;
use std::process::ExitCode;

use super::exit::{FAILED, USAGE};
use super::say::{complain, say, say_aside};
use super::{complete, pause, view};
use crate::control;
use crate::engine::{Act, Door, JobFilter, Refusal};
use crate::model::fault::{FaultKind, JobError};
use crate::model::halts::Scope;
use crate::model::job::Job;
use crate::model::pace::{PaceChange, PaceSetting, Paced};
use crate::model::priority::Priority;
use crate::model::rule::Settings;

/// Of what, and to what.
#[derive(clap::Args)]
#[command(
    after_help = "A job of a lower priority gets the next thread that is free, whatever else waits; what has begun goes on where it was. \
                  --priority is of jobs that are there: of those that are named, or of all of the rule that are not done; files that \
                  come have the `priority` of the rule, which is set in the configuration. Limits are of a job, of a rule with all \
                  its jobs, also those that come, or of the rules that name a throttle. What is set counts at once, over restarts \
                  and reloads, and in place of the configuration; `default` takes it back.",
    group = clap::ArgGroup::new("which").required(true).args(["jobs", "rule", "throttle"]),
    group = clap::ArgGroup::new("what").required(true).multiple(true).args(["priority", "workers_max", "records_per_second"])
)]
pub(super) struct SetArgs {
    /// The jobs' ids, or at least four characters of their ends
    #[arg(value_name = "JOB", add = complete::of_jobs())]
    jobs: Vec<String>,
    /// This rule; with --priority: every job of it that is there and not done, and no file that comes
    #[arg(long, value_name = "NAME", add = complete::of_rules())]
    rule: Option<String>,
    /// The rules that name this throttle, together
    #[arg(long, value_name = "NAME", conflicts_with = "priority")]
    throttle: Option<String>,
    /// 1 to 100; the lower goes first
    #[arg(long, value_name = "NUMBER")]
    priority: Option<Priority>,
    /// At most so many workers at once; 0: no limit; default: as configured
    #[arg(long, value_name = "NUMBER", value_parser = parse_workers)]
    workers_max: Option<PaceChange>,
    /// At most so many records a second; 0: no limit; default: as configured
    #[arg(long, value_name = "NUMBER", value_parser = parse_records, conflicts_with = "jobs")]
    records_per_second: Option<PaceChange>,
}

fn parse_workers(text: &str) -> Result<PaceChange, String> {
    parse_change(text, u64::from(u32::MAX))
}

fn parse_records(text: &str) -> Result<PaceChange, String> {
    parse_change(text, 1_000_000_000_000)
}

fn parse_change(text: &str, most: u64) -> Result<PaceChange, String> {
    if text == "default" {
        return Ok(PaceChange::Default);
    }
    let number = text.parse().ok().filter(|number| *number <= most);
    number.map(PaceChange::To).ok_or_else(|| format!("write a number up to {most}, or `default`"))
}

pub(super) fn run(args: &SetArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = control::open(settings)?;
    let door = door.as_ref();
    let pace_of = match (&args.rule, &args.throttle) {
        (Some(rule), _) => Some(Paced::Rule(rule.clone())),
        (_, Some(throttle)) => Some(Paced::Throttle(throttle.clone())),
        _ => None,
    };
    let mut code = ExitCode::SUCCESS;
    if let Some(of) = pace_of.filter(|_| args.workers_max.is_some() || args.records_per_second.is_some()) {
        let (workers_max, records_per_second) = (args.workers_max, args.records_per_second);
        let setting = PaceSetting { of, workers_max, records_per_second };
        code = set_pace(&setting, door);
    }
    if args.priority.is_some() || !args.jobs.is_empty() {
        let of_jobs = set_jobs(args, settings, door)?;
        code = if code == ExitCode::SUCCESS { of_jobs } else { code };
    }
    Ok(code)
}

fn set_pace(setting: &PaceSetting, door: &dyn Door) -> ExitCode {
    let is_new = match door.set_pace(setting) {
        Ok(is_new) => is_new,
        Err(Refusal::Fault(JobError { kind: FaultKind::Config, message, hint })) => {
            complain(&message, hint.as_deref());
            return ExitCode::from(USAGE);
        }
        Err(refusal) => return view::refuse(&refusal),
    };
    let said = |key: &str, change: Option<PaceChange>| {
        change.map(|change| match change {
            PaceChange::Default => format!("{key} as configured"),
            PaceChange::To(0) => format!("{key} 0, no limit"),
            PaceChange::To(max) => format!("{key} {max}"),
        })
    };
    let workers = said("workers_max", setting.workers_max);
    let records = said("records_per_second", setting.records_per_second);
    let said: Vec<_> = workers.into_iter().chain(records).collect();
    say!("{}: {}{}", setting.of, said.join(", "), if is_new { "" } else { " (as it was)" });
    for told in view::paces_told(door).unwrap_or_default() {
        say_aside!("{told}");
    }
    let (Paced::Rule(rule) | Paced::Throttle(rule)) = &setting.of;
    let rule = Some(rule.clone()).filter(|_| matches!(setting.of, Paced::Rule(_)));
    let scope = Scope { rule, sender: None };
    // By whatever words it is held back.
    let halts = door.halts().unwrap_or_default();
    for pause in halts.pauses.iter().filter(|pause| pause.scope.holds(&scope)) {
        say_aside!("{}", pause.told());
    }
    ExitCode::SUCCESS
}

fn set_jobs(args: &SetArgs, settings: &Settings, door: &dyn Door) -> anyhow::Result<ExitCode> {
    let jobs = match chosen(args, door) {
        Ok(jobs) => jobs,
        Err(refusal) => return Ok(view::refuse(&refusal)),
    };
    if let (true, Some(rule)) = (jobs.is_empty(), &args.rule) {
        view::know_rule(settings, rule, || false)?;
        say!("no job of rule \"{rule}\" waits or runs");
    }
    if let (Some(rule), Some(_)) = (&args.rule, args.priority) {
        say_aside!(
            "files that come under rule \"{rule}\" are jobs of the priority that the rule has: set `priority` there"
        );
    }
    let mut all_done = true;
    let mut held_back = BTreeSet::new();
    for job in jobs {
        held_back.extend(pause::held_back(&job).map(str::to_owned));
        for (act, what, to, was) in acts(args, &job, settings) {
            match door.act(&act) {
                Ok(id) if to == was => say!("{id}: {what} {to} (as it was)  {}", job.source.path),
                Ok(id) => say!("{id}: {what} {to} (was {was})  {}", job.source.path),
                // It was chosen because it was not done, and is done by now.
                Err(_)
                    if args.rule.is_some()
                        && door.show(&job.id.to_string()).is_ok_and(|job| !waits(&job)) => {}
                Err(refusal) => {
                    complain(&refusal.to_string(), refusal.hint().as_deref());
                    all_done = false;
                }
            }
        }
    }
    for why in held_back {
        say_aside!("nothing goes on before this is lifted: {why}");
    }
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// What is to be done of a job: what is set, to what, and what it was.
fn acts(args: &SetArgs, job: &Job, settings: &Settings) -> Vec<(Act, &'static str, u32, u32)> {
    let mut acts = Vec::new();
    if let Some(priority) = args.priority {
        let act = Act::Set { job: job.id.to_string(), priority };
        acts.push((act, "priority", priority.get().into(), job.priority.get().into()));
    }
    if let (Some(change), true) = (args.workers_max, args.rule.is_none()) {
        let is_its = |rule: &&crate::model::rule::Rule| rule.is_for(&job.rule, &job.vars);
        let configured = || settings.rules.iter().find(is_its).map_or(0, |rule| rule.pace.job_workers_max);
        let workers_max = match change {
            PaceChange::Default => configured(),
            PaceChange::To(max) => u32::try_from(max).unwrap_or(u32::MAX),
        };
        let act = Act::SetWorkers { job: job.id.to_string(), workers_max };
        acts.push((act, "workers_max", workers_max, job.workers_max));
    }
    acts
}

fn chosen(args: &SetArgs, door: &dyn Door) -> Result<Vec<Job>, Refusal> {
    let Some(rule) = &args.rule else {
        return args.jobs.iter().map(|job| door.show(job)).collect();
    };
    let of_rule = JobFilter { rule: Some(rule.clone()), ..JobFilter::default() };
    let jobs: Result<Vec<_>, _> = door.list(&of_rule).collect();
    Ok(jobs?.into_iter().filter(waits).collect())
}

/// Whether it is not done, so far that what is set counts.
fn waits(job: &Job) -> bool {
    !job.state.is_final() && !job.state.is_past_intent()
}
