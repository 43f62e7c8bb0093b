//! Under which rule a job is worked: the one that it was claimed under, or the rule as it is now.

use std::sync::Arc;

use super::rule_book::ReadyRule;
use super::shared::Shared;
use super::trouble::Trouble;
use super::{fail, file_systems};
use crate::clock;
use crate::model::fault::WaitsFor;
use crate::model::job::Job;
use crate::model::privacy::Privacy;
use crate::telemetry::events;

/// The rule to work under: the one that the job was claimed under, whatever came between. One that was held for what its rule says takes
/// the rule as it is now, from its first record: that may be what was mended. But a rule that names wildcards which it had not when the file
/// was claimed has no values for them; and one by which the file would have stayed, or would not have, cannot end it. With it the rule that is
/// left for it, if one is.
pub(super) fn rule_for(
    shared: &Shared,
    job: &Job,
    held_for: Option<WaitsFor>,
) -> Result<(Arc<ReadyRule>, Option<Arc<ReadyRule>>), Trouble> {
    let held_for = held_for.filter(|held_for| held_for.may_be_mended_in_rule());
    let current = if held_for.is_some() { shared.rules.current(job)? } else { None };
    let own = shared.rules.snapshot(&shared.store, job)?;
    let fits = |rule: &Arc<ReadyRule>| rule.hash != job.rule_hash && rule.has_values_for(job);
    let Some(changed) = current.filter(fits) else { return Ok((own, None)) };
    if !job.source.ends_as(&changed.rule) {
        tracing::warn!(
            job = %job.id, rule = job.rule,
            "goes on by its rule as it was: by the rule as it is now its source ends in another way (`source.on_success`)"
        );
        return Ok((own, None));
    }
    // Held for its place: another edit of the rule ends no wait for it.
    let is_for_place = matches!(held_for, Some(WaitsFor::Mount | WaitsFor::Disk));
    let places = |of: &ReadyRule| {
        (of.folders.clone(), of.rule.publish.mount.clone(), file_systems::program_places(&of.rule))
    };
    if is_for_place && places(&own) == places(&changed) {
        return Ok((own, None));
    }
    Ok((changed, Some(own)))
}

/// From the rule that a job was claimed under to the rule as it is now.
pub(super) fn go_over(
    shared: &Shared,
    job: &mut Job,
    left: &ReadyRule,
    rule: &ReadyRule,
) -> Result<(), Trouble> {
    if job.is_private(&left.rule) {
        job.privacy = Privacy::Private;
    }
    job.rule_hash.clone_from(&rule.hash);
    job.note(clock::now(), "its rule was changed while it was held: it goes by the rule as it is now");
    shared.store.change().rule(&rule.rule).job(job).forget_work(job.id).apply()?;
    shared.store.sync()?; // no checkpoint may name partials that are gone
    events::goes_on_under_changed_rule(job);
    fail::remove_hidden_of(&left.rule, job);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::engine::tests::World;
    use crate::model::rule::Rule;

    /// An edit that came between a job's claim and its begin, or its crash and the next start, is none of its own; one that may be what the
    /// job was held for is, and that is told.
    #[test]
    fn a_job_is_worked_under_the_rule_it_was_claimed_under_unless_that_may_be_what_holds_it() {
        use crate::model::category::Category;
        use crate::model::rule::{OnSuccess, StepSpec};
        type Case = (Option<WaitsFor>, fn(&mut Rule), bool);
        let moved = |rule: &mut Rule| rule.publish.mount = Some("/other".into());
        let kept = |rule: &mut Rule| rule.source.archive_keep = Some(Duration::from_hours(1));
        let stays = |rule: &mut Rule| rule.source.on_success = OnSuccess::Keep;
        let asks = |rule: &mut Rule| {
            let params = serde_json::Map::from_iter([("command".to_owned(), serde_json::json!(["cat"]))]);
            rule.pipeline.push(StepSpec { step: "exec".into(), on: vec![Category::main()], params });
        };
        let waits: [Case; 10] = [
            (None, kept, false),
            (Some(WaitsFor::Retry), kept, false),
            (Some(WaitsFor::Delivery), moved, false),
            (Some(WaitsFor::Disk), kept, false),
            (Some(WaitsFor::Mount), moved, true),
            (Some(WaitsFor::Mount), asks, true),
            (Some(WaitsFor::Config), kept, true),
            (Some(WaitsFor::Settling), kept, true),
            (Some(WaitsFor::Key), kept, true),
            (Some(WaitsFor::Config), stays, false),
        ];
        for (held_for, edit, takes_new) in waits {
            let world = World::new();
            let (shared, mut job) = (&world.shared, world.job());
            let mut edited = Rule::clone(&world.rule());
            edit(&mut edited);
            shared.rules.exchange(vec![edited.clone()]);
            let claimed_under = job.rule_hash.clone();
            let (rule, left) = rule_for(shared, &job, held_for).expect("is known");
            assert_eq!(left.is_some(), takes_new, "{held_for:?}");
            let hidden = world.path(&format!("out/.landfall-{}-0.partial", job.id));
            std::fs::create_dir_all(world.path("out")).expect("makes");
            std::fs::write(&hidden, "half").expect("is left from before it was held");
            if let Some(left) = left {
                go_over(shared, &mut job, &left, &rule).expect("goes over");
            }
            let wanted = if takes_new { edited.hash() } else { claimed_under };
            assert_eq!((&rule.hash, &job.rule_hash), (&wanted, &wanted), "{held_for:?}");
            assert_eq!(
                job.remarks().any(|remark| remark.contains("was changed while it was held")),
                takes_new
            );
            assert_eq!(
                crate::engine::tests::is_there(&hidden),
                !takes_new,
                "who goes over leaves nothing hidden"
            );
        }
    }

    #[test]
    fn what_came_encrypted_stays_private_whatever_rule_its_job_goes_over_to() {
        let world = World::new();
        let (shared, mut job) = (&world.shared, world.job());
        let ready = |rule: &Rule| {
            shared.rules.exchange(vec![rule.clone()]);
            shared.rules.current(&job).expect("reads").expect("is there")
        };
        let plain = Rule::clone(&world.rule());
        let private = ready(&Rule { encrypt_at_rest: true, ..plain.clone() });
        let plain = ready(&plain);
        for _ in 0..2 {
            go_over(shared, &mut job, &private, &plain).expect("goes over");
            assert!(job.is_private(&plain.rule) && !plain.rule.is_private());
            go_over(shared, &mut job, &plain, &plain).expect("goes over");
        }
        assert!(job.is_private(&plain.rule));
    }
}
