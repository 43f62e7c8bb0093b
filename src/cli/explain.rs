//! A command's error: said with its causes and its hint, and its exit code.

use std::process::ExitCode;

use super::exit::{FAILED, USAGE};
use super::say::{complain, say_aside};
use crate::api::ApiError;
use crate::config::Problems;
use crate::control::ControlError;
use crate::engine::{EngineError, Refusal};
use crate::model::fault::{Fault, FaultKind};
use crate::published::ReadError;
use crate::store::StoreError;

pub(super) fn explain(error: &anyhow::Error) -> ExitCode {
    if let Some(problems) = error.downcast_ref::<Problems>() {
        say_aside!("{problems}");
        return ExitCode::from(USAGE);
    }
    complain(&format!("{error:#}"), hint_of(error).as_deref());
    let asked_wrong = error.chain().any(|cause| {
        let by_other_user = matches!(cause.downcast_ref(), Some(StoreError::OtherOwner { .. }));
        by_other_user
            || cause.downcast_ref::<EngineError>().is_some_and(|e| e.kind() == FaultKind::Config)
            || cause.downcast_ref::<ApiError>().is_some()
    });
    ExitCode::from(if asked_wrong { USAGE } else { FAILED })
}

fn hint_of(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        let engine = cause.downcast_ref::<EngineError>().and_then(Fault::hint);
        let store = || cause.downcast_ref::<StoreError>().and_then(Fault::hint);
        let api = || cause.downcast_ref::<ApiError>().and_then(Fault::hint);
        let control = || cause.downcast_ref::<ControlError>().and_then(Fault::hint);
        engine
            .or_else(store)
            .or_else(control)
            .or_else(api)
            .or_else(|| cause.downcast_ref::<ReadError>().and_then(Fault::hint))
            .or_else(|| cause.downcast_ref::<Refusal>().and_then(Refusal::hint))
    })
}
