//! The lifecycle of a job.
//!
//! ```text
//!            Started            AccountBalanced            Published           Retired
//!   queued ---------> running -----------------> publishing --------> retiring --------> completed
//!     |  ^              |  |
//!     |  | Mended       |  | Hindered (key, configuration, disk)
//!     |  +---- held <---+--+
//!     |                 | Broke (input, limits, bug)
//!     |                 v
//!     |              failed ---- Retried (its source is taken from quarantine) ----> queued
//!     |              refused --- Retried
//!     |                 ^
//!     |                 | Refused (a resend)
//!     |              running
//!     +-- GivenBack --> aborted
//!
//!   queued, running, held -- Paused --> paused -- Resumed --> queued
//!   queued, running, held, paused -- Aborted (its source goes to quarantine) --> aborted -- Retried --> queued
//!   paused -- Broke (a restored backup has it in doubt) --> failed
//!   held, publishing, failed, refused -- Abandoned --> aborted; retiring -- Abandoned --> completed
//! ```
//!
//! From `publishing` the only way is forward: published outputs cannot be taken back. Where a job waits there, and for sure none was, an
//! operator may send the job back (`Unpublished`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where a job is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Claimed, waiting for a loader. The engine moves it on.
    Queued,
    /// Being loaded, worked and collected.
    Running,
    /// Cannot go on until a key, a configuration or a disk is mended; `waiting` says which. Goes on by itself, unless it waits for
    /// an operator's word (`settling`).
    Held,
    /// The account is balanced and the intent durable: outputs are appearing.
    Publishing,
    /// All outputs are there; the source is being archived or deleted.
    Retiring,
    /// Done.
    Completed,
    /// Stopped by an operator; goes on when told.
    Paused,
    /// Nothing was published; the source lies in quarantine. An operator retries it.
    Failed,
    /// Ended on purpose: given back to wait, aborted, or abandoned by an operator, who is told what of it was published.
    Aborted,
    /// A resend that the rule refuses.
    Refused,
}

/// What can happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// A loader took it.
    Started,
    /// A restart of the service found it in hand, or its rule was paused while it ran.
    Recovered,
    /// Key, configuration or storage stand in its way.
    Hindered,
    /// What stood in its way may be gone: it is tried again.
    Mended,
    /// All records are accounted for and the intent is durable.
    AccountBalanced,
    /// Every output, the manifest and the marker are durable under their final names.
    Published,
    /// The source is where the rule wants it.
    Retired,
    /// The content cannot be processed, or a limit of the rule was passed.
    Broke,
    /// Its content was published before, and the rule refuses resends.
    Refused,
    /// The file was not complete after all and went back to wait.
    GivenBack,
    /// An operator retried it, from its source again under the current rule.
    Retried,
    /// An operator retried it while it waited in publishing: for sure nothing of it had appeared.
    Unpublished,
    /// An operator paused it.
    Paused,
    /// An operator resumed it.
    Resumed,
    /// An operator ended it: nothing of it was published, and its source is in quarantine.
    Aborted,
    /// An operator gave up what it waits for, or that it is ever retried: it ends as it stands.
    Abandoned,
}

/// An event met a state in which it cannot happen: a bug of this program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a job that is {state} ({phase}) cannot take {event}")]
pub struct IllegalTransition {
    state: JobState,
    phase: String,
    event: String,
}

impl IllegalTransition {
    /// The state the job was in, what was under way in it, and what was said to have happened.
    pub(super) fn new(state: JobState, phase: &dyn fmt::Debug, event: impl fmt::Debug) -> Self {
        Self { state, phase: format!("{phase:?}"), event: format!("{event:?}") }
    }
}

impl JobState {
    /// Every state, in the order of a life.
    pub(crate) const ALL: [Self; 10] = [
        Self::Queued,
        Self::Running,
        Self::Held,
        Self::Publishing,
        Self::Retiring,
        Self::Completed,
        Self::Paused,
        Self::Failed,
        Self::Aborted,
        Self::Refused,
    ];

    /// The only place that decides what may follow what.
    #[allow(clippy::match_same_arms, reason = "in the order of a job's life, not of its states")]
    pub(crate) fn next(self, event: JobEvent) -> Result<Self, IllegalTransition> {
        use {JobEvent as E, JobState as S};
        match (self, event) {
            (S::Queued, E::Started) => Ok(S::Running),
            (S::Queued | S::Running | S::Held, E::Recovered) => Ok(S::Queued),
            (S::Queued | S::Running, E::Hindered) => Ok(S::Held),
            (S::Held, E::Mended) | (S::Paused, E::Resumed) => Ok(S::Queued),
            (S::Running, E::AccountBalanced) => Ok(S::Publishing),
            // Published outputs cannot be taken back: from here the only way is forward.
            (S::Publishing, E::Published) => Ok(S::Retiring),
            // Unless there are none.
            (S::Publishing, E::Unpublished) => Ok(S::Queued),
            (S::Retiring, E::Retired) => Ok(S::Completed),
            (S::Queued | S::Running | S::Held | S::Paused, E::Broke) => Ok(S::Failed),
            (S::Queued | S::Running | S::Held, E::GivenBack) => Ok(S::Aborted),
            (S::Queued | S::Running | S::Held, E::Refused) => Ok(S::Refused),
            (S::Failed | S::Refused | S::Aborted, E::Retried) => Ok(S::Queued),
            (S::Queued | S::Running | S::Held, E::Paused) => Ok(S::Paused),
            (S::Queued | S::Running | S::Held | S::Paused, E::Aborted) => Ok(S::Aborted),
            (S::Held | S::Publishing | S::Failed | S::Refused, E::Abandoned) => Ok(S::Aborted),
            // All of it is published: its source alone is not where it should be.
            (S::Retiring, E::Abandoned) => Ok(S::Completed),
            (from, event) => Err(IllegalTransition::new(from, &"Plain", event)),
        }
    }

    /// Whether nothing more will happen to the job by itself.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Aborted | Self::Refused)
    }

    /// The word in JSON and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Held => "held",
            Self::Publishing => "publishing",
            Self::Retiring => "retiring",
            Self::Completed => "completed",
            Self::Paused => "paused",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
            Self::Refused => "refused",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENTS: [JobEvent; 16] = [
        JobEvent::Started,
        JobEvent::Recovered,
        JobEvent::Hindered,
        JobEvent::Mended,
        JobEvent::AccountBalanced,
        JobEvent::Published,
        JobEvent::Retired,
        JobEvent::Broke,
        JobEvent::Refused,
        JobEvent::GivenBack,
        JobEvent::Retried,
        JobEvent::Unpublished,
        JobEvent::Paused,
        JobEvent::Resumed,
        JobEvent::Aborted,
        JobEvent::Abandoned,
    ];

    proptest! {
        /// Whatever happens in whatever order: a job that published never fails or starts again, and one that ended stays ended
        /// unless an operator retries it, or gives it up. What an operator gives up is the operator's.
        #[test]
        fn from_publishing_the_only_way_is_forward(events in prop::collection::vec(0..EVENTS.len(), 0..40)) {
            let mut state = JobState::Queued;
            let mut published = false;
            for event in events.into_iter().map(|at| EVENTS[at]) {
                let Ok(next) = state.next(event) else { continue };
                let is_operators = matches!(event, JobEvent::Retried | JobEvent::Abandoned);
                prop_assert!(!state.is_final() || is_operators, "{state} took {event:?}");
                published |= next == JobState::Publishing;
                // The one says that nothing was, the other what was.
                published &= !matches!(event, JobEvent::Unpublished | JobEvent::Abandoned);
                let forward = matches!(next, JobState::Publishing | JobState::Retiring | JobState::Completed);
                prop_assert!(!published || forward, "{state} became {next} after {event:?}");
                state = next;
            }
        }
    }

    #[test]
    fn every_state_that_is_not_final_can_be_left() {
        for state in JobState::ALL.into_iter().filter(|state| !state.is_final()) {
            assert!(EVENTS.iter().any(|event| state.next(*event).is_ok()), "{state}");
        }
    }

    #[test]
    fn every_state_can_be_reached_and_from_each_an_end() {
        let after = |from: &[JobState]| -> Vec<JobState> {
            let mut reached = from.to_vec();
            let mut at = 0;
            while let Some(state) = reached.get(at).copied() {
                for next in EVENTS.iter().filter_map(|event| state.next(*event).ok()) {
                    if !reached.contains(&next) {
                        reached.push(next);
                    }
                }
                at += 1;
            }
            reached
        };
        let reached = after(&[JobState::Queued]);
        // A resend is refused before there is anything that could happen to its job.
        let missing =
            JobState::ALL.iter().find(|state| !reached.contains(state) && **state != JobState::Refused);
        assert_eq!(missing, None);
        for state in JobState::ALL {
            assert!(after(&[state]).iter().any(|state| state.is_final()), "{state} never ends");
        }
    }

    #[test]
    fn the_word_of_a_state_is_that_of_its_json() {
        for state in JobState::ALL {
            assert_eq!(serde_json::to_value(state).expect("serializes"), state.as_str());
        }
    }
}
