//! The store written anew by the key that encrypts now: the service does it beside its work, where there is anything to be done.
//!
//! What is asked of each value is whether it lies as it would be written now, so that a rekey that broke off goes on by beginning again. That all
//! rows are through is noted in the store; then only the keys of outputs are looked at, until none but the first is needed.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::Engine;
use super::shared::Shared;
use crate::at_rest::KeyRing;
use crate::clock;
use crate::durable_fs::{self, Kind};
use crate::model::at_rest::AtRest;
use crate::model::audit::{AuditEvent, SERVICE};
use crate::model::os_text::escaped_path;
use crate::model::rule::{OUTPUTS_ASIDE_FOLDER, OUTPUTS_FOLDER};
use crate::store::{Due, Renewed, Store, StoreError};

/// Outputs are read to be told by which key they are, and go by the day.
const EVERY: Duration = Duration::from_hours(1);

/// What became of a rekey that came to its end.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rekeyed {
    /// None: the rows had been through before.
    pub(crate) renewed: Option<Renewed>,
    /// Rows that did not open stay as they are, and with them all keys.
    pub(crate) unopened: u64,
    pub(crate) outputs: Outputs,
}

/// Outputs that are kept: they are not written anew, and go with their jobs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outputs {
    /// How many need a key by which nothing else is written now, by its public key.
    pub(crate) by_other_keys: Vec<(String, u64)>,
    /// Of a store that encrypts.
    pub(crate) in_clear: u64,
    /// Files of which it cannot be told by which key they are: all keys stay.
    pub(crate) untold: u64,
    /// A job that has begun writes some by the first key, in a store that encrypts no more.
    pub(crate) are_to_come: bool,
}

/// Where outputs of a data folder are kept; that of the engine that stands aside has those of its jobs for the moment, too.
pub(crate) fn kept_outputs(data_dir: &Path, is_aside: bool) -> Vec<PathBuf> {
    let aside = is_aside.then_some(OUTPUTS_ASIDE_FOLDER);
    std::iter::once(OUTPUTS_FOLDER).chain(aside).map(|folder| data_dir.join(folder)).collect()
}

/// None: there was nothing to do, or `goes_on` ended it. `again`: rows that did not open are tried, too.
pub(crate) fn rekey(
    store: &Store,
    kept: &[PathBuf],
    again: bool,
    goes_on: &mut dyn FnMut(Renewed) -> bool,
) -> Result<Option<Rekeyed>, StoreError> {
    let Some(due) = store.due()? else { return Ok(None) };
    let mut done = Rekeyed { renewed: None, unopened: due.unopened, outputs: Outputs::default() };
    if has_rows(due, again) {
        let Some(renewed) = store.renew(goes_on)? else { return Ok(None) };
        done.unopened = renewed.unopened;
        done.renewed = Some(renewed);
    }
    done.outputs = release_keys(store, kept)?;
    Ok(Some(done))
}

/// The same for an operator, whose act it is from its beginning: one that breaks off has written values anew, too.
pub(crate) fn rekey_for(store: &Store, kept: &[PathBuf], by: &str) -> Result<Option<Rekeyed>, StoreError> {
    store.audit(&AuditEvent::new(clock::now(), "rekey", by))?;
    rekey(store, kept, true, &mut |_| true)
}

fn has_rows(due: Due, again: bool) -> bool {
    due.rows || again && due.unopened > 0
}

/// Takes the keys off the list that no output needs. Jobs are looked at first: one that ended since has its outputs there.
fn release_keys(store: &Store, kept: &[PathBuf]) -> Result<Outputs, StoreError> {
    let Some(ring) = store.keys() else { return Ok(Outputs::default()) };
    let encrypts = store.is_encrypted();
    let are_to_come = !encrypts && store.has_sealed_outputs_to_write()?;
    let mut outputs = Outputs { are_to_come, ..Outputs::default() };
    for folder in kept {
        outputs.look_at_all(folder, &ring, encrypts);
    }
    if outputs.untold == 0 {
        let by_first = are_to_come.then(|| ring.recipient());
        let needed: Vec<&str> =
            outputs.by_other_keys.iter().map(|(key, _)| key.as_str()).chain(by_first).collect();
        store.release_keys(&needed)?;
    }
    Ok(outputs)
}

/// When it was looked at what, by the service.
#[derive(Default)]
pub(super) struct Looks {
    last: Option<Instant>,
    has_failed: bool,
    told: Option<Outputs>,
}

impl Looks {
    /// For who has the time, now and then. Rows are begun at once, and outputs looked at each hour; what is wrong is tried again then.
    pub(super) fn look(&mut self, shared: &Arc<Shared>) {
        let is_first = self.last.is_none();
        let is_soon = self.last.is_some_and(|last| last.elapsed() < EVERY);
        let due = match shared.store.due() {
            Ok(Some(due)) if !is_soon || has_rows(due, false) && !self.has_failed => due,
            Ok(_) => return,
            Err(error) => return self.fail(&error, is_soon),
        };
        let mut goes_on = |_| !shared.stop.is_asked();
        let data_dir = &shared.service.data_dir;
        let kept = kept_outputs(data_dir, shared.publishing.aside.is_some());
        let done = rekey(&shared.store, &kept, is_first, &mut goes_on);
        if matches!(done, Ok(None)) && has_rows(due, is_first) {
            return; // it was ended, or is begun again
        }
        (self.last, self.has_failed) = (Some(Instant::now()), false);
        match done {
            Ok(Some(done)) => {
                let event = AuditEvent::new(clock::now(), "rekeyed", SERVICE);
                if done.renewed.is_some()
                    && let Err(error) = shared.store.audit(&event)
                {
                    tracing::warn!(%error, "that the store was written anew is not in the audit trail");
                }
                self.tell(data_dir, done);
            }
            Ok(None) => {}
            Err(error) => self.fail(&error, false),
        }
    }

    fn fail(&mut self, error: &StoreError, is_told: bool) {
        (self.last, self.has_failed) = (self.last.or_else(|| Some(Instant::now())), true);
        // Where it is poisoned, who writes next stops the service.
        if !is_told && !error.is_poisoned() {
            tracing::warn!(%error, "the store cannot be written anew by the key that encrypts now; it is tried again in an hour");
        }
    }

    /// What is as it was told is not told again.
    fn tell(&mut self, data_dir: &Path, done: Rekeyed) {
        let data_dir = escaped_path(data_dir);
        if let Some(Renewed { values, renewed, unopened }) = done.renewed {
            tracing::info!(
                data_dir,
                values,
                renewed,
                "the store was written anew by the key that encrypts now"
            );
            if unopened > 0 {
                tracing::warn!(
                    data_dir,
                    values = unopened,
                    "values of the store do not open, and stay as they are: all keys are needed still; `landfall check --store` names them"
                );
            }
        }
        if self.told.as_ref() != Some(&done.outputs) {
            tell_outputs(&data_dir, &done.outputs);
            self.told = Some(done.outputs);
        }
    }
}

fn tell_outputs(data_dir: &str, outputs: &Outputs) {
    for (key, count) in &outputs.by_other_keys {
        tracing::info!(
            data_dir,
            key,
            outputs = count,
            "this key is needed until outputs that are kept go with their jobs"
        );
    }
    if outputs.in_clear > 0 {
        tracing::info!(
            data_dir,
            outputs = outputs.in_clear,
            "outputs that were kept before lie in clear until they go with their jobs"
        );
    }
    if outputs.untold > 0 {
        tracing::warn!(
            data_dir,
            files = outputs.untold,
            "by which key some outputs are encrypted cannot be told: all keys are needed still"
        );
    }
    if outputs.are_to_come {
        tracing::info!(data_dir, "the first key is needed until jobs that began with it have ended");
    }
}

impl Outputs {
    /// What lies in a folder, whatever folders are in it; nothing where it is none. What goes meanwhile went with its job.
    fn look_at_all(&mut self, folder: &Path, ring: &KeyRing, encrypts: bool) {
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            let entries = match durable_fs::list(&folder) {
                Ok(entries) => entries,
                Err(error) => {
                    self.fail(&folder, &error);
                    continue;
                }
            };
            for entry in entries {
                match entry {
                    Ok(entry) if entry.kind == Kind::Folder => folders.push(entry.path),
                    Ok(entry) if entry.kind == Kind::File => self.look_at(&entry.path, ring, encrypts),
                    Ok(_) => {} // none of ours
                    Err(error) => self.fail(&folder, &error),
                }
            }
        }
    }

    fn look_at(&mut self, file: &Path, ring: &KeyRing, encrypts: bool) {
        match ring.key_of_file(file) {
            Ok(Some(key)) if encrypts && key == ring.recipient() => {}
            Ok(Some(key)) => self.count(key),
            Ok(None) => self.in_clear += u64::from(encrypts),
            Err(error) => self.fail(file, &error),
        }
    }

    fn fail(&mut self, path: &Path, error: &io::Error) {
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            self.untold += 1;
            tracing::debug!(path = escaped_path(path), %error, "it cannot be told by which key this is encrypted");
        }
    }

    fn count(&mut self, key: &str) {
        match self.by_other_keys.iter_mut().find(|(known, _)| known == key) {
            Some((_, count)) => *count += 1,
            None => self.by_other_keys.push((key.to_owned(), 1)),
        }
    }
}

/// What is asked of another data folder, whose store is opened for that, where there is one.
pub(crate) fn store_aside(data_dir: &Path, at_rest: &AtRest) -> Result<Option<Engine>, StoreError> {
    Ok(Store::open_if_there(data_dir, at_rest)?.map(|store| Engine::over(store, &[])))
}

#[cfg(test)]
#[path = "rekey_tests.rs"]
mod tests;
