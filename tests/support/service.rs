//! A running `landfall run`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{World, wait_until};

/// One that hangs as it starts is asked all the same after this.
const START_MAX: Duration = Duration::from_secs(10);

/// A service that was started, and of which nobody knows yet whether it answers.
pub(super) struct Starting {
    pid: u32,
    log: PathBuf,
    began: usize,
}

impl Starting {
    /// Until it watches, or has ended.
    pub(super) fn wait(&self) {
        let begun = Instant::now();
        while !watches(&self.log, self.began) && runs(self.pid) && begun.elapsed() < START_MAX {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether the log, behind what was in it before, says that the service watches: then it answers commands.
fn watches(log: &Path, began: usize) -> bool {
    let text = fs::read(log).unwrap_or_default();
    text.get(began..).is_some_and(|text| String::from_utf8_lossy(text).contains("watching"))
}

/// One that has ended is a zombie until its test has seen that.
fn runs(pid: u32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    state.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
}

/// The real service, killed when a test is done with it.
pub struct Service {
    child: Child,
    log: PathBuf,
    /// Bytes that earlier ones left in the log.
    began: usize,
}

impl Service {
    pub(super) fn start(world: &World) -> Self {
        let mut command = world.command();
        command.arg("run");
        Self::spawn(world, command)
    }

    /// As `nohup` does.
    pub(super) fn start_ignoring_hang_up(world: &World) -> Self {
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &format!("trap '' HUP; exec {} run", env!("CARGO_BIN_EXE_landfall"))]);
        command.current_dir(world.path("")).env_remove("RUST_LOG");
        Self::spawn(world, command)
    }

    /// By a line of bash, which ends with `exec`.
    pub fn start_by(world: &World, script: &str) -> Self {
        let mut command = std::process::Command::new("bash");
        command.args(["-c", script]).current_dir(world.path("")).env_remove("RUST_LOG");
        Self::spawn(world, command)
    }

    /// With at most so many open files.
    pub(super) fn start_with_open_files(world: &World, max: u32) -> Self {
        let mut command = std::process::Command::new("bash");
        let binary = env!("CARGO_BIN_EXE_landfall");
        command.args(["-c", &format!("ulimit -n {max}; exec {binary} run")]);
        command.current_dir(world.path("")).env_remove("RUST_LOG");
        Self::spawn(world, command)
    }

    /// In a user namespace of its own, whose limits touch nobody else.
    pub(super) fn start_with_limit(world: &World, limit: &str, max: u32) -> Self {
        let mut command = std::process::Command::new("unshare");
        let binary = env!("CARGO_BIN_EXE_landfall");
        let script = format!("echo {max} > /proc/sys/user/{limit} && exec {binary} run");
        command.args(["--map-root-user", "sh", "-c", &script]);
        command.current_dir(world.path("")).env_remove("RUST_LOG");
        Self::spawn(world, command)
    }

    /// Raises that of a service that was started so.
    #[track_caller]
    pub fn raise_limit(&self, limit: &str, max: u32) {
        let script = format!("echo {max} > /proc/sys/user/{limit}");
        let mut command = std::process::Command::new("nsenter");
        command.args(["--user", "--preserve-credentials", "--target", &self.id().to_string()]);
        assert!(command.args(["sh", "-c", &script]).status().expect("nsenter runs").success());
    }

    /// As another user, who must be able to enter the world's folder.
    pub(super) fn start_as(world: &World, user: u32) -> Self {
        let binary = world.copied_binary();
        let mut command = std::process::Command::new("setpriv");
        command.args([format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".into()]);
        command.arg(binary).arg("run").current_dir(world.path("")).env_remove("RUST_LOG");
        Self::spawn(world, command)
    }

    fn spawn(world: &World, mut command: std::process::Command) -> Self {
        let log = world.path("landfall.log");
        let stream = || File::options().create(true).append(true).open(&log).expect("the log can be opened");
        let began = fs::read(&log).map_or(0, |text| text.len());
        let child = command.stdout(stream()).stderr(stream()).spawn().expect("the binary runs");
        let starting = Starting { pid: child.id(), log: log.clone(), began };
        *world.starting.lock().unwrap_or_else(PoisonError::into_inner) = Some(starting);
        Self { child, log, began }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it and its forerunners in this world have logged.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for an answer while the service runs; a service that ends fails the test with its log.
    #[track_caller]
    pub fn wait_until<T>(&mut self, what: &str, answer: impl FnMut() -> Option<T>) -> T {
        self.wait_until_within(super::DEADLINE, what, answer)
    }

    /// The same of what takes longer.
    #[track_caller]
    pub fn wait_until_within<T>(
        &mut self,
        deadline: std::time::Duration,
        what: &str,
        mut answer: impl FnMut() -> Option<T>,
    ) -> T {
        let started = std::time::Instant::now();
        loop {
            if let Some(answer) = answer() {
                return answer;
            }
            if let Some(status) = self.exited() {
                panic!("the service ended ({status}) before: {what}\n{}", self.log());
            }
            assert!(started.elapsed() < deadline, "not in time: {what}\n{}", self.log());
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Waits for a file of the world to be there.
    #[track_caller]
    pub fn wait_for(&mut self, world: &World, name: &str) {
        self.wait_until(name, || world.has(name).then_some(()));
    }

    /// Until it watches: before that, a command that looks may have the store, and the service would not start.
    #[track_caller]
    pub fn wait_until_it_watches(&mut self) {
        let (log, began) = (self.log.clone(), self.began);
        self.wait_until("it watches", || watches(&log, began).then_some(()));
    }

    /// Waits for a word in the log.
    #[track_caller]
    pub fn wait_for_log(&mut self, word: &str) {
        let log = self.log.clone();
        self.wait_until(word, || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains(word)).then_some(())
        });
    }

    /// Waits until the log has a word so often. The log, where the word is not told once more.
    #[track_caller]
    pub fn wait_for_log_times(&mut self, word: &str, times: usize) -> String {
        let path = self.log.clone();
        let log = self.wait_until(word, || {
            fs::read_to_string(&path).ok().filter(|text| text.matches(word).count() >= times)
        });
        assert_eq!(log.matches(word).count(), times, "`{word}` in\n{log}");
        log
    }

    /// Waits until it ends by itself, with something to be done meanwhile.
    #[track_caller]
    pub fn wait_until_exit(&mut self, mut meanwhile: impl FnMut()) -> ExitStatus {
        wait_until("the service ends", || {
            meanwhile();
            self.exited()
        })
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Asks it to stop and waits for it; it must stop cleanly.
    #[track_caller]
    pub fn stop(mut self) {
        wait_until("it listens for SIGTERM", || {
            (self.catches(Signal::TERM) || self.exited().is_some()).then_some(())
        });
        self.signal(Signal::TERM);
        let status = wait_until("SIGTERM stops the service", || self.exited());
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Kills it without a word.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("it is our child");
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let id =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id is positive");
        kill_process(id, signal).expect("it is our child");
    }

    /// Whether a signal would not end it at once: a process that has just begun does not listen yet.
    fn catches(&self, signal: Signal) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap_or_default();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or_default();
        u64::from_str_radix(caught.trim(), 16).is_ok_and(|caught| caught >> (signal.as_raw() - 1) & 1 == 1)
    }

    /// Processor time it has used so far.
    #[cfg(target_os = "linux")]
    pub fn cpu_seconds(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it is running");
        // The command's name, in brackets, may hold spaces; user and system time are the 12th and 13th field after it.
        let after = stat.rsplit_once(')').expect("proc(5)").1;
        let ticks: f64 = after
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse::<f64>().expect("proc(5)"))
            .sum();
        ticks / 100.0
    }

    /// The most memory it has held at once, as the kernel knows it.
    #[cfg(target_os = "linux")]
    pub fn peak_memory_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("proc(5)");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("proc(5)");
        kilobytes << 10
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already; either way nothing is left to do.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
