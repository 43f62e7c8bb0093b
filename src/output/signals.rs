//! Manifest and marker: what tells consumers that a job's outputs are there.
//!
//! Each has a hidden, empty file in its folder before the intent is durable, and appears by renaming it. So one that was published is
//! told from one that was not, also where a consumer has already taken it: nobody is told twice that the outputs are there.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::OutputError;
use super::hidden::hidden_name;
use super::renaming::{Renaming, is_there, tell_gone};
use crate::durable_fs::{self, Renamed};
use crate::model::identity::FolderIdentity;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;

/// Manifest and marker are for consumers.
const MODE: u32 = 0o644;
/// Names of their hidden files, after the job's prefix.
const MANIFEST: &str = "manifest";
const MARKER: &str = "marker";

/// The hidden files of manifest and marker; none where the rule has none, or in an intent of an older version.
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
    partial: OsText,
    folder: FolderIdentity,
    /// Whether it has its final name.
    #[serde(default, skip_serializing_if = "Renaming::is_begun")]
    pub(super) renaming: Renaming,
}

impl SignalPartials {
    /// Makes them in the folders of the final paths, which the caller has made and will sync.
    pub(super) fn prepare(
        job: JobId,
        manifest: Option<&Path>,
        marker: Option<&Path>,
    ) -> Result<Self, OutputError> {
        let make =
            |path: Option<&Path>, word| path.map(|path| SignalPartial::make(job, path, word)).transpose();
        Ok(Self { manifest: make(manifest, MANIFEST)?, marker: make(marker, MARKER)? })
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &SignalPartial> {
        [&self.manifest, &self.marker].into_iter().flatten()
    }

    pub(super) fn each_mut(&mut self) -> impl Iterator<Item = &mut SignalPartial> {
        [&mut self.manifest, &mut self.marker].into_iter().flatten()
    }
}

impl SignalPartial {
    fn make(job: JobId, path: &Path, word: &str) -> Result<Self, OutputError> {
        let folder = durable_fs::parent_of(path);
        let partial = folder.join(hidden_name(job, word));
        durable_fs::create_private(&partial)?;
        let found = durable_fs::folder_identity(folder)
            .and_then(|found| found.ok_or_else(|| io::ErrorKind::NotFound.into()))
            .map_err(|e| OutputError::fs("look at", folder, e))?;
        Ok(Self { partial: OsText::from(partial), folder: found, renaming: Renaming::NotYet })
    }

    /// Whether it was renamed to its final name. A folder that is not the one it was made in says nothing.
    pub(super) fn is_published(&self) -> Result<bool, OutputError> {
        let partial = self.partial.as_path();
        if self.renaming == Renaming::Assumed {
            return Ok(true);
        }
        match fs::symlink_metadata(partial) {
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(OutputError::fs("look at", partial, error)),
        }
        let folder = durable_fs::parent_of(partial);
        if self.has_its_folder()? {
            // One that somebody removed is made anew: what is in it is known.
            return Ok(self.renaming != Renaming::NotYet);
        }
        Err(OutputError::OtherFolder { folder: folder.to_owned() })
    }

    fn has_its_folder(&self) -> Result<bool, OutputError> {
        let folder = durable_fs::parent_of(self.partial.as_path());
        let found = durable_fs::folder_identity(folder).map_err(|e| OutputError::fs("look at", folder, e))?;
        Ok(found.is_some_and(|found| self.folder.is_same(&found)))
    }

    /// Takes an operator's word that it counts as published where its folder is gone with it; whether that is so.
    pub(super) fn accept_missing_folder(&mut self) -> Result<bool, OutputError> {
        let is_open = matches!(self.renaming, Renaming::NotYet | Renaming::Begun);
        let is_gone = is_open && !is_there(self.partial.as_path())? && !self.has_its_folder()?;
        if is_gone {
            self.renaming = Renaming::Assumed;
        }
        Ok(is_gone)
    }
}

/// Whether a name is that of a hidden file of this job's manifest or marker.
pub(super) fn is_signal(name: &str, job: JobId) -> bool {
    [MANIFEST, MARKER].iter().any(|word| name == hidden_name(job, word))
}

/// Makes a manifest or marker appear, durably; idempotent. `NameTaken`: another file has come to its name, and stays.
pub(super) fn publish(
    prepared: Option<&mut SignalPartial>,
    path: &Path,
    bytes: &[u8],
    replaces: bool,
) -> Result<Renamed, OutputError> {
    let folder = durable_fs::parent_of(path);
    let Some(prepared) = prepared else {
        durable_fs::make_folder(folder, false)?;
        durable_fs::write_file(path, bytes, true, MODE)?;
        return Ok(Renamed::Done);
    };
    if !prepared.is_published()? {
        let partial = prepared.partial.as_path();
        if !is_one_file(partial, path)? {
            write(partial, bytes)?;
        }
        let renamed = if replaces {
            durable_fs::rename_replace(partial, path)
        } else {
            durable_fs::rename_no_replace(partial, path)
        };
        let renamed = renamed.inspect_err(|error| {
            if prepared.renaming == Renaming::NotYet {
                prepared.renaming = Renaming::refused(error);
            }
        })?;
        if renamed == Renamed::NameTaken {
            return Ok(renamed);
        }
        prepared.renaming = Renaming::Done;
    } else if !is_there(path)? {
        tell_gone(path);
    }
    if prepared.renaming != Renaming::Assumed || is_there(folder)? {
        durable_fs::sync_folder(folder)?;
    }
    Ok(Renamed::Done)
}

/// Where a link stands in for the rename, a crash before its unlink leaves both names: consumers may be reading what is written already.
fn is_one_file(partial: &Path, path: &Path) -> Result<bool, OutputError> {
    let found = |path: &Path| durable_fs::identity_at(path).map_err(|e| OutputError::fs("look at", path, e));
    let published = found(path)?;
    Ok(published.is_some() && published == found(partial)?)
}

fn write(partial: &Path, bytes: &[u8]) -> Result<(), OutputError> {
    let mut file = durable_fs::create_private(partial)?;
    file.write_all(bytes).map_err(|e| OutputError::fs("write", partial, e))?;
    durable_fs::set_mode(&file, partial, MODE)?;
    // Closed at the end: Windows renames no open file.
    Ok(durable_fs::sync_all(&file, partial)?)
}
