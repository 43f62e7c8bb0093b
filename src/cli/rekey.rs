//! `landfall rekey`: the store written anew by the key that encrypts now.

use std::process::ExitCode;

use super::exit::FAILED;
use super::say::{complain, say};
use crate::control::{self, Reached};
use crate::engine::{Rekeyed, rekey};
use crate::model::rule::Settings;
use crate::store::Renewed;

/// A running service does it by itself: what it is at its log says.
pub(super) fn run(settings: &Settings) -> anyhow::Result<ExitCode> {
    let engine = match control::open_existing(settings)? {
        Reached::Engine(engine) => engine,
        Reached::Service(_) => {
            let hint = "it does that by itself soon after it has started, beside its work; its log says so when it is done: \"the store was written anew\"";
            complain("a running service has the store", Some(hint));
            return Ok(ExitCode::from(FAILED));
        }
    };
    let Some(Rekeyed { renewed, outputs }) =
        rekey(engine.store(), &settings.service.data_dir, &mut |_| true)?
    else {
        match engine.store().keys() {
            Some(keys) => say!("nothing to do: all is encrypted by the key of {}", keys.recipient()),
            None => say!("nothing to do: the store is not encrypted (`service.at_rest`)"),
        }
        return Ok(ExitCode::SUCCESS);
    };
    let Renewed { values, renewed } = renewed;
    match engine.store().keys().filter(|_| engine.store().is_encrypted()) {
        Some(keys) => say!(
            "{renewed} of {values} values were written anew: all are encrypted by the key of {}",
            keys.recipient()
        ),
        None => say!("{renewed} of {values} values were written anew: all are in clear"),
    }
    for (key, count) in outputs.by_other_keys {
        say!(
            "the key of {key} is needed still: for {count} outputs that are kept, until they go with their jobs"
        );
    }
    if outputs.in_clear > 0 {
        say!("{} outputs that were kept before lie in clear until they go with their jobs", outputs.in_clear);
    }
    Ok(ExitCode::SUCCESS)
}
