//! A file that goes with a source: its marker, its checksums.

use serde::{Deserialize, Serialize};

use super::default::is_default;
use super::identity::FileIdentity;
use super::os_text::OsText;

/// A file that belongs to a source and goes where it goes, like its marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Companion {
    /// Where it lay when it was found.
    pub path: OsText,
    /// Where it lies while it is ours; none where nothing is renamed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub claimed: Option<OsText>,
    /// What it was then: another file of this name belongs to another source.
    pub identity: FileIdentity,
    /// Where it goes, or went, when its source is retired.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retired_to: Option<OsText>,
    /// What is kept of it is a copy: others could have changed it itself.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_copied: bool,
    /// The copy that was made of it and not renamed yet, when that was written: behind a crash nothing else counts as its copy.
    #[serde(default, skip_serializing_if = "is_default")]
    pub copied_as: Option<FileIdentity>,
    /// It is the marker of a whole folder: once it was written anew it stands for other files.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_of_folder: bool,
}

impl Companion {
    /// One where it was found: not claimed, and not of a whole folder.
    pub(crate) fn found(path: impl Into<OsText>, identity: FileIdentity) -> Self {
        Self {
            path: path.into(),
            claimed: None,
            identity,
            retired_to: None,
            is_copied: false,
            copied_as: None,
            is_of_folder: false,
        }
    }

    /// Says where it goes, or lies.
    pub(crate) fn retire_to(&mut self, name: Option<OsText>) {
        self.retired_to = name;
        self.copied_as = None;
    }

    /// Notes the copy that is on its way there.
    pub(crate) fn note_copy(&mut self, copy: FileIdentity) {
        self.copied_as = Some(copy);
    }
}
