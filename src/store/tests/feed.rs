//! Who listens hears each change of a job once, in order; who is slow is told so, and holds up nobody.

use std::collections::HashMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::model::fault::{FaultKind, JobError, WaitsFor};
use crate::model::job::Waiting;
use crate::model::job_state::JobState;
use crate::model::notice::{JobChange, Notice};

/// What was told so far.
fn told(subscription: &Subscription) -> Vec<Notice> {
    let next = || Some(subscription.next_within(Duration::ZERO));
    std::iter::from_fn(next).take_while(|notice| *notice != Notice::Quiet).collect()
}

fn listening(store: &Store) -> Subscription {
    let subscription = store.subscribe();
    assert_eq!(told(&subscription), [Notice::ReadAnew], "what was before is not told");
    subscription
}

fn changes(notices: Vec<Notice>) -> Vec<JobChange> {
    let change = |notice| match notice {
        Notice::Changed(change) => change,
        other => panic!("{other:?}"),
    };
    notices.into_iter().map(change).collect()
}

const STATES: [JobState; 4] =
    [JobState::Queued, JobState::Running, JobState::Publishing, JobState::Completed];

/// Those, and what is under way within one: its row has more than a word for it.
const STANDINGS: usize = STATES.len() + 6;

fn stand(job: &mut Job, standing: usize) {
    let error = || JobError { kind: FaultKind::Input, message: "it is torn".into(), hint: None };
    if let Some(state) = STATES.get(standing) {
        job.state = (*state).into();
        return;
    }
    let done = match standing - STATES.len() {
        0 => job.fail(error()),
        1 => job.give_back(),
        2 => job.abort(at(1), "root"),
        3 => job.suspect(Some(0)),
        4 => job.retrieve("/quarantine/pay.csv".into()),
        _ => {
            job.state = JobState::Running.into();
            job.suspect(Some(3))
        }
    };
    done.expect("a queued job may come to that");
}

/// One job of a batch: removed, or in a state, with a text of some length in its row, and waiting or not.
type Written = Option<(usize, usize, bool)>;

/// Of one job of three: most rows are short.
fn written() -> impl Strategy<Value = (u64, Written)> {
    let length = prop_oneof![9 => Just(0), 1 => Just(30_000)];
    (0u64..3, prop::option::of((0..STANDINGS, length, any::<bool>())))
}

fn job_as((standing, length, waits): (usize, usize, bool), number: u64) -> Job {
    let waiting =
        Waiting { behind: None, waits_for: WaitsFor::Disk, until: None, detail: "it is full".into() };
    let error = (0..length).fold(String::new(), |text, n: usize| text + &n.to_string());
    let mut job = job(number);
    stand(&mut job, standing);
    job.waiting = waits.then_some(waiting);
    job.note(at(number), &error);
    job
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Rows of any length, those in several values too; jobs that come and go; several jobs of one batch; a job twice in one.
    #[test]
    fn each_change_of_a_job_is_told_once_and_in_order(
        batches in prop::collection::vec(prop::collection::vec(written(), 1..4), 1..12)
    ) {
        let store = Store::in_memory();
        let subscription = listening(&store);
        let mut rows: HashMap<u64, Job> = HashMap::new();
        for batch in batches {
            let before = rows.clone();
            let mut asked = store.change();
            for (number, written) in &batch {
                if let Some(as_this) = written {
                    asked.job(&job_as(*as_this, *number));
                    rows.insert(*number, job_as(*as_this, *number));
                } else {
                    asked.unclaim(id(*number));
                    rows.remove(number);
                }
            }
            asked.apply().expect("applied");
            let mut numbers: Vec<u64> = batch.iter().map(|(number, _)| *number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            let told = changes(told(&subscription));
            let expected = |number: &u64| {
                let (before, now) = (before.get(number), rows.get(number));
                (before != now).then(|| JobChange {
                    job: id(*number),
                    rule: "payments".into(),
                    before: before.map(|job| job.state.get()),
                    state: now.map(|job| job.state.get()),
                    waits: now.is_some_and(|job| job.waiting.is_some()),
                })
            };
            prop_assert_eq!(told, numbers.iter().filter_map(expected).collect::<Vec<_>>());
        }
    }
}

#[test]
fn nothing_is_told_of_what_is_no_job_or_was_not_changed() {
    let store = Store::in_memory();
    store.change().job(&job(1)).apply().expect("applied");
    let subscription = listening(&store);
    store
        .change()
        .job(&job(1))
        .ledger(&ledger_row(1), false)
        .checkpoint(id(1), &checkpoint(1))
        .apply()
        .expect("applied");
    assert_eq!(told(&subscription), []);
}

/// Threads that write the same rows at once: what one was told last is what another found.
#[test]
fn changes_by_several_threads_are_told_in_the_order_in_which_the_rows_changed() {
    const ROUNDS: usize = 100;
    let folder = folder();
    let store = open(folder.path());
    let subscription = listening(&store);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = store.clone();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let (state, number) = ((thread + round) % STATES.len(), (round % 2) as u64);
                    // A moment of its own, so that each write is a change.
                    let row =
                        Job { bytes_read: (round * 4 + thread) as u64, ..job_as((state, 0, false), number) };
                    store.change().job(&row).apply().expect("applied");
                }
            });
        }
    });
    let told = changes(told(&subscription));
    assert_eq!(told.len(), 4 * ROUNDS);
    for number in [0, 1] {
        let of_job: Vec<_> = told.iter().filter(|change| change.job == id(number)).collect();
        assert_eq!(of_job.first().and_then(|change| change.before), None);
        assert!(of_job.windows(2).all(|pair| pair[1].before == pair[0].state), "{of_job:#?}");
        let now = store.job(id(number)).expect("reads").map(|job| job.state.get());
        assert_eq!(of_job.last().and_then(|change| change.state), now);
    }
}

/// One subscribes while rows change: what it reads then, and what it is told, is all there is.
#[test]
fn who_reads_after_subscribing_misses_nothing() {
    let store = Store::in_memory();
    for round in 0..50 {
        std::thread::scope(|scope| {
            let writer = store.clone();
            let writing = scope.spawn(move || {
                for state in 0..STATES.len() {
                    writer.change().job(&job_as((state, 0, false), round)).apply().expect("applied");
                }
            });
            let subscription = listening(&store);
            let mut state = store.job(id(round)).expect("reads").map(|job| job.state.get());
            writing.join().expect("no panic");
            for change in changes(told(&subscription)) {
                state = change.state;
            }
            assert_eq!(state, Some(JobState::Completed));
        });
    }
}

#[test]
fn who_is_slow_is_told_to_read_anew_and_takes_no_more_memory_for_it() {
    let store = Store::in_memory();
    let (slow, gone) = (listening(&store), listening(&store));
    drop(gone);
    for number in 0..5000 {
        store.change().job(&job(number)).apply().expect("applied");
    }
    let told = told(&slow);
    assert!(told.len() <= 1025, "{}", told.len());
    assert_eq!(told[0], Notice::ReadAnew);
    let told = changes(told[1..].to_vec());
    assert_eq!(told.last().map(|change| change.job), Some(id(4999)), "what came last is told");
    assert!(told.windows(2).all(|pair| pair[0].job < pair[1].job), "in order, without a gap: {told:#?}");
    store.change().job(&completed(1)).apply().expect("applied");
    assert!(
        matches!(slow.next_within(Duration::ZERO), Notice::Changed(change) if change.state == Some(JobState::Completed))
    );
}

#[test]
fn who_waits_is_woken_by_a_change() {
    let store = Store::in_memory();
    let subscription = listening(&store);
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| subscription.next_within(Duration::from_hours(1)));
        store.change().job(&job(1)).apply().expect("applied");
        assert!(matches!(waits.join().expect("no panic"), Notice::Changed(_)));
    });
}

#[test]
fn an_act_on_failed_records_is_told_of_the_job_whose_account_it_moves() {
    use crate::model::settling::{Numbers, Settled, Settlement};
    let store = Store::in_memory();
    store.change().job(&completed(1)).apply().expect("applied");
    let subscription = listening(&store);
    let how = Settled::Dropped { reason: "test data".into() };
    let act = Settlement { at: at(2), by: "root".into(), records: Numbers::upto(1), how };
    store.change().settlement(id(1), 0, &act).apply().expect("applied");
    let told_of =
        |notices| changes(notices).into_iter().map(|it| (it.job, it.before, it.state)).collect::<Vec<_>>();
    let state = Some(JobState::Completed);
    assert_eq!(told_of(told(&subscription)), [(id(1), state, state)]);
    assert_eq!(store.forget_finished(at(100), false).expect("forgot"), 1);
    assert_eq!(told_of(told(&subscription)), [(id(1), state, None)], "once");
}
