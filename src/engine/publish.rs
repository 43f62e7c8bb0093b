//! Publishing: the account is balanced, the intent written, and the outputs rolled forward. The finisher takes many jobs from one of these
//! steps to the next together, so that they share what makes them durable.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::collect::{Collected, discard_unless_resumed, too_many_failed};
use super::rule_book::ReadyRule;
use super::run::Run;
use super::shared::Shared;
use super::source::{changed_source, is_source, missing_source};
use super::trouble::Trouble;
use super::{archive, delivery, held_records, quarantine};
use crate::clock;
use crate::durable_fs::{self, FolderRound};
use crate::model::account::Account;
use crate::model::complete_by::CompleteBy;
use crate::model::fault::FaultKind;
use crate::model::job::{Entry, Job, Slices};
use crate::model::job_id::JobId;
use crate::model::job_state::JobEvent;
use crate::model::os_text::escaped;
use crate::model::quoted::{Quoted, Quotes};
use crate::model::rule::{OnExists, Rule};
use crate::output::{FinishedOutput, Intent, OutputError, Partials, RolledForward, SignalPartials};
use crate::telemetry::events;
use crate::watch::look_at;

/// More than the disk takes in a moment.
const LARGE_BYTES: u64 = 4 << 20;
/// More than are renamed in a moment.
const MANY_OUTPUTS: usize = 256;

/// A job whose account is balanced and whose outputs are written, but not known to be on the disk.
pub(super) struct Ended {
    run: Arc<Run>,
    job: Job,
    partials: Partials,
    signals: SignalPartials,
}

/// A job whose intent is in the store, not yet synced.
pub(super) struct Balanced {
    pub job: Job,
    pub intent: Intent,
}

/// What may fail the job because of what it is happens here, before anything becomes visible. Its outputs are on their way to the disk
/// afterwards: those of many jobs at once.
pub(super) fn end(shared: &Shared, run: &Arc<Run>) -> Result<Ended, Trouble> {
    let collector = run
        .take_collector()
        .ok_or_else(|| Trouble::new(FaultKind::Bug, format!("job {} was finished twice", run.id), None))?;
    let collected = collector.finish(&run.entries)?;
    let mut job = run.row();
    let read_before = job.content_hash.take();
    fill_in(run, &mut job, &collected);
    // A job that fails from here on shows its account and its failed records all the same.
    run.with_row(|row| row.clone_from(&job));
    if !collected.failed.is_empty() {
        shared.store.change().failed_records(job.id, collected.first_failed, &collected.failed).apply()?;
    }
    let mut partials = collected.partials;
    let rule = &run.rule.rule;
    let is_retry = job.retries.is_some();
    let checked = check_limits(rule, run.quotes(), &job.account, is_retry)
        .and_then(|()| {
            if is_retry || run.has_source_as_found(&job.source.identity) {
                Ok(())
            } else {
                check_source(&job)
            }
        })
        .and_then(|()| check_totals(run, &job))
        .and_then(|()| held_records::check(rule, &job, read_before.as_deref()))
        .and_then(|()| delivery::judge(shared, rule, &job))
        .and_then(|delivery| {
            job.delivery = delivery;
            // Here, where a template that does not fit the job still holds it before anything is visible.
            archive::plan(&run.rule, &mut job)
        });
    // Before the rest, whose sync covers their names too.
    let signals = checked.and_then(|()| {
        let signals = partials.prepare_signals()?;
        partials.end()?;
        Ok(signals)
    });
    match signals {
        Ok(signals) => Ok(Ended { run: Arc::clone(run), job, partials, signals }),
        Err(trouble) => Err(discard_unless_resumed(&shared.store, run.id, trouble, partials)),
    }
}

impl Ended {
    pub(super) fn run(&self) -> &Arc<Run> {
        &self.run
    }

    /// Whether others should not have to wait for its sync, or its renames.
    pub(super) fn is_large(&self) -> bool {
        self.partials.unsynced_bytes() > LARGE_BYTES || self.partials.count() > MANY_OUTPUTS
    }

    /// Makes the outputs' content durable.
    pub(super) fn sync_files(&mut self) -> Result<(), Trouble> {
        Ok(self.partials.sync_files()?)
    }

    /// Makes the names of the partials durable: one that is gone counts as published once the intent stands.
    pub(super) fn sync_folders(&mut self, round: &mut FolderRound) -> Result<(), Trouble> {
        Ok(self.partials.sync_folders(round)?)
    }

    /// Writes the intent: from here the only way is forward.
    pub(super) fn intend(mut self, shared: &Shared) -> Result<Balanced, Trouble> {
        let decided = self.partials.finished().map_err(Trouble::from); // reads outputs back, where their hash is asked for
        // Where deliveries are compared, one job at a time up to the intent: the next one that is judged finds this one's rows.
        let one_at_a_time = self
            .run
            .rule
            .rule
            .delivery
            .as_ref()
            .map(|_| shared.publishing.deliveries.judging.enter(self.job.rule.clone()));
        let decided =
            decided.and_then(|finished| decide(shared, &self.run, self.job, &mut self.partials, finished));
        let (job, intent) = match decided {
            Ok((job, intent)) => (job, Intent { signals: self.signals, ..intent }),
            Err(trouble) => {
                return Err(discard_unless_resumed(&shared.store, self.run.id, trouble, self.partials));
            }
        };
        // What becomes of this write is unknown if it fails: the partials stay. There may be a hundred thousand, and the rows are as large.
        drop(self.partials);
        shared.store.change().intent(job.id, &intent.begun()).job(&job).delivery(&job).apply()?;
        drop(one_at_a_time);
        shared.delivery_decided(job.id);
        Ok(Balanced { job, intent })
    }

    /// The partials of a job that met trouble are removed, unless it goes on from them.
    pub(super) fn give_up(self, shared: &Shared, trouble: Trouble) -> Trouble {
        discard_unless_resumed(&shared.store, self.run.id, trouble, self.partials)
    }
}

/// Judges the delivery again, and chooses the names that follow from it.
fn decide(
    shared: &Shared,
    run: &Run,
    mut job: Job,
    partials: &mut Partials,
    mut finished: Vec<FinishedOutput>,
) -> Result<(Job, Intent), Trouble> {
    let planned_for = job.delivery.revision;
    job.delivery = delivery::judge(shared, &run.rule.rule, &job)?;
    if job.delivery.revision != planned_for {
        archive::forget_plan(&mut job); // `archive_dir` may have the revision in it
    }
    if job.delivery.revision > 1 {
        partials.name_for(&job, &mut finished)?;
    }
    let intent = choose_names(shared, run, &job, finished)?;
    job.outputs = intent.outputs.iter().map(|output| output.output.clone()).collect();
    job.take(JobEvent::AccountBalanced, clock::now(), "")?;
    Ok((job, intent))
}

fn check_totals(run: &Run, job: &Job) -> Result<(), Trouble> {
    run.loaded().map_or(Ok(()), |loaded| loaded.announced.compare(job))
}

fn fill_in(run: &Run, job: &mut Job, collected: &Collected) {
    run.copy_progress(job);
    job.account = collected.account.clone();
    job.entries.clone_from(&collected.entries);
    job.slices.failed = collected.slices_broken;
    if let Some(loaded) = run.loaded() {
        job.content_hash = Some(loaded.decoded.content_hash.clone()).filter(|_| job.retries.is_none());
        job.characters_replaced = loaded.decoded.characters_replaced;
        if loaded.decoded.proves_its_end && job.source.complete_by.is_some_and(CompleteBy::is_weak) {
            job.source.complete_by = Some(CompleteBy::Content); // it was read to its end
        }
        job.unterminated = !loaded.unterminated.is_empty();
        for position in &loaded.unterminated {
            if let Some(entry) = job.entries.get_mut(*position as usize) {
                entry.unterminated = true;
            }
        }
        job.entries.extend(loaded.decoded.skipped.iter().map(|skipped| Entry {
            name: escaped(skipped.name.as_os_str()),
            skipped: Some(skipped.reason.to_owned()),
            ..Entry::default()
        }));
        job.account.records_skipped += loaded.lines_skipped;
        job.slices = Slices { total: loaded.slices, done: loaded.slices, failed: job.slices.failed };
        job.reckon_worked();
    }
}

/// The account adds up and is within the rule's limits, which are for a whole source.
fn check_limits(rule: &Rule, quotes: Quotes, account: &Account, is_retry: bool) -> Result<(), Trouble> {
    account.balance()?;
    if is_retry {
        return Ok(());
    }
    if account.records_failed > 0
        && rule.errors.failed_max.is_passed_by(account.records_failed, account.records_in)
    {
        return Err(too_many_failed(account, rule.errors.failed_max));
    }
    for (category, output) in &rule.outputs {
        let count = account.records_out.get(category).copied().unwrap_or(0);
        if let Some(max) = output.max.filter(|max| max.is_passed_by(count, account.records_in)) {
            let message = format!(
                "{count} of {} records went to {category}, more than `output.{category}.max` = {max}{}",
                account.records_in,
                most_frequent_reason(quotes, account)
            );
            let hint = "look whether the file is of another kind than the rule expects, or raise the limit";
            return Err(Trouble::of_records(message, hint));
        }
    }
    Ok(())
}

/// A reason may be one that a step's program gave.
fn most_frequent_reason(quotes: Quotes, account: &Account) -> String {
    let Some((reason, count)) = account.reasons.iter().max_by_key(|(_, count)| **count) else {
        return String::new();
    };
    let reason = Quoted::new(reason);
    quotes.within(|| format!(" (most often: {reason}, {count} times)"))
}

/// A sender that still has the file open can write into it whatever it is called now: what was read must be all there is.
fn check_source(job: &Job) -> Result<(), Trouble> {
    let path = job.source_path().as_path();
    // One who opened it before the rename was looked for right behind that; a crash may have come between the two, and what he
    // writes from now on would be archived unread. Windows renames no file that a writer has open.
    let asks_for_writers = job.source.claimed.is_some() && cfg!(unix);
    let found = if asks_for_writers {
        look_at(path).map(|look| (look.identity, look.has_writer))
    } else {
        durable_fs::identity_at(path).map(|identity| (identity, false))
    };
    match found.map_err(|error| Trouble::unseen(path, error))? {
        (None, false) => Err(missing_source(job)?),
        (Some(identity), false) if is_source(job, &identity) => Ok(()),
        (_, true) | (Some(_), false) => Err(changed_source(job)),
    }
}

/// Chooses the final names, and reserves them until they are taken: two jobs never choose one name.
fn choose_names(
    shared: &Shared,
    run: &Run,
    job: &Job,
    mut finished: Vec<FinishedOutput>,
) -> Result<Intent, OutputError> {
    loop {
        // Not under a lock: one folder may hang, and others are published meanwhile.
        let free = RefCell::new(HashSet::new());
        let is_reserved = |path: &Path| {
            let is_reserved = shared.publishing.names.is_reserved(path, job.id);
            if !is_reserved {
                free.borrow_mut().insert(path.to_owned());
            }
            is_reserved
        };
        let intent = Intent::choose(&run.rule.rule, job, finished, &is_reserved)?;
        if shared.publishing.names.reserve_if_free(job.id, names_of(&intent), &free.into_inner()) {
            return Ok(intent);
        }
        finished = intent.outputs;
    }
}

pub(super) fn names_of(intent: &Intent) -> Vec<PathBuf> {
    intent.final_names().map(Path::to_owned).collect()
}

/// Makes the outputs appear; durable once the folders of the intent's outputs are synced.
pub(super) fn rename_outputs(
    shared: &Shared,
    rule: &ReadyRule,
    job: &mut Job,
    intent: &mut Intent,
) -> Result<(), Trouble> {
    if rule.rule.outputs.values().all(|output| output.on_exists == OnExists::Replace) {
        intent.retract_marker()?;
    }
    let id = job.id;
    while intent.rename_outputs(&rule.rule, job, &|path| shared.publishing.names.is_reserved(path, id))?
        == RolledForward::ChoseAgain
    {
        shared.publishing.names.reserve(id, names_of(intent));
        job.outputs = intent.outputs.iter().map(|output| output.output.clone()).collect();
        shared.store.change().intent(job.id, &intent.begun()).job(job).apply()?;
        shared.store.sync()?; // the new names, before they appear
    }
    Ok(())
}

/// Writes down which hidden files of a job that has to wait are not renamed: one that is gone by the next try was removed by somebody.
/// Not synced: without it the intent says that the renames had begun, and a hidden file that is gone counts as published.
pub(super) fn remember(shared: &Shared, job: JobId, intent: &mut Intent, trouble: Trouble) -> Trouble {
    if trouble.is_poisoned() {
        return trouble;
    }
    let synced = intent.sync_done().map_err(Trouble::from);
    let written = synced.and_then(|()| Ok(shared.store.change().intent(job, intent).apply()?));
    written.err().unwrap_or(trouble)
}

/// Manifest and marker, after the outputs are durable under their names.
pub(super) fn signal(
    shared: &Shared,
    rule: &ReadyRule,
    mut job: Job,
    intent: &mut Intent,
) -> Result<Job, Trouble> {
    let id = job.id;
    let assumed: Vec<_> = intent.assumed().map(ToString::to_string).collect();
    let told = match assumed.as_slice() {
        [] => String::new(),
        paths => format!("counts as published, and is not there: {}", paths.join(", ")),
    };
    job.take(JobEvent::Published, clock::now(), &told)?;
    job.error = None;
    shared.resources.disk_space.check_mount_of(rule)?; // a marker beside the mount would be believed by nobody, and missed
    // Before the first signal: one that cannot be made holds the job, and is never published empty.
    let manifest = match &intent.manifest {
        Some(_) => quarantine::document(&job)?,
        None => Vec::new(), // nobody asks for it
    };
    while intent.signal(&rule.rule, &job, &|| manifest.clone(), &|path| {
        shared.publishing.names.is_reserved(path, id)
    })? == RolledForward::ChoseAgain
    {
        shared.publishing.names.reserve(id, names_of(intent));
        // Not the row: it is published only when its signals are there.
        shared.store.change().intent(job.id, &intent.begun()).apply()?;
        shared.store.sync()?; // the new names, before they appear
    }
    shared.save(&job)?;
    shared.publishing.names.release(job.id);
    shared.dispatch.forget_back_off(job.id);
    events::published(&job);
    Ok(job)
}

#[cfg(test)]
mod tests {
    use super::*;
    #[cfg(target_os = "linux")]
    use crate::engine::trouble::Reaction;
    use crate::model::category::Category;
    #[cfg(target_os = "linux")]
    use crate::model::job::Source;

    fn account(main: u64, invalid: u64, failed: u64) -> Account {
        let mut account =
            Account { records_in: main + invalid + failed, records_failed: failed, ..Account::default() };
        account.records_out.insert(Category::main(), main);
        account.records_out.insert(Category::new("invalid"), invalid);
        account.reasons.insert("amount: not a decimal".into(), invalid);
        account
    }

    #[test]
    fn the_reason_that_was_met_most_often_is_named() {
        let mut account = account(1, 5, 0);
        account.reasons.insert("id: missing".into(), 1);
        assert_eq!(
            most_frequent_reason(Quotes::Shown, &account),
            " (most often: amount: not a decimal, 5 times)"
        );
        assert_eq!(most_frequent_reason(Quotes::Shown, &Account::default()), "");
    }

    #[test]
    fn an_account_that_does_not_add_up_is_a_bug_and_publishes_nothing() {
        let mut wrong = account(8, 2, 0);
        wrong.records_in += 1;
        let trouble = wrong.balance().map_err(Trouble::from).expect_err("a record is missing");
        assert_eq!(trouble.error.kind, FaultKind::Bug);
    }

    /// Goal: a crash between the claim's rename and the look for writers leaves no half file published.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_source_that_somebody_has_open_for_writing_is_not_published() {
        let folder = tempfile::tempdir().expect("a folder");
        let claimed = folder.path().join("claimed");
        std::fs::write(&claimed, "1\n").expect("a file");
        let identity =
            durable_fs::identity_at(&claimed).expect("it can be looked at").expect("a regular file");
        let source = Source {
            claimed: Some(claimed.clone().into()),
            ..Source::found(folder.path().join("inbox"), identity)
        };
        let job = Job::queued(JobId::from_parts(1, 1), "rule", "hash", source, crate::clock::now());
        let writer = std::fs::File::options().append(true).open(&claimed).expect("it can be opened");
        let trouble = check_source(&job).expect_err("somebody writes it");
        assert_eq!(trouble.reaction, Reaction::GiveBack, "it goes back to wait: {:?}", trouble.error);
        drop(writer);
        check_source(&job).expect("nobody writes it");
    }
}
