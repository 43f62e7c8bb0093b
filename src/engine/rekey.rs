//! The store written anew by the key that encrypts now: the service does it beside its work, where there is anything to be done.
//!
//! What is asked of each value is whether it lies as it would be written now, so that a rekey that broke off goes on by beginning again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::shared::Shared;
use crate::at_rest::KeyRing;
use crate::durable_fs::{self, FsError};
use crate::model::os_text::escaped_path;
use crate::model::rule::OUTPUTS_FOLDER;
use crate::store::{Renewed, Store, StoreError};

/// What became of a rekey that came to its end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Rekeyed {
    pub(crate) renewed: Renewed,
    /// Outputs that are kept in the store go with their jobs: so many need a key that encrypts no more, by its public key, or are in clear.
    pub(crate) outputs: Outputs,
}

/// Outputs that are kept, and are not by the key that encrypts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outputs {
    pub(crate) by_other_keys: Vec<(String, u64)>,
    pub(crate) in_clear: u64,
}

/// None: there was nothing to do, or `goes_on` ended it.
pub(crate) fn rekey(
    store: &Store,
    data_dir: &Path,
    goes_on: &mut dyn FnMut(Renewed) -> bool,
) -> Result<Option<Rekeyed>, StoreError> {
    if !store.is_to_be_renewed()? {
        return Ok(None);
    }
    let mut outputs = Outputs::default();
    let needed = || {
        if let Some(ring) = store.keys() {
            outputs = Outputs::kept_in(&data_dir.join(OUTPUTS_FOLDER), &ring)?;
        }
        Ok(outputs.by_other_keys.iter().map(|(key, _)| key.clone()).collect())
    };
    let renewed = store.renew(needed, goes_on)?;
    Ok(renewed.map(|renewed| Rekeyed { renewed, outputs }))
}

/// For who has the time: what is wrong is told, and tried again at the next look.
pub(super) fn look(shared: &Arc<Shared>) {
    let mut goes_on = |_| !shared.stop.is_asked();
    match rekey(&shared.store, &shared.service.data_dir, &mut goes_on) {
        Ok(Some(Rekeyed { renewed, outputs })) => {
            let Renewed { values, renewed } = renewed;
            tracing::info!(values, renewed, "the store was written anew by the key that encrypts now");
            for (key, count) in &outputs.by_other_keys {
                tracing::info!(
                    key,
                    outputs = count,
                    "this key is needed until outputs that are kept go with their jobs"
                );
            }
            if outputs.in_clear > 0 {
                tracing::info!(
                    outputs = outputs.in_clear,
                    "outputs that were kept before lie in clear until they go with their jobs"
                );
            }
        }
        Ok(None) => {}
        Err(error) if error.is_poisoned() => {} // who writes next stops the service
        Err(error) => tracing::warn!(%error, "the store cannot be written anew by the key that encrypts now"),
    }
}

impl Outputs {
    fn kept_in(folder: &Path, ring: &KeyRing) -> Result<Self, StoreError> {
        let mut found = Self::default();
        for job in entries(folder)? {
            for file in entries(&job)? {
                match ring.key_of_file(&file) {
                    Ok(Some(key)) if key == ring.recipient() => {}
                    Ok(Some(key)) => found.count(key),
                    Ok(None) => found.in_clear += 1,
                    // It may go with its job meanwhile.
                    Err(error) => {
                        let path = escaped_path(&file);
                        tracing::warn!(path, %error, "it cannot be told by which key this is encrypted");
                    }
                }
            }
        }
        Ok(found)
    }

    fn count(&mut self, key: &str) {
        match self.by_other_keys.iter_mut().find(|(known, _)| known == key) {
            Some((_, count)) => *count += 1,
            None => self.by_other_keys.push((key.to_owned(), 1)),
        }
    }
}

/// What lies in a folder; nothing where it is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let failed = |error| StoreError::from(FsError::new("list", folder, error));
    match durable_fs::list(folder) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        listed => listed.map_err(failed)?.map(|entry| Ok(entry.map_err(failed)?.path)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::at_rest::{AtRest, Encrypt};

    #[test]
    fn what_lies_otherwise_is_written_anew_once_and_kept_outputs_are_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let rekey = |store: &Store| rekey(store, folder.path(), &mut |_| true).expect("is written");
        assert_eq!(rekey(&store), None, "nobody asked for it");
        store.count_start(0).expect("is counted");
        store.encrypt_by(&AtRest { encrypt: Encrypt::Yes, ..AtRest::default() }).expect("begins");
        let outputs = folder.path().join(OUTPUTS_FOLDER).join("JOB");
        std::fs::create_dir_all(&outputs).expect("makes");
        std::fs::write(outputs.join("main.zst"), "in clear").expect("writes");
        let done = rekey(&store).expect("there was something to do");
        assert!(done.renewed.renewed > 0, "{done:?}");
        assert_eq!(done.outputs, Outputs { by_other_keys: Vec::new(), in_clear: 1 });
        assert_eq!(rekey(&store), None, "it is done");
    }
}
