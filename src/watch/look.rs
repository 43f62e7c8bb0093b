//! One look at a file: what it is, and whether somebody still writes it.

use std::io;
use std::path::Path;

use super::probe;
use crate::durable_fs;
use crate::model::identity::FileIdentity;

/// Whether somebody has the file open for writing, as far as the system tells.
pub(super) fn has_writer(path: &Path, manner: probe::Manner) -> bool {
    matches!(probe::examine_by(path, false, manner), Ok(probe::Examined::HasWriter))
}

/// The same of a file that no sender has to do with.
pub(crate) fn is_written(path: &Path) -> bool {
    probe::is_written(path)
}

/// What one look at a file told.
pub(crate) struct Look {
    /// Somebody has it open for writing, as far as the system tells; then nothing else was asked.
    pub has_writer: bool,
    /// What it is; none where nothing lies or where it is no regular file.
    pub identity: Option<FileIdentity>,
}

/// Whether somebody has the file open for writing, and what it is. One that cannot be opened has no writer as far as is known.
pub(crate) fn look_at(path: &Path) -> io::Result<Look> {
    match probe::examine(path, false) {
        Ok(probe::Examined::HasWriter) => Ok(Look { has_writer: true, identity: None }),
        Ok(probe::Examined::Quiet { identity, .. }) => {
            Ok(Look { has_writer: false, identity: Some(identity) })
        }
        Ok(probe::Examined::Gone) | Err(_) => {
            Ok(Look { has_writer: false, identity: durable_fs::identity_at(path)? })
        }
    }
}

/// Whether this process ever met a file of which the system does not tell who writes it.
pub(crate) fn is_blind() -> bool {
    probe::is_blind()
}

/// Whether somebody has the file open for writing, or that cannot be seen.
pub(crate) fn may_have_writer(path: &Path) -> bool {
    !matches!(
        probe::examine(path, false),
        Ok(probe::Examined::Quiet { is_blind: false, .. } | probe::Examined::Gone)
    )
}

/// What cannot be seen in a folder of another user without the right to lease his files.
pub(super) const BLIND: &str = "whether somebody still writes a file here cannot be seen: this user may take no leases on the files of others, so that an upload which \
                     stalls longer than `ready.stable_for` is taken half; give the service CAP_LEASE (`AmbientCapabilities` and `CapabilityBoundingSet` of its unit), or let senders rename or send markers";

pub(super) const MISSING: &str = "the folder is not there yet";
pub(super) const UNLISTED: &str = "the folder cannot be read";

/// What follows the reason of a file that waits for longer than its rule has it.
pub(super) const LATE: &str = " (late: longer than `ready.late_after`)";
/// What the reason of a file begins with that cannot be looked at.
pub(super) const UNREADABLE: &str = "cannot be read";

/// What the reason of one begins with that cannot be opened.
pub(super) const UNOPENED: &str = "cannot be opened";

/// What is said of a thread that is in a file system which does not answer: where it is, and how long.
pub(crate) const HERE_FOR: &str = "has been here for";

/// Whether a file cannot be looked at of which this is told.
pub(super) fn is_unreadable(reason: &str) -> bool {
    reason.starts_with(UNREADABLE)
}

/// Whether this, which is told among the reasons of waiting files, is told of a folder: no file is known that waits for it.
pub(crate) fn is_of_folder(reason: &str) -> bool {
    is_mere_note(reason) || reason == MISSING || reason.starts_with(UNLISTED) || reason.contains(HERE_FOR)
}

/// Of these, whether nothing waits for it.
pub(crate) fn is_mere_note(reason: &str) -> bool {
    reason == BLIND
}

/// Of a folder in which this user cannot see who still writes: why, and what to do.
pub(crate) fn blind_spot(folder: &Path) -> Option<&'static str> {
    probe::is_blind_to(folder).then_some(BLIND)
}
