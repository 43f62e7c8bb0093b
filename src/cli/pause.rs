//! `landfall pause`, `resume` and `abort`: what an operator stops, lets go on, and ends.

use std::cell::Cell;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::exit::FAILED;
use super::say::{complain, say, say_aside};
use super::selection::Selection;
use super::view;
use crate::control;
use crate::engine::{Act, Door};
use crate::model::fault::WaitsFor;
use crate::model::halts::{Halting, Scope};
use crate::model::job::{Job, Waiting};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::rule::{Mode, Rule, Settings};

/// An abort is over within this, unless a thread or a disk hangs; so is one of many, whose ends are waited for together.
const ENDING_TAKES: Duration = Duration::from_secs(2);
const ENDING_PAUSE: Duration = Duration::from_millis(10);

/// What is paused, or goes on.
#[derive(clap::Args)]
#[command(
    after_help = "Without --state and --since, --rule and --sender mean the rule and the sender themselves: no file of theirs is claimed, \
                  and no job of theirs goes on, until that is taken back by `landfall resume` with the same words. With them, and by ids, \
                  it is those jobs. It counts at once, and over restarts. What is on its way to be published comes to its end.",
    group = clap::ArgGroup::new("which").required(true).multiple(true).args(["jobs", "rule", "sender", "state", "since", "all"])
)]
pub(super) struct PauseArgs {
    #[command(flatten)]
    selection: Selection,
    /// Everything, as with --rule
    #[arg(long, conflicts_with_all = ["jobs", "rule", "sender", "state", "since"])]
    all: bool,
}

impl PauseArgs {
    /// What is meant as a whole, if it is.
    fn scope(&self) -> Option<Scope> {
        let Selection { jobs, rule, sender, state, since, .. } = &self.selection;
        let is_whole = jobs.is_empty() && state.is_none() && since.is_none();
        is_whole.then(|| Scope { rule: rule.clone(), sender: sender.clone() })
    }
}

/// Which jobs end.
#[derive(clap::Args)]
#[command(
    after_help = "Nothing of an aborted job is published, and its source goes to quarantine; `landfall retry` takes it from there.",
    group = clap::ArgGroup::new("which").required(true).multiple(true).args(["jobs", "rule", "sender", "state", "since"])
)]
pub(super) struct AbortArgs {
    #[command(flatten)]
    selection: Selection,
}

pub(super) fn pause(args: &PauseArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = control::open(settings)?;
    let (door, selection) = (door.as_ref(), &args.selection);
    selection.know_rule(settings, door)?;
    if let Some(scope) = args.scope() {
        let is_shadow = |rule: &Rule| rule.mode == Mode::Shadow && scope.rule.as_ref() == Some(&rule.name);
        if settings.rules.iter().any(|rule| rule.is_base() && is_shadow(rule)) {
            complain(
                &format!("{scope} touches nothing (`mode = \"shadow\"`), and is not paused"),
                Some("`mode = \"off\"` stops it"),
            );
            return Ok(ExitCode::from(FAILED));
        }
        return Ok(pause_scope(args, door, &scope));
    }
    let open = |job: &Job| can_be_stopped(job) && job.state != JobState::Paused && !job.waits_for_settling();
    let told = |job: &Job, _| match held_back(job) {
        Some(why) => format!("paused by itself too (was {}, and held back: {why})", job.state),
        None => format!("paused (was {})", job.state),
    };
    Ok(selection.each_chosen(door, open, ("would be paused", "paused"), |job| Act::Pause { job }, told))
}

fn pause_scope(args: &PauseArgs, door: &dyn Door, scope: &Scope) -> ExitCode {
    let held_back = match args.selection.chosen(door, can_be_stopped) {
        Ok(jobs) => jobs,
        Err(refusal) => return view::refuse(&refusal),
    };
    let halts = match door.halts() {
        Ok(halts) => halts,
        Err(refusal) => return view::refuse(&refusal),
    };
    if let Some(pause) = halts.pause_in_words(scope) {
        say!("{scope} is paused already: {}", pause.told());
        return ExitCode::SUCCESS;
    }
    if args.selection.dry_run {
        say!("{scope} would be paused: no file of it would be claimed");
        for job in held_back {
            say!("{}: would not go on (is {})  {}", job.id, job.state, job.source.path);
        }
        return ExitCode::SUCCESS;
    }
    match door.halt(&Halting::Pause(scope.clone())) {
        Ok(true) => {
            say!("{scope}: paused; no file of it is claimed");
            if let Some(why) = halts.why_held_back_whole(scope) {
                say_aside!("it was held back before, and is besides: {why}");
            }
            if let Some(sender) = scope.sender.as_ref().filter(|_| !is_known(args, door)) {
                say_aside!("no job of a sender \"{sender}\" is listed: see that the name is right");
            }
            for job in held_back {
                say!("{}: does not go on (was {})  {}", job.id, job.state, job.source.path);
            }
            ExitCode::SUCCESS
        }
        // Another operator was faster.
        Ok(false) => {
            say!("{scope} is paused already");
            ExitCode::SUCCESS
        }
        Err(refusal) => view::refuse(&refusal),
    }
}

pub(super) fn resume(args: &PauseArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = control::open(settings)?;
    let (door, selection) = (door.as_ref(), &args.selection);
    let scope = args.scope();
    // A pause outlives its rule, and is taken back all the same.
    let is_said = |scope: &Scope| door.halts().is_ok_and(|halts| halts.is_said(scope));
    if !scope.as_ref().is_some_and(is_said) {
        selection.know_rule(settings, door)?;
    }
    if let Some(scope) = scope {
        return Ok(resume_scope(args, door, &scope));
    }
    let is_paused = |job: &Job| job.state == JobState::Paused;
    let told = |_: &Job, id: JobId| match waits_now(door, &id.to_string()) {
        Waits::HeldBack(why) => format!("no longer paused by itself, and still held back: {why}"),
        Waits::ItsTurn(why) => format!("no longer paused; it waits: {why}"),
        Waits::Nothing => format!("goes on; {}", taker(door)),
    };
    Ok(selection.each_chosen(door, is_paused, ("would go on", "go on"), |job| Act::Resume { job }, told))
}

/// Whether a job of it was ever seen, as far as they are listed.
fn is_known(args: &PauseArgs, door: &dyn Door) -> bool {
    args.selection.chosen(door, |_| true).is_ok_and(|jobs| !jobs.is_empty())
}

fn resume_scope(args: &PauseArgs, door: &dyn Door, scope: &Scope) -> ExitCode {
    let halts = match door.halts() {
        Ok(halts) => halts,
        Err(refusal) => return view::refuse(&refusal),
    };
    let why = halts.why_held_back_whole(scope);
    if args.selection.dry_run {
        match (halts.is_said(scope), why) {
            (false, _) => say!("{scope} is not paused"),
            (true, None) => say!("{scope} would go on"),
            (true, Some(why)) => {
                say!("{scope} would no longer be paused by itself, and still be held back: {why}");
            }
        }
        return ExitCode::SUCCESS;
    }
    let is_whole = |job: &Job| job.state == JobState::Paused && scope.takes_job(job);
    match door.halt(&Halting::Resume(scope.clone())) {
        Ok(true) if why.is_some() => say!("{scope}: no longer paused by itself, and still held back"),
        Ok(true) => say!("{scope}: goes on"),
        Ok(false) => say!("{scope}: was not paused"),
        Err(refusal) => return view::refuse(&refusal),
    }
    tell_halts(door);
    // Jobs that were paused by themselves wait for a word of their own.
    let paused = args.selection.chosen(door, is_whole).map_or(0, |jobs| jobs.len());
    if paused > 0 {
        let jobs = super::check::counted(paused, "job");
        let words = scope.options();
        say_aside!(
            "{jobs} of it were paused one by one: `landfall resume{words} --state paused` is for them"
        );
    }
    ExitCode::SUCCESS
}

pub(super) fn abort(args: &AbortArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = control::open(settings)?;
    let (door, selection) = (door.as_ref(), &args.selection);
    selection.know_rule(settings, door)?;
    let patience = Cell::new(ENDING_TAKES);
    let told = |job: &Job, id| format!("aborted (was {}); {}", job.state, source_of(door, id, &patience));
    let words = ("would be aborted", "aborted");
    Ok(selection.each_chosen(door, can_be_stopped, words, |job| Act::Abort { job }, told))
}

/// Where the source of an aborted job is, once that is told. What is waited for it is taken off the patience, which is for all jobs together.
fn source_of(door: &dyn Door, id: JobId, patience: &Cell<Duration>) -> String {
    let until = Instant::now() + patience.get();
    while door.is_service() {
        match door.show(&id.to_string()) {
            Ok(job) if job.state == JobState::Aborted => {
                patience.set(until.saturating_duration_since(Instant::now()));
                return match &job.retired_to {
                    Some(place) => format!("its source is {place}"),
                    None => "its source stays where it lies".to_owned(),
                };
            }
            Ok(_) if Instant::now() < until => std::thread::sleep(ENDING_PAUSE),
            Ok(_) | Err(_) => {
                patience.set(Duration::ZERO);
                break;
            }
        }
    }
    let when = if door.is_service() { "once nothing holds the job any more" } else { "with the next start" };
    format!("its source goes to quarantine {when}")
}

/// Whether an operator can stop the job: it has not ended, and is not on its way to be published.
fn can_be_stopped(job: &Job) -> bool {
    !job.state.is_final() && !job.state.is_past_intent() && !job.is_failing()
}

/// Whose pauses hold a job back, with what lifts them, as it was told with the job.
pub(super) fn held_back(job: &Job) -> Option<&str> {
    let waiting = job.waiting.as_ref().filter(|waiting| waiting.waits_for == WaitsFor::Pause)?;
    Some(&waiting.detail)
}

/// What a job that may go on waits for all the same, with what is told of it.
enum Waits {
    Nothing,
    HeldBack(String),
    /// Its window, those before it in a sequence, an earlier delivery.
    ItsTurn(String),
}

/// The same of a job as it is now.
fn waits_now(door: &dyn Door, job: &str) -> Waits {
    let Some(Waiting { waits_for, detail, .. }) = door.show(job).ok().and_then(|job| job.waiting) else {
        return Waits::Nothing;
    };
    match waits_for {
        WaitsFor::Pause => Waits::HeldBack(detail),
        WaitsFor::Window | WaitsFor::Sequence | WaitsFor::Delivery => Waits::ItsTurn(detail),
        _ => Waits::Nothing,
    }
}

/// Who goes on with a job that was queued again, or what it waits for.
pub(super) fn goes_on(door: &dyn Door, job: &str) -> String {
    match waits_now(door, job) {
        Waits::Nothing => taker(door).to_owned(),
        Waits::HeldBack(why) => format!("it is held back: {why}"),
        Waits::ItsTurn(why) => format!("it waits: {why}"),
    }
}

/// Who goes on with what is let go on.
fn taker(door: &dyn Door) -> &'static str {
    if door.is_service() { "the running service takes it" } else { "`landfall run` takes it" }
}

/// What is still paused, or stopped.
fn tell_halts(door: &dyn Door) {
    for told in view::halts_told(door).unwrap_or_default() {
        say_aside!("{told}");
    }
}
