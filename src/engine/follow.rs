//! Following a job to its end by what the engine tells, in this process or in the service.

use super::door::{Answers, Door, Refusal};
use crate::model::fault::{FaultKind, JobError};
use crate::model::job::{Job, Waiting};
use crate::model::job_id::JobId;
use crate::model::notice::Notice;

/// Jobs that are looked at, of those before one: each names the one that holds it back, mostly the first of all.
const BEFORE_MAX: usize = 16;

/// Listens from the moment on that it was made, so that nothing of a job that is asked for later is missed.
pub(crate) struct Follower<'a> {
    door: &'a dyn Door,
    notices: Answers<'a, Notice>,
    /// Whether it looks at progress too, of which nothing is told.
    pub(crate) sees_progress: bool,
}

impl<'a> Follower<'a> {
    pub(crate) fn new(door: &'a dyn Door) -> Self {
        Self { door, notices: door.subscribe(), sees_progress: false }
    }

    /// Follows a job until it reached an end, or waits for something that nobody who follows will see mended, itself or through the jobs that
    /// come before it. `look` is asked at least every moment.
    pub(crate) fn follow<E: From<Refusal>>(
        &mut self,
        id: JobId,
        mut look: impl FnMut(&Job) -> Result<(), E>,
    ) -> Result<Job, E> {
        let mut job = self.door.show(&id.to_string())?;
        loop {
            let (waits, before) = self.waits(&job)?;
            let has_ended = job.state.is_final() || waits;
            if has_ended {
                return Ok(job);
            }
            loop {
                look(&job)?;
                let is_news = match self.next()? {
                    Notice::Changed(change) => change.job == id || before.contains(&change.job),
                    Notice::ReadAnew => true,
                    Notice::Quiet => self.sees_progress,
                };
                if is_news {
                    break;
                }
            }
            job = self.door.show(&id.to_string())?;
        }
    }

    /// Whether somebody has to do something before the job goes on; and the jobs that it is behind.
    fn waits(&self, job: &Job) -> Result<(bool, Vec<JobId>), Refusal> {
        let (mut before, mut waiting) = (Vec::new(), job.waiting.clone());
        while let Some(Waiting { behind: Some(other), .. }) = waiting
            && before.len() < BEFORE_MAX
        {
            before.push(other);
            waiting = match self.door.show(&other.to_string()) {
                Ok(other) => other.waiting,
                Err(Refusal::NoSuchJob { .. }) => None,
                Err(refusal) => return Err(refusal),
            };
        }
        Ok((waiting.is_some_and(|waiting| !waiting.is_passing()), before))
    }

    pub(crate) fn next(&mut self) -> Result<Notice, Refusal> {
        self.notices.next().unwrap_or_else(|| Err(stopped()))
    }
}

fn stopped() -> Refusal {
    Refusal::Fault(JobError {
        kind: FaultKind::Transient,
        message: "the engine stopped before".into(),
        hint: Some("the job goes on when it runs again".into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::handle::Engine;
    use crate::engine::tests::World;
    use crate::model::fault::WaitsFor;
    use crate::model::job::Waiting;

    #[test]
    fn a_job_is_followed_to_its_end_or_to_what_it_waits_for_and_whoever_looks_can_break_off() {
        let world = World::new();
        let engine = Engine::over(world.shared.store.clone(), &[]);
        let mut follower = Follower::new(&engine);
        let mut job = world.job();
        world.shared.store.change().job(&job).apply().expect("is written");
        let broken_off = follower.follow(job.id, |_| Err(stopped())).expect_err("who looks says so");
        assert_eq!(broken_off, stopped());
        job.waiting =
            Some(Waiting { behind: None, waits_for: WaitsFor::Mount, until: None, detail: "a mount".into() });
        world.shared.store.change().job(&job).apply().expect("is written");
        let never = |_: &Job| -> Result<(), Refusal> { panic!("it waits") };
        assert_eq!(follower.follow(job.id, never).expect("is there").waiting, job.waiting);
        job.waiting = None;
        world.shared.store.change().job(&job).apply().expect("is written");
        let (mut looks, waiting) = (
            0,
            Some(Waiting { behind: None, waits_for: WaitsFor::Disk, until: None, detail: "a disk".into() }),
        );
        let ended = follower.follow(job.id, |seen: &Job| -> Result<(), Refusal> {
            looks += 1;
            let mut waits = seen.clone();
            waits.waiting = waiting.clone();
            world.shared.store.change().job(&waits).apply().expect("is written");
            Ok(())
        });
        assert_eq!((ended.expect("ends").waiting, looks), (waiting, 1), "what changed was told");
    }
}
