//! `landfall rules`: one line per rule, as the running service goes by them.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::jobs::configuration_json;
use super::view::{self, Stop};
use crate::config;
use crate::engine::{Door, JobFilter};
use crate::model::job::Job;
use crate::model::job_state::JobState;
use crate::model::job_view::VIEW_VERSION;
use crate::model::overriding::Override;
use crate::model::rule::{Rule, Settings};
use crate::model::shown_json;
use crate::watch::rules::RuleSet;

/// The arguments of `landfall rules`.
#[derive(clap::Args)]
pub(super) struct RulesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What a rule is at.
#[derive(Debug, Default)]
struct Activity {
    files_waiting: usize,
    jobs: BTreeMap<&'static str, u64>,
    unfinished: u64,
    last_job_at: Option<Timestamp>,
}

impl Activity {
    fn note(&mut self, job: &Job) {
        *self.jobs.entry(job.state.get().as_str()).or_default() += 1;
        self.unfinished += u64::from(!job.state.is_final());
        self.last_job_at = self.last_job_at.max(Some(job.created_at));
    }

    fn count(&self, state: JobState) -> u64 {
        self.jobs.get(state.as_str()).copied().unwrap_or(0)
    }
}

pub(super) fn run(args: &RulesArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = view::door(settings)?;
    let door = door.as_deref();
    let rules = rules_gone_by(door).unwrap_or_else(|| settings.rules.clone());
    let set = RuleSet::new(rules.clone())?;
    view::print(|out| {
        let activities = activities(door, &rules, &set)?;
        if args.json {
            print_json(out, door, &rules, &activities)
        } else {
            print_table(out, &rules, &activities, crate::clock::now())?;
            super::jobs::print_service(out, door)
        }
    })
}

/// Those of the running service, which may not be what the configuration says now.
pub(super) fn rules_gone_by(door: Option<&dyn Door>) -> Option<Vec<Rule>> {
    let kept = door.filter(|door| door.is_service())?.kept_configuration().ok()?;
    Some(config::read_kept(&kept, None).ok()?.rules)
}

/// By the rule's name; rules that are gone, and whose jobs are listed, are among them.
fn activities(
    door: Option<&dyn Door>,
    rules: &[Rule],
    set: &RuleSet,
) -> Result<BTreeMap<String, Activity>, Stop> {
    let mut activities = BTreeMap::<String, Activity>::new();
    let of = |name: &str, activities: &mut BTreeMap<String, Activity>, change: &dyn Fn(&mut Activity)| {
        match activities.get_mut(name) {
            Some(activity) => change(activity),
            None => change(activities.entry(name.to_owned()).or_default()),
        }
    };
    for job in door.into_iter().flat_map(|door| door.list(&JobFilter::default())) {
        let job = job?;
        of(&job.rule, &mut activities, &|activity| activity.note(&job));
    }
    for file in door.into_iter().flat_map(Door::files_waiting) {
        let rule = set.assign(file?.path.as_path()).and_then(|(at, _)| rules.get(at));
        if let Some(rule) = rule {
            of(&rule.name, &mut activities, &|activity| activity.files_waiting += 1);
        }
    }
    Ok(activities)
}

/// Rules that are gone and have jobs on their way.
fn gone<'a>(
    rules: &'a [Rule],
    activities: &'a BTreeMap<String, Activity>,
) -> impl Iterator<Item = (&'a String, &'a Activity)> {
    activities
        .iter()
        .filter(|(name, activity)| activity.unfinished > 0 && !rules.iter().any(|rule| rule.name == **name))
}

fn print_table(
    out: &mut dyn Write,
    rules: &[Rule],
    activities: &BTreeMap<String, Activity>,
    now: Timestamp,
) -> Result<(), Stop> {
    let names = rules.iter().map(|rule| &rule.name).chain(gone(rules, activities).map(|(name, _)| name));
    let width = names.map(String::len).max().unwrap_or(0).max(4);
    writeln!(
        out,
        "{:width$}  {:4}  {:>7}  {:>6}  {:>6}  {:>9}  {:>8}  PATHS",
        "RULE", "MODE", "WAITING", "AT IT", "FAILED", "COMPLETED", "LAST JOB"
    )?;
    let nothing = Activity::default();
    let line = |out: &mut dyn Write, name: &str, mode: &str, activity: &Activity, paths: &str| {
        let last = activity.last_job_at.map_or_else(|| "none".to_owned(), |at| view::age(at, now));
        writeln!(
            out,
            "{name:width$}  {mode:4}  {:>7}  {:>6}  {:>6}  {:>9}  {last:>8}  {paths}",
            activity.files_waiting,
            activity.unfinished,
            activity.count(JobState::Failed),
            activity.count(JobState::Completed)
        )
    };
    for rule in rules.iter().filter(|rule| rule.is_base()) {
        let activity = activities.get(&rule.name).unwrap_or(&nothing);
        line(out, &rule.name, mode(rule), activity, &rule.paths.join(", "))?;
        for (overriding, rule) in overrides(rules, &rule.name) {
            let keys = overriding.keys.join(", ");
            writeln!(out, "{:width$}  {:4}    if {overriding}: {keys}", "", mode(rule))?;
        }
    }
    for (name, activity) in gone(rules, activities) {
        line(out, name, "gone", activity, "takes nothing any more; its jobs go on")?;
    }
    Ok(())
}

/// What overrides of a rule there are, with the rules that they make of it.
fn overrides<'a>(rules: &'a [Rule], name: &'a str) -> impl Iterator<Item = (&'a Override, &'a Rule)> {
    let of_name = rules.iter().filter(move |rule| rule.name == name);
    of_name.filter_map(|rule| Some((rule.overriding.as_ref()?, rule)))
}

fn mode(rule: &Rule) -> &'static str {
    rule.mode.word()
}

fn print_json(
    out: &mut dyn Write,
    door: Option<&dyn Door>,
    rules: &[Rule],
    activities: &BTreeMap<String, Activity>,
) -> Result<(), Stop> {
    let nothing = Activity::default();
    let of_rule = |rule: &Rule| {
        let activity = activities.get(&rule.name).unwrap_or(&nothing);
        let overrides = overrides(rules, &rule.name).map(|(overriding, rule)| {
            json!({
                "if": overriding.condition,
                "keys": overriding.keys,
                "mode": mode(rule),
                "rule_hash": rule.hash(),
            })
        });
        let own = json!({
            "mode": mode(rule),
            "rule_hash": rule.hash(),
            "paths": rule.paths,
            "exclude": rule.exclude,
            "overrides": overrides.collect::<Vec<_>>(),
        });
        activity_json(&rule.name, activity, own)
    };
    let gone = gone(rules, activities).map(|(name, activity)| activity_json(name, activity, json!({})));
    let service = if door.is_some_and(Door::is_service) { "running" } else { "stopped" };
    let mut all = json!({
        "version": VIEW_VERSION,
        "service": service,
        "rules": rules.iter().filter(|rule| rule.is_base()).map(of_rule).collect::<Vec<_>>(),
        "gone": gone.collect::<Vec<_>>(),
    });
    if let Some(state) = door.map(Door::configuration).transpose()?.flatten() {
        all["configuration"] = configuration_json(&state);
    }
    if let Some(counts) = door.map(Door::watch_counts).transpose()?.flatten() {
        all["watch"] = json!(counts);
    }
    writeln!(out, "{}", shown_json::to_string(&all)?)?;
    Ok(())
}

fn activity_json(name: &str, activity: &Activity, mut own: Value) -> Value {
    own["name"] = name.into();
    own["files_waiting"] = activity.files_waiting.into();
    own["jobs"] = json!(activity.jobs);
    own["last_job_at"] = json!(activity.last_job_at);
    own
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::printed;
    use super::*;
    use crate::model::job_view::tests::sample_job;

    #[test]
    fn each_rule_has_a_line_and_one_that_is_gone_as_long_as_its_jobs_go_on() {
        let mut activities = BTreeMap::<String, Activity>::new();
        let mut running = sample_job();
        activities.entry("done".into()).or_default().note(&running);
        running.state = JobState::Queued.into();
        activities.entry("going".into()).or_default().note(&running);
        let now = Timestamp::from_second(1_796_000_120).expect("a time");
        let text = printed(|out| print_table(out, &[], &activities, now));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[1].starts_with("going  gone        0       1       0          0        2m  "),
            "{text}"
        );
    }
}
