//! The engine's answers: from its store, and from its stages where they run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::door::{Act, Answers, Door, Found, JobFilter, Refusal, Sought};
use super::handle::Engine;
use super::read_ahead::{BATCH_ITEMS, Wanted, read_ahead};
use super::{
    abandon, audited, find, handed, order, rerun, retry, rule_book, set, settle, side_by_side, would,
};
use crate::at_rest::KeyRing;
use crate::model::audit::AuditEnd;
use crate::model::configuration::{ConfigurationState, KeptConfiguration, Reloaded};
use crate::model::expected::Overdue;
use crate::model::file_known::FileKnown;
use crate::model::files_in_view::{FileWaiting, FilesInView};
use crate::model::halts::{Halting, Halts};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_line::{JobLine, JobRowBrief};
use crate::model::job_state::JobState;
use crate::model::notice::Notice;
use crate::model::os_text::OsText;
use crate::model::pace::{PaceSetting, PacesSet};
use crate::model::rule::Rule;
use crate::model::settling::{self, NumberedRecord, Numbers, Settlement};
use crate::model::watch_counts::WatchCounts;
use crate::store::{JobMatch, JobRow, Published, Store, StoreError, Verified};

/// A subscriber hears something within this.
const QUIET_MAX: Duration = Duration::from_millis(100);
/// How long the watches may take, which may be in a file system that hangs.
pub(super) const WATCH_PATIENCE: Duration = Duration::from_millis(500);

/// What is said of a mount point that rules need.
pub(crate) const NOT_MOUNTED: &str = "no file system is mounted here: files and jobs that need it wait";

impl Engine {
    pub(super) fn id_of(&self, text: &str) -> Result<JobId, Refusal> {
        match self.store().find_job(text).map_err(refused)? {
            JobMatch::One(id) => Ok(id),
            JobMatch::None => Err(Refusal::NoSuchJob { text: text.to_owned() }),
            JobMatch::Several(ids) => Err(Refusal::Ambiguous { text: text.to_owned(), ids }),
        }
    }

    fn do_act(&self, act: &Act, by: &str) -> Result<JobId, Refusal> {
        let stages = self.stages_to_be()?;
        let done = match act {
            Act::Retry { job, forgets_decisions, same_rule } => {
                let asked = retry::Asked { forgets_decisions: *forgets_decisions, same_rule: *same_rule, by };
                self.retry(stages, self.id_of(job)?, &asked)
            }
            Act::AcceptMissing { job } => self.accept_missing(stages, self.id_of(job)?, by),
            Act::Set { job, priority } => {
                set::priority(self.store(), stages, self.id_of(job)?, *priority, by)
            }
            Act::SetWorkers { job, workers_max } => {
                set::workers(self.store(), stages, self.id_of(job)?, *workers_max, by)
            }
            Act::Pause { job } => order::pause(self.store(), stages, self.id_of(job)?, by),
            Act::Resume { job } => order::resume(self.store(), stages, self.id_of(job)?, by),
            Act::Abort { job } => order::abort(self.store(), stages, self.id_of(job)?, by),
            Act::Rerun { job, idempotency_key } => {
                let asked = rerun::Asked { by, key: idempotency_key.as_deref() };
                rerun::rerun(self.store(), stages, self.rules_without_stages(), self.id_of(job)?, &asked)
            }
            Act::Abandon { job, reason } => {
                abandon::abandon(self.store(), stages, self.id_of(job)?, reason.as_str(), by)
            }
            Act::DropRecords { job, records, reason } => {
                let reason = reason.as_str();
                settle::give_up(self.store(), stages, self.id_of(job)?, records.numbers(), reason, by)
            }
            Act::RetryRecords { job, records } => {
                let asked = settle::Asked { numbers: records.numbers(), edited: None, by };
                settle::retry(self.store(), stages, self.rules_without_stages(), self.id_of(job)?, &asked)
            }
            Act::EditRecord { job, number, data_bytes } => {
                let numbers = Numbers::of([(*number, *number)]);
                let asked = settle::Asked { numbers: Some(&numbers), edited: Some(data_bytes), by };
                settle::retry(self.store(), stages, self.rules_without_stages(), self.id_of(job)?, &asked)
            }
            Act::Ingest { path, rule, retire } => {
                Self::ingest(stages.ok_or(Refusal::NotRunning)?, path.as_path(), rule, *retire)
            }
            Act::HandOver { path, rule, identity } => {
                handed::take(stages.ok_or(Refusal::NotRunning)?, path, rule, identity)
            }
            Act::Adopt { path } => self.adopt(stages, path.as_path(), by),
            Act::GiveUp { path } => self.give_up(stages, path.as_path()),
        };
        done.map_err(|trouble| Refusal::Fault(trouble.error))
    }

    /// Jobs, told of what stands beside their rows.
    fn told<'a>(&'a self, jobs: impl Iterator<Item = Result<Job, Refusal>> + 'a) -> Answers<'a, Job> {
        let known = self.known_beside_rows();
        Box::new(jobs.map(move |job| job.map(|job| self.with_progress(&known, job))))
    }
}

impl Door for Engine {
    fn list(&self, filter: &JobFilter) -> Answers<'_, Job> {
        self.told(passing(in_order::<Job>(self.store(), filter, &Wanted::default()), filter))
    }

    fn keys(&self) -> Option<Arc<KeyRing>> {
        self.store().keys()
    }

    fn lines(&self, filter: &JobFilter) -> Answers<'_, JobLine> {
        let rows = if filter.asks_for_at_most(BATCH_ITEMS) {
            in_order::<JobRowBrief>(self.store(), filter, &Wanted::default())
        } else {
            let (store, filter) = (self.store().clone(), filter.clone());
            read_ahead(move |wanted| in_order::<JobRowBrief>(&store, &filter, &wanted))
        };
        let lines = self.told(passing(rows, filter)).map(|job| {
            let mut line = JobLine::of(job?);
            if let Some(stages) = self.stages().filter(|_| line.state == JobState::Running) {
                line.workers = stages.dispatch.at_work(line.id).0;
            }
            Ok(line)
        });
        Box::new(lines)
    }

    fn show(&self, job: &str) -> Result<Job, Refusal> {
        let id = self.id_of(job)?;
        // Retention may have taken it a moment ago.
        let missing = || Refusal::NoSuchJob { text: job.to_owned() };
        let job = self.store().job(id).map_err(refused)?.ok_or_else(missing)?;
        Ok(self.with_progress(&self.known_beside_rows(), job))
    }

    fn rule_of(&self, job: &str) -> Result<Rule, Refusal> {
        let job = self.show(job)?;
        rule_book::stored(self.store(), &job).map_err(|trouble| Refusal::Fault(trouble.error))
    }

    fn find(&self, sought: &Sought) -> Answers<'_, Found> {
        find::find(self.store(), sought)
    }

    fn would(&self, act: &Act) -> Result<(), Refusal> {
        would::would(self, act)
    }

    fn act_for(&self, act: &Act, by: &str) -> Result<JobId, Refusal> {
        self.store().audited(|| audited::of_act(self, act, by), || self.do_act(act, by))
    }

    fn act_all_for<'a>(&'a self, acts: Vec<Act>, by: &str) -> Answers<'a, Result<JobId, Refusal>> {
        side_by_side::act_all(self, acts, by)
    }

    fn halt_for(&self, halting: &Halting, by: &str) -> Result<bool, Refusal> {
        let halt = || {
            let done = self.halt(self.stages_to_be()?, halting, by);
            done.map_err(|trouble| Refusal::Fault(trouble.error))
        };
        self.store().audited(|| audited::of_halting(halting, by), halt)
    }

    fn set_pace_for(&self, setting: &PaceSetting, by: &str) -> Result<bool, Refusal> {
        let set = || {
            let done = self.set_pace_of(self.stages_to_be()?, setting, by);
            done.map_err(|trouble| Refusal::Fault(trouble.error))
        };
        self.store().audited(|| audited::of_pace(setting, by), set)
    }

    fn paces(&self) -> Result<PacesSet, Refusal> {
        self.paces_now().map(|paces| PacesSet::clone(&paces)).map_err(refused)
    }

    fn halts(&self) -> Result<Halts, Refusal> {
        self.halts_told().map(|halts| Halts::clone(&halts)).map_err(refused)
    }

    /// Ends when the engine does: with the fault that ended it, if one did.
    fn subscribe(&self) -> Answers<'_, Notice> {
        let subscription = self.store().subscribe();
        let mut has_ended = false;
        Box::new(std::iter::from_fn(move || {
            let notice = subscription.next_within(QUIET_MAX);
            let stages = self.stages().filter(|stages| stages.stop.is_asked() && notice == Notice::Quiet);
            match stages {
                None => Some(Ok(notice)),
                Some(_) if std::mem::replace(&mut has_ended, true) => None,
                Some(stages) => stages.stop.fatal().map(|fault| Err(Refusal::Fault(fault.clone()))),
            }
        }))
    }

    fn records(&self, job: &str, all: bool) -> Answers<'_, NumberedRecord> {
        let acts = self.id_of(job).and_then(|id| Ok((id, self.store().settlements(id).map_err(refused)?)));
        let (id, acts) = match acts {
            Ok(found) => found,
            Err(refusal) => return Box::new(std::iter::once(Err(refusal))),
        };
        let settled = settling::settled(&acts);
        let numbered = (1u64..).zip(self.store().failed_records(id));
        let numbered = numbered.filter(move |(number, _)| all || !settled.contains(*number));
        Box::new(numbered.map(move |(number, record)| {
            Ok(NumberedRecord {
                number,
                record: record.map_err(refused)?,
                settled: if all { settling::told_of(&acts, number) } else { None },
                edited: settling::edited_to(&acts, number).cloned(),
            })
        }))
    }

    fn record(&self, job: &str, number: u64) -> Result<NumberedRecord, Refusal> {
        let job = self.id_of(job)?;
        let missing = Refusal::NoSuchRecord { job, number };
        let Some(position) = number.checked_sub(1) else { return Err(missing) };
        let record = self.store().failed_record(job, position).map_err(refused)?.ok_or(missing)?;
        let acts = self.store().settlements(job).map_err(refused)?;
        let (settled, edited) =
            (settling::told_of(&acts, number), settling::edited_to(&acts, number).cloned());
        Ok(NumberedRecord { number, record, settled, edited })
    }

    fn settlements(&self, job: &str) -> Result<Vec<Settlement>, Refusal> {
        self.store().settlements(self.id_of(job)?).map_err(refused)
    }

    fn published(
        &self,
        rule: &str,
        content_hash: Option<&str>,
        delivery_key: Option<&OsText>,
    ) -> Result<Published, Refusal> {
        let nobody = JobId::from_parts(0, 0);
        self.store().published(rule, content_hash, delivery_key, nobody).map_err(refused)
    }

    fn files_waiting(&self, files_max: Option<usize>) -> Answers<'_, FileWaiting> {
        let claims = self.stages().map(|stages| &stages.claims);
        let files = claims.map(|claims| {
            let mut files = claims.watches.waiting(WATCH_PATIENCE, files_max);
            files.extend(claims.unopened.waiting());
            files.sort();
            files.truncate(files_max.unwrap_or(usize::MAX)); // each watch gave so many
            files
        });
        Box::new(files.unwrap_or_default().into_iter().map(|it| Ok(file_waiting(it))))
    }

    fn files_in_view(&self) -> Result<FilesInView, Refusal> {
        let Some(stages) = self.stages() else { return Ok(FilesInView::default()) };
        let unopened = stages.claims.unopened.waiting();
        let away = stages.resources.disk_space.mounts_away();
        let away = away.into_iter().map(|mount| (mount, NOT_MOUNTED.to_owned()));
        let folders = unopened.into_iter().chain(away).map(file_waiting).collect();
        let watched = stages.claims.watches.in_view();
        Ok(watched.plus(FilesInView { folders, ..FilesInView::default() }))
    }

    fn file_known(&self, path: &OsText) -> Result<FileKnown, Refusal> {
        Engine::file_known(self, path.as_path()).map_err(refused)
    }

    fn check_store(&self) -> Answers<'_, Verified> {
        Box::new(self.store().verify().map(Ok))
    }

    fn is_service(&self) -> bool {
        self.service().is_some()
    }

    fn reload_for(&self, by: &str) -> Result<Reloaded, Refusal> {
        self.service().ok_or(Refusal::NotRunning)?.reload(by)
    }

    fn configuration(&self) -> Result<Option<ConfigurationState>, Refusal> {
        Ok(self.service().map(|service| service.state()))
    }

    fn note_reader(&self, reader: &str, jobs: &[JobId]) -> Result<(), Refusal> {
        if let Some(stages) = self.stages_to_be()? {
            stages.resources.readers.note(reader, jobs, Instant::now());
        }
        Ok(())
    }

    fn watch_counts(&self) -> Result<Option<WatchCounts>, Refusal> {
        let claims = self.service().and_then(|_| self.stages()).map(|stages| &stages.claims);
        Ok(claims.map(|claims| claims.watches.counts()))
    }

    fn overdue(&self) -> Result<Vec<Overdue>, Refusal> {
        let Some(shared) = self.service().and_then(|_| self.stages()) else { return Ok(Vec::new()) };
        let old_before = |age| shared.resources.wall_clock.old_before(&shared.store, age);
        Ok(shared.operator.expected.told(old_before))
    }

    fn kept_configuration(&self) -> Result<KeptConfiguration, Refusal> {
        Ok(self.service().ok_or(Refusal::NotRunning)?.kept())
    }

    fn audit_end(&self) -> Result<AuditEnd, Refusal> {
        self.store().audit_end().map_err(refused)
    }

    fn keys_needed(&self) -> Result<Vec<String>, Refusal> {
        self.store().keys_needed().map_err(refused)
    }
}

/// The rows that may pass the filter, in its order.
fn in_order<R: JobRow + Into<Job> + 'static>(
    store: &Store,
    filter: &JobFilter,
    wanted: &Wanted,
) -> AnyRows<R> {
    let rows = rows::<R>(store, filter);
    match filter.limit {
        _ if filter.newest_first => Box::new(rows.rev()),
        None => Box::new(rows),
        Some(limit) => newest(store, filter, limit, wanted)
            .unwrap_or_else(|refusal| Box::new(std::iter::once(Err(refusal)))),
    }
}

/// The rows that may pass the filter: of jobs that ended there may be very many, and they are not read where none is wanted.
fn rows<R: JobRow + 'static>(store: &Store, filter: &JobFilter) -> RowsOfJobs<R> {
    if !filter.jobs.is_empty() {
        let (store, ids) = (store.clone(), filter.jobs.iter().copied().collect::<Vec<_>>());
        Box::new(ids.into_iter().filter_map(move |id| store.job_row(id).transpose()))
    } else if filter.takes_unfinished_alone() {
        Box::new(store.unfinished_job_rows())
    } else {
        Box::new(store.job_rows())
    }
}

type RowsOfJobs<R> = Box<dyn DoubleEndedIterator<Item = Result<R, StoreError>>>;

type AnyRows<R> = Box<dyn Iterator<Item = Result<R, StoreError>>>;

/// The newest that pass, oldest first. Their ids are kept, not their rows, which would take much memory.
fn newest<R: JobRow + Into<Job> + 'static>(
    store: &Store,
    filter: &JobFilter,
    limit: usize,
    wanted: &Wanted,
) -> Result<AnyRows<R>, StoreError> {
    let wanted = wanted.clone();
    let rows = rows::<R>(store, filter).rev().take_while(move |_| !wanted.no_more());
    let jobs = rows.map(|row| row.map(Into::<Job>::into));
    let newest = jobs.filter(|job| job.as_ref().map_or(true, |job| filter.takes(job))).take(limit);
    let ids = newest.map(|job| job.map(|job| job.id)).collect::<Result<Vec<JobId>, _>>()?;
    let store = store.clone();
    Ok(Box::new(ids.into_iter().rev().filter_map(move |id| store.job_row(id).transpose())))
}

/// The jobs that pass the filter, no more than it asks for.
fn passing<R: Into<Job>, I: Iterator<Item = Result<R, StoreError>>>(
    rows: I,
    filter: &JobFilter,
) -> impl Iterator<Item = Result<Job, Refusal>> + use<R, I> {
    let filter = filter.clone();
    let limit = filter.limit.unwrap_or(usize::MAX);
    let jobs = rows.map(|row| row.map(Into::<Job>::into).map_err(refused));
    jobs.filter(move |job| job.as_ref().map_or(true, |job| filter.takes(job))).take(limit)
}

#[allow(clippy::needless_pass_by_value, reason = "it stands behind map_err")]
fn refused(error: StoreError) -> Refusal {
    Refusal::from_fault(&error)
}

fn file_waiting((path, reason): (PathBuf, String)) -> FileWaiting {
    FileWaiting { path: path.into(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::fault::{FaultKind, JobError};

    /// An engine of this world, with its stages.
    fn engine(world: &World) -> Engine {
        let engine = Engine::over(world.shared.store.clone(), &[]);
        assert!(engine.run_by(&world.shared));
        engine
    }

    fn listed(engine: &Engine, filter: &JobFilter) -> Vec<JobId> {
        engine.list(filter).map(|job| job.expect("can be read").id).collect()
    }

    #[test]
    fn of_more_jobs_than_are_asked_for_the_newest_are_listed_oldest_first_unless_asked_otherwise() {
        let world = World::new();
        let [first, second, third] = [1, 2, 3].map(|number| {
            let job = Job { id: JobId::from_parts(number, 0), ..world.job() };
            world.shared.save(&job).expect("writes");
            job.id
        });
        world
            .shared
            .store
            .change()
            .unclaim(JobId::from_parts(1, 1))
            .apply()
            .expect("the one of the world goes");
        let engine = engine(&world);
        let filter = |limit, newest_first| JobFilter { limit, newest_first, ..JobFilter::default() };
        assert_eq!(listed(&engine, &filter(None, false)), [first, second, third]);
        assert_eq!(listed(&engine, &filter(Some(2), false)), [second, third]);
        assert_eq!(listed(&engine, &filter(Some(2), true)), [third, second]);
        let of_nobody = JobFilter { rule: Some("other".into()), ..filter(Some(2), false) };
        assert!(listed(&engine, &of_nobody).is_empty());
    }

    /// Whatever a row does not say is told of a line as of the whole job.
    #[test]
    fn a_line_says_what_the_whole_job_says() {
        let world = World::new();
        let run = world.run();
        run.collect(crate::engine::tests::worked(&run, 0, "a"));
        let mut paused = world.second_job("b.txt");
        paused.take(crate::model::job_state::JobEvent::Paused, crate::clock::now(), "").expect("is paused");
        let mut failed = Job { id: JobId::from_parts(9, 0), ..world.second_job("c.txt") };
        let error = JobError { kind: FaultKind::Input, message: "cut short".into(), hint: None };
        failed.fail(error).expect("fails");
        failed.end_failing(crate::clock::now()).expect("ends");
        let late = Job {
            id: JobId::from_parts(10, 0),
            due_at: Some(crate::clock::now()),
            ..world.second_job("d.txt")
        };
        for job in [&paused, &failed, &late] {
            world.shared.save(job).expect("writes");
        }
        let engine = engine(&world);
        Door::halt(&engine, &Halting::Pause(crate::model::halts::Scope::default())).expect("is paused");
        let only = |change: fn(&mut JobFilter)| {
            let mut filter = JobFilter::default();
            change(&mut filter);
            filter
        };
        let unfinished = only(|filter| filter.unfinished = true);
        for filter in [JobFilter::default(), unfinished, only(|filter| filter.limit = Some(2))] {
            let whole: Vec<_> = engine.list(&filter).map(|job| JobLine::of(job.expect("is read"))).collect();
            let lines: Vec<_> = engine.lines(&filter).map(|line| line.expect("is read")).collect();
            assert_eq!(lines, whole, "{filter:?}");
            assert!(whole.iter().any(|line| line.waiting.is_some()), "{whole:#?}");
        }
    }

    #[test]
    fn only_unfinished_jobs_or_only_some_are_listed_where_only_these_are_asked_for() {
        let world = World::new();
        let (first, second) = (world.job(), world.second_job("b.txt"));
        let mut ended = Job { id: JobId::from_parts(9, 0), ..world.job() };
        ended.take(crate::model::job_state::JobEvent::GivenBack, crate::clock::now(), "").expect("ends");
        world.shared.save(&ended).expect("writes");
        let engine = engine(&world);
        let ids = |filter: &JobFilter| -> Vec<JobId> {
            engine.lines(filter).map(|line| line.expect("is read").id).collect()
        };
        let all = JobFilter::default();
        let mut known = [first.id, second.id];
        known.sort_unstable();
        let found = ids(&JobFilter { unfinished: true, ..all.clone() });
        assert_eq!(found.iter().copied().collect::<std::collections::BTreeSet<_>>(), known.into());
        assert_eq!(ids(&JobFilter { state: Some(JobState::Queued), ..all.clone() }).len(), 2);
        let jobs = [ended.id, second.id, JobId::from_parts(99, 0)].into();
        let mut expected = [ended.id, second.id];
        expected.sort_unstable();
        assert_eq!(ids(&JobFilter { jobs, ..all }), expected, "one that is not there is none");
    }

    /// Goal: a look at what is at work costs the same beside very many jobs that ended.
    #[test]
    fn jobs_that_ended_are_not_read_for_a_list_of_those_that_have_not() {
        let world = World::new();
        let mut ended = Job { id: JobId::from_parts(2, 0), ..world.job() };
        ended.take(crate::model::job_state::JobEvent::GivenBack, crate::clock::now(), "").expect("ends");
        let mut changes = world.shared.store.change();
        for number in 0..5000 {
            ended.id = JobId::from_parts(3, number);
            changes.job(&ended);
        }
        changes.apply().expect("writes");
        let engine = engine(&world);
        let took = |filter: &JobFilter| {
            let begun = std::time::Instant::now();
            engine.lines(filter).count();
            begun.elapsed()
        };
        let best = |filter: &JobFilter| (0..3).map(|_| took(filter)).min().expect("some");
        let all = best(&JobFilter::default());
        let unfinished = best(&JobFilter { unfinished: true, ..JobFilter::default() });
        assert!(unfinished * 10 < all, "{unfinished:?} of {all:?}");
    }

    #[test]
    fn a_job_is_found_by_either_end_of_its_id_and_one_that_is_not_clear_is_refused_with_those_it_may_be() {
        let world = World::new();
        let (one, other) = (world.job(), world.second_job("b.txt"));
        let engine = engine(&world);
        let shown = |text: &str| engine.show(text).map(|job| job.id);
        let id = one.id.to_string();
        assert_eq!(shown(&id), Ok(one.id));
        assert_eq!(shown(&id[id.len() - 4..]), Ok(one.id));
        let both = &id[..4];
        assert_eq!(shown(both), Err(Refusal::Ambiguous { text: both.into(), ids: vec![one.id, other.id] }));
        assert_eq!(shown("zzzz"), Err(Refusal::NoSuchJob { text: "zzzz".into() }));
    }

    #[test]
    fn failed_records_are_counted_from_one_and_there_is_none_before_it() {
        let world = World::new();
        let job = world.job();
        let records = [crate::engine::tests::failed_record(7, "too long")];
        world.shared.store.change().failed_records(job.id, 0, &records).apply().expect("writes");
        let engine = engine(&world);
        let record = |number| engine.record(&job.id.to_string(), number);
        assert_eq!(record(1).map(|found| found.record), Ok(records[0].clone()));
        for number in [0, 2] {
            assert_eq!(record(number), Err(Refusal::NoSuchRecord { job: job.id, number }));
        }
    }

    #[test]
    fn a_running_job_is_shown_with_what_its_row_does_not_say_yet() {
        let world = World::new();
        let run = world.run();
        run.collect(crate::engine::tests::worked(&run, 0, "a"));
        assert_eq!(world.row(&run.row()).expect("is there").account.records_in, 0);
        let shown = engine(&world).show(&run.id.to_string()).expect("is there");
        assert_eq!(shown.account.records_in, 1);
    }

    #[test]
    fn whoever_listens_hears_why_the_engine_ended_and_then_nothing_more() {
        let world = World::new();
        let engine = engine(&world);
        let mut heard = engine.subscribe();
        assert_eq!(heard.next(), Some(Ok(Notice::ReadAnew)));
        let fault = JobError { kind: FaultKind::Storage, message: "the disk failed".into(), hint: None };
        world.shared.fail_for_good(fault.clone());
        assert_eq!(heard.find(|notice| *notice != Ok(Notice::Quiet)), Some(Err(Refusal::Fault(fault))));
        assert_eq!(heard.next(), None);
    }

    #[test]
    fn what_only_stages_can_do_is_refused_where_there_are_none() {
        let world = World::new();
        let engine = Engine::over(world.shared.store.clone(), &[]);
        let ingest = Act::Ingest { path: world.source().into(), rule: "payments".into(), retire: false };
        assert_eq!(engine.act(&ingest), Err(Refusal::NotRunning));
        assert_eq!(engine.files_waiting(None).count(), 0);
        let refused = engine.act(&Act::retry(world.job().id.to_string())).expect_err("it did not fail");
        assert!(matches!(&refused, Refusal::Fault(fault) if fault.kind == FaultKind::Input), "{refused:?}");
    }
}
