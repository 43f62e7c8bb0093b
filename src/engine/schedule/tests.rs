//! The scheduler alone: no threads, and a clock that the test moves.

use proptest::prelude::*;

use super::lanes::Sender;
use super::*;

pub(super) const TURN: Duration = Duration::from_millis(20);
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

pub(super) fn limits(workers: usize) -> Limits {
    Limits {
        workers,
        readers: workers.max(2),
        runs: 16,
        settled: 64,
        finishers: 2,
        batch: 8,
        sharing: Sharing::default(),
        turn: TURN,
        patience: PATIENCE,
    }
}

pub(super) fn owner(rule: u8, sender: u8) -> Owner {
    Owner {
        rule: Arc::from(format!("rule {rule}")),
        sender: Sender(u64::from(sender)),
        priority: Priority::default(),
    }
}

pub(super) fn id(number: usize) -> JobId {
    JobId::from_parts(number as u64, 0)
}

/// What is at work in a simulated machine. A thread looks for a task when it is called and when it has done one, as those of the engine do: what
/// nobody is called for stands still. Time passes in steps.
pub(super) struct Machine {
    pub schedule: Schedule,
    pub now: Instant,
    jobs: Vec<SimulatedJob>,
    readers: HashMap<JobId, Option<Permit>>,
    working: Vec<(JobId, Permit, Duration)>,
    /// The large ones of a batch come after its others, and its permit is given back with them.
    finishing: Vec<(Vec<JobId>, Option<Permit>, Duration)>,
    progress: HashMap<JobId, Progress>,
    /// Threads on their way to a task.
    coming: Coming,
    pub done: Vec<JobId>,
    /// When a slice of which rule was taken.
    pub taken: Vec<(Instant, u8)>,
}

/// Who takes so long to publish is not published with those that do not.
const LARGE: Duration = Duration::from_millis(100);

/// The rule of a small file that comes beside others.
const SMALL: u8 = 100;

/// Each slice has so many.
pub(super) const RECORDS: u64 = 100;

#[derive(Default)]
struct Coming {
    loaders: usize,
    workers: usize,
    finishers: usize,
}

#[derive(Clone, Debug)]
pub(super) struct SimulatedJob {
    pub rule: u8,
    pub sender: u8,
    /// How long reading, a slice, and publishing take; `None`: for ever.
    pub reads: Option<Duration>,
    pub slices: u8,
    pub works: Option<Duration>,
    pub finishes: Option<Duration>,
    pub priority: Priority,
}

impl SimulatedJob {
    pub(super) fn small(rule: u8) -> Self {
        let millisecond = Some(Duration::from_millis(1));
        let priority = Priority::default();
        Self {
            rule,
            sender: 0,
            reads: millisecond,
            slices: 1,
            works: millisecond,
            finishes: millisecond,
            priority,
        }
    }

    fn owner(&self) -> Owner {
        Owner { priority: self.priority, ..owner(self.rule, self.sender) }
    }
}

struct Progress {
    read: Duration,
    slices: u8,
}

impl Machine {
    pub(super) const STEP: Duration = Duration::from_millis(1);

    pub(super) fn new(limits: Limits) -> Self {
        Self {
            schedule: Schedule::new(limits),
            now: Instant::now(),
            jobs: Vec::new(),
            readers: HashMap::new(),
            working: Vec::new(),
            finishing: Vec::new(),
            progress: HashMap::new(),
            coming: Coming::default(),
            done: Vec::new(),
            taken: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, job: SimulatedJob) -> JobId {
        let id = id(self.jobs.len());
        self.schedule.queue(Stage::Load, &job.owner(), id, self.now);
        self.hear();
        self.jobs.push(job);
        id
    }

    /// Who is called comes.
    pub(super) fn hear(&mut self) {
        for call in self.schedule.take_calls() {
            match call {
                Call::Crew(Crew::Loaders) => self.coming.loaders += 1,
                Call::Crew(Crew::Workers) => self.coming.workers += 1,
                Call::Crew(Crew::Finishers) => self.coming.finishers += 1,
                Call::Crew(Crew::Checkpointers) | Call::Reader(_) => {}
            }
        }
    }

    /// Slices of such jobs that are at work.
    pub(super) fn at_work(&self, is_it: impl Fn(&SimulatedJob) -> bool) -> usize {
        self.working.iter().filter(|(id, ..)| is_it(self.job(*id))).count()
    }

    fn job(&self, wanted: JobId) -> &SimulatedJob {
        let number = (0..self.jobs.len()).find(|number| id(*number) == wanted).expect("one of ours");
        &self.jobs[number]
    }

    /// Runs until `is_done`, at most so long.
    pub(super) fn run(&mut self, at_most: Duration, is_done: impl Fn(&Self) -> bool) -> Duration {
        let begun = self.now;
        while !is_done(self) && self.now - begun < at_most {
            self.step();
            self.check();
            self.now += Self::STEP;
        }
        self.now - begun
    }

    fn step(&mut self) {
        let now = self.now;
        if self.schedule.next_tick().is_some_and(|at| at <= now) {
            self.schedule.tick(now);
            self.hear();
        }
        while self.coming.loaders > 0 {
            self.coming.loaders -= 1;
            let Some((id, permit)) = self.schedule.next_load(None, now) else { continue };
            self.hear();
            assert!(self.schedule.take_up(id, Some(Stage::Load)), "nobody else has it");
            let owner = self.job(id).owner();
            self.schedule.begin_run(id, &owner);
            self.readers.insert(id, Some(permit));
            self.progress.insert(id, Progress { read: Duration::ZERO, slices: self.job(id).slices });
        }
        for id in self.readers.keys().copied().collect::<Vec<_>>() {
            self.read(id);
        }
        self.work();
        self.finish();
    }

    fn read(&mut self, id: JobId) {
        let Some(needs) = self.job(id).reads else { return }; // it hangs
        if self.schedule.is_in_line(id) {
            return;
        }
        let of = self.progress.get_mut(&id).expect("it runs");
        of.read += Self::STEP;
        if of.read >= needs {
            let permit = self.schedule.end_reading(id).expect("it had a place");
            self.schedule.reading.give(permit);
            self.coming.loaders += 1; // who read it
            self.readers.remove(&id);
            self.schedule.slices(self.now);
        } else if self.schedule.is_reading_wanted() && of.read.as_millis().is_multiple_of(TURN.as_millis()) {
            self.schedule.pause_reading(id, false, self.now);
        }
        self.hear();
    }

    fn work(&mut self) {
        self.working.iter_mut().for_each(|(.., left)| *left = left.saturating_sub(Self::STEP));
        while let Some(position) = self.working.iter().position(|(.., left)| left.is_zero()) {
            let (id, permit, _) = self.working.remove(position);
            self.schedule.end_work(permit, self.now);
            self.coming.workers += 1;
            let is_at_work = self.working.iter().any(|(other, ..)| *other == id);
            if !is_at_work && self.progress.get(&id).is_some_and(|progress| progress.slices == 0) {
                self.schedule.settle(id, self.now);
                self.hear();
            }
        }
        while self.coming.workers > 0 {
            self.coming.workers -= 1;
            let (readers, progress) = (&self.readers, &self.progress);
            // Slices are there once it is read, to keep it simple.
            let has_slices = |id: JobId| {
                !readers.contains_key(&id) && progress.get(&id).is_some_and(|progress| progress.slices > 0)
            };
            let Some((id, permit)) = self.schedule.next_work(has_slices, self.now) else { continue };
            self.hear();
            self.schedule.count_records(permit, RECORDS, self.now);
            self.hear();
            self.taken.push((self.now, self.job(id).rule));
            self.progress.get_mut(&id).expect("it runs").slices -= 1;
            let time = self.job(id).works.unwrap_or(Duration::MAX);
            self.working.push((id, permit, time));
        }
    }

    fn finish(&mut self) {
        let mut still = Vec::new();
        for (ids, permit, left) in std::mem::take(&mut self.finishing) {
            if left > Self::STEP {
                still.push((ids, permit, left.saturating_sub(Self::STEP)));
                continue;
            }
            for id in ids {
                self.schedule.put_down(id, self.now);
                self.done.push(id);
            }
            if let Some(permit) = permit {
                self.schedule.end_batch(Stage::Finish, permit, self.now);
                self.hear();
                self.coming.finishers += 1;
            }
        }
        self.finishing = still;
        while self.coming.finishers > 0 {
            self.coming.finishers -= 1;
            let Some((ids, permit)) = self.schedule.next_batch(Stage::Finish, self.now) else { continue };
            self.hear();
            let groups = ids.iter().map(|id| self.schedule.group_of(&self.job(*id).owner()));
            assert_eq!(groups.collect::<HashSet<_>>().len(), 1, "file systems do not mix");
            for id in &ids {
                self.schedule.take_settled(*id, self.now);
                self.hear();
                self.progress.remove(id);
            }
            let is_quick = |id: &JobId| self.job(*id).finishes.is_some_and(|time| time < LARGE);
            let (quick, large): (Vec<_>, Vec<_>) = ids.into_iter().partition(is_quick);
            let time_of = |ids: &[JobId]| {
                let times = ids.iter().map(|id| self.job(*id).finishes);
                times.collect::<Option<Vec<_>>>().map_or(Duration::MAX, |times| times.iter().sum())
            };
            let (of_quick, of_large) = (time_of(&quick), time_of(&large));
            let ends = [(quick, of_quick), (large, of_quick.saturating_add(of_large))];
            let mut ends: Vec<_> = ends.into_iter().filter(|(ids, _)| !ids.is_empty()).collect();
            let last = ends.pop().map(|(ids, time)| (ids, Some(permit), time));
            self.finishing.extend(ends.into_iter().map(|(ids, time)| (ids, None, time)).chain(last));
        }
    }

    /// What holds at any time.
    fn check(&self) {
        let schedule = &self.schedule;
        let limits = &schedule.limits;
        assert!(schedule.reading.counted() <= limits.readers);
        assert!(schedule.working.counted() <= limits.workers);
        assert!(schedule.finishing.permits.counted() <= limits.finishers);
        let rules: HashSet<_> = self.jobs.iter().map(|job| job.rule).collect();
        for rule in &rules {
            let of_rule = |id: &JobId| self.job(*id).rule == *rule;
            let at_work = self.working.iter().filter(|(id, ..)| of_rule(id)).count();
            assert!(at_work <= 2 * limits.workers, "{at_work} slices of one rule");
            let of_large = self.finishing.iter().filter(|(.., permit, _)| permit.is_some());
            let batches = of_large.filter(|(ids, ..)| ids.iter().any(of_rule)).count();
            assert!(batches <= limits.finishers + 1, "{batches} batches of one rule");
        }
        let levels: HashSet<_> = self.jobs.iter().map(|job| job.priority).collect();
        let runs_max = (limits.runs + rules.len()) * levels.len();
        assert!(schedule.runs.held() <= runs_max, "{} runs", schedule.runs.held());
    }
}

fn times() -> impl Strategy<Value = Option<Duration>> {
    prop_oneof![
        3 => (1..30_u64).prop_map(|ms| Some(Duration::from_millis(ms))),
        1 => (100..400_u64).prop_map(|ms| Some(Duration::from_millis(ms))),
        1 => Just(None),
    ]
}

fn any_job() -> impl Strategy<Value = SimulatedJob> {
    (0..5_u8, 0..3_u8, times(), 1..4_u8, times(), times()).prop_map(
        |(rule, sender, reads, slices, works, finishes)| SimulatedJob {
            rule,
            sender,
            reads,
            slices,
            works,
            finishes,
            priority: Priority::default(),
        },
    )
}

fn any_priority() -> impl Strategy<Value = Priority> {
    prop_oneof![Just(1), Just(50), Just(90)].prop_map(|number| Priority::new(number).expect("one"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the jobs of other rules do, however many they are: a small file of another rule is published soon.
    #[test]
    fn no_rule_waits_for_another(
        others in proptest::collection::vec(any_job(), 0..80),
        workers in 1..4_usize,
        disks in 1..6_u8,
    ) {
        let mut machine = Machine::new(limits(workers));
        let disk = |rule: u8| Arc::from(format!("disk {}", rule % disks));
        let rules = (0..5).chain([SMALL]).map(|rule| (owner(rule, 0).rule, disk(rule)));
        machine.schedule.know_groups(rules.collect());
        for mut job in others {
            // A disk that hangs is all that hangs for those that are on it.
            if job.finishes.is_none() && disk(job.rule) == disk(SMALL) {
                job.finishes = Some(Duration::from_millis(400));
            }
            machine.add(job);
        }
        machine.run(Duration::from_millis(300), |_| false);
        let small = machine.add(SimulatedJob::small(SMALL));
        let taken = machine.run(Duration::from_secs(5), |machine| machine.done.contains(&small));
        prop_assert!(taken < Duration::from_secs(1), "{taken:?}");
    }

    /// Whichever jobs are paused while they wait, and whenever: none of them begins before it is resumed, all others come to their end
    /// meanwhile, and then they do. The simulation has no runs that are broken off: `engine::run_state` has.
    #[test]
    fn a_paused_job_gets_nobody_and_resume_loses_none(
        jobs in proptest::collection::vec((any_job(), any::<bool>(), 0..100_u64), 1..40), workers in 1..3_usize
    ) {
        let mut machine = Machine::new(limits(workers));
        let millisecond = |time: Option<Duration>| Some(time.unwrap_or(Machine::STEP).min(20 * Machine::STEP));
        let mut wanted = Vec::new();
        for (job, is_paused, at) in jobs {
            let [reads, works, finishes] = [job.reads, job.works, job.finishes].map(millisecond);
            let id = machine.add(SimulatedJob { reads, works, finishes, ..job });
            wanted.push((id, is_paused.then_some(at)));
        }
        let all = wanted.len();
        let mut paused = HashSet::new();
        for millisecond in 0..100_u64 {
            for (id, _) in wanted.iter().filter(|(_, at)| *at == Some(millisecond)) {
                let is_waiting = !machine.progress.contains_key(id) && !machine.done.contains(id);
                if is_waiting && machine.schedule.take_up(*id, None) {
                    machine.schedule.withdraw(*id, machine.now);
                    machine.schedule.put_down(*id, machine.now);
                    machine.hear();
                    paused.insert(*id);
                }
            }
            machine.run(Machine::STEP, |_| false);
        }
        machine.run(Duration::from_secs(20), |machine| machine.done.len() + paused.len() == all);
        prop_assert_eq!(machine.done.len() + paused.len(), all, "the others");
        prop_assert!(machine.progress.keys().chain(&machine.done).all(|id| !paused.contains(id)));
        for id in &paused {
            let owner = machine.job(*id).owner();
            machine.schedule.queue(Stage::Load, &owner, *id, machine.now);
            machine.hear();
        }
        machine.run(Duration::from_secs(20), |machine| machine.done.len() == all);
        prop_assert_eq!(machine.done.len(), all);
        prop_assert!(machine.schedule.jobs.is_empty() && machine.schedule.in_work.is_empty(), "nothing is kept of them");
    }

    /// The same where all of them hang, at the same: nothing that ends by itself lets a thread look again.
    #[test]
    fn no_rule_waits_for_others_that_all_hang(
        at in 0..3_u8, rules in 1..12_u8, files in 1..12_u8, workers in 1..4_usize
    ) {
        let mut machine = Machine::new(limits(workers));
        for file in 0..files {
            for rule in 0..rules {
                let mut job = SimulatedJob { sender: file % 3, ..SimulatedJob::small(rule) };
                *[&mut job.reads, &mut job.works, &mut job.finishes][usize::from(at)] = None;
                machine.add(job);
            }
        }
        let small = machine.add(SimulatedJob::small(100));
        let mut taken = machine.run(Duration::from_mins(1), |machine| machine.done.contains(&small));
        prop_assert!(taken < Duration::from_secs(2), "all at once: {taken:?}");
        let small = machine.add(SimulatedJob::small(101));
        taken = machine.run(Duration::from_mins(1), |machine| machine.done.contains(&small));
        prop_assert!(taken < Duration::from_secs(1), "once they hang: {taken:?}");
    }

    /// An urgent job goes before all that is no longer than it bears, of its own rule and sender, too.
    #[test]
    fn an_urgent_job_waits_for_no_other(others in proptest::collection::vec(any_job(), 0..80), workers in 1..4_usize) {
        let is_short = |time: Option<Duration>| time.is_some_and(|time| time < PATIENCE);
        let are_short = |job: &SimulatedJob| [job.works, job.finishes].into_iter().all(is_short) && job.reads.is_some();
        let mut machine = Machine::new(limits(workers));
        for job in others.into_iter().filter(are_short) {
            machine.add(job);
        }
        machine.run(Duration::from_millis(300), |_| false);
        let urgent = machine.add(SimulatedJob { priority: Priority::new(1).expect("one"), ..SimulatedJob::small(1) });
        let taken = machine.run(Duration::from_secs(5), |machine| machine.done.contains(&urgent));
        // A turn of reading, a slice, and a batch of 8.
        prop_assert!(taken < Duration::from_millis(20 + 30 + 8 * 30), "{taken:?}");
    }

    /// Jobs that end, do end, once each, and nothing is kept of them; whatever their priorities are, and become.
    #[test]
    fn every_job_ends_once(
        jobs in proptest::collection::vec((any_job(), any_priority(), any_priority()), 1..60), workers in 1..4_usize
    ) {
        let ends = |job: &SimulatedJob| job.reads.is_some() && job.works.is_some() && job.finishes.is_some();
        let mut machine = Machine::new(limits(workers));
        let count = jobs.iter().filter(|(job, ..)| ends(job)).count();
        let mut later = Vec::new();
        for (job, priority, then) in jobs.into_iter().filter(|(job, ..)| ends(job)) {
            later.push((machine.add(SimulatedJob { priority, ..job }), then));
        }
        machine.run(Duration::from_millis(40), |_| false);
        for (id, then) in later {
            machine.schedule.set_priority(id, then, machine.now);
            machine.hear();
            machine.step();
        }
        machine.run(Duration::from_mins(10), |machine| machine.done.len() == count);
        let once: HashSet<_> = machine.done.iter().collect();
        prop_assert_eq!((once.len(), machine.done.len()), (count, count));
        let schedule = &machine.schedule;
        prop_assert!(schedule.jobs.is_empty() && schedule.in_work.is_empty() && schedule.readers.is_empty());
        prop_assert!(schedule.line.is_empty() && schedule.queued.is_empty());
        prop_assert_eq!(schedule.reading.counted() + schedule.working.counted(), 0);
        prop_assert_eq!(schedule.runs.held() + schedule.settled.held(), 0);
    }
}

#[test]
fn a_sender_of_many_slow_files_does_not_hold_up_another_of_the_same_rule() {
    let mut machine = Machine::new(limits(2));
    let hangs = [
        SimulatedJob { reads: None, ..SimulatedJob::small(1) },
        SimulatedJob { works: None, ..SimulatedJob::small(1) },
    ];
    for job in hangs.iter().cycle().take(100) {
        machine.add(job.clone());
    }
    machine.run(Duration::from_millis(300), |_| false);
    let small = machine.add(SimulatedJob { sender: 2, ..SimulatedJob::small(1) });
    let taken = machine.run(Duration::from_secs(5), |machine| machine.done.contains(&small));
    assert!(taken < Duration::from_secs(1), "{taken:?}");
}

#[test]
fn who_reads_for_long_and_who_comes_anew_read_by_turns() {
    let mut machine = Machine::new(Limits { readers: 1, ..limits(1) });
    let long = SimulatedJob { reads: Some(Duration::from_millis(200)), ..SimulatedJob::small(1) };
    let long = machine.add(long);
    for _ in 0..400 {
        machine.add(SimulatedJob::small(2));
    }
    let taken = machine.run(Duration::from_mins(1), |machine| machine.done.contains(&long));
    assert!(taken < Duration::from_millis(500), "a flood of small files does not starve it: {taken:?}");
}

#[test]
fn jobs_come_when_their_time_comes_and_hastened_ones_at_once() {
    let mut schedule = Schedule::new(limits(2));
    let now = Instant::now();
    schedule.queue_at(Stage::Load, &owner(1, 1), id(1), now + TURN);
    schedule.queue_at(Stage::Load, &owner(1, 1), id(2), now + Duration::from_hours(1));
    assert_eq!(schedule.next_tick(), Some(now + TURN));
    assert_eq!(schedule.next_load(None, now), None);
    schedule.tick(now + TURN);
    assert_eq!(schedule.take_calls(), [Call::Crew(Crew::Loaders)]);
    assert_eq!(schedule.next_load(None, now).map(|(id, _)| id), Some(id(1)));
    schedule.hasten(&HashSet::from([id(2)]), now);
    assert_eq!(schedule.next_load(None, now).map(|(id, _)| id), Some(id(2)));
    assert_eq!(schedule.next_tick(), None);
}

#[test]
fn a_job_does_not_wait_twice_for_the_same_and_an_earlier_moment_wins() {
    let mut schedule = Schedule::new(limits(2));
    let now = Instant::now();
    let of = owner(1, 1);
    schedule.queue_at(Stage::Load, &of, id(1), now + TURN);
    schedule.queue(Stage::Load, &of, id(1), now);
    schedule.queue(Stage::Load, &of, id(1), now);
    schedule.queue_at(Stage::Load, &of, id(1), now + TURN);
    assert_eq!(schedule.next_tick(), None);
    assert!(schedule.next_load(None, now).is_some());
    assert_eq!(schedule.next_load(None, now), None);
}

#[test]
fn a_job_that_is_in_other_hands_is_given_on_when_it_is_put_down() {
    let mut schedule = Schedule::new(limits(2));
    let now = Instant::now();
    assert!(schedule.take_up(id(1), None));
    schedule.queue(Stage::Load, &owner(1, 1), id(1), now);
    assert_eq!(schedule.next_load(None, now), None);
    schedule.put_down(id(1), now);
    // The same where it is taken up while it is queued.
    assert!(schedule.take_up(id(1), None));
    assert!(schedule.next_load(None, now).is_some() && !schedule.take_up(id(1), Some(Stage::Load)));
    schedule.not_run(id(1), now);
    assert_eq!(schedule.next_load(None, now), None);
    schedule.put_down(id(1), now);
    assert_eq!(schedule.next_load(None, now).map(|(id, _)| id), Some(id(1)));
    assert!(schedule.take_up(id(1), Some(Stage::Load)));
    schedule.not_run(id(1), now);
    schedule.put_down(id(1), now);
    assert!(schedule.jobs.is_empty() && schedule.in_work.is_empty(), "nothing is kept of it");
}

#[test]
fn each_stage_that_was_turned_away_gets_the_job() {
    let mut schedule = Schedule::new(limits(2));
    let now = Instant::now();
    assert!(schedule.take_up(id(1), None));
    for stage in [Stage::Load, Stage::Finish] {
        schedule.queue(stage, &owner(1, 1), id(1), now);
    }
    assert_eq!(schedule.next_load(None, now), None);
    assert!(
        schedule.next_batch(Stage::Finish, now).is_some() && !schedule.take_up(id(1), Some(Stage::Finish))
    );
    schedule.put_down(id(1), now);
    assert_eq!(schedule.next_load(None, now).map(|(id, _)| id), Some(id(1)));
    assert!(schedule.next_batch(Stage::Finish, now).is_some());
}

#[test]
fn a_job_whose_row_cannot_be_read_is_tried_again() {
    let mut schedule = Schedule::new(limits(2));
    let now = Instant::now();
    schedule.queue(Stage::Load, &owner(1, 1), id(1), now);
    assert!(schedule.next_load(None, now).is_some() && schedule.take_up(id(1), Some(Stage::Load)));
    schedule.not_run(id(1), now);
    schedule.queue_known_at(Stage::Load, id(1), now + TURN);
    schedule.put_down(id(1), now);
    schedule.tick(now + TURN);
    assert_eq!(schedule.next_load(None, now + TURN).map(|(id, _)| id), Some(id(1)));
}

#[test]
fn pauses_grow_until_they_are_forgotten() {
    let mut schedule = Schedule::new(limits(1));
    let mut pause = || schedule.back_off(id(1), TURN, 3 * TURN);
    assert_eq!([pause(), pause(), pause()], [TURN, 2 * TURN, 3 * TURN]);
    schedule.forget_back_off(id(1));
    assert_eq!(schedule.back_off(id(1), TURN, TURN), TURN);
}
