//! Folders as a destination: hidden files beside their final names, published by renames on one file system.
//!
//! A file that is gone from its folder was renamed or removed. That says something only while the folder is the one that it was written
//! to: where its file system is not mounted, a folder of the same name may lie in its place.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::destination::{Destination, Durable, Hidden, Standing, Upload};
use super::error::OutputError;
use super::hidden::{hidden_name, is_hidden_of, may_remove, number_of};
use crate::durable_fs::{self, FolderRound, FollowedFolder, FsError, OpenTo, Presence, Renamed};
use crate::model::identity::{FileIdentity, FolderIdentity};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;

#[derive(Default)]
pub(super) struct Folder {
    mount: Option<PathBuf>,
    /// Those that are made.
    open_to: OpenTo,
    /// Those that are there.
    folders: BTreeSet<PathBuf>,
    /// Those in which files were made.
    made_in: BTreeSet<PathBuf>,
    /// The same, where somebody moves them.
    followed: BTreeMap<PathBuf, Arc<FollowedFolder>>,
}

/// Folders that are followed, at most: each costs a descriptor, and a template may name thousands.
const FOLLOWED_MAX: usize = 4;

impl Folder {
    pub(super) fn new(mount: Option<PathBuf>, open_to: OpenTo) -> Self {
        Self { mount, open_to, ..Self::default() }
    }

    /// Where it cannot be followed, for want of descriptors, nothing but leftovers in a folder that is moved is at stake.
    fn follow(&mut self, path: &Path) {
        let folder = durable_fs::parent_of(path);
        if self.followed.len() < FOLLOWED_MAX
            && !self.followed.contains_key(folder)
            && let Ok(followed) = FollowedFolder::open(folder)
        {
            self.followed.insert(folder.to_owned(), followed);
        }
    }

    /// False: there is no such folder, and what became of it is not known.
    fn discard_in(&self, folder: &Path, job: &Job) -> Result<bool, OutputError> {
        let is_there = clear_folder(folder, job, &BTreeSet::new())?;
        let is_hidden = |name: &OsStr| is_hidden_of(Path::new(name), job.id);
        let was_moved = self.followed.get(folder).map(|followed| followed.clear_if_moved(is_hidden));
        Ok(is_there || was_moved.transpose()?.unwrap_or(false))
    }

    fn check_mount(&self) -> Result<(), OutputError> {
        let Some(mount) = &self.mount else { return Ok(()) };
        match durable_fs::is_mount_point(mount) {
            Ok(true) => Ok(()),
            Ok(false) => Err(OutputError::NotMounted { mount: mount.clone() }),
            Err(error) => Err(OutputError::fs("look at", mount, error)),
        }
    }
}

impl Destination for Folder {
    fn create(
        &mut self,
        job: JobId,
        what: &str,
        path: &Path,
    ) -> Result<(Hidden, Arc<dyn Upload>), OutputError> {
        let folder = durable_fs::parent_of(path).to_owned();
        self.check_mount()?; // before anything is made where the mount should be
        if self.folders.insert(folder.clone()) {
            durable_fs::make_folder(&folder, self.open_to)?;
        }
        let path = folder.join(hidden_name(job, what));
        self.made_in.insert(folder);
        let file = durable_fs::create_private(&path)?;
        let hidden = hidden_at(&path)?;
        // It may have vanished in between: an intent must never name a partial that lies beside it.
        self.check_mount()?;
        self.follow(&path);
        Ok((hidden, Arc::new(HiddenFile { file, path })))
    }

    fn resume(&mut self, hidden: &Hidden, length: u64) -> Result<(Hidden, Arc<dyn Upload>), OutputError> {
        let path = hidden.path.as_path().to_owned();
        let opening = |e| OutputError::fs("open", &path, e);
        let mut file = match durable_fs::open_to_write(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(gone(hidden, length)),
            opened => opened.map_err(opening)?,
        };
        let found = file.metadata().map_err(opening)?.len();
        if found < length {
            return Err(OutputError::PartialShort { path, found, recorded: length });
        }
        let cut = file.set_len(length).and_then(|()| file.seek(SeekFrom::Start(length)));
        cut.map_err(|e| OutputError::fs("cut back", &path, e))?;
        self.folders.insert(durable_fs::parent_of(&path).to_owned());
        self.follow(&path);
        Ok((hidden_at(&path)?, Arc::new(HiddenFile { file, path })))
    }

    fn names(&self) -> Arc<dyn Durable> {
        // Each time all of them: what was told before may never be synced.
        Arc::new(Names(self.made_in.iter().cloned().collect()))
    }

    fn sync_names(&self, round: &mut FolderRound) -> Result<(), OutputError> {
        Ok(self.folders.iter().try_for_each(|folder| round.sync(folder))?)
    }

    fn identified(&self, hidden: &Hidden, length: u64) -> Result<Hidden, OutputError> {
        let path = hidden.path.as_path();
        let now = hidden_at(path)?;
        if !durable_fs::is_same_folder(durable_fs::parent_of(path), &now.folder, &hidden.folder) {
            return Err(OutputError::other_folder(path));
        }
        let identity = identity_at(path)?
            .ok_or_else(|| OutputError::fs("look at", path, io::ErrorKind::NotFound.into()))?;
        if identity.size != length {
            let (found, written) = (identity.size, length);
            return Err(OutputError::NotAsWritten { path: path.to_owned(), found, written });
        }
        Ok(Hidden { identity: Some(identity), ..now })
    }

    fn read(&self, hidden: &Hidden) -> io::Result<Box<dyn Read>> {
        Ok(Box::new(durable_fs::open_source(hidden.path.as_path())?))
    }

    fn write(&self, hidden: &Hidden, path: &Path, bytes: &[u8], mode: u32) -> Result<(), OutputError> {
        let partial = hidden.path.as_path();
        // Where a link stands in for the rename, a crash before its unlink leaves both names.
        let published = identity_at(path)?;
        if published.is_some() && published == identity_at(partial)? {
            return Ok(());
        }
        let mut file = durable_fs::create_private(partial)?;
        file.write_all(bytes).map_err(|e| OutputError::fs("write", partial, e))?;
        durable_fs::set_mode(&file, partial, mode)?;
        // Closed at the end: Windows renames no open file.
        Ok(durable_fs::sync_all(&file, partial)?)
    }

    fn is_beside(&self, hidden: &Hidden, path: &Path) -> bool {
        durable_fs::parent_of(path) == durable_fs::parent_of(hidden.path.as_path())
    }

    fn is_taken(&self, path: &Path) -> Result<bool, OutputError> {
        let found = durable_fs::kind_at(path).map_err(|e| OutputError::fs("look at", path, e))?;
        Ok(found.is_some())
    }

    fn standing(&self, hidden: &Hidden, path: &Path) -> Result<Standing, OutputError> {
        let is_it = |found: &FileIdentity| hidden.identity.is_some_and(|it| is_output(path, &it, found));
        let home = match presence(hidden.path.as_path())? {
            Presence::Here(found) => {
                let is_another = hidden.identity.is_some() && !is_it(&found);
                return Ok(if is_another { Standing::Replaced } else { Standing::Hidden });
            }
            Presence::Gone(folder) => Some(folder),
            Presence::FolderAway => None,
        };
        let published = hidden.identity.map(|_| presence(path)).transpose()?;
        if published.and_then(Presence::file).as_ref().is_some_and(is_it) {
            durable_fs::forget_note(hidden.path.as_path(), path)?;
            return Ok(Standing::Published);
        }
        let folder = durable_fs::parent_of(hidden.path.as_path());
        let is_home = home.is_some_and(|found| durable_fs::is_same_folder(folder, &found, &hidden.folder));
        let is_gone = is_home && published != Some(Presence::FolderAway);
        Ok(if is_gone { Standing::Gone } else { Standing::Away })
    }

    fn publish(&self, hidden: &Hidden, path: &Path, replaces: bool) -> Result<Renamed, FsError> {
        let partial = hidden.path.as_path();
        if replaces {
            durable_fs::rename_replace(partial, path)
        } else {
            durable_fs::rename_no_replace(partial, path)
        }
    }

    fn sync_published(
        &self,
        path: &Path,
        may_be_away: bool,
        round: &mut FolderRound,
    ) -> Result<(), OutputError> {
        let folder = durable_fs::parent_of(path);
        if !may_be_away || self.is_taken(folder)? {
            round.sync(folder)?;
        }
        Ok(())
    }

    fn retract(&self, path: &Path) -> Result<(), OutputError> {
        durable_fs::remove_file(path)?;
        Ok(durable_fs::sync_folder(durable_fs::parent_of(path))?)
    }

    fn remove(&self, hidden: &Hidden) -> Result<(), OutputError> {
        durable_fs::remove_file(hidden.path.as_path())?;
        Ok(())
    }

    fn clear(
        &self,
        job: &Job,
        paths: &mut dyn Iterator<Item = Result<PathBuf, OutputError>>,
        kept: &[&Hidden],
    ) -> Result<(), OutputError> {
        let kept: BTreeSet<&Path> = kept.iter().map(|hidden| hidden.path.as_path()).collect();
        let mut folders: BTreeSet<PathBuf> =
            kept.iter().map(|path| durable_fs::parent_of(path).to_owned()).collect();
        for path in paths {
            folders.insert(durable_fs::parent_of(&path?).to_owned());
        }
        folders.iter().try_for_each(|folder| clear_folder(folder, job, &kept).map(drop))
    }

    fn discard(&self, job: &Job, written: &[Hidden]) -> Result<(), OutputError> {
        let written: BTreeSet<_> =
            written.iter().map(|hidden| durable_fs::parent_of(hidden.path.as_path())).collect();
        for folder in &self.folders {
            if !self.discard_in(folder, job)? && written.contains(folder.as_path()) {
                return Err(OutputError::fs("list", folder, io::ErrorKind::NotFound.into()));
            }
        }
        Ok(())
    }
}

struct Names(Vec<PathBuf>);

impl Durable for Names {
    fn sync(&self) -> Result<(), OutputError> {
        Ok(self.0.iter().try_for_each(|folder| durable_fs::sync_folder(folder))?)
    }
}

struct HiddenFile {
    file: File,
    path: PathBuf,
}

impl Durable for HiddenFile {
    fn sync(&self) -> Result<(), OutputError> {
        Ok(durable_fs::sync_data(&self.file, &self.path)?)
    }
}

impl Upload for HiddenFile {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        durable_fs::note_place(&self.path);
        (&self.file).write_all(bytes)
    }

    fn hasten(&self, from: u64, length: u64) {
        durable_fs::start_writeback(&self.file, from, length);
    }

    fn end(&self, length: u64, mode: u32) -> Result<(), OutputError> {
        durable_fs::set_mode(&self.file, &self.path, mode)?;
        // Of many small files the disk gets all before the first sync: that one waits for them, and the rest hardly at all.
        self.hasten(0, length);
        Ok(())
    }

    fn complete(&self) -> Result<(), OutputError> {
        Ok(durable_fs::sync_all(&self.file, &self.path)?)
    }
}

/// A file that is written to as if it were a hidden one.
#[cfg(all(test, target_os = "linux"))]
pub(super) fn opened(path: &Path) -> io::Result<Arc<dyn Upload>> {
    let file = File::options().write(true).open(path)?;
    Ok(Arc::new(HiddenFile { file, path: path.to_owned() }))
}

fn hidden_at(path: &Path) -> Result<Hidden, OutputError> {
    let folder = durable_fs::parent_of(path);
    let found = folder_identity(folder)?
        .ok_or_else(|| OutputError::fs("look at", folder, io::ErrorKind::NotFound.into()))?;
    Ok(Hidden { path: OsText::from(path), folder: found, identity: None })
}

/// The partial of a checkpoint is not there: lost, unless its folder is away or on another file system, which then is not mounted.
fn gone(hidden: &Hidden, recorded: u64) -> OutputError {
    let path = hidden.path.as_path();
    match presence(path) {
        Ok(Presence::Gone(folder))
            if folder.device == hidden.folder.device
                || durable_fs::is_same_folder(durable_fs::parent_of(path), &folder, &hidden.folder) =>
        {
            OutputError::PartialGone { path: path.to_owned(), recorded }
        }
        Ok(Presence::Gone(_)) => OutputError::other_folder(path),
        Ok(Presence::Here(_) | Presence::FolderAway) => {
            OutputError::fs("look at", durable_fs::parent_of(path), io::ErrorKind::NotFound.into())
        }
        Err(error) => error,
    }
}

fn folder_identity(folder: &Path) -> Result<Option<FolderIdentity>, OutputError> {
    durable_fs::folder_identity(folder).map_err(|e| OutputError::fs("look at", folder, e))
}

fn presence(path: &Path) -> Result<Presence, OutputError> {
    durable_fs::presence(path).map_err(|e| OutputError::fs("look at", path, e))
}

fn identity_at(path: &Path) -> Result<Option<FileIdentity>, OutputError> {
    durable_fs::identity_at(path).map_err(|e| OutputError::fs("look at", path, e))
}

/// Whether what lies at a path is the output that was `finished`: the file that it was, as long; or one that its file system cannot tell from it.
fn is_output(path: &Path, finished: &FileIdentity, found: &FileIdentity) -> bool {
    let is_the_file = found.same_file(finished) && found.size == finished.size;
    is_the_file || durable_fs::is_same_content(path, found, finished)
}

/// The partials of a job that lie in a folder, for those who look without knowing the job. None where there is no such folder.
pub(crate) fn partials_in(folder: &Path, job: JobId) -> io::Result<Vec<PathBuf>> {
    let mut partials: Vec<_> = hidden_in(folder, job)?.into_iter().flatten().collect::<io::Result<_>>()?;
    partials.retain(|path| number_of(path, job).is_some());
    partials.sort();
    Ok(partials)
}

/// False: there is no such folder.
fn clear_folder(folder: &Path, job: &Job, kept: &BTreeSet<&Path>) -> Result<bool, OutputError> {
    let listing = |e| OutputError::fs("list", folder, e);
    let Some(entries) = hidden_in(folder, job.id).map_err(listing)? else { return Ok(false) };
    let mut is_changed = false;
    for path in entries {
        let path = path.map_err(listing)?;
        if !kept.contains(path.as_path()) && may_remove(&path, job.id, job.epoch) {
            durable_fs::remove_seen(&path)?;
            is_changed = true;
        }
    }
    if is_changed {
        // They are gone for good before a row says that their job has ended: nobody looks for them after that.
        durable_fs::sync_folder(folder)?;
    }
    Ok(true)
}

/// The hidden files of a job in a folder, where there is one.
fn hidden_in(
    folder: &Path,
    job: JobId,
) -> io::Result<Option<impl Iterator<Item = io::Result<PathBuf>> + use<>>> {
    let entries = match durable_fs::list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?.map(|entry| Ok(entry?.path)),
    };
    let is_ours =
        move |path: &io::Result<PathBuf>| path.as_ref().map_or(true, |path| is_hidden_of(path, job));
    Ok(Some(entries.filter(is_ours)))
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

    /// Who forgot the job would forget with it what is hidden there.
    #[test]
    fn hidden_files_in_a_folder_that_is_away_and_cannot_be_followed_are_not_taken_for_removed() {
        let world = tempfile::tempdir().expect("a folder");
        let (out, away) = (world.path().join("out"), world.path().join("away"));
        let whole = crate::model::job_view::tests::sample_job();
        let job = whole.id;
        let mut folder = Folder::new(None, OpenTo::Group);
        let (hidden, upload) = folder.create(job, "0", &out.join("pay")).expect("creates");
        drop(upload);
        durable_fs::rename_replace(&out, &away).expect("moves");
        let followed = std::mem::take(&mut folder.followed);
        folder.discard(&whole, std::slice::from_ref(&hidden)).expect_err("it may be mounted again");
        folder.followed = followed;
        folder.discard(&whole, &[hidden]).expect("they are found");
        assert!(partials_in(&away, job).expect("lists").is_empty());
    }

    #[test]
    fn a_node_that_lost_its_jobs_removes_nothing_of_the_next_one_which_removes_what_is_left() {
        let world = tempfile::tempdir().expect("a folder");
        let job = |epoch| crate::model::job::Job { epoch, ..crate::model::job_view::tests::sample_job() };
        let mut folder = Folder::new(None, OpenTo::Group);
        let mut made = |epoch| {
            let number = super::super::hidden::numbers_of(epoch).start.to_string();
            folder.create(job(epoch).id, &number, &world.path().join("pay")).expect("creates").0.path
        };
        let [first, second, third] = [1, 2, 3].map(&mut made);
        let clear = |epoch| {
            let mut paths = std::iter::once(Ok(world.path().join("pay")));
            folder.clear(&job(epoch), &mut paths, &[]).expect("clears");
            [&first, &second, &third].map(|path| path.as_path().try_exists().expect("looks"))
        };
        assert_eq!(clear(1), [false, true, true]);
        assert_eq!(clear(3), [false, false, false]);
    }
}
