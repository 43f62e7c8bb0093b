//! The output files of one job while they are being written.
//!
//! Partials are numbered in the order in which the records call for them. A replay calls for the same ones in the same order, so what
//! a crash left is met again under its own name and emptied; nothing needs to list a folder of a million files.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::codec::EncodedChunk;
use super::entry::EntryName;
use super::error::OutputError;
use super::hidden::{hidden_name, number_of};
use super::intent::{FinishedOutput, Paths};
use super::naming;
use super::partial::{HeaderState, Partial, PartialState, Place};
use super::plan::{OutputPlan, PlannedOutput};
use super::signals::{SignalPartials, is_signal};
use super::sound::Sound;
use super::unsynced::Unsynced;
use crate::durable_fs::{self, FolderRound};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::model::rule::Rule;

/// The output files of one job while they are being written.
pub struct Partials {
    plan: Arc<OutputPlan>,
    rule: Arc<Rule>,
    job: Job,
    /// By position of the category.
    categories: Vec<CategoryPartials>,
    entry: Option<EntryName>,
    next_number: u64,
    folders: BTreeSet<PathBuf>,
    /// Folders with names that no sync has covered yet.
    unsynced_folders: BTreeSet<PathBuf>,
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
            rule,
            job: job.clone(),
            entry: None,
            next_number: 0,
            folders: BTreeSet::new(),
            unsynced_folders: BTreeSet::new(),
            paths: Paths::default(),
            sound: Sound::default(),
            halfway: false,
        }
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
        let (Some(position), Some(number)) = (position, number_of(state.partial.as_path(), self.job.id))
        else {
            return Err(OutputError::Misuse("the checkpoint names a partial that is none of this job's"));
        };
        let plan = Arc::clone(&self.plan);
        let planned = plan.output(position)?;
        let final_path = self.final_path(planned, state.entry.as_ref())?;
        self.paths.take(&final_path, &planned.category, state.entry.as_ref().map(|e| &e.name))?;
        let partial = Partial::resume(planned, state, final_path)?;
        self.next_number = self.next_number.max(number + 1);
        self.folders.insert(durable_fs::parent_of(&partial.path).to_owned());
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
        let slot = self
            .categories
            .get(position)
            .ok_or(OutputError::Misuse("there is no category at this position"))?;
        if slot.current.is_none() {
            let partial = self.create(planned)?;
            if let Some(slot) = self.categories.get_mut(position) {
                slot.current = Some(slot.partials.len());
                slot.add(partial);
            }
        }
        let entry = self.entry.as_ref();
        let slot = self
            .categories
            .get_mut(position)
            .ok_or(OutputError::Misuse("there is no category at this position"))?;
        slot.with_header(planned, entry)
    }

    fn create(&mut self, planned: &PlannedOutput) -> Result<Partial, OutputError> {
        let entry = planned.per_entry.then(|| self.entry.clone()).flatten();
        if planned.per_entry && entry.is_none() {
            return Err(OutputError::Misuse("records before the first entry"));
        }
        let final_path = self.final_path(planned, entry.as_ref())?;
        self.paths.take(&final_path, &planned.category, entry.as_ref().map(|e| &e.name))?;
        let folder = durable_fs::parent_of(&final_path).to_owned();
        self.check_mount()?; // before anything is made where the mount should be
        if self.folders.insert(folder.clone()) {
            durable_fs::make_folder(&folder, false)?;
        }
        let path = folder.join(hidden_name(self.job.id, &self.next_number.to_string()));
        self.unsynced_folders.insert(folder);
        let partial = Partial::create(planned, Place { entry, path, final_path })?;
        // It may have vanished in between: an intent must never name a partial that lies beside it.
        self.check_mount()?;
        self.next_number += 1;
        Ok(partial)
    }

    fn check_mount(&self) -> Result<(), OutputError> {
        let Some(mount) = &self.rule.publish.mount else { return Ok(()) };
        match durable_fs::is_mount_point(mount) {
            Ok(true) => Ok(()),
            Ok(false) => Err(OutputError::NotMounted { mount: mount.clone() }),
            Err(error) => Err(OutputError::fs("look at", mount, error)),
        }
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
        let mut pending = PendingSync { sound: self.sound.clone(), ..PendingSync::default() };
        for partial in self.categories.iter_mut().flat_map(|slot| &mut slot.partials) {
            let (state, unsynced) = partial.checkpoint()?;
            states.push(state);
            pending.files.extend(unsynced.map(|file| (file, partial.path.clone())));
        }
        // Kept for the next checkpoint too: this one may never be synced.
        pending.folders.extend(self.unsynced_folders.iter().cloned());
        Ok((states, pending))
    }

    /// Makes the hidden files that manifest and marker will appear from; [`Self::sync_folders`] makes their names durable.
    pub fn prepare_signals(&mut self) -> Result<SignalPartials, OutputError> {
        self.guarded(|partials| {
            let [manifest, marker] = signal_paths(&partials.rule, &partials.job)?;
            partials.check_mount()?; // before anything is made where the mount should be
            for path in [&manifest, &marker].into_iter().flatten() {
                let folder = durable_fs::parent_of(path).to_owned();
                if partials.folders.insert(folder.clone()) {
                    durable_fs::make_folder(&folder, false)?;
                }
            }
            let made = SignalPartials::prepare(partials.job.id, manifest.as_deref(), marker.as_deref())?;
            // As in `create`: an intent that names a folder under the mount would wait for it for ever.
            partials.check_mount()?;
            Ok(made)
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
                    let path = empty.path.clone();
                    drop(empty); // closed first: Windows does not remove open files
                    durable_fs::remove_file(&path)?;
                }
            }
        }
        Ok(())
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
        self.guarded(|partials| Ok(partials.folders.iter().try_for_each(|folder| round.sync(folder))?))
    }

    /// What can be published, once all of it is durable.
    pub fn finished(&mut self) -> Result<Vec<FinishedOutput>, OutputError> {
        self.guarded(|partials| {
            let outputs = partials.plan.outputs().iter().zip(&partials.categories);
            outputs
                .flat_map(|(planned, slot)| {
                    slot.partials.iter().map(|partial| partial.finished(planned.sha256))
                })
                .collect()
        })
    }

    /// Gives what is finished the names that this job's row calls for now: its revision is known only at the end. No other folder: that is
    /// where the partials lie.
    pub fn name_for(&mut self, job: &Job, finished: &mut [FinishedOutput]) -> Result<(), OutputError> {
        self.job = job.clone();
        let mut by_partial: BTreeMap<PathBuf, &mut FinishedOutput> =
            finished.iter_mut().map(|output| (output.partial.as_path().to_owned(), output)).collect();
        for (planned, slot) in self.plan.outputs().iter().zip(&self.categories) {
            for partial in &slot.partials {
                let Some(output) = by_partial.get_mut(&partial.path) else { continue };
                let path = self.final_path(planned, partial.entry.as_ref())?;
                if durable_fs::parent_of(&path) != durable_fs::parent_of(&partial.path) {
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
        let partials = self.categories.iter().flat_map(|slot| &slot.partials);
        let with_partials: BTreeSet<_> =
            partials.map(|partial| durable_fs::parent_of(&partial.path).to_owned()).collect();
        let folders = self.folders.clone();
        let job = self.job.id;
        // Closed first: Windows does not remove open files.
        drop(self);
        for folder in &folders {
            if !clear_folder(folder, job, &BTreeSet::new())? && with_partials.contains(folder) {
                return Err(OutputError::fs("list", folder, io::ErrorKind::NotFound.into()));
            }
        }
        Ok(())
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

/// Descriptors whose data must be durable before a checkpoint counts; synced on another thread.
#[derive(Default)]
pub struct PendingSync {
    files: Vec<(Arc<File>, PathBuf)>,
    folders: Vec<PathBuf>,
    sound: Sound,
}

impl PendingSync {
    /// fdatasync of each, then the folders that have their names. Refuses, without touching anything, once the partials failed; an
    /// error here is theirs too.
    pub fn sync(self) -> Result<(), OutputError> {
        // After a failed sync the next one may report success for lost data.
        self.sound.check()?;
        self.sound.note(self.sync_all())
    }

    fn sync_all(&self) -> Result<(), OutputError> {
        for (file, path) in &self.files {
            durable_fs::sync_data(file, path)?;
        }
        for folder in &self.folders {
            durable_fs::sync_folder(folder)?;
        }
        Ok(())
    }
}

/// Removes the partials of a job that nobody writes, those in `keep` excepted: in the folders of `keep`, and in those where the rule puts
/// the outputs of the job and of the entries that its row has. Lists folders: for jobs that ended, not for each.
pub(crate) fn remove_partials(rule: &Rule, job: &Job, keep: &[PartialState]) -> Result<(), OutputError> {
    let kept: BTreeSet<&Path> = keep.iter().map(|state| state.partial.as_path()).collect();
    let mut folders: BTreeSet<PathBuf> =
        kept.iter().map(|path| durable_fs::parent_of(path).to_owned()).collect();
    for (category, output) in &rule.outputs {
        let template = naming::parse(rule, &output.path, &naming::place_of(category))?;
        let names: Vec<OsText> = if naming::is_per_entry(&template) {
            job.entries
                .iter()
                .map(|entry| OsText::from(entry.name.as_str()))
                .chain([OsText::default()])
                .collect()
        } else {
            vec![OsText::default()]
        };
        for name in &names {
            let path = naming::output_path(&template, rule, job, category, Some(name))?;
            folders.insert(durable_fs::parent_of(&path).to_owned());
        }
    }
    let signals = signal_paths(rule, job)?;
    folders.extend(signals.iter().flatten().map(|path| durable_fs::parent_of(path).to_owned()));
    folders.iter().try_for_each(|folder| clear_folder(folder, job.id, &kept).map(drop))
}

/// Of manifest and marker, before any number.
pub(crate) fn signal_paths(rule: &Rule, job: &Job) -> Result<[Option<PathBuf>; 2], OutputError> {
    let path = |template: &Option<String>, place: &str| {
        template.as_ref().map(|text| naming::signal_path(rule, job, text, place)).transpose()
    };
    Ok([path(&rule.publish.manifest, "publish.manifest")?, path(&rule.publish.marker, "publish.marker")?])
}

/// The partials of a job that lie in a folder, for those who look without knowing the job. None where there is no such folder.
pub(crate) fn partials_in(folder: &Path, job: JobId) -> io::Result<Vec<PathBuf>> {
    let mut partials = Vec::new();
    durable_fs::note_place(folder);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(partials),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if number_of(&path, job).is_some() {
            partials.push(path);
        }
    }
    partials.sort();
    Ok(partials)
}

/// False: there is no such folder.
fn clear_folder(folder: &Path, job: JobId, kept: &BTreeSet<&Path>) -> Result<bool, OutputError> {
    let listing = |e| OutputError::fs("list", folder, e);
    durable_fs::note_place(folder);
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(listing)?,
    };
    for entry in entries {
        let path = folder.join(entry.map_err(listing)?.file_name());
        let is_ours = number_of(&path, job).is_some()
            || path.file_name().and_then(OsStr::to_str).is_some_and(|name| is_signal(name, job));
        if is_ours && !kept.contains(path.as_path()) {
            durable_fs::remove_file(&path)?;
        }
    }
    Ok(true)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_listed_is_not_one_without_partials() {
        let folder = tempfile::tempdir().expect("a folder");
        let job = JobId::from_parts(1, 1);
        assert_eq!(
            partials_in(&folder.path().join("none"), job).expect("nothing there"),
            Vec::<PathBuf>::new()
        );
        partials_in(&folder.path().join("n".repeat(300)), job).expect_err("it cannot be looked into");
    }

    /// A device that cannot be synced stands for a disk that fails.
    #[test]
    fn after_a_failed_fsync_no_second_one_is_tried() {
        let device = || {
            let path = PathBuf::from("/dev/full");
            (Arc::new(File::options().write(true).open(&path).expect("opens")), path)
        };
        let sound = Sound::default();
        let pending = || PendingSync { files: vec![device()], folders: Vec::new(), sound: sound.clone() };
        let first = pending().sync().expect_err("cannot be synced");
        assert!(first.is_failed_sync(), "{first}");
        let good = PendingSync { files: Vec::new(), folders: Vec::new(), sound: sound.clone() };
        let second = good.sync().expect_err("refuses what would succeed");
        assert!(matches!(second, OutputError::Broken(_)), "{second}");
    }
}
