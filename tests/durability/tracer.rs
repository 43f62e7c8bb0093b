//! Runs the service under `ptrace` and stops it before every system call that changes the world's folders.
//!
//! A filter (`seccomp`) lets all other calls pass at full speed. Steps are taken one at a time, whichever thread they come from, so
//! that their order is known and "before step N" means one state of the disk.

use std::collections::{BTreeSet, VecDeque};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::disk::{Before, Disk};
use crate::fault::Fault;
use crate::syscall::{self, Call, Change};

/// What happens to the service while it runs.
#[derive(Default)]
pub struct Plan {
    /// Kill it before this step.
    pub kill_before: Option<usize>,
    /// Let calls fail from this step on.
    pub fault: Option<(usize, Fault)>,
    /// Follow what is durable; `taken` files vanish as they appear.
    pub disk: Option<Disk>,
    /// A consumer takes each file that appears here under a name that is not hidden, at once, and puts it there.
    pub consumer: Option<(PathBuf, PathBuf)>,
}

/// What was seen.
pub struct Seen {
    /// Each step, in order.
    pub steps: Vec<Call>,
    /// The calls that were not carried out, by a kill or an error.
    pub struck: Vec<Call>,
    pub disk: Option<Disk>,
    /// How the process ended by itself: its exit code.
    pub exit_code: Option<i32>,
}

/// A running process under the tracer.
pub struct Traced {
    process: Arc<AtomicI32>,
    tracer: Option<JoinHandle<Seen>>,
}

/// How long a fault lasts from its first failure.
const FAULT_LASTS: Duration = Duration::from_millis(250);

impl Traced {
    /// Starts the command; its changes in the `roots` are steps.
    pub fn start(command: Command, roots: Vec<PathBuf>, plan: Plan) -> Self {
        let process = Arc::new(AtomicI32::new(0));
        let id = Arc::clone(&process);
        let (started, when_started) = mpsc::sync_channel(1);
        let tracer = std::thread::spawn(move || {
            let mut tracer = Tracer::spawn(command, roots, plan, &id);
            started.send(()).expect("the test waits for it");
            tracer.follow();
            tracer.seen
        });
        when_started.recv().expect("the tracer has started");
        Self { process, tracer: Some(tracer) }
    }

    pub fn has_ended(&self) -> bool {
        self.tracer.as_ref().is_none_or(JoinHandle::is_finished)
    }

    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// What was seen, once the process has ended.
    pub fn ended(mut self) -> Seen {
        let tracer = self.tracer.take().expect("it is taken once");
        tracer.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn signal(&self, signal: Signal) {
        // It may have ended meanwhile.
        kill(Pid::from_raw(self.process.load(Ordering::Relaxed)), signal).ok();
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if let Some(tracer) = self.tracer.take() {
            self.signal(Signal::SIGKILL);
            drop(tracer.join());
        }
    }
}

struct Tracer {
    process: Pid,
    roots: Vec<PathBuf>,
    plan: Plan,
    seen: Seen,
    /// The step that is being carried out.
    in_hand: Option<InHand>,
    /// Threads that are stopped before theirs.
    waiting: VecDeque<Pid>,
    first_failure: Option<Instant>,
    faulty_folder: PathBuf,
}

struct InHand {
    thread: Pid,
    call: Call,
    before: Option<Before>,
}

impl Tracer {
    fn spawn(mut command: Command, roots: Vec<PathBuf>, mut plan: Plan, id: &AtomicI32) -> Self {
        let filter = filter();
        let enter = move || {
            ptrace::traceme()?;
            install(&filter)
        };
        #[allow(
            unsafe_code,
            reason = "a tracee must agree before it becomes the program; both calls are safe after fork"
        )]
        // SAFETY: the closure makes system calls only and allocates nothing.
        let child = unsafe { command.pre_exec(enter) }.spawn().expect("the binary runs");
        let process = Pid::from_raw(i32::try_from(child.id()).expect("a process id fits"));
        id.store(process.as_raw(), Ordering::Relaxed);
        // It is waited for here, thread by thread.
        drop(child);
        waitpid(process, Some(WaitPidFlag::__WALL)).expect("it stops when it becomes the program");
        let options = Options::PTRACE_O_TRACESECCOMP
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL
            | Options::PTRACE_O_TRACESYSGOOD;
        ptrace::setoptions(process, options).expect("it is stopped");
        ptrace::cont(process, None).expect("it is stopped");
        let disk = plan.disk.take();
        Self {
            process,
            roots,
            plan,
            seen: Seen { steps: Vec::new(), struck: Vec::new(), disk, exit_code: None },
            in_hand: None,
            waiting: VecDeque::new(),
            first_failure: None,
            faulty_folder: PathBuf::new(),
        }
    }

    /// Until the process and all that it started have ended.
    fn follow(&mut self) {
        let mine = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        while let Ok(status) = waitpid(Pid::from_raw(-1), Some(mine)) {
            match status {
                WaitStatus::PtraceEvent(thread, _, libc::PTRACE_EVENT_SECCOMP) => {
                    if self.in_hand.is_some() {
                        self.waiting.push_back(thread);
                    } else {
                        self.stopped_before(thread);
                    }
                }
                WaitStatus::PtraceSyscall(thread) => self.stopped_after(thread),
                // A new thread begins with such a stop; nobody else sends it.
                WaitStatus::PtraceEvent(thread, ..)
                | WaitStatus::Stopped(thread, Signal::SIGSTOP | Signal::SIGTRAP) => go_on(thread, None),
                WaitStatus::Stopped(thread, signal) => go_on(thread, Some(signal)),
                WaitStatus::Exited(thread, code) => {
                    if thread == self.process {
                        self.seen.exit_code = Some(code);
                    }
                    self.gone(thread);
                }
                WaitStatus::Signaled(thread, ..) => self.gone(thread),
                WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
            }
        }
    }

    fn stopped_before(&mut self, thread: Pid) {
        // A killed thread is still reported once.
        let Ok(registers) = ptrace::getregs(thread) else { return };
        let roots = &self.roots;
        let is_ours =
            |path: &Path| roots.iter().any(|root| path.starts_with(root)) && !path.ends_with("landfall.log");
        let Some(call) = syscall::read(thread, &registers, is_ours) else {
            go_on(thread, None);
            return;
        };
        if call.is_step() {
            self.seen.steps.push(call.clone());
        }
        if call.is_step() && self.plan.kill_before == Some(self.seen.steps.len() - 1) {
            self.seen.struck.push(call);
            self.kill_all(thread);
        } else if let Some(errno) = self.fails(&call) {
            self.seen.struck.push(call);
            refuse(thread, registers, errno);
        } else if call.is_step() {
            let before = self.seen.disk.as_mut().map(|disk| disk.before(thread, &call));
            self.in_hand = Some(InHand { thread, call, before });
            // A killed thread has nothing to go on with.
            ptrace::syscall(thread, None).ok();
        } else {
            go_on(thread, None);
        }
    }

    fn stopped_after(&mut self, thread: Pid) {
        let Ok(registers) = ptrace::getregs(thread) else { return };
        if let Some(done) = self.in_hand.take_if(|step| step.thread == thread) {
            // The last page of numbers is errors.
            if registers.rax < u64::MAX - 4095 {
                if let (Some(disk), Some(before)) = (&mut self.seen.disk, &done.before) {
                    disk.after(thread, &done.call, before, registers.rax);
                }
                self.consume(&done.call);
            }
        }
        go_on(thread, None);
        self.next();
    }

    fn gone(&mut self, thread: Pid) {
        self.in_hand.take_if(|step| step.thread == thread);
        self.waiting.retain(|waiting| *waiting != thread);
        self.next();
    }

    fn next(&mut self) {
        while self.in_hand.is_none()
            && let Some(thread) = self.waiting.pop_front()
        {
            self.stopped_before(thread);
        }
    }

    fn kill_all(&self, thread: Pid) {
        let mut processes = BTreeSet::from([self.process]);
        // What it has become of a shell's child, for one.
        let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
        let group = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
        processes.extend(group.map(Pid::from_raw));
        for process in processes {
            kill(process, Signal::SIGKILL).expect("it is ours");
        }
    }

    /// The error that this call returns instead of being carried out.
    fn fails(&mut self, call: &Call) -> Option<i32> {
        let (from, fault) = self.plan.fault.as_ref()?;
        let reached = self.seen.steps.len() > *from;
        let over = self.first_failure.is_some_and(|first| first.elapsed() > FAULT_LASTS);
        if !reached || over {
            return None;
        }
        if self.first_failure.is_none() {
            // Only what the fault can strike begins it.
            call.path.parent().unwrap_or(Path::new("/")).clone_into(&mut self.faulty_folder);
        }
        let is_first = self.first_failure.is_none();
        let errno = fault.strikes(call, &self.faulty_folder, is_first)?;
        self.first_failure.get_or_insert_with(Instant::now);
        Some(errno)
    }

    /// The consumer's part: takes a file away in the moment in which it appears.
    fn consume(&mut self, call: &Call) {
        let Some((from, to)) = &self.plan.consumer else { return };
        let (Change::Rename { to: appeared } | Change::Link { to: appeared }) = &call.change else { return };
        let name = appeared.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if appeared.parent() != Some(from) || name.starts_with('.') {
            return;
        }
        let mut taken = to.join(&name);
        // What comes twice must not hide behind its first.
        while taken.symlink_metadata().is_ok() {
            taken.as_mut_os_string().push("-again");
        }
        #[allow(clippy::disallowed_methods, reason = "the harness plays the consumer")]
        std::fs::rename(appeared, &taken).expect("a consumer can take it");
        let appeared = appeared.clone();
        if let Some(disk) = &mut self.seen.disk {
            disk.taken_away(&appeared);
        }
    }
}

fn go_on(thread: Pid, signal: Option<Signal>) {
    // A thread that was killed meanwhile cannot; it is reported as gone.
    ptrace::cont(thread, signal).ok();
}

/// Skips the call and lets it return an error.
fn refuse(thread: Pid, mut registers: user_regs_struct, errno: i32) {
    registers.orig_rax = u64::MAX;
    registers.rax = (-i64::from(errno)).cast_unsigned();
    if ptrace::setregs(thread, registers).is_ok() {
        go_on(thread, None);
    }
}

/// A filter program that stops at the watched calls and lets the others pass.
fn filter() -> Vec<libc::sock_filter> {
    let instruction = |code: u32, jt: usize, k: u32| libc::sock_filter {
        code: u16::try_from(code).expect("a code is short"),
        jt: u8::try_from(jt).expect("fewer calls than a jump can span"),
        jf: 0,
        k,
    };
    let count = syscall::WATCHED.len();
    // The call's number is the first word of what a filter is given.
    let mut program = vec![instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (index, number) in syscall::WATCHED.iter().enumerate() {
        let number = u32::try_from(*number).expect("a call's number is small");
        program.push(instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, count - index, number));
    }
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW));
    program.push(instruction(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_TRACE));
    program
}

#[allow(unsafe_code, reason = "nobody wraps prctl's filters without bringing much more")]
fn install(filter: &[libc::sock_filter]) -> std::io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).expect("a filter is short"),
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: the program lives until the call returns; the kernel copies it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
