//! The owner of a running service's configuration: one thread that looks at its files, reads them when they stand still, and hands the rules
//! to the engine.
//!
//! ```text
//!  an event, somebody asks, or half a second is over
//!    └─> look ──> as judged last: nothing to do
//!         └─> still, nobody writes ──> read ──> wrong: told, shown; nothing changes
//!                                       └─> right ──> kept in the store, durably ──> exchanged ──> told, shown
//! ```
//!
//! - The look is the truth, events only make it early.
//! - There is one reading at a time. Who asks while one is under way gets the answer of the next, which sees the files as they are then.
//! - What the service goes by is kept before it goes by it: a start with broken files never goes back behind what was in force.
//! - A file system that hangs holds up this thread and no other.
//!
//! Because it wakes so often, it also sees that the file by which commands reach the service is there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::board::{Board, Call};
use super::confine::Confinement;
use super::rules_folder::{self, RulesFolder};
use super::shadow::{Aside, UNWATCHED_HINT};
use super::start::{self, Start, recipients_files};
use super::stillness::{Stillness, lacks_its_end};
use crate::clock;
use crate::config::{self, Files, Problems, Reading, Stamps, Texts};
use crate::engine::{Engine, Refusal, Unready};
use crate::hooks::Hooks;
use crate::model::at_rest::{AtRest, Encrypt};
use crate::model::audit::{AuditEvent, SERVICE};
use crate::model::configuration::{ConfigurationChange, ConfigurationProblem, HooksChange, Reloaded};
use crate::model::fault::{FaultKind, JobError};
use crate::model::hook::Hook;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Rule, Service, Settings};
use crate::pipeline::Registry;
use crate::store::Store;
use crate::telemetry::events;
use crate::watch::Bell;

/// The files are looked at so often where no event tells of them.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Events that come thick are taken together: others may write beside the configuration.
const LOOK_AT_MOST_EVERY: Duration = Duration::from_millis(20);
/// A file that somebody has open is looked at again.
const WRITER_PAUSE: Duration = Duration::from_millis(100);
/// So long who asks waits for a writer to close his file.
const WRITER_PATIENCE: Duration = Duration::from_secs(10);
/// What was read is compared once more after so long: clocks of file systems are coarse, so that a file may change and look the same.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(2500);
/// Folders may be replaced without an event that reaches us.
const HANG_BELL_EVERY: Duration = Duration::from_secs(30);
/// Shadow rules that cannot be watched are tried again.
const WATCH_SHADOWS_EVERY: Duration = Duration::from_secs(2);
/// A stop waits so long for the thread, which may hang.
const STOP_PATIENCE: Duration = Duration::from_millis(500);

/// What is seen to at each look.
pub(super) type Tend = Box<dyn Fn() + Send>;

/// The thread.
pub(super) struct Reloading {
    board: Arc<Board>,
    thread: JoinHandle<()>,
}

impl Reloading {
    pub(super) fn start(
        board: &Arc<Board>,
        engines: (Engine, Arc<Aside>, Arc<Hooks>),
        config: PathBuf,
        registry: Registry,
        start: Start,
        tend: Tend,
    ) -> std::io::Result<Self> {
        let owner = Owner::new(Arc::clone(board), engines, config, registry, start);
        Self::run(board, move || owner.run(&tend))
    }

    /// The thread of a service whose configuration nobody reads again.
    pub(super) fn tend_alone(board: &Arc<Board>, tend: Tend) -> std::io::Result<Self> {
        let asked_of = Arc::clone(board);
        Self::run(board, move || {
            let mut seen = 0;
            loop {
                let call = asked_of.wait(seen, LOOK_EVERY, LOOK_EVERY);
                if call.stops {
                    return;
                }
                seen = call.asked;
                tend();
            }
        })
    }

    fn run(board: &Arc<Board>, life: impl FnOnce() + Send + 'static) -> std::io::Result<Self> {
        let thread = std::thread::Builder::new().name("configuration".into()).spawn(life)?;
        Ok(Self { board: Arc::clone(board), thread })
    }

    /// Nothing is taken any more.
    pub(super) fn stop(self) {
        self.board.stop();
        let until = Instant::now() + STOP_PATIENCE;
        while !self.thread.is_finished() && Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

/// All that the thread knows.
struct Owner {
    board: Arc<Board>,
    engine: Engine,
    aside: Arc<Aside>,
    hooks: Arc<Hooks>,
    store: Store,
    registry: Registry,
    /// The main file as the user named it.
    config: PathBuf,
    /// The `[service]` that the service was started with, and goes by to its end.
    started_with: Service,
    taken: Taken,
    /// The files as they were judged last, right or wrong.
    judged: Judged,
    files: Files,
    still: Stillness,
    bell: Bell,
    bell_hung: Instant,
    /// Since when somebody waits for an answer.
    asked_since: Option<Instant>,
    /// When shadow rules that cannot be watched are tried again.
    shadows_at: Instant,
    is_writer_told: bool,
    /// Rules whose files of recipients are wrong or away, as long as they are.
    unready: Vec<ConfigurationProblem>,
    /// What the service keeps itself to.
    confinement: Option<Confinement>,
}

/// What the service goes by.
struct Taken {
    texts: Texts,
    rules: Vec<Rule>,
    /// By what the store is encrypted, or is not: what is written otherwise is gone by after a restart.
    at_rest: AtRest,
    hooks: Vec<Hook>,
    stamps: Stamps,
    rules_dir: Option<PathBuf>,
    rules_folder: Option<RulesFolder>,
    /// The engine could not take these rules yet.
    is_pending: bool,
}

struct Judged {
    stamps: Stamps,
    texts: Option<Texts>,
    read_again_at: Option<Instant>,
    wrong: Option<Problems>,
}

impl Owner {
    fn new(
        board: Arc<Board>,
        (engine, aside, hooks): (Engine, Arc<Aside>, Arc<Hooks>),
        config: PathBuf,
        registry: Registry,
        start: Start,
    ) -> Self {
        let Start { settings, store, texts, files, stamps, wrong, rules_folder, confinement, .. } = start;
        let ring = {
            let board = Arc::clone(&board);
            move || board.ring()
        };
        let (now, rules_dir) = (Instant::now(), files.rules_dirs.first().cloned());
        let read_again_at = now.checked_add(READ_AGAIN_AFTER);
        let was_read = wrong.is_none().then(|| texts.clone());
        let (rules, told, stamped) = (settings.rules, settings.hooks, stamps.clone());
        let taken = Taken {
            texts,
            rules,
            at_rest: settings.service.at_rest.clone(),
            hooks: told,
            stamps: stamped,
            rules_dir,
            rules_folder,
            is_pending: false,
        };
        Self {
            board,
            engine,
            aside,
            hooks,
            store,
            registry,
            config,
            started_with: settings.service,
            taken,
            still: Stillness::new(stamps.clone(), now),
            judged: Judged { stamps, texts: was_read, read_again_at, wrong },
            files,
            bell: Bell::new(ring),
            bell_hung: now,
            asked_since: None,
            shadows_at: now + WATCH_SHADOWS_EVERY,
            is_writer_told: false,
            unready: Vec::new(),
            confinement,
        }
    }

    fn run(mut self, tend: &dyn Fn()) {
        self.bell.hang_in(&self.files.folders());
        self.begin();
        let mut call = Call { asked: 0, stops: false };
        let mut pause = Duration::ZERO; // what was changed during the start is seen at once
        loop {
            call = self.board.wait(call.asked, LOOK_AT_MOST_EVERY, pause);
            if call.stops {
                return;
            }
            tend(); // before what may hang
            let now = Instant::now();
            self.asked_since =
                if self.board.owes(call.asked) { self.asked_since.or(Some(now)) } else { None };
            pause = self.look(call.asked, now).unwrap_or(LOOK_EVERY);
        }
    }

    /// What the service started with may be wrong, too, in a file that is read with a rule.
    fn begin(&mut self) {
        let with_files = self.taken.rules.iter().filter(|rule| recipients_files(rule).next().is_some());
        let names = names_of(with_files);
        self.note_unready(self.engine.renew_rules(&names));
        if !self.unready.is_empty() {
            events::configuration_incomplete(&self.unready);
        }
        if !self.unready.is_empty() || self.aside.trouble().is_some() {
            self.post_problems();
        }
    }

    /// Shadow rules that could not be watched are tried again; live ones go on whatever comes of it.
    fn watch_shadows(&mut self, now: Instant) {
        let is_due = self.asked_since.is_some() || now >= self.shadows_at;
        if is_due && self.aside.trouble().is_some() {
            self.shadows_at = now + WATCH_SHADOWS_EVERY;
            self.aside.take_rules(&self.taken.rules, &self.taken.at_rest);
            self.post_problems();
        }
    }

    /// One look, and what follows from it. How long until the next one; none: nothing is under way.
    fn look(&mut self, asked: u64, now: Instant) -> Option<Duration> {
        self.watch_shadows(now);
        let is_asked = self.asked_since.is_some();
        if self.bell.lacks_a_folder() {
            self.bell.hang_in(&self.files.folders()); // before the look: what is put into it from now on rings
        }
        let stamps = self.files.look();
        self.still.note(&stamps, now);
        let differs = stamps != self.judged.stamps;
        if differs || now.saturating_duration_since(self.bell_hung) > HANG_BELL_EVERY {
            self.bell.hang_in(&self.files.folders());
            self.bell_hung = now;
        }
        let reads_again = self.judged.read_again_at.is_some_and(|at| now >= at);
        if !differs && !is_asked && !reads_again && !self.taken.is_pending {
            self.note_unsettled(None);
            return None;
        }
        if let Some(wait) = self.still.wait(stamps.lose(&self.taken.stamps), now) {
            self.note_unsettled(stamps.differing(&self.judged.stamps).next());
            return Some(wait);
        }
        match self.written_file(&stamps) {
            Some(written) => Some(self.wait_for_writer(&written, asked, now)),
            None => self.read(&stamps, asked, now),
        }
    }

    /// One that was changed, and that somebody has open for writing.
    fn written_file(&self, stamps: &Stamps) -> Option<PathBuf> {
        let mut changed = stamps.differing(&self.judged.stamps);
        changed.find(|file| start::has_writer(file)).map(Path::to_owned)
    }

    /// Reads what stands still, and judges it if it still does.
    fn read(&mut self, stamps: &Stamps, asked: u64, now: Instant) -> Option<Duration> {
        let reading = match config::read(&self.config, Some(&self.registry)) {
            Ok(reading) => reading,
            Err(problems) => {
                self.judge_wrong(problems, asked);
                return None;
            }
        };
        let wanted = self.files_for(&reading);
        let known = self.files.clone();
        self.files.include(&wanted);
        if self.files != known {
            return Some(LOOK_AT_MOST_EVERY); // what is named only now must stand still, too
        }
        if self.files.look() != *stamps {
            return Some(LOOK_AT_MOST_EVERY);
        }
        let lacks_end = |file: &Path| reading.texts.get(file).is_some_and(|text| lacks_its_end(text));
        if stamps.differing(&self.judged.stamps).any(lacks_end)
            && let Some(wait) = self.still.wait(true, now)
        {
            return Some(wait);
        }
        self.note_unsettled(None);
        self.is_writer_told = false;
        let is_asked = self.asked_since.is_some();
        if !is_asked && !self.taken.is_pending && self.judged.texts.as_ref() == Some(&reading.texts) {
            let others = self.others_that_differ(stamps);
            if others.is_empty() {
                // The same words: it was read again, or saved as it was, or its folder was mounted anew.
                if reading.texts == self.taken.texts {
                    self.taken.rules_folder = RulesFolder::of(&reading).or(self.taken.rules_folder.take());
                }
                self.note_judged(wanted, stamps, Some(reading.texts), now);
                return None;
            }
        }
        self.judge(reading, wanted, stamps, asked, now)
    }

    fn judge(
        &mut self,
        mut reading: Reading,
        wanted: Files,
        stamps: &Stamps,
        asked: u64,
        now: Instant,
    ) -> Option<Duration> {
        let settings = std::mem::replace(&mut reading.settings, Err(Problems(Vec::new())));
        let lost = rules_folder::loss(self.taken.rules_folder.as_ref(), &self.taken.texts, &reading);
        let lacks = |settings: &Settings| self.confinement.as_ref()?.lacks(settings);
        let settings =
            settings.and_then(|settings| lost.or_else(|| lacks(&settings)).map_or(Ok(settings), Err));
        match settings {
            Err(problems) => {
                self.judge_wrong(problems, asked);
                self.note_judged(wanted, stamps, Some(reading.texts), now);
                None
            }
            Ok(settings) => match self.take(&reading, settings, stamps, asked) {
                Ok(reloaded) => {
                    self.taken.stamps = wanted.only(stamps);
                    self.note_judged(wanted, stamps, Some(reading.texts), now);
                    self.board.answer(asked, Ok(reloaded));
                    None
                }
                Err(refusal) => {
                    if !std::mem::replace(&mut self.taken.is_pending, true) {
                        tracing::warn!(error = %refusal, "the configuration that was changed is not taken yet");
                    }
                    self.board.answer(asked, Err(refusal));
                    None
                }
            },
        }
    }

    /// Nothing changes but what is told.
    fn judge_wrong(&mut self, problems: Problems, asked: u64) {
        if self.asked_since.is_some() || self.judged.wrong.as_ref() != Some(&problems) {
            events::configuration_wrong(&problems.told());
        }
        self.judged.wrong = Some(problems);
        let problems = self.post_problems();
        let mut needs_restart = Vec::new();
        self.board.post(|state| needs_restart.clone_from(&state.needs_restart));
        let rules =
            ConfigurationChange { unchanged: self.taken.rules.len(), ..ConfigurationChange::default() };
        self.board.answer(asked, Ok(Reloaded { problems, rules, needs_restart }));
    }

    /// Shows all that is wrong now, and since when something is.
    fn post_problems(&self) -> Vec<ConfigurationProblem> {
        let mut problems = self.judged.wrong.as_ref().map(Problems::told).unwrap_or_default();
        problems.extend(self.unready.iter().cloned());
        problems.extend(self.aside.trouble().map(|why| unwatched_shadows(&self.files.main, &why)));
        self.board.post(|state| {
            state.problems.clone_from(&problems);
            let since = state.wrong_since.or_else(|| Some(clock::now()));
            state.wrong_since = since.filter(|_| !problems.is_empty());
        });
        problems
    }

    /// Goes by what was read.
    fn take(
        &mut self,
        reading: &Reading,
        settings: Settings,
        stamps: &Stamps,
        asked: u64,
    ) -> Result<Reloaded, Refusal> {
        let Settings { service, hooks, mut rules, .. } = settings;
        // Before a rule that asks for it has anything to keep.
        self.store.encrypt_by(&service.at_rest).map_err(|error| Refusal::from_fault(&error))?;
        config::go_by_store(&mut rules, self.store.is_encrypted());
        let begins = self.store.is_encrypted() && self.taken.at_rest.encrypt != Encrypt::Yes;
        if begins {
            self.taken.at_rest = service.at_rest.clone();
        }
        let rules_folder = RulesFolder::of(reading);
        if reading.texts != self.taken.texts || rules_folder != self.taken.rules_folder {
            let kept = start::keep(&self.store, reading, rules_folder.as_ref());
            self.board.keep(kept.map_err(|error| Refusal::from_fault(&error))?);
            self.taken.texts.clone_from(&reading.texts);
            self.taken.rules_folder = rules_folder;
        }
        let changed_files = self.others_that_differ(stamps);
        let mut change = ConfigurationChange { unchanged: rules.len(), ..ConfigurationChange::default() };
        if rules != self.taken.rules || self.taken.is_pending || begins {
            change = self.engine.take_rules(rules.clone())?;
            self.aside.take_rules(&rules, &self.taken.at_rest);
            self.board.take_rules(&rules, &self.files.main);
            self.taken.rules = rules;
        }
        self.hooks.take(&hooks).map_err(|error| Refusal::from_fault(&error))?;
        self.engine.know_hooks(&hooks);
        change.hooks = HooksChange::between(&self.taken.hooks, &hooks);
        self.taken.hooks = hooks;
        self.taken.is_pending = false;
        self.taken.rules_dir.clone_from(&reading.rules_dir);
        self.renew(&changed_files, &mut change);
        Ok(self.tell_taken(change, &service, asked))
    }

    /// Makes ready again what another file of recipients counts for, and what could not be made ready before.
    fn renew(&mut self, changed_files: &BTreeSet<PathBuf>, change: &mut ConfigurationChange) {
        let is_new = |name: &String| change.added.contains(name) || change.changed.contains(name);
        let was_unready = |rule: &Rule| self.unready.iter().any(|problem| problem.key == key_of(&rule.name));
        let reads_anew = |rule: &&Rule| {
            let mut files = recipients_files(rule);
            let reads_changed = files.clone().any(|file| changed_files.contains(file));
            reads_changed || was_unready(rule) || is_new(&rule.name) && files.next().is_some()
        };
        let names = names_of(self.taken.rules.iter().filter(reads_anew));
        let failed = self.engine.renew_rules(&names);
        let renewed = |name: &String| !is_new(name) && !failed.iter().any(|unready| unready.rule == *name);
        let renewed: Vec<_> = names.into_iter().filter(renewed).collect();
        change.unchanged = change.unchanged.saturating_sub(renewed.len());
        change.changed.extend(renewed);
        self.note_unready(failed);
    }

    fn note_unready(&mut self, failed: Vec<Unready>) {
        let file_of = |name: &str| {
            let mut rules = self.taken.rules.iter().filter(|rule| rule.name == name);
            rules.find_map(|rule| recipients_files(rule).next())
        };
        let told = failed.into_iter().map(|unready| unready_rule(file_of(&unready.rule), &unready));
        self.unready = told.collect();
    }

    fn tell_taken(&mut self, rules: ConfigurationChange, service: &Service, asked: u64) -> Reloaded {
        let needs_restart: Vec<String> = config::needing_restart(&self.started_with, service)
            .into_iter()
            .map(|key| format!("service.{key}"))
            .collect();
        let was_wrong = self.judged.wrong.take().is_some();
        let (mut told_before, mut was_named) = (Vec::new(), Vec::new());
        self.board.post(|state| {
            told_before.clone_from(&state.problems);
            was_named = std::mem::replace(&mut state.needs_restart, needs_restart.clone());
            if !rules.is_none() {
                state.last_change = Some(rules.clone());
            }
        });
        let problems = self.post_problems();
        events::configuration_taken(&rules, was_wrong, self.asked_since.is_some());
        if !problems.is_empty() && (self.asked_since.is_some() || problems != told_before) {
            events::configuration_incomplete(&problems);
        }
        let is_other_service = needs_restart != was_named;
        if is_other_service {
            events::needs_restart(&needs_restart);
        }
        if !rules.is_none() || is_other_service {
            let after_restart = Some(&needs_restart).filter(|keys| is_other_service && !keys.is_empty());
            self.audit_reload(asked, after_restart);
        }
        Reloaded { problems, rules, needs_restart }
    }

    /// Whoever asked did it; else the service, which saw the files. Keys that count after a restart are named: `service.audit` is one.
    fn audit_reload(&self, asked: u64, after_restart: Option<&Vec<String>>) {
        let askers = Vec::from_iter(self.board.askers(asked)).join(", ");
        let by = if askers.is_empty() { SERVICE.to_owned() } else { askers };
        let about = after_restart.map(|keys| format!("after a restart: {}", keys.join(", ")));
        super::note(&self.store, &AuditEvent { about, ..AuditEvent::new(clock::now(), "reloaded", by) });
    }

    fn note_judged(&mut self, wanted: Files, stamps: &Stamps, texts: Option<Texts>, now: Instant) {
        let is_news = self.judged.texts != texts;
        self.judged.stamps = wanted.only(stamps);
        self.judged.texts = texts;
        // Once is enough: from then on a change has a time of its own.
        self.judged.read_again_at = if is_news { now.checked_add(READ_AGAIN_AFTER) } else { None };
        self.still.note(&self.judged.stamps, now);
        self.files = wanted;
        self.bell.hang_in(&self.files.folders());
    }

    /// The files that count from now on. Where what was read is wrong, those of what the service goes by count on.
    fn files_for(&self, reading: &Reading) -> Files {
        if let Ok(settings) = &reading.settings {
            return start::files_of(reading, &settings.rules);
        }
        let mut files = start::files_of(reading, &self.taken.rules);
        files.rules_dirs.extend(self.taken.rules_dir.clone());
        files
    }

    /// Files beside the TOML that lie there otherwise than when they were read.
    fn others_that_differ(&self, stamps: &Stamps) -> BTreeSet<PathBuf> {
        let others = self.files.others.iter();
        others.filter(|file| stamps.differs(&self.taken.stamps, file)).cloned().collect()
    }

    fn wait_for_writer(&mut self, written: &Path, asked: u64, now: Instant) -> Duration {
        self.still.disturb(now);
        self.note_unsettled(Some(written));
        let is_long = |since: Instant| now.saturating_duration_since(since) > WRITER_PATIENCE;
        if self.asked_since.is_some_and(is_long) {
            let message = format!("somebody has {} open for writing", escaped_path(written));
            let hint = "it is taken by itself once its writer has closed it and it stands still";
            let hint = Some(hint.to_owned());
            self.board
                .answer(asked, Err(Refusal::Fault(JobError { kind: FaultKind::Transient, message, hint })));
        }
        if !std::mem::replace(&mut self.is_writer_told, true) {
            tracing::info!(
                path = escaped_path(written),
                "a file of the configuration was changed, and is still open for writing: it is taken when it is closed"
            );
        }
        WRITER_PAUSE
    }

    fn note_unsettled(&self, file: Option<&Path>) {
        self.board.post(|state| state.unsettled = file.map(Into::into));
    }
}

/// Each rule's name once: its overrides are made ready with it.
fn names_of<'r>(rules: impl Iterator<Item = &'r Rule>) -> Vec<String> {
    let mut names: Vec<_> = rules.map(|rule| rule.name.clone()).collect();
    names.dedup();
    names
}

fn key_of(rule: &str) -> String {
    format!("rule \"{rule}\"")
}

fn unwatched_shadows(main: &Path, why: &str) -> ConfigurationProblem {
    let key = "mode = \"shadow\"".to_owned();
    let message = format!("shadow rules are not watched: {why}");
    let text = format!("{key}: {message}\n    hint: {UNWATCHED_HINT}");
    let hint = Some(UNWATCHED_HINT.to_owned());
    ConfigurationProblem { file: Some(main.into()), line: None, column: None, key, message, hint, text }
}

fn unready_rule(file: Option<&PathBuf>, unready: &Unready) -> ConfigurationProblem {
    let key = key_of(&unready.rule);
    let JobError { message, hint, .. } = unready.error.clone();
    let what = if unready.goes_on { "it goes on with the recipients that it had" } else { "its files wait" };
    let begins = file.map(|file| format!("{}: ", escaped_path(file))).unwrap_or_default();
    let mut text = format!("{begins}{key}: {message}; {what}");
    if let Some(hint) = &hint {
        text.push_str("\n    hint: ");
        text.push_str(hint);
    }
    let file = file.map(|file| file.as_path().into());
    ConfigurationProblem { file, line: None, column: None, key, message, hint, text }
}
