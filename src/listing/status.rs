//! How the service is: what it is at, its disks, and what needs somebody's attention.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::disks::{self, Disk};
use super::{Stop, keys, service_word};
use crate::clock;
use crate::config;
use crate::engine::{Door, JobFilter};
use crate::model::amount;
use crate::model::configuration::ConfigurationState;
use crate::model::deadline::{DeadlineReport, DeadlineState};
use crate::model::expected::Overdue;
use crate::model::fault::WaitsFor;
use crate::model::files_in_view::{FileWaiting, FilesInView};
use crate::model::halts::Pause;
use crate::model::hook::HookState;
use crate::model::job_id::JobId;
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;
use crate::model::job_view::VIEW_VERSION;
use crate::model::of_no_rule;
use crate::model::rule::{Mode, Settings};
use crate::watch;

/// A hook that failed less often may be told at the next try.
const HOOK_FAILURES_MIN: u32 = 3;
/// What a hook was never told needs attention for so long: nothing brings it back.
const LOST_TOLD_FOR: Duration = Duration::from_hours(1);

/// See the module; its JSON.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    version: u32,
    /// `running`, or `stopped`.
    pub(crate) service: &'static str,
    pub(crate) rules: usize,
    /// Of these: those that are off, and watch nothing.
    pub(crate) rules_off: usize,
    /// How many are listed, by state.
    pub(crate) jobs: BTreeMap<&'static str, u64>,
    /// Failed records beside what was published, which nobody has decided on, and of how many jobs.
    pub(crate) failed_records: u64,
    pub(crate) jobs_with_failed_records: u64,
    pub(crate) files_waiting: u64,
    /// Files that found no room among them at the last scan.
    pub(crate) files_out_of_view: u64,
    /// Of those that wait: for longer than their rule's `ready.late_after`.
    pub(crate) files_late: u64,
    /// Rules and senders of which nothing came for as long as `expect_every` says.
    pub(crate) senders_overdue: u64,
    /// The folders are looked through for the first time: more files may wait.
    pub(crate) files_first_look: bool,
    /// What an operator paused as a whole. It was asked for, and needs no attention.
    pub(crate) paused: Vec<Pause>,
    pub(crate) disks: Vec<Disk>,
    /// None: all is well.
    pub(crate) attention: Vec<Attention>,
}

/// What somebody should look at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Attention {
    /// In a word: `service`, `configuration`, `hook`, `key_expires`, `disk`, `folder`, `of_no_rule`, `rule_stopped`, `sequence_stopped`, `late` (files),
    /// `unreadable` (files), `nothing_came`,
    /// `failed`, `refused`, `deadline_at_risk`, `deadline_passed`, or what jobs wait for.
    pub(crate) about: &'static str,
    pub(crate) message: String,
    pub(crate) hint: String,
    /// How many jobs it is about, and the newest of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) jobs: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) job: Option<JobId>,
}

impl Attention {
    fn new(about: &'static str, message: String, hint: &str) -> Self {
        Self { about, message, hint: hint.to_owned(), jobs: None, job: None }
    }
}

/// Of the running service by itself.
pub(crate) fn of_service(door: &dyn Door, since: Option<Timestamp>) -> Result<Status, Stop> {
    of_service_showing(door, since, &mut |_| ())
}

/// The same; `show` is shown each job on the way, the oldest first.
pub(crate) fn of_service_showing(
    door: &dyn Door,
    since: Option<Timestamp>,
    show: &mut dyn FnMut(&JobLine),
) -> Result<Status, Stop> {
    let kept = door.kept_configuration()?;
    let settings =
        config::read_kept(&kept, None).map_err(|problems| std::io::Error::other(problems.to_string()))?;
    of_showing(Some(door), &settings, since, show)
}

/// `since`: jobs that failed before need nobody's attention.
pub(crate) fn of(
    door: Option<&dyn Door>,
    settings: &Settings,
    since: Option<Timestamp>,
) -> Result<Status, Stop> {
    of_showing(door, settings, since, &mut |_| ())
}

fn of_showing(
    door: Option<&dyn Door>,
    settings: &Settings,
    since: Option<Timestamp>,
    show: &mut dyn FnMut(&JobLine),
) -> Result<Status, Stop> {
    let mut status = Status {
        version: VIEW_VERSION,
        service: service_word(door),
        rules: settings.rules.iter().filter(|rule| rule.is_base()).count(),
        rules_off: settings.rules.iter().filter(|rule| rule.is_base() && rule.mode == Mode::Off).count(),
        jobs: BTreeMap::new(),
        failed_records: 0,
        jobs_with_failed_records: 0,
        files_waiting: 0,
        files_out_of_view: 0,
        files_late: 0,
        senders_overdue: 0,
        files_first_look: false,
        paused: Vec::new(),
        disks: disks::look(settings),
        attention: Vec::new(),
    };
    if !door.is_some_and(Door::is_service) {
        let hint = "start it with `landfall run`; its log says why it ended";
        status.attention.push(Attention::new("service", "no service is running".into(), hint));
    }
    if let Some(state) = door.map(Door::configuration).transpose()?.flatten() {
        status.attention.extend(of_configuration(&state));
        status.attention.extend(of_trail(&state));
        status.attention.extend(state.hooks.iter().flat_map(|hook| of_hook(hook, clock::now())));
    }
    status.attention.extend(status.disks.iter().filter_map(of_disk));
    status.attention.extend(keys::expiring(settings, clock::now()).into_iter().map(|key| {
        Attention::new("key_expires", format!("rule \"{}\": {}", key.rule, key.message), &key.hint)
    }));
    if let Some(door) = door {
        let halts = door.halts()?;
        let stopped = halts.failed.iter().filter(|(_, failed)| failed.stopped_at.is_some());
        status.attention.extend(stopped.map(|(rule, failed)| {
            let message = format!("rule \"{rule}\" claims nothing: {} jobs failed in a row", failed.failures);
            let hint = format!("mend what is wrong, then `landfall resume --rule {rule}`");
            Attention { job: Some(failed.last), ..Attention::new("rule_stopped", message, &hint) }
        }));
        // One that is retried goes on by itself.
        let stopped = halts.sequences.iter().filter(|(_, stop)| !stop.is_retried);
        status.attention.extend(stopped.map(|(id, stop)| {
            let hint = format!(
                "mend what is wrong, then `landfall retry {id}`; `landfall abandon` goes on without it"
            );
            Attention { job: Some(*id), ..Attention::new("sequence_stopped", stop.told(*id), &hint) }
        }));
        let (paces, rules) = (door.paces()?, settings.rules.iter().collect::<Vec<_>>());
        let of_no_rule = of_no_rule::told(&halts, &paces, &rules).into_iter();
        status.attention.extend(of_no_rule.map(|told| {
            Attention::new("of_no_rule", told, "of a rule that was renamed, say it anew by its new name")
        }));
        status.paused = halts.pauses;
        count_files(&mut status, &door.files_in_view()?);
        count_overdue(&mut status, &door.overdue()?);
        count_jobs(&mut status, door, since, show)?;
    }
    Ok(status)
}

fn count_files(status: &mut Status, files: &FilesInView) {
    (status.files_waiting, status.files_out_of_view) = (files.waiting, files.out_of_view);
    status.files_late = files.late;
    status.files_first_look = files.is_first_look;
    for FileWaiting { path, reason } in files.folders.iter().filter(|it| !watch::is_mere_note(&it.reason)) {
        let message = format!("{path}: {reason}");
        status.attention.push(Attention::new("folder", message, "`landfall check` says what to do"));
    }
    let told = |about, count: u64, file: &FileWaiting, one: &str, more: &str| {
        let what = if count == 1 { one.to_owned() } else { format!("{count} {more}, one of them") };
        let hint = format!("`landfall explain {}` says more", file.path);
        Attention::new(about, format!("{what}: {}: {}", file.path, file.reason), &hint)
    };
    if let Some(late) = &files.one_late {
        status.attention.push(told("late", files.late, late, "a file is late", "files are late"));
    }
    if let Some(file) = &files.one_unreadable {
        let (one, more) = ("a file cannot be read", "files cannot be read");
        status.attention.push(told("unreadable", files.unreadable, file, one, more));
    }
}

fn count_overdue(status: &mut Status, of_rules: &[Overdue]) {
    for Overdue { count, longest, .. } in of_rules {
        status.senders_overdue += count;
        let Some(longest) = longest else { continue };
        let told = longest.told();
        let message =
            if *count > 1 { format!("{count} senders are overdue, the longest: {told}") } else { told };
        let hint = "ask whoever sends it; or change `expect_every`, if it is not to be expected so often";
        status.attention.push(Attention::new("nothing_came", message, hint));
    }
}

fn of_configuration(state: &ConfigurationState) -> Option<Attention> {
    let first = state.problems.first()?;
    let message = format!("the configuration is wrong: {}", first.message);
    Some(Attention::new("configuration", message, "`landfall check` shows every problem"))
}

fn of_trail(state: &ConfigurationState) -> Option<Attention> {
    let message = format!("the audit trail cannot be written: {}", state.trail_trouble.as_ref()?);
    let hint = "see to `audit` in the data folder; what is to be written down waits in the store";
    Some(Attention::new("audit", message, hint))
}

/// What it could not be told, and what it never will be: one may hide the other no more than one hook another.
fn of_hook(hook: &HookState, now: Timestamp) -> impl Iterator<Item = Attention> {
    [owed_to_hook(hook), lost_to_hook(hook, now)].into_iter().flatten()
}

/// From a few failed tries on (one that was told at the next try needs nobody), until nothing is owed that it could not be told.
fn owed_to_hook(hook: &HookState) -> Option<Attention> {
    let HookState { name, waiting, refused, failures, failing_since, error, .. } = hook;
    let (since, error) = failing_since.filter(|_| *failures >= HOOK_FAILURES_MIN).zip(error.as_ref())?;
    let events = if *refused == 1 { "an event".to_owned() } else { format!("{refused} events") };
    let behind = match waiting.saturating_sub(*refused) {
        0 => String::new(),
        more => format!(", and {more} more wait for it"),
    };
    let message = format!("hook \"{name}\" cannot be told {events} since {since:.0}{behind}: {error}");
    let hint = "mend what it is told by; what waits is told then, for a day at most";
    Some(Attention::new("hook", message, hint))
}

fn lost_to_hook(hook: &HookState, now: Timestamp) -> Option<Attention> {
    let HookState { name, lost, lost_at, .. } = hook;
    let lost_at = lost_at.filter(|at| is_recent(*at, now))?;
    let events = if *lost == 1 { "an event".to_owned() } else { format!("{lost} events") };
    let message = format!(
        "hook \"{name}\" was never told {events} since the service started, the last at {lost_at:.0}"
    );
    let hint =
        "the log says which, and why; `landfall jobs` says what became of jobs. This is told for an hour";
    Some(Attention::new("hook", message, hint))
}

/// A clock that was set back since does not keep it for ever.
fn is_recent(lost_at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(lost_at).unsigned_abs() < LOST_TOLD_FOR
}

fn of_disk(disk: &Disk) -> Option<Attention> {
    if let Some(trouble) = &disk.trouble {
        let hint = "see whether its server, or the device, answers; everything goes on by itself";
        return Some(Attention::new("disk", format!("the file system of {}: {trouble}", disk.folder), hint));
    }
    if disk.is_short_of_files() {
        let files = disk.files_free.zip(disk.files_total)?;
        let message =
            format!("{} of {} inodes are free on the file system of {}", files.0, files.1, disk.folder);
        let hint = "remove files there (`df -i`), whatever room it has; jobs and files that wait go on by themselves";
        return Some(Attention::new("disk", message, hint));
    }
    let (free, free_min) = disk.free.zip(disk.free_min).filter(|_| disk.is_short())?;
    let (free, free_min) = (amount::bytes(free), amount::bytes(free_min));
    let message = format!(
        "{free} are free on the file system of {}, less than {free_min} (`service.free_min`)",
        disk.folder
    );
    Some(Attention::new("disk", message, "make room there; jobs and files that wait go on by themselves"))
}

fn count_jobs(
    status: &mut Status,
    door: &dyn Door,
    since: Option<Timestamp>,
    show: &mut dyn FnMut(&JobLine),
) -> Result<(), Stop> {
    let mut kinds: BTreeMap<&'static str, Attention> = BTreeMap::new();
    for job in door.lines(&JobFilter::default()) {
        let job = job?;
        show(&job);
        *status.jobs.entry(job.state.as_str()).or_default() += 1;
        if let Some(records) = job.failed_records_kept() {
            status.failed_records += records;
            status.jobs_with_failed_records += 1;
        }
        let is_old = since.is_some_and(|since| job.finished_at.unwrap_or(job.created_at) < since);
        // One that failed needs attention for that.
        if let Some(report) = job.deadline.as_ref().filter(|_| !job.state.is_final()) {
            note_deadline(&mut kinds, &job, report);
        }
        let Some((about, told)) = trouble_of(&job).filter(|_| !(is_old && job.state.is_final())) else {
            continue;
        };
        let jobs = kinds.get(about).and_then(|known| known.jobs).unwrap_or(0) + 1;
        let what = match about {
            "failed" | "refused" if jobs == 1 => format!("one job is {about}"),
            "failed" | "refused" => format!("{jobs} jobs are {about}, the newest"),
            _ if jobs == 1 => "one job waits".to_owned(),
            _ => format!("{jobs} jobs wait, the newest"),
        };
        // Older ones come first: the last one tells.
        let message = format!("{what}, {}: {told}", job.id);
        let hint =
            format!("`landfall show {}` says more; `landfall jobs --state {}` lists them", job.id, job.state);
        kinds.insert(
            about,
            Attention { jobs: Some(jobs), job: Some(job.id), ..Attention::new(about, message, &hint) },
        );
    }
    status.attention.extend(kinds.into_values());
    Ok(())
}

fn note_deadline(kinds: &mut BTreeMap<&'static str, Attention>, job: &JobLine, report: &DeadlineReport) {
    let (about, is) = match report.state {
        DeadlineState::AtRisk => ("deadline_at_risk", "will not be done"),
        DeadlineState::Late => ("deadline_passed", "not done"),
        _ => return,
    };
    let jobs = kinds.get(about).and_then(|known| known.jobs).unwrap_or(0) + 1;
    let what = match jobs {
        1 => format!("a job {is} by its deadline"),
        _ => format!("{jobs} jobs {is} by their deadlines, the newest"),
    };
    let message = format!("{what}, {}, {}: {}", job.id, report.at, report.detail);
    let hint = format!(
        "`landfall show {0}` says how it goes; `landfall set {0} --priority 1` has it go first",
        job.id
    );
    let attention = Attention::new(about, message, &hint);
    kinds.insert(about, Attention { jobs: Some(jobs), job: Some(job.id), ..attention });
}

/// Why a job will not go on by itself.
fn trouble_of(job: &JobLine) -> Option<(&'static str, &str)> {
    let error = || job.error.as_deref().unwrap_or_default();
    match job.state {
        JobState::Failed => return Some(("failed", error())),
        JobState::Refused => return Some(("refused", error())),
        _ => {}
    }
    let waiting = job.waiting.as_ref()?;
    let about = match waiting.waits_for {
        WaitsFor::Disk => "disk_space",
        WaitsFor::Mount => "mount",
        WaitsFor::Key => "key",
        WaitsFor::Config => "rule",
        WaitsFor::Settling => "settling",
        // These end by themselves, or were asked for.
        _ => return None,
    };
    Some((about, waiting.detail.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(lost: u64, lost_at: Option<Timestamp>) -> HookState {
        let (name, error) = ("ops".into(), None);
        HookState { name, waiting: 0, refused: 0, failures: 0, failing_since: None, error, lost, lost_at }
    }

    #[test]
    fn what_a_hook_was_never_told_needs_attention_for_an_hour_after_the_last() {
        let now = Timestamp::UNIX_EPOCH + Duration::from_hours(100);
        let of = |lost, ago, now: Timestamp| {
            let lost_at = Timestamp::UNIX_EPOCH + Duration::from_hours(100) - Duration::from_mins(ago);
            of_hook(&hook(lost, Some(lost_at)), now).next()
        };
        let told = of(1, 59, now).expect("needs attention");
        assert!(told.message.contains("was never told an event since"), "{}", told.message);
        assert!(told.hint.contains("the log says which"), "{}", told.hint);
        let told = of(2, 0, now).expect("needs attention");
        assert!(told.message.contains("2 events"), "{}", told.message);
        assert_eq!(of(2, 61, now), None);
        assert_eq!(of(2, 0, now - Duration::from_hours(30)), None, "a clock that was set back");
    }

    #[test]
    fn what_a_hook_could_not_be_told_needs_attention_beside_what_it_never_will_be() {
        let now = Timestamp::UNIX_EPOCH + Duration::from_hours(100);
        let owing = |failures, lost_at| HookState {
            waiting: 5,
            refused: 2,
            failures,
            failing_since: Some(now),
            error: Some("answers 400".into()),
            ..hook(1, lost_at)
        };
        assert_eq!(of_hook(&owing(2, None), now).count(), 0, "it may be told at the next try");
        let told = of_hook(&owing(3, Some(now)), now).map(|told| told.message).collect::<Vec<_>>();
        assert!(
            told[0].contains("cannot be told 2 events since")
                && told[0].ends_with(", and 3 more wait for it: answers 400"),
            "{told:?}"
        );
        assert!(told.len() == 2 && told[1].contains("was never told an event"), "{told:?}");
    }
}
