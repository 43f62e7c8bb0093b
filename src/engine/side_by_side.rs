//! Several words of an operator at once: a job that some stage keeps in hand holds up the words for no other job.
//!
//! Only what stops jobs is said side by side. What takes jobs again is said in order, because deliveries are judged in the order of their
//! claims.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::Builder;

use super::door::{Act, Answers, Door as _, Refusal};
use super::handle::Engine;
use crate::model::fault::{FaultKind, JobError};
use crate::model::job_id::JobId;

/// Threads for one request. Runs are bounded, and with them the jobs that can keep a word waiting.
const AT_ONCE_MAX: usize = 32;

type Done = Result<JobId, Refusal>;

/// Does all of it; the answers in its order, each once those before it are there.
pub(super) fn act_all<'a>(engine: &'a Engine, acts: Vec<Act>, by: &str) -> Answers<'a, Done> {
    let stops = |act: &Act| matches!(act, Act::Pause { .. } | Act::Abort { .. });
    // Without stages nobody has a job in hand, and nothing keeps two words from the same row.
    if engine.stages_to_be().is_ok_and(|stages| stages.is_some()) && acts.len() > 1 && acts.iter().all(stops)
    {
        return side_by_side(engine, acts, by);
    }
    let by = by.to_owned();
    Box::new(acts.into_iter().map(move |act| Ok(engine.act_for(&act, &by))))
}

fn side_by_side<'a>(engine: &Engine, acts: Vec<Act>, by: &str) -> Answers<'a, Done> {
    let (threads, count) = (acts.len().min(AT_ONCE_MAX), acts.len());
    let (tell, told) = sync_channel(threads);
    let line = Arc::new(Line { acts, next: AtomicUsize::new(0), by: by.to_owned() });
    for _ in 0..threads {
        let (engine, line, tell) = (engine.clone(), Arc::clone(&line), tell.clone());
        let spawned = Builder::new().name("order".into()).spawn(move || line.take_turns(&engine, &tell));
        if let Err(error) = spawned {
            tracing::debug!(%error, "fewer threads than wanted take an operator's words");
            break;
        }
    }
    drop(tell);
    Box::new(InOrder { told, early: BTreeMap::new(), next: 0, count })
}

/// What is to be done, and how far that is.
struct Line {
    acts: Vec<Act>,
    next: AtomicUsize,
    by: String,
}

impl Line {
    fn take_turns(&self, engine: &Engine, tell: &SyncSender<(usize, Done)>) {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(act) = self.acts.get(at) else { return };
            if tell.send((at, engine.act_for(act, &self.by))).is_err() {
                return; // who asked is gone
            }
        }
    }
}

/// Puts the answers into the order of what was asked.
struct InOrder {
    told: Receiver<(usize, Done)>,
    early: BTreeMap<usize, Done>,
    next: usize,
    count: usize,
}

impl Iterator for InOrder {
    type Item = Result<Done, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.next == self.count {
                return None;
            }
            if let Some(done) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(Ok(done));
            }
            let Ok((at, done)) = self.told.recv() else {
                self.next = self.count;
                return Some(Err(no_answer()));
            };
            self.early.insert(at, done);
        }
    }
}

fn no_answer() -> Refusal {
    Refusal::Fault(JobError {
        kind: FaultKind::Transient,
        message: "the service has no thread left to take these words".into(),
        hint: Some("raise the limit of processes (`ulimit -u`) for the service, and say it again".into()),
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::engine::tests::World;
    use crate::model::job_state::JobState;

    fn said(engine: &Engine, jobs: &[JobId], act: fn(String) -> Act) -> Vec<Done> {
        let acts = jobs.iter().map(|job| act(job.to_string())).collect();
        act_all(engine, acts, "root").map(|answer| answer.expect("there are threads")).collect()
    }

    /// Goal: ten jobs that stages keep in hand cost the time of one, and the thousand beside them their own.
    #[test]
    fn jobs_that_keep_their_word_waiting_hold_up_one_another_and_others_in_nothing() {
        let world = World::new();
        let engine = Engine::over(world.shared.store.clone(), &[]);
        assert!(engine.run_by(&world.shared));
        let jobs: Vec<JobId> = (1..=1010)
            .map(|number| {
                let job = crate::model::job::Job { id: JobId::from_parts(number, 0), ..world.job() };
                world.shared.save(&job).expect("writes");
                job.id
            })
            .collect();
        let (hung, free) = jobs.split_at(10);
        for id in hung {
            assert!(world.shared.dispatch.take_up_within(*id, Duration::ZERO));
        }
        let begun = Instant::now();
        let answers = said(&engine, &jobs, |job| Act::Pause { job });
        let took = begun.elapsed();
        assert!(answers.iter().take(10).all(Result::is_err), "{answers:?}");
        let paused: Vec<_> = answers.iter().skip(10).map(|done| done.as_ref().ok()).collect();
        assert_eq!(paused, free.iter().map(Some).collect::<Vec<_>>(), "each in its place");
        assert!(took < Duration::from_secs(15), "one after another they take ten times 5 s: {took:?}");
        let row = |id| world.shared.store.job(id).expect("reads").expect("is there");
        assert!(free.iter().all(|id| row(*id).state == JobState::Paused));
        assert!(hung.iter().all(|id| row(*id).state == JobState::Queued));
        for id in hung {
            world.shared.dispatch.put_down(*id);
        }
        assert!(said(&engine, hung, |job| Act::Abort { job }).iter().all(Result::is_ok));
    }

    #[test]
    fn what_is_taken_again_is_taken_in_the_order_in_which_it_was_said() {
        let world = World::new();
        let engine = Engine::over(world.shared.store.clone(), &[]);
        let job = world.job();
        let acts = [Act::Pause { job: job.id.to_string() }, Act::Resume { job: job.id.to_string() }];
        let answers: Vec<_> = act_all(&engine, acts.to_vec(), "root").flatten().collect();
        assert_eq!(answers, [Ok(job.id), Ok(job.id)]);
    }
}
