//! The start, one file system beside another: what an earlier run left on it goes on, and what comes to it is watched from then on.
//!
//! ```text
//!  each file system:  claim folders taken, marks read -.                                   .-> marks left -> its jobs go on -> watched
//!                                                       \                                 /
//!  the start:                                            `-> is the store behind a mark? -'-> counted, rows judged
//!                                                             yes: jobs in doubt, first
//! ```
//!
//! A file system that hangs is left to its thread: the start says so, and waits for the others. Its jobs wait for a mount, nothing on it is
//! watched, and it goes its way when it answers. Then its marks count for its own jobs alone: others went on without them.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SendError, SyncSender, sync_channel};
use std::time::Duration;

use super::claim_folders::known_claim_folders;
use super::file_systems::{self, WatchedTogether};
use super::shared::Shared;
use super::threads::Threads;
use super::trouble::Trouble;
use super::{recover, restored, watching};
use crate::durable_fs::{self, Mounts};
use crate::model::job::Job;
use crate::model::os_text::OsText;
use crate::model::rule::Rule;
use crate::store::Mark;

/// Between looks at those that did not answer yet.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What an engine is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Watch the rules' folders and take up every unfinished job.
    Serve,
    /// Take up every unfinished job, and the files that are handed to [`super::Act::Ingest`]; watch nothing.
    TakeUp,
    /// Only the files that are handed to [`super::Act::Ingest`].
    Ingest,
    /// The same as a dry run: its store and outputs are its own, and it looks at no claim folder.
    Rehearse,
}

impl Purpose {
    /// Whether what an earlier run left goes on.
    pub(super) fn takes_up(self) -> bool {
        matches!(self, Self::Serve | Self::TakeUp)
    }
}

/// What the start finds on one file system.
#[derive(Debug, Default)]
struct Part {
    rules: Vec<Arc<Rule>>,
    /// Below which its files lie.
    folders: Vec<PathBuf>,
    /// Unfinished jobs whose sources lie there.
    jobs: Vec<Job>,
}

/// What the thread of a file system is to do next.
#[derive(Clone, Copy)]
enum Order {
    /// A backup was restored.
    Doubt,
    GoOn {
        /// Its jobs are in doubt already, as far as they have to be.
        is_doubted: bool,
    },
}

/// What one has done, by its number. The first is the count of a mark there which the store is behind.
type Report = (usize, Result<Option<u64>, Trouble>);

/// Gets all file systems through the start, or leaves those that hang to their threads.
pub(super) fn open(shared: &Arc<Shared>, threads: &Threads, purpose: Purpose) -> Result<(), Trouble> {
    if purpose == Purpose::Rehearse {
        return Ok(());
    }
    let own = shared.store.mark()?;
    let rules = shared.rules.now().iter().cloned().collect();
    let mounts = Mounts::now();
    let unfinished = shared.store.unfinished_jobs()?;
    for job in &unfinished {
        shared.claims.taken.enter(job);
    }
    let parts = parts(rules, unfinished, &mounts);
    let mut start = Start::begin(shared, threads, purpose, parts, own.as_ref(), &mounts)?;
    let behind = start.reports(shared)?.into_iter().flatten().max();
    if behind.is_some() {
        if purpose == Purpose::Ingest {
            return Err(restored::must_be_started_first());
        }
        start.doubt(shared)?;
    }
    shared.claims.folders.set_mark(shared.store.count_start(behind.unwrap_or(0))?);
    if purpose.takes_up() {
        recover::begin(shared)?;
    }
    if purpose == Purpose::Serve {
        watching::begin(shared, threads);
    }
    start.tell_late(shared, &BTreeSet::new());
    let told = start.late.clone();
    start.order(Order::GoOn { is_doubted: behind.is_some() });
    start.reports(shared)?;
    start.tell_late(shared, &told); // one may answer what is read, and hang where a mark is written
    Ok(())
}

/// The file systems of these rules, and of these jobs, which may be of other rules.
fn parts(rules: Vec<Arc<Rule>>, jobs: Vec<Job>, mounts: &Mounts) -> Vec<Part> {
    let watched = file_systems::watched_together(rules, mounts).into_iter();
    let part = |WatchedTogether { rules, folders }| Part { rules, folders, jobs: Vec::new() };
    let mut parts: Vec<_> = watched.map(part).collect();
    let mut known: HashMap<PathBuf, usize> = HashMap::new();
    for job in jobs {
        let folder = durable_fs::parent_of(job.source.lies_at.as_ref().unwrap_or(&job.source.path).as_path());
        let number = known.get(folder).copied().unwrap_or_else(|| {
            let own = [folder.to_owned()];
            let met = parts.iter().position(|part| file_systems::meet(&part.folders, &own, mounts));
            let number = met.unwrap_or(parts.len());
            if met.is_none() {
                parts.push(Part { folders: own.to_vec(), ..Part::default() });
            }
            known.insert(folder.to_owned(), number);
            number
        });
        if let Some(part) = parts.get_mut(number) {
            part.jobs.push(job);
        }
    }
    parts
}

/// As the start sees its file systems.
struct Start {
    parts: Vec<Arc<Part>>,
    orders: Vec<SyncSender<Order>>,
    reports: Receiver<Report>,
    /// Those that hang.
    late: BTreeSet<usize>,
}

impl Start {
    /// Each looks at its claim folders.
    fn begin(
        shared: &Arc<Shared>,
        threads: &Threads,
        purpose: Purpose,
        parts: Vec<Part>,
        own: Option<&Mark>,
        mounts: &Mounts,
    ) -> Result<Self, Trouble> {
        let parts: Vec<_> = parts.into_iter().map(Arc::new).collect();
        let (report, reports) = sync_channel(3 * parts.len() + 1);
        for (number, part) in parts.iter().enumerate() {
            shared.claims.unopened.add(number, part.folders.clone(), mounts);
        }
        let mut orders = Vec::with_capacity(parts.len());
        for (number, part) in parts.iter().enumerate() {
            let (order, ordered) = sync_channel(2);
            let opener = Opener {
                number,
                part: Arc::clone(part),
                purpose,
                own: own.cloned(),
                orders: ordered,
                report: report.clone(),
            };
            threads.spawn(shared, &format!("start-{number}"), move |shared| opener.open(shared))?;
            orders.push(order);
        }
        Ok(Self { parts, orders, reports, late: BTreeSet::new() })
    }

    /// What each reports that does not hang.
    fn reports(&mut self, shared: &Shared) -> Result<Vec<Option<u64>>, Trouble> {
        let mut awaited: BTreeSet<_> =
            (0..self.parts.len()).filter(|number| !self.late.contains(number)).collect();
        let mut told = Vec::with_capacity(awaited.len());
        while !awaited.is_empty() {
            match self.reports.recv_timeout(LOOK_EVERY) {
                Ok((number, report)) if awaited.remove(&number) => told.push(report?),
                Ok((_, Err(trouble))) => tell_failed(shared, &trouble), // it was late
                Ok(_) => {}
                Err(_) => {
                    let hangs = |number: &usize| shared.claims.unopened.hangs(*number).is_some();
                    if awaited.iter().all(hangs) {
                        self.late.append(&mut awaited);
                    }
                }
            }
            if let Some(error) = shared.stop.fatal() {
                return Err(Trouble::from_error(error.clone())); // who met it reports no more
            }
        }
        Ok(told)
    }

    fn order(&self, order: Order) {
        for (number, to) in self.orders.iter().enumerate() {
            // What is in doubt of one that hangs is decided without it.
            if matches!(order, Order::GoOn { .. }) || !self.late.contains(&number) {
                to.try_send(order).ok(); // there is a place for each
            }
        }
    }

    /// Durable before the start is counted: else a crash would leave jobs that nobody holds in doubt.
    fn doubt(&mut self, shared: &Shared) -> Result<(), Trouble> {
        restored::tell(shared);
        self.order(Order::Doubt);
        self.reports(shared)?;
        let late = self.late.iter().filter_map(|number| self.parts.get(*number));
        late.flat_map(|part| &part.jobs).try_for_each(|job| restored::doubt_unseen(shared, job))
    }

    fn tell_late(&self, shared: &Shared, told: &BTreeSet<usize>) {
        for number in self.late.difference(told) {
            let (Some(part), Some(detail)) = (self.parts.get(*number), shared.claims.unopened.hangs(*number))
            else {
                continue;
            };
            let jobs = part.jobs.len();
            let hint = "bring it back, or unmount it; everything goes on by itself";
            tracing::warn!(
                jobs,
                hint,
                "{detail}: its jobs wait, nothing on it is watched, and whether a backup was restored is not seen by its marks"
            );
            part.jobs.iter().for_each(|job| recover::wait_for_mount(shared, job.id, &detail));
        }
    }
}

/// Who gets one file system through the start.
struct Opener {
    number: usize,
    part: Arc<Part>,
    purpose: Purpose,
    /// The store's mark before this start.
    own: Option<Mark>,
    orders: Receiver<Order>,
    report: SyncSender<Report>,
}

impl Opener {
    fn open(self, shared: &Arc<Shared>) {
        shared.claims.unopened.enter(self.number);
        let known = known_claim_folders(&self.part.rules);
        let later = self.later_start(&known); // before a mark of this start is left, if the others have gone on
        let held = match self.purpose {
            Purpose::Serve | Purpose::TakeUp => shared.claims.folders.hold_known(&known),
            Purpose::Ingest | Purpose::Rehearse => Ok(Vec::new()),
        };
        let mut ours = Vec::new();
        self.report(
            shared,
            held.map(|held| {
                ours = held;
                later
            }),
        );
        loop {
            durable_fs::leave_place(); // who waits for the others does not hang
            match self.orders.recv() {
                Ok(Order::Doubt) => {
                    let doubted = self.part.jobs.iter().try_for_each(|job| doubt(shared, job));
                    self.report(shared, doubted.map(|()| None));
                }
                Ok(Order::GoOn { is_doubted }) => {
                    self.report(shared, self.go_on(shared, &ours, later, is_doubted).map(|()| None));
                    return;
                }
                Err(_) => return, // the start failed
            }
        }
    }

    fn report(&self, shared: &Shared, done: Result<Option<u64>, Trouble>) {
        if let Err(SendError((_, Err(trouble)))) = self.report.send((self.number, done)) {
            tell_failed(shared, &trouble); // the start went on without this one
        }
    }

    /// A later mark than the store's own, in the claim folders that can be told before a file is there, or in those of jobs.
    fn later_start(&self, known: &[PathBuf]) -> Option<u64> {
        let claimed = self.part.jobs.iter().filter_map(|job| job.source.claimed.as_ref()?.as_path().parent());
        let folders = known.iter().map(PathBuf::as_path).chain(claimed).map(Path::to_owned).collect();
        restored::later_start(self.own.as_ref(), &folders)
    }

    /// `later`: a mark here that the store was behind.
    fn go_on(
        &self,
        shared: &Arc<Shared>,
        ours: &[PathBuf],
        later: Option<u64>,
        is_doubted: bool,
    ) -> Result<(), Trouble> {
        if self.purpose.takes_up() {
            if later.is_some() && !is_doubted {
                restored::tell(shared);
                for job in &self.part.jobs {
                    recover::with_free_job(shared, job.id, |job| restored::doubt(shared, &job));
                }
            }
            // It came after the start was counted: the next one must not find itself behind it again.
            let counted = shared.store.mark()?.map_or(0, |mark| mark.starts);
            if let Some(later) = later.filter(|later| *later > counted) {
                shared.claims.folders.set_mark(shared.store.count_start(later)?);
            }
            for folder in ours {
                // Leaves the mark.
                if let Err(trouble) = shared.claims.folders.hold(folder) {
                    let folder = OsText::from(folder.as_path());
                    tracing::warn!(%folder, error = %trouble.error, "this claim folder cannot be used yet");
                }
            }
            shared.claims.folders.let_go_idle(Duration::ZERO);
            for job in &self.part.jobs {
                recover::go_on(shared, job.id);
            }
        }
        shared.claims.unopened.opened(self.number);
        watching::watch_late(shared)
    }
}

/// Doubts a job that is as it was when the start began: where this hung meanwhile, others have doubted it, and an operator may have taken
/// it up again.
fn doubt(shared: &Shared, job: &Job) -> Result<(), Trouble> {
    if !shared.dispatch.take_up_within(job.id, Duration::ZERO) {
        return Ok(());
    }
    let row = shared.store.job(job.id).map_err(Trouble::from);
    let is_same = |row: &Job| row == job;
    let doubted = row.and_then(|row| row.filter(is_same).map_or(Ok(()), |row| restored::doubt(shared, &row)));
    shared.dispatch.put_down(job.id);
    doubted
}

fn tell_failed(shared: &Shared, trouble: &Trouble) {
    shared.stop_if_poisoned(trouble);
    let hint = trouble.error.hint.as_deref().unwrap_or_default();
    tracing::error!(
        error = trouble.error.message,
        hint,
        "a file system that did not answer at the start is not served as it should"
    );
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::engine::tests::{World, is_there};
    use crate::model::job_state::JobState;
    use crate::store::Mark;

    fn opened(world: &World, purpose: Purpose) -> Result<(), Trouble> {
        let threads = Threads::default();
        let opened = open(&world.shared, &threads, purpose);
        world.shared.ask_to_stop();
        world.shared.claims.watches.all().iter().for_each(|watch| watch.ask_to_stop());
        opened
    }

    /// Leaves a mark of a later start than the store knows in the world's claim folder.
    fn restore_backup(world: &World) {
        let own = world.shared.store.count_start(0).expect("counts");
        let later = Mark { starts: own.starts + 5, ..own };
        crate::engine::marks::leave_mark(&world.path("in/.landfall"), &later).expect("writes");
    }

    #[test]
    fn a_start_leaves_its_count_where_it_claims_and_gives_unfinished_jobs_on() {
        let world = World::new();
        let job = world.job(); // whose file was not renamed
        opened(&world, Purpose::Serve).expect("starts");
        let mark = world.shared.store.mark().expect("reads").expect("is counted");
        assert_eq!(mark.starts, 1);
        assert_eq!(crate::engine::marks::seen_mark(&world.path("in/.landfall")), Some(mark));
        assert!(world.row(&job).is_none() && is_there(&world.source()), "it is a candidate again");
        assert!(world.shared.claims.unopened.waiting().is_empty());
    }

    #[test]
    fn jobs_of_a_restored_backup_are_in_doubt_before_the_start_is_counted_past_its_marks() {
        let world = World::new();
        let (job, mut paused) = (world.job(), world.second_job("b.txt"));
        world.rename();
        paused.pause(crate::clock::now(), "root").expect("is queued");
        world.shared.save(&paused).expect("writes");
        let claimed = paused.source_path().as_path();
        durable_fs::rename_no_replace(paused.source.path.as_path(), claimed).expect("renames");
        restore_backup(&world);
        opened(&world, Purpose::Serve).expect("starts");
        for job in [&job, &paused] {
            assert_eq!(world.row(job).expect("is there").state, JobState::Failed);
        }
        assert_eq!(world.shared.store.mark().expect("reads").expect("is counted").starts, 7);
    }

    #[test]
    fn a_restored_backup_is_no_store_to_ingest_into() {
        let world = World::new();
        restore_backup(&world);
        opened(&world, Purpose::Ingest).expect_err("the service must say what is in doubt");
        assert_eq!(
            world.shared.store.mark().expect("reads").expect("is there").starts,
            1,
            "nothing is counted"
        );
    }

    /// Goal: one that hangs holds up no other, and goes its way when it answers.
    #[test]
    fn the_start_waits_for_no_file_system_that_hangs() {
        let world = World::new();
        let job = world.job();
        world.rename();
        let part = |folder: &str, jobs: Vec<Job>| Part {
            folders: vec![world.path(folder)],
            jobs,
            ..Part::default()
        };
        let parts = vec![part("in", Vec::new()), part("away", vec![job.clone()])];
        let (report, reports) = sync_channel(4);
        let orders = Vec::new();
        let mut start = Start {
            parts: parts.into_iter().map(Arc::new).collect(),
            orders,
            reports,
            late: BTreeSet::new(),
        };
        let unopened = &world.shared.claims.unopened;
        let (told, tell) = sync_channel::<()>(0);
        let mut tell = Some(tell);
        std::thread::scope(|scope| {
            for (number, hangs) in [(0, false), (1, true)] {
                unopened.add(number, vec![world.path("in")], &Mounts::now());
                let (report, tell) = (report.clone(), tell.take_if(|_| hangs));
                let away = world.path("away");
                scope.spawn(move || {
                    unopened.enter(number);
                    durable_fs::note_place(&away);
                    if let Some(tell) = tell {
                        tell.recv().expect("the test goes on");
                    }
                    report.send((number, Ok(Some(7)))).expect("is heard");
                });
            }
            assert_eq!(start.reports(&world.shared).expect("is told"), [Some(7)]);
            assert_eq!(start.late, BTreeSet::from([1]));
            start.tell_late(&world.shared, &BTreeSet::new());
            let waiting = world.row(&job).and_then(|row| row.waiting).expect("it waits");
            assert!(
                waiting.detail.contains("away") && waiting.detail.contains("does not answer"),
                "{waiting:?}"
            );
            told.send(()).expect("it hangs");
        });
    }

    #[test]
    fn jobs_go_on_with_the_file_system_of_their_source_whoever_watches_it() {
        let world = World::new();
        let (here, mut elsewhere) = (world.job(), world.second_job("b.txt"));
        elsewhere.source.path = PathBuf::from("/mnt/b/in/b.txt").into();
        let mounts = Mounts::at(&["/", "/mnt/b"]);
        let parts = parts(vec![world.rule()], vec![here.clone(), elsewhere.clone()], &mounts);
        let of: Vec<_> = parts.iter().map(|part| (part.rules.len(), part.jobs.as_slice())).collect();
        assert_eq!(of, [(1, &[here][..]), (0, &[elsewhere][..])]);
    }
}
