//! Limits that users set, in the simulated machine.

use proptest::prelude::*;

use super::tests::{Machine, RECORDS, SimulatedJob, id, limits};
use super::*;
use crate::model::pace::Paced;

const RULES: u8 = 4;
const GROUP: &str = "group";

#[derive(Clone, Debug)]
struct OfRule {
    limit: WorkLimit,
    is_in_group: bool,
}

fn any_limit() -> impl Strategy<Value = WorkLimit> {
    (prop::option::of(1..4_usize), prop::option::of(500..20_000_u64))
        .prop_map(|(workers_max, records_per_second)| WorkLimit { workers_max, records_per_second })
}

fn any_limits() -> impl Strategy<Value = (Vec<OfRule>, WorkLimit)> {
    let of_rule = (any_limit(), any::<bool>()).prop_map(|(limit, is_in_group)| OfRule { limit, is_in_group });
    (prop::collection::vec(of_rule, usize::from(RULES)), any_limit())
}

fn known(rules: &[OfRule], group: WorkLimit) -> WorkLimits {
    let mut known = WorkLimits::default();
    for (number, of) in rules.iter().enumerate() {
        let throttle = of.is_in_group.then(|| GROUP.to_owned());
        let of_rule = RuleLimits { own: of.limit, throttle, ..RuleLimits::default() };
        known.rules.insert(Arc::from(format!("rule {number}")), of_rule);
    }
    known.throttles.insert(GROUP.to_owned(), group);
    known
}

/// Jobs that end.
fn any_job() -> impl Strategy<Value = SimulatedJob> {
    let millis = |ms: u64| Some(Duration::from_millis(ms));
    (0..RULES, 0..3_u8, 1..5_u64, 1..6_u8, 1..90_u64).prop_map(move |(rule, sender, reads, slices, works)| {
        let job = SimulatedJob::small(rule);
        SimulatedJob { sender, reads: millis(reads), slices, works: millis(works), ..job }
    })
}

/// The most records that were taken beyond what this rate allows, in any stretch of time.
fn beyond(taken: &[Instant], per_second: u64) -> f64 {
    let mut most = f64::MIN;
    for (first, begun) in taken.iter().enumerate() {
        for (last, ended) in taken.iter().enumerate().skip(first) {
            let records = (last - first + 1) as f64 * RECORDS as f64;
            let allowed = per_second as f64 * ended.duration_since(*begun).as_secs_f64();
            most = most.max(records - allowed);
        }
    }
    most
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the jobs and the limits: at no moment more workers than a rule or its group may have, in no stretch of time more records than
    /// its rate allows, a slice and a tenth of a second's records aside; and all jobs come to their end.
    #[test]
    fn limits_of_workers_and_records_are_kept_and_all_jobs_end(
        jobs in prop::collection::vec(any_job(), 1..30), (rules, group) in any_limits(), workers in 1..5_usize
    ) {
        let mut machine = Machine::new(super::tests::limits(workers));
        machine.schedule.know_limits(known(&rules, group), machine.now);
        machine.hear();
        let all = jobs.len();
        for job in jobs {
            machine.add(job);
        }
        let of_rule = |machine: &Machine, rule: u8| machine.at_work(|job| job.rule == rule);
        let begun = machine.now;
        while machine.done.len() < all && machine.now - begun < Duration::from_mins(2) {
            machine.run(Machine::STEP, |_| false);
            for (rule, of) in (0..).zip(&rules) {
                let at_work = of_rule(&machine, rule);
                prop_assert!(of.limit.workers_max.is_none_or(|max| at_work <= max), "rule {rule}: {at_work}");
            }
            let in_group = machine.at_work(|job| rules[usize::from(job.rule)].is_in_group);
            prop_assert!(group.workers_max.is_none_or(|max| in_group <= max), "group: {in_group}");
        }
        prop_assert_eq!(machine.done.len(), all, "nothing waits for ever");
        let times = |is_it: &dyn Fn(u8) -> bool| {
            let taken = machine.taken.iter().filter(|(_, rule)| is_it(*rule));
            taken.map(|(at, _)| *at).collect::<Vec<_>>()
        };
        let is_kept = |taken: Vec<Instant>, limit: WorkLimit| {
            let per_second = limit.records_per_second?;
            let most = RECORDS as f64 + per_second as f64 * 0.1 + 1.0;
            let beyond = beyond(&taken, per_second);
            (beyond > most).then(|| format!("{beyond} records beyond {per_second} a second"))
        };
        for (rule, of) in (0..).zip(&rules) {
            prop_assert_eq!(is_kept(times(&|taken| taken == rule), of.limit), None);
        }
        let of_group = |taken: u8| rules[usize::from(taken)].is_in_group;
        prop_assert_eq!(is_kept(times(&of_group), group), None);
        prop_assert!(machine.schedule.throttles.keeps_nothing(), "nothing is kept of jobs that ended");
    }

    /// Whatever was set before, and whenever it is lifted: nobody has to be woken by anything else to go on.
    #[test]
    fn a_limit_that_is_lifted_counts_no_more_at_once(
        jobs in prop::collection::vec(any_job(), 1..20), (rules, group) in any_limits(), workers in 1..4_usize, at in 0..300_u64,
    ) {
        let mut machine = Machine::new(limits(workers));
        let slow = |of: &WorkLimit| WorkLimit { records_per_second: of.records_per_second.map(|_| 1), ..*of };
        let slowed: Vec<_> = rules.iter().map(|of| OfRule { limit: slow(&of.limit), ..of.clone() }).collect();
        machine.schedule.know_limits(known(&slowed, slow(&group)), machine.now);
        let all = jobs.len();
        let work: Duration = jobs.iter().map(|job| (job.works.unwrap_or_default()) * u32::from(job.slices)).sum();
        for job in jobs {
            machine.add(job);
        }
        machine.run(Duration::from_millis(at), |_| false);
        machine.schedule.know_limits(known(&[], WorkLimit::default()), machine.now);
        machine.hear();
        machine.run(work + Duration::from_secs(1), |machine| machine.done.len() == all);
        prop_assert_eq!(machine.done.len(), all);
    }
}

#[test]
fn a_rule_whose_slices_are_slow_leaves_a_worker_to_others_and_one_that_waits_for_programs_always_does() {
    for waits_for_programs in [false, true] {
        for others in [false, true] {
            let mut machine = Machine::new(limits(3));
            let mut known = WorkLimits::default();
            let of = RuleLimits { yields: true, waits_for_programs, ..RuleLimits::default() };
            known.rules.insert(Arc::from("rule 1"), of.clone());
            if others {
                known.rules.insert(Arc::from("rule 2"), of);
            }
            machine.schedule.know_limits(known, machine.now);
            for sender in 0..6 {
                let works = Some(Duration::from_millis(200));
                machine.add(SimulatedJob { sender, slices: 4, works, ..SimulatedJob::small(1) });
            }
            machine.run(Duration::from_millis(30), |_| false);
            let at_first = if waits_for_programs && others { 2 } else { 3 };
            assert_eq!(machine.at_work(|_| true), at_first, "{waits_for_programs} {others}");
            machine.run(Duration::from_millis(250), |_| false);
            assert_eq!(
                machine.at_work(|_| true),
                if others { 2 } else { 3 },
                "{waits_for_programs} {others}"
            );
            if others {
                let held_back = (0..6).filter_map(|job| machine.schedule.held_back(id(job), machine.now));
                assert!(held_back.into_iter().any(|of| of == HeldBack::Yields { workers_max: 2 }));
                let small = machine.add(SimulatedJob::small(2));
                let taken = machine.run(Duration::from_secs(1), |machine| machine.done.contains(&small));
                assert!(taken < Duration::from_millis(20), "at once: {taken:?}");
            }
        }
    }
}

#[test]
fn a_job_has_no_more_workers_than_it_may_and_says_so() {
    let mut machine = Machine::new(limits(3));
    machine.schedule.know_limits(known(&[], WorkLimit::default()), machine.now);
    let works = Some(Duration::from_millis(40));
    let job = machine.add(SimulatedJob { slices: 9, works, ..SimulatedJob::small(1) });
    machine.schedule.limit_job(job, Some(1), machine.now);
    machine.run(Duration::from_millis(30), |_| false);
    assert_eq!(machine.at_work(|_| true), 1);
    assert_eq!(machine.schedule.held_back(job, machine.now), Some(HeldBack::Job { workers_max: 1 }));
    machine.schedule.limit_job(job, Some(2), machine.now);
    machine.hear();
    machine.run(Duration::from_millis(5), |_| false);
    assert_eq!(machine.at_work(|_| true), 2, "at once");
    machine.run(Duration::from_secs(1), |machine| machine.done.contains(&job));
    assert!(machine.done.contains(&job) && machine.schedule.throttles.keeps_nothing());
}

/// Goal: a reload while a step hangs gives a group no more workers than it may have.
#[test]
fn whoever_is_at_work_counts_in_the_group_that_its_rule_names_now() {
    let one = WorkLimit { workers_max: Some(1), records_per_second: None };
    let grouped = |is_in_group| OfRule { limit: WorkLimit::default(), is_in_group };
    let mut machine = Machine::new(limits(4));
    machine.schedule.know_limits(known(&[grouped(false), grouped(false)], one), machine.now);
    let works = Some(Duration::from_millis(400));
    let hangs = machine.add(SimulatedJob { works, ..SimulatedJob::small(0) });
    machine.run(Duration::from_millis(30), |_| false);
    machine.schedule.know_limits(known(&[grouped(true), grouped(true)], one), machine.now);
    machine.hear();
    let other = machine.add(SimulatedJob::small(1));
    machine.run(Duration::from_millis(200), |_| false);
    assert_eq!((machine.at_work(|_| true), machine.done.len()), (1, 0), "the group has its worker");
    machine.schedule.know_limits(known(&[grouped(false), grouped(true)], one), machine.now);
    machine.hear();
    machine.run(Duration::from_millis(30), |machine| machine.done.contains(&other));
    assert!(machine.done.contains(&other) && !machine.done.contains(&hangs), "it is in no group any more");
    machine.run(Duration::from_secs(1), |machine| machine.done.len() == 2);
    assert!(machine.schedule.throttles.keeps_nothing());
}

#[test]
fn what_was_taken_is_paid_at_the_rate_that_counts_now() {
    let mut schedule = Schedule::new(limits(1));
    let now = Instant::now();
    let rate = |per_second| OfRule {
        limit: WorkLimit { workers_max: None, records_per_second: Some(per_second) },
        is_in_group: false,
    };
    schedule.know_limits(known(&[rate(10)], WorkLimit::default()), now);
    schedule.begin_run(id(1), &super::tests::owner(0, 1));
    let (_, permit) = schedule.next_work(|_| true, now).expect("there are slices");
    schedule.count_records(permit, RECORDS, now);
    schedule.end_work(permit, now);
    let until = |schedule: &Schedule| match schedule.held_back(id(1), now) {
        Some(HeldBack::Rate { by: Paced::Rule(_), until: Some(until), .. }) => until.duration_since(now),
        other => panic!("{other:?}"),
    };
    assert_eq!(until(&schedule), Duration::from_secs(10));
    schedule.know_limits(known(&[rate(1000)], WorkLimit::default()), now);
    assert_eq!(until(&schedule), Duration::from_millis(100));
    assert_eq!(schedule.next_work(|_| true, now), None);
    assert_eq!(schedule.next_tick(), Some(now + Duration::from_millis(100)), "it is looked at again then");
}
