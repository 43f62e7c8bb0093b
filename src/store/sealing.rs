//! Encryption at rest, from the store's side: its keys when it is opened, when somebody asks for it later, and when they are exchanged.

use std::path::Path;
use std::sync::Arc;

use super::Store;
use super::error::StoreError;
use super::sealed::{Renewed, Sealed, Seals};
use crate::at_rest::{self, KeyRing};
use crate::model::at_rest::{AtRest, Encrypt};
use crate::model::fault::Fault as _;
use crate::model::os_text::escaped_path;

/// Goes by what is asked for, and by what is sealed already. What cannot be read refuses the store, and changes nothing.
pub(super) fn begin(
    rows: &Sealed,
    at_rest: &AtRest,
    data_dir: &Path,
    is_new: bool,
) -> Result<(), StoreError> {
    let said = rows.said()?;
    let known = said.clone().unwrap_or_default();
    if known.keys.is_empty() && at_rest.encrypt != Encrypt::Yes {
        return Ok(());
    }
    let ring = if known.keys.is_empty() {
        at_rest::load_or_make(&at_rest.keys, data_dir)
    } else {
        at_rest::load(&at_rest.keys, data_dir)
    };
    let ring = ring.map_err(|error| no_keys(error, &known))?;
    if let Some(key) = known.keys.iter().find(|key| !ring.has(key)) {
        return Err(StoreError::NoKey {
            data_dir: data_dir.to_owned(),
            key: key.clone(),
            from: ring.from().to_owned(),
        });
    }
    let seals = match at_rest.encrypt {
        Encrypt::Yes => true,
        Encrypt::No => false,
        Encrypt::AsItIs => !known.has_ended,
    };
    let mut now = known.clone();
    if seals && !now.keys.iter().any(|key| key == ring.recipient()) {
        now.keys.push(ring.recipient().to_owned());
    }
    now.has_clear |= said.is_none() && !is_new || known.has_ended;
    now.has_ended = !seals;
    if said.as_ref() != Some(&now) {
        super::put_format(rows, super::FORMAT_SEALED)?;
        rows.say(&now)?;
    }
    rows.go_by(Arc::new(ring), seals);
    Ok(())
}

fn no_keys(error: at_rest::KeysError, known: &Seals) -> StoreError {
    let (hint, sealed_by) = (error.hint().unwrap_or_default(), known.keys.first().cloned());
    StoreError::Keys { hint, sealed_by, source: Box::new(error) }
}

impl Store {
    /// Encrypts from now on, where that is asked for and was not yet.
    pub(crate) fn encrypt_by(&self, at_rest: &AtRest) -> Result<(), StoreError> {
        let rows = &self.inner.rows;
        let Some(data_dir) = &self.inner.data_dir else { return Ok(()) };
        if at_rest.encrypt != Encrypt::Yes || rows.seals() {
            return Ok(());
        }
        begin(rows, at_rest, data_dir, false)?;
        self.inner.spool.seal()?;
        tracing::info!(data_dir = escaped_path(data_dir), "what is kept is encrypted from now on");
        Ok(())
    }

    /// Whether what is written now is encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.inner.rows.seals()
    }

    /// The keys, where it is encrypted, or was.
    pub(crate) fn keys(&self) -> Option<Arc<KeyRing>> {
        self.inner.rows.ring()
    }

    /// The public key that files in the data folder are encrypted to, where there is one.
    pub(crate) fn recipient(&self) -> Option<String> {
        self.keys().map(|ring| ring.recipient().to_owned())
    }

    /// Whether values may be there that would be written otherwise now: in clear, or by another key.
    pub(crate) fn is_to_be_renewed(&self) -> Result<bool, StoreError> {
        let Some(ring) = self.keys() else { return Ok(false) };
        let said = self.inner.rows.said()?.unwrap_or_default();
        let others = said.keys.iter().any(|key| key != ring.recipient());
        Ok(if self.inner.rows.seals() { said.has_clear || others } else { !said.keys.is_empty() })
    }

    /// Has every value as it would be written now; none: `goes_on` said to end it. Keys that files still need (`needed`) stay in the list.
    pub(crate) fn renew(
        &self,
        needed: impl FnOnce() -> Result<Vec<String>, StoreError>,
        goes_on: &mut dyn FnMut(Renewed) -> bool,
    ) -> Result<Option<Renewed>, StoreError> {
        let rows = &self.inner.rows;
        let Some(done) = rows.renew(goes_on)? else { return Ok(None) };
        let Some(ring) = self.keys() else { return Ok(Some(done)) };
        let mut keys: Vec<String> = needed()?.into_iter().filter(|key| key != ring.recipient()).collect();
        if rows.seals() {
            keys.insert(0, ring.recipient().to_owned());
        }
        rows.say(&Seals { keys, has_clear: false, has_ended: !rows.seals() })?;
        Ok(Some(done))
    }
}
