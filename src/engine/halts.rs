//! Rules and senders that are paused, rules that stopped after failures: what the stages go by.
//!
//! Jobs that are held back are in no queue: a loader that takes one up puts it down.

use super::operator::Kept;
use super::trouble::Trouble;
use crate::clock;
use crate::model::fault::WaitsFor;
use crate::model::halts::Halts;
use crate::model::hook::HookEvent;
use crate::model::job::{Job, Waiting};
use crate::model::job_state::JobState;
use crate::model::rule::Rule;
use crate::store::Store;
use crate::telemetry::events;

impl Kept<Halts> {
    /// A job failed: its rule may stop. Durable with the end of its job.
    pub(super) fn note_failed(&self, store: &Store, rule: &Rule, job: &Job) -> Result<(), Trouble> {
        let Some(stop_after) = rule.errors.stop_after else { return Ok(()) };
        let note = |halts: &mut Halts| halts.note_failed(&job.rule, job.id, stop_after, clock::now());
        let stops = self.change(store, note, |_| ())?;
        if stops {
            events::rule_stopped(&job.rule, stop_after, job.id);
            store.happened(HookEvent::RuleStopped, Some(&job.rule), |happened| {
                happened.message =
                    format!("rule \"{}\" claims nothing: {stop_after} jobs failed in a row", job.rule);
                happened.hint =
                    Some(format!("mend what is wrong, then `landfall resume --rule {}`", job.rule));
                happened.job = Some(job.id);
            })?;
        }
        Ok(())
    }

    /// A job was completed: what failed before it counts no more.
    pub(super) fn note_completed(&self, store: &Store, job: &Job) -> Result<(), Trouble> {
        if self.now().failed.contains_key(&job.rule) {
            self.change(store, |halts| halts.note_completed(&job.rule), |_| ())?;
        }
        Ok(())
    }
}

/// Says of a job that is held back what it waits for. It is written nowhere.
pub(super) fn tell(halts: &Halts, job: &mut Job) {
    let waits = match job.state.get() {
        JobState::Queued | JobState::Running | JobState::Held | JobState::Paused => !job.is_failing(),
        _ => false,
    };
    let Some(why) = halts.why_held_back(job).filter(|_| waits) else { return };
    let detail = match &job.waiting {
        Some(own) if job.state == JobState::Paused => format!("{}; and {why}", own.detail),
        _ => why,
    };
    job.waiting = Some(Waiting { behind: None, waits_for: WaitsFor::Pause, until: None, detail });
}

/// Where no stage runs: behind which failed job a queued one waits.
pub(super) fn tell_sequence(halts: &Halts, job: &mut Job) {
    let waits = job.state == JobState::Queued && job.waiting.is_none() && !job.is_failing();
    if let Some(detail) = waits.then(|| halts.sequence_stop_of(job)).flatten() {
        job.waiting = Some(Waiting { behind: None, waits_for: WaitsFor::Sequence, until: None, detail });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::fault::{FaultKind, JobError};
    use crate::model::halts::Scope;
    use crate::model::job_state::JobEvent;

    fn paused() -> Halts {
        let mut halts = Halts::default();
        halts.pause(Scope { rule: Some("payments".into()), sender: None }, clock::now(), "root");
        halts
    }

    #[test]
    fn a_rule_stops_with_the_last_of_so_many_failures_in_a_row_and_a_completed_job_begins_a_new_row() {
        let world =
            World::with("source = { on_success = \"delete\" }\nerrors = { stop_after = { failures = 2 } }\n");
        let (store, halts) = (&world.shared.store, &world.shared.operator.halts);
        let (rule, job, other) = (world.rule(), world.job(), world.second_job("b.txt"));
        let is_stopped = || halts.now().stop_of(&rule.name).is_some();
        let note_failed = |job| halts.note_failed(store, &rule, job).expect("is noted");
        note_failed(&job);
        halts.note_completed(store, &other).expect("is noted");
        note_failed(&other);
        note_failed(&other); // the same one, behind a crash
        assert!(!is_stopped(), "one in a row");
        note_failed(&job);
        assert!(is_stopped());
        assert_eq!(store.said::<Halts>().expect("reads"), *halts.now(), "it is kept");
    }

    #[test]
    fn what_is_held_back_says_so_and_what_ends_by_itself_does_not() {
        let world = World::new();
        let mut queued = world.job();
        tell(&paused(), &mut queued);
        assert_eq!(queued.waiting.map(|waiting| waiting.waits_for), Some(WaitsFor::Pause));
        let mut failing = world.job();
        let error = JobError { kind: FaultKind::Input, message: "no gzip".into(), hint: None };
        failing.fail(error).expect("fails");
        tell(&paused(), &mut failing);
        assert_eq!(failing.waiting, None);
        let mut ended = world.job();
        ended.take(JobEvent::GivenBack, clock::now(), "").expect("ends");
        tell(&paused(), &mut ended);
        assert_eq!(ended.waiting, None);
    }
}
