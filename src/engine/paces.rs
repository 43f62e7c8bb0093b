//! How fast rules may work: what they say, and what an operator set in place of it; told to the scheduler whenever either changes.

use std::sync::Arc;
use std::time::Instant;

use super::schedule::{HeldBack, RuleLimits, WorkLimit, WorkLimits};
use crate::clock;
use crate::model::fault::WaitsFor;
use crate::model::job::{Job, Waiting};
use crate::model::pace::{PaceLimits, Paced, PacesSet};
use crate::model::rule::Rule;

/// The step that waits for another program.
const EXEC: &str = "exec";

/// What counts: rules are told apart by their names, their overrides are part of them.
pub(super) fn work_limits<'r>(rules: impl Iterator<Item = &'r Rule>, paces: &PacesSet) -> WorkLimits {
    let mut limits = WorkLimits::default();
    let limit = |of: PaceLimits| WorkLimit {
        workers_max: of.workers_max.filter(|max| *max > 0).map(|max| max as usize),
        records_per_second: of.records_per_second.filter(|max| *max > 0),
    };
    for rule in rules.filter(|rule| rule.is_base()) {
        let own = paces.over(&Paced::Rule(rule.name.clone()), rule.pace.limits);
        let throttle = rule.pace.throttle.as_ref();
        if let Some(throttle) = throttle {
            let of = paces.over(&Paced::Throttle(throttle.name.clone()), throttle.limits);
            limits.throttles.insert(throttle.name.clone(), limit(of));
        }
        let throttle = throttle.map(|throttle| throttle.name.clone());
        let waits_for_programs = rule.pipeline.iter().any(|step| step.step == EXEC);
        let yields = own.workers_max.is_none();
        let of_rule = RuleLimits { own: limit(own), yields, waits_for_programs, throttle };
        limits.rules.insert(Arc::from(rule.name.as_str()), of_rule);
    }
    limits
}

/// Says of a job that runs what users have set that keeps workers from it just now. It is written nowhere.
pub(super) fn tell_waiting(held_back: &HeldBack, job: &mut Job) {
    let detail = detail(held_back);
    let until = match held_back {
        HeldBack::Rate { until, .. } => *until,
        _ => None,
    };
    let until = until.and_then(|until| {
        let left = until.saturating_duration_since(Instant::now());
        clock::now().checked_add(left).ok()
    });
    job.waiting = Some(Waiting { behind: None, waits_for: WaitsFor::Throttle, until, detail });
}

fn detail(held_back: &HeldBack) -> String {
    let workers = |count: usize| if count == 1 { "1 worker".to_owned() } else { format!("{count} workers") };
    match held_back {
        HeldBack::Job { workers_max } => {
            format!("the job has the {} that it may have (`workers_max`)", workers(*workers_max))
        }
        HeldBack::Workers { by: by @ Paced::Rule(_), workers_max } => {
            format!("{by} has the {} that it may have (`workers_max`)", workers(*workers_max))
        }
        HeldBack::Workers { by, workers_max } => {
            format!("the rules of {by} have the {} that they may have (`workers_max`)", workers(*workers_max))
        }
        HeldBack::Yields { workers_max } => format!(
            "its steps are slow or wait for another program, and its rule has {}: one is left to other rules, unless `workers_max` says otherwise",
            workers(*workers_max)
        ),
        HeldBack::Rate { by, per_second, .. } => {
            format!("{by} may take {per_second} records a second (`records_per_second`)")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::pace::{PaceChange, PaceSetting, Throttle};

    #[test]
    fn what_counts_is_what_was_set_and_else_what_the_rule_says_and_no_limit_is_said_by_0() {
        let world = World::new();
        let mut rule = Rule::clone(&world.rule());
        let limits = |workers, records| PaceLimits { workers_max: workers, records_per_second: records };
        rule.pace.throttle = Some(Throttle { name: "slow".into(), limits: limits(Some(2), Some(5)) });
        let mut paces = PacesSet::default();
        let of = |paces: &PacesSet, rule: &Rule| {
            let found = work_limits(std::iter::once(rule), paces);
            (found.rules[rule.name.as_str()].clone(), found.throttles["slow"])
        };
        let (own, group) = of(&paces, &rule);
        assert!(own.yields && own.own == WorkLimit::default());
        assert_eq!(group, WorkLimit { workers_max: Some(2), records_per_second: Some(5) });
        let set =
            |of, workers, records| PaceSetting { of, workers_max: workers, records_per_second: records };
        let zero = Some(PaceChange::To(0));
        let of_rule = set(Paced::Rule(rule.name.clone()), zero, Some(PaceChange::To(7)));
        paces.set(&of_rule, clock::now(), "root");
        paces.set(&set(Paced::Throttle("slow".into()), None, zero), clock::now(), "root");
        let (own, group) = of(&paces, &rule);
        assert!(!own.yields, "0 is said");
        assert_eq!(own.own, WorkLimit { workers_max: None, records_per_second: Some(7) });
        assert_eq!(group, WorkLimit { workers_max: Some(2), records_per_second: None });
    }
}
