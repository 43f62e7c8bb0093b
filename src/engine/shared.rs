//! What the stages share: the owners of its parts, and the ways in which a job leaves the straight path.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::claims::Claims;
use super::delivery_order::DeliveryOrder;
use super::disk_space::DiskSpace;
use super::dispatch::Dispatch;
use super::fit::Misfit;
use super::footprints::Footprints;
use super::memory::Memory;
use super::names::Names;
use super::operator::Operator;
use super::paces;
use super::pulse::Pulse;
use super::readers::Readers;
use super::rule_book::{ReadyRule, RuleBook};
use super::run::Run;
use super::schedule::{Limits, Owner, Schedule, Stage};
use super::stop::Stop;
use super::trouble::{Reaction, Trouble};
use super::turns::Turns;
use super::wall_clock::WallClock;
use crate::clock;
use crate::model::fault::{FaultKind, JobError};
use crate::model::job::{Job, Waiting};
use crate::model::job_id::JobId;
use crate::model::job_state::{JobEvent, JobState};
use crate::model::os_text::OsText;
use crate::model::pace::PacesSet;
use crate::model::priority::Sharing;
use crate::model::rule::{Rule, Service};
use crate::pipeline::{Registry, Surroundings};
use crate::store::Store;
use crate::telemetry::events;

/// Sources read at once at least: one may wait for its disk.
const READERS_MIN: usize = 2;
/// How long a source is read while others wait.
pub(super) const READING_TURN: Duration = Duration::from_millis(20);
/// Jobs between loading and publishing: enough for a rule that has half of them to keep all workers busy.
const RUNS_MIN: usize = 16;
const RUNS_FOR_EACH_WORKER: usize = 4;
/// Jobs that wait to be published: enough for every finisher to find a batch when it comes back, also where a rule has half of them.
const SETTLED_MAX: usize = 256;
/// Batches published at once. They wait for disks: one large output's sync, or a disk that is slow, does not hold up all others.
const FINISHERS: usize = 4;
/// Jobs finished together: more would wait longer for each other and share hardly more.
const BATCH_MAX: usize = 64;
/// After which a thread that holds what others wait for is taken for stuck.
const STUCK_AFTER: Duration = Duration::from_millis(50);
/// First pause before a held job is tried again; doubles up to [`HELD_BACK_OFF_MAX`].
const HELD_BACK_OFF: Duration = Duration::from_secs(1);
const HELD_BACK_OFF_MAX: Duration = Duration::from_mins(1);
/// A job whose rule is suspected is looked at again when a file fits the rule; and after this, whatever was missed.
const MISFIT_PATIENCE: Duration = Duration::from_hours(1);

fn limits(workers: usize, sharing: Sharing) -> Limits {
    Limits {
        workers,
        readers: workers.max(READERS_MIN),
        runs: RUNS_MIN.max(workers * RUNS_FOR_EACH_WORKER),
        settled: SETTLED_MAX,
        finishers: FINISHERS,
        batch: BATCH_MAX,
        sharing,
        turn: READING_TURN,
        patience: STUCK_AFTER,
    }
}

pub(super) struct Shared {
    /// Which job goes on where.
    pub dispatch: Dispatch<Run>,
    /// `[service]`.
    pub service: Service,
    pub store: Store,
    pub rules: RuleBook,
    pub resources: Resources,
    pub claims: Claims,
    pub footprints: Footprints,
    pub publishing: Publishing,
    pub operator: Operator,
    pub stop: Stop,
}

/// What all jobs have together. Each part locks for itself.
pub(super) struct Resources {
    pub memory: Memory,
    pub disk_space: DiskSpace,
    pub wall_clock: WallClock,
    /// Of the loops that show that it gets on.
    pub pulse: Pulse,
    /// Who reads jobs that would else be destroyed.
    pub readers: Readers,
    /// Of programs that steps ask.
    pub surroundings: Arc<Surroundings>,
}

/// Takes the outputs of a job, which ran under this rule, that lie where nobody else looks, and says in the row what they were. Said again after a crash.
pub(crate) type TakeOutputs = Box<dyn Fn(&Rule, &mut Job) -> Result<(), JobError> + Send + Sync>;

/// What jobs on their way to be published hold against each other. Each part locks for itself.
#[derive(Default)]
pub(super) struct Publishing {
    pub names: Names,
    /// Deliveries of one key, one after another.
    pub deliveries: DeliveryOrder,
    /// Jobs of a rule, one after another and at its hours.
    pub turns: Turns,
    /// Nothing is published, and no source touched: takes a job's outputs instead.
    pub aside: Option<TakeOutputs>,
}

impl Shared {
    /// Without any rule yet.
    pub(super) fn new(service: Service, store: Store, registry: Registry) -> Self {
        let surroundings = Arc::new(
            Surroundings::in_folder(service.data_dir.join("work")).with_private_of(registry.surroundings()),
        );
        let registry = registry.with_surroundings(Arc::clone(&surroundings));
        let claims = Claims::default();
        if store.epoch() > 0 {
            claims.folders.share();
        }
        Self {
            dispatch: Dispatch::new(Schedule::new(limits(service.workers, service.sharing))),
            resources: Resources {
                memory: Memory::new(service.memory_max, service.workers),
                disk_space: DiskSpace::new(service.free_min, service.data_dir.clone()),
                wall_clock: WallClock::default(),
                pulse: Pulse::default(),
                readers: Readers::default(),
                surroundings,
            },
            service,
            store,
            rules: RuleBook::new(registry),
            claims,
            footprints: Footprints::default(),
            publishing: Publishing::default(),
            operator: Operator::default(),
            stop: Stop::default(),
        }
    }

    /// Where sources are decoded to that cannot be read as a stream.
    pub(super) fn spool_dir(&self) -> PathBuf {
        self.service.data_dir.join("spool")
    }

    /// Asks every stage to stop; returns at once.
    pub(super) fn ask_to_stop(&self) {
        self.stop.ask();
        self.resources.disk_space.wake();
        self.dispatch.stop();
        for run in self.dispatch.runs() {
            run.queue.stop();
        }
    }

    /// A flush or fsync failed: nothing that was written since can be trusted, so the service stops and recovers at its next start.
    pub(super) fn fail_for_good(&self, error: JobError) {
        self.stop.note_fatal(error);
        self.ask_to_stop();
    }

    /// For what an operator asked for: the answer is theirs, the end is everybody's.
    pub(super) fn stop_if_poisoned(&self, trouble: &Trouble) {
        if trouble.is_poisoned() {
            self.fail_for_good(trouble.error.clone());
        }
    }

    /// Has a job that was claimed go on, and lets go of it: from here on others may have it.
    pub(super) fn queue_claimed(&self, owner: &Owner, id: JobId) {
        self.dispatch.queue(Stage::Load, owner, id);
        self.dispatch.put_down(id);
    }

    /// Hands a run to the finishing stage, once: when everything is collected or it broke off, and its steps have had their last word. Who
    /// comes here waits for no step: where one may take long, a worker ends it, and the run comes back.
    pub(super) fn settle(&self, run: &Arc<Run>) {
        if self.begin_ending(run) {
            if run.leave_ending() {
                return self.dispatch.slices_again();
            }
            run.end_steps();
        }
        self.settle_ended(run);
    }

    /// The same by who has the right to work a slice of it, and so may wait for its steps.
    pub(super) fn settle_at_work(&self, run: &Arc<Run>) {
        if self.begin_ending(run) {
            run.end_steps();
        }
        self.settle_ended(run);
    }

    fn begin_ending(&self, run: &Run) -> bool {
        let begins = run.begin_ending();
        if begins {
            self.footprints.in_hand.clear(run.id);
            if run.is_broken_off() {
                self.dispatch.slices_again(); // the memory that its slices held is free
            }
        }
        begins
    }

    /// Of a run whose steps have ended.
    pub(super) fn settle_ended(&self, run: &Arc<Run>) {
        if run.settle() {
            self.dispatch.settle(run);
        }
    }

    /// Orders a checkpoint if one is due and none is on its way. Whoever collects for the job just now looks himself afterwards.
    pub(super) fn checkpoint_if_due(&self, run: &Arc<Run>) {
        if !run.begin_checkpoint() {
            return;
        }
        match run.due_checkpoint() {
            Ok(Some(order)) => {
                run.order_checkpoint(order);
                self.dispatch.queue(Stage::Checkpoint, &run.owner, run.id);
                return; // it ends when it is durable
            }
            Err(trouble) => run.break_off(trouble),
            Ok(None) => {}
        }
        if run.end_checkpoint() {
            self.dispatch.slices_again(); // whoever saw one on its way waits for a checkpoint that was not ordered
        }
    }

    /// The same by the checkpointer's hand: whoever asks touches no output, which may be on a file system that hangs.
    pub(super) fn order_due_checkpoint(&self, run: &Arc<Run>) {
        let is_due = run.try_with_collector(|collector| collector.is_checkpoint_due(false));
        if matches!(is_due, Ok(Some(true))) && run.begin_checkpoint() {
            self.dispatch.queue(Stage::Checkpoint, &run.owner, run.id);
        }
    }

    /// A job's delivery is decided, or it is none after all: the next one of its key has its turn.
    pub(super) fn delivery_decided(&self, id: JobId) {
        self.has_its_turn(self.publishing.deliveries.leave(id));
    }

    /// A job stands in line for its delivery's key.
    pub(super) fn enter_delivery(&self, job: &Job, key: OsText) {
        self.has_its_turn(self.publishing.deliveries.enter(&Owner::of(job), key, job.id));
    }

    fn has_its_turn(&self, next: Option<(Owner, JobId)>) {
        if let Some((owner, id)) = next {
            self.dispatch.queue(Stage::Load, &owner, id);
        }
    }

    /// A job cannot go on where it is: it is held, visibly, and tried again with back-off; `publishing` and `retiring` keep
    /// their state. Where its row cannot be read or written, `stage` tries again. A poisoned store or disk stops the service instead.
    pub(super) fn job_hindered(&self, id: JobId, stage: Stage, trouble: Trouble) {
        if trouble.is_poisoned() {
            self.fail_for_good(trouble.error);
            return;
        }
        if trouble.reaction == Reaction::Ordered {
            return; // its row is written: it waits for an operator, or has ended
        }
        if let Err(trouble) = self.hold(id, &trouble) {
            if trouble.is_poisoned() {
                return self.fail_for_good(trouble.error);
            }
            tracing::error!(job = %id, error = %trouble.error, "a job could not be held; it is tried again");
            self.dispatch.queue_known_after(stage, HELD_BACK_OFF_MAX, id);
        }
    }

    /// Tells the scheduler what rules may, where this is set.
    pub(super) fn tell_limits(&self, paces: &PacesSet) {
        let rules = self.rules.now();
        self.dispatch.know_limits(paces::work_limits(rules.iter().map(AsRef::as_ref), paces));
    }

    fn hold(&self, id: JobId, trouble: &Trouble) -> Result<(), Trouble> {
        let Some(mut job) = self.store.job(id)? else { return Ok(()) };
        if job.state.is_final() || job.state == JobState::Paused && !job.is_failing() {
            return Ok(());
        }
        if self.is_held_open(&job, trouble) {
            job.fail(trouble.error.clone())?;
            self.store.change().job(&job).apply()?;
            self.dispatch.queue(Stage::Finish, &Owner::of(&job), id);
            return Ok(());
        }
        let suspects_rule = matches!(trouble.reaction, Reaction::SuspectRule { .. });
        let suspected = suspects_rule.then(|| self.rules.snapshot(&self.store, &job)).transpose()?;
        // One that was changed since may be mended already: then the job sees that soon.
        let suspected = suspected.filter(|rule| !self.rules.is_changed(&job, rule));
        let misfit = suspected.as_ref().map(|rule| rule.fit.hold(id));
        let delay = match misfit {
            Some(_) => MISFIT_PATIENCE,
            None => self.dispatch.back_off(id, HELD_BACK_OFF, HELD_BACK_OFF_MAX),
        };
        let owner = Owner::of(&job);
        let is_failing = job.is_failing();
        let may_fail = !job.state.is_past_intent();
        if !is_failing && may_fail && trouble.error.kind.fails_job() {
            job.fail(trouble.error.clone())?;
            self.store.change().job(&job).apply()?;
            self.dispatch.queue(Stage::Finish, &owner, id);
            return Ok(());
        }
        let is_known = |error: &JobError| error.message == trouble.error.message;
        let is_news = misfit != Some(Misfit::Further)
            && !job.was_held_for(&trouble.error.message)
            && !job.error.as_ref().is_some_and(is_known)
            && job.waiting.as_ref().is_none_or(|waiting| waiting.detail != trouble.error.message);
        if !is_failing {
            if matches!(job.state.get(), JobState::Queued | JobState::Running) {
                job.take(JobEvent::Hindered, clock::now(), &trouble.error.message)?;
            }
            job.error = Some(trouble.error.clone());
        }
        job.waiting = Some(Waiting {
            behind: None,
            waits_for: trouble.waits_for,
            // Of a misfit nothing but a mended rule, or another file, ends it.
            until: clock::after(delay).filter(|_| misfit.is_none()),
            detail: trouble.detail().to_owned(),
        });
        self.store.change().job(&job).apply()?;
        if !is_failing && may_fail {
            self.has_its_turn(self.publishing.turns.sequences.with(|lines| lines.put_down(id)));
        }
        let stage = if is_failing || !may_fail { Stage::Finish } else { Stage::Load };
        self.dispatch.queue_after(stage, &owner, delay, id);
        if matches!(trouble.reaction, Reaction::Park { .. }) {
            self.resources.disk_space.park(id); // once it is in its queue: who takes it from there hastens it
        } else if is_news {
            events::held(&job, &trouble.error);
        }
        if suspected.is_some_and(|rule| rule.fit.is_fitted()) {
            self.dispatch.hasten(&HashSet::from([id])); // by a file that came before this one was in the queue
        }
        Ok(())
    }

    /// Whether its source would be held open until somebody mends a rule or a key: it is gone from where it lay, and others want its place.
    fn is_held_open(&self, job: &Job, trouble: &Trouble) -> bool {
        let waits_for_mending = trouble.error.kind == FaultKind::Config && !job.state.is_past_intent();
        waits_for_mending && !job.is_failing() && self.claims.held.has(&job.source.identity)
    }

    /// A file has the columns that its rule names: jobs that were held because theirs had not are looked at again.
    pub(super) fn rule_fits(&self, rule: &ReadyRule) {
        let held = rule.fit.fitted();
        if !held.is_empty() {
            tracing::info!(
                rule = rule.rule.name,
                jobs = held.len(),
                "a file fits this rule: jobs that were held because theirs did not are looked at again"
            );
            self.dispatch.hasten(&held);
        }
    }

    /// Writes a job's row, not yet durable.
    pub(super) fn save(&self, job: &Job) -> Result<(), Trouble> {
        Ok(self.store.change().job(job).apply()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::fault::WaitsFor;

    fn hindered(world: &World, job: &Job, trouble: Trouble) -> Job {
        world.shared.job_hindered(job.id, Stage::Load, trouble);
        world.row(job).expect("is there")
    }

    #[test]
    fn a_job_is_held_for_what_it_waits_for_and_looked_at_again_later_each_time() {
        let world = World::new();
        let job = world.job();
        let disk = || Trouble::new(FaultKind::Storage, "the disk is full", None);
        let pauses = [0; 3].map(|_| {
            let waiting = hindered(&world, &job, disk()).waiting.expect("it waits");
            assert_eq!((waiting.waits_for, waiting.detail.as_str()), (WaitsFor::Disk, "the disk is full"));
            waiting.until.expect("it is tried again").duration_since(clock::now()).as_millis()
        });
        assert!(pauses[0] < pauses[1] && pauses[1] < pauses[2], "{pauses:?}");
        assert_eq!(world.row(&job).expect("is there").state, JobState::Held);
    }

    #[test]
    fn a_job_that_is_at_fault_itself_is_given_to_the_finishers_to_fail() {
        let world = World::new();
        let job = world.job();
        let row = hindered(&world, &job, Trouble::new(FaultKind::Bug, "an internal error", None));
        assert_eq!(row.error.as_ref().map(|error| error.kind), Some(FaultKind::Bug));
        assert!(row.waiting.is_none() && row.is_failing(), "it is failed by its finisher");
    }

    #[test]
    fn a_job_that_meets_a_bug_while_it_is_published_goes_on_forward_and_shows_what_hinders_it_now() {
        let world = World::new();
        let mut job = world.job();
        for event in [JobEvent::Started, JobEvent::AccountBalanced] {
            job.take(event, clock::now(), "").expect("goes on");
        }
        world.shared.save(&job).expect("writes");
        for message in ["a bug", "another"] {
            let row = hindered(&world, &job, Trouble::new(FaultKind::Bug, message, None));
            assert!(row.state == JobState::Publishing && !row.is_failing(), "{row:#?}");
            assert_eq!(row.error.map(|error| error.message).as_deref(), Some(message));
        }
    }

    #[test]
    fn a_failed_sync_stops_the_service_and_changes_no_row() {
        let world = World::new();
        let job = world.job();
        let row = hindered(&world, &job, Trouble::new(FaultKind::Storage, "x", None).with(Reaction::Stop));
        assert_eq!(row.state, job.state);
        assert!(world.shared.stop.is_asked() && world.shared.stop.fatal().is_some());
    }
}
