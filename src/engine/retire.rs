//! Retiring: the source is archived, deleted or kept. Never unlinked before a verified copy is in the archive.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::rule_book::ReadyRule;
use super::shared::Shared;
use super::trouble::Trouble;
use super::{claim, lock};
use crate::clock;
use crate::durable_fs::{self, Renamed};
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::job_state::JobEvent;
use crate::model::os_text::OsText;
use crate::model::rule::OnSuccess;
use crate::model::template::{Template, Variables};
use crate::store::{LedgerOutcome, LedgerRow};
use crate::telemetry::events;

/// Where the source will go; written down before it is moved, so that a restart finds it on either side.
pub(super) fn plan(rule: &ReadyRule, job: &Job) -> Result<Option<OsText>, Trouble> {
    if !job.source.retire || rule.rule.source.on_success != OnSuccess::Archive {
        return Ok(None);
    }
    let folder = archive_folder(rule, job)?;
    // An archive that is out of reach does not hold up the outputs: `move_source` chooses when it is back.
    Ok(free_name(&folder, job.source.path.as_path(), 0).ok().map(OsText::from))
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

/// A name in `folder` that nothing has yet: `pay.csv.gz`, `pay.csv.gz-1` … One that leaves no room for `room` bytes more is shortened.
pub(super) fn free_name(folder: &Path, source: &Path, room: usize) -> Result<PathBuf, Trouble> {
    let name = source.file_name().unwrap_or(source.as_os_str());
    for number in 0_u64.. {
        let suffix = if number > 0 { format!("-{number}") } else { String::new() };
        let path = folder.join(with_suffix(name, &suffix, room));
        match path.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(path),
            Err(error) => {
                let message = format!("cannot look at {}: {error}", OsText::from(path));
                let hint = "make the folder accessible to the service's user; the job goes on by itself";
                return Err(Trouble::new(FaultKind::Storage, message, Some(hint)));
            }
            Ok(_) => {}
        }
    }
    Ok(folder.join(name))
}

fn with_suffix(name: &OsStr, suffix: &str, room: usize) -> OsString {
    let bytes_max = claim::FILE_NAME_MAX.saturating_sub(suffix.len() + room);
    let mut fitting = OsText::from(name).shortened(bytes_max).as_os_str().to_owned();
    fitting.push(suffix);
    fitting
}

/// Takes a published job to its end.
pub(super) fn retire(shared: &Shared, rule: &ReadyRule, mut job: Job) -> Result<(), Trouble> {
    match rule.rule.source.on_success {
        _ if !job.source.retire => {}
        OnSuccess::Keep => {}
        OnSuccess::Archive => archive(shared, rule, &mut job)?,
        OnSuccess::Delete => delete(&job)?,
    }
    job.take(JobEvent::Retired, clock::now(), "")?;
    job.error = None;
    let row = LedgerRow::of(&job, LedgerOutcome::Completed);
    let kept = job.source.retire && rule.rule.source.on_success == OnSuccess::Keep;
    shared.store.change().job(&job).ledger(&row, kept).forget_work(job.id).apply()?;
    shared.forget_back_off(job.id);
    lock(&shared.given_back).remove(job.source.path.as_path());
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
    let (Some(folder), true) = (folder, !job.source.companions.is_empty()) else { return Ok(()) };
    move_companions(job, folder)
}

/// Moves a source's companions to the folder where it went; those that are gone were moved before a crash.
pub(super) fn move_companions(job: &Job, folder: &Path) -> Result<(), Trouble> {
    for (claimed, lay) in claim::claimed_companions(job) {
        while durable_fs::move_file(claimed, &free_name(folder, lay, 0)?)? == Renamed::NameTaken {}
    }
    Ok(())
}

/// Moves the claimed source to `job.retired_to`; where that name is taken meanwhile, `choose` gives another, which is durable
/// before it is used. A source that is gone was moved before a crash.
pub(super) fn move_source(
    shared: &Shared,
    job: &mut Job,
    choose: impl Fn(&Job) -> Result<PathBuf, Trouble>,
) -> Result<(), Trouble> {
    let Some(claimed) = job.source.claimed.clone() else { return Ok(()) };
    loop {
        let Some(target) = job.retired_to.clone() else {
            job.retired_to = Some(choose(job)?.into());
            shared.save(job)?;
            shared.store.sync()?;
            continue;
        };
        if let Some(folder) = target.as_path().parent() {
            durable_fs::make_folder(folder, false)?;
        }
        match durable_fs::move_file(claimed.as_path(), target.as_path())? {
            Renamed::Done => return Ok(()),
            Renamed::Missing => return was_moved(&claimed, &target),
            Renamed::NameTaken => job.retired_to = None,
        }
    }
}

/// A source that is gone from its claimed name was moved before a crash: it lies under its new name, or somebody took it from there.
/// Where its folder is away, nothing can be said yet.
fn was_moved(claimed: &OsText, target: &OsText) -> Result<(), Trouble> {
    if target.as_path().try_exists().unwrap_or(false) {
        return Ok(());
    }
    let is_there = |path: &OsText| durable_fs::parent_of(path.as_path()).try_exists().unwrap_or(false);
    if is_there(claimed) && is_there(target) {
        tracing::warn!(source = %target, "somebody took the source away after it was moved");
        return Ok(());
    }
    let message = format!("the source lies neither at {claimed} nor at {target}");
    let hint = "mount the file system it lies on; the job goes on by itself";
    Err(Trouble::new(FaultKind::Storage, message, Some(hint)))
}

fn delete(job: &Job) -> Result<(), Trouble> {
    if let Some(claimed) = &job.source.claimed {
        durable_fs::remove_file(claimed.as_path())?;
    }
    for (companion, _) in claim::claimed_companions(job) {
        durable_fs::remove_file(companion)?;
    }
    if let Some(claimed) = &job.source.claimed {
        durable_fs::sync_folder(durable_fs::parent_of(claimed.as_path()))?; // else a power cut could bring it back
    }
    Ok(())
}
