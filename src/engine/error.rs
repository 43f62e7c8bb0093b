//! The engine's error, as those who ask it see it.

use super::trouble::Trouble;
use crate::model::fault::{Fault, FaultKind, JobError};

/// The engine cannot start, or an operator's request cannot be done.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct EngineError(pub(super) JobError);

impl Fault for EngineError {
    fn kind(&self) -> FaultKind {
        self.0.kind
    }

    fn hint(&self) -> Option<String> {
        self.0.hint.clone()
    }
}

/// As the running service told it.
impl From<JobError> for EngineError {
    fn from(error: JobError) -> Self {
        Self(error)
    }
}

impl From<Trouble> for EngineError {
    fn from(trouble: Trouble) -> Self {
        Self(trouble.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_is_told_is_what_the_engine_found_with_its_kind_and_what_to_do() {
        let trouble = Trouble::new(
            FaultKind::Config,
            "no rule is named \"pay\"",
            Some("the configuration has: payments"),
        );
        let told = EngineError::from(trouble.clone());
        assert_eq!(
            (told.to_string(), told.kind(), told.hint()),
            (trouble.error.message.clone(), FaultKind::Config, trouble.error.hint.clone())
        );
        assert_eq!(&EngineError::from(trouble.error.clone()).0, &trouble.error, "by another process too");
    }
}
