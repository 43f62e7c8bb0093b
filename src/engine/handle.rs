//! What others may ask of a running engine: the control endpoint, commands, and what is to come.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::EngineError;
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::trouble::Trouble;
use super::{claim, recover, retry};
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::notice::Notice;
use crate::model::rule::Rule;
use crate::store::Store;
use crate::watch::Offer;

/// How long a command waits for the watches, which may be in a file system that hangs.
const WATCH_PATIENCE: Duration = Duration::from_millis(500);
/// How long a retry waits for the stage that has the job.
const RETRY_PATIENCE: Duration = Duration::from_secs(5);

/// A running engine, for any thread. It does not keep the engine from being stopped: what is asked later finds it stopped.
#[derive(Clone)]
pub struct EngineHandle {
    shared: Arc<Shared>,
}

impl EngineHandle {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared) }
    }

    /// Takes a file that an operator names under a rule, now. `retire`: it is claimed and ends as the rule says; else it stays as it is.
    pub fn ingest(&self, file: &Path, rule: &str, retire: bool) -> Result<JobId, EngineError> {
        ingest(&self.shared, file, rule, retire)
    }

    /// A job's row as it is now, with the progress of reading where it is running.
    pub fn job(&self, id: JobId) -> Result<Option<Job>, EngineError> {
        let job = self.shared.store.job(id).map_err(Trouble::from)?;
        Ok(job.map(|job| self.with_progress(job)))
    }

    /// Adds the progress of reading to a job's row, which is told it only now and then.
    pub fn with_progress(&self, mut job: Job) -> Job {
        if job.state != JobState::Running {
            return job;
        }
        if let Some(run) = self.shared.dispatch.run(job.id) {
            run.copy_progress(&mut job);
            run.copy_counts(&mut job);
        }
        job
    }

    /// The files and folders that the watches see and have not given to the engine, with the reason.
    pub fn files_waiting(&self) -> Vec<(PathBuf, String)> {
        let watches = self.shared.claims.watches.get();
        watches.map(|watches| watches.waiting(WATCH_PATIENCE)).unwrap_or_default()
    }

    /// Waits until the job reached an end, is held, or `time` is over; the row then.
    pub fn wait_for(&self, id: JobId, time: Duration) -> Result<Option<Job>, EngineError> {
        let deadline = Instant::now() + time;
        let changes = self.shared.store.subscribe();
        loop {
            let job = self.job(id)?;
            if let Some(error) = self.shared.fatal() {
                return Err(EngineError(error.clone()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || job.as_ref().is_none_or(|job| job.state.is_final()) {
                return Ok(job);
            }
            let of_this = |notice| !matches!(notice, Notice::Changed(change) if change.job != id);
            let until = Instant::now() + left.min(Duration::from_millis(200));
            while !of_this(changes.next_within(until.saturating_duration_since(Instant::now()))) {}
        }
    }

    /// Takes a failed job from its source again, under the current rule.
    pub fn retry(&self, id: JobId) -> Result<Job, EngineError> {
        let shared = &self.shared;
        retry::retriable(&shared.store, id)?; // else it may be long in other hands
        let job = with_job_in_hand(shared, id, || retry::retry(&shared.store, &shared.settings.rules, id))?;
        shared.names.release(id); // of one that was publishing
        shared.dispatch.forget_back_off(id);
        shared.dispatch.queue(Stage::Load, &Owner::of(&job), id);
        Ok(job)
    }

    /// Lets a job go on publishing without hidden outputs that somebody removed.
    pub fn accept_missing(&self, id: JobId) -> Result<Job, EngineError> {
        let shared = &self.shared;
        let job = with_job_in_hand(shared, id, || retry::accept_missing(&shared.store, id))?;
        shared.dispatch.queue(Stage::Finish, &Owner::of(&job), id);
        Ok(job)
    }

    /// Asks every stage to stop; [`super::Engine::stop`] waits for them.
    pub fn ask_to_stop(&self) {
        self.shared.ask_to_stop();
    }

    /// Waits until the engine is asked to stop, or stops by itself because a disk failed.
    pub fn wait_for_stop(&self) {
        self.shared.wait_for_stop();
    }
}

/// Does what an operator asked for while no stage has the job: one that has it would write its row over the new one.
fn with_job_in_hand(
    shared: &Shared,
    id: JobId,
    change: impl FnOnce() -> Result<Job, Trouble>,
) -> Result<Job, Trouble> {
    if !shared.dispatch.take_up_within(id, RETRY_PATIENCE) {
        let message = format!("job {id} is in hand just now");
        return Err(Trouble::new(FaultKind::Transient, message, Some("try again")));
    }
    let changed = change();
    shared.dispatch.put_down(id);
    changed.inspect_err(|trouble| shared.stop_if_poisoned(trouble))
}

/// Whether [`EngineHandle::ingest`] would take this file under one of these rules; to be told before a store is opened.
pub fn could_ingest(rules: &[Rule], file: &Path, rule: &str) -> Result<(), EngineError> {
    let found = rules.iter().find(|known| known.name == rule).ok_or_else(|| no_such_rule(rules, rule))?;
    claim::offer_for(found, file)?;
    Ok(())
}

/// That no rule of this name is in the configuration.
pub fn unknown_rule(rules: &[Rule], name: &str) -> EngineError {
    no_such_rule(rules, name).into()
}

fn no_such_rule(rules: &[Rule], name: &str) -> Trouble {
    let names: Vec<_> = rules.iter().map(|rule| rule.name.as_str()).collect();
    let hint = format!("the configuration has: {}", names.join(", "));
    Trouble::new(FaultKind::Config, format!("no rule is named \"{name}\""), Some(&hint))
}

fn ingest(shared: &Arc<Shared>, file: &Path, rule: &str, retire: bool) -> Result<JobId, EngineError> {
    let rule = shared.rules.current(rule)?.ok_or_else(|| no_such_rule(&shared.settings.rules, rule))?;
    let offer = claim::offer_for(&rule.rule, file)?;
    // The same file asked for twice at once is one job.
    let _entered = shared.claims.ingesting.enter(offer.path.clone());
    if let Some(unfinished) = unfinished_for(shared, &offer)? {
        return Ok(unfinished);
    }
    shared.rooms.check_claim(&rule, &offer.path)?;
    let owner = Owner::of_source(&rule.rule.name, &offer.path);
    let wanted = vec![claim::Wanted { rule, offer, retire }];
    let claimed = claim::claim(shared, &wanted);
    let claimed =
        claimed.inspect_err(|trouble| shared.stop_if_poisoned(trouble))?.pop().transpose()?.flatten();
    let id = claimed.ok_or_else(|| {
        let message = format!("{} changed while it was claimed", crate::model::os_text::escaped_path(file));
        Trouble::new(FaultKind::Transient, message, Some("try again when nobody writes it any more"))
    })?;
    shared.dispatch.queue(Stage::Load, &owner, id);
    Ok(id)
}

/// An earlier `ingest` of the same file that is not done: it goes on instead of a second one.
fn unfinished_for(shared: &Arc<Shared>, offer: &Offer) -> Result<Option<JobId>, Trouble> {
    let same = |job: &Job| {
        job.rule == offer.rule && job.source.claimed.is_none() && job.source.identity == offer.identity
    };
    let found = shared.store.unfinished_jobs()?.into_iter().find(same);
    // A service took up every unfinished job when it started.
    if let Some(job) = found.as_ref().filter(|_| shared.claims.watches.get().is_none()) {
        recover::requeue(shared, job);
    }
    Ok(found.map(|job| job.id))
}

/// [`EngineHandle::retry`] where no engine runs: the job is queued for the next one.
pub fn retry_stored(store: &Store, rules: &[Rule], id: JobId) -> Result<Job, EngineError> {
    Ok(retry::retry(store, rules, id)?)
}

/// What a retry would say against a job of this state, if anything.
pub fn objection_to_retry(job: &Job) -> Option<EngineError> {
    let may = job.is_retriable() || job.may_lack_an_output();
    (!may).then(|| retry::not_retriable(job).into())
}

/// [`EngineHandle::accept_missing`] where no engine runs: the next one goes on.
pub fn accept_missing_stored(store: &Store, id: JobId) -> Result<Job, EngineError> {
    Ok(retry::accept_missing(store, id)?)
}
