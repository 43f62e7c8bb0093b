//! Claiming: the ledger row first, then the rename into the claim folder.
//!
//! ```text
//!  claim folder made and held -> rows durable -> rename into it -> still the same file, no writer? -> queued
//!                                 |               |                 `- no: renamed back, row ended
//!                                 |               `- crash: recovery finds the file on one side of the rename
//!                                 `- crash: the file lies where it lay; the row is dropped
//! ```

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::claim_names::{claim_folder, claimed_path, claimed_path_beside};
use super::companions::{of_earlier_version, take_companions};
use super::give_back::give_back;
use super::rule_book::ReadyRule;
use super::shared::Shared;
use super::source::{identity_of, look_at};
use super::trouble::Trouble;
use super::{claims, delivery, sequence};
use crate::clock;
use crate::durable_fs::{self, FsError, Need, Renamed};
use crate::model::complete_by::CompleteBy;
use crate::model::fault::FaultKind;
use crate::model::identity::{FileIdentity, FolderIdentity};
use crate::model::job::{Companion, Job, Source};
use crate::model::job_id::JobId;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::pattern::Values;
use crate::model::rule::{OnSuccess, Rule};
use crate::store::{LedgerOutcome, LedgerRow, StoreError};
use crate::telemetry::events;
use crate::watch::companion;
use crate::watch::{Answer, Offer};

/// Why a file is given back that a rule may take by another name, too. Behind the rename only who may enter the claim folder links it; that
/// name is known by the job's row of other names.
///
/// ```text
/// sender                          links it
/// watch    it has one name: offer
/// claim                                     renames it; it has two names: given back, and the watch waits until one is left
/// ```
pub(super) const SECOND_NAME: &str = "it got another name while it was claimed";

/// What is to become of an offered file.
pub(super) struct Wanted {
    pub rule: Arc<ReadyRule>,
    pub offer: Offer,
    /// False: the file stays as it is (`ingest` without `--retire`).
    pub retire: bool,
    /// It was put there to be taken once: one that was taken meanwhile is not taken again, though an operator could have it so.
    pub once: bool,
}

fn is_kept(want: &Wanted) -> bool {
    want.retire && want.rule.rule.source.on_success == OnSuccess::Keep
}

/// Jobs whose rows are there, and of which it is not decided yet whether their files are ours: nobody else has them until then. Else an
/// operator's word would look for a file that is on its way, and be written over.
struct Undecided<'s> {
    shared: &'s Shared,
    ids: BTreeSet<JobId>,
}

impl<'s> Undecided<'s> {
    fn of(shared: &'s Shared, jobs: &[Result<Job, Trouble>]) -> Self {
        let ids: BTreeSet<_> = jobs.iter().flatten().map(|job| job.id).collect();
        for id in &ids {
            shared.dispatch.take_up_within(*id, Duration::ZERO); // they are new: nobody has them
        }
        Self { shared, ids }
    }
}

impl Drop for Undecided<'_> {
    fn drop(&mut self) {
        self.ids.iter().for_each(|id| self.shared.dispatch.put_down(*id));
    }
}

/// Claims files; the answer for each, in order. One sync of the store serves them all. Those that are ours are in hand until
/// [`Shared::queue_claimed`].
pub(super) fn claim(
    shared: &Shared,
    wanted: &[Wanted],
) -> Result<Vec<Result<Option<JobId>, Trouble>>, Trouble> {
    let mut held = None;
    let mut jobs: Vec<_> = wanted
        .iter()
        .map(|want| new_job(shared, want, &mut held).and_then(|job| enter(shared, want, job)))
        .collect();
    refuse_halted(shared, wanted, &mut jobs);
    let mut changes = shared.store.change();
    let mut rules = BTreeSet::new();
    for (want, job) in wanted.iter().zip(&jobs) {
        if let Ok(job) = job {
            let kept = is_kept(want);
            if rules.insert(&want.rule.hash) {
                changes.rule(&want.rule.rule);
            }
            changes.job(job).ledger(&LedgerRow::of(job, LedgerOutcome::Claimed), kept);
        }
    }
    if jobs.iter().all(Result::is_err) {
        return Ok(jobs.into_iter().map(|job| job.map(|job| Some(job.id))).collect());
    }
    let mut undecided = Undecided::of(shared, &jobs);
    let written = changes.apply();
    for job in jobs.iter().flatten() {
        if written.is_ok() { shared.claims.taken.enter(job) } else { shared.claims.taken.leave(job) }
    }
    written?;
    for (want, job) in wanted.iter().zip(&jobs) {
        if let Ok(job) = job {
            delivery::enter(shared, &want.rule.rule, job);
            sequence::enter(shared, job);
            shared.publishing.turns.next_due.note(job.due_at);
        }
    }
    shared.store.sync()?;
    if let Some(tell) = &shared.claims.held.tell {
        let renamed = jobs.iter().flatten().filter(|job| job.source.claimed.is_some());
        tell(&renamed.map(|job| (job.source.path.as_path(), job.source.identity)).collect::<Vec<_>>());
    }
    let mut folders = Vec::new();
    let keeps = durable_fs::keep_reached();
    let answers: Vec<_> = jobs
        .iter()
        .zip(wanted)
        .map(|(job, want)| {
            take(shared, job.as_ref().map_err(Trouble::clone)?, want.offer.names, &mut folders)
        })
        .collect();
    drop(keeps);
    folders.sort();
    folders.dedup();
    for folder in folders {
        match durable_fs::sync_folder(&folder) {
            Err(error) if error.is_failed_sync() => return Err(error.into()),
            // The files are ours all the same. They are not started before it is made good.
            Err(error) => {
                tracing::debug!(%error, "a claim is not durable yet");
                shared.claims.unsynced.doubt_folder(folder);
            }
            Ok(()) => {}
        }
    }
    for (job, answer) in jobs.iter().zip(&answers) {
        if let (Ok(job), Ok(Some(_))) = (job, answer) {
            events::claimed(job);
            shared.operator.expected.note(job);
            undecided.ids.remove(&job.id);
        }
    }
    Ok(answers)
}

/// A folder may have hung since it was asked what is paused: no file is claimed after an operator was told so. What a rule stopped after an
/// operator may try by hand.
fn refuse_halted(shared: &Shared, wanted: &[Wanted], jobs: &mut [Result<Job, Trouble>]) {
    let halts = shared.operator.halts.now();
    for (want, job) in wanted.iter().zip(jobs) {
        let Ok(known) = job else { continue };
        let is_by_hand = want.offer.complete_by == Some(CompleteBy::Command);
        let stop = halts.stop_of(&known.rule).filter(|_| !is_by_hand);
        if let Some(why) = halts.why_held_back(known).or(stop) {
            shared.claims.taken.leave(known);
            *job = Err(Trouble::new(FaultKind::Transient, why, None));
        }
    }
}

/// From here on another name of the file is none of its own. Of two that are claimed at once, such as by two names of their folder, the
/// first to begin goes on. A kept file may have had a job since it was offered: an operator may have had it ingested.
fn enter(shared: &Shared, want: &Wanted, job: Job) -> Result<Job, Trouble> {
    let (taken, offer) = (&shared.claims.taken, &want.offer);
    let other = match (taken.begin(&job), offer.names) {
        (Some(begun), _) => Ok(Some(begun)),
        (None, Some(names)) => {
            taken.other_name(&shared.store, &offer.path, &offer.identity, names, Some(job.id))
        }
        // An operator may have it once more, but not while its job is at it.
        (None, None) => taken.unfinished(&shared.store, &offer.path, &offer.identity, u64::MAX, Some(job.id)),
    };
    let refused = match other.and_then(|other| Ok((other, kept_by(shared, want, &job)?))) {
        Ok((None, None)) => match used_beside(shared, want) {
            Ok(None) => return Ok(job),
            Ok(Some(refused)) | Err(refused) => refused,
        },
        Ok((None, Some(other))) => {
            let message = format!("job {other} has it as it is");
            Trouble::new(FaultKind::Transient, message, Some("`landfall show` tells how far that job is"))
        }
        Ok((Some(other), _)) => Trouble::new(
            FaultKind::Transient,
            other.told(),
            Some("`landfall show` tells how far that job is"),
        ),
        Err(error) => error.into(),
    };
    taken.leave(&job);
    Err(refused)
}

/// Where what lies beside a file is for an earlier version of it; an operator may have the same one again.
fn used_beside(shared: &Shared, want: &Wanted) -> Result<Option<Trouble>, Trouble> {
    if want.offer.complete_by == Some(CompleteBy::Command) {
        return Ok(None);
    }
    let used = of_earlier_version(shared, &want.rule.rule, &want.offer)?;
    Ok(used.map(|path| {
        let message = format!("{} was for an earlier version of it", escaped_path(&path));
        Trouble::new(FaultKind::Transient, message, Some("it waits for those of its own"))
    }))
}

/// The job that has a kept file as it is, unless an operator names it.
fn kept_by(shared: &Shared, want: &Wanted, job: &Job) -> Result<Option<JobId>, StoreError> {
    let is_by_hand = want.offer.complete_by == Some(CompleteBy::Command);
    if is_by_hand && !want.once || job.source.claimed.is_some() {
        return Ok(None);
    }
    shared.store.kept(&job.source.path, &want.offer.identity)
}

/// The job for a file, before anything is written down. Its claim folder is ours first, so that the row can say which it is; `held` is that
/// of the one before it, mostly the same.
fn new_job(
    shared: &Shared,
    want: &Wanted,
    held: &mut Option<(PathBuf, FolderIdentity)>,
) -> Result<Job, Trouble> {
    if let Some(other) = shared.claims.is_coming_back(&want.offer.path, &shared.store)? {
        let message = format!("job {other} is giving this file back, and did not get through with it");
        return Err(Trouble::new(
            FaultKind::Storage,
            message,
            Some("`landfall show` says what that job waits for"),
        ));
    }
    let id = shared.claims.ids.next(claims::random_tail());
    let rule = &want.rule.rule;
    let renames = want.retire && rule.source.on_success != OnSuccess::Keep;
    let folder = if renames {
        claim_folder(rule, &want.offer.path)
    } else {
        durable_fs::parent_of(&want.offer.path).to_owned()
    };
    let claim_folder = match held {
        Some((before, identity)) if *before == folder => Some(*identity),
        _ => {
            let landing = durable_fs::parent_of(&want.offer.path);
            let take_folder = || shared.claims.folders.hold(&folder);
            let with_hint = |trouble| with_claim_hint(trouble, durable_fs::what_to_claim(landing, &folder));
            let identity =
                if renames { Some(take_folder().map_err(with_hint)?) } else { identity_of(&folder)? };
            *held = identity.map(|identity| (folder, identity));
            identity
        }
    };
    let source = Source {
        claimed: renames.then(|| claimed_path(rule, &want.offer.path, id).into()),
        claim_folder,
        kept_as: if renames { None } else { durable_fs::kept_as(&want.offer.path, &want.offer.identity) },
        companions: companions(rule, &want.offer, id, renames)?,
        complete_by: want.offer.complete_by,
        retire: want.retire,
        ..Source::found(want.offer.path.clone(), want.offer.identity)
    };
    let now = clock::now();
    let by_hand = want.offer.complete_by == Some(CompleteBy::Command);
    Ok(Job {
        vars: want.offer.vars.clone(),
        due_at: rule.due(now, by_hand),
        priority: rule.priority_for(want.offer.identity.size),
        workers_max: rule.pace.job_workers_max,
        ..Job::queued(id, &rule.name, &want.rule.hash, source, now)
    })
}

/// Markers and the like, as they are now; one that is gone meanwhile is none. One that cannot be looked at may be there: without it its
/// source is not claimed. The marker of a folder that is another one by now stands for other files.
fn companions(rule: &Rule, offer: &Offer, id: JobId, renames: bool) -> Result<Vec<Companion>, Trouble> {
    let of_folder = offer.folder_marker.iter().map(|(path, judged)| (path, Some(judged)));
    let mut found = Vec::new();
    for (path, judged) in offer.companions.iter().map(|path| (path, None)).chain(of_folder) {
        let is_it = |found: &FileIdentity| judged.is_none_or(|judged| found.same_content(judged));
        let Some(identity) = look_at(path)?.filter(is_it) else { continue };
        let claimed = renames.then(|| claimed_path_beside(rule, path, id, found.len()).into());
        let is_of_folder = judged.is_some();
        found.push(Companion { claimed, is_of_folder, ..Companion::found(path.as_path(), identity) });
    }
    Ok(found)
}

/// Renames one file into its claim folder; `names` is how many it may have. None: it is not ours after all, its row is gone, and
/// the watch knows.
fn take(
    shared: &Shared,
    job: &Job,
    names: Option<u64>,
    folders: &mut Vec<PathBuf>,
) -> Result<Option<JobId>, Trouble> {
    let Some(claimed) = &job.source.claimed else { return Ok(Some(job.id)) };
    let (from, to) = (job.source.path.as_path(), claimed.as_path());
    let renamed = durable_fs::take_file(from, to);
    // Without a descriptor for its folders the rename itself was not tried.
    let was_tried = !renamed
        .as_ref()
        .is_err_and(|error| error.action == "rename" && durable_fs::is_out_of_descriptors(&error.source));
    let with_hint = |error: FsError| {
        let hint = durable_fs::hint_of_claim(durable_fs::parent_of(from), durable_fs::parent_of(to), &error);
        with_claim_hint(error.into(), hint)
    };
    match renamed.map_err(with_hint) {
        Ok(Renamed::Done) => {}
        // The row stays: the next start finds the file on one side of the rename.
        Err(trouble) if trouble.is_poisoned() => return Err(trouble),
        refused => {
            if !was_tried || !is_taken_all_the_same(job, to) {
                shared.store.change().unclaim(job.id).apply()?;
                shared.claims.taken.leave(job);
                shared.delivery_decided(job.id);
                sequence::ended(shared, job);
                if refused.is_ok() {
                    shared.claims.answer(from, Answer::NotYet);
                }
                return refused.map(|_| None);
            }
        }
    }
    folders.extend([from.parent(), to.parent()].into_iter().flatten().map(Path::to_owned));
    let changed = if !is_still(to, job) {
        Some("it changed while it was claimed")
    } else if names.is_some_and(|names| durable_fs::names_of(to).is_ok_and(|now| now > names)) {
        Some(SECOND_NAME)
    } else {
        None
    };
    let Some(why) = changed else {
        if let Err(trouble) = take_companions(job) {
            tracing::warn!(job = %job.id, error = %trouble.error, "a marker stays where it lies until the job is loaded");
        }
        return Ok(Some(job.id));
    };
    let mut job = job.clone();
    match give_back(shared, &mut job, why) {
        Ok(true) => Ok(None),
        Err(trouble) if trouble.is_poisoned() => Err(trouble),
        // A newer file has its name, or it cannot be renamed back: ours is looked at again when it is loaded.
        Ok(false) | Err(_) => Ok(Some(job.id)),
    }
}

/// Whether a file has its claimed name although its rename was refused: NFS sends a rename again whose answer was lost, and then finds
/// nothing to rename. Only without its claimed name may its row go: under the id of a job that nobody knows it would lie for ever, or be
/// ingested a second time. Where that cannot be seen, the job's loader looks on.
fn is_taken_all_the_same(job: &Job, to: &Path) -> bool {
    match durable_fs::identity_at(to) {
        Ok(found) => found.is_some_and(|found| durable_fs::is_same_file(to, &found, &job.source.identity)),
        // Nor could it be renamed to there.
        Err(error) => error.kind() != std::io::ErrorKind::PermissionDenied,
    }
}

/// All that keeps files from being claimed there, in place of what the first attempt met.
fn with_claim_hint(mut trouble: Trouble, hint: Option<String>) -> Trouble {
    if hint.is_some() && trouble.error.kind == FaultKind::Storage {
        trouble.error.hint = hint;
    }
    trouble
}

/// After the rename nobody new can open it: what counts now is whether it is what was judged, and whether somebody still writes.
fn is_still(claimed: &Path, job: &Job) -> bool {
    crate::watch::look_at(claimed).is_ok_and(|look| {
        let is_it = |found: &_| durable_fs::is_same_content(claimed, found, &job.source.identity);
        !look.has_writer && look.identity.as_ref().is_some_and(is_it)
    })
}

/// The claim of a file that an operator names: nothing to wait for, but everything else as for an offer.
/// `for_values` is the rule, or the override of it, that has a file with these values of its named wildcards.
pub(super) fn offer_for(
    base: &Arc<Rule>,
    for_values: impl FnOnce(&Values) -> Option<Arc<Rule>>,
    path: &Path,
) -> Result<Offer, Trouble> {
    let unreadable = |error: std::io::Error| {
        let hint = durable_fs::hint_at(path, Need::Read, &error);
        Trouble::new(FaultKind::Input, format!("cannot read {}: {error}", OsText::from(path)), Some(&hint))
    };
    let named = std::path::absolute(path).map_err(unreadable)?;
    let path = durable_fs::real_path(path).map_err(unreadable)?;
    let identity = durable_fs::identity_at(&path).map_err(unreadable)?.ok_or_else(|| {
        let message = format!("{} is no regular file", OsText::from(path.as_path()));
        let hint =
            "name a file: what folders have in them is named one by one, and pipes and devices are not read";
        Trouble::new(FaultKind::Input, message, Some(hint))
    })?;
    // A watched folder may be a link: then it is the name as given that fits.
    let vars = vars_of(base, &[&path, &named])?;
    let rule = for_values(&vars).unwrap_or_else(|| Arc::clone(base));
    let companions = promises_of(&rule, &path)?;
    // The marker of a folder goes with its last file, and an operator names single ones.
    Ok(Offer {
        rule,
        vars,
        identity,
        names: None,
        companions,
        folder_marker: None,
        path,
        complete_by: Some(CompleteBy::Command),
    })
}

/// The totals and the checksum of a file that an operator names. They are asked for by the rule, and nobody waits for them here.
fn promises_of(rule: &Rule, path: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let mut found = Vec::new();
    for (key, template) in [("totals", &rule.ready.totals), ("checksum", &rule.ready.checksum)] {
        let Some(companion) = template.as_deref().and_then(|text| companion::path(text, path)) else {
            continue;
        };
        if look_at(&companion)?.is_none() {
            let message = format!("the {key} {} {} not there", OsText::from(companion.as_path()), are(key));
            let hint = format!(
                "put {} beside the file; the rule compares each file with its {key} (`ready.{key}`)",
                if key == "totals" { "them" } else { "it" }
            );
            return Err(Trouble::new(FaultKind::Input, message, Some(&hint)));
        }
        found.push(companion);
    }
    Ok(found)
}

fn are(key: &str) -> &'static str {
    if key == "totals" { "are" } else { "is" }
}

/// The named wildcards' values from the first of a file's names that a pattern fits. A rule without named wildcards takes any file.
fn vars_of(rule: &Rule, names: &[&Path]) -> Result<Values, Trouble> {
    if let Some(vars) = names.iter().find_map(|path| rule.paths.values_of(path)) {
        return Ok(vars);
    }
    let mut patterns = rule.paths.iter().zip(rule.paths.judged());
    let wanting = patterns.find_map(|(text, pattern)| Some((text, pattern.as_ref().ok()?.names().first()?)));
    let Some((pattern, wildcard)) = wanting else { return Ok(Values::new()) };
    let file = names.last().map(|name| OsText::from(*name)).unwrap_or_default();
    let message =
        format!("{file} fits no pattern of rule \"{}\", so that `{{{wildcard}}}` has no value", rule.name);
    let hint = format!("put it into a folder, and under a name, that fits the pattern {pattern}");
    Err(Trouble::new(FaultKind::Config, message, Some(&hint)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::{World, is_there};

    /// A job for a file as it is now, and where it lies when it is claimed.
    fn claimed(folder: &Path) -> (Job, PathBuf) {
        let path = folder.join("pay.txt");
        std::fs::write(&path, "1\n").expect("a file");
        let claimed = folder.join("claimed");
        let source = Source {
            claimed: Some(claimed.as_path().into()),
            ..Source::found(
                path.as_path(),
                durable_fs::identity_at(&path).expect("can be looked at").expect("a regular file"),
            )
        };
        (Job::queued(JobId::from_parts(1, 1), "rule", "hash", source, clock::now()), claimed)
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_got_another_name_since_it_was_offered_is_given_back() {
        for (counted, is_ours) in [(1, false), (2, true)] {
            let world = World::new();
            let job = world.job();
            std::fs::hard_link(world.source(), world.path("in/second.txt")).expect("links");
            let taken = take(&world.shared, &job, Some(counted), &mut Vec::new()).expect("is decided");
            assert_eq!(taken.is_some(), is_ours, "{counted} counted");
            assert_eq!((is_there(&world.claimed()), is_there(&world.source())), (is_ours, !is_ours));
        }
    }

    #[test]
    fn a_candidate_that_changed_between_the_look_and_the_rename_is_watched_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let (job, claimed) = claimed(folder.path());
        std::fs::write(job.source.path.as_path(), "1\n2\n").expect("it grows after it was judged");
        durable_fs::rename_no_replace(job.source.path.as_path(), &claimed).expect("renamed");
        assert!(!is_still(&claimed, &job));
    }

    #[test]
    fn a_candidate_that_lies_still_is_taken_and_only_without_a_writer() {
        let folder = tempfile::tempdir().expect("a folder");
        let (job, claimed) = claimed(folder.path());
        durable_fs::rename_no_replace(job.source.path.as_path(), &claimed).expect("renamed");
        assert!(is_still(&claimed, &job));
        let writer = std::fs::OpenOptions::new().append(true).open(&claimed).expect("somebody has it open");
        assert_eq!(is_still(&claimed, &job), !cfg!(any(target_os = "linux", windows)));
        drop(writer);
        assert!(is_still(&claimed, &job));
    }

    /// NFS: the rename was done, its answer lost, and the one that was sent again found nothing.
    #[test]
    fn a_claim_whose_rename_was_done_is_kept_whatever_its_answer_was() {
        let world = World::new();
        let job = world.job();
        world.rename();
        let taken = take(&world.shared, &job, None, &mut Vec::new()).expect("is decided");
        assert_eq!((taken, world.row(&job).is_some()), (Some(job.id), true));
        assert!(is_there(&world.claimed()));
    }

    #[test]
    fn a_candidate_that_is_gone_before_its_rename_is_no_job() {
        let world = World::new();
        let job = world.job();
        durable_fs::remove_file(&world.source()).expect("removes");
        let taken = take(&world.shared, &job, None, &mut Vec::new()).expect("is decided");
        assert_eq!((taken, world.row(&job).is_some()), (None, false));
    }
}
