//! `landfall ingest`: these files now, with a progress bar.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::check::counted;
use super::complete;
use super::dry_run::DryRun;
use super::exit::FAILED;
use super::explain::explain;
use super::ingest_mode::NotLive;
use super::running;
use super::say::{complain, say, say_aside};
use super::view;
use crate::clock;
use crate::config::{self, Problems};
use crate::control::{self, Client, Reached};
use crate::engine::{self, Act, Door, Engine, EngineError, Follower, JobFilter, Purpose, Refusal, Running};
use crate::model::fault::{Fault as _, FaultKind};
use crate::model::job::{Job, PublishedOutput};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::rule::{Mode, Settings};
use crate::pipeline::Registry;
use crate::watch::rules::RuleSet;

/// Jobs that are looked through for the one that took a file.
const LOOKED_AT_MAX: usize = 1000;

/// Which files, under which rule.
#[derive(clap::Args)]
pub(super) struct IngestArgs {
    /// The files, wherever they lie; where the rule's patterns have named wildcards, like {sender}, a path must fit one of them
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The rule to ingest them under
    #[arg(long, value_name = "NAME", add = complete::of_rules())]
    rule: String,
    /// Claim, archive or delete the files as the rule says; without it they stay as they are
    #[arg(long)]
    retire: bool,
    /// Show what would come out, and write nothing
    #[arg(long, conflicts_with = "retire")]
    pub(super) dry_run: bool,
}

pub(super) fn run(args: &IngestArgs, config: Option<&Path>, registry: Registry) -> anyhow::Result<ExitCode> {
    let file = match config::find(config) {
        Ok(file) => file,
        Err(problems) => return ask_who_goes_by_it(args, config, Path::new(""), problems),
    };
    let mut settings = match config::load(&file, &registry) {
        Ok(settings) => settings,
        Err(problems) => return ask_who_goes_by_it(args, config, &file, problems),
    };
    if args.dry_run {
        return rehearse(args, settings, registry);
    }
    // What is asked wrongly is told before anything about the data folder.
    let (files, all_there) = files_to_take(args, &settings)?;
    if files.is_empty() {
        return Ok(exit_code(all_there));
    }
    let watched = Watched::of(args, &settings, &files)?;
    let all_done = match control::open_or_make(&settings)? {
        Reached::Service(service) => beside_service(args, &files, &watched, &service)?,
        Reached::Engine(engine) => {
            config::go_by_store(&mut settings.rules, engine.store().is_encrypted());
            let running = engine.start(settings, registry, Purpose::Ingest)?;
            let ended = ingest(args, &files, &engine, running, &tell)?;
            if let Some(broken_off) = &ended.interrupted {
                broken_off.tell(&engine, &tell);
            }
            ended.told(&watched)
        }
    };
    Ok(exit_code(all_there && all_done))
}

/// A service may run that goes by what the configuration said before, or of another program, whose steps are all that is unknown here: it
/// takes the files.
fn ask_who_goes_by_it(
    args: &IngestArgs,
    config: Option<&Path>,
    file: &Path,
    problems: Problems,
) -> anyhow::Result<ExitCode> {
    if args.dry_run {
        return Err(problems.into());
    }
    let settings = running::settings(config).map_or_else(|| config::load_without_steps(file), Ok);
    let Ok(settings) = settings else { return Err(problems.into()) };
    let Some(service) = Client::connect(&settings.service.data_dir) else { return Err(problems.into()) };
    let (files, all_there) = files_to_take(args, &settings)?;
    let watched = Watched::of(args, &settings, &files)?;
    let all_done = beside_service(args, &files, &watched, &service)?;
    Ok(exit_code(all_there && all_done))
}

fn exit_code(all_done: bool) -> ExitCode {
    if all_done { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// The files that can be taken, and whether those are all; each other one is told.
fn files_to_take(args: &IngestArgs, settings: &Settings) -> anyhow::Result<(Vec<PathBuf>, bool)> {
    let mut files = Vec::with_capacity(args.files.len());
    let mut not_live = NotLive::default();
    for file in &args.files {
        match engine::could_ingest(&settings.rules, file, &args.rule) {
            Ok(rule) => {
                not_live.note(file, &rule);
                files.push(std::path::absolute(file)?);
            }
            Err(error) if error.kind() == FaultKind::Config => return Err(error.into()),
            Err(error) => tell_refused(settings, file, error),
        }
    }
    if !args.dry_run {
        not_live.tell(args.retire);
    }
    let all_there = files.len() == args.files.len();
    Ok((files, all_there))
}

/// Those of the files that a rule takes by itself, as far as they were not dealt with before; with the rule's name.
#[derive(Default)]
struct Watched(Vec<(PathBuf, String)>);

impl Watched {
    /// None where the files do not stay where they lie.
    fn of(args: &IngestArgs, settings: &Settings, files: &[PathBuf]) -> anyhow::Result<Self> {
        if args.retire {
            return Ok(Self::default());
        }
        let rules = RuleSet::new(settings.rules.clone())?;
        let rule_of = |file: &PathBuf| rules.assign(file).and_then(|(at, _)| settings.rules.get(at));
        let watched = files.iter().filter_map(|file| Some((file, rule_of(file)?)));
        let mut watched: Vec<_> = watched.filter(|(_, rule)| rule.mode == Mode::Live).collect();
        let door = if watched.is_empty() { None } else { control::open(settings).ok() };
        // One that was ingested and kept, or adopted, is not taken as long as it is the same.
        watched.retain(|(file, _)| {
            let known = door.as_ref().map(|door| door.file_known(&OsText::from(file.as_path())));
            known.and_then(Result::ok).is_none_or(|known| known.kept.is_none())
        });
        Ok(Self(watched.into_iter().map(|(file, rule)| (file.clone(), rule.name.clone())).collect()))
    }

    /// Keeps those to which this happened.
    fn only(&self, files: &[PathBuf]) -> Self {
        Self(self.0.iter().filter(|(file, _)| files.contains(file)).cloned().collect())
    }

    /// What the first one is, and how many are like it.
    fn told(&self, what: &str, hint: &str) {
        let Some((file, rule)) = self.0.first() else { return };
        let others = match self.0.len() - 1 {
            0 => String::new(),
            others => format!(", and likewise {} more", counted(others, "file")),
        };
        let message = format!("{} lies where rule \"{rule}\" watches{what}{others}", escaped_path(file));
        complain(&message, Some(hint));
    }
}

/// A file that is gone may be one that a service took.
fn tell_refused(settings: &Settings, file: &Path, error: EngineError) {
    let taker = || {
        let folder = std::path::absolute(file).ok()?.parent()?.canonicalize().ok()?;
        let door = control::open(settings).ok()?;
        taker_of(door.as_ref(), &OsText::from(folder.join(file.file_name()?)), |_| true)
    };
    match if file.symlink_metadata().is_err() { taker() } else { None } {
        Some(job) => {
            let message =
                format!("{} is not there: job {} took it, and is {}", job.source.path, job.id, job.state);
            complain(&message, Some(&format!("`landfall show {}` says what became of it", job.id)));
        }
        None => drop(explain(&error.into())),
    }
}

/// The newest job that took a file which lay at a path, of those for which `may_be` holds.
fn taker_of(door: &dyn Door, path: &OsText, may_be: impl Fn(&Job) -> bool) -> Option<Job> {
    let newest = JobFilter { limit: Some(LOOKED_AT_MAX), newest_first: true, ..JobFilter::default() };
    let took = |job: &Job| job.source.path == *path && job.state != JobState::Aborted && may_be(job);
    door.list(&newest).filter_map(Result::ok).find(took)
}

/// The job that a running service took a file for by itself, which is why it does not lie there any more.
fn taken_since(door: &dyn Door, file: &Path, since: Timestamp) -> Option<Job> {
    let is_gone = door.is_service() && !file.try_exists().unwrap_or(true);
    is_gone.then(|| taker_of(door, &file.into(), |job| job.created_at >= since)).flatten()
}

/// Ctrl-C: the job in hand stays as far as it is, or goes on in the service.
struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    fn listen() -> anyhow::Result<Self> {
        let has_come = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&has_come);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listen = move || {
            runtime.block_on(async {
                if tokio::signal::ctrl_c().await.is_ok() {
                    told.store(true, Ordering::Relaxed);
                    // Who cannot wait for a clean end.
                    tokio::signal::ctrl_c().await.ok();
                    say_aside!("left at once: `landfall jobs` says what is not done");
                    std::process::exit(i32::from(FAILED));
                }
            });
        };
        std::thread::Builder::new().name("interrupt".into()).spawn(listen)?;
        Ok(Self(has_come))
    }

    fn has_come(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The operator does not wait for this job any more.
#[derive(Debug, thiserror::Error)]
#[error("interrupted at job {0}")]
struct Interrupted(JobId);

/// What became of the files.
#[derive(Default)]
struct Ended {
    /// Their jobs are completed.
    completed: Vec<PathBuf>,
    /// Their jobs ended otherwise.
    not_completed: Vec<PathBuf>,
    /// All are completed.
    all_done: bool,
    interrupted: Option<BrokenOff>,
}

/// Where Ctrl-C came in between.
struct BrokenOff {
    /// The job that was followed.
    job: Option<JobId>,
    /// Files that were not begun.
    left: Vec<PathBuf>,
}

impl Ended {
    /// Whether all went well; says what else there is to say of files that stay where they lie.
    fn told(&self, watched: &Watched) -> bool {
        watched.only(&self.completed).told(
            "",
            "it is published and stays there, and is not taken again as long as it is the same; `--retire` has it archived or deleted",
        );
        watched.only(&self.not_completed).told(
            ", which takes it by itself",
            "mend the rule, or move the file away, before a service takes it",
        );
        self.all_done
    }
}

impl BrokenOff {
    /// Says what became of the job that was followed, and of the files behind it; once nobody is at the job in this process.
    fn tell(&self, door: &dyn Door, tell: Tell<'_>) {
        match self.job.map(|id| door.show(&id.to_string())) {
            Some(Ok(job)) if job.state.is_final() => tell(&job),
            Some(Ok(job)) => {
                let id = job.id;
                let (what, way) = if door.is_service() {
                    let what = format!("job {id} goes on in the running service");
                    (what, format!("`landfall show {id}` tells how far it is, `landfall abort {id}` ends it"))
                } else {
                    let or_ingest = match &job.source.claimed {
                        None => ", or `landfall ingest` of the same file,",
                        Some(_) => "",
                    };
                    let what = format!("job {id} is not done; its file is {}", job.source_path());
                    let way = format!(
                        "the next `landfall run`{or_ingest} goes on with it; `landfall abort {id}` ends it"
                    );
                    (what, way)
                };
                complain(&format!("interrupted: {what}"), Some(&way));
            }
            Some(Err(refusal)) => complain(&format!("interrupted: {refusal}"), refusal.hint().as_deref()),
            None => complain("interrupted", None),
        }
        if let Some(first) = self.left.first() {
            let others = match self.left.len() - 1 {
                0 => String::new(),
                others => format!(" and {}", counted(others, "more file")),
            };
            complain(&format!("not begun: {}{others}", escaped_path(first)), Some("name them again"));
        }
    }
}

fn rehearse(args: &IngestArgs, settings: Settings, registry: Registry) -> anyhow::Result<ExitCode> {
    let (files, all_there) = files_to_take(args, &settings)?;
    let dry_run = DryRun::new(&settings, &args.rule)?;
    // By where it really lies: what the dry run has in its place is its own.
    engine::keep_private(&registry, &settings);
    let settings = dry_run.settings(settings);
    let engine = Engine::open(&settings)?;
    say!("dry run: no output is written, no file is touched");
    let running = engine.rehearse(settings, registry, dry_run.rehearsal())?;
    let ended = ingest(args, &files, &engine, running, &|job| dry_run.tell(job))?;
    if ended.interrupted.is_some() {
        complain("interrupted: nothing was written, and no file touched", None);
    }
    Ok(exit_code(all_there && ended.all_done))
}

/// How it is told what became of a file.
type Tell<'a> = &'a dyn Fn(&Job);

/// By this process itself.
fn ingest(
    args: &IngestArgs,
    files: &[PathBuf],
    engine: &Engine,
    running: Running,
    tell: Tell<'_>,
) -> anyhow::Result<Ended> {
    let interrupt = Interrupt::listen()?;
    let ended = each(args, files, engine, &interrupt, tell);
    if ended.as_ref().is_ok_and(|ended| ended.interrupted.is_some()) {
        say_aside!("interrupted: stopping; Ctrl-C once more leaves at once");
    }
    running.stop()?;
    ended
}

/// By the service that runs, which goes on whatever becomes of this process.
fn beside_service(
    args: &IngestArgs,
    files: &[PathBuf],
    watched: &Watched,
    service: &Client,
) -> anyhow::Result<bool> {
    let interrupt = Interrupt::listen()?;
    let ended = each(args, files, service, &interrupt, &tell)?;
    if let Some(broken_off) = &ended.interrupted {
        broken_off.tell(service, &tell);
    }
    Ok(ended.told(watched))
}

/// Takes one file after another, follows each, and tells what came of it.
fn each(
    args: &IngestArgs,
    files: &[PathBuf],
    door: &dyn Door,
    interrupt: &Interrupt,
    tell: Tell<'_>,
) -> anyhow::Result<Ended> {
    let asked_at = clock::now();
    let mut follower = Follower::new(door);
    let mut ended = Ended { all_done: true, ..Ended::default() };
    for (position, file) in files.iter().enumerate() {
        let broken_off = |job, begun: usize| {
            let left = files.iter().skip(position + begun).cloned().collect();
            Some(BrokenOff { job, left })
        };
        if interrupt.has_come() {
            (ended.all_done, ended.interrupted) = (false, broken_off(None, 0));
            break;
        }
        let begun = clock::now();
        // The watch may have had it while an earlier one was worked.
        let taken = take(args, door, file).or_else(|error| match taken_since(door, file, asked_at) {
            Some(job) => Ok(job.id),
            None => Err(error),
        });
        match taken.and_then(|id| follow(&mut follower, door, (id, begun), interrupt)) {
            Ok(job) => {
                // A job has a file by its own name, which is another where a link leads to it, or another job is at it.
                if *job.source.path.as_path() != **file {
                    say!("{}: it is {}", escaped_path(file), job.source.path);
                }
                tell(&job);
                match job.state.get() {
                    JobState::Completed => ended.completed.push(file.clone()),
                    state if state.is_final() => ended.not_completed.push(file.clone()),
                    _ => {}
                }
                ended.all_done &= job.state == JobState::Completed;
            }
            // The rule is wrong, and it is the rule of every file.
            Err(error) if is_asked_wrong(&error) => return Err(error),
            // One bad file does not stop the others; it changes the exit code.
            Err(error) => {
                ended.all_done = false;
                if let Some(Interrupted(job)) = error.downcast_ref() {
                    ended.interrupted = broken_off(Some(*job), 1);
                    break;
                }
                let named = escaped_path(file);
                let names_it = files.len() == 1 || format!("{error:#}").contains(&named);
                explain(&if names_it { error } else { error.context(named) });
            }
        }
    }
    Ok(ended)
}

fn take(args: &IngestArgs, door: &dyn Door, file: &Path) -> anyhow::Result<JobId> {
    let act = Act::Ingest { path: file.into(), rule: args.rule.clone(), retire: args.retire };
    // Our own configuration would take the file: the service may not have read it yet.
    let is_behind = |refusal: &Refusal| {
        let is_config = matches!(refusal, Refusal::Fault(error) if error.kind == FaultKind::Config);
        door.is_service() && is_config
    };
    let answer = match door.act(&act) {
        Err(refusal) if is_behind(&refusal) && door.reload().is_ok() => door.act(&act),
        answer => answer,
    };
    answer.map_err(|refusal| match refusal {
        Refusal::Fault(mut error) if door.is_service() && error.kind == FaultKind::Config => {
            let hint = "the running service goes by another configuration: `landfall jobs` says why";
            error.hint = Some(hint.into());
            EngineError::from(error).into()
        }
        Refusal::Fault(error) => EngineError::from(error).into(),
        refusal => anyhow::Error::from(refusal),
    })
}

fn is_asked_wrong(error: &anyhow::Error) -> bool {
    error.downcast_ref::<EngineError>().is_some_and(|error| error.kind() == FaultKind::Config)
}

/// Shows progress until the job reached an end, or waits for something that this command will not see mended.
fn follow(
    follower: &mut Follower<'_>,
    door: &dyn Door,
    (id, begun): (JobId, Timestamp),
    interrupt: &Interrupt,
) -> anyhow::Result<Job> {
    let bar = std::io::stderr().is_terminal().then(progress_bar);
    follower.sees_progress = bar.is_some();
    let mut ended = follower.follow(id, |job| {
        if interrupt.has_come() {
            return Err(Interrupted(job.id).into());
        }
        if let Some(bar) = &bar {
            show_progress(bar, job);
        }
        Ok(())
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    if !door.is_service() {
        return ended;
    }
    // The service's own watch may have been faster: then that job is the file's. It came after we asked, and took the same file.
    let is_faster = |asked: &Job, other: &Job| {
        other.created_at >= begun && other.source.identity.same_content(&asked.source.identity)
    };
    if let Ok(job) = &ended
        && job.state == JobState::Aborted
        && let Some(taker) = taker_of(door, &job.source.path, |other| is_faster(job, other))
    {
        ended = follower.follow(taker.id, |job| {
            if interrupt.has_come() { Err(Interrupted(job.id).into()) } else { Ok(()) }
        });
    }
    if ended.as_ref().is_err_and(anyhow::Error::is::<Interrupted>) {
        return ended;
    }
    ended.with_context(|| format!("job {id} is with the running service"))
}

fn show_progress(bar: &ProgressBar, job: &Job) {
    bar.set_length(job.source.identity.size);
    bar.set_position(job.bytes_worked);
    bar.set_message(match job.state.get() {
        JobState::Publishing | JobState::Retiring => format!("{} ({})", job.source.path, job.state),
        _ => job.source.path.to_string(),
    });
}

fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{bar:30}] {percent}% {bytes_per_sec} {eta}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn tell(job: &Job) {
    let account = &job.account;
    say!("{}: {} (job {})", job.source.path, job.state, job.id);
    let (before, written) = if job.outputs.is_empty() && job.state != JobState::Completed {
        ("nothing is published; of what was read: ", "worked")
    } else {
        ("", "written")
    };
    say!(
        "    {before}{} in, {} {written}, {} dropped; failed records: {}",
        counted(account.records_in, "record"),
        account.records_written(),
        account.records_dropped(),
        account.records_failed
    );
    for output in &job.outputs {
        let PublishedOutput { category, records, bytes, path, .. } = output;
        let (records, bytes) = (counted(*records, "record"), counted(*bytes, "byte"));
        say!("    {category}: {records}, {bytes}, {path}");
    }
    if let Some(place) = super::show::place_of(job) {
        say!("    {place}");
    }
    for (reason, count) in &account.reasons {
        say!("    {reason}: {count}");
    }
    if account.records_failed > 0 {
        say!("    `landfall records {}` lists the failed records", job.id);
    }
    if let (JobState::Aborted, Some(moment)) = (job.state.get(), job.timeline.last()) {
        say!("    {}", view::printable(moment.detail.as_bytes(), usize::MAX));
    }
    for remark in job.remarks() {
        say!("    note: {}", view::printable(remark.as_bytes(), usize::MAX));
    }
    if let (Some(waiting), None) = (&job.waiting, &job.error) {
        say!("    waits: {}", waiting.detail);
    }
    if let Some(error) = &job.error {
        say!("    {}: {}", if job.waiting.is_some() { "waits" } else { "error" }, error.message);
        if let Some(hint) = &error.hint {
            say!("    hint: {hint}");
        }
    }
}
