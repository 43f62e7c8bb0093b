//! What became of the outputs of a job that is given up in the middle of publishing.

use std::fmt;

use super::choice::destination_of_rows;
use super::destination::Standing;
use super::intent::{FinishedOutput, Intent};
use super::renaming::Renaming;
use crate::model::os_text::OsText;

/// What is known of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Became {
    /// It had its final name.
    Published,
    /// It may have had it, and was taken by a consumer since; or somebody removed it while it was hidden.
    Gone,
    /// Its folder is away, or another one: it may have had its final name.
    Unknown,
    /// It never had it.
    Unpublished,
}

impl fmt::Display for Became {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Published => "published",
            Self::Gone => "published and taken, or removed while it was hidden",
            Self::Unknown => "its folder is not there, and it may be published",
            Self::Unpublished => "not published",
        })
    }
}

impl Intent {
    /// What is known without looking anywhere: where what it lies on does not answer.
    pub(crate) fn is_known_of(&self) -> Vec<Became> {
        let of_row = |finished: &FinishedOutput| match finished.renaming {
            Renaming::Done => Became::Published,
            Renaming::NotYet => Became::Unpublished,
            Renaming::Assumed => Became::Gone,
            Renaming::Begun => Became::Unknown,
        };
        self.outputs.iter().map(of_row).collect()
    }

    /// What became of each output, in their order; a look at each.
    pub(crate) fn what_became(&self) -> Vec<Became> {
        let to = destination_of_rows();
        let look = |(finished, known): (&FinishedOutput, Became)| {
            let path = finished.output.path.as_path();
            match to.standing(&finished.hidden, path) {
                Ok(Standing::Hidden | Standing::Replaced) => Became::Unpublished,
                Ok(Standing::Published) => Became::Published,
                Ok(Standing::Gone) if finished.renaming == Renaming::Begun => Became::Gone,
                Ok(Standing::Gone | Standing::Away) | Err(_) => known,
            }
        };
        self.outputs.iter().zip(self.is_known_of()).map(look).collect()
    }

    /// Manifest and marker that are there: they were published.
    pub(crate) fn signals_there(&self) -> Vec<&OsText> {
        let to = destination_of_rows();
        let signals = [(&self.manifest, &self.signals.manifest), (&self.marker, &self.signals.marker)];
        let there = signals.into_iter().filter_map(|(path, signal)| Some((path.as_ref()?, signal.as_ref()?)));
        let is_there = |(path, signal): &(&OsText, &super::signals::SignalPartial)| {
            signal.is_published(&*to, path.as_path()).unwrap_or(false)
        };
        there.filter(is_there).map(|(path, _)| path).collect()
    }
}
