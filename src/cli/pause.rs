//! `landfall pause`, `resume` and `abort`: what an operator stops, lets go on, and ends.

use std::cell::Cell;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use super::exit::FAILED;
use super::say::{complain, say, say_aside};
use super::selection::Selection;
use super::view;
use crate::control;
use crate::engine::{self, Act, Door};
use crate::model::fault::WaitsFor;
use crate::model::halts::{Halting, Scope};
use crate::model::job::{Job, Waiting};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Mode, Rule, Settings};

/// An abort is over within this, unless a thread or a disk hangs; so is one of many, whose ends are waited for together.
const ENDING_TAKES: Duration = Duration::from_secs(2);
/// A service looks at what is let go on within this, unless it has much to do.
const BEGIN_TAKES: Duration = Duration::from_millis(500);
/// Mounts are looked at within this.
const MOUNTS_TAKE: Duration = Duration::from_millis(500);
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
        return Ok(resume_scope(args, settings, door, &scope));
    }
    let is_paused = |job: &Job| job.state == JobState::Paused;
    let patience = Patience::until_begun();
    let told = |_: &Job, id: JobId| match waits_now(door, &id.to_string(), &patience) {
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

fn resume_scope(args: &PauseArgs, settings: &Settings, door: &dyn Door, scope: &Scope) -> ExitCode {
    let halts = match door.halts() {
        Ok(halts) => halts,
        Err(refusal) => return view::refuse(&refusal),
    };
    let why = halts.why_held_back_whole(scope);
    if args.selection.dry_run {
        match (halts.is_said(scope), why) {
            (false, _) => {
                say!("{scope} is not paused");
                let is_rule = scope.rule.is_some() && scope.sender.is_none();
                let away = if is_rule { places_away(settings, door, scope) } else { Vec::new() };
                for (mount, rule) in away {
                    say_aside!(
                        "no file system is mounted at {mount}: files of rule \"{rule}\" would go there as it is"
                    );
                }
            }
            (true, None) => say!("{scope} would go on"),
            (true, Some(why)) => {
                say!("{scope} would no longer be paused by itself, and still be held back: {why}");
            }
        }
        return ExitCode::SUCCESS;
    }
    let is_whole = |job: &Job| job.state == JobState::Paused && scope.takes_job(job);
    let said = match door.halt(&Halting::Resume(scope.clone())) {
        Ok(said) => said,
        Err(refusal) => return view::refuse(&refusal),
    };
    let mut away = mounts_away(settings, scope);
    if halts.is_said(scope) {
        away.extend(places_away(settings, door, scope).into_iter().map(|(mount, rule)| {
            format!(
                "rule \"{rule}\": no file system is mounted at {mount}: files that go there wait for it; `landfall resume --rule {rule}` once more has them go \
                 there as it is"
            )
        }));
    }
    match said {
        false => say!("{scope}: was not paused"),
        true if why.is_some() => say!("{scope}: no longer paused by itself, and still held back"),
        true if away.is_empty() => say!("{scope}: goes on"),
        true => say!("{scope}: may go on; what needs a mount that is away waits"),
    }
    for told in away {
        say_aside!("{told}");
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

/// What is told of the mounts that rules of a scope name and that are not there now. A file system that hangs is not waited for long.
fn mounts_away(settings: &Settings, scope: &Scope) -> Vec<String> {
    let is_in = |rule: &&Rule| scope.rule.as_ref().is_none_or(|name| *name == rule.name);
    let rules: Vec<_> = settings.rules.iter().filter(is_in).cloned().collect();
    let (sender, away) = sync_channel(1);
    // It may hang at one: then nobody waits for it any more, and it ends with the command.
    let look = move || sender.send(engine::mounts_away(&rules)).unwrap_or_default();
    match std::thread::Builder::new().name("mount-look".into()).spawn(look) {
        Ok(_) => away.recv_timeout(MOUNTS_TAKE).unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}

/// The mounts that a service waits for and that files of these rules may have gone to before, each with its rule.
fn places_away(settings: &Settings, door: &dyn Door, scope: &Scope) -> Vec<(String, String)> {
    let in_view = door.files_in_view().map(|files| files.folders).unwrap_or_default();
    let away = in_view.iter().filter(|file| file.reason == engine::NOT_MOUNTED);
    let away: Vec<_> = away.map(|file| file.path.as_path()).collect();
    let is_in = |rule: &&Rule| scope.rule.as_ref().is_none_or(|name| *name == rule.name);
    let of_rule = |rule: &Rule| {
        let folders = engine::folders_of(rule);
        let meets = |mount: &Path| {
            folders.iter().any(|folder| folder.starts_with(mount) || mount.starts_with(folder))
        };
        let mounts =
            away.iter().filter(|mount| rule.publish.mount.as_deref() != Some(**mount) && meets(mount));
        mounts.map(|mount| (escaped_path(mount), rule.name.clone())).collect::<Vec<_>>()
    };
    settings.rules.iter().filter(is_in).filter(|rule| rule.is_base()).flat_map(of_rule).collect()
}

pub(super) fn abort(args: &AbortArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = control::open(settings)?;
    let (door, selection) = (door.as_ref(), &args.selection);
    selection.know_rule(settings, door)?;
    let patience = Cell::new(ENDING_TAKES);
    let told =
        |job: &Job, id| format!("aborted (was {}); {}", job.state, source_of(door, id, job, &patience));
    let words = ("would be aborted", "aborted");
    Ok(selection.each_chosen(door, can_be_stopped, words, |job| Act::Abort { job }, told))
}

/// Where the source of an aborted job is, once that is told. What is waited for it is taken off the patience, which is for all jobs together.
fn source_of(door: &dyn Door, id: JobId, before: &Job, patience: &Cell<Duration>) -> String {
    const STAYS: &str = "its source stays where it lies";
    let until = Instant::now() + patience.get();
    while door.is_service() {
        match door.show(&id.to_string()) {
            Ok(job) if job.state == JobState::Aborted => {
                patience.set(until.saturating_duration_since(Instant::now()));
                return match &job.retired_to {
                    Some(place) => format!("its source is {place}"),
                    None => STAYS.to_owned(),
                };
            }
            Ok(_) if Instant::now() < until => std::thread::sleep(ENDING_PAUSE),
            Ok(_) | Err(_) => {
                patience.set(Duration::ZERO);
                break;
            }
        }
    }
    // A queued one may have been claimed by now.
    if before.source.claimed.is_none() && !door.is_service() {
        return STAYS.to_owned();
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

/// How long it is waited for a service to look at jobs that were let go on, for all of them together.
pub(super) struct Patience(Cell<Duration>);

impl Patience {
    pub(super) fn until_begun() -> Self {
        Self(Cell::new(BEGIN_TAKES))
    }

    pub(super) fn none() -> Self {
        Self(Cell::new(Duration::ZERO))
    }
}

/// What a job that may go on waits for all the same, with what is told of it.
enum Waits {
    Nothing,
    HeldBack(String),
    /// Its window, those before it in a sequence, an earlier delivery; a mount, or room on a disk.
    ItsTurn(String),
}

/// The same of a job as it is now, once a service has looked at it; what is waited for that is taken off the patience, which is for all jobs
/// together.
fn waits_now(door: &dyn Door, job: &str, patience: &Patience) -> Waits {
    let until = Instant::now() + patience.0.get();
    let waiting = loop {
        let Ok(job) = door.show(job) else { return Waits::Nothing };
        let is_looked_at = job.state != JobState::Queued || job.waiting.is_some() || !door.is_service();
        if is_looked_at || Instant::now() >= until {
            break job.waiting;
        }
        std::thread::sleep(ENDING_PAUSE);
    };
    patience.0.set(until.saturating_duration_since(Instant::now()));
    let Some(Waiting { waits_for, detail, .. }) = waiting else { return Waits::Nothing };
    match waits_for {
        WaitsFor::Pause => Waits::HeldBack(detail),
        WaitsFor::Window | WaitsFor::Sequence | WaitsFor::Delivery | WaitsFor::Mount | WaitsFor::Disk => {
            Waits::ItsTurn(detail)
        }
        _ => Waits::Nothing,
    }
}

/// Who goes on with a job that was queued again, or what it waits for.
pub(super) fn goes_on(door: &dyn Door, job: &str, patience: &Patience) -> String {
    match waits_now(door, job, patience) {
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
