//! `landfall show JOB --follow`: what becomes of a job, line by line, until it has ended.

use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::exit::FAILED;
use super::show::{ShowArgs, print_job};
use super::view::{self, Stop};
use crate::engine::{Door, Refusal};
use crate::model::job::{Job, Moment};
use crate::model::job_state::JobState;
use crate::model::job_view::job_json;
use crate::model::notice::Notice;
use crate::model::rule::Settings;
use crate::model::shown_json;

/// Progress is told so often.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

pub(super) fn run(args: &ShowArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    match view::door(settings)? {
        Some(door) => follow(door.as_ref(), &args.job, args.json),
        None => Ok(view::refuse(&Refusal::NoSuchJob { text: args.job.clone() })),
    }
}

/// Exit code 1 where the job did not end well, or does not go on because no service runs.
fn follow(door: &dyn Door, job: &str, as_json: bool) -> anyhow::Result<ExitCode> {
    let mut ended = None;
    let printed = view::print(|out| {
        let mut notices = door.subscribe(); // from before the job is read, so that nothing is missed
        let mut job = door.show(job)?;
        let mut told = Told::of(&job);
        if as_json {
            print_line(out, &job)?;
        } else {
            print_job(out, &job)?;
        }
        while !job.state.is_final() {
            if !door.is_service() {
                return Err(Refusal::NotRunning.into());
            }
            out.flush()?;
            let looked = Instant::now();
            let is_news = |notice: Notice| match notice {
                Notice::Changed(change) => change.job == job.id,
                Notice::ReadAnew => true,
                Notice::Quiet => looked.elapsed() >= PROGRESS_EVERY,
            };
            loop {
                let ended = || Refusal::NotRunning;
                if is_news(notices.next().ok_or_else(ended)??) {
                    break;
                }
            }
            job = door.show(&job.id.to_string())?;
            if as_json {
                if told.is_news(&job) {
                    print_line(out, &job)?;
                }
            } else {
                told.tell(out, &job)?;
            }
        }
        ended = Some(job.state.get());
        Ok(())
    })?;
    Ok(if ended.is_some_and(|state| state != JobState::Completed) { ExitCode::from(FAILED) } else { printed })
}

fn print_line(out: &mut dyn Write, job: &Job) -> Result<(), Stop> {
    Ok(writeln!(out, "{}", shown_json::to_string(&job_json(job))?)?)
}

/// What was told last.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    /// The timeline: several moments may have one time, and it is cut where it grows too long.
    moments: Vec<Moment>,
    waiting: Option<String>,
    records: u64,
    worked: u64,
    /// The most records of before: it may have been put down since.
    most: u64,
}

impl Told {
    fn of(job: &Job) -> Self {
        Self {
            moments: job.timeline.clone(),
            waiting: job.waiting.as_ref().map(|waiting| waiting.detail.clone()),
            records: job.account.records_in,
            worked: job.bytes_worked,
            most: 0,
        }
    }

    fn is_news(&mut self, job: &Job) -> bool {
        let now = Self { most: self.most, ..Self::of(job) };
        let is_news = now != *self;
        *self = now;
        is_news
    }

    /// What is new of it.
    fn tell(&mut self, out: &mut dyn Write, job: &Job) -> Result<(), Stop> {
        let printable = |text: &str| view::printable(text.as_bytes(), usize::MAX);
        let before = std::mem::replace(self, Self::of(job));
        for moment in new_of(&before.moments, &job.timeline) {
            let (at, detail) = (view::moment(moment.at), printable(&moment.detail));
            writeln!(out, "{}", format!("{at}  {:10}  {detail}", moment.state).trim_end())?;
        }
        let (now, state) = (view::moment(crate::clock::now()), job.state.get());
        if self.waiting != before.waiting
            && let Some(waiting) = &self.waiting
        {
            writeln!(out, "{now}  {state:10}  waits: {}", printable(waiting))?;
        }
        self.most = before.most.max(before.records);
        if !goes_on(state) || (self.records, self.worked) <= (before.records, before.worked) {
            return Ok(());
        }
        let again = if self.records < self.most { ", worked again" } else { "" };
        let (worked, size) = (view::bytes(self.worked), view::bytes(job.source.identity.size));
        writeln!(out, "{now}  {state:10}  {} records{again}, about {worked} of {size} worked", self.records)?;
        Ok(())
    }
}

/// Else what is told of its records is on its way to the last checkpoint, and it goes on from there.
fn goes_on(state: JobState) -> bool {
    !matches!(state, JobState::Queued | JobState::Paused | JobState::Held)
}

/// The moments that are not among those before, each as often as it is there.
fn new_of<'a>(before: &[Moment], now: &'a [Moment]) -> Vec<&'a Moment> {
    let mut known: Vec<_> = before.iter().collect();
    let mut is_new = |moment: &&Moment| {
        let place = known.iter().position(|of| of == moment);
        place.map(|place| known.swap_remove(place)).is_none()
    };
    now.iter().filter(|moment| is_new(moment)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::printed;
    use super::*;
    use crate::model::job::Waiting;
    use crate::model::job_view::tests::sample_job;

    #[test]
    fn what_is_new_of_a_job_is_told_once() {
        let mut job = Job { waiting: None, state: JobState::Running.into(), ..sample_job() };
        let mut told = Told::of(&job);
        assert_eq!(printed(|out| told.tell(out, &job)), "");
        let at = job.created_at.checked_add(jiff::SignedDuration::from_secs(1)).expect("a time");
        job.timeline.push(Moment { at, state: JobState::Running, detail: "a\u{1b}b".into() });
        assert_eq!(printed(|out| told.tell(out, &job)), "2026-11-30T00:53:21Z  running     a\\u{1b}b\n");
        job.waiting = Some(Waiting::for_answer("/in", 3));
        job.account.records_in = 12;
        let said = printed(|out| told.tell(out, &job));
        let lines: Vec<_> = said.lines().map(|line| &line[20..]).collect();
        let [waits, goes] = lines.as_slice() else { panic!("{said}") };
        assert!(waits.starts_with("  running     waits: a mount"), "{waits}");
        assert_eq!(*goes, "  running     12 records, about 1 B of 3 B worked");
        assert_eq!(printed(|out| told.tell(out, &job)), "");
        job.waiting = None;
        let mut counts = |state: JobState, records, worked| {
            (job.state, job.account.records_in, job.bytes_worked) = (state.into(), records, worked);
            printed(|out| told.tell(out, &job)).get(20..).unwrap_or_default().trim().to_owned()
        };
        assert_eq!(counts(JobState::Paused, 5, 0), "", "it goes on from there");
        assert_eq!(counts(JobState::Running, 5, 0), "");
        let again = "running     7 records, worked again, about 1 B of 3 B worked";
        assert_eq!(counts(JobState::Running, 7, 1), again);
        assert_eq!(counts(JobState::Running, 13, 3), "running     13 records, about 3 B of 3 B worked");
    }

    #[test]
    fn moments_of_one_time_are_each_told_once_also_where_older_ones_are_cut_off_or_put_between() {
        let mut job = Job { waiting: None, state: JobState::Running.into(), ..sample_job() };
        let at = job.timeline.last().expect("it has some").at;
        let moment = |detail: &str| Moment { at, state: JobState::Running, detail: detail.into() };
        let mut told = Told::of(&job);
        let mut said = |job: &Job| {
            let said = printed(|out| told.tell(out, job));
            said.lines()
                .map(|line| line.rsplit("  ").next().unwrap_or_default().to_owned())
                .collect::<Vec<_>>()
        };
        job.timeline.push(moment("one"));
        assert_eq!(said(&job), ["one"]);
        job.timeline.extend([moment("two"), moment("two")]);
        assert_eq!(said(&job), ["two", "two"]);
        job.timeline.remove(0);
        assert_eq!(said(&job), [""; 0]);
        let earlier = Moment { at: job.created_at, ..moment("told late") };
        job.timeline.insert(0, earlier);
        assert_eq!(said(&job), ["told late"]);
    }
}
