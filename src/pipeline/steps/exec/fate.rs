//! What the kernel is asked for a child: to end with us, and to be the first to go where memory runs out. Linux only; elsewhere a child
//! ends when it meets the end of its input. And what it is denied: memory beyond a limit, a core dump, what lies outside of a fence, files that
//! we have open.
//!
//! The kernel's signal comes when the thread that started a child ends: a worker's end must not be that of a child which another worker is
//! talking to. So children are started by threads of their own: see [`super::starter`].

#[cfg(unix)]
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use crate::confinement::Fence;

#[cfg(target_os = "linux")]
pub(crate) use linux::start;

/// Starts a child, on Unix in a process group of its own; nothing else is asked for.
#[cfg(not(target_os = "linux"))]
pub(crate) fn start(command: &mut Command) -> std::io::Result<std::process::Child> {
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

/// The program is kept in from its begin.
#[cfg(unix)]
#[allow(unsafe_code, reason = "the child itself has to enter, between fork and exec")]
pub(super) fn keep_in(command: &mut Command, fence: Fence) {
    let mut fence = Some(fence);
    let enter = move || fence.take().map_or(Ok(()), Fence::enter);
    // SAFETY: between fork and exec two system calls are made; no memory is allocated, and no lock is taken.
    unsafe { command.pre_exec(enter) };
}

/// There is nothing to keep it in by.
#[cfg(not(unix))]
pub(super) fn keep_in(_: &mut Command, _: Fence) {}

/// The program gets no more memory than this (address space, of itself and of each that it starts), and leaves no core dump: what it is asked
/// would be in it.
#[cfg(unix)]
#[allow(unsafe_code, reason = "limits are those of a process: the child itself has to set them")]
pub(super) fn limit(command: &mut Command, memory_max: Option<u64>) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    // With 1 byte Linux starts no program for a dump, which with 0 it does; no file of it would be so short.
    let most = |wanted: u64, resource| {
        Some(getrlimit(resource).maximum.map_or(wanted, |maximum| maximum.min(wanted)))
    };
    let core = most(u64::from(cfg!(target_os = "linux")), Resource::Core);
    let memory = memory_max.map(|memory_max| most(memory_max, Resource::As));
    let set = move || {
        setrlimit(Resource::Core, Rlimit { current: core, maximum: core })?;
        if let Some(most) = memory {
            setrlimit(Resource::As, Rlimit { current: most, maximum: most })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec two system calls are made; no memory is allocated, and no lock is taken.
    unsafe { command.pre_exec(set) };
}

/// Windows writes dumps of a process only where somebody set that up for it.
#[cfg(not(unix))]
pub(super) fn limit(_: &mut Command, _: Option<u64>) {}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command};

    use rustix::io::Errno;
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal, setsid};

    /// What outweighs everything else.
    const FIRST_TO_GO: &[u8] = b"1000";

    /// Starts a child that gets a `SIGTERM` when this thread ends, and so when the service ends, however it does; and that the kernel takes
    /// before the service where memory runs out: it costs an attempt of its slice and no more. It leads a process group and a session.
    pub(crate) fn start(command: &mut Command) -> io::Result<Child> {
        share(command);
        let child = command.spawn()?;
        offer_first(child.id());
        Ok(child)
    }

    #[allow(unsafe_code, reason = "the child itself has to ask for the signal, between fork and exec")]
    fn share(command: &mut Command) {
        let parent = getpid();
        let ask = move || {
            // What whoever started us had open is not for it: keys may be among that. A kernel without this call passes it on.
            // SAFETY: the call reads no memory, and closes nothing before the program begins.
            unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
            // The terminal is of whoever started us: a program may not type into that.
            setsid()?;
            set_parent_process_death_signal(Some(Signal::TERM))?;
            // It may have died before we asked.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from(Errno::SRCH)) }
        };
        // SAFETY: between fork and exec four system calls are made; no memory is allocated, and no lock is taken.
        unsafe { command.pre_exec(ask) };
    }

    fn offer_first(child: u32) {
        if let Err(error) = std::fs::write(format!("/proc/{child}/oom_score_adj"), FIRST_TO_GO) {
            tracing::debug!(child, %error, "the child is no more likely than the service to be ended where memory runs out");
        }
    }
}
