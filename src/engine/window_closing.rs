//! When a window closes that pauses what runs, its runs are set back to their queue, as by a pause; when one opens, those that wait for it go on.
//!
//! Time is that of the wall clock, which may be set: whoever waits is looked at at every tick, and not only when the time that was left has
//! passed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::hours::{left, opening_for, told};
use super::order::set_back;
use super::rule_book::Rules;
use super::run::Run;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::model::job_id::JobId;
use crate::model::window::WindowEnd;
use crate::telemetry::events;

/// Clocks go apart by less.
const SHORTEST: Duration = Duration::from_millis(1);

/// Puts down what runs outside a window that pauses it, and has go on what waits for one that is open. The time to the next change.
pub(super) fn look(shared: &Arc<Shared>) -> Result<Option<Duration>, Trouble> {
    look_at(shared, clock::now())
}

fn look_at(shared: &Arc<Shared>, now: Timestamp) -> Result<Option<Duration>, Trouble> {
    let rules = shared.rules.now();
    if rules.iter().all(|rule| rule.window.is_none()) && shared.publishing.turns.hours.waiting().is_empty() {
        return Ok(None);
    }
    let opened = goes_on(shared, &rules, now)?;
    // In this order: see `hours::queue_for_opening`.
    shared.publishing.turns.hours.forget(&opened);
    shared.dispatch.hasten(&opened);
    let outside = |run: Arc<Run>| {
        let job = run.row();
        let rule = rules.rule_for(&job.rule, &job.vars)?;
        let (window, opening) = opening_for(rule, &job, now)?;
        let is_over = window.end == WindowEnd::Pause && !opening.is_open() && !run.is_broken_off();
        is_over.then(|| (run, job, told(rule, window)))
    };
    let closed: Vec<_> = shared.dispatch.runs().into_iter().filter_map(outside).collect();
    for (_, job, why) in &closed {
        events::window_closed(job, why);
    }
    set_back(shared, closed.iter().map(|(run, _, why)| (run, why.clone())))?;
    let windows = rules.iter().filter_map(|rule| rule.window?.at(now, &rule.zone()).until());
    Ok(windows.min().map(|next| left(now, next).max(SHORTEST)))
}

/// Those of the jobs that wait whose windows are open, or which have none to keep any more.
fn goes_on(shared: &Shared, rules: &Rules, now: Timestamp) -> Result<HashSet<JobId>, Trouble> {
    let mut opened = HashSet::new();
    for id in shared.publishing.turns.hours.waiting() {
        let job = shared.store.job(id)?.filter(|job| !job.state.is_final());
        let is_closed = job.is_some_and(|job| {
            let rule = rules.rule_for(&job.rule, &job.vars);
            // One that has left the configuration is asked when it is taken up.
            rule.is_none_or(|rule| {
                opening_for(rule, &job, now).is_some_and(|(_, opening)| !opening.is_open())
            })
        });
        if !is_closed {
            opened.insert(id);
        }
    }
    Ok(opened)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::finish::finish_batch;
    use crate::engine::schedule::Stage;
    use crate::engine::tests::{World, worked};
    use crate::model::job_state::JobState;

    const RULE: &str =
        "source = { on_success = \"delete\" }\nwindow = \"22:00-06:00\"\nwindow_end = \"END\"\n";

    fn world(end: &str) -> World {
        World::with(&RULE.replace("END", end))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn what_runs_when_its_window_closes_is_put_down_with_a_checkpoint_or_finishes() {
        let (night, morning) = (at("2026-11-30T05:59:59Z"), at("2026-11-30T06:00:00Z"));
        for (end, pauses) in [("pause", true), ("finish", false)] {
            let world = world(end);
            let run = world.run();
            assert!(world.shared.dispatch.take_up(run.id, Stage::Load), "as its loader had it");
            run.collect(worked(&run, 0, "a"));
            assert_eq!(look_at(&world.shared, night).expect("looks"), Some(Duration::from_secs(1)));
            assert!(!run.is_broken_off());
            look_at(&world.shared, morning).expect("looks");
            assert_eq!(run.is_broken_off(), pauses, "{end}");
            if !pauses {
                continue;
            }
            run.loading_ended();
            world.shared.settle(&run);
            finish_batch(&world.shared, vec![run.id]).expect("the store speaks for nobody");
            let row = world.row(&run.row()).expect("is there");
            assert_eq!((row.state.get(), row.account.records_in, row.attempts), (JobState::Queued, 1, 0));
            assert!(
                row.timeline.iter().any(|moment| moment.detail.contains("22:00 to 06:00 (UTC)")),
                "{row:#?}"
            );
            assert!(world.shared.store.checkpoint(run.id).expect("reads").is_some());
        }
    }

    #[test]
    fn who_waits_is_called_when_its_window_opens_whatever_the_clock_said_before() {
        let world = world("finish");
        let job = world.job();
        world.shared.publishing.turns.hours.note(job.id);
        look_at(&world.shared, at("2026-11-30T12:00:00Z")).expect("looks");
        assert_eq!(world.shared.publishing.turns.hours.waiting(), [job.id]);
        look_at(&world.shared, at("2026-11-30T23:00:00Z")).expect("looks");
        assert!(world.shared.publishing.turns.hours.waiting().is_empty());
    }
}
