//! Encryption at rest, from the store's side: its keys when it is opened, when somebody asks for it later, and when they are exchanged.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;

use super::Store;
use super::error::StoreError;
use super::sealed::{Lie, Renewed, Sealed, Seals};
use crate::at_rest::{self, KeyRing, KeysError};
use crate::model::at_rest::{AtRest, Encrypt, KeysFrom};
use crate::model::fault::Fault as _;
use crate::model::os_text::escaped_path;

/// Goes by what is asked for, and by what is sealed already. What cannot be read refuses the store, and changes nothing.
pub(super) fn begin(
    rows: &Sealed,
    at_rest: &AtRest,
    data_dir: &Path,
    is_new: bool,
) -> Result<(), StoreError> {
    let _nobody_else = rows.hold_list();
    let said = rows.said()?;
    let known = said.clone().unwrap_or_default();
    let first = |keys: &KeysFrom, data_dir: &Path| at_rest::load_or_make(keys, data_dir).map(Some);
    let Some(ring) = keys_for(&known.keys, at_rest, data_dir, first)? else { return Ok(()) };
    let seals = match at_rest.encrypt {
        Encrypt::Yes => true,
        Encrypt::No => false,
        Encrypt::AsItIs => !known.has_ended,
    };
    let mut now = known.clone();
    // Where nothing is sealed any more, jobs that began before may have outputs to write.
    if !now.keys.iter().any(|key| key == ring.recipient()) {
        now.keys.push(ring.recipient().to_owned());
    }
    now.has_ended = !seals;
    let lie = if seals { Lie::By(ring.recipient().to_owned()) } else { Lie::InClear };
    if said.is_none() && is_new {
        now.rows = Some(lie);
    } else if now.rows.as_ref() != Some(&lie) {
        now.rows = None; // before the first is written otherwise
    }
    if said.as_ref() != Some(&now) {
        super::put_format(rows, super::FORMAT_SEALED)?;
        rows.say(&now)?;
    }
    rows.go_by(Arc::new(ring), seals);
    Ok(())
}

/// The keys that a store is read by, each of those that it needs among them; none: it is in clear, and stays so. `first` has those of a store
/// that is encrypted from now on.
fn keys_for(
    needed: &[String],
    at_rest: &AtRest,
    data_dir: &Path,
    first: impl Fn(&KeysFrom, &Path) -> Result<Option<KeyRing>, KeysError>,
) -> Result<Option<KeyRing>, StoreError> {
    let ring = match at_rest.encrypt {
        Encrypt::Yes if needed.is_empty() => first(&at_rest.keys, data_dir),
        Encrypt::No | Encrypt::AsItIs if needed.is_empty() => Ok(None),
        _ => at_rest::load(&at_rest.keys, data_dir).map(Some),
    };
    let no_keys = |error: KeysError| {
        let (hint, sealed_by) = (error.hint().unwrap_or_default(), needed.first().cloned());
        StoreError::Keys { hint, sealed_by, source: Box::new(error) }
    };
    let Some(ring) = ring.map_err(no_keys)? else { return Ok(None) };
    match needed.iter().find(|key| !ring.has(key)) {
        None => Ok(Some(ring)),
        Some(key) => Err(StoreError::NoKey {
            data_dir: data_dir.to_owned(),
            key: key.clone(),
            from: ring.from().to_owned(),
        }),
    }
}

/// What opening a store that needs these keys would refuse. Nothing is written, and no key is made.
pub(crate) fn judge_keys(needed: &[String], at_rest: &AtRest, data_dir: &Path) -> Result<(), StoreError> {
    keys_for(needed, at_rest, data_dir, at_rest::load_if_made).map(drop)
}

/// What is not yet as it would be written now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Due {
    /// Rows may be in clear, or by another key.
    pub(crate) rows: bool,
    /// So many did not open when they were met last.
    pub(crate) unopened: u64,
    /// There are keys on the list by which nothing is written any more.
    pub(crate) keys: bool,
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

    /// Public keys, one for each by which something in the store may be encrypted.
    pub(crate) fn keys_needed(&self) -> Result<Vec<String>, StoreError> {
        Ok(self.inner.rows.said()?.unwrap_or_default().keys)
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

    /// What is to be done so that all lies as it would be written now; none: nothing.
    pub(crate) fn due(&self) -> Result<Option<Due>, StoreError> {
        let rows = &self.inner.rows;
        if rows.ring().is_none() {
            return Ok(None);
        }
        let said = rows.said()?.unwrap_or_default();
        let lie = rows.lie();
        let due = Due {
            rows: said.rows.as_ref() != Some(&lie) && !said.keys.is_empty(),
            unopened: said.unopened,
            keys: said.keys.into_iter().any(|key| Lie::By(key) != lie),
        };
        Ok(Some(due).filter(|due| *due != Due::default()))
    }

    /// Has every value as it would be written now, and says so durably; none: `goes_on` said to end it.
    pub(crate) fn renew(
        &self,
        goes_on: &mut dyn FnMut(Renewed) -> bool,
    ) -> Result<Option<Renewed>, StoreError> {
        let rows = &self.inner.rows;
        let lie = rows.lie();
        let Some(done) = rows.renew(goes_on)? else { return Ok(None) };
        let _nobody_else = rows.hold_list();
        if rows.lie() != lie {
            return Ok(None); // it is to be begun again
        }
        let said = rows.said()?.unwrap_or_default();
        rows.say(&Seals { rows: Some(lie), unopened: done.unopened, ..said })?;
        Ok(Some(done))
    }

    /// Takes keys off the list that neither rows nor files (`needed`) are by. All stay where a row may be by any of them.
    pub(crate) fn release_keys(&self, needed: &[&str]) -> Result<(), StoreError> {
        let rows = &self.inner.rows;
        let _nobody_else = rows.hold_list();
        let (said, lie) = (rows.said()?.unwrap_or_default(), rows.lie());
        if said.rows.as_ref() != Some(&lie) || said.unopened > 0 {
            return Ok(());
        }
        let stays = |key: &String| Lie::By(key.clone()) == lie || needed.contains(&key.as_str());
        let keys: Vec<String> = said.keys.iter().filter(|key| stays(key)).cloned().collect();
        if keys != said.keys {
            rows.say(&Seals { keys, ..said })?;
        }
        Ok(())
    }

    /// Whether a job that goes on yet writes outputs that are encrypted as the data folder is, whatever is said now: it keeps its rule.
    pub(crate) fn has_sealed_outputs_to_write(&self) -> Result<bool, StoreError> {
        let mut rules = BTreeMap::new();
        for job in self.unfinished_jobs()? {
            if let Entry::Vacant(unknown) = rules.entry(job.rule_hash) {
                let rule = self.rule(unknown.key())?;
                let is_sealed = rule.is_some_and(|rule| rule.outputs.values().any(|output| output.is_sealed));
                if *unknown.insert(is_sealed) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}
