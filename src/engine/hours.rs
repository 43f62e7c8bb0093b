//! `window`: outside of it a rule's jobs do not run. Files are claimed all the same: their senders see them taken, and they are safe.
//!
//! A loader that takes a job up outside its window puts it down, to be queued when that opens. What the rule says now counts;
//! a file that an operator named with `landfall ingest` waits for no window.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::model::complete_by::CompleteBy;
use crate::model::fault::WaitsFor;
use crate::model::job::{Job, Waiting};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::rule::Rule;
use crate::model::window::{Opening, Window, WindowEnd};

/// An opening that no calendar has is looked for again after this.
const LOOK_AGAIN: Duration = Duration::from_hours(1);

/// How long a job waits for its window; none: it may go on.
pub(super) fn wait_for(shared: &Shared, job: &Job) -> Result<Option<Duration>, Trouble> {
    let current = shared.rules.now().rule_for(&job.rule, &job.vars).cloned();
    let rule = match current {
        Some(rule) => rule,
        // It has left the configuration.
        None => match shared.store.rule(&job.rule_hash)? {
            Some(rule) => Arc::new(rule),
            None => return Ok(None),
        },
    };
    let now = clock::now();
    let Some((window, Opening::Closed(until))) = opening_for(&rule, job, now) else { return Ok(None) };
    if window.end == WindowEnd::Finish && has_begun(job) {
        return Ok(None);
    }
    shared.publishing.turns.hours.note(job.id);
    Ok(Some(until.map_or(LOOK_AGAIN, |until| left(now, until))))
}

/// Has a job that waits for its window taken up when that opens. A reload may have opened it since the job was noted, and called it before it
/// was in any queue.
pub(super) fn queue_for_opening(shared: &Shared, owner: &Owner, pause: Duration, id: JobId) {
    shared.dispatch.queue_after(Stage::Load, owner, pause, id);
    if !shared.publishing.turns.hours.has(id) {
        shared.dispatch.hasten(&HashSet::from([id]));
    }
}

/// The window that a job has to keep.
pub(super) fn window_of(rule: &Rule, job: &Job) -> Option<Window> {
    rule.window.filter(|_| job.source.complete_by != Some(CompleteBy::Command))
}

/// The same, and how it is now.
pub(super) fn opening_for(rule: &Rule, job: &Job, now: Timestamp) -> Option<(Window, Opening)> {
    let window = window_of(rule, job)?;
    Some((window, window.at(now, &rule.zone())))
}

/// Whether it is to finish although its window is closed: it ran, and was neither retried nor begun anew since.
fn has_begun(job: &Job) -> bool {
    job.state == JobState::Running || job.started_at.is_some() && job.slices.total > 0
}

pub(super) fn left(now: Timestamp, until: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}

/// Says of a queued job that it waits for its window. It is written nowhere.
pub(super) fn tell<'r>(rule_of: impl FnOnce(&Job) -> Option<&'r Rule>, job: &mut Job) {
    if job.state != JobState::Queued || job.waiting.is_some() || job.is_failing() {
        return;
    }
    let Some(rule) = rule_of(job) else { return };
    let Some((window, Opening::Closed(until))) = opening_for(rule, job, clock::now()) else { return };
    if window.end == WindowEnd::Pause || !has_begun(job) {
        job.waiting =
            Some(Waiting { behind: None, waits_for: WaitsFor::Window, until, detail: told(rule, window) });
    }
}

pub(super) fn told(rule: &Rule, window: Window) -> String {
    format!("rule \"{}\" works from {window} ({}): its `window` is closed", rule.name, rule.timezone)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    fn world() -> World {
        World::with(
            "source = { on_success = \"delete\" }
window = \"22:00-06:00\"
",
        )
    }

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_job_that_ran_finishes_after_its_window_and_one_that_is_retried_waits() {
        let world = world();
        let mut job = world.job();
        assert!(!has_begun(&job));
        job.take(crate::model::job_state::JobEvent::Started, Timestamp::UNIX_EPOCH, "").expect("starts");
        assert!(has_begun(&job), "after a crash");
        job.take(crate::model::job_state::JobEvent::Hindered, Timestamp::UNIX_EPOCH, "").expect("is held");
        assert!(!has_begun(&job), "nothing is lost");
        job.slices.total = 1;
        assert!(has_begun(&job));
    }

    #[test]
    fn a_file_that_an_operator_named_waits_for_no_window() {
        let world = world();
        let mut job = world.job();
        let noon = at("2026-11-30T12:00:00Z");
        let opening = |job: &Job| opening_for(&world.rule(), job, noon).map(|(_, opening)| opening);
        assert_eq!(opening(&job), Some(Opening::Closed(Some(at("2026-11-30T22:00:00Z")))));
        job.source.complete_by = Some(CompleteBy::Command);
        assert_eq!(opening(&job), None);
    }
}
