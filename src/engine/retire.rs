//! Retiring: the source is archived, deleted or kept. Never unlinked before a verified copy is in the archive.

use std::path::{Path, PathBuf};

use super::claim_names::FILE_NAME_MAX;
use super::rule_book::ReadyRule;
use super::shared::Shared;
use super::trouble::Trouble;
use super::{claim, quarantine, source};
use crate::clock;
use crate::durable_fs::{self, FolderRound, Moving, Reach, Renamed};
use crate::model::fault::FaultKind;
use crate::model::identity::FileIdentity;
use crate::model::job::Job;
use crate::model::job_state::JobEvent;
use crate::model::os_text::OsText;
use crate::model::rule::OnSuccess;
use crate::model::template::{Template, Variables};
use crate::store::{ArchivedFile, ArchivedRow, LedgerOutcome, LedgerRow};
use crate::telemetry::events;

/// What file systems differ in when they keep a time.
const MTIME_SLACK_NS: i128 = 2_000_000_000;

/// Chooses where the source will go, and what belongs to it; written down before anything is moved, so that a restart finds it on either
/// side.
pub(super) fn plan(rule: &ReadyRule, job: &mut Job) -> Result<(), Trouble> {
    job.retired_to = None;
    if !job.source.retire || rule.rule.source.on_success != OnSuccess::Archive {
        return Ok(());
    }
    let folder = archive_folder(rule, job)?;
    // An archive that is out of reach does not hold up the outputs: `move_source` chooses when it is back.
    job.retired_to = free_name(&folder, job.source.path.as_path(), 0).ok().map(OsText::from);
    plan_companions(&folder, job);
    Ok(())
}

/// For a job that turned out to be another than was planned for: names are chosen, and made durable, when its source is moved.
pub(super) fn forget_plan(job: &mut Job) {
    job.retired_to = None;
    for companion in &mut job.source.companions {
        companion.retired_to = None;
    }
}

/// Chooses names in `folder` for what belongs to the source.
pub(super) fn plan_companions(folder: &Path, job: &mut Job) {
    for companion in &mut job.source.companions {
        companion.retired_to = free_name(folder, companion.path.as_path(), 0).ok().map(OsText::from);
    }
}

fn archive_folder(rule: &ReadyRule, job: &Job) -> Result<PathBuf, Trouble> {
    let template = rule.rule.source.archive_dir.as_deref().unwrap_or_default();
    let known = job.vars.keys().cloned().collect();
    let variables = Variables::of(&rule.rule, job);
    let rendered = Template::parse(template, &known).and_then(|template| template.render(&variables));
    rendered.map_err(|error| {
        let message = format!("rule \"{}\": source.archive_dir: {error}", rule.rule.name);
        Trouble::new(FaultKind::Config, message, error.hint.as_deref())
    })
}

/// The names that a job's source may have got in the archive, the first choice first.
pub(super) fn archive_names(
    rule: &ReadyRule,
    job: &Job,
) -> Result<impl Iterator<Item = PathBuf> + use<>, Trouble> {
    let folder = archive_folder(rule, job)?;
    let source = job.source.path.as_path().to_owned();
    Ok((0_u64..).map(move |number| numbered(&folder, &source, number, 0)))
}

/// A name in `folder` that nothing has yet: `pay.csv.gz`, `pay.csv.gz-1` … One that leaves no room for `room` bytes more is shortened.
/// With room for a reason: not a name whose reason would replace a source that is called like it.
pub(super) fn free_name(folder: &Path, source: &Path, room: usize) -> Result<PathBuf, Trouble> {
    for number in 0_u64.. {
        let path = numbered(folder, source, number, room);
        match durable_fs::kind_at(&path) {
            Ok(None) if room > 0 && quarantine::is_source(&quarantine::reason_of(&path)) => {}
            Ok(None) => return Ok(path),
            Err(error) => {
                let message = format!("cannot look at {}: {error}", OsText::from(path));
                let hint = "make the folder accessible to the service's user; the job goes on by itself";
                return Err(Trouble::new(FaultKind::Storage, message, Some(hint)));
            }
            Ok(Some(_)) => {}
        }
    }
    Ok(numbered(folder, source, 0, room))
}

fn numbered(folder: &Path, source: &Path, number: u64, room: usize) -> PathBuf {
    let name = source.file_name().unwrap_or(source.as_os_str());
    let suffix = if number > 0 { format!("-{number}") } else { String::new() };
    let bytes_max = FILE_NAME_MAX.saturating_sub(suffix.len() + room);
    let mut fitting = OsText::from(name).shortened(bytes_max).as_os_str().to_owned();
    fitting.push(suffix);
    folder.join(fitting)
}

/// Takes a published job's source from its claim folder to where the rule says; [`sync_arrived`] and [`sync_left`] make that durable.
pub(super) fn move_away(shared: &Shared, rule: &ReadyRule, job: &mut Job) -> Result<(), Trouble> {
    match rule.rule.source.on_success {
        _ if !job.source.retire => Ok(()),
        OnSuccess::Keep => Ok(()),
        OnSuccess::Archive => {
            take_over(shared, job)?; // before the last look: nobody writes it behind that
            if is_changed(job)? { set_apart(shared, rule, job) } else { archive(shared, rule, job) }
        }
        OnSuccess::Delete if is_changed(job)? => set_apart(shared, rule, job),
        OnSuccess::Delete => delete(job),
    }
}

/// Takes the source and what belongs to it out of its sender's reach: what lies in the archive is what was ingested, and stays it.
fn take_over(shared: &Shared, job: &mut Job) -> Result<(), Trouble> {
    let (id, path) = (job.id, &job.source.path);
    let mut is_noted = false;
    if let (Some(claimed), false) = (&job.source.claimed, job.source.is_copied)
        && let Some(why) = why_copied(claimed.as_path(), durable_fs::take_over(claimed.as_path())?)
    {
        tracing::warn!(job = %id, %path, "the source {why}: a copy of it is kept");
        job.source.is_copied = true;
        is_noted = true;
    }
    for companion in &mut job.source.companions {
        if let (Some(claimed), false) = (&companion.claimed, companion.is_copied)
            && let Some(why) = why_copied(claimed.as_path(), durable_fs::take_over(claimed.as_path())?)
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
    let claimed = claimed.as_path();
    let found = durable_fs::identity_at(claimed).map_err(|error| Trouble::unseen(claimed, error))?;
    // One that is gone was moved before a crash.
    // Without the device: it may have another number after a restart.
    let content = |identity: &FileIdentity| (identity.inode, identity.size, identity.mtime_ns);
    Ok(found.is_some_and(|found| content(&found) != content(&job.source.identity)))
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
        forget_plan(job);
        job.retired_to = Some(quarantine::name(&rule.rule, job)?.into());
        plan_companions(&quarantine::folder(&rule.rule, job), job);
        shared.save(job)?;
        shared.store.sync()?;
    }
    let folder = quarantine::make(&rule.rule, job)?;
    move_source(shared, job, |job| quarantine::name(&rule.rule, job))?;
    move_companions(shared, job, &folder)?;
    let message = "the source was written to after it was read: what came later is in no output";
    let hint = "compare it with the outputs, and have the sender send again what is missing";
    let error = Some(Trouble::new(FaultKind::Input, message, Some(hint)).error);
    quarantine::write_reason(&Job { error, ..job.clone() })
}

/// Makes durable where a source and its companions went. For all jobs of a batch before [`sync_left`]: a claim folder may be that of others
/// of them, and no source that arrived may be gone from both.
pub(super) fn sync_arrived(job: &Job, round: &mut FolderRound) -> Result<(), Trouble> {
    let went = job.retired_to.as_ref().filter(|_| job.source.claimed.is_some());
    Ok(went.map_or(Ok(()), |target| round.sync(durable_fs::parent_of(target.as_path())))?)
}

/// Makes durable that a source and its companions left their claim folder: else a power cut could bring them back.
pub(super) fn sync_left(job: &Job, round: &mut FolderRound) -> Result<(), Trouble> {
    let claimed = job.source.claimed.as_ref();
    Ok(claimed.map_or(Ok(()), |claimed| round.sync(durable_fs::parent_of(claimed.as_path())))?)
}

/// [`sync_arrived`] and [`sync_left`] for a job by itself.
pub(super) fn sync_moved(job: &Job) -> Result<(), Trouble> {
    let mut round = FolderRound::default();
    sync_arrived(job, &mut round)?;
    sync_left(job, &mut round)
}

/// Ends a job whose source is durably where it belongs.
pub(super) fn end(shared: &Shared, rule: &ReadyRule, mut job: Job) -> Result<(), Trouble> {
    job.take(JobEvent::Retired, clock::now(), "")?;
    job.error = None;
    let row = LedgerRow::of(&job, LedgerOutcome::Completed);
    let kept = job.source.retire && rule.rule.source.on_success == OnSuccess::Keep;
    let mut changes = shared.store.change();
    changes.job(&job).ledger(&row, kept).forget_work(job.id);
    if let Some(archived) = archived(rule, &job) {
        shared.late_writes.watch(&job);
        changes.archived(&archived);
    }
    changes.apply()?;
    shared.forget_back_off(job.id);
    shared.reach.forget(job.id);
    shared.given_back.forget(job.source.path.as_path());
    events::completed(&job);
    shared.job_ended();
    Ok(())
}

fn archive(shared: &Shared, rule: &ReadyRule, job: &mut Job) -> Result<(), Trouble> {
    move_source(shared, job, |job| {
        let folder = archive_folder(rule, job)?;
        durable_fs::make_folder(&folder, false)?;
        free_name(&folder, job.source.path.as_path(), 0)
    })?;
    let target = job.retired_to.clone();
    let folder = target.as_ref().and_then(|path| path.as_path().parent());
    let (Some(folder), false) = (folder, job.source.companions.is_empty()) else { return Ok(()) };
    move_companions(shared, job, folder)
}

/// Moves a source's companions to where its row says, in the folder where it went; those that are gone were moved before a crash, or
/// belong to a newer source. Not durable before [`sync_moved`].
pub(super) fn move_companions(shared: &Shared, job: &mut Job, folder: &Path) -> Result<(), Trouble> {
    for position in 0..job.source.companions.len() {
        let may_copy = |bytes| shared.rooms.check_copy(folder, bytes);
        while let Some(companion) = job.source.companions.get(position).cloned()
            && let Some(claimed) = companion.claimed
        {
            let how = Moving { always_copies: companion.is_copied, may_copy: &may_copy };
            let planned = match companion.retired_to {
                Some(target)
                    if durable_fs::move_by(claimed.as_path(), target.as_path(), how)?
                        != Renamed::NameTaken =>
                {
                    break;
                }
                _ => free_name(folder, companion.path.as_path(), 0)?,
            };
            if let Some(companion) = job.source.companions.get_mut(position) {
                companion.retired_to = Some(planned.into());
            }
            shared.save(job)?;
            shared.store.sync()?;
        }
    }
    Ok(())
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
    let same_file = is_copied || identity.device != was.device || identity.inode == was.inode;
    let same_time = (identity.mtime_ns - was.mtime_ns).abs() <= MTIME_SLACK_NS;
    let is_ours = same_file && same_time && identity.size == was.size;
    is_ours.then(|| ArchivedFile { path: path.clone(), identity, folder })
}

/// Moves the claimed source to `job.retired_to`; where that name is taken meanwhile, `choose` gives another, which is durable
/// before it is used. A source that is gone was moved before a crash. Not durable before [`sync_moved`].
pub(super) fn move_source(
    shared: &Shared,
    job: &mut Job,
    choose: impl Fn(&Job) -> Result<PathBuf, Trouble>,
) -> Result<(), Trouble> {
    let Some(claimed) = job.source.claimed.clone() else { return Ok(()) };
    if !job.source.is_copied && durable_fs::has_other_names(claimed.as_path())? {
        let (id, path) = (job.id, &job.source.path);
        tracing::warn!(job = %id, %path, "the source has a second name somewhere, by which it could be changed: a copy of it is kept");
        job.source.is_copied = true;
        shared.save(job)?;
    }
    loop {
        let Some(target) = job.retired_to.clone() else {
            job.retired_to = Some(choose(job)?.into());
            shared.save(job)?;
            shared.store.sync()?;
            continue;
        };
        let folder = durable_fs::parent_of(target.as_path());
        durable_fs::make_folder(folder, false)?;
        let may_copy = |bytes| shared.rooms.check_copy(folder, bytes);
        let how = Moving { always_copies: job.source.is_copied, may_copy: &may_copy };
        match durable_fs::move_by(claimed.as_path(), target.as_path(), how)? {
            Renamed::Done => return Ok(()),
            Renamed::Missing => return was_moved(job, &claimed, &target),
            Renamed::NameTaken => job.retired_to = None,
        }
    }
}

/// A source that is gone from its claimed name was moved before a crash: it lies under its new name, or somebody took it from there.
/// Where its folder is away, nothing can be said yet.
fn was_moved(job: &Job, claimed: &OsText, target: &OsText) -> Result<(), Trouble> {
    // What cannot be looked at is out of reach: then nothing can be said yet.
    if durable_fs::kind_at(target.as_path()).is_ok_and(|kind| kind.is_some()) {
        return Ok(());
    }
    let folder_is_there = |path: &OsText| {
        durable_fs::folder_identity(durable_fs::parent_of(path.as_path())).is_ok_and(|found| found.is_some())
    };
    if source::claim_folder_is_there(job)? && folder_is_there(target) {
        tracing::warn!(source = %target, "somebody took the source away after it was moved");
        return Ok(());
    }
    let message = format!("the source lies neither at {claimed} nor at {target}");
    let hint = "mount the file system it lies on; the job goes on by itself";
    Err(Trouble::new(FaultKind::Storage, message, Some(hint)))
}

fn delete(job: &Job) -> Result<(), Trouble> {
    if let Some(claimed) = &job.source.claimed {
        if !source::claim_folder_is_there(job)? {
            let message = format!("the folder of {claimed} is not there");
            let hint = "mount its file system; the job goes on by itself";
            return Err(Trouble::new(FaultKind::Storage, message, Some(hint)));
        }
        durable_fs::remove_for_good(claimed.as_path())?;
    }
    for (companion, _) in claim::claimed_companions(job) {
        durable_fs::remove_file(companion)?;
    }
    Ok(())
}
