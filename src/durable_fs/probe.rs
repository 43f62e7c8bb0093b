//! Trying what the service will do in a folder, with a hidden file of our own that is taken away again.
//!
//! The file has one name in every folder, so that what a killed process left is found without a listing: by the next trial there, and by
//! the service when it takes a claim folder. One that is not ours, or not empty, is never touched.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::error::FsError;
use super::files::{check_own_folder, identity_at, kind_at, remove_file};
use super::names::{OpenTo, Renamed, Unkept, Wanted, parent_of};
use super::platform;
use super::rename::take_file;

/// Hidden, so that no pattern picks it up.
const PROBE: &str = ".landfall-probe";
/// Stands for a claim folder that is not there yet.
const PROBE_FOLDER: &str = ".landfall-probe.d";
/// Another process may try the same folder, and takes our file for one that was left.
const TRIES: u32 = 8;

/// Removes what a trial in a folder left that was killed.
pub(crate) fn clear_probe(folder: &Path) {
    clear_file(folder);
    let made = folder.join(PROBE_FOLDER);
    if check_own_folder(&made).is_ok() {
        clear_file(&made);
        platform::remove_folder(&made).ok(); // tried again by the next
    }
}

fn clear_file(folder: &Path) {
    remove_ours(&folder.join(PROBE)).ok();
}

/// Removes a probe; what somebody put in its place stays. False: it did.
fn remove_ours(path: &Path) -> Result<bool, FsError> {
    let found = identity_at(path).map_err(|error| FsError::new("look at", path, error))?;
    let is_ours = match found {
        Some(found) => found.size == 0 && !platform::is_foreign(path),
        None => kind_at(path).map_err(|error| FsError::new("look at", path, error))?.is_none(),
    };
    if is_ours {
        remove_file(path)?;
    }
    Ok(is_ours)
}

fn make(folder: &Path) -> Result<(PathBuf, File), FsError> {
    let path = folder.join(PROBE);
    for _ in 0..TRIES {
        match platform::create_probe(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => clear_probe(folder),
            made => {
                return made.map(|file| (path.clone(), file)).map_err(|e| FsError::new("create", &path, e));
            }
        }
    }
    Err(FsError::new("create", &path, io::ErrorKind::AlreadyExists.into()))
}

/// Makes a file in a folder and takes it away.
pub(crate) fn try_making(folder: &Path) -> Result<(), FsError> {
    let (path, file) = make(folder)?;
    drop(file);
    remove_file(&path)
}

/// Makes a file in a landing folder and renames it into the claim folder; where that is not there, into one that is made beside it for that.
pub(crate) fn try_claiming(landing: &Path, claims: &Path) -> Result<(), FsError> {
    if is_there(claims)? {
        clear_probe(claims);
        return try_renaming(landing, claims);
    }
    let beside = parent_of(claims);
    let made = beside.join(PROBE_FOLDER);
    clear_probe(beside);
    match platform::make_one_folder(&made, OpenTo::Owner) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(FsError::new("make the folder", &made, error));
        }
        _ => {}
    }
    // A mount's options may open to others what was made for us alone.
    let renamed = check_own_folder(&made).and_then(|()| try_renaming(landing, &made));
    platform::remove_folder(&made).ok();
    renamed
}

fn is_there(claims: &Path) -> Result<bool, FsError> {
    match platform::kind_at(claims) {
        Ok(_) => check_own_folder(claims).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(FsError::new("look at", claims, error)),
    }
}

fn try_renaming(landing: &Path, claims: &Path) -> Result<(), FsError> {
    let claimed = claims.join(PROBE);
    for _ in 0..TRIES {
        let (path, file) = make(landing)?;
        drop(file);
        match take_file(&path, &claimed) {
            Ok(Renamed::Done) => break,
            // Somebody else tries here, too.
            Ok(Renamed::Missing | Renamed::NameTaken) => clear_file(claims),
            Err(error) => return remove_file(&path).and(Err(error)),
        }
        remove_file(&path)?;
    }
    if !remove_ours(&claimed)? {
        // A sender's, who put it there in that moment.
        take_file(&claimed, &landing.join(PROBE))?;
    }
    Ok(())
}

/// Gives a file in a folder an owner, a mode and a time; what of that it does not get.
pub(crate) fn try_keeping(folder: &Path, wanted: Wanted) -> Result<Vec<Unkept>, FsError> {
    let (path, file) = make(folder)?;
    let unkept = platform::give(&file, wanted);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    // FAT keeps even seconds only.
    let is_near =
        |time: SystemTime| time.duration_since(long_ago).unwrap_or_else(|e| e.duration()).as_secs() < 3;
    let keeps_time = file.set_modified(long_ago).is_ok()
        && file.metadata().and_then(|found| found.modified()).is_ok_and(is_near);
    drop(file);
    remove_file(&path)?;
    let mut unkept = unkept.map_err(|error| FsError::new("set the permissions of", &path, error))?;
    unkept.extend((!keeps_time).then_some(Unkept::Time));
    Ok(unkept)
}

/// A folder, or the nearest above it that is there.
pub(crate) fn nearest_folder(folder: &Path) -> Option<&Path> {
    folder.ancestors().find(|ancestor| fs::metadata(ancestor).is_ok_and(|found| found.is_dir()))
}

/// Whether files can be renamed from one folder to the other, as far as their devices tell.
pub(crate) fn are_on_one_file_system(one: &Path, other: &Path) -> Option<bool> {
    Some(platform::device_of(one).ok()? == platform::device_of(other).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable_fs::CLAIM_FOLDER;

    fn names(folder: &Path) -> Vec<String> {
        let names = fs::read_dir(folder).expect("is there").flatten();
        names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_trial_leaves_nothing_and_takes_away_what_a_killed_one_left() {
        let landing = tempfile::tempdir().expect("a folder");
        let claims = landing.path().join(CLAIM_FOLDER);
        try_claiming(landing.path(), &claims).expect("may be done");
        assert_eq!(names(landing.path()), [""; 0]);
        platform::make_one_folder(&claims, OpenTo::Owner).expect("makes");
        let made = landing.path().join(PROBE_FOLDER);
        platform::make_one_folder(&made, OpenTo::Owner).expect("makes");
        for left in [landing.path(), &claims, &made] {
            drop(make(left).expect("killed behind that"));
        }
        clear_probe(landing.path());
        try_claiming(landing.path(), &claims).expect("may be done");
        assert_eq!((names(landing.path()), names(&claims)), (vec![CLAIM_FOLDER.to_owned()], vec![]));
        drop(make(landing.path()).expect("killed behind that"));
        assert_eq!(
            try_keeping(landing.path(), Wanted { mode: 0o640, ..Wanted::default() }).expect("may"),
            []
        );
        assert_eq!(names(landing.path()), [CLAIM_FOLDER]);
    }

    #[test]
    fn a_file_with_the_probes_name_that_is_not_empty_is_somebodys_and_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(PROBE), "somebody's").expect("writes");
        try_making(folder.path()).expect_err("the name is taken");
        assert_eq!(fs::read_to_string(folder.path().join(PROBE)).expect("is there"), "somebody's");
    }
}
