//! What became of the outputs of a job that is given up in the middle of publishing.

use std::fmt;

use super::choice::destination_of_rows;
use super::destination::Standing;
use super::error::OutputError;
use super::intent::{FinishedOutput, Intent};
use super::renaming::Renaming;
use crate::durable_fs::FolderRound;
use crate::model::os_text::OsText;

/// What is known of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Became {
    /// It had its final name.
    Published,
    /// It may have had it, and was taken by a consumer since; or somebody removed it while it was hidden.
    Gone,
    /// Its folder is away, or another one, or its final name is not durable: it may have it.
    Unknown,
    /// It never had it.
    Unpublished,
}

impl fmt::Display for Became {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Published => "published",
            Self::Gone => "published and taken, or removed while it was hidden",
            Self::Unknown => "its folder is not there, or does not answer, and it may be published",
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

    /// What became of each output, in their order; a look at each. What is published is so durably: the last try may have met trouble before.
    pub(crate) fn what_became(&self) -> Result<Vec<Became>, OutputError> {
        let to = destination_of_rows();
        let mut round = FolderRound::default();
        let look = |(finished, known): (&FinishedOutput, Became)| {
            let path = finished.output.path.as_path();
            Ok(match to.standing(&finished.hidden, path) {
                Ok(Standing::Hidden | Standing::Replaced) => Became::Unpublished,
                Ok(Standing::Published) => match to.sync_published(path, false, &mut round) {
                    Ok(()) => Became::Published,
                    Err(error) if error.is_failed_sync() => return Err(error),
                    Err(_) => Became::Unknown,
                },
                Ok(Standing::Gone) if finished.renaming == Renaming::Begun => Became::Gone,
                Ok(Standing::Gone | Standing::Away) | Err(_) => known,
            })
        };
        self.outputs.iter().zip(self.is_known_of()).map(look).collect()
    }

    /// Before what is known of the renames is written down: one is done where its final name is durable, and has begun else.
    pub(crate) fn sync_done(&mut self) -> Result<(), OutputError> {
        let to = destination_of_rows();
        let mut round = FolderRound::default();
        for finished in self.outputs.iter_mut().filter(|finished| finished.renaming == Renaming::Done) {
            match to.sync_published(finished.output.path.as_path(), false, &mut round) {
                Err(error) if error.is_failed_sync() => return Err(error),
                Err(_) => finished.renaming = Renaming::Begun,
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Manifest and marker that are there: they were published, and durably.
    pub(crate) fn signals_there(&self) -> Vec<&OsText> {
        let to = destination_of_rows();
        let signals = [(&self.manifest, &self.signals.manifest), (&self.marker, &self.signals.marker)];
        let there = signals.into_iter().filter_map(|(path, signal)| Some((path.as_ref()?, signal.as_ref()?)));
        let is_there = |(path, signal): &(&OsText, &super::signals::SignalPartial)| {
            signal.is_published(&*to, path.as_path()).unwrap_or(false)
                && to.sync_published(path.as_path(), true, &mut FolderRound::default()).is_ok()
        };
        there.filter(is_there).map(|(path, _)| path).collect()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::durable_fs;
    use crate::model::category::Category;
    use crate::model::job::PublishedOutput;
    use crate::output::destination::Hidden;

    /// An output that was renamed, as far as whoever did it knows.
    fn renamed(folder: &Path, renaming: Renaming) -> Intent {
        let (hidden, path) = (folder.join(".partial"), folder.join("a.csv"));
        std::fs::write(&path, "1\n").expect("writes");
        let output = PublishedOutput {
            category: Category::main(),
            entry: None,
            path: path.as_path().into(),
            records: 1,
            bytes: 2,
            sha256: None,
        };
        let hidden = Hidden {
            path: hidden.as_path().into(),
            folder: durable_fs::folder_identity(folder).expect("looks").expect("is there"),
            identity: durable_fs::identity_at(&path).expect("looks"),
        };
        let wanted = path.as_path().into();
        Intent {
            outputs: vec![FinishedOutput { hidden, wanted, output, number: 0, renaming }],
            ..Intent::default()
        }
    }

    /// Goal: what is written down as published no power cut takes back. Windows has no sync of folders.
    #[test]
    fn a_rename_that_cannot_be_made_durable_is_not_written_down_as_done() {
        for is_away in [false, true] {
            let parent = tempfile::tempdir().expect("a folder");
            let folder = parent.path().join("out");
            std::fs::create_dir(&folder).expect("makes");
            let mut intent = renamed(&folder, Renaming::Done);
            if is_away {
                durable_fs::rename_no_replace(&folder, &parent.path().join("away")).expect("renames");
            }
            intent.sync_done().expect("no sync failed");
            let expected = if is_away { Renaming::Begun } else { Renaming::Done };
            assert_eq!(intent.outputs[0].renaming, expected);
            let became = if is_away { Became::Unknown } else { Became::Published };
            assert_eq!(intent.what_became().expect("no sync failed"), [became]);
        }
    }
}
