//! Telling of claimed files that the store does not know: it was lost, or an older copy of it was restored.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{Quarantined, Stray, claim_folder, look_for_traces};
use crate::durable_fs::{self, CLAIM_FOLDER, Entry, Kind};
use crate::engine::EngineError;
use crate::engine::shared::Shared;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::model::rule::{OnSuccess, Rule};
use crate::output;
use crate::store::{Store, StoreError};
use crate::telemetry::events;
use crate::watch::rules::RuleSet;

/// So many files of a folder are told one by one.
const TOLD_MAX: usize = 10;

/// So many names of outputs are looked at.
const OUTPUT_ENTRIES_MAX: usize = 200_000;

/// Looks into every claim folder of these rules for files that no unfinished job has, and tells of them: they are taken up by nobody until
/// an operator says so. Whether there was one.
pub(in crate::engine) fn tell_strays(shared: &Shared, rules: &[Rule]) -> bool {
    let mut found_any = false;
    for folder in claim_folders(shared, rules) {
        if shared.stop.is_asked() {
            break;
        }
        match tell_folder(shared, &folder, rules) {
            Ok(found) => found_any |= found,
            Err(error) => {
                let folder = OsText::from(folder);
                tracing::warn!(%folder, %error, "the claim folder cannot be looked through for files that nobody takes up");
            }
        }
    }
    found_any
}

/// Looks below these folders of outputs for partials of jobs that the store does not know.
pub(in crate::engine) fn tell_partials(shared: &Shared, mut folders: Vec<PathBuf>) {
    let (mut seen, mut partials, mut entries_left) = (BTreeSet::new(), Vec::new(), OUTPUT_ENTRIES_MAX);
    while let Some(folder) = folders.pop() {
        if shared.stop.is_asked() || !seen.insert(folder.clone()) {
            continue;
        }
        for entry in listed(&folder) {
            entries_left = entries_left.saturating_sub(1);
            if entries_left == 0 {
                events::too_many_outputs(&folder.into(), OUTPUT_ENTRIES_MAX);
                return events::partials(&partials);
            }
            if entry.kind == Kind::Folder {
                folders.push(entry.path);
            } else if let Some(job) = entry.path.file_name().and_then(output::job_of_partial) {
                match shared.store.job(job) {
                    Ok(None) => partials.push(OsText::from(entry.path)),
                    Ok(Some(job)) => remove_left(shared, &job, &entry.path),
                    Err(_) => {} // whoever has the job in hand tells it
                }
            }
        }
    }
    events::partials(&partials);
}

/// Removes what another node of the cluster began, and left when its job was taken from it. Once the job has ended nobody takes it up.
fn remove_left(shared: &Shared, job: &Job, partial: &Path) {
    if !job.state.is_final() || !output::is_of_earlier(partial, job.id, shared.store.epoch()) {
        return;
    }
    if let Err(error) = durable_fs::remove_seen(partial) {
        let partial = OsText::from(partial);
        tracing::debug!(job = %job.id, %partial, %error, "what another node left cannot be removed yet");
    }
}

/// What lies in a folder of outputs, up to the first error, which is told: what lies behind it is not looked through. Most are not there
/// before the first output.
fn listed(folder: &Path) -> impl Iterator<Item = Entry> + use<> {
    let shown = OsText::from(folder);
    let told = move |error: &io::Error| {
        tracing::warn!(folder = %shown, %error, "this folder of outputs cannot be looked through for partials that nobody takes up");
    };
    let listing = match durable_fs::list(folder) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => None,
        listing => listing.inspect_err(&told).ok(),
    };
    listing.into_iter().flatten().map_while(move |entry| entry.inspect_err(&told).ok())
}

fn tell_folder(shared: &Shared, folder: &Path, rules: &[Rule]) -> Result<bool, EngineError> {
    let mut found = claim_folder(folder, rules)?;
    let claimed = std::mem::take(&mut found.claimed);
    let mut strays = unknown(claimed, |job| is_known(&shared.store, job)).map_err(super::Trouble::from)?;
    let is_unknown = |quarantined: &&Quarantined| {
        quarantined.job.is_some_and(|job| was_there(&shared.store, job).is_ok_and(|was_there| !was_there))
    };
    let quarantined = found.quarantined.iter().filter(is_unknown).count();
    if strays.is_empty() && quarantined == 0 {
        return Ok(false);
    }
    let told = strays.len().min(TOLD_MAX);
    look_for_traces(&mut strays[..told], rules);
    for stray in &strays[..told] {
        events::stray(
            &OsText::from(folder),
            stray.job,
            &stray.path,
            &stray.traces.outputs,
            &stray.traces.partials,
        );
    }
    events::strays(&OsText::from(folder), strays.len(), quarantined);
    Ok(true)
}

/// The files that the store does not have in hand, and that still lie there.
///
/// A job may end after its file was listed:
///
/// ```text
/// here:    list the file                                  row: ended -> does it lie there? no
/// its job:               file archived -> row: ended
/// ```
///
/// A row comes before its file gets the claimed name, and ends after the file left it: what lies there behind a row that ended, or is not
/// there, is nobody's.
fn unknown(
    claimed: Vec<Stray>,
    is_known: impl Fn(JobId) -> Result<bool, StoreError>,
) -> Result<Vec<Stray>, StoreError> {
    let mut strays = Vec::new();
    for stray in claimed {
        if !is_known(stray.job)? && lies_there(&stray) {
            strays.push(stray);
        }
    }
    Ok(strays)
}

/// One that cannot be looked at is told all the same.
fn lies_there(stray: &Stray) -> bool {
    !matches!(durable_fs::kind_at(stray.path.as_path()), Ok(None))
}

/// Whether the store has this file in hand. A job that ended well has no claimed file any more.
fn is_known(store: &Store, id: JobId) -> Result<bool, StoreError> {
    let job = store.job(id)?;
    Ok(job.is_some_and(|job| !job.state.is_final() || job.leaves_its_source()))
}

/// Whether this store ever had the job: the ledger knows it longer than it is listed, and its source stays in quarantine.
fn was_there(store: &Store, id: JobId) -> Result<bool, StoreError> {
    Ok(store.job(id)?.is_some() || store.ledger(id)?.is_some())
}

/// The claim folders that are there: one beside every folder in which a candidate could lie, and those that rules name.
fn claim_folders(shared: &Shared, rules: &[Rule]) -> BTreeSet<PathBuf> {
    let renaming: Vec<Rule> =
        rules.iter().filter(|rule| rule.source.on_success != OnSuccess::Keep).cloned().collect();
    let mut found: BTreeSet<_> = renaming.iter().filter_map(|rule| rule.source.claim_dir.clone()).collect();
    let Ok(watched) = RuleSet::new(renaming) else { return found };
    let mut folders = watched.fixed_folders();
    let mut seen = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        if shared.stop.is_asked() || !seen.insert(folder.clone()) {
            continue;
        }
        let claims = folder.join(CLAIM_FOLDER);
        if durable_fs::kind_at(&claims).is_ok_and(|kind| kind == Some(Kind::Folder)) {
            found.insert(claims);
        }
        // A folder that cannot be listed is told by the watch.
        let entries = durable_fs::list(&folder).into_iter().flatten().flatten();
        let inner = entries.filter(|entry| entry.kind == Kind::Folder);
        folders.extend(inner.map(|entry| entry.path).filter(|inner| watched.could_match_below(inner)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::strays::Traces;

    #[test]
    fn a_file_whose_job_ends_while_it_is_looked_up_is_no_stray() {
        let folder = tempfile::tempdir().expect("a folder");
        let claimed = |seed| {
            let job = JobId::from_parts(1, seed);
            let path = folder.path().join(format!("{job}.pay.csv"));
            std::fs::write(&path, "1\n").expect("a file");
            Stray { job, name: None, path: path.into(), origin: None, bytes: 2, traces: Traces::default() }
        };
        let (ending, known, lost) = (claimed(1), claimed(2), claimed(3));
        let its_path = ending.path.clone();
        let is_known = |job| {
            if job == ending.job {
                durable_fs::remove_file(its_path.as_path()).expect("it is archived");
            }
            Ok(job == known.job)
        };
        let strays = unknown(vec![ending.clone(), known.clone(), lost.clone()], is_known).expect("looks");
        assert_eq!(strays, [lost]);
    }
}
