//! What is to be written into the audit trail, until it was: a row for each event, in the batch that made it so.
//!
//! ```text
//!  a job's row is written with another state, or an operator acts -> in the same batch a row for the trail
//!    -> synced with it -> the trail's thread appends a line and syncs that -> in one batch the row goes, and the trail's end is written
//! ```
//!
//! # Invariants
//! - Nothing is lost or written down twice, whatever is killed: a line has its row's number.
//! - Where nobody asks for a trail, a change costs one look at a flag.
//! - Whoever has the store writes rows: a command without a service too. The next service appends them.

use std::cell::RefCell;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::backend::{self, Backend as _, Batch};
use super::error::StoreError;
use super::keys;
use super::{Store, feed, hooks, value};
use crate::clock;
use crate::model::audit::{AuditEnd, AuditEvent, AuditHead, SERVICE};
use crate::model::job::Job;

/// Rows that are appended together.
const TOGETHER_MAX: usize = 256;

thread_local! {
    /// What an operator does on this thread, until the first batch that it makes.
    static DEED: RefCell<Option<AuditEvent>> = const { RefCell::new(None) };
}

#[derive(Default)]
pub(super) struct Audit {
    is_on: AtomicBool,
    /// The number of the newest event: never given twice.
    last: AtomicU64,
}

/// What a batch has a row for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Staged {
    is_any: bool,
    has_deed: bool,
}

impl Audit {
    /// Numbers go on behind what the store has.
    pub(super) fn begin(&self, store: &Store) {
        let is_on = store.get(keys::AUDITING).is_ok_and(|mark| mark.is_some());
        let newest = store.keys_beginning_with(&[keys::AUDIT]).filter_map(Result::ok);
        let newest = newest.filter_map(|key| keys::audited_of(&key)).max();
        self.last.store(newest.unwrap_or(0), Ordering::Release);
        self.is_on.store(is_on, Ordering::Release);
    }

    /// Adds to a batch what is to be written down of it.
    pub(super) fn stage(&self, store: &Store, batch: &mut Batch) -> Result<Staged, StoreError> {
        let mut staged = Staged::default();
        if !self.is_on.load(Ordering::Acquire) {
            return Ok(staged);
        }
        if let Some(deed) = DEED.with_borrow(Clone::clone).filter(|_| !batch.rows.is_empty()) {
            self.add(&deed, batch)?;
            (staged.is_any, staged.has_deed) = (true, true);
        }
        for change in feed::changes_of(store, batch).into_iter().filter(|it| it.before != it.state) {
            let job = match change.state {
                Some(_) => hooks::written_job(batch, &keys::of_job(keys::JOB, change.job))?,
                None => store.job(change.job)?,
            };
            let told = |job: &Job| AuditEvent::of_job(clock::now(), change.before, change.state, job);
            let Some(mut event) = job.as_ref().and_then(told) else { continue };
            if change.state.is_none() && store.get(&keys::of_job(keys::DESTROY, change.job))?.is_some() {
                "destroyed".clone_into(&mut event.event);
            }
            self.add(&event, batch)?;
            staged.is_any = true;
        }
        Ok(staged)
    }

    fn add(&self, event: &AuditEvent, batch: &mut Batch) -> Result<(), StoreError> {
        let key = keys::audited(hooks::next_number(&self.last));
        let values = value::encode("event of the audit trail", event)?;
        for (index, value) in (1..).zip(values.iter().skip(1)) {
            batch.rows.insert(keys::continued(&key, index), Some(value.clone()));
        }
        batch.rows.insert(key, values.first().cloned());
        Ok(())
    }

    /// That is written.
    pub(super) fn done(store: &Store, staged: Staged) {
        if staged.has_deed {
            DEED.set(None);
        }
        if staged.is_any {
            store.ring_hooks();
        }
    }
}

impl Store {
    /// Whether a trail is kept from now on; durable with the next sync.
    pub(crate) fn keep_audit(&self, is_on: bool) -> Result<(), StoreError> {
        let audit = &self.inner.audit;
        if audit.is_on.load(Ordering::Acquire) == is_on {
            return Ok(());
        }
        if is_on {
            self.change().put_mark(keys::AUDITING.to_vec()).apply()?;
        } else {
            // In one batch with the mark: the trail's last word is that it ends here.
            let ends = || AuditEvent::new(clock::now(), "trail_off", SERVICE);
            self.audited(ends, || self.change().remove(keys::AUDITING.to_vec()).apply())?;
        }
        audit.is_on.store(is_on, Ordering::Release);
        Ok(())
    }

    /// Whether a trail is kept.
    pub(crate) fn keeps_audit(&self) -> bool {
        self.inner.audit.is_on.load(Ordering::Acquire)
    }

    /// Does what an operator asked for; it is written down with the first rows that it changes, and where it changes none, behind it.
    pub(crate) fn audited<T, E>(
        &self,
        deed: impl FnOnce() -> AuditEvent,
        act: impl FnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        if !self.inner.audit.is_on.load(Ordering::Acquire) {
            return act();
        }
        DEED.set(Some(deed()));
        let done = act();
        let left = DEED.take();
        if let (Some(deed), Ok(_)) = (left, &done)
            && let Err(error) = self.audit(&deed)
        {
            tracing::warn!(%error, event = deed.event, by = deed.by, "what an operator did is not in the audit trail");
        }
        done
    }

    /// Has something written down that changes no row.
    pub(crate) fn audit(&self, event: &AuditEvent) -> Result<(), StoreError> {
        let audit = &self.inner.audit;
        if !audit.is_on.load(Ordering::Acquire) {
            return Ok(());
        }
        let _changing = self.inner.changing.read().unwrap_or_else(PoisonError::into_inner);
        let mut batch = Batch { as_of: self.inner.rows.applied_count(), ..Batch::default() };
        audit.add(event, &mut batch)?;
        self.inner.rows.apply(batch).map(drop)?; // it expects nothing
        self.ring_hooks();
        Ok(())
    }

    /// What is to be written down next, oldest first, each with its number.
    pub(crate) fn to_audit(&self) -> Result<Vec<(u64, AuditEvent)>, StoreError> {
        let mut events = Vec::new();
        for row in self.scan(backend::beginning_with(&[keys::AUDIT])).take(TOGETHER_MAX) {
            let (key, value) = row?;
            let number = keys::audited_of(&key)
                .ok_or_else(|| StoreError::corrupt("event of the audit trail", "its key has no number"))?;
            events.extend(
                self.whole_row("event of the audit trail", &key, &value)?.map(|event| (number, event)),
            );
        }
        Ok(events)
    }

    /// These are written down, and durable; the trail ends there now.
    pub(crate) fn was_audited(&self, numbers: &[u64], head: &AuditHead) -> Result<(), StoreError> {
        let mut changes = self.change();
        for number in numbers {
            changes.remove(keys::audited(*number));
        }
        changes.put("end of the audit trail", keys::AUDIT_HEAD.to_vec(), head).apply()
    }

    /// Where the trail ends, with what waits: that is read first, so that what is written down meanwhile is in one of them.
    pub(crate) fn audit_end(&self) -> Result<AuditEnd, StoreError> {
        let waiting = self.to_audit()?.into_iter().map(|(number, _)| number).collect();
        Ok(AuditEnd { head: self.audit_head()?, waiting })
    }

    /// Where the trail ends.
    pub(crate) fn audit_head(&self) -> Result<Option<AuditHead>, StoreError> {
        self.row("end of the audit trail", keys::AUDIT_HEAD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job_state::JobEvent;
    use crate::model::job_view::tests::sample_job;

    fn queued() -> Job {
        Job::queued(sample_job().id, "pay", "blake3:00", sample_job().source, clock::now())
    }

    fn events(store: &Store) -> Vec<(String, String)> {
        store.to_audit().expect("reads").into_iter().map(|(_, event)| (event.event, event.by)).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(event, by)| ((*event).to_owned(), (*by).to_owned())).collect()
    }

    #[test]
    fn each_state_that_counts_is_a_row_with_it_and_only_where_a_trail_is_kept() {
        let store = Store::in_memory();
        let mut job = queued();
        store.change().job(&job).apply().expect("writes");
        assert_eq!(events(&store), []);
        store.keep_audit(true).expect("is kept");
        for event in [JobEvent::Started, JobEvent::AccountBalanced, JobEvent::Published, JobEvent::Retired] {
            job.take(event, clock::now(), "").expect("goes on");
            store.change().job(&job).apply().expect("writes");
            store.change().job(&job).apply().expect("writes it again");
        }
        assert_eq!(events(&store), pairs(&[("published", "service"), ("completed", "service")]));
    }

    #[test]
    fn an_operators_act_is_in_the_batch_that_it_makes_once_and_one_that_is_refused_is_in_none() {
        let store = Store::in_memory();
        store.keep_audit(true).expect("is kept");
        let deed = |what: &'static str| move || AuditEvent::new(clock::now(), what, "operator");
        let job = queued();
        store.audited(deed("ingest"), || store.change().job(&job).apply()).expect("is done");
        store.audited(deed("set"), || Ok::<(), StoreError>(())).expect("changes no row");
        store.audited(deed("abort"), || Err::<(), ()>(())).expect_err("is refused");
        store.change().job(&job).apply().expect("writes");
        let expected = [("ingest", "operator"), ("claimed", "service"), ("set", "operator")];
        assert_eq!(events(&store), pairs(&expected));
    }

    #[test]
    fn that_the_trail_is_turned_off_is_its_last_event() {
        let store = Store::in_memory();
        store.keep_audit(true).expect("is kept");
        store.keep_audit(false).expect("is turned off");
        store.keep_audit(false).expect("is off");
        store.change().job(&queued()).apply().expect("writes");
        assert_eq!(events(&store), pairs(&[("trail_off", "service")]));
    }

    #[test]
    fn what_was_written_down_is_gone_and_the_rest_stays_over_a_restart_and_so_does_the_trails_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        store.keep_audit(true).expect("is kept");
        for what in ["first", "second"] {
            store.audit(&AuditEvent::new(clock::now(), what, "service")).expect("writes");
        }
        let rows = store.to_audit().expect("reads");
        let head = AuditHead { seq: 7, hash: "00".into(), file: 1, length: 70 };
        store.was_audited(&[rows[0].0], &head).expect("writes");
        store.sync().expect("is durable");
        drop(store);
        let store = Store::open(folder.path()).expect("opens");
        assert_eq!(store.audit_head().expect("reads"), Some(head));
        store.audit(&AuditEvent::new(clock::now(), "third", "service")).expect("is kept still");
        assert_eq!(events(&store), pairs(&[("second", "service"), ("third", "service")]));
    }
}
