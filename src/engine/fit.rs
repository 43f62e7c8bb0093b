//! Whether a rule's column names fit the files that it takes, and who is at fault where they do not.
//!
//! A column is not there, and one with nearly its name is: the rule misspells it, or the file does. While no file has fitted the rule as it
//! is now, the rule is suspected: its jobs are held, since a typo must not send every file to quarantine. Once a file fits, those that
//! do not are at fault, and those that were held are looked at again. Where jobs go one after another no other file is looked at meanwhile:
//! an operator says which of the two it is.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::lock;
use super::trouble::{Reaction, Trouble};
use crate::model::fault::{FaultKind, WaitsFor};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::rule::Sequence;
use crate::store::{Store, StoreError};

/// What is known of one rule as it stands.
#[derive(Default)]
pub(super) struct Fit {
    fits: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The store was asked whether an earlier run saw a file that fits.
    is_asked: bool,
    /// Jobs that wait for the rule to be mended, or for a file that fits it.
    held: HashSet<JobId>,
}

/// What becomes of a job whose file does not fit its rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Misfit {
    /// Held, as the first one.
    First,
    /// Held, as others are already.
    Further,
}

impl Fit {
    /// A file has the columns that the rule names. The jobs that were held because theirs had not: it is their files' fault.
    pub(super) fn fitted(&self) -> HashSet<JobId> {
        if self.is_fitted() {
            return HashSet::new();
        }
        self.fits.store(true, Ordering::Release);
        self.let_go()
    }

    /// The jobs that are held, which wait no more.
    pub(super) fn let_go(&self) -> HashSet<JobId> {
        std::mem::take(&mut lock(&self.state).held)
    }

    /// Holds a job until the rule is mended, or a file fits it.
    pub(super) fn hold(&self, id: JobId) -> Misfit {
        let mut state = lock(&self.state);
        let is_first = state.held.is_empty();
        state.held.insert(id);
        if is_first { Misfit::First } else { Misfit::Further }
    }

    /// Whether a job waits for the rule to be mended.
    pub(super) fn holds_any(&self) -> bool {
        !lock(&self.state).held.is_empty()
    }

    /// Whether a file is known to have fitted the rule as it is now.
    pub(super) fn is_fitted(&self) -> bool {
        self.fits.load(Ordering::Acquire)
    }

    /// Whether a file ever fitted the rule as it is now.
    fn is_proven(&self, store: &Store, rule_hash: &str) -> Result<bool, StoreError> {
        if self.is_fitted() || lock(&self.state).is_asked {
            return Ok(self.is_fitted());
        }
        let mut has_fitted = false;
        // Not under the lock: there may be very many.
        for job in store.jobs_newest_first() {
            let job = job?;
            let is_published = job.state.is_past_intent() || job.state == JobState::Completed;
            if job.rule_hash == rule_hash && is_published && job.account.records_in > 0 {
                has_fitted = true;
                break;
            }
        }
        let mut state = lock(&self.state);
        self.fits.fetch_or(has_fitted, Ordering::AcqRel);
        state.is_asked = true;
        Ok(self.is_fitted())
    }

    /// A file lacks columns that its rule, which has this sequence, names. `resembles`: it has others of nearly the same names.
    pub(super) fn judge(
        &self,
        store: &Store,
        job: &Job,
        sequence: Sequence,
        resembles: bool,
        mut found: Trouble,
    ) -> Trouble {
        if !resembles {
            return found;
        }
        match self.is_proven(store, &job.rule_hash) {
            Ok(true) => found,
            Ok(false) => {
                found.error.kind = FaultKind::Config;
                found.waits_for = WaitsFor::Config;
                found.reaction = Reaction::SuspectRule { starts_over: false };
                let hint = found.error.hint.take().unwrap_or_else(|| "mend the rule".to_owned());
                let else_ends = match sequence {
                    Sequence::None => "this file goes to quarantine as soon as one fits".to_owned(),
                    Sequence::Folder | Sequence::Rule => {
                        format!(
                            "`landfall abort {}` sends this file to quarantine, and those behind it in the sequence go on",
                            job.id
                        )
                    }
                };
                found.error.hint = Some(format!(
                    "{hint}; no file has fitted this rule yet: mend it, and the job goes on by itself; if the rule is right, {else_ends}"
                ));
                found
            }
            Err(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_are_held_until_a_file_fits_and_then_looked_at_again() {
        let fit = Fit::default();
        let ids = [JobId::from_parts(1, 1), JobId::from_parts(1, 2), JobId::from_parts(1, 3)];
        assert_eq!((fit.hold(ids[0]), fit.hold(ids[1])), (Misfit::First, Misfit::Further));
        assert_eq!(fit.fitted(), HashSet::from([ids[0], ids[1]]));
        fit.hold(ids[2]);
        assert!(fit.is_fitted(), "whoever holds one sees that a file that fits came in between");
    }
}
