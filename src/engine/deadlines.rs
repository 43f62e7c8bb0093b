//! `deadline`: which jobs will not be done by then as they go now, and which were not; told once in the log, and wherever a job is shown.
//!
//! Nothing is decided by it: what goes first is said by `priority`.

use std::collections::HashSet;
use std::time::Instant;

use super::hours::window_of;
use super::run::Run;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::model::deadline::DeadlineState;
use crate::model::hook::HookEvent;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::on_time::{Going, report};
use crate::model::window::WindowEnd;
use crate::store::Store;
use crate::telemetry::events;

/// What the log was told of, of unfinished jobs.
pub(super) type Told = HashSet<(JobId, DeadlineState)>;

/// Says of a job how it stands to its deadline. It is written nowhere. `stages`: where they run; the job's progress is that of now.
pub(super) fn tell(stages: Option<&Shared>, job: &mut Job) {
    if job.due_at.is_some() {
        let going = stages.and_then(|shared| going(shared, job));
        job.deadline = report(job, going.as_ref(), clock::now());
    }
}

/// How a running job goes, where that is known.
fn going(shared: &Shared, job: &Job) -> Option<Going> {
    let run = shared.dispatch.run(job.id).filter(|_| job.state == JobState::Running)?;
    let (bytes_worked, within) = run.recent.of_late(job.bytes_worked, Instant::now())?;
    let rules = shared.rules.now();
    let rule = rules.rule_for(&job.rule, &job.vars);
    let window = rule.and_then(|rule| Some((window_of(rule, job)?, rule.zone())));
    Some(Going {
        bytes_left: job.source.identity.size.saturating_sub(job.bytes_worked),
        bytes_worked,
        within,
        window: window.filter(|(window, _)| window.end == WindowEnd::Pause),
    })
}

/// At every tick: how fast jobs go, and which of them have news of their deadlines.
pub(super) fn look(shared: &Shared, told: &mut Told) -> Result<(), Trouble> {
    let mut kept = Told::new();
    for (id, state) in told.drain() {
        if shared.store.job(id)?.is_some_and(|job| !job.state.is_final()) {
            kept.insert((id, state));
        }
    }
    *told = kept;
    for run in shared.dispatch.runs() {
        if let Some(mut job) = with_deadline(&run) {
            tell(Some(shared), &mut job);
            tell_news(&shared.store, told, &job)?;
            if job.slices.total > job.resumed_at_slice {
                run.recent.note(job.bytes_worked, Instant::now());
            }
        }
    }
    if shared.publishing.turns.next_due.has_come(clock::now()) {
        look_for_late(shared, told).inspect_err(|_| shared.publishing.turns.next_due.look_again())?;
    }
    Ok(())
}

fn with_deadline(run: &Run) -> Option<Job> {
    let mut job = run.with_row(|job| job.due_at.is_some().then(|| job.clone()))?;
    run.copy_progress(&mut job);
    Some(job)
}

/// Jobs whose deadlines have passed, whatever they wait for.
fn look_for_late(shared: &Shared, told: &mut Told) -> Result<(), Trouble> {
    let now = clock::now();
    for mut job in shared.store.unfinished_jobs()? {
        match job.due_at {
            Some(due) if due <= now => {
                tell(Some(shared), &mut job);
                tell_news(&shared.store, told, &job)?;
            }
            due => shared.publishing.turns.next_due.note(due),
        }
    }
    Ok(())
}

/// Once of each job.
fn tell_news(store: &Store, told: &mut Told, job: &Job) -> Result<(), Trouble> {
    let Some(report) = job.deadline.as_ref().filter(|report| report.state.is_trouble()) else {
        return Ok(());
    };
    if !told.contains(&(job.id, report.state)) {
        store.happened(HookEvent::DeadlineAtRisk, Some(&job.rule), |happened| {
            let is = if report.state == DeadlineState::Late { "was not done" } else { "will not be done" };
            happened.message = format!("job {} {is} by {}: {}", job.id, report.at, report.detail);
            happened.hint = Some(format!("`landfall set {} --priority 1` has it go first", job.id));
            (happened.job, happened.path) = (Some(job.id), Some(job.source.path.clone()));
        })?;
        events::deadline(job, report);
        told.insert((job.id, report.state));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::engine::tests::{World, loaded, worked};
    use crate::model::deadline::DeadlineReport;

    fn shown(world: &World, run: &Run) -> DeadlineReport {
        let mut job = with_deadline(run).expect("it has a deadline");
        tell(Some(&world.shared), &mut job);
        job.deadline.expect("it has one")
    }

    fn due_in(world: &World, run: &Run, seconds: u64) {
        run.with_row(|job| job.due_at = clock::after(Duration::from_secs(seconds)));
        world.shared.save(&run.row()).expect("writes");
        world.shared.publishing.turns.next_due.note(run.row().due_at);
    }

    /// A run of which half of 1000 bytes was worked in 50 s.
    fn half_done(world: &World) -> Arc<Run> {
        let run = world.run();
        run.with_row(|job| job.source.identity.size = 1000);
        run.progress.bytes_read.store(1000, std::sync::atomic::Ordering::Relaxed);
        run.set_loaded(loaded(2));
        run.note_cut(2);
        run.collect(worked(&run, 0, "a"));
        run.recent.age(Duration::from_secs(50));
        run
    }

    #[test]
    fn a_job_that_runs_is_on_time_or_at_risk_by_its_own_pace() {
        let world = World::new();
        let run = half_done(&world);
        due_in(&world, &run, 100);
        assert_eq!(shown(&world, &run).state, DeadlineState::OnTime);
        due_in(&world, &run, 30);
        let report = shown(&world, &run);
        assert_eq!(report.state, DeadlineState::AtRisk, "{report:?}");
        let late = report.expected_at.expect("it goes").duration_since(report.at).as_secs();
        assert!((19..=21).contains(&late), "{report:?}");
    }

    #[test]
    fn what_is_at_risk_or_late_is_told_once_and_forgotten_with_its_job() {
        let world = World::new();
        let run = half_done(&world);
        let mut told = Told::new();
        let mut look = || {
            for _ in 0..2 {
                super::look(&world.shared, &mut told).expect("looks");
            }
            let mut states: Vec<_> = told.iter().map(|(_, state)| *state).collect();
            states.sort_unstable();
            states
        };
        due_in(&world, &run, 100);
        assert_eq!(look(), []);
        due_in(&world, &run, 30);
        assert_eq!(look(), [DeadlineState::AtRisk]);
        due_in(&world, &run, 0);
        assert_eq!(look(), [DeadlineState::AtRisk, DeadlineState::Late]);
        world.shared.dispatch.settle(&run);
        let mut job = run.row();
        job.fail(Trouble::new(crate::model::fault::FaultKind::Bug, "x", None).error).expect("fails");
        job.end_failing(clock::now()).expect("ends");
        world.shared.save(&job).expect("writes");
        assert_eq!(look(), []);
    }

    #[test]
    fn a_queued_job_is_told_to_be_late_also_if_it_was_claimed_before_the_start() {
        let world = World::new();
        let mut job = world.job();
        job.due_at = Some(clock::now());
        world.shared.save(&job).expect("writes");
        let mut told = Told::new();
        look(&world.shared, &mut told).expect("looks");
        assert_eq!(told, HashSet::from([(job.id, DeadlineState::Late)]));
    }
}
