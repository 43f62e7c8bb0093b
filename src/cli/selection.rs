//! Which jobs a command is about: by their ids, or by rule, sender, state and time.

use std::process::ExitCode;

use jiff::Timestamp;

use super::check::counted;
use super::complete;
use super::exit::FAILED;
use super::jobs::{parse_since, parse_state};
use super::say::{complain, say, say_aside};
use super::view;
use crate::engine::{Act, Answers, Door, JobFilter, Refusal};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::rule::Settings;

/// Jobs by name, or all that fit what is said of them.
#[derive(clap::Args, Clone, Debug, Default)]
pub(super) struct Selection {
    /// The jobs' ids, or at least four characters of their ends
    #[arg(value_name = "JOB", add = complete::of_jobs(), conflicts_with_all = ["rule", "sender", "state", "since"])]
    pub jobs: Vec<String>,
    /// Of this rule
    #[arg(long, value_name = "NAME", add = complete::of_rules())]
    pub rule: Option<String>,
    /// Of this sender: the value of `{sender}` in the rule's pattern, or the folder of the file
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub sender: Option<String>,
    /// In this state
    #[arg(long, value_name = "STATE", value_parser = parse_state)]
    pub state: Option<JobState>,
    /// Claimed since then: a date or time (UTC), or how long ago, like 2h or 7d
    #[arg(long, value_name = "TIME", value_parser = parse_since)]
    pub since: Option<Timestamp>,
    /// Only say what would be done
    #[arg(long)]
    pub dry_run: bool,
}

impl Selection {
    /// The jobs that are meant, oldest first: those that were named, or those that fit and that `takes` takes. What is done changes their
    /// states, so that the list is made before.
    pub(super) fn chosen(&self, door: &dyn Door, takes: impl Fn(&Job) -> bool) -> Result<Vec<Job>, Refusal> {
        if !self.jobs.is_empty() {
            return self.jobs.iter().map(|job| door.show(job)).collect();
        }
        let filter = JobFilter {
            rule: self.rule.clone(),
            sender: self.sender.clone(),
            state: self.state,
            since: self.since,
            ..JobFilter::default()
        };
        let jobs: Result<Vec<_>, _> = door.list(&filter).collect();
        Ok(jobs?.into_iter().filter(takes).collect())
    }

    /// Refuses a rule's name that neither the configuration nor any job has.
    pub(super) fn know_rule(&self, settings: &Settings, door: &dyn Door) -> anyhow::Result<()> {
        let Some(rule) = &self.rule else { return Ok(()) };
        let of_rule = JobFilter { rule: Some(rule.clone()), limit: Some(1), ..JobFilter::default() };
        view::know_rule(settings, rule, || door.list(&of_rule).next().is_some())
    }

    /// Does it for each of the jobs that are meant, of those that `takes` takes; see [`Self::each`].
    pub(super) fn each_chosen(
        &self,
        door: &dyn Door,
        takes: impl Fn(&Job) -> bool,
        words: (&str, &str),
        act: impl Fn(String) -> Act,
        told: impl Fn(&Job, JobId) -> String,
    ) -> ExitCode {
        match self.chosen(door, takes) {
            Ok(jobs) => self.each(door, &jobs, words, act, told),
            Err(refusal) => view::refuse(&refusal),
        }
    }

    /// Does it for each of these jobs, says what became of it, and how many there were unless they were named. Where it is only asked: says
    /// what would be done, or what the act itself would say against it.
    pub(super) fn each(
        &self,
        door: &dyn Door,
        jobs: &[Job],
        (would, did): (&str, &str),
        act: impl Fn(String) -> Act,
        told: impl Fn(&Job, JobId) -> String,
    ) -> ExitCode {
        let (mut done, chosen) = (0_usize, jobs.len());
        let acts: Vec<Act> = jobs.iter().map(|job| act(job.id.to_string())).collect();
        let answers: Answers<'_, Result<Option<JobId>, Refusal>> = if self.dry_run {
            Box::new(acts.into_iter().map(|act| Ok(door.would(&act).map(|()| None))))
        } else {
            Box::new(door.act_all(acts).map(|answer| answer.map(|done| done.map(Some))))
        };
        for (position, (job, answer)) in jobs.iter().zip(answers).enumerate() {
            let path = &job.source.path;
            match answer {
                Ok(Ok(Some(id))) => say!("{id}: {}  {path}", told(job, id)),
                Ok(Ok(None)) => say!("{}: {would}  {path}", job.id),
                // One that refuses does not stop the others; it changes the exit code.
                Ok(Err(refusal)) => {
                    tell(job, &refusal);
                    continue;
                }
                Err(refusal) => {
                    complain(&refusal.to_string(), refusal.hint().as_deref());
                    let left = counted(chosen - position, "job");
                    say_aside!("of {left} it is not known whether the word was taken: `landfall jobs` tells");
                    break;
                }
            }
            done += 1;
        }
        if self.jobs.is_empty() {
            let done = if self.dry_run { String::new() } else { format!(", {done} {did}") };
            say!("{} chosen{done}", counted(chosen, "job"));
        }
        if done == chosen { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
    }
}

/// Of many jobs it must be told which one refused.
fn tell(job: &Job, refusal: &Refusal) {
    let (id, message) = (job.id.to_string(), refusal.to_string());
    let names_it = message.contains(&id);
    let message = if names_it { message } else { format!("job {id}: {message}  {}", job.source.path) };
    complain(&message, refusal.hint().as_deref());
}
