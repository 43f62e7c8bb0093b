//! Where a job stands: its state, what is under way within it, and the deaths of the process that are held against it.
//!
//! What is under way is durable, so that a restart knows what it may find half done. Two things are never under way at once, and each only
//! where it can be:
//!
//! ```text
//!   queued, held, paused           retrieving   an operator retried it: its source is taken out of quarantine
//!   held                           settling     nothing but an operator's word ends it
//!   queued, running, held          giving back -> aborted
//!                                  refusing    -> refused     its error is written down, and nothing but its end follows
//!   queued, running, held, paused  failing     -> failed      the same; of one that is paused: a restored backup has it in doubt
//!                                  aborting    -> aborted     an operator ended it, and nothing but its end follows
//! ```

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, IntoDeserializer as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::job_state::{IllegalTransition, JobEvent, JobState};
use super::os_text::OsText;

/// A job's state and what is under way within it. Compares with a [`JobState`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    state: JobState,
    phase: Phase,
    /// None: it is not suspected.
    deaths: Option<u32>,
}

/// What is under way within a state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// Nothing beside the state.
    #[default]
    Plain,
    Retrieving {
        /// Where its source lies until it lies under its claimed name again.
        from: OsText,
    },
    /// Its source is about to be renamed back to where it lay, or was already: then it is its sender's again.
    GivingBack,
    Settling,
    Failing,
    Refusing,
    Aborting,
}

impl Phase {
    /// Nothing but the job's end follows.
    pub(super) fn is_last(&self) -> bool {
        matches!(self, Self::Failing | Self::Refusing | Self::Aborting)
    }
}

/// In a row, where something is under way; else the state stands alone.
#[derive(Serialize, Deserialize)]
struct Within<P> {
    state: JobState,
    #[serde(default)]
    phase: P,
    #[serde(skip_serializing_if = "Option::is_none")]
    deaths: Option<u32>,
}

impl Standing {
    /// The state alone.
    pub(crate) fn get(&self) -> JobState {
        self.state
    }

    /// See [`JobState::is_final`].
    pub(crate) fn is_final(&self) -> bool {
        self.state.is_final()
    }

    /// Whether it is published irrevocably, up to its end.
    pub(crate) fn is_past_intent(&self) -> bool {
        matches!(self.state, JobState::Publishing | JobState::Retiring)
    }

    /// Deaths of the process that are held against the job, since it last got on; none: it is not suspected.
    pub(crate) fn deaths(&self) -> Option<u32> {
        self.deaths
    }

    /// What is under way within the state.
    pub(super) fn phase(&self) -> &Phase {
        &self.phase
    }

    /// Holds so many deaths of the process against a job that a loader may take; none: the job got on.
    pub(super) fn suspect(&mut self, deaths: Option<u32>) -> Result<(), IllegalTransition> {
        if deaths.is_some() && (self.phase.is_last() || self.is_final() || self.is_past_intent()) {
            return Err(self.cannot("Suspected"));
        }
        self.deaths = deaths;
        Ok(())
    }

    /// The only place that decides what follows what is under way.
    pub(super) fn take(&mut self, event: JobEvent) -> Result<(), IllegalTransition> {
        use {JobEvent as E, Phase as P};
        let phase = match (&self.phase, event) {
            (P::Failing, E::Broke) | (P::Refusing, E::Refused) | (P::Aborting, E::Aborted) => P::Plain,
            // No job ends without its error, or its operator's word, and one that has it ends.
            (phase, _) if phase.is_last() => return Err(self.cannot(event)),
            (_, E::Broke | E::Refused | E::Aborted) => return Err(self.cannot(event)),
            // Its source is not where it is read, or nobody knows where it is; or an operator's other word is waited for.
            (P::Retrieving { .. }, E::Started) | (P::GivingBack | P::Settling, E::Paused) => {
                return Err(self.cannot(event));
            }
            // It waits, or comes to a loader: what was begun goes on there.
            (P::Retrieving { .. }, E::Paused | E::Resumed)
            | (P::Retrieving { .. } | P::GivingBack, E::Hindered | E::Mended | E::Recovered) => {
                self.phase.clone()
            }
            _ => P::Plain,
        };
        self.state = self.state.next(event)?;
        self.phase = phase;
        Ok(())
    }

    /// Begins something within the state, or ends it.
    pub(super) fn enter(&mut self, next: Phase) -> Result<(), IllegalTransition> {
        use Phase as P;
        let follows = match (&self.phase, &next) {
            (before, _) if before.is_last() => false,
            (_, P::Failing | P::Refusing | P::Aborting)
            | (P::Plain, _)
            | (P::Retrieving { .. } | P::GivingBack, P::Plain) => true,
            _ => false,
        };
        if !follows || !next.is_possible_in(self.state) {
            return Err(self.cannot(next));
        }
        self.phase = next;
        Ok(())
    }

    pub(super) fn cannot(&self, what: impl fmt::Debug) -> IllegalTransition {
        IllegalTransition::new(self.state, &self.phase, what)
    }
}

impl Phase {
    fn is_possible_in(&self, state: JobState) -> bool {
        use JobState as S;
        match self {
            Self::Plain => true,
            Self::Retrieving { .. } => matches!(state, S::Queued | S::Held | S::Paused),
            Self::Settling => state == S::Held,
            Self::GivingBack | Self::Refusing => matches!(state, S::Queued | S::Running | S::Held),
            Self::Failing | Self::Aborting => matches!(state, S::Queued | S::Running | S::Held | S::Paused),
        }
    }
}

/// Of a job that has just come to the state.
impl From<JobState> for Standing {
    fn from(state: JobState) -> Self {
        Self { state, phase: Phase::Plain, deaths: None }
    }
}

impl Serialize for Standing {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { state, phase, deaths } = self;
        if *phase == Phase::Plain && deaths.is_none() {
            return state.serialize(serializer);
        }
        Within { state: *state, phase, deaths: *deaths }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Standing {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Stored)
    }
}

struct Stored;

impl<'de> Visitor<'de> for Stored {
    type Value = Standing;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a job's state, or what is under way within one")
    }

    fn visit_str<E: Error>(self, state: &str) -> Result<Standing, E> {
        JobState::deserialize(state.into_deserializer()).map(Standing::from)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Standing, A::Error> {
        let Within { state, phase, deaths } = Within::<Phase>::deserialize(MapAccessDeserializer::new(map))?;
        if !phase.is_possible_in(state) {
            return Err(A::Error::custom(Standing::from(state).cannot(phase)));
        }
        Ok(Standing { state, phase, deaths })
    }
}

impl PartialEq<JobState> for Standing {
    fn eq(&self, state: &JobState) -> bool {
        self.state == *state
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.state.fmt(f)
    }
}
