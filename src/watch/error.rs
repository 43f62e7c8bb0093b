//! What is wrong with the rules' patterns, and why watching cannot start.

use std::io;

use crate::model::fault::{Fault, FaultKind};
use crate::model::mistake::Mistake;

/// Watching cannot start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    /// A pattern, exclusion or marker of a rule is wrong.
    #[error("rule \"{rule}\": {source}")]
    Pattern { rule: String, source: Mistake },
    /// A rule waits for markers and does not say which.
    #[error("rule \"{rule}\": `ready.strategy` is `marker`, but `ready.marker` is missing")]
    NoMarker { rule: String },
    /// The thread could not be started.
    #[error("cannot start the thread that watches the folders")]
    Thread(#[source] io::Error),
}

impl Fault for WatchError {
    fn kind(&self) -> FaultKind {
        match self {
            Self::Pattern { .. } | Self::NoMarker { .. } => FaultKind::Config,
            Self::Thread(_) => FaultKind::Transient,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Pattern { source, .. } => source.hint.clone(),
            Self::NoMarker { .. } => Some("add a marker, like `marker = \"{name}.done\"`".to_owned()),
            Self::Thread(_) => None,
        }
    }
}
