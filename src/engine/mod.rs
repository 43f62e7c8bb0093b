//! The engine: the stages a file goes through, and the threads that carry them.
//!
//! ```text
//!  watch --offers--> intake --queued--> loaders --slices--> workers --results--> collector (whichever worker is next)
//!                                                                                   |
//!                       checkpointer <--orders-- ... --settled--> finisher: publish, retire, fail, give back
//! ```
//!
//! Stages do not call each other (but a loader works a file of one slice): they meet in the store and through queues of job ids, so that a restart and a normal run
//! take the same path. Every thread is named; nothing here runs on the async runtime.
//!
//! Order of durable steps: ledger row, claim rename, (checkpoints: partials, then row), outputs, intent, output renames,
//! folders, manifest, marker, archive rename, end of the row.

mod archive;
mod checkpoint;
mod claim;
mod claim_folders;
mod claim_names;
mod claims;
mod collect;
mod companions;
mod content;
mod delivery;
mod delivery_order;
mod dispatch;
mod ended;
mod entries;
mod fail;
mod file_systems;
mod finish;
mod fit;
mod footprints;
mod free_name;
mod give_back;
mod give_way;
mod given_back;
mod in_hand;
mod intake;
mod landing_roots;
mod large;
mod late_writes;
mod limits;
mod load;
mod load_pace;
mod marks;
mod memory;
mod moving;
mod names;
mod one_at_a_time;
mod publish;
mod quarantine;
mod reach;
mod recover;
mod resend;
mod restored;
mod retire;
mod retrieval;
mod retry;
mod rooms;
mod rule_book;
mod run;
mod schedule;
mod shared;
mod source;
mod stop;
mod stopping;
pub mod strays;
mod thin;
mod tick;
mod totals;
mod trouble;
mod unsynced_claims;
mod watches;
mod work;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::durable_fs::{self, Mounts};
use crate::model::fault::{Fault, FaultKind, JobError};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::OsText;
use crate::model::rule::{Mode, Rule, Settings};
use crate::pipeline::Registry;
use crate::store::{Published, Store};
use crate::watch::{Offer, Outlets, Watch};

use dispatch::{Crew, Seat};
use file_systems::WatchedTogether;
pub use rooms::mounts_away;
use rule_book::RuleBook;
use schedule::{Owner, Stage};
use shared::Shared;
pub use stopping::place_of;
use trouble::{Trouble, guard};
use watches::Watches;

/// Batches of offers that wait for the intake.
const OFFER_BATCHES: usize = 4;
/// How long a command waits for the watch, which may be in a file system that hangs.
const WATCH_PATIENCE: Duration = Duration::from_millis(500);
/// How long a retry waits for the stage that has the job.
const RETRY_PATIENCE: Duration = Duration::from_secs(5);

/// The engine cannot start, or an operator's request cannot be done.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct EngineError(JobError);

impl EngineError {
    /// What is wrong, and what to do.
    pub fn job_error(&self) -> &JobError {
        &self.0
    }
}

impl Fault for EngineError {
    fn kind(&self) -> FaultKind {
        self.0.kind
    }

    fn hint(&self) -> Option<String> {
        self.0.hint.clone()
    }
}

/// As the running service told it.
impl From<JobError> for EngineError {
    fn from(error: JobError) -> Self {
        Self(error)
    }
}

impl From<Trouble> for EngineError {
    fn from(trouble: Trouble) -> Self {
        Self(trouble.error)
    }
}

/// What the engine is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Watch the rules' folders and take up every unfinished job.
    Serve,
    /// Only the files that are handed to [`Engine::ingest`].
    Ingest,
    /// The same as a dry run: its store and outputs are its own, and it looks at no claim folder.
    Rehearse,
}

/// What a dry run asks of the real world: all that it writes is its own.
pub struct Rehearsal {
    /// Whether something lies where this output would really go.
    pub is_taken: Box<dyn Fn(&Path) -> bool + Send + Sync>,
    /// What was published before: a rule's name, a content's hash, a delivery's key.
    pub published: AskPublished,
}

/// See [`Rehearsal::published`].
pub type AskPublished =
    Box<dyn Fn(&str, Option<&str>, Option<&OsText>) -> Result<Published, JobError> + Send + Sync>;

/// The engine's threads; a crew may grow while it runs.
#[derive(Clone, Default)]
struct Threads {
    all: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// Of each crew, for their names.
    spawned: Arc<Mutex<HashMap<&'static str, u64>>>,
}

impl Threads {
    fn spawn(
        &self,
        shared: &Arc<Shared>,
        name: &str,
        stage: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<(), Trouble> {
        let (shared, stage_name) = (Arc::clone(shared), name.to_owned());
        let thread = spawn(name, move || {
            let work = || {
                stage(&shared);
                Ok(())
            };
            // Each job's work is guarded by itself; a panic outside of it would leave a stage without its thread.
            if let Err(trouble) = guard(&stage_name, work) {
                shared.fail_for_good(trouble.error);
            }
        })?;
        lock(&self.all).push(thread);
        Ok(())
    }

    fn spawn_for_crew(&self, shared: &Arc<Shared>, crew: Crew, mut seat: Seat) -> Result<(), Trouble> {
        let (name, stage): (_, fn(&Arc<Shared>, &mut Seat)) = match crew {
            Crew::Loaders => ("load", load::load_jobs),
            Crew::Workers => ("work", work::work_slices),
            Crew::Finishers => ("finish", finish::finish_jobs),
            Crew::Checkpointers => ("checkpoint", checkpoint::write_checkpoints),
        };
        let number = {
            let mut spawned = lock(&self.spawned);
            let number = spawned.entry(name).or_default();
            *number += 1;
            *number - 1
        };
        self.spawn(shared, &format!("{name}-{number}"), move |shared| stage(shared, &mut seat))
    }

    /// Those that were started so far.
    fn take(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut *lock(&self.all))
    }
}

/// The running engine. Dropping it without [`Engine::stop`] leaves its threads to the process's end.
pub struct Engine {
    shared: Arc<Shared>,
    threads: Threads,
    /// Wake the intakes for a stop: the watch that each waits for may hang.
    intakes: Vec<SyncSender<Vec<Offer>>>,
}

impl Engine {
    /// A dry run: the settings have a data folder and outputs of its own.
    pub fn rehearse(
        settings: Settings,
        registry: Registry,
        store: Store,
        rehearsal: Rehearsal,
    ) -> Result<Self, EngineError> {
        Self::begin(settings, registry, store, Purpose::Rehearse, Some(rehearsal))
    }

    /// Recovers what an earlier run left, then starts every stage.
    pub fn start(
        settings: Settings,
        registry: Registry,
        store: Store,
        purpose: Purpose,
    ) -> Result<Self, EngineError> {
        Self::begin(settings, registry, store, purpose, None)
    }

    fn begin(
        settings: Settings,
        registry: Registry,
        store: Store,
        purpose: Purpose,
        rehearsal: Option<Rehearsal>,
    ) -> Result<Self, EngineError> {
        let rules = RuleBook::new(&settings.rules, registry);
        limits::raise_open_files();
        let mut shared = Shared::new(settings, store, rules);
        if let Some(Rehearsal { is_taken, published }) = rehearsal {
            shared.names.taken_elsewhere = Some(is_taken);
            shared.deliveries.published_elsewhere = Some(published);
        }
        let shared = Arc::new(shared);
        durable_fs::make_folder(&shared.spool_dir(), true).map_err(Trouble::from)?;
        landing_roots::distrust(&shared.settings.rules);
        landing_roots::distrust_those_of_unfinished(&shared.store)?;
        if purpose == Purpose::Serve {
            shared.claims.folders.hold_known(&shared.settings.rules)?;
        }
        if purpose != Purpose::Rehearse {
            restored::count_start(&shared, purpose)?;
        }
        if purpose == Purpose::Serve {
            recover::recover(&shared)?;
        }
        let mut engine = Self { shared, threads: Threads::default(), intakes: Vec::new() };
        match engine.begin_stages(purpose) {
            Ok(()) => Ok(engine),
            Err(trouble) => {
                // Else those that were begun would go on without anybody who could stop them.
                if let Err(error) = engine.stop() {
                    tracing::warn!(%error, "an engine that did not start did not stop cleanly either");
                }
                Err(trouble.into())
            }
        }
    }

    fn begin_stages(&mut self, purpose: Purpose) -> Result<(), Trouble> {
        self.spawn_stages(purpose)?;
        if purpose == Purpose::Serve { self.start_watch() } else { Ok(()) }
    }

    fn spawn_stages(&mut self, purpose: Purpose) -> Result<(), Trouble> {
        for crew in Crew::ALL {
            let seat = self.shared.dispatch.seat(crew);
            self.threads.spawn_for_crew(&self.shared, crew, seat)?;
        }
        let (shared, threads) = (Arc::downgrade(&self.shared), self.threads.clone());
        self.shared.dispatch.start(Box::new(move |crew| {
            let Some(shared) = shared.upgrade() else { return false };
            let spawned = threads.spawn_for_crew(&shared, crew, Seat::new(crew));
            // The others of the crew go on, and so does this one's task once one of them is free.
            spawned
                .inspect_err(
                    |trouble| tracing::warn!(error = %trouble.error, "a stuck thread is not replaced"),
                )
                .is_ok()
        }));
        self.spawn("clock", |shared| shared.dispatch.keep_time())?;
        self.spawn("rooms", give_way::watch_rooms)?;
        self.spawn("tick", tick::tick)?;
        self.spawn("folders", move |shared| tick::look_after_folders(shared, purpose))
    }

    fn start_watch(&mut self) -> Result<(), Trouble> {
        let live: Vec<_> =
            self.shared.settings.rules.iter().filter(|rule| rule.mode == Mode::Live).cloned().collect();
        let scan_every = self.shared.settings.service.scan_every;
        let mounts = Mounts::now();
        let groups = file_systems::groups(&live, &mounts);
        let (mut watches, mut receivers) = (Watches::default(), Vec::new());
        for WatchedTogether { rules, folders } in file_systems::watched_together(live, &mounts) {
            let outlets = self.outlets(&rules, &groups, &mut receivers);
            let store = self.shared.store.clone();
            // One that cannot be looked up is offered: the intake asks again, and tells what is wrong.
            let already_kept = Box::new(move |identity: &_| matches!(store.kept(identity), Ok(Some(_))));
            let watch = Watch::start(rules, scan_every, outlets, already_kept, crate::decode::proves_its_end)
                .map_err(|error| Trouble::from_fault(&error))?;
            watches.add(watch, folders);
        }
        if self.shared.claims.watches.set(watches).is_err() {
            return Err(Trouble::new(FaultKind::Bug, "the folders are watched twice".to_owned(), None));
        }
        receivers.into_iter().enumerate().try_for_each(|(number, receiver)| {
            self.spawn(&format!("intake-{number}"), move |shared| intake::take_offers(shared, &receiver))
        })
    }

    /// An intake for each set of file systems that these rules use: one that hangs holds up no rule of others.
    fn outlets(
        &mut self,
        rules: &[Rule],
        groups: &HashMap<Arc<str>, Arc<str>>,
        receivers: &mut Vec<Receiver<Vec<Offer>>>,
    ) -> Outlets {
        let (mut senders, mut of_groups, mut of_rules) = (Vec::new(), HashMap::new(), HashMap::new());
        for rule in rules {
            let outlet = *of_groups.entry(groups.get(rule.name.as_str())).or_insert_with(|| {
                let (sender, receiver) = sync_channel(OFFER_BATCHES);
                self.intakes.push(sender.clone());
                senders.push(sender);
                receivers.push(receiver);
                senders.len() - 1
            });
            of_rules.insert(rule.name.clone(), outlet);
        }
        Outlets::new(senders, of_rules)
    }

    fn spawn(
        &mut self,
        name: &str,
        stage: impl FnOnce(&Arc<Shared>) + Send + 'static,
    ) -> Result<(), Trouble> {
        self.threads.spawn(&self.shared, name, stage)
    }

    /// Takes a file that an operator names under a rule, now. `retire`: it is claimed and ends as the rule says; else it stays as it is.
    pub fn ingest(&self, file: &Path, rule: &str, retire: bool) -> Result<JobId, EngineError> {
        ingest(&self.shared, file, rule, retire)
    }

    /// [`Self::ingest`] for the control endpoint.
    pub fn ingest_handle(
        &self,
    ) -> impl Fn(&Path, &str, bool) -> Result<JobId, EngineError> + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move |file, rule, retire| ingest(&shared, file, rule, retire)
    }

    /// A job's row as it is now, with the progress of reading where it is running.
    pub fn job(&self, id: JobId) -> Result<Option<Job>, EngineError> {
        let job = self.shared.store.job(id).map_err(Trouble::from)?;
        Ok(job.map(|job| with_progress(&self.shared, job)))
    }

    /// Adds the progress of reading to a job's row, for the control endpoint.
    pub fn progress_handle(&self) -> impl Fn(Job) -> Job + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move |job| with_progress(&shared, job)
    }

    /// The files and folders that the watch sees and has not given to the engine, with the reason, for the control endpoint.
    pub fn files_waiting_handle(&self) -> impl Fn() -> Vec<(PathBuf, String)> + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.claims.watches.get().map(|watches| watches.waiting(WATCH_PATIENCE)).unwrap_or_default()
    }

    /// Waits until the job reached an end, is held, or `time` is over; the row then.
    pub fn wait_for(&self, id: JobId, time: Duration) -> Result<Option<Job>, EngineError> {
        let deadline = Instant::now() + time;
        let mut seen = 0;
        loop {
            let job = self.job(id)?;
            if let Some(error) = self.shared.fatal() {
                return Err(EngineError(error.clone()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || job.as_ref().is_none_or(|job| job.state.is_final()) {
                return Ok(job);
            }
            seen = self.shared.ended.wait(seen, left.min(Duration::from_millis(200)));
        }
    }

    /// Takes a failed job from its source again, under the current rule.
    pub fn retry(&self, id: JobId) -> Result<Job, EngineError> {
        Self::retrier(&self.shared)(id)
    }

    /// [`Self::retry`] for the control endpoint, which outlives no engine but is started beside it.
    pub fn retry_handle(&self) -> impl Fn(JobId) -> Result<Job, EngineError> + Send + Sync + 'static {
        Self::retrier(&self.shared)
    }

    fn retrier(shared: &Arc<Shared>) -> impl Fn(JobId) -> Result<Job, EngineError> + Send + Sync + 'static {
        let shared = Arc::clone(shared);
        move |id| {
            retry::retriable(&shared.store, id)?; // else it may be long in other hands
            let job =
                with_job_in_hand(&shared, id, || retry::retry(&shared.store, &shared.settings.rules, id))?;
            shared.names.release(id); // of one that was publishing
            shared.dispatch.forget_back_off(id);
            shared.dispatch.queue(Stage::Load, &Owner::of(&job), id);
            Ok(job)
        }
    }

    /// Asks every stage to stop, from any thread; [`Engine::stop`] waits for them.
    pub fn stop_handle(&self) -> impl Fn() + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.ask_to_stop()
    }

    /// Lets a job go on publishing without hidden outputs that somebody removed, for the control endpoint.
    pub fn accept_missing_handle(
        &self,
    ) -> impl Fn(JobId) -> Result<Job, EngineError> + Send + Sync + 'static {
        let shared = Arc::clone(&self.shared);
        move |id| {
            let job = with_job_in_hand(&shared, id, || retry::accept_missing(&shared.store, id))?;
            shared.dispatch.queue(Stage::Finish, &Owner::of(&job), id);
            Ok(job)
        }
    }

    /// Waits until the engine is asked to stop, or stops by itself because a disk failed.
    pub fn wait_handle(&self) -> impl FnOnce() + Send + 'static {
        let shared = Arc::clone(&self.shared);
        move || shared.wait_for_stop()
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

/// Whether [`Engine::ingest`] would take this file under one of these rules; to be told before a store is opened.
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
fn unfinished_for(shared: &Arc<Shared>, offer: &crate::watch::Offer) -> Result<Option<JobId>, Trouble> {
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

fn with_progress(shared: &Shared, mut job: Job) -> Job {
    if job.state != JobState::Running {
        return job;
    }
    if let Some(run) = shared.dispatch.run(job.id) {
        run.copy_progress(&mut job);
        run.copy_counts(&mut job);
    }
    job
}

/// [`Engine::retry`] where no engine runs: the job is queued for the next one.
pub fn retry_stored(store: &Store, rules: &[Rule], id: JobId) -> Result<Job, EngineError> {
    Ok(retry::retry(store, rules, id)?)
}

/// What a retry would say against a job of this state, if anything.
pub fn objection_to_retry(job: &Job) -> Option<EngineError> {
    let may = job.is_retriable() || job.may_lack_an_output();
    (!may).then(|| retry::not_retriable(job).into())
}

/// [`Engine::accept_missing_handle`] where no engine runs: the next one goes on.
pub fn accept_missing_stored(store: &Store, id: JobId) -> Result<Job, EngineError> {
    Ok(retry::accept_missing(store, id)?)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, Trouble> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| {
        Trouble::new(
            FaultKind::Transient,
            format!("cannot start thread {name}: {error}"),
            Some("raise the limit of threads for the service's user"),
        )
    })
}

/// Locks; a thread that panicked while it held the lock has already been reported, and what it guarded is plain data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
