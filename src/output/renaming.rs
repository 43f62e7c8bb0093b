//! What is known of the rename of a hidden file, and what is told of one that is gone.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::durable_fs::FsError;
use crate::model::os_text::OsText;

/// What is known of the rename of a hidden file to its final name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Renaming {
    /// It may have happened: nobody who would know is alive. A hidden file that is gone counts as published.
    #[default]
    Begun,
    /// It has not happened. A hidden file that is gone was removed by somebody.
    NotYet,
    Done,
    /// It counts as happened, and neither name was there: a consumer took the file, or somebody removed it.
    Assumed,
}

impl Renaming {
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    pub(super) fn is_begun(&self) -> bool {
        *self == Self::Begun
    }

    /// After a rename that was refused with this error.
    pub(super) fn refused(error: &FsError) -> Self {
        use io::ErrorKind as E;
        // A file system over a network may have done what it did not confirm.
        let never = matches!(
            error.source.kind(),
            E::PermissionDenied
                | E::ReadOnlyFilesystem
                | E::StorageFull
                | E::QuotaExceeded
                | E::NotFound
                | E::NotADirectory
                | E::IsADirectory
        );
        if never { Self::NotYet } else { Self::Begun }
    }
}

/// What a consumer took cannot be told from what somebody removed while it was hidden.
pub(super) fn tell_gone(path: &Path) {
    tracing::warn!(
        output = %OsText::from(path),
        hint = "if no consumer took it, somebody removed its hidden file; see what else of the job is there before its source is taken again",
        "an output counts as published, and neither it nor its partial is there"
    );
}
