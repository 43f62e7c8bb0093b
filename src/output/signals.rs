//! Manifest and marker: what tells consumers that a job's outputs are there.
//!
//! Each has a hidden, empty file in its folder before the intent is durable, and appears by renaming it. So one that was published is
//! told from one that was not, also where a consumer has already taken it: nobody is told twice that the outputs are there.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::destination::{Destination, Hidden, Standing};
use super::error::OutputError;
use super::renaming::{Renaming, tell_gone};
use crate::durable_fs::{FolderRound, Renamed};

/// Manifest and marker are for consumers.
const MODE: u32 = 0o644;

/// The hidden files of manifest and marker; none where the rule has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalPartials {
    /// Of the manifest.
    pub manifest: Option<SignalPartial>,
    /// Of the marker.
    pub marker: Option<SignalPartial>,
}

/// A hidden file that becomes a manifest or marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignalPartial {
    hidden: Hidden,
    #[serde(default, skip_serializing_if = "Renaming::is_begun")]
    pub(super) renaming: Renaming,
}

impl SignalPartials {
    pub(super) fn each(&self) -> impl Iterator<Item = &SignalPartial> {
        [&self.manifest, &self.marker].into_iter().flatten()
    }

    pub(super) fn each_mut(&mut self) -> impl Iterator<Item = &mut SignalPartial> {
        [&mut self.manifest, &mut self.marker].into_iter().flatten()
    }
}

impl SignalPartial {
    pub(super) fn new(hidden: Hidden) -> Self {
        Self { hidden, renaming: Renaming::NotYet }
    }

    /// Whether it was renamed to its final name. A folder that is not the one it was made in says nothing.
    pub(super) fn is_published(&self, to: &dyn Destination, path: &Path) -> Result<bool, OutputError> {
        if self.renaming == Renaming::Assumed {
            return Ok(true);
        }
        match to.standing(&self.hidden, path)? {
            Standing::Hidden | Standing::Replaced => Ok(false),
            // One that somebody removed is made anew: what is in it is known.
            Standing::Published | Standing::Gone => Ok(self.renaming != Renaming::NotYet),
            Standing::Away => Err(OutputError::other_folder(self.hidden.path.as_path())),
        }
    }

    /// Takes an operator's word that it counts as published where its folder is gone with it; whether that is so.
    pub(super) fn accept_missing_folder(&mut self, to: &dyn Destination) -> Result<bool, OutputError> {
        let is_open = matches!(self.renaming, Renaming::NotYet | Renaming::Begun);
        let path = self.hidden.path.as_path();
        let is_gone = is_open && to.standing(&self.hidden, path)? == Standing::Away;
        if is_gone {
            self.renaming = Renaming::Assumed;
        }
        Ok(is_gone)
    }
}

/// Makes a manifest or marker appear, durably; idempotent. `NameTaken`: another file has come to its name, and stays.
pub(super) fn publish(
    to: &dyn Destination,
    prepared: Option<&mut SignalPartial>,
    path: &Path,
    bytes: &[u8],
    replaces: bool,
) -> Result<Renamed, OutputError> {
    let prepared = prepared.ok_or(OutputError::Misuse("a signal was not prepared"))?;
    if !prepared.is_published(to, path)? {
        to.write(&prepared.hidden, path, bytes, MODE)?;
        let renamed = to.publish(&prepared.hidden, path, replaces);
        let renamed = renamed.inspect_err(|error| {
            if prepared.renaming == Renaming::NotYet {
                prepared.renaming = Renaming::refused(error);
            }
        })?;
        if renamed == Renamed::NameTaken {
            return Ok(renamed);
        }
        prepared.renaming = Renaming::Begun;
        // Its folder may have gone away, or another have stood in for it: a signal counts where its hidden file was and is no more.
        let is_home = matches!(to.standing(&prepared.hidden, path)?, Standing::Published | Standing::Gone);
        if renamed == Renamed::Missing || !is_home {
            return Err(OutputError::other_folder(prepared.hidden.path.as_path()));
        }
        prepared.renaming = Renaming::Done;
    } else if !to.is_taken(path)? {
        tell_gone(path);
    }
    to.sync_published(path, prepared.renaming == Renaming::Assumed, &mut FolderRound::default())?;
    Ok(Renamed::Done)
}
