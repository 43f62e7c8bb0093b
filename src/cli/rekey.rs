//! `landfall rekey`: the stores written anew by the key that encrypts now, that of shadow rules too.

use std::path::Path;
use std::process::ExitCode;

use super::exit::FAILED;
use super::say::{complain, say};
use crate::control::{self, Reached};
use crate::durable_fs::user_of_process;
use crate::engine::{Engine, Outputs, Rekeyed, kept_outputs, rekey_for, store_aside};
use crate::model::os_text::escaped_path;
use crate::model::rule::Settings;
use crate::service::shadow::settings_aside;
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
    let is_done = rekey_one(&engine, &settings.service.data_dir, false)?;
    let aside = settings_aside(settings).service;
    let is_done_aside = match store_aside(&aside.data_dir, &aside.at_rest)? {
        Some(engine) => rekey_one(&engine, &aside.data_dir, true)?,
        None => true,
    };
    Ok(if is_done && is_done_aside { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// False: there is something that stays as it is for another reason than that it goes by itself.
fn rekey_one(engine: &Engine, data_dir: &Path, is_aside: bool) -> anyhow::Result<bool> {
    let (folder, store) = (escaped_path(data_dir), engine.store());
    let key = store.keys().filter(|_| store.is_encrypted()).map(|keys| keys.recipient().to_owned());
    let done = rekey_for(store, &kept_outputs(data_dir, is_aside), &user_of_process())?;
    let Some(Rekeyed { renewed, unopened, outputs }) = done else {
        match key {
            Some(key) => say!("{folder}: nothing to do: all is encrypted by the key of {key}"),
            None => say!("{folder}: nothing to do: the store is not encrypted (`service.at_rest`)"),
        }
        return Ok(true);
    };
    let done = match renewed {
        Some(Renewed { values, renewed, .. }) => format!("{renewed} of {values} values were written anew"),
        None => "nothing to do".to_owned(),
    };
    let rows = if unopened == 0 { "all rows" } else { "all rows that open" };
    match key {
        Some(key) => say!("{folder}: {done}: {rows} are encrypted by the key of {key}"),
        None => say!("{folder}: {done}: {rows} are in clear"),
    }
    say_outputs(&folder, &outputs);
    if unopened > 0 {
        let what = format!("{folder}: {unopened} values do not open, and stay as they are");
        complain(
            &what,
            Some("take no key out: one of them may be theirs; `landfall check --store` names them"),
        );
    }
    if outputs.untold > 0 {
        let what = format!("{folder}: {} outputs cannot be told by which key they are", outputs.untold);
        complain(
            &what,
            Some(
                "take no key out; see who may read the files under `outputs`, and say `landfall rekey` again",
            ),
        );
    }
    Ok(unopened == 0 && outputs.untold == 0)
}

fn say_outputs(folder: &str, outputs: &Outputs) {
    for (key, count) in &outputs.by_other_keys {
        say!(
            "{folder}: the key of {key} is needed still: for {count} outputs that are kept, until they go with their jobs"
        );
    }
    if outputs.in_clear > 0 {
        say!(
            "{folder}: {} outputs that were kept before lie in clear until they go with their jobs",
            outputs.in_clear
        );
    }
    if outputs.are_to_come {
        say!("{folder}: the first key is needed still, until jobs that began with it have ended");
    }
}
