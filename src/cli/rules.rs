//! `landfall rules`: one line per rule, as the running service goes by them.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use jiff::Timestamp;

use super::view::{self, Stop};
use crate::listing::rules::{Activity, activities, gone, mode, overrides, print_json, rules_gone_by};
use crate::model::job_state::JobState;
use crate::model::rule::{Rule, Settings};
use crate::watch::rules::RuleSet;

/// The arguments of `landfall rules`.
#[derive(clap::Args)]
pub(super) struct RulesArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
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

#[cfg(test)]
mod tests {
    use super::super::view::tests::printed;
    use super::*;
    use crate::model::job_line::JobLine;
    use crate::model::job_view::tests::sample_job;

    #[test]
    fn each_rule_has_a_line_and_one_that_is_gone_as_long_as_its_jobs_go_on() {
        let mut activities = BTreeMap::<String, Activity>::new();
        let mut running = JobLine::of(sample_job());
        activities.entry("done".into()).or_default().note(&running);
        running.state = JobState::Queued;
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
