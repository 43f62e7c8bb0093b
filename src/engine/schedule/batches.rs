//! Jobs that are taken up together: of one group, those of rules that use the same file systems.

use std::sync::Arc;
use std::time::Instant;

use super::lanes::{Lanes, Owner, Sender, Turns};
use super::permits::{Permit, Permits};
use crate::model::job_id::JobId;

/// Permits for batches are a group's, whoever the senders are.
pub(super) const WHOLE_GROUP: Sender = Sender(0);

/// Jobs that wait for one kind of thread, by the file systems of their rules.
#[derive(Debug)]
pub(super) struct Batches {
    pub(super) waiting: Turns<Arc<str>, Lanes>,
    pub(super) permits: Permits,
    pub(super) max: usize,
}

impl Batches {
    pub(super) fn has_next(&self) -> bool {
        self.waiting.keys().any(|group| self.permits.may(group, WHOLE_GROUP))
    }

    /// At most `max` jobs of one group.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Vec<JobId>, Permit)> {
        if !self.permits.is_free() {
            self.permits.set_wanted(self.has_next(), now);
            return None;
        }
        let (waiting, permits, max) = (&mut self.waiting, &mut self.permits, self.max);
        let batch = |group: &Arc<str>, lanes: &mut Lanes| {
            permits.may(group, WHOLE_GROUP).then(|| {
                let jobs = std::iter::from_fn(|| lanes.pop(|_| true, |_, _| true)).take(max);
                let owner = Owner { rule: Arc::clone(group), sender: WHOLE_GROUP };
                (jobs.collect(), permits.take(&owner, now))
            })
        };
        waiting.take(batch, Lanes::is_empty)
    }
}
