//! The engine as a handle: for the control endpoint, for commands, and for what is to come. [`super::answers`] is what it answers.
//!
//! It is there before its stages run, and after. What only they can do is refused then; what rows can answer or say is read or written
//! all the same, and the next start goes by it.

use std::hash::Hash;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use super::by_hand::refused_at_once;
use super::door::{Configuration, Refusal};
use super::error::EngineError;
use super::hanging::Hanging;
use super::one_at_a_time::{Entered, OneAtATime};
use super::schedule::{Owner, Stage};
use super::shared::Shared;
use super::taken::TakenFiles;
use super::trouble::Trouble;
use super::{claim, deadlines, halts, held_records, hours, missing_outputs, paces, recover, retry};
use crate::durable_fs;
use crate::model::fault::{FaultKind, JobError, WaitsFor};
use crate::model::halts::Halts;
use crate::model::job::{HeldRecords, Job, Waiting};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::escaped_path;
use crate::model::pattern::Values;
use crate::model::rule::{Rule, Settings};
use crate::model::settling;
use crate::store::{Store, StoreError, WhileTaken};
use crate::watch::Offer;

/// How long an operator's word waits for who has the job, or the file.
const HAND_PATIENCE: Duration = Duration::from_secs(5);
/// Most starts are over within this; one that looks at a file system that hangs is not.
const STARTING_PATIENCE: Duration = Duration::from_secs(3);
const STARTING_PAUSE: Duration = Duration::from_millis(50);

/// One data folder's engine, for any thread. It does not keep the stages from being stopped: what is asked later finds them stopped.
#[derive(Clone)]
pub(crate) struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    rules: Vec<Rule>,
    /// Once they run.
    stages: OnceLock<Arc<Shared>>,
    /// Where it is a service's: its stages will run.
    service: Option<Arc<dyn Configuration>>,
    /// For a command without stages: nobody takes files meanwhile.
    taken: OnceLock<TakenFiles>,
}

impl Engine {
    /// Opens the data folder, or makes it.
    pub(crate) fn open(settings: &Settings) -> Result<Self, StoreError> {
        let service = &settings.service;
        Ok(Self::over(Store::of_service(service, WhileTaken::Refuse)?, &settings.rules))
    }

    /// For a command: its stages run only where it starts them.
    pub(crate) fn over(store: Store, rules: &[Rule]) -> Self {
        Self::new(store, rules, None)
    }

    /// For a service, which is going to start its stages.
    pub(crate) fn of_service(store: Store, rules: &[Rule], configuration: Arc<dyn Configuration>) -> Self {
        Self::new(store, rules, Some(configuration))
    }

    fn new(store: Store, rules: &[Rule], service: Option<Arc<dyn Configuration>>) -> Self {
        let (stages, taken) = (OnceLock::new(), OnceLock::new());
        let inner = Inner { store, rules: rules.to_owned(), stages, service, taken };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// Those that it was made with, for an engine without stages: where there are some, a reload may have changed them since.
    pub(super) fn rules_without_stages(&self) -> &[Rule] {
        &self.inner.rules
    }

    pub(super) fn service(&self) -> Option<&Arc<dyn Configuration>> {
        self.inner.service.as_ref()
    }

    /// The files of unfinished jobs, where no stages say which they are.
    pub(super) fn taken_without_stages(&self) -> Result<&TakenFiles, StoreError> {
        if let Some(taken) = self.inner.taken.get() {
            return Ok(taken);
        }
        let taken = TakenFiles::of(self.store())?;
        Ok(self.inner.taken.get_or_init(|| taken))
    }

    pub(super) fn stages(&self) -> Option<&Arc<Shared>> {
        self.inner.stages.get()
    }

    /// From now on they are asked too. False: there are some already.
    pub(super) fn run_by(&self, stages: &Arc<Shared>) -> bool {
        self.inner.stages.set(Arc::clone(stages)).is_ok()
    }

    /// The stages, also those of a service that starts; none where no service is.
    pub(super) fn stages_to_be(&self) -> Result<Option<&Arc<Shared>>, Refusal> {
        let begun = Instant::now();
        while self.stages().is_none() && self.inner.service.is_some() {
            if begun.elapsed() > STARTING_PATIENCE {
                return Err(is_starting());
            }
            std::thread::sleep(STARTING_PAUSE);
        }
        Ok(self.stages())
    }

    /// Adds the progress of reading to a job's row, which is told it only now and then.
    pub(super) fn with_progress(&self, known: &(Hanging, Arc<Halts>), mut job: Job) -> Job {
        let (hanging, halts) = known;
        halts::tell(halts, &mut job);
        if let Some(stages) = self.stages() {
            hanging.tell(stages, &mut job);
            let rules = stages.rules.now();
            hours::tell(|job| rules.rule_for(&job.rule, &job.vars).map(AsRef::as_ref), &mut job);
            stages.publishing.turns.sequences.tell(halts, &mut job);
        } else {
            let rule_of =
                |job: &Job| self.rules_without_stages().iter().find(|rule| rule.is_for(&job.rule, &job.vars));
            hours::tell(rule_of, &mut job);
            halts::tell_sequence(halts, &mut job);
        }
        let is_decided_on = job.state == JobState::Completed && job.account.records_failed > 0;
        if is_decided_on || job.held_records != HeldRecords::default() {
            // A store that cannot be read says so for what it is asked next.
            settling::tell(&self.store().settlements(job.id).unwrap_or_default(), &mut job);
            held_records::tell(&mut job);
        }
        match (job.state.get(), self.stages()) {
            (JobState::Running, Some(stages)) => tell_progress(stages, &mut job),
            (JobState::Queued, Some(stages)) => tell_left_over(stages, &mut job),
            _ => {}
        }
        deadlines::tell(self.stages().map(AsRef::as_ref), &mut job);
        job
    }

    /// What is halted now.
    pub(super) fn halts_now(&self) -> Result<Arc<Halts>, StoreError> {
        match self.stages() {
            Some(shared) => Ok(shared.operator.halts.now()),
            None => self.store().said().map(Arc::new),
        }
    }

    /// The file systems that do not answer now, and what is halted.
    pub(super) fn known_beside_rows(&self) -> (Hanging, Arc<Halts>) {
        let hanging = self.stages().map(|stages| Hanging::now(stages)).unwrap_or_default();
        (hanging, self.halts_told().unwrap_or_default()) // a store that cannot be read says so for the jobs
    }

    /// What is halted now, as it is told: a failed job behind which a sequence stopped may be retried meanwhile.
    pub(super) fn halts_told(&self) -> Result<Arc<Halts>, StoreError> {
        let mut halts = self.halts_now()?;
        if !halts.sequences.is_empty() {
            for (id, stop) in &mut Arc::make_mut(&mut halts).sequences {
                stop.is_retried = self.store().job(*id)?.is_some_and(|job| !job.state.is_final());
            }
        }
        Ok(halts)
    }

    /// Takes a failed job from its source again, under the current rule.
    pub(super) fn retry(
        &self,
        stages: Option<&Arc<Shared>>,
        id: JobId,
        asked: &retry::Asked<'_>,
    ) -> Result<JobId, Trouble> {
        let Some(shared) = stages else {
            return Ok(retry::retry(self.store(), None, &self.inner.rules, id, asked)?.id);
        };
        retry::retriable(&shared.store, id)?; // else it may be long in other hands
        let job = with_job_in_hand(shared, id, || {
            let taken = Some(&*shared.claims.taken);
            retry::retry(&shared.store, taken, shared.rules.now().iter().map(AsRef::as_ref), id, asked)
        })?;
        shared.publishing.names.release(id); // of one that was publishing
        shared.publishing.turns.next_due.note(job.due_at);
        shared.dispatch.forget_back_off(id);
        shared.dispatch.queue(Stage::Load, &Owner::of(&job), id);
        Ok(id)
    }

    /// Lets a job go on publishing without hidden outputs that somebody removed.
    pub(super) fn accept_missing(
        &self,
        stages: Option<&Arc<Shared>>,
        id: JobId,
        by: &str,
    ) -> Result<JobId, Trouble> {
        let Some(shared) = stages else {
            return Ok(missing_outputs::accept_missing(self.store(), id, by)?.id);
        };
        let job = with_job_in_hand(shared, id, || missing_outputs::accept_missing(&shared.store, id, by))?;
        shared.dispatch.queue(Stage::Finish, &Owner::of(&job), id);
        Ok(id)
    }

    /// Asks every stage to stop; [`super::Running::stop`] waits for them.
    pub(crate) fn ask_to_stop(&self) {
        if let Some(stages) = self.stages() {
            stages.ask_to_stop();
        }
    }

    /// Whether its data folder is still the one that was opened.
    pub(crate) fn has_its_folder(&self) -> bool {
        self.store().check_there().is_ok()
    }

    /// Waits until the stages are asked to stop, or stop by themselves because a disk failed.
    pub(crate) fn wait_for_stop(&self) {
        if let Some(stages) = self.stages() {
            stages.stop.wait();
        }
    }

    /// Why it takes no files now; none where it does.
    pub(crate) fn not_ready(&self) -> Option<String> {
        let Some(stages) = self.stages() else { return Some("the service is starting".into()) };
        match stages.stop.fatal() {
            Some(fault) => Some(fault.message.clone()),
            None if stages.stop.is_asked() => Some("the service stops".into()),
            None => None,
        }
    }

    /// What stopped the stages by itself, if something did.
    pub(crate) fn fault(&self) -> Option<JobError> {
        self.stages()?.stop.fatal().cloned()
    }

    /// Takes a file that an operator names under a rule, now.
    pub(super) fn ingest(
        shared: &Arc<Shared>,
        file: &Path,
        rule: &str,
        retire: bool,
    ) -> Result<JobId, Trouble> {
        Self::ingest_now(shared, file, rule, retire, false).map_err(refused_at_once)
    }

    /// `once`: see [`claim::Wanted`].
    pub(super) fn ingest_now(
        shared: &Arc<Shared>,
        file: &Path,
        rule: &str,
        retire: bool,
        once: bool,
    ) -> Result<JobId, Trouble> {
        let rules = shared.rules.now();
        let base = rules.base(rule).ok_or_else(|| no_such_rule(rules.iter().map(AsRef::as_ref), rule))?;
        let for_values = |values: &Values| rules.rule_for(rule, values).cloned();
        let offer = claim::offer_for(base, for_values, file)?;
        check_not_ours(shared, &offer.path)?;
        let rule = shared.rules.ready(&offer.rule)?;
        // By hand it may be tried whether what a rule stopped after is mended; what is paused is paused.
        let halts = shared.operator.halts.now();
        if let Some(pause) = halts.pause_of_file(&rule.rule.name, &offer.vars, &offer.path) {
            let (message, hint) = (pause.to_string(), pause.remedy());
            return Err(Trouble::new(FaultKind::Transient, message, Some(&hint)));
        }
        // The same file asked for twice at once is one job.
        let _entered = file_in_hand(shared, &shared.claims.ingesting, offer.path.clone(), &offer.path)?;
        if let Some(unfinished) = unfinished_for(shared, &offer, retire)? {
            return Ok(unfinished);
        }
        let folder = durable_fs::parent_of(&offer.path).to_owned();
        // By the mounts of the start: one that hangs, and was unmounted since, would else have all files for its own.
        let mounts = shared.claims.unopened.mounts();
        if mounts.is_some_and(|mounts| shared.claims.unopened.has(&[folder], &mounts)) {
            let message =
                format!("the start has not come through the file system of {} yet", escaped_path(file));
            return Err(Trouble::new(FaultKind::Transient, message, Some("try again in a moment")));
        }
        shared.resources.disk_space.check_claim(&rule, &offer)?;
        let owner =
            Owner::of_source(&rule.rule.name, &offer.path, rule.rule.priority_for(offer.identity.size));
        let wanted = vec![claim::Wanted { rule, offer, retire, once }];
        let claimed = claim::claim(shared, &wanted);
        shared.claims.folders.let_go_idle(Duration::ZERO);
        let claimed =
            claimed.inspect_err(|trouble| shared.stop_if_poisoned(trouble))?.pop().transpose()?.flatten();
        let id = claimed.ok_or_else(|| {
            let message = format!("{} changed while it was claimed", escaped_path(file));
            Trouble::new(FaultKind::Transient, message, Some("try again when nobody writes it any more"))
        })?;
        shared.queue_claimed(&owner, id);
        Ok(id)
    }
}

/// How far a running job is, and what holds it back.
fn tell_progress(stages: &Shared, job: &mut Job) {
    if let Some(run) = stages.dispatch.run(job.id) {
        run.copy_progress(job);
        run.copy_counts(job);
    }
    let (_, held_back) = stages.dispatch.at_work(job.id);
    if let Some(held_back) = held_back.filter(|_| job.waiting.is_none()) {
        paces::tell_waiting(&held_back, job);
    }
}

/// A job that was put down, and goes on, waits for those of its slices that were in hand: programs are not stopped amid them.
fn tell_left_over(stages: &Shared, job: &mut Job) {
    let (workers, _) = stages.dispatch.at_work(job.id);
    if workers > 0 && job.waiting.is_none() {
        let slices = if workers == 1 { "a slice that was" } else { "slices that were" };
        let detail = format!("the end of {slices} in hand when it was put down");
        job.waiting = Some(Waiting { behind: None, waits_for: WaitsFor::Throttle, until: None, detail });
    }
}

/// What the service keeps is no source: it would be published, and taken away under it. The path is free of links.
fn check_not_ours(shared: &Shared, file: &Path) -> Result<(), Trouble> {
    let own = &shared.service.data_dir;
    let is_ours = durable_fs::real_path(own).is_ok_and(|own| file.starts_with(own)) || file.starts_with(own);
    if !is_ours {
        return Ok(());
    }
    let message = format!("{} lies in the data folder, which is the service's own", escaped_path(file));
    Err(Trouble::new(FaultKind::Input, message, Some("name a file that somebody put elsewhere")))
}

fn is_starting() -> Refusal {
    Refusal::Fault(JobError {
        kind: FaultKind::Transient,
        message: "the service is still starting".into(),
        hint: Some(
            "try again when its log says `watching`; if that does not come, one of its file systems hangs"
                .into(),
        ),
    })
}

/// Does what an operator asked for while no stage has the job: one that has it would write its row over the new one.
pub(super) fn with_job_in_hand<T>(
    shared: &Arc<Shared>,
    id: JobId,
    change: impl FnOnce() -> Result<T, Trouble>,
) -> Result<T, Trouble> {
    let _in_hand = InHand::take(shared, id)?;
    change().inspect_err(|trouble| shared.stop_if_poisoned(trouble))
}

/// While it is there no stage has the job, nor has another operator.
pub(super) struct InHand {
    /// A thread that hangs does not keep it.
    shared: Weak<Shared>,
    id: JobId,
}

impl InHand {
    pub(super) fn take(shared: &Arc<Shared>, id: JobId) -> Result<Self, Trouble> {
        if shared.dispatch.take_up_within(id, HAND_PATIENCE) {
            Ok(Self { shared: Arc::downgrade(shared), id })
        } else {
            Err(in_other_hands(shared, id))
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.dispatch.put_down(self.id);
        }
    }
}

/// Why a word about a job is not taken.
pub(super) fn in_other_hands(shared: &Shared, id: JobId) -> Trouble {
    let hint = "try again; where `landfall show` says that a file system does not answer, it is that";
    not_let_go_of(shared, &format!("job {id}"), hint)
}

fn not_let_go_of(shared: &Shared, what: &str, hint: &str) -> Trouble {
    let (message, hint) = if shared.stop.is_asked() {
        ("the service stops".to_owned(), "say it again once the service has ended, or runs again")
    } else {
        (format!("{what} is in hand just now, and is not let go of"), hint)
    };
    Trouble::new(FaultKind::Transient, message, Some(hint))
}

/// A file that an operator named is nobody else's meanwhile. Who claims it may hang at its file system.
pub(super) fn file_in_hand<'a, K: Eq + Hash + Clone>(
    shared: &Shared,
    by: &'a OneAtATime<K>,
    key: K,
    path: &Path,
) -> Result<Entered<'a, K>, Trouble> {
    by.enter_within(key, HAND_PATIENCE).ok_or_else(|| {
        let hint = "try again; where `landfall jobs` says that a file system does not answer, it is that";
        not_let_go_of(shared, &escaped_path(path), hint)
    })
}

/// Whether [`Engine::ingest`] would take this file under one of these rules; to be told before a store is opened.
pub(crate) fn could_ingest(rules: &[Rule], file: &Path, rule: &str) -> Result<Arc<Rule>, EngineError> {
    let base = rules.iter().find(|known| known.is_base() && known.name == rule);
    let base = base.ok_or_else(|| no_such_rule(rules, rule))?;
    let for_values =
        |values: &Values| rules.iter().find(|known| known.is_for(rule, values)).cloned().map(Arc::new);
    let offer = claim::offer_for(&Arc::new(base.clone()), for_values, file).map_err(refused_at_once)?;
    Ok(offer.rule)
}

/// That no rule of this name is in the configuration.
pub(crate) fn unknown_rule(rules: &[Rule], name: &str) -> EngineError {
    no_such_rule(rules, name).into()
}

pub(super) fn no_such_rule<'r>(rules: impl IntoIterator<Item = &'r Rule>, name: &str) -> Trouble {
    let bases = rules.into_iter().filter(|rule| rule.is_base());
    let names: Vec<_> = bases.map(|rule| rule.name.as_str()).collect();
    let hint = match names.as_slice() {
        [] => "the configuration has no rule: write one, as `landfall init` shows".to_owned(),
        names => format!("the configuration has: {}", names.join(", ")),
    };
    Trouble::new(FaultKind::Config, format!("no rule is named \"{name}\""), Some(&hint))
}

/// An earlier `ingest` of the same file that is not done: it goes on instead of a second one.
fn unfinished_for(shared: &Arc<Shared>, offer: &Offer, retire: bool) -> Result<Option<JobId>, Trouble> {
    let Some(job) = unfinished_by_hand(shared, offer)? else { return Ok(None) };
    if retire && !job.source.retire {
        let message = format!("job {} is at this file, and was asked to leave it as it is", job.id);
        let hint = "ask again with `--retire` once that job has ended";
        return Err(Trouble::new(FaultKind::Transient, message, Some(hint)));
    }
    // A service took up every unfinished job when it started. One that some stage of ours has in its hands goes on by itself.
    let has_service = shared.claims.watches.lock().begin_intake.is_some();
    if !has_service && shared.dispatch.take_up_within(job.id, Duration::ZERO) {
        let tried_again = forget_wait(shared, job.id);
        shared.dispatch.put_down(job.id);
        recover::requeue(shared, &tried_again?);
    }
    Ok(Some(job.id))
}

/// The job that reads this file where it lies. There may be very many jobs: only the rows of those that have a file of its number are read.
fn unfinished_by_hand(shared: &Shared, offer: &Offer) -> Result<Option<Job>, Trouble> {
    let same = |job: &Job| {
        !job.state.is_final()
            && job.rule == offer.rule.name
            && job.source.claimed.is_none()
            && job.source.identity == offer.identity
    };
    for id in shared.claims.taken.jobs_of(&offer.identity) {
        if let Some(job) = shared.store.job(id)?.filter(same) {
            return Ok(Some(job));
        }
    }
    Ok(None)
}

/// Whoever follows a job that is tried again is to wait for that try, not to be told of the last.
fn forget_wait(shared: &Shared, id: JobId) -> Result<Job, Trouble> {
    let mut job = retry::known(&shared.store, id)?;
    if !job.waits_for_settling() && job.waiting.take().is_some() {
        shared.save(&job)?;
    }
    Ok(job)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::engine::door::{Act, Door as _};
    use crate::engine::tests::World;
    use crate::model::configuration::{ConfigurationState, KeptConfiguration, Reloaded};
    use crate::model::os_text::OsText;

    /// The configuration of a service that was not read from files.
    struct NoFiles;

    impl Configuration for NoFiles {
        fn reload(&self, _: &str) -> Result<Reloaded, Refusal> {
            Ok(Reloaded::default())
        }

        fn state(&self) -> ConfigurationState {
            ConfigurationState {
                file: OsText::default(),
                taken_at: clock::now(),
                problems: Vec::new(),
                wrong_since: None,
                needs_restart: Vec::new(),
                unsettled: None,
                last_change: None,
                hooks: Vec::new(),
                trail_trouble: None,
            }
        }

        fn kept(&self) -> KeptConfiguration {
            KeptConfiguration {
                main: OsText::default(),
                taken_at: clock::now(),
                files: Vec::new(),
                rules_mount: None,
            }
        }
    }

    fn ingest(world: &World, retire: bool) -> Result<JobId, Trouble> {
        Engine::ingest(&world.shared, &world.source(), "payments", retire)
    }

    #[test]
    fn a_file_that_is_asked_for_twice_is_one_job_and_not_retired_by_a_second_word() {
        let world = World::new();
        let id = ingest(&world, false).expect("is taken");
        assert_eq!(ingest(&world, false).expect("goes on"), id);
        let refused = ingest(&world, true).expect_err("the first was to leave it").error;
        assert!(refused.message.contains(&id.to_string()), "{refused}");
        assert_eq!(world.shared.store.jobs().count(), 1);
    }

    /// Goal: `landfall ingest *` beside very many jobs that wait is as fast as beside none.
    #[test]
    fn a_file_is_looked_for_among_the_jobs_that_may_have_it_and_not_among_all() {
        const OTHERS: u64 = 20_000;
        let time_beside = |others: u64| {
            let world = World::new();
            let (mut job, mut changes) = (world.job(), world.shared.store.change());
            for number in 0..others {
                job.id = JobId::from_parts(2, number.into());
                job.source.identity.inode = number;
                changes.job(&job);
                world.shared.claims.taken.enter(&job);
            }
            changes.apply().expect("writes");
            let id = ingest(&world, false).expect("is taken");
            let begun = Instant::now();
            for _ in 0..20 {
                assert_eq!(ingest(&world, false).expect("goes on"), id);
            }
            begun.elapsed()
        };
        let (few, many) = (time_beside(10), time_beside(OTHERS));
        assert!(
            many < 20 * few + Duration::from_millis(500),
            "{many:?} beside {OTHERS} jobs, {few:?} beside 10"
        );
    }

    #[test]
    fn a_rule_that_is_not_there_is_refused_with_those_that_are_before_a_store_is_opened() {
        let world = World::new();
        let rules = [Rule::clone(&world.rule())];
        could_ingest(&rules, &world.source(), "payments").expect("it could");
        let refused = could_ingest(&rules, &world.source(), "payroll").expect_err("no such rule");
        assert_eq!(refused.0, unknown_rule(&rules, "payroll").0);
        assert!(refused.0.hint.as_deref().is_some_and(|hint| hint.contains("payments")), "{refused:?}");
    }

    /// `landfall retry` beside a service that has just been started.
    #[test]
    fn what_is_asked_of_a_service_that_starts_waits_for_its_stages() {
        let world = World::new();
        let engine = Engine::of_service(world.shared.store.clone(), &[], Arc::new(NoFiles));
        let asked = engine.clone();
        let path = world.source().into();
        let asking = std::thread::spawn(move || {
            asked.act(&Act::Ingest { path, rule: "payments".into(), retire: false })
        });
        assert!(engine.run_by(&world.shared));
        let id = asking.join().expect("no panic").expect("is taken");
        assert!(world.shared.dispatch.take_up(id, Stage::Load), "it is queued, and in nobody's hands");
        assert!(!engine.run_by(&world.shared), "there are stages already");
    }
}
