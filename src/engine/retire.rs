//! Retiring: the source is archived, deleted or kept. Never unlinked before a verified copy is in the archive.

use std::path::Path;

use super::companions::claimed_companions;
use super::free_name::free_name;
use super::goals::Goal;
use super::moving::{Mover, plan_companions};
use super::rule_book::ReadyRule;
use super::shared::Shared;
use super::trouble::Trouble;
use super::{archive, quarantine, sequence, source};
use crate::clock;
use crate::durable_fs::{self, Reach};
use crate::model::fault::FaultKind;
use crate::model::identity::{FileIdentity, FolderIdentity};
use crate::model::job::Job;
use crate::model::job_state::JobEvent;
use crate::model::os_text::OsText;
use crate::model::rule::{ArchiveOwner, OnComplete, OnSuccess};
use crate::store::{ArchivedFile, ArchivedRow, LedgerOutcome, LedgerRow, Marked};
use crate::telemetry::events;

/// What file systems differ in when they keep a time.
const MTIME_SLACK_NS: i128 = 2_000_000_000;

/// Takes a published job's source from its claim folder to where the rule says; [`super::moving::sync_arrived`] and [`super::moving::sync_left`] make that durable.
pub(super) fn move_away(shared: &Shared, rule: &ReadyRule, job: &mut Job) -> Result<(), Trouble> {
    if let Some(take_outputs) = &shared.publishing.aside {
        return take_outputs(&rule.rule, job).map_err(Trouble::from_error);
    }
    match rule.rule.source.on_success {
        _ if !job.source.retire => Ok(()),
        OnSuccess::Keep => Ok(()),
        OnSuccess::Archive => {
            take_over(shared, rule, job)?; // before the last look: nobody writes it behind that
            if is_changed(job)? { set_apart(shared, rule, job) } else { archive(shared, rule, job) }
        }
        OnSuccess::Delete if is_changed(job)? => set_apart(shared, rule, job),
        OnSuccess::Delete => delete(job),
    }
}

/// Takes the source and what belongs to it out of its sender's reach: what lies in the archive is what was ingested, and stays it.
fn take_over(shared: &Shared, rule: &ReadyRule, job: &mut Job) -> Result<(), Trouble> {
    let (id, path) = (job.id, &job.source.path);
    let mut is_noted = false;
    let is_left = rule.rule.source.archive_owner == ArchiveOwner::Sender;
    if let (Some(claimed), false) = (&job.source.claimed, job.source.is_copied)
        && let Some(why) = why_copied(claimed.as_path(), durable_fs::take_over(claimed.as_path(), is_left)?)
    {
        tracing::warn!(job = %id, %path, "the source {why}: a copy of it is kept");
        job.source.is_copied = true;
        is_noted = true;
    }
    for companion in &mut job.source.companions {
        if let (Some(claimed), false) = (&companion.claimed, companion.is_copied)
            && let Some(why) =
                why_copied(claimed.as_path(), durable_fs::take_over(claimed.as_path(), is_left)?)
        {
            tracing::warn!(job = %id, path = %companion.path, "a companion of the source {why}: a copy of it is kept");
            companion.is_copied = true;
            is_noted = true;
        }
    }
    if is_noted { shared.save(job) } else { Ok(()) }
}

/// Why a file itself cannot be kept: others can change it whoever owns it.
fn why_copied(path: &Path, reach: Reach) -> Option<&'static str> {
    match reach {
        Reach::Named => Some("has a second name somewhere, by which it could be changed"),
        Reach::Open if crate::watch::may_have_writer(path) => {
            Some("is open for writing somewhere, and what is written from now on is in no output")
        }
        // What cannot be taken is looked at again: see `late_writes`.
        Reach::None | Reach::Open | Reach::Owned => None,
    }
}

/// Whether the source is not what was ingested: somebody who had it open wrote into it after the last look.
fn is_changed(job: &Job) -> Result<bool, Trouble> {
    if job.source.is_set_apart {
        return Ok(true);
    }
    let Some(claimed) = &job.source.claimed else { return Ok(false) };
    // One that is not there was moved before a crash, or its move will say what it waits for.
    let found = source::ask_folder(claimed)?.file();
    Ok(found
        .is_some_and(|found| !durable_fs::is_same_content(claimed.as_path(), &found, &job.source.identity)))
}

/// Takes a source to quarantine that was written to after its outputs were published: neither archived as what was ingested nor deleted.
fn set_apart(shared: &Shared, rule: &ReadyRule, job: &mut Job) -> Result<(), Trouble> {
    if !job.source.is_set_apart {
        let (id, path) = (job.id, &job.source.path);
        tracing::error!(
            job = %id, rule = rule.rule.name, %path,
            "the source was written to after it was read: what came later is in no output; it is kept apart in quarantine"
        );
        job.note(clock::now(), "its source was written to after it was read: what came later is in no output, and it is kept in quarantine");
        job.source.is_set_apart = true;
        archive::forget_plan(job);
        job.retire_to(Some(quarantine::name(&rule.rule, job)?.into()));
        plan_companions(&quarantine::folder(&rule.rule, job), job);
        shared.save(job)?;
        shared.store.sync()?;
    }
    check_place(shared, rule, &quarantine::folder(&rule.rule, job))?;
    let folder = quarantine::make(&rule.rule, job)?;
    let mover = Mover::new(&shared.store, &shared.resources.disk_space, ArchiveOwner::Service);
    mover.move_source(job, |job| quarantine::name(&rule.rule, job))?;
    mover.move_companions(job, &folder)?;
    let message = "the source was written to after it was read: what came later is in no output";
    let hint = "compare it with the outputs, and have the sender send again what is missing";
    let error = Some(Trouble::new(FaultKind::Input, message, Some(hint)).error);
    quarantine::write_reason(&shared.store, job, error)
}

/// Whether the mount is there that files for this folder went to before: a folder is not made in the bare mount point.
pub(super) fn check_place(shared: &Shared, rule: &ReadyRule, folder: &Path) -> Result<(), Trouble> {
    shared.resources.disk_space.check_places(rule, || vec![Goal::at(folder)])
}

/// Ends a job whose source is durably where it belongs.
pub(super) fn end(shared: &Shared, rule: &ReadyRule, mut job: Job) -> Result<(), Trouble> {
    job.take(JobEvent::Retired, clock::now(), "")?;
    job.error = None;
    shared.operator.halts.note_completed(&shared.store, &job)?;
    sequence::note_end(shared, &mut job)?;
    if shared.publishing.aside.is_none() {
        shared.resources.disk_space.places.learn(&shared.store, rule, &job)?;
    }
    let row = LedgerRow::of(&job, LedgerOutcome::Completed);
    let kept = job.source.retire && rule.rule.source.on_success == OnSuccess::Keep;
    let mut changes = shared.store.change();
    changes.job(&job).ledger(&row, kept).forget_work(job.id);
    // What it came with stays beside it, and is not for what its sender writes there next.
    let stays = job.source.claimed.is_none() && job.source.lies_at.is_none();
    for companion in job.source.companions.iter().filter(|companion| stays && !companion.is_of_folder) {
        changes.marked(&job.source.path, &Marked::new(companion.identity, clock::now()));
    }
    if rule.rule.source.on_complete == OnComplete::Destroy {
        changes.mark_to_destroy(job.id);
    }
    if let Some(archived) = archived(rule, &job) {
        shared.claims.late_writes.watch(&job);
        changes.archived(&archived);
    }
    changes.apply()?;
    shared.claims.taken.leave(&job);
    shared.dispatch.forget_back_off(job.id);
    shared.claims.held.forget(&job.source.identity);
    shared.footprints.reach.forget(job.id);
    shared.claims.given_back.forget(job.source.path.as_path());
    sequence::ended(shared, &job);
    events::completed(&job);
    Ok(())
}

fn archive(shared: &Shared, rule: &ReadyRule, job: &mut Job) -> Result<(), Trouble> {
    check_place(shared, rule, &archive::folder(rule, job)?)?;
    let mover = Mover::new(&shared.store, &shared.resources.disk_space, rule.rule.source.archive_owner);
    mover.move_source(job, |job| {
        let folder = archive::folder(rule, job)?;
        durable_fs::make_folder(&folder, mover.opens_to())?;
        free_name(&folder, job.source.path.as_path(), 0)
    })?;
    let target = job.retired_to.clone();
    let folder = target.as_ref().and_then(|path| path.as_path().parent());
    let (Some(folder), false) = (folder, job.source.companions.is_empty()) else { return Ok(()) };
    mover.move_companions(job, folder)
}

/// What this job put into the archive, for its removal one day. Only what is there and is what it was: another file of its name is
/// somebody else's.
fn archived(rule: &ReadyRule, job: &Job) -> Option<ArchivedRow> {
    if rule.rule.source.on_success != OnSuccess::Archive || job.source.is_set_apart {
        return None;
    }
    let claimed = job.source.claimed.as_ref().and(job.retired_to.as_ref());
    let source = claimed.map(|path| (path, &job.source.identity, job.source.is_copied));
    let companions = job.source.companions.iter().filter(|companion| companion.claimed.is_some());
    let companions = companions.filter_map(|c| Some((c.retired_to.as_ref()?, &c.identity, c.is_copied)));
    let files = source.into_iter().chain(companions);
    let files: Vec<_> =
        files.filter_map(|(path, was, is_copied)| archived_file(path, was, is_copied)).collect();
    let at = job.finished_at.filter(|_| !files.is_empty())?;
    Some(ArchivedRow { job: job.id, rule: job.rule.clone(), at, files })
}

fn archived_file(path: &OsText, was: &FileIdentity, is_copied: bool) -> Option<ArchivedFile> {
    let identity = durable_fs::identity_at(path.as_path()).ok().flatten()?;
    let folder = durable_fs::folder_identity(durable_fs::parent_of(path.as_path())).ok().flatten()?;
    // A copy has another inode, and on another file system perhaps a coarser time.
    let same_file = is_copied
        || identity.device != was.device
        || durable_fs::is_same_file(path.as_path(), &identity, was);
    let is_ours = same_file && is_same_time(&identity, was) && identity.size == was.size;
    is_ours.then(|| ArchivedFile { path: path.clone(), identity, folder })
}

/// Whether two files have one time, as far as file systems keep it.
pub(super) fn is_same_time(one: &FileIdentity, other: &FileIdentity) -> bool {
    (one.mtime_ns - other.mtime_ns).abs() <= MTIME_SLACK_NS
}

fn delete(job: &Job) -> Result<(), Trouble> {
    if let Some(claimed) = &job.source.claimed {
        let folder = durable_fs::parent_of(claimed.as_path());
        let is_its_own = |found: &FolderIdentity| source::is_claimed_into(job, folder, found);
        if !durable_fs::remove_in(claimed.as_path(), is_its_own)? {
            let message = format!("the folder of {claimed} is not there");
            let hint = "mount its file system; the job goes on by itself";
            return Err(Trouble::not_mounted(message, hint));
        }
    }
    for (companion, _) in claimed_companions(job) {
        durable_fs::remove_file(companion)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::archive;
    use crate::engine::tests::{World, is_there};

    #[test]
    fn a_source_that_changes_after_it_was_published_is_kept_apart_and_never_archived_as_what_was_ingested() {
        use std::io::Write as _;
        let world = World::new();
        let mut job = world.job();
        world.rename();
        let mut late = std::fs::File::options().append(true).open(world.claimed()).expect("opens");
        late.write_all(b"2\n").expect("writes");
        let rule = world.shared.rules.snapshot(&world.shared.store, &job).expect("is known");
        archive::plan(&rule, &mut job).expect("plans");
        move_away(&world.shared, &rule, &mut job).expect("moves");
        let quarantined = world.path("in/.landfall/quarantine/pay.txt");
        assert_eq!(job.retired_to.as_ref().map(|path| path.as_path().to_owned()), Some(quarantined.clone()));
        assert_eq!(std::fs::read_to_string(&quarantined).expect("is there"), "1\n2\n");
        assert!(!is_there(&world.path("archive/pay.txt")) && !is_there(&world.claimed()));
        assert!(is_there(&world.path("in/.landfall/quarantine/pay.txt.error.json")));
        // After a crash it is the same again.
        let mut row = world.row(&job).expect("is there");
        move_away(&world.shared, &rule, &mut row).expect("is moved already");
        assert!(row.timeline.iter().any(|moment| moment.detail.contains("written to")), "{row:#?}");
    }

    #[test]
    fn a_source_that_is_set_apart_has_its_reason_beside_it() {
        let world = World::new();
        let mut job = world.job();
        world.rename();
        std::fs::write(world.claimed(), "1\n2\n").expect("its sender still had it open");
        let rule = world.shared.rules.snapshot(&world.shared.store, &job).expect("is known");
        move_away(&world.shared, &rule, &mut job).expect("moved");
        let apart = job.retired_to.clone().expect("it is in quarantine");
        assert!(is_there(apart.as_path()) && !is_there(&world.claimed()));
        let reason = std::fs::read_to_string(format!("{apart}.error.json")).expect("it is beside it");
        let reason: serde_json::Value = serde_json::from_str(&reason).expect("is JSON");
        let said = reason["error"]["message"].as_str().unwrap_or_default();
        assert!(said.contains("written to after it was read"), "{reason:#}");
        assert!(job.error.is_none(), "its outputs are published all the same");
    }
}
