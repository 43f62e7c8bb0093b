//! What belongs to a source and goes where it goes: markers, totals.

use std::path::{Path, PathBuf};

use super::shared::Shared;
use super::source::look_at;
use super::trouble::Trouble;
use crate::durable_fs::{self, Renamed};
use crate::model::identity::FileIdentity;
use crate::model::job::{Companion, Job};
use crate::model::os_text::OsText;
use crate::model::rule::Rule;
use crate::store::Store;
use crate::watch::{Offer, companion};

/// Where a source's companions lie now, each with its own name.
pub(super) fn claimed_companions(job: &Job) -> impl Iterator<Item = (&Path, &Path)> {
    let claimed = |companion: &'_ Companion| companion.claimed.is_some();
    job.source.companions.iter().filter(move |companion| claimed(companion)).filter_map(|companion| {
        companion.claimed.as_ref().map(|claimed| (claimed.as_path(), companion.path.as_path()))
    })
}

/// The totals, or the checksum, of an earlier version of a file that stays where it lies, whose job ended since the file was judged, or is
/// at it yet: they say nothing of this one.
///
/// ```text
/// sender   v1, totals ............................ v2
/// watch                     v1 offered                 v2 judged, offered
/// job                                 v1 published                         done: its totals are marked as used
/// ```
pub(super) fn of_earlier_version(
    shared: &Shared,
    rule: &Rule,
    offer: &Offer,
) -> Result<Option<PathBuf>, Trouble> {
    let file = OsText::from(offer.path.as_path());
    let named = [&rule.ready.totals, &rule.ready.checksum].into_iter().flatten();
    for path in named.filter_map(|template| companion::path(template, &offer.path)) {
        let Some(found) = look_at(&path)? else { continue };
        if shared.store.marked(&file, &found)?.is_some() {
            return Ok(Some(path));
        }
        for reader in shared.claims.taken.readers(&offer.path) {
            let job = shared.store.job(reader)?;
            let is_its = |it: &Companion| it.path.as_path() == path && it.identity.same_content(&found);
            if job.is_some_and(|job| job.source.companions.iter().any(is_its)) {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
}

/// Takes a source's companions with it. A newer file of a companion's name belongs to the next source and stays.
pub(super) fn take_companions(job: &Job) -> Result<(), Trouble> {
    for companion in &job.source.companions {
        let Some(claimed) = &companion.claimed else { continue };
        let path = companion.path.as_path();
        // Not by its times: a marker is seen while it is made, and gets them a moment later (`touch`).
        // That of a folder was judged as it stood still: if it was written anew, it stands for other files.
        let is_it = |at: &Path, found: FileIdentity| {
            let known = &companion.identity;
            durable_fs::is_same_file(at, &found, known)
                && (!companion.is_of_folder || durable_fs::is_same_content(at, &found, known))
        };
        if look_at(claimed.as_path())?.is_none() {
            if !look_at(path)?.is_some_and(|found| is_it(path, found)) {
                continue;
            }
            durable_fs::take_file(path, claimed.as_path())?;
        }
        // It may have been written anew in that moment, also before a crash.
        if look_at(claimed.as_path())?.is_some_and(|found| !is_it(claimed.as_path(), found)) {
            durable_fs::rename_no_replace(claimed.as_path(), path)?;
        }
    }
    Ok(())
}

/// Renames a source's companions to where they lay; where a newer one has the name, ours means nothing any more.
pub(super) fn return_companions(job: &Job) -> Result<(), Trouble> {
    for (companion, lay) in claimed_companions(job) {
        if durable_fs::rename_no_replace(companion, lay)? == Renamed::NameTaken {
            durable_fs::remove_file(companion)?;
        }
    }
    Ok(())
}

/// Moves what belongs to the source, its totals for instance, from quarantine to its claimed name; what is gone is gone. May be repeated.
pub(super) fn bring_companions(store: &Store, job: &mut Job) -> Result<(), Trouble> {
    let mut changed = false;
    for companion in &mut job.source.companions {
        let (Some(claimed), Some(from)) = (&companion.claimed, &companion.retired_to) else { continue };
        changed = true;
        if durable_fs::move_file(from.as_path(), claimed.as_path())? == Renamed::NameTaken {
            tracing::warn!(job = %job.id, path = %from, "stays where it lies: its claimed name is taken");
        }
        // An operator may have mended it.
        if let Some(found) = look_at(claimed.as_path())? {
            companion.identity = found;
        }
        companion.retire_to(None);
    }
    if changed {
        store.change().job(job).apply()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock;
    use crate::engine::tests::World;
    use crate::model::job::Source;
    use crate::model::job_id::JobId;
    use crate::store::Marked;

    /// A job for a file, with one companion that is to be claimed.
    fn job(folder: &Path, companion: &Path) -> Job {
        let path = folder.join("pay.txt");
        std::fs::write(&path, "1\n").expect("a file");
        let identity = look_at(&path).expect("can be looked at").expect("a regular file");
        let found = look_at(companion).ok().flatten().unwrap_or(identity);
        let claimed = Some(folder.join("claimed-too").into());
        let companion = Companion { claimed, ..Companion::found(companion, found) };
        let source = Source { companions: vec![companion], ..Source::found(path, identity) };
        Job::queued(JobId::from_parts(1, 1), "rule", "hash", source, clock::now())
    }

    /// Goal: the next version of a file that stays where it lies is not judged by what came with the one before, also in the moment in which
    /// that one ends.
    #[test]
    fn totals_that_a_job_reads_or_has_read_are_not_those_of_the_next_version() {
        let world = World::new();
        let (mut rule, mut job) = (Rule::clone(&world.rule()), world.job());
        rule.ready.totals = Some("{name}.ctl".to_owned());
        let totals = world.path("in/pay.txt.ctl");
        std::fs::write(&totals, "{}").expect("writes");
        let identity = look_at(&totals).expect("looks").expect("a file");
        let offer = Offer {
            rule: Arc::new(rule.clone()),
            path: world.source(),
            identity: job.source.identity,
            names: Some(1),
            vars: job.vars.clone(),
            companions: vec![totals.clone()],
            folder_marker: None,
            complete_by: None,
        };
        let found = || of_earlier_version(&world.shared, &rule, &offer).expect("looks");
        assert_eq!(found(), None);
        (job.source.claimed, job.source.claim_folder) = (None, None);
        job.source.companions = vec![Companion::found(totals.as_path(), identity)];
        world.shared.save(&job).expect("writes");
        world.shared.claims.taken.enter(&job);
        assert_eq!(found(), Some(totals.clone()), "a job is at them");
        world.shared.claims.taken.leave(&job);
        assert_eq!(found(), None);
        let marked = Marked::new(identity, clock::now());
        world.shared.store.change().marked(&job.source.path, &marked).apply().expect("writes");
        assert_eq!(found(), Some(totals.clone()), "they are used");
        std::fs::write(&totals, "{ }").expect("writes");
        assert_eq!(found(), None, "they are others");
    }

    #[cfg(unix)]
    #[test]
    fn a_companion_that_cannot_be_looked_at_is_not_taken_for_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        take_companions(&job(folder.path(), &folder.path().join("gone")))
            .expect("a newer source may have taken it");
        let trouble = take_companions(&job(folder.path(), &folder.path().join("n".repeat(300))));
        let trouble = trouble.expect_err("no file system has such a name: it may be there");
        assert!(trouble.error.hint.is_some() && trouble.error.message.contains("cannot look at"));
    }

    #[test]
    fn a_folder_marker_that_was_written_anew_while_it_was_taken_is_given_back_after_a_crash_too() {
        let folder = tempfile::tempdir().expect("a folder");
        let (marker, claimed) = (folder.path().join("_SUCCESS"), folder.path().join("claimed-too"));
        std::fs::write(&marker, "ours").expect("writes");
        let mut job = job(folder.path(), &marker);
        job.source.companions[0].is_of_folder = true;
        std::fs::write(&marker, "for other files").expect("is written anew");
        durable_fs::take_file(&marker, &claimed).expect("taken, and then a crash");
        take_companions(&job).expect("goes on");
        assert_eq!(std::fs::read_to_string(&marker).expect("stays"), "for other files");
        assert!(look_at(&claimed).expect("looks").is_none());
    }

    #[test]
    fn a_companion_goes_with_its_source_and_back_and_a_newer_one_of_its_name_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let marker = folder.path().join("pay.done");
        let claimed = folder.path().join("claimed-too");
        std::fs::write(&marker, "ours").expect("writes");
        let job = job(folder.path(), &marker);
        take_companions(&job).expect("takes");
        assert!(look_at(&marker).expect("looks").is_none() && look_at(&claimed).expect("looks").is_some());
        return_companions(&job).expect("returns");
        assert!(look_at(&marker).expect("looks").is_some() && look_at(&claimed).expect("looks").is_none());

        take_companions(&job).expect("takes");
        std::fs::write(&marker, "of the next source").expect("writes");
        return_companions(&job).expect("returns");
        assert_eq!(std::fs::read_to_string(&marker).expect("reads"), "of the next source");
        assert!(look_at(&claimed).expect("looks").is_none(), "ours means nothing any more");
    }
}
