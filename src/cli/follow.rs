//! Following a job to its end by what the engine tells, in this process or in the service.

use anyhow::Context as _;

use crate::engine::{Answers, Door};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::notice::Notice;

/// Listens from the moment on that it was made, so that nothing of a job that is asked for later is missed.
pub(super) struct Follower<'a> {
    door: &'a dyn Door,
    notices: Answers<'a, Notice>,
    /// Whether it looks at progress too, of which nothing is told.
    pub(super) sees_progress: bool,
}

impl<'a> Follower<'a> {
    pub(super) fn new(door: &'a dyn Door) -> Self {
        Self { door, notices: door.subscribe(), sees_progress: false }
    }

    /// Follows a job until it reached an end, or waits for something that no command will see mended. `look` is asked at least every moment.
    pub(super) fn follow(
        &mut self,
        id: JobId,
        mut look: impl FnMut(&Job) -> anyhow::Result<()>,
    ) -> anyhow::Result<Job> {
        let mut job = self.door.show(&id.to_string())?;
        loop {
            let waits = job.waiting.as_ref().is_some_and(|waiting| !waiting.is_passing());
            let has_ended = job.state.is_final() || waits;
            if has_ended {
                return Ok(job);
            }
            look(&job)?;
            let is_news = match self.next()? {
                Notice::Changed(change) => change.job == id,
                Notice::ReadAnew => true,
                Notice::Quiet => self.sees_progress,
            };
            if is_news {
                job = self.door.show(&id.to_string())?;
            }
        }
    }

    pub(super) fn next(&mut self) -> anyhow::Result<Notice> {
        Ok(self.notices.next().context("the engine stopped before")??)
    }
}
