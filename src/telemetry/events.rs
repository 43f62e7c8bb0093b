//! One function per thing that an operator cares about: each event has the job, the rule and the path, and the same words everywhere.

use std::collections::BTreeMap;
use std::path::Path;

use super::metrics::METRICS;
use crate::model::amount;
use crate::model::category::Category;
use crate::model::complete_by::CompleteBy;
use crate::model::configuration::{ConfigurationChange, ConfigurationProblem, HooksChange};
use crate::model::deadline::{DeadlineReport, DeadlineState};
use crate::model::fault::JobError;
use crate::model::halts::Scope;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::pace::{PaceChange, PaceSetting};
use crate::model::settling::Numbers;
use crate::model::shell;

pub(crate) fn claimed(job: &Job) {
    METRICS.claimed(job);
    tracing::info!(job = %job.id, rule = job.rule, path = %job.source.path, bytes = job.source.identity.size, complete_by = complete_by(job), "claimed");
}

pub(crate) fn started(job: &Job) {
    tracing::debug!(job = %job.id, rule = job.rule, path = %job.source.path, attempt = job.attempts, from_slice = job.resumed_at_slice, "started");
}

pub(crate) fn progress(job: &Job, outputs: usize) {
    let size = job.source.identity.size;
    let percent = if size == 0 { 100 } else { u128::from(job.bytes_worked) * 100 / u128::from(size) };
    tracing::info!(
        job = %job.id, rule = job.rule, path = %job.source.path, percent = percent as u64, bytes_read = job.bytes_read,
        records = job.account.records_in, outputs, "in progress"
    );
}

/// A file was not complete after all; where no rule watches it, `way` is what takes it.
pub(crate) fn given_back(job: &Job, why: &str, way: Option<&str>) {
    let (id, rule, path) = (&job.id, &job.rule, &job.source.path);
    match way {
        None => tracing::warn!(job = %id, rule, %path, why, "given back to wait"),
        Some(hint) => {
            tracing::warn!(job = %id, rule, %path, why, hint, "given back; no rule watches it there");
        }
    }
}

/// So many rules are told by name.
const RULES_TOLD_MAX: usize = 20;

/// The configuration was read anew, and is gone by from now on.
pub(crate) fn configuration_taken(change: &ConfigurationChange, was_wrong: bool, is_asked: bool) {
    let generation = change.generation;
    let again = if was_wrong { "right again: " } else { "" };
    if !change.hooks.is_none() {
        let (what, hooks) = (hooks_told(&change.hooks), change.hooks.unchanged);
        tracing::info!(
            what,
            unchanged = hooks,
            "the configuration is {again}read anew: other hooks are told"
        );
    }
    if change.has_rules() {
        let what = rules_told(change);
        tracing::info!(
            generation,
            what,
            "the configuration is {again}read anew, and the rules are exchanged"
        );
    } else if !change.hooks.is_none() {
        // What changed is told.
    } else if was_wrong || is_asked {
        tracing::info!(rules = change.unchanged, "the configuration is {again}read anew: no rule is changed");
    } else {
        tracing::debug!(rules = change.unchanged, "the configuration is read anew: no rule is changed");
    }
}

/// `added newer; removed older; 3 unchanged`
fn rules_told(change: &ConfigurationChange) -> String {
    let order = change.reordered.then(|| "another order".to_owned());
    let parts = [
        named("added", &change.added),
        named("changed", &change.changed),
        named("removed", &change.removed),
        order,
        Some(format!("{} unchanged", change.unchanged)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn hooks_told(change: &HooksChange) -> String {
    let HooksChange { added, changed, removed, .. } = change;
    let parts = [named("added", added), named("changed", changed), named("removed", removed)];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn named(what: &str, names: &[String]) -> Option<String> {
    let more = names.len().saturating_sub(RULES_TOLD_MAX);
    let shown = names.get(..names.len() - more).unwrap_or_default().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!("{what} {shown}{more}"))
}

/// The configuration is wrong: nothing of it is gone by.
pub(crate) fn configuration_wrong(problems: &[ConfigurationProblem]) {
    tell_problems(problems);
    tracing::error!(
        problems = problems.len(),
        hint = "mend it: it is taken as soon as it is saved; `landfall check` shows every problem",
        "the configuration was changed, and is wrong: the service goes on as it is"
    );
}

/// What the rules say is gone by, and a file that is read with one of them is wrong.
pub(crate) fn configuration_incomplete(problems: &[ConfigurationProblem]) {
    tell_problems(problems);
    tracing::error!(
        problems = problems.len(),
        hint = "mend it: it is taken as soon as it is saved",
        "the rules are gone by, but not all that belongs to them: `landfall jobs` shows it until it is mended"
    );
}

/// The configuration is wrong at a start.
pub(crate) fn starts_with_last_good(problems: &[ConfigurationProblem], taken_at: jiff::Timestamp) {
    tell_problems(problems);
    tracing::error!(
        problems = problems.len(), %taken_at,
        hint = "mend it: it is taken as soon as it is saved; `landfall check` shows every problem",
        "the configuration is wrong: the service starts with the last good one, which it read at this time"
    );
}

fn tell_problems(problems: &[ConfigurationProblem]) {
    for problem in problems {
        let place = match (&problem.file, problem.line) {
            (Some(file), Some(line)) => format!("{file}:{line}"),
            (Some(file), None) => file.to_string(),
            (None, _) => "environment".to_owned(),
        };
        tracing::error!(
            place,
            key = problem.key,
            problem = problem.message,
            hint = problem.hint.as_deref().unwrap_or(""),
            "wrong in the configuration"
        );
    }
}

/// Keys of `[service]` do not say any more what the service was started with.
pub(crate) fn needs_restart(keys: &[String]) {
    if keys.is_empty() {
        tracing::info!("`[service]` says again what the service was started with");
    } else {
        let keys = keys.join(", ");
        tracing::warn!(keys, "these keys were changed, and count after a restart of the service");
    }
}

/// A job waits for a key, a configuration or a disk.
pub(crate) fn held(job: &Job, error: &JobError) {
    // One that waits for its rule alone is tried again when the rule is exchanged.
    let is_tried_again = job.waiting.as_ref().is_none_or(|waiting| waiting.until.is_some());
    let how = if is_tried_again { "it goes on by itself" } else { "its rule has to be mended" };
    tracing::warn!(
        job = %job.id, rule = job.rule, path = %job.source.path, state = %job.state, error = error.message,
        hint = error.hint.as_deref().unwrap_or(""), "waiting; {how}"
    );
}

/// A job that was held takes the rule as it is now: that may be what was mended.
pub(crate) fn goes_on_under_changed_rule(job: &Job) {
    tracing::info!(
        job = %job.id, rule = job.rule, path = %job.source.path, rule_hash = job.rule_hash,
        "its rule was changed while it was held: it goes by the rule as it is now"
    );
}

/// Nothing is claimed or published where this file system is used, until there is room again.
pub(crate) fn room_short(folder: &Path, free: &str, wanted: &str, hint: &str) {
    tracing::warn!(
        path = escaped_path(folder),
        free,
        wanted,
        hint,
        "too little room on this file system (`service.free_min`): nothing that needs it is claimed or published"
    );
}

/// There is room again; none of it known where the file system is another now.
pub(crate) fn room_again(folder: &Path, free: Option<u64>) {
    let free = free.map_or_else(|| "unknown".to_owned(), amount::bytes);
    tracing::info!(path = escaped_path(folder), free, "room again on this file system: going on");
}

/// Nothing of the rules that name this mount is claimed or published until it is there.
pub(crate) fn mount_away(mount: &Path, why: &str, hint: &str) {
    tracing::warn!(
        path = escaped_path(mount),
        why,
        hint,
        "no file system is mounted here: nothing that needs it is claimed or published"
    );
}

pub(crate) fn mount_there(mount: &Path) {
    tracing::info!(path = escaped_path(mount), "a file system is mounted here now: going on");
}

/// Every output is durable under its final name.
pub(crate) fn published(job: &Job) {
    for output in &job.outputs {
        tracing::debug!(job = %job.id, rule = job.rule, path = %output.path, category = %output.category, records = output.records, "published");
    }
}

/// The last record of a file, or of an entry, has no line end.
pub(crate) fn unterminated(job: &Job) {
    tracing::warn!(
        job = %job.id, rule = job.rule, path = %job.source.path,
        hint = "if this sender ends its last line, the file was cut off: with `ready.last_line = \"complete\"` such files wait and are then quarantined",
        "the last record has no line end"
    );
}

/// Columns that a rule names are in none of the first records, and others of nearly their names are.
pub(crate) fn misspelt(job: &Job, remark: &str) {
    tracing::warn!(
        job = %job.id, rule = job.rule, path = %job.source.path, remark,
        hint = "records may lack columns, so that the job goes on; if the rule misspells them, mend it",
        "the rule may misspell columns"
    );
}

pub(crate) fn completed(job: &Job) {
    METRICS.completed(job);
    let account = &job.account;
    tracing::info!(
        job = %job.id, rule = job.rule, path = %job.source.path, records_in = account.records_in,
        records_out = account.records_written(), to = told_counts(&account.records_out), dropped = account.records_dropped(),
        failed = account.records_failed, outputs = job.outputs.len(), complete_by = complete_by(job), "completed"
    );
}

/// By what its file counted as complete.
fn complete_by(job: &Job) -> Option<&'static str> {
    job.source.complete_by.map(CompleteBy::word)
}

/// `invalid: 2, main: 8`.
fn told_counts(counts: &BTreeMap<Category, u64>) -> String {
    counts.iter().map(|(category, count)| format!("{category}: {count}")).collect::<Vec<_>>().join(", ")
}

pub(crate) fn failed(job: &Job) {
    METRICS.ended(job);
    let error = job.error.as_ref();
    tracing::error!(
        job = %job.id, rule = job.rule, path = %job.source.path, error = error.map_or("", |e| e.message.as_str()),
        hint = error.and_then(|e| e.hint.as_deref()).unwrap_or(""),
        source = job.retired_to.as_ref().unwrap_or(job.source_path()).to_string(), "failed; nothing was published"
    );
}

/// An operator stopped a job.
pub(crate) fn paused(job: &Job, by: &str) {
    tracing::info!(job = %job.id, rule = job.rule, path = %job.source.path, by, "paused; `landfall resume` lets it go on");
}

/// An operator lets a job go on.
pub(crate) fn resumed(job: &Job, by: &str) {
    tracing::info!(job = %job.id, rule = job.rule, path = %job.source.path, by, "resumed");
}

/// An operator paused a rule, a sender, or everything.
pub(crate) fn scope_paused(scope: &Scope, by: &str) {
    tracing::warn!(%scope, by, "paused: nothing of it goes on, and no file of it is claimed");
}

/// An operator set how fast something may work.
pub(crate) fn pace_set(setting: &PaceSetting, by: &str) {
    let told = |change: Option<PaceChange>| match change {
        None => "as it was".to_owned(),
        Some(PaceChange::Default) => "as configured".to_owned(),
        Some(PaceChange::To(max)) => max.to_string(),
    };
    tracing::info!(
        of = %setting.of, workers_max = told(setting.workers_max),
        records_per_second = told(setting.records_per_second), by, "a limit is set"
    );
}

/// That is taken back.
pub(crate) fn scope_resumed(scope: &Scope, by: &str) {
    tracing::info!(%scope, by, "resumed");
}

/// Too many jobs of a rule failed in a row.
pub(crate) fn rule_stopped(rule: &str, failures: u32, last: JobId) {
    tracing::error!(
        rule, failures, %last, hint = %format!("see `landfall show {last}`; `landfall resume --rule {rule}` lets it go on"),
        "the rule stopped: so many of its jobs failed in a row (`errors.stop_after`), and it claims no file any more"
    );
}

/// An operator gave failed records up.
pub(crate) fn records_dropped(job: &Job, records: &Numbers, reason: &str, by: &str) {
    tracing::warn!(
        job = %job.id, rule = job.rule, path = %job.source.path, %records, count = records.count(), reason, by,
        "failed records dropped"
    );
}

/// An operator has failed records taken again.
pub(crate) fn records_retried(job: &Job, records: &Numbers, retry: JobId, by: &str) {
    tracing::info!(
        job = %job.id, rule = job.rule, path = %job.source.path, %records, count = records.count(), %retry, by,
        "failed records are taken again, by the job that is named as `retry`"
    );
}

/// A job will not be done by its deadline, as it goes now, or was not.
pub(crate) fn deadline(job: &Job, report: &DeadlineReport) {
    let expected = report.expected_at.map_or_else(|| "not known".to_owned(), |at| at.to_string());
    let (at, why) = (report.at, &report.detail);
    if report.state == DeadlineState::Late {
        tracing::error!(
            job = %job.id, rule = job.rule, path = %job.source.path, deadline = %at, expected, why,
            "late: the deadline of this job has passed"
        );
    } else {
        tracing::warn!(
            job = %job.id, rule = job.rule, path = %job.source.path, deadline = %at, expected, why,
            hint = %format!("`landfall set {} --priority 1` has it go first", job.id),
            "at risk: as it goes now, this job will not be done by its deadline"
        );
    }
}

/// The window of its rule closed while a job ran.
pub(crate) fn window_closed(job: &Job, why: &str) {
    tracing::info!(job = %job.id, rule = job.rule, path = %job.source.path, "put down: {why}");
}

/// A file is overdue (`expect_every`).
pub(crate) fn nothing_came(rule: &str, sender: Option<&str>, message: &str) {
    tracing::warn!(rule, sender, "{message}");
}

/// A failed job stops the sequence of its rule.
pub(crate) fn sequence_stopped(job: &Job) {
    let id = job.id;
    tracing::error!(
        job = %id, rule = job.rule, path = %job.source.path,
        hint = %format!("`landfall retry {id}`, or `landfall abandon {id} --reason …`, lets those behind it go on"),
        "the sequence of the rule stops behind this job, which failed: those behind it wait"
    );
}

/// An operator gave a job up.
pub(crate) fn abandoned(job: &Job, reason: &str, by: &str) {
    tracing::warn!(
        job = %job.id, rule = job.rule, path = %job.source.path, reason, by,
        hint = "`landfall show` says what of it is published",
        "abandoned"
    );
}

/// An operator ended a job.
pub(crate) fn aborted(job: &Job) {
    METRICS.ended(job);
    tracing::warn!(
        job = %job.id, rule = job.rule, path = %job.source.path,
        source = job.retired_to.as_ref().unwrap_or(job.source_path()).to_string(), "aborted; nothing was published"
    );
}

/// A claimed file that the store does not know.
pub(crate) fn stray(folder: &OsText, job: JobId, path: &OsText, outputs: &[OsText], partials: &[OsText]) {
    let names = |paths: &[OsText]| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    tracing::warn!(
        %folder, %job, %path, outputs = names(outputs), partials = names(partials),
        "a claimed file that no job of this store has"
    );
}

/// How many of them there are, and what to do.
pub(crate) fn strays(folder: &OsText, claimed: usize, quarantined: usize) {
    tracing::warn!(
        %folder, claimed, quarantined,
        hint = %format!("stop the service and run `landfall recover {}`: it says what they are and takes them up again", shell::word(folder.as_path())),
        "claimed files lie here that this store does not know: it was lost, or an older copy of it was restored; nobody takes them up by itself"
    );
}

/// A resend that the rule refuses: nothing was published.
pub(crate) fn refused(job: &Job) {
    METRICS.ended(job);
    let error = job.error.as_ref();
    tracing::warn!(
        job = %job.id, rule = job.rule, path = %job.source.path, why = error.map_or("", |e| e.message.as_str()),
        source = job.retired_to.as_ref().unwrap_or(job.source_path()).to_string(), "refused; nothing was published"
    );
}

/// An earlier delivery of the job's key comes first.
pub(crate) fn waits_for_delivery(job: &Job, earlier: JobId) {
    tracing::info!(
        job = %job.id, rule = job.rule, path = %job.source.path, %earlier, "waiting for an earlier delivery of its key"
    );
}

/// A job waits for an operator's word.
pub(crate) fn waits_for_settling(job: &Job) {
    let error = job.error.as_ref();
    tracing::warn!(
        job = %job.id, rule = job.rule, path = %job.source.path, why = error.map_or("", |e| e.message.as_str()),
        hint = error.and_then(|e| e.hint.as_deref()).unwrap_or(""), "waiting to be settled; it does not go on by itself"
    );
}

/// Old files were taken out of an archive.
pub(crate) fn archive_thinned(rule: &str, files: u64) {
    tracing::info!(rule, files, "archived sources removed: they are older than `source.archive_keep`");
}

/// Partials whose jobs the store does not know, all of them in few words.
pub(crate) fn partials(paths: &[OsText]) {
    let Some(first) = paths.first() else { return };
    tracing::warn!(
        partials = paths.len(), %first,
        hint = "they hold output that was not published; remove them once the files that they came from are seen to",
        "hidden partials of jobs that this store does not know lie among the outputs"
    );
}

/// The search for partials ended before all was seen.
pub(crate) fn too_many_outputs(folder: &OsText, looked_at: usize) {
    tracing::warn!(%folder, looked_at, "the outputs are too many to look through for partials of unknown jobs: look for `.landfall-*.partial` by yourself");
}
