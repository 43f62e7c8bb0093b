//! A child process that is asked lines and answers lines.
//!
//! Three threads tend the pipes, so that neither side can block the other: one writes questions, one reads answers into a
//! bounded channel, one reads what the child complains. The worker itself only ever waits for an answer, and never longer
//! than the timeout. All end when the child does. A child ends with the service, however that ends: see `fate`. One that is dropped is
//! killed, on Unix with its process group; the group also when the child ended by itself, since it may have left others running. Nobody
//! waits for a killed child that is not gone soon: see `reaper`.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::confined::Reachable;
use super::programs::places_of;
use super::starter::{self, NotStarted, Starter};
use super::{environment, fate, groups, reaper};
use crate::durable_fs;
use crate::model::job_id::JobId;
use crate::model::os_text::{escaped_path, said};
use crate::model::quoted::{Quoted, Quotes};
use crate::model::step::{Broken, StepStart};
use crate::pipeline::surroundings::{OwnFolder, Surroundings};

const BLOCK_BYTES: usize = 64 << 10;
/// Blocks of answers that may lie unread.
const BLOCKS_MAX: usize = 8;
const COMPLAINT_BYTES_MAX: usize = 2 << 10;
/// Blocks of complaints of one child that are logged.
const COMPLAINTS_LOGGED_MAX: usize = 32;
/// What to do about a program that cannot be started.
const MEND_COMMAND: &str = "install the program or mend `command`; the job goes on by itself";
/// What to do about a program that says more than it is asked.
const MEND_ANSWERS: &str = "let the command answer one line for each line and nothing else (banners and warnings belong on its standard error); the job goes on by itself";
/// What to do where a file system does not answer.
const MEND_MOUNT: &str = "see to that file system, or name another program; the job goes on by itself";
/// What to do where the system has no room for another process or thread.
const MEND_LIMITS: &str = "raise the limits of processes and memory; the job goes on by itself";
/// What to do where the folder of its own cannot be made.
const MEND_FOLDER: &str = "see to that folder and the room on its disk; the job goes on by itself";
/// What to do where what the step allows is not there.
const MEND_ALLOWED: &str =
    "make what `read` and `write` of the step name, or correct them; the job goes on by itself";
/// What to do about a program that its fence may keep from being started.
const MEND_CONFINED: &str = "install the program or mend `command`; it is confined: what it is run by (`#!`) and lies elsewhere is opened by `read = [\"FOLDER\"]` of the step; the job goes on by itself";
/// Where it complains of what its fence may refuse.
const MAY_BE_CONFINED: &str = " (it is confined: it reaches the system's folders and the one that it lies in, but beside the configuration, keys or data its own file alone; put what it needs into a folder of its own, or name it: `read = [\"lib\"]`, `write = [\"state\"]`)";
/// The same of a program without a fence of its own, in the service's.
const SERVICE_IS_CONFINED: &str = " (the service is confined by `service.confine`, and this program with it: in place of `confine = false` name what it needs under `read` and `write`, and restart the service)";
/// How programs, shells and interpreters say that something was refused or not found.
const REFUSED_WORDS: &[&str] = &[
    "permission denied",
    "not permitted",
    "not found",
    "no such file",
    "no module named",
    "importerror",
    "cannot open",
    "can't open",
    "cannot find",
    "can't locate",
    "can't find",
    "cannot load",
    "eacces",
    "eperm",
    "enoent",
];
/// What it said last is waited for so long once it has ended.
const COMPLAINT_WITHIN: Duration = Duration::from_millis(500);
/// A child whose input was closed ends by itself within this, or is killed.
const END_WITHIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Launch {
    /// The program, absolute or to be found in `PATH`.
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// The folder of the rule's file.
    pub(super) folder: PathBuf,
    pub(super) timeout: Duration,
    /// Beside what every program has of ours.
    pub(super) environment: Vec<(String, String)>,
    pub(super) memory_max: Option<u64>,
    /// None: it starts in `folder`, and reaches what the service reaches.
    pub(super) confined: Option<Confined>,
    /// Bytes of an answer at most.
    pub(super) answer_max: usize,
}

/// How a program is kept to itself.
#[derive(Clone, Debug)]
pub(super) struct Confined {
    /// Beside what every program needs, and what the command names.
    pub(super) read: Vec<PathBuf>,
    pub(super) write: Vec<PathBuf>,
    pub(super) surroundings: Arc<Surroundings>,
}

pub(super) struct Child {
    /// Until it is reaped.
    process: Option<std::process::Child>,
    /// On Linux the child would end with its thread.
    _starter: Starter,
    questions: Option<SyncSender<Vec<u8>>>,
    answers: Receiver<Vec<u8>>,
    read: Vec<u8>,
    complaint: Arc<Mutex<Vec<u8>>>,
    /// Ends when all of that was read.
    complained: Receiver<()>,
    timeout: Duration,
    answer_max: usize,
    /// Removed when it has ended.
    folder: Option<OwnFolder>,
}

impl Launch {
    /// How the program is started, with the folder of its own in which that is, and what it may reach.
    fn command(&self) -> Result<(Command, Option<(OwnFolder, Reachable)>), Broken> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        environment::clear(&mut command);
        fate::limit(&mut command, self.memory_max);
        let own = self.confined.as_ref().map(|confined| self.own_folder(confined)).transpose()?;
        let folder = own.as_ref().map_or(self.folder.as_path(), |(folder, _)| folder.path());
        command.current_dir(folder);
        if own.is_some() {
            command.envs(environment::TEMPORARY.iter().map(|name| (name, folder)));
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Ok((command, own))
    }

    fn own_folder(&self, confined: &Confined) -> Result<(OwnFolder, Reachable), Broken> {
        let Confined { read, write, surroundings } = confined;
        let made = surroundings.make_folder();
        let folder = made.map_err(|error| {
            let within = escaped_path(&surroundings.work_dir());
            Broken::cannot_start(
                format!("cannot make a folder for the program in {within}: {error}"),
                MEND_FOLDER,
            )
        })?;
        let reachable = Reachable {
            program: self.program.clone(),
            arguments: self.arguments.clone(),
            read: read.clone(),
            write: write.clone(),
            work: folder.path().to_owned(),
            private: surroundings.private(),
        };
        Ok((folder, reachable))
    }

    /// A folder on the file system that the program is started on.
    fn starts_in(&self) -> PathBuf {
        self.confined.as_ref().map_or_else(|| self.folder.clone(), |it| it.surroundings.work_dir())
    }
}

impl Child {
    /// Starts the program for a job; the step's name is for the log.
    pub(super) fn start(launch: &Launch, of: &StepStart) -> Result<Self, Broken> {
        let (mut command, own) = launch.command()?;
        let (folder, reachable) = own.unzip();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = starter::start(command, &launch.program, &launch.starts_in(), reachable);
        let (mut process, starter) =
            child.map_err(|why| cannot_start(&launch.program, &why, launch.confined.is_some()))?;
        groups::add(process.id(), of.job);
        let (questions, asked) = sync_channel::<Vec<u8>>(1);
        let (answered, answers) = sync_channel(BLOCKS_MAX);
        let complaint = Arc::new(Mutex::new(Vec::new()));
        let (last_word, complained) = sync_channel::<()>(0);
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let child = Self {
            process: Some(process),
            _starter: starter,
            questions: Some(questions),
            answers,
            read: Vec::new(),
            complaint: Arc::clone(&complaint),
            complained,
            timeout: launch.timeout,
            answer_max: launch.answer_max,
            folder,
        };
        let (Some(stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(Broken::new("the child has no pipes"));
        };
        let (step, job) = (of.name.clone(), of.job);
        spawn("exec-ask", move || write_questions(stdin, &asked))?;
        spawn("exec-answer", move || read_answers(stdout, &answered))?;
        let quotes = Quotes::of_log(); // it may be started amid a single record
        spawn("exec-complain", move || {
            quotes.within(|| read_complaints(stderr, &complaint, &step, job));
            drop(last_word);
        })?;
        Ok(child)
    }

    /// Sends questions, each with its line end.
    pub(super) fn ask(&mut self, questions: Vec<u8>) -> Result<(), Broken> {
        self.check_silence()?;
        let sent = self.questions.as_ref().is_some_and(|channel| channel.try_send(questions).is_ok());
        if sent { Ok(()) } else { Err(self.broken("the child does not read its input")) }
    }

    /// The next line the child answers, without its line end.
    pub(super) fn answer(&mut self, line: &mut Vec<u8>) -> Result<(), Broken> {
        let deadline = Instant::now() + self.timeout;
        let mut searched = 0;
        loop {
            let unsearched = self.read.get(searched..).unwrap_or_default();
            if let Some(found) = memchr::memchr(b'\n', unsearched) {
                let end = searched + found;
                line.clear();
                line.extend(self.read.drain(..=end).take(end));
                if cfg!(windows) && line.ends_with(b"\r") {
                    line.pop();
                }
                return Ok(());
            }
            searched = self.read.len();
            if searched > self.answer_max {
                return Err(self.broken("an answer is longer than record_max"));
            }
            match self.answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(block) => self.read.extend_from_slice(&block),
                Err(RecvTimeoutError::Timeout) => {
                    let reason = self.with_complaint(&format!("no answer within {:?}", self.timeout));
                    return Err(Broken::no_answer(self.timeout, reason));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.end();
                    // Why it ended stands in its last line, which may not be read yet. Whom it left behind may keep it open.
                    self.complained.recv_timeout(COMPLAINT_WITHIN).ok();
                    let status = status
                        .map_or_else(|| "closed its output".to_owned(), |status| format!("ended ({status})"));
                    return Err(self.broken(&format!("the child {status} before it answered")));
                }
            }
        }
    }

    /// Whoever answers unasked has lost count, and so have we.
    pub(super) fn check_silence(&mut self) -> Result<(), Broken> {
        match self.answers.try_recv() {
            Ok(block) => self.read.extend_from_slice(&block),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
        self.read.shrink_to(BLOCK_BYTES); // what one huge answer took
        if self.read.is_empty() { Ok(()) } else { Err(self.surplus()) }
    }

    fn surplus(&self) -> Broken {
        Broken::untrusted(self.with_complaint("the child answered more than it was asked"), MEND_ANSWERS)
    }

    fn broken(&self, reason: &str) -> Broken {
        Broken::new(self.with_complaint(reason))
    }

    fn with_complaint(&self, reason: &str) -> String {
        let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        let complaint = said(&complaint);
        if complaint.is_empty() {
            return reason.to_owned();
        }
        let words = complaint.to_lowercase();
        let is_refused = REFUSED_WORDS.iter().any(|word| words.contains(word));
        let hint = match self.folder {
            Some(_) if is_refused => MAY_BE_CONFINED,
            None if is_refused && durable_fs::is_confined() => SERVICE_IS_CONFINED,
            _ => "",
        };
        format!("{reason}; it said: {}{hint}", Quoted::new(complaint))
    }

    /// How the child ended by itself, if it did within a moment.
    fn end(&mut self) -> Option<ExitStatus> {
        let deadline = Instant::now() + END_WITHIN;
        while !self.has_ended() {
            if Instant::now() >= deadline {
                return None;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.reap()
    }

    /// Whether the child has ended. It is left unreaped: so long its process group cannot become that of a stranger.
    #[cfg(unix)]
    fn has_ended(&mut self) -> bool {
        use rustix::process::{WaitId, WaitIdOptions, waitid};
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let id = self.process.as_ref().and_then(|process| i32::try_from(process.id()).ok());
        let child = id.and_then(rustix::process::Pid::from_raw);
        child.is_some_and(|child| matches!(waitid(WaitId::Pid(child), options), Ok(Some(_))))
    }

    #[cfg(not(unix))]
    fn has_ended(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.try_wait().is_ok_and(|status| status.is_some()))
    }

    /// Kills the child, unless it has ended, and what it left behind in its process group.
    fn reap(&mut self) -> Option<ExitStatus> {
        let process = self.process.take()?;
        groups::remove(process.id());
        reaper::kill(process)
    }
}

impl Drop for Child {
    /// A child that is still at an answer is killed at once.
    fn drop(&mut self) {
        self.questions = None;
        self.reap();
    }
}

impl Child {
    /// Lets the child end by itself after its last answer, for it may have something to write down, and reads what it says to
    /// its end: only then it is sure that it answered no more than it was asked.
    pub(super) fn finish(mut self) -> Result<(), Broken> {
        self.questions = None;
        match self.answers.recv_timeout(self.timeout) {
            Ok(_) => return Err(self.surplus()),
            Err(RecvTimeoutError::Disconnected) => {}
            Err(RecvTimeoutError::Timeout) => {
                tracing::warn!("a child did not end when its input was closed and is killed");
            }
        }
        if !self.read.is_empty() {
            return Err(self.surplus());
        }
        self.end();
        Ok(())
    }
}

fn cannot_start(path: &Path, why: &NotStarted, is_confined: bool) -> Broken {
    let program = path.display();
    let error = match why {
        NotStarted::Refused(error) => error,
        NotStarted::CannotAllow(why) => {
            return Broken::cannot_start(format!("cannot start {program}: {why}"), MEND_ALLOWED);
        }
        NotStarted::Hangs(place) => {
            let place = escaped_path(place);
            let reason = format!("cannot start {program}: the file system of {place} does not answer");
            return Broken::hangs(reason, MEND_MOUNT);
        }
    };
    // One folder of it that this user may not search makes the system say so of the program.
    let is_name = path.components().nth(1).is_none();
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    if is_name && is_denied && !places_of(path).iter().any(|place| place.is_file()) {
        let reason = format!("cannot start {program}: no folder of PATH that this user may search has it");
        return Broken::cannot_start(reason, MEND_COMMAND);
    }
    let hint = match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::OutOfMemory => MEND_LIMITS,
        io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied if is_confined => MEND_CONFINED,
        _ => MEND_COMMAND,
    };
    Broken::cannot_start(format!("cannot start {program}: {error}"), hint)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Broken> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    spawned
        .map(|_| ())
        .map_err(|error| Broken::cannot_start(format!("cannot start a thread: {error}"), MEND_LIMITS))
}

fn write_questions(mut stdin: std::process::ChildStdin, asked: &Receiver<Vec<u8>>) {
    // A child that ended is told by its missing answers.
    while let Ok(questions) = asked.recv() {
        if stdin.write_all(&questions).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read_answers(mut stdout: std::process::ChildStdout, answered: &SyncSender<Vec<u8>>) {
    let mut block = vec![0; BLOCK_BYTES];
    while let Some(read) = read_some(&mut stdout, &mut block) {
        if answered.send(read.to_vec()).is_err() {
            return;
        }
    }
}

fn read_complaints(
    mut stderr: std::process::ChildStderr,
    complaint: &Mutex<Vec<u8>>,
    step: &str,
    job: JobId,
) {
    let mut block = vec![0; COMPLAINT_BYTES_MAX];
    let mut logged = 0;
    while let Some(read) = read_some(&mut stderr, &mut block) {
        if logged < COMPLAINTS_LOGGED_MAX {
            logged += 1;
            tracing::warn!(%job, step, said = %Quoted::new(said(read)), "the step's child complains");
        }
        let mut kept = complaint.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(read);
        let surplus = kept.len().saturating_sub(COMPLAINT_BYTES_MAX);
        kept.drain(..surplus);
    }
}

fn read_some<'b>(pipe: &mut impl Read, block: &'b mut [u8]) -> Option<&'b [u8]> {
    loop {
        match pipe.read(block) {
            Ok(0) => return None,
            Ok(read) => return block.get(..read),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
