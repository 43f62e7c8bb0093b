//! What the kernel is asked for a child: to end with us, and to be the first to go where memory runs out. Linux only; elsewhere a child
//! ends when it meets the end of its input.

#[cfg(target_os = "linux")]
pub use linux::{offer_first, share};

#[cfg(not(target_os = "linux"))]
pub use elsewhere::{offer_first, share};

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::unix::process::CommandExt as _;
    use std::process::Command;

    use rustix::io::Errno;
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    /// What outweighs everything else.
    const FIRST_TO_GO: &[u8] = b"1000";

    /// The child gets a `SIGTERM` when the thread that starts it ends: a worker's, so when the service ends, however it does. Until then
    /// one that reads its input has met its end, and may have something to write down.
    #[allow(unsafe_code, reason = "the child itself has to ask for the signal, between fork and exec")]
    pub fn share(command: &mut Command) {
        let parent = getpid();
        let ask = move || {
            set_parent_process_death_signal(Some(Signal::TERM))?;
            // It may have died before we asked.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from(Errno::SRCH)) }
        };
        // SAFETY: between fork and exec two system calls are made; no memory is allocated, and no lock is taken.
        unsafe { command.pre_exec(ask) };
    }

    /// Where memory runs out the kernel takes the child before the service: it costs an attempt of its slice and no more.
    pub fn offer_first(child: u32) {
        if let Err(error) = std::fs::write(format!("/proc/{child}/oom_score_adj"), FIRST_TO_GO) {
            tracing::debug!(child, %error, "the child is no more likely than the service to be ended where memory runs out");
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod elsewhere {
    /// Nothing is asked for.
    pub fn share(_: &mut std::process::Command) {}

    /// Nothing is asked for.
    pub fn offer_first(_: u32) {}
}
