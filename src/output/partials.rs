//! The output files of one job while they are being written.
//!
//! Partials are numbered in the order in which the records call for them. A replay calls for the same ones in the same order, so what
//! a crash left is met again under its own name and emptied; nothing needs to list a folder of a million files.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::choice::destination_of;
use super::codec::EncodedChunk;
use super::destination::{Destination, Durable, Hidden};
use super::entry::EntryName;
use super::error::OutputError;
use super::hidden::{MANIFEST, MARKER, number_of, numbers_of};
use super::intent::{FinishedOutput, Paths};
use super::naming;
use super::partial::{HeaderState, Partial, PartialState, Place};
use super::plan::{OutputPlan, PlannedOutput};
use super::recipients::{self, Recipient};
use super::signals::{SignalPartial, SignalPartials};
use super::sound::Sound;
use super::unsynced::Unsynced;
use crate::durable_fs::FolderRound;
use crate::model::category::Category;
use crate::model::job::Job;
use crate::model::os_text::OsText;
use crate::model::rule::{Output, Rule};

/// The output files of one job while they are being written.
pub struct Partials {
    plan: Arc<OutputPlan>,
    rule: Arc<Rule>,
    job: Job,
    /// By position of the category.
    categories: Vec<CategoryPartials>,
    entry: Option<EntryName>,
    next_number: u64,
    destination: Box<dyn Destination>,
    /// The data folder's own key, to which sealed outputs are encrypted.
    own_key: Vec<Recipient>,
    paths: Paths,
    sound: Sound,
    /// A call began and did not come to its end: it panicked.
    halfway: bool,
}

#[derive(Default)]
struct CategoryPartials {
    /// All that were opened, in order; the current one is at `current`.
    partials: Vec<Partial>,
    /// Of an output per entry: where in `partials` an entry's is, by the entry's position in the source.
    of_entries: HashMap<u32, usize>,
    current: Option<usize>,
    /// Ended and still open, by their place in `partials`.
    unsynced: Unsynced,
    /// The current entry's header.
    header: Option<Vec<u8>>,
    /// Of the first header of an output of all entries, also while it has no partial.
    first_header: Option<HeaderState>,
}

impl Partials {
    /// No partial yet. What an earlier run of this job left is emptied when it is met under the same number; see [`remove_partials`].
    pub fn start(plan: Arc<OutputPlan>, rule: Arc<Rule>, job: &Job) -> Self {
        Self {
            categories: plan.outputs().iter().map(|_| CategoryPartials::default()).collect(),
            plan,
            destination: destination_of(&rule),
            own_key: Vec::new(),
            rule,
            job: job.clone(),
            entry: None,
            next_number: numbers_of(job.epoch).start,
            paths: Paths::default(),
            sound: Sound::default(),
            halfway: false,
        }
    }

    /// Sealed outputs are encrypted to this public key.
    pub(crate) fn sealed_to(mut self, own_key: Option<&str>) -> Result<Self, OutputError> {
        self.own_key = own_key.map(recipients::own).into_iter().collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// Opens the partials of a checkpoint and cuts them back to it; removes this job's other ones. The entry that the checkpoint
    /// stood in must be begun again; earlier ones may be.
    pub fn resume(
        plan: Arc<OutputPlan>,
        rule: Arc<Rule>,
        job: &Job,
        states: &[PartialState],
    ) -> Result<Self, OutputError> {
        if !plan.resumable() {
            return Err(OutputError::Misuse("an encrypted output cannot be continued"));
        }
        remove_partials(&rule, job, states)?;
        let mut resumed = Self::start(plan, rule, job);
        for state in states {
            resumed.resume_one(state)?;
        }
        Ok(resumed)
    }

    fn resume_one(&mut self, state: &PartialState) -> Result<(), OutputError> {
        let position = self.plan.outputs().iter().position(|planned| planned.category == state.category);
        let (Some(position), Some(number)) = (position, number_of(state.hidden.path.as_path(), self.job.id))
        else {
            return Err(OutputError::Misuse("the checkpoint names a partial that is none of this job's"));
        };
        let plan = Arc::clone(&self.plan);
        let planned = plan.output(position)?;
        let final_path = self.final_path(planned, state.entry.as_ref())?;
        self.paths.take(&final_path, &planned.category, state.entry.as_ref().map(|e| &e.name))?;
        let partial = Partial::resume(planned, state, final_path, &mut *self.destination)?;
        self.next_number = self.next_number.max(number + 1);
        let Some(slot) = self.categories.get_mut(position) else { return Ok(()) };
        slot.first_header.clone_from(&partial.header);
        if !planned.per_entry {
            slot.current = Some(slot.partials.len());
        }
        slot.add(partial);
        Ok(())
    }

    /// Does `work` unless something before it failed. Half of a call may be in the files: its error is the last word.
    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, OutputError>,
    ) -> Result<T, OutputError> {
        self.sound.check()?;
        if std::mem::replace(&mut self.halfway, true) {
            return self.sound.note(Err(OutputError::Misuse("an earlier call on the outputs was cut short")));
        }
        let done = work(self);
        self.halfway = false;
        self.sound.note(done)
    }

    /// A new entry begins: `headers` by category position. One output over several entries writes it once and refuses a differing one.
    ///
    /// After an error of this or of any other call here, also of a [`PendingSync`], all of them refuse with [`OutputError::Broken`].
    pub fn begin_entry(&mut self, entry: &EntryName, headers: &[Option<Vec<u8>>]) -> Result<(), OutputError> {
        self.guarded(|partials| partials.enter(entry, headers))
    }

    fn enter(&mut self, entry: &EntryName, headers: &[Option<Vec<u8>>]) -> Result<(), OutputError> {
        self.entry = Some(entry.clone());
        let plan = Arc::clone(&self.plan);
        for (position, planned) in plan.outputs().iter().enumerate() {
            let Some(slot) = self.categories.get_mut(position) else { continue };
            slot.header = headers.get(position).cloned().flatten();
            if planned.per_entry {
                slot.change_entry(planned, entry)?;
            } else {
                slot.check_header(planned, entry)?;
            }
            if planned.write_empty {
                self.open(position, planned)?;
            }
        }
        Ok(())
    }

    /// Appends a slice's chunk of the current entry; called in slice order.
    pub fn append(&mut self, category: usize, chunk: EncodedChunk) -> Result<(), OutputError> {
        self.sound.check()?;
        if chunk.records == 0 && chunk.bytes.as_ref().is_ok_and(Vec::is_empty) {
            return Ok(());
        }
        let plan = Arc::clone(&self.plan);
        self.guarded(|partials| partials.open(category, plan.output(category)?)?.append(chunk))
    }

    /// The current partial of a category, opened if need be, with its header.
    fn open(&mut self, position: usize, planned: &PlannedOutput) -> Result<&mut Partial, OutputError> {
        let no_category = OutputError::Misuse("there is no category at this position");
        let Some(slot) = self.categories.get(position) else { return Err(no_category) };
        if slot.current.is_none() {
            let partial = self.create(planned)?;
            if let Some(slot) = self.categories.get_mut(position) {
                slot.current = Some(slot.partials.len());
                slot.add(partial);
            }
        }
        let entry = self.entry.as_ref();
        self.categories.get_mut(position).ok_or(no_category)?.with_header(planned, entry)
    }

    fn create(&mut self, planned: &PlannedOutput) -> Result<Partial, OutputError> {
        let entry = planned.per_entry.then(|| self.entry.clone()).flatten();
        if planned.per_entry && entry.is_none() {
            return Err(OutputError::Misuse("records before the first entry"));
        }
        let final_path = self.final_path(planned, entry.as_ref())?;
        self.paths.take(&final_path, &planned.category, entry.as_ref().map(|e| &e.name))?;
        let number = self.next_number.to_string();
        let created = self.destination.create(self.job.id, &number, &final_path)?;
        let partial = Partial::create(planned, Place { entry, final_path }, created, &self.own_key)?;
        self.next_number += 1;
        Ok(partial)
    }

    fn final_path(&self, planned: &PlannedOutput, entry: Option<&EntryName>) -> Result<PathBuf, OutputError> {
        let name = entry.map(|entry| &entry.name);
        naming::output_path(&planned.template, &self.rule, &self.job, &planned.category, name)
    }

    /// The state to put in a checkpoint (streams and frames are ended here), and what must be synced before it counts.
    ///
    /// Only for a plan that is resumable.
    pub fn checkpoint(&mut self) -> Result<(Vec<PartialState>, PendingSync), OutputError> {
        if !self.plan.resumable() {
            return Err(OutputError::Misuse("an encrypted output cannot be continued"));
        }
        self.guarded(Self::flush_all)
    }

    fn flush_all(&mut self) -> Result<(Vec<PartialState>, PendingSync), OutputError> {
        let mut states = Vec::new();
        let mut parts = Vec::new();
        for partial in self.categories.iter_mut().flat_map(|slot| &mut slot.partials) {
            let (state, unsynced) = partial.checkpoint()?;
            states.push(state);
            parts.extend(unsynced);
        }
        parts.push(self.destination.names());
        Ok((states, PendingSync { parts, sound: self.sound.clone() }))
    }

    /// Makes the hidden files that manifest and marker will appear from; [`Self::sync_folders`] makes their names durable.
    pub fn prepare_signals(&mut self) -> Result<SignalPartials, OutputError> {
        self.guarded(|partials| {
            let [manifest, marker] = naming::signal_paths(&partials.rule, &partials.job)?;
            let (job, destination) = (partials.job.id, &mut partials.destination);
            let mut make = |path: Option<PathBuf>, what| match path {
                Some(path) => {
                    destination.create(job, what, &path).map(|(hidden, _)| Some(SignalPartial::new(hidden)))
                }
                None => Ok(None),
            };
            Ok(SignalPartials { manifest: make(manifest, MANIFEST)?, marker: make(marker, MARKER)? })
        })
    }

    /// Ends all outputs, and makes those of `empty = "write"`. What is in them is on its way to the disk then.
    pub fn end(&mut self) -> Result<(), OutputError> {
        self.guarded(Self::end_all)
    }

    fn end_all(&mut self) -> Result<(), OutputError> {
        let plan = Arc::clone(&self.plan);
        for (position, planned) in plan.outputs().iter().enumerate() {
            if planned.write_empty && !planned.per_entry {
                self.open(position, planned)?;
            }
            let Some(slot) = self.categories.get_mut(position) else { continue };
            for partial in &mut slot.partials {
                partial.end(planned)?;
            }
            if !planned.write_empty {
                for empty in slot.partials.extract_if(.., |partial| partial.records() == 0) {
                    let hidden = empty.hidden.clone();
                    drop(empty); // closed first: Windows does not remove open files
                    self.destination.remove(&hidden)?;
                }
            }
        }
        Ok(())
    }

    /// How many outputs there are.
    pub fn count(&self) -> usize {
        self.categories.iter().map(|slot| slot.partials.len()).sum()
    }

    /// Bytes of the outputs that [`Self::sync_files`] may have to wait for.
    pub fn unsynced_bytes(&self) -> u64 {
        self.categories.iter().flat_map(|slot| &slot.partials).map(Partial::unsynced_bytes).sum()
    }

    /// Makes what is in the ended outputs durable.
    pub fn sync_files(&mut self) -> Result<(), OutputError> {
        self.guarded(|partials| {
            partials.categories.iter_mut().flat_map(|slot| &mut slot.partials).try_for_each(Partial::sync)
        })
    }

    /// Makes the partials' names durable: one that is gone counts as published once the intent stands.
    pub fn sync_folders(&mut self, round: &mut FolderRound) -> Result<(), OutputError> {
        self.guarded(|partials| partials.destination.sync_names(round))
    }

    /// What can be published, once all of it is durable.
    pub fn finished(&mut self) -> Result<Vec<FinishedOutput>, OutputError> {
        self.guarded(|partials| {
            let outputs = partials.plan.outputs().iter().zip(&partials.categories);
            outputs
                .flat_map(|(planned, slot)| {
                    let finished =
                        |partial: &Partial| partial.finished(planned.sha256, &*partials.destination);
                    slot.partials.iter().map(finished).collect::<Vec<_>>()
                })
                .collect()
        })
    }

    /// Gives what is finished the names that this job's row calls for now: its revision is known only at the end. No other folder: that is
    /// where the partials lie.
    pub fn name_for(&mut self, job: &Job, finished: &mut [FinishedOutput]) -> Result<(), OutputError> {
        self.job = job.clone();
        let mut by_partial: HashMap<OsText, &mut FinishedOutput> =
            finished.iter_mut().map(|output| (output.hidden.path.clone(), output)).collect();
        for (planned, slot) in self.plan.outputs().iter().zip(&self.categories) {
            for partial in &slot.partials {
                let Some(output) = by_partial.get_mut(&partial.hidden.path) else { continue };
                let path = self.final_path(planned, partial.entry.as_ref())?;
                if !self.destination.is_beside(&partial.hidden, &path) {
                    return Err(OutputError::Misuse("an output's folder cannot depend on its revision"));
                }
                output.wanted = OsText::from(path);
                output.output.path.clone_from(&output.wanted);
            }
        }
        Ok(())
    }

    /// Removes every partial (a failed job). A folder with partials that is not there is away, and they with it: an error.
    pub fn discard(self) -> Result<(), OutputError> {
        let Self { categories, destination, job, .. } = self;
        let partials = categories.iter().flat_map(|slot| &slot.partials);
        let written: Vec<Hidden> = partials.map(|partial| partial.hidden.clone()).collect();
        drop(categories); // closed first: Windows does not remove open files
        destination.discard(&job, &written)
    }
}

impl CategoryPartials {
    fn add(&mut self, partial: Partial) {
        if let Some(entry) = &partial.entry {
            self.of_entries.insert(entry.position, self.partials.len());
        }
        self.partials.push(partial);
    }

    /// Ends the last entry's output and goes to this entry's, if a checkpoint had it.
    fn change_entry(&mut self, planned: &PlannedOutput, entry: &EntryName) -> Result<(), OutputError> {
        let of_entry = |partial: &Partial| partial.entry.as_ref() == Some(entry);
        if let Some(current) = self.current
            && let Some(last) = self.partials.get_mut(current)
            && !of_entry(last)
        {
            last.end(planned)?;
            self.unsynced.add(current);
            if self.unsynced.is_enough() {
                self.sync_ended()?; // and closed: there may be thousands
            }
        }
        let known = self.of_entries.get(&entry.position).copied();
        self.current = known.filter(|at| self.partials.get(*at).is_some_and(of_entry));
        self.first_header = None;
        Ok(())
    }

    /// Syncs what was ended, together: by now the disk has nearly all of it.
    fn sync_ended(&mut self) -> Result<(), OutputError> {
        let ended = self.unsynced.take();
        ended
            .into_iter()
            .filter_map(|at| self.partials.get_mut(at).map(Partial::sync))
            .find(Result::is_err)
            .unwrap_or(Ok(()))
    }

    fn check_header(&mut self, planned: &PlannedOutput, entry: &EntryName) -> Result<(), OutputError> {
        let Some(header) = &self.header else { return Ok(()) };
        let state = HeaderState::new(entry, header);
        match &self.first_header {
            Some(first) if first.hash != state.hash => Err(OutputError::HeaderDiffers {
                category: planned.category.clone(),
                first: first.entry.name.clone(),
                entry: entry.name.clone(),
            }),
            Some(_) => Ok(()),
            None => {
                self.first_header = Some(state);
                Ok(())
            }
        }
    }

    fn with_header(
        &mut self,
        planned: &PlannedOutput,
        entry: Option<&EntryName>,
    ) -> Result<&mut Partial, OutputError> {
        let current = self.current.and_then(|current| self.partials.get_mut(current));
        let partial = current.ok_or(OutputError::Misuse("the output was not opened"))?;
        if let (None, 0, Some(header), Some(entry)) =
            (&partial.header, partial.records(), &self.header, entry)
        {
            partial.write_header(planned, header, HeaderState::new(entry, header))?;
        }
        Ok(partial)
    }
}

/// What must be durable before a checkpoint counts; synced on another thread.
pub struct PendingSync {
    /// Content, then names.
    parts: Vec<Arc<dyn Durable>>,
    sound: Sound,
}

impl PendingSync {
    /// Syncs each. Refuses, without touching anything, once the partials failed; an
    /// error here is theirs too.
    pub fn sync(self) -> Result<(), OutputError> {
        // After a failed sync the next one may report success for lost data.
        self.sound.check()?;
        self.sound.note(self.parts.iter().try_for_each(|part| part.sync()))
    }
}

/// Removes the partials of a job that nobody writes, those in `keep` excepted: in the folders of `keep`, and in those where the rule puts
/// the outputs of the job and of the entries that its row has. Lists folders: for jobs that ended, not for each.
pub(crate) fn remove_partials(rule: &Rule, job: &Job, keep: &[PartialState]) -> Result<(), OutputError> {
    let paths_of = |(category, output): (&Category, &Output)| -> Result<_, OutputError> {
        let template = naming::parse(rule, &output.path, &naming::place_of(category))?;
        let entries = if naming::is_per_entry(&template) { job.entries.as_slice() } else { &[] };
        let names = entries.iter().map(|entry| OsText::from(entry.name.as_str())).chain([OsText::default()]);
        let category = category.clone();
        Ok(names.map(move |name| naming::output_path(&template, rule, job, &category, Some(&name))))
    };
    let outputs: Vec<_> = rule.outputs.iter().map(paths_of).collect::<Result<_, _>>()?;
    let signals = naming::signal_paths(rule, job)?.into_iter().flatten().map(Ok);
    let kept: Vec<&Hidden> = keep.iter().map(|state| &state.hidden).collect();
    destination_of(rule).clear(job, &mut outputs.into_iter().flatten().chain(signals), &kept)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::output::folder::opened;

    /// A device that cannot be synced stands for a disk that fails.
    #[test]
    fn after_a_failed_fsync_no_second_one_is_tried() {
        let sound = Sound::default();
        let pending = |parts| PendingSync { parts, sound: sound.clone() };
        let first = pending(vec![opened(Path::new("/dev/full")).expect("opens") as _])
            .sync()
            .expect_err("cannot be synced");
        assert!(first.is_failed_sync(), "{first}");
        let second = pending(Vec::new()).sync().expect_err("refuses what would succeed");
        assert!(matches!(second, OutputError::Broken(_)), "{second}");
    }
}
