//! What an engine is started for.

use std::path::Path;

use crate::model::fault::JobError;
use crate::model::os_text::OsText;
use crate::store::Published;

/// What the engine is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Watch the rules' folders and take up every unfinished job.
    Serve,
    /// Only the files that are handed to [`super::Act::Ingest`].
    Ingest,
    /// The same as a dry run: its store and outputs are its own, and it looks at no claim folder.
    Rehearse,
}

/// What a dry run asks of the real world: all that it writes is its own.
pub(crate) struct Rehearsal {
    /// Whether something lies where this output would really go.
    pub is_taken: Box<dyn Fn(&Path) -> bool + Send + Sync>,
    /// What was published before: a rule's name, a content's hash, a delivery's key.
    pub published: AskPublished,
}

/// See [`Rehearsal::published`].
pub(crate) type AskPublished =
    Box<dyn Fn(&str, Option<&str>, Option<&OsText>) -> Result<Published, JobError> + Send + Sync>;
