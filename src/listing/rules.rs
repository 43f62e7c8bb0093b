//! Rules, as the running service goes by them, and what each is at.

use std::collections::BTreeMap;
use std::io::Write;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::jobs::configuration_json;
use super::{Stop, service_word};
use crate::config;
use crate::engine::{Door, JobFilter, Refusal};
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;
use crate::model::job_view::VIEW_VERSION;
use crate::model::overriding::Override;
use crate::model::rule::Rule;
use crate::model::shown_json;
use crate::watch::rules::RuleSet;

/// What a rule is at.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    pub(crate) files_waiting: usize,
    pub(crate) jobs: BTreeMap<&'static str, u64>,
    pub(crate) unfinished: u64,
    pub(crate) last_job_at: Option<Timestamp>,
}

impl Activity {
    pub(crate) fn note(&mut self, job: &JobLine) {
        *self.jobs.entry(job.state.as_str()).or_default() += 1;
        self.unfinished += u64::from(!job.state.is_final());
        self.last_job_at = self.last_job_at.max(Some(job.created_at));
    }

    pub(crate) fn count(&self, state: JobState) -> u64 {
        self.jobs.get(state.as_str()).copied().unwrap_or(0)
    }
}

/// Those of the running service, which may not be what the configuration says now.
pub(crate) fn rules_gone_by(door: Option<&dyn Door>) -> Option<Vec<Rule>> {
    let kept = door.filter(|door| door.is_service())?.kept_configuration().ok()?;
    Some(config::read_kept(&kept, None).ok()?.rules)
}

/// By the rule's name; rules that are gone, and whose jobs are listed, are among them.
pub(crate) fn activities(
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
    for job in door.into_iter().flat_map(|door| door.lines(&JobFilter::default())) {
        let job = job?;
        of(&job.rule, &mut activities, &|activity| activity.note(&job));
    }
    for file in door.into_iter().flat_map(|door| door.files_waiting(None)) {
        let rule = set.assign(file?.path.as_path()).and_then(|(at, _)| rules.get(at));
        if let Some(rule) = rule {
            of(&rule.name, &mut activities, &|activity| activity.files_waiting += 1);
        }
    }
    Ok(activities)
}

/// Rules that are gone and have jobs on their way.
pub(crate) fn gone<'a>(
    rules: &'a [Rule],
    activities: &'a BTreeMap<String, Activity>,
) -> impl Iterator<Item = (&'a String, &'a Activity)> {
    activities
        .iter()
        .filter(|(name, activity)| activity.unfinished > 0 && !rules.iter().any(|rule| rule.name == **name))
}

/// What overrides of a rule there are, with the rules that they make of it.
pub(crate) fn overrides<'a>(
    rules: &'a [Rule],
    name: &'a str,
) -> impl Iterator<Item = (&'a Override, &'a Rule)> {
    let of_name = rules.iter().filter(move |rule| rule.name == name);
    of_name.filter_map(|rule| Some((rule.overriding.as_ref()?, rule)))
}

pub(crate) fn mode(rule: &Rule) -> &'static str {
    rule.mode.word()
}

/// The rules of the running service, with what each is at.
pub(crate) fn json_of_service(out: &mut dyn Write, door: &dyn Door) -> Result<(), Stop> {
    let rules = rules_gone_by(Some(door)).unwrap_or_default();
    let set = RuleSet::new(rules.clone()).map_err(|error| Refusal::from_fault(&error))?;
    print_json(out, Some(door), &rules, &activities(Some(door), &rules, &set)?)
}

pub(crate) fn print_json(
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
            "outputs": rule.outputs.iter().map(|(category, output)| (category.to_string(), output.path.clone())).collect::<BTreeMap<_, _>>(),
            "limits": rule.pace.limits,
            "throttle": rule.pace.throttle,
            "overrides": overrides.collect::<Vec<_>>(),
        });
        activity_json(&rule.name, activity, own)
    };
    let gone = gone(rules, activities).map(|(name, activity)| activity_json(name, activity, json!({})));
    let service = service_word(door);
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
