//! Publishing: the durable word on what is to appear where, and rolling it forward.
//!
//! ```text
//! end -> sync -> choose -> [engine: intent durable] -> rename each -> sync folders -> [engine: published] -> manifest -> marker
//! ```
//!
//! A crash before the intent leaves nothing visible. After it the renames are repeated: a partial that is gone was renamed, even if a
//! consumer has already taken the file. That holds only in the folder that the partial was written to: while its file system is not
//! mounted, a folder of the same name may lie in its place. And it holds only where the rename may have begun: whoever runs knows what was
//! renamed, and writes that down when a job has to wait ([`Renaming`]). So the row of a waiting job tells a hidden file that somebody removed
//! from one that was published; it says `Begun` again, durably, before the next try.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::choice::{destination_of, destination_of_rows};
use super::destination::{Destination, Hidden, Standing};
use super::error::OutputError;
use super::naming::signal_paths;
use super::renaming::{Renaming, tell_gone};
use super::signals::{self, SignalPartials};
use crate::durable_fs::{FolderRound, Renamed};
use crate::model::category::Category;
use crate::model::first_free::first_free;
use crate::model::job::{Job, PublishedOutput};
use crate::model::os_text::OsText;
use crate::model::rule::{OnExists, Rule};
use crate::model::template;

/// Where so many names are taken something else is wrong.
const NUMBERS_MAX: u64 = 100_000;

/// A complete, synced partial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FinishedOutput {
    /// Where it lies, and what tells it from another.
    pub hidden: Hidden,
    /// The final path before any number.
    pub wanted: OsText,
    /// What it will be; `path` is the wanted final path until the intent chooses.
    pub output: PublishedOutput,
    /// The number that its name got; 0: none.
    pub number: u64,
    /// Whether it has its final name.
    #[serde(default, skip_serializing_if = "Renaming::is_begun")]
    pub renaming: Renaming,
}

/// The durable word on what is being published: partials and their final names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intent {
    /// In the order of publishing.
    pub outputs: Vec<FinishedOutput>,
    /// Where the job's JSON will be.
    pub manifest: Option<OsText>,
    /// What will say that all is there.
    pub marker: Option<OsText>,
    /// What they are made from: one that is gone was published.
    pub signals: SignalPartials,
}

/// How a roll-forward ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolledForward {
    /// Everything is there and durable.
    Done,
    /// Another file took a name in the meantime: names were chosen anew.
    ChoseAgain,
}

impl Intent {
    /// Chooses the final names by `on_exists`; two outputs of one job in one path, or `fail` with a taken name, are errors.
    /// `reserved`: names that other jobs have chosen and not taken yet. Manifest and marker are numbered with the outputs, so that those
    /// of an earlier job stay and never vouch for this one.
    pub fn choose(
        rule: &Rule,
        job: &Job,
        finished: Vec<FinishedOutput>,
        reserved: &dyn Fn(&Path) -> bool,
    ) -> Result<Self, OutputError> {
        let mut wanted = Paths::default();
        for FinishedOutput { wanted: path, output, .. } in &finished {
            let entry = output.entry.as_deref().map(OsText::from);
            wanted.take(path.as_path(), &output.category, entry.as_ref())?;
        }
        let mut intent = Self { outputs: finished, ..Self::default() };
        let mut names = intent.names();
        for position in 0..intent.outputs.len() {
            intent.choose_name(rule, position, &mut names, reserved)?;
        }
        intent.choose_signals(rule, job, reserved)?;
        Ok(intent)
    }

    /// As it is written before the first rename: from then on nobody but the running service knows.
    #[must_use]
    pub fn begun(&self) -> Cow<'_, Self> {
        if !self.knows() {
            return Cow::Borrowed(self); // it may be large
        }
        let mut begun = self.clone();
        let outputs = begun.outputs.iter_mut().map(|finished| &mut finished.renaming);
        let signals = begun.signals.each_mut().map(|signal| &mut signal.renaming);
        // An operator's word stands.
        outputs.chain(signals).filter(|it| **it != Renaming::Assumed).for_each(|it| *it = Renaming::Begun);
        Cow::Owned(begun)
    }

    /// Whether it says of any hidden file more than that it may be renamed.
    pub fn knows(&self) -> bool {
        self.outputs.iter().any(|finished| !finished.renaming.is_begun())
            || self.signals.each().any(|signal| !signal.renaming.is_begun())
    }

    /// Whether none of its outputs has got its final name, for sure.
    pub fn is_unpublished(&self) -> bool {
        self.outputs.iter().all(|finished| finished.renaming == Renaming::NotYet)
    }

    /// Outputs that count as published, and are nowhere.
    pub fn assumed(&self) -> impl Iterator<Item = &OsText> {
        let assumed = |finished: &&FinishedOutput| finished.renaming == Renaming::Assumed;
        self.outputs.iter().filter(assumed).map(|finished| &finished.output.path)
    }

    /// Takes an operator's word that hidden outputs which are gone are to count as published; how many.
    pub fn accept_missing(&mut self) -> Result<usize, OutputError> {
        let mut accepted = 0;
        let to = destination_of_rows();
        for finished in &mut self.outputs {
            let is_open = matches!(finished.renaming, Renaming::NotYet | Renaming::Begun);
            if is_open && !to.is_taken(finished.hidden.path.as_path())? {
                finished.renaming = Renaming::Assumed;
                accepted += 1;
            }
        }
        for signal in self.signals.each_mut() {
            accepted += usize::from(signal.accept_missing_folder(&*to)?);
        }
        Ok(accepted)
    }

    /// Every name that this job will have taken in the end.
    pub fn final_names(&self) -> impl Iterator<Item = &Path> {
        let outputs = self.outputs.iter().map(|finished| finished.output.path.as_path());
        outputs.chain([&self.manifest, &self.marker].into_iter().flatten().map(OsText::as_path))
    }

    fn choose_signals(
        &mut self,
        rule: &Rule,
        job: &Job,
        reserved: &dyn Fn(&Path) -> bool,
    ) -> Result<(), OutputError> {
        let [manifest, marker] = signal_paths(rule, job)?;
        let to = destination_of(rule);
        let replaces = replaces(rule);
        let number = self.outputs.iter().map(|finished| finished.number).max().unwrap_or(0);
        let with = |path: &Option<PathBuf>, number: u64| -> Option<PathBuf> {
            path.as_ref()
                .map(|path| if number == 0 { path.clone() } else { template::numbered(path, number) })
        };
        let number = first_free(number, u64::MAX, |number| -> Result<bool, OutputError> {
            for path in [with(&manifest, number), with(&marker, number)].into_iter().flatten() {
                if reserved(&path) || (!replaces && to.is_taken(&path)?) {
                    return Ok(true);
                }
            }
            Ok(false)
        })?;
        let number = number.unwrap_or(u64::MAX);
        self.manifest = with(&manifest, number).map(OsText::from);
        self.marker = with(&marker, number).map(OsText::from);
        Ok(())
    }

    /// All names of this job: there may be thousands, and each is looked up.
    fn names(&self) -> BTreeSet<PathBuf> {
        self.outputs.iter().map(|finished| Paths::key(finished.output.path.as_path())).collect()
    }

    fn choose_name(
        &mut self,
        rule: &Rule,
        position: usize,
        names: &mut BTreeSet<PathBuf>,
        reserved: &dyn Fn(&Path) -> bool,
    ) -> Result<(), OutputError> {
        let Some(FinishedOutput { wanted, output, .. }) = self.outputs.get(position) else { return Ok(()) };
        let path = wanted.as_path();
        match on_exists(rule, &output.category)? {
            OnExists::Fail if reserved(path) || destination_of(rule).is_taken(path)? => {
                Err(OutputError::Exists { path: path.to_owned() })
            }
            OnExists::Fail | OnExists::Replace => Ok(()),
            OnExists::Number => {
                let free = free_name(&*destination_of(rule), path, output.path.as_path(), names, reserved)?;
                self.rename_output(position, &free);
                Ok(())
            }
        }
    }

    fn rename_output(&mut self, position: usize, (path, number): &(PathBuf, u64)) {
        if let Some(finished) = self.outputs.get_mut(position) {
            finished.number = *number;
            finished.output.path = OsText::from(path.as_path());
        }
    }

    /// Renames everything into place; idempotent. Durable after [`Self::sync_folders`]. `NameTaken` leads to new names in `self`, to be made
    /// durable by the caller before it is called again.
    pub fn rename_outputs(
        &mut self,
        rule: &Rule,
        job: &Job,
        reserved: &dyn Fn(&Path) -> bool,
    ) -> Result<RolledForward, OutputError> {
        let mut taken = Vec::new();
        let to = destination_of(rule);
        for (position, finished) in self.outputs.iter_mut().enumerate() {
            if publish(&*to, rule, finished)? == Renamed::NameTaken {
                taken.push(position);
            }
        }
        if taken.is_empty() {
            return Ok(RolledForward::Done);
        }
        let mut names = self.names();
        for position in taken {
            self.choose_again(rule, position, &mut names, reserved)?;
        }
        self.choose_signals(rule, job, reserved)?;
        Ok(RolledForward::ChoseAgain)
    }

    /// Makes the outputs' final names durable.
    pub fn sync_folders(&self, round: &mut FolderRound) -> Result<(), OutputError> {
        let to = destination_of_rows();
        self.outputs.iter().try_for_each(|finished| {
            let may_be_away = finished.renaming == Renaming::Assumed;
            to.sync_published(finished.output.path.as_path(), may_be_away, round)
        })
    }

    fn choose_again(
        &mut self,
        rule: &Rule,
        position: usize,
        names: &mut BTreeSet<PathBuf>,
        reserved: &dyn Fn(&Path) -> bool,
    ) -> Result<(), OutputError> {
        let Some(finished) = self.outputs.get(position) else { return Ok(()) };
        if on_exists(rule, &finished.output.category)? == OnExists::Fail {
            return Err(OutputError::TakenMeanwhile { path: finished.output.path.as_path().to_owned() });
        }
        let (wanted, own) = (finished.wanted.as_path(), finished.output.path.as_path());
        let free = free_name(&*destination_of(rule), wanted, own, names, reserved)?;
        self.rename_output(position, &free);
        Ok(())
    }

    /// Publishes manifest, then marker; idempotent: what was published and taken away does not come again. `job_json` is what goes
    /// into the manifest. `ChoseAgain` leads to new names in `self`, as in [`Self::rename_outputs`].
    pub fn signal(
        &mut self,
        rule: &Rule,
        job: &Job,
        job_json: &dyn Fn() -> Vec<u8>,
        reserved: &dyn Fn(&Path) -> bool,
    ) -> Result<RolledForward, OutputError> {
        let (to, prepared, replaces) = (destination_of(rule), &mut self.signals, replaces(rule));
        if let Some(manifest) = &self.manifest
            && signals::publish(&*to, prepared.manifest.as_mut(), manifest.as_path(), &job_json(), replaces)?
                == Renamed::NameTaken
        {
            self.choose_signals(rule, job, reserved)?;
            return Ok(RolledForward::ChoseAgain);
        }
        if let Some(marker) = &self.marker
            && signals::publish(&*to, prepared.marker.as_mut(), marker.as_path(), b"", replaces)?
                == Renamed::NameTaken
        {
            let published = self.manifest.clone();
            self.choose_signals(rule, job, reserved)?;
            self.manifest = published; // it keeps the name that it has
            return Ok(RolledForward::ChoseAgain);
        }
        Ok(RolledForward::Done)
    }

    /// Takes away the marker that an earlier job left under this one's name, where outputs are replaced: it must not vouch for what is
    /// still appearing.
    pub fn retract_marker(&self) -> Result<(), OutputError> {
        let Some(marker) = &self.marker else { return Ok(()) };
        let (to, marker) = (destination_of_rows(), marker.as_path());
        if let Some(prepared) = &self.signals.marker
            && prepared.is_published(&*to, marker)?
        {
            return Ok(()); // what lies there is ours
        }
        if to.is_taken(marker)? { to.retract(marker) } else { Ok(()) }
    }
}

/// The wanted path itself, else with the first number that is free on disk and among this job's other names; it takes the place of
/// `own` in them.
fn free_name(
    to: &dyn Destination,
    wanted: &Path,
    own: &Path,
    names: &mut BTreeSet<PathBuf>,
    reserved: &dyn Fn(&Path) -> bool,
) -> Result<(PathBuf, u64), OutputError> {
    names.remove(&Paths::key(own));
    let with = |number| if number == 0 { wanted.to_owned() } else { template::numbered(wanted, number) };
    let number = first_free(0, NUMBERS_MAX, |number| -> Result<bool, OutputError> {
        let path = with(number);
        Ok(names.contains(&Paths::key(&path)) || reserved(&path) || to.is_taken(&path)?)
    })?;
    let number =
        number.ok_or_else(|| OutputError::NoFreeName { path: wanted.to_owned(), tried: NUMBERS_MAX })?;
    let path = with(number);
    names.insert(Paths::key(&path));
    Ok((path, number))
}

/// `Missing`: it was published earlier.
fn publish(to: &dyn Destination, rule: &Rule, finished: &mut FinishedOutput) -> Result<Renamed, OutputError> {
    let path = finished.output.path.as_path();
    let mut standing = to.standing(&finished.hidden, path)?;
    if standing == Standing::Hidden {
        let replaces = on_exists(rule, &finished.output.category)? == OnExists::Replace;
        let renamed = to.publish(&finished.hidden, path, replaces).inspect_err(|error| {
            if finished.renaming == Renaming::NotYet {
                finished.renaming = Renaming::refused(error);
            }
        })?;
        match renamed {
            Renamed::Done => finished.renaming = Renaming::Done,
            Renamed::NameTaken => {}
            Renamed::Missing => standing = to.standing(&finished.hidden, path)?, // gone meanwhile
        }
        if renamed != Renamed::Missing {
            return Ok(renamed);
        }
    }
    finished.renaming = what_became_of(finished, standing)?;
    Ok(Renamed::Missing)
}

/// What is known of a partial that is gone: it has the final name, or its folder is there, and a consumer took the file.
fn what_became_of(finished: &FinishedOutput, standing: Standing) -> Result<Renaming, OutputError> {
    let (partial, path) = (finished.hidden.path.as_path(), finished.output.path.as_path());
    let removed = || OutputError::PartialRemoved { partial: partial.to_owned(), path: path.to_owned() };
    match (standing, finished.renaming) {
        (Standing::Hidden | Standing::Replaced, _) | (Standing::Gone, Renaming::NotYet) => Err(removed()),
        // An operator's word, perhaps of a folder that is gone for good.
        (_, Renaming::Assumed) => Ok(Renaming::Assumed),
        (Standing::Published, _) | (Standing::Gone, Renaming::Done) => Ok(Renaming::Done),
        (Standing::Away, _) => Err(OutputError::other_folder(partial)),
        (Standing::Gone, Renaming::Begun) => {
            tell_gone(path);
            Ok(Renaming::Assumed)
        }
    }
}

fn on_exists(rule: &Rule, category: &Category) -> Result<OnExists, OutputError> {
    let output =
        rule.outputs.get(category).ok_or_else(|| OutputError::NoOutput { category: category.clone() })?;
    Ok(output.on_exists)
}

/// Whether manifest and marker replace those of earlier jobs, as all outputs do.
fn replaces(rule: &Rule) -> bool {
    rule.outputs.values().all(|output| output.on_exists == OnExists::Replace)
}

/// The final paths of one job: no two outputs may meet in one.
#[derive(Default)]
pub(super) struct Paths(BTreeMap<PathBuf, (Category, Option<OsText>)>);

impl Paths {
    pub(super) fn take(
        &mut self,
        path: &Path,
        category: &Category,
        entry: Option<&OsText>,
    ) -> Result<(), OutputError> {
        let Some((other, other_entry)) = self.0.get(&Self::key(path)) else {
            self.0.insert(Self::key(path), (category.clone(), entry.cloned()));
            return Ok(());
        };
        match (other_entry, entry) {
            (Some(first), Some(second)) if other == category => Err(OutputError::EntriesMeet {
                first: first.clone(),
                second: second.clone(),
                path: path.to_owned(),
            }),
            _ => Err(OutputError::OutputsMeet {
                first: other.clone(),
                second: category.clone(),
                path: path.to_owned(),
            }),
        }
    }

    /// What tells paths apart: on Windows upper and lower case are one.
    fn key(path: &Path) -> PathBuf {
        if cfg!(windows) { PathBuf::from(path.to_string_lossy().to_lowercase()) } else { path.to_owned() }
    }
}
