//! `landfall jobs`: one line per job.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::complete;
use super::say::complain;
use super::view::{self, Stop};
use crate::engine::{Door, JobFilter};
use crate::listing::jobs::print_json;
use crate::model::amount;
use crate::model::fault::Fault as _;
use crate::model::files_in_view::FileWaiting;
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;
use crate::model::rule::Settings;
use crate::store::StoreError;
use crate::watch;

/// Waiting files, or folders, that are shown in text.
const WAITING_SHOWN_MAX: usize = 20;
/// Bytes of an error on its job's line.
const TROUBLE_BYTES_MAX: usize = 160;

/// The arguments of `landfall jobs`.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct JobsArgs {
    /// Only jobs in this state: queued, running, held, publishing, retiring, completed, paused, failed, refused or aborted
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    pub state: Option<JobState>,
    /// Only jobs of this rule
    #[arg(long, value_name = "NAME", add = complete::of_rules())]
    pub rule: Option<String>,
    /// Only jobs of this sender: the value of `{sender}` in the rule's pattern, or the folder of the file
    #[arg(long, value_name = "NAME")]
    pub sender: Option<String>,
    /// Only jobs since then: a date or time (UTC), or how long ago, like 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Timestamp>,
    /// Only jobs that have not ended
    #[arg(long, conflicts_with = "state")]
    pub unfinished: bool,
    /// Only the newest N jobs
    #[arg(long, value_name = "N")]
    pub limit: Option<usize>,
    /// The newest job first, not last
    #[arg(long)]
    pub newest_first: bool,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn parse_state(text: &str) -> Result<JobState, String> {
    JobState::ALL.into_iter().find(|state| state.as_str() == text).ok_or_else(|| {
        let known: Vec<_> = JobState::ALL.iter().map(|state| state.as_str()).collect();
        format!("the states are {}", known.join(", "))
    })
}

pub(super) fn parse_since(text: &str) -> Result<Timestamp, String> {
    let since = text
        .parse()
        .ok()
        .or_else(|| text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok().map(|at| at.timestamp()))
        .or_else(|| amount::duration(text).and_then(crate::clock::ago));
    since.ok_or_else(|| {
        "write a time like 2026-01-31T13:45Z, a date, or how long ago: 90s, 5m, 2h, 7d".to_owned()
    })
}

/// Lists the jobs of the running service, or of the store where none runs.
pub(super) fn run(args: &JobsArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = view::door(settings)?;
    let filter = JobFilter {
        state: args.state,
        rule: args.rule.clone(),
        sender: args.sender.clone(),
        since: args.since,
        unfinished: args.unfinished,
        jobs: BTreeSet::new(),
        limit: args.limit,
        newest_first: args.newest_first,
    };
    // No store yet: no jobs yet.
    let door = door.as_deref();
    if let Some(rule) = &args.rule {
        let of_rule =
            JobFilter { rule: args.rule.clone(), limit: Some(1), newest_first: true, ..JobFilter::default() };
        view::know_rule(settings, rule, || door.is_some_and(|door| door.lines(&of_rule).next().is_some()))?;
    }
    if door.is_none() {
        let missing = StoreError::NoStore { data_dir: settings.service.data_dir.clone() };
        complain(&missing.to_string(), missing.hint().as_deref());
    }
    view::print(|out| {
        if args.json {
            print_json(out, door, &filter)
        } else {
            let rule_width = settings.rules.iter().map(|rule| rule.name.len()).max().unwrap_or(0);
            print_table(out, door, &filter, rule_width.max(4), crate::clock::now())?;
            print_files_waiting(out, door.filter(|_| filter.takes_all()))?;
            print_service(out, door)
        }
    })
}

/// Line by line, so that memory does not grow with the list.
fn print_table(
    out: &mut dyn Write,
    door: Option<&dyn Door>,
    filter: &JobFilter,
    rule_width: usize,
    now: Timestamp,
) -> Result<(), Stop> {
    let jobs = door.into_iter().flat_map(|door| door.lines(filter));
    let Some(jobs) = view::any(jobs)? else { return Ok(writeln!(out, "no jobs")?) };
    writeln!(
        out,
        "{:26}  {:10}  {:rule_width$}  {:>11}  {:>4}  SOURCE, and what is in its way",
        "JOB", "STATE", "RULE", "RECORDS", "AGE"
    )?;
    let mut by_state = BTreeMap::<&str, u64>::new();
    for job in jobs {
        let job = job?;
        *by_state.entry(job.state.as_str()).or_default() += 1;
        let trouble = deadline_of(&job) + &trouble_of(&job);
        let JobLine { id, state, rule, records_in, created_at, source, .. } = job;
        let age = view::age(created_at, now);
        writeln!(
            out,
            "{id:26}  {state:10}  {rule:rule_width$}  {records_in:>11}  {age:>4}  {source}{trouble}"
        )?;
    }
    let all: u64 = by_state.values().sum();
    let states: Vec<_> = by_state.iter().map(|(state, count)| format!("{count} {state}")).collect();
    writeln!(out, "{all} {}: {}", if all == 1 { "job" } else { "jobs" }, states.join(", "))?;
    Ok(())
}

/// Whether its deadline is at risk, or has passed.
fn deadline_of(job: &JobLine) -> String {
    let report = job.deadline_in_trouble();
    report.map_or_else(String::new, |report| format!("  [deadline: {}]", report.state))
}

/// Why a job failed, or what it waits for; else whether half a file could have been taken for a whole one. `show` has all of it.
fn trouble_of(job: &JobLine) -> String {
    match job.trouble() {
        Some(text) => format!("  ({})", view::printable(text.as_bytes(), TROUBLE_BYTES_MAX)),
        None => match job.complete_by.filter(|by| by.is_weak()) {
            Some(by) => format!("  (complete by {} alone)", by.word()),
            None => String::new(),
        },
    }
}

/// The files that wait to be taken; they are no jobs yet, so that a filter leaves them out.
fn print_files_waiting(out: &mut dyn Write, door: Option<&dyn Door>) -> Result<(), Stop> {
    let (mut shown, mut folders) = (0_usize, Vec::new());
    for file in door.into_iter().flat_map(|door| door.files_waiting(Some(WAITING_SHOWN_MAX))) {
        let FileWaiting { path, reason } = file?;
        if watch::is_of_folder(&reason) {
            folders.push((path, reason));
            continue;
        }
        if shown == 0 {
            writeln!(out, "\nwaiting files")?;
        }
        if shown < WAITING_SHOWN_MAX {
            writeln!(out, "  {path}: {}", view::printable(reason.as_bytes(), usize::MAX))?;
        }
        shown += 1;
    }
    let all = door.map(Door::files_in_view).transpose()?.unwrap_or_default().waiting;
    // They come and go between the two questions.
    let more = if shown < WAITING_SHOWN_MAX { 0 } else { all.saturating_sub(WAITING_SHOWN_MAX as u64) };
    if more > 0 {
        writeln!(out, "  and {more} more: `--json` has them all")?;
    }
    for (position, (path, reason)) in folders.iter().take(WAITING_SHOWN_MAX).enumerate() {
        if position == 0 {
            writeln!(out, "\nfolders")?;
        }
        writeln!(out, "  {path}: {}", view::printable(reason.as_bytes(), usize::MAX))?;
    }
    Ok(())
}

/// Who reads the list must know whether anything goes on.
pub(super) fn print_service(out: &mut dyn Write, door: Option<&dyn Door>) -> Result<(), Stop> {
    let mut halts = door.map(view::halts_told).transpose()?.unwrap_or_default();
    halts.extend(door.map(view::paces_told).transpose()?.unwrap_or_default());
    if !halts.is_empty() {
        writeln!(out, "\n{}", halts.join("\n"))?;
    }
    match door.filter(|door| door.is_service()) {
        None => writeln!(out, "\nno service is running")?,
        Some(service) => {
            let told = view::service_not_gone_by(service);
            if !told.is_empty() {
                writeln!(out, "\n{}", told.join("\n"))?;
            }
            if let Some(told) = service.watch_counts()?.and_then(|counts| counts.told()) {
                writeln!(out, "\n{told}")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::printed;
    use super::*;
    use crate::engine::Engine;
    use crate::model::job::Job;
    use crate::model::job_view::tests::sample_job;
    use crate::store::Store;

    fn door() -> Engine {
        let store = Store::in_memory();
        let mut queued = sample_job();
        queued.id = queued.id.successor();
        queued.state = JobState::Queued.into();
        queued.deadline = None;
        store.change().job(&sample_job()).job(&queued).apply().expect("applied");
        Engine::over(store, &[])
    }

    #[test]
    fn the_table_has_one_aligned_line_for_each_job() {
        let door = door();
        let now = Timestamp::from_second(1_796_000_120).expect("a time");
        let text = printed(|out| print_table(out, Some(&door), &JobFilter::default(), 8, now));
        let expected = "\
JOB                         STATE       RULE          RECORDS   AGE  SOURCE, and what is in its way
01mha2vqr00000000000000007  completed   payments           10    2m  /srv/inbox/payments-1.csv.gz  (no identity fits)
01mha2vqr00000000000000008  queued      payments           10    2m  /srv/inbox/payments-1.csv.gz  (no identity fits)
2 jobs: 1 completed, 1 queued
";
        let id = sample_job().id.to_string();
        assert_eq!(text.replace(&id[..25], "01mha2vqr0000000000000000"), expected);
    }

    #[test]
    fn the_json_lists_what_passes_the_filter_and_is_valid_without_jobs() {
        let door = door();
        let filter = JobFilter {
            state: Some(JobState::Queued),
            rule: Some("payments".into()),
            ..JobFilter::default()
        };
        for (door, count) in [(Some(&door as &dyn Door), 1), (None, 0)] {
            let text = printed(|out| print_json(out, door, &filter));
            let json: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
            assert_eq!(json["service"], "stopped");
            assert_eq!(
                (json["version"].as_u64(), json["jobs"].as_array().map(Vec::len)),
                (Some(1), Some(count))
            );
        }
    }

    #[test]
    fn a_limit_takes_the_newest_in_either_order_and_since_takes_what_came_later() {
        let store = Store::in_memory();
        let mut id = sample_job().id;
        for minute in 0..5 {
            id = id.successor();
            let created_at = Timestamp::from_second(60 * minute).expect("a time");
            store.change().job(&Job { id, created_at, ..sample_job() }).apply().expect("applied");
        }
        let door = Engine::over(store, &[]);
        let minutes = |filter: JobFilter| -> Vec<i64> {
            door.list(&filter).map(|job| job.expect("read").created_at.as_second() / 60).collect()
        };
        let all = JobFilter::default();
        let since = Some(Timestamp::from_second(61).expect("a time"));
        assert_eq!(minutes(JobFilter { newest_first: true, ..all.clone() }), [4, 3, 2, 1, 0]);
        assert_eq!(minutes(JobFilter { limit: Some(2), ..all.clone() }), [3, 4]);
        assert_eq!(minutes(JobFilter { limit: Some(2), newest_first: true, ..all.clone() }), [4, 3]);
        assert_eq!(minutes(JobFilter { since, ..all.clone() }), [2, 3, 4]);
        assert_eq!(minutes(JobFilter { since, limit: Some(9), ..all }), [2, 3, 4]);
    }

    #[test]
    fn since_is_a_time_a_date_or_how_long_ago() {
        let second = |text: &str| parse_since(text).map(Timestamp::as_second);
        assert_eq!(second("1970-01-02T00:01:00Z"), Ok(86_460));
        assert_eq!(second("1970-01-02T00:01"), Ok(86_460));
        assert_eq!(second("1970-01-02"), Ok(86_400));
        let (ago, now) = (second("2h").expect("is taken"), crate::clock::now().as_second());
        assert!((7200..7300).contains(&(now - ago)), "{}", now - ago);
        assert!(second("yesterday").expect_err("refused").contains("2h"));
    }

    #[test]
    fn an_unknown_state_is_refused_with_the_known_ones() {
        assert!(parse_state("done").expect_err("refused").contains("completed"));
        assert_eq!(parse_state("held"), Ok(JobState::Held));
    }
}
