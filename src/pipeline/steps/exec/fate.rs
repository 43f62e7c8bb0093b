//! What the kernel is asked for a child: to end with us, and to be the first to go where memory runs out. Linux only; elsewhere a child
//! ends when it meets the end of its input.

#[cfg(target_os = "linux")]
pub(super) use linux::start;

/// Starts a child; nothing is asked for.
#[cfg(not(target_os = "linux"))]
pub(super) fn start(mut command: std::process::Command) -> std::io::Result<std::process::Child> {
    command.spawn()
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, Command};
    use std::sync::mpsc::{SyncSender, sync_channel};
    use std::sync::{Mutex, PoisonError};

    use rustix::io::Errno;
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    /// What outweighs everything else.
    const FIRST_TO_GO: &[u8] = b"1000";

    type Order = (Command, SyncSender<io::Result<Child>>);

    /// The thread that starts children. The kernel's signal comes when the thread that started a child ends: a worker's end must not be
    /// that of a child which another worker is talking to, and this one ends with the process only.
    static STARTER: Mutex<Option<SyncSender<Order>>> = Mutex::new(None);

    /// Starts a child that gets a `SIGTERM` when the service ends, however it does, and that the kernel takes before the service where
    /// memory runs out: it costs an attempt of its slice and no more.
    pub(crate) fn start(mut command: Command) -> io::Result<Child> {
        share(&mut command);
        let (answer, answered) = sync_channel(1);
        let gone = || io::Error::other("the thread that starts children has ended");
        starter()?.send((command, answer)).map_err(|_| gone())?;
        let child = answered.recv().map_err(|_| gone())??;
        offer_first(child.id());
        Ok(child)
    }

    fn starter() -> io::Result<SyncSender<Order>> {
        let mut starter = STARTER.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(starter) = &*starter {
            return Ok(starter.clone());
        }
        let (orders, taken) = sync_channel::<Order>(1);
        let start_children = move || {
            while let Ok((mut command, answer)) = taken.recv() {
                // Whoever asked waits for it.
                answer.send(command.spawn()).ok();
            }
        };
        std::thread::Builder::new().name("exec-start".to_owned()).spawn(start_children)?;
        *starter = Some(orders.clone());
        Ok(orders)
    }

    #[allow(unsafe_code, reason = "the child itself has to ask for the signal, between fork and exec")]
    fn share(command: &mut Command) {
        let parent = getpid();
        let ask = move || {
            set_parent_process_death_signal(Some(Signal::TERM))?;
            // It may have died before we asked.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from(Errno::SRCH)) }
        };
        // SAFETY: between fork and exec two system calls are made; no memory is allocated, and no lock is taken.
        unsafe { command.pre_exec(ask) };
    }

    fn offer_first(child: u32) {
        if let Err(error) = std::fs::write(format!("/proc/{child}/oom_score_adj"), FIRST_TO_GO) {
            tracing::debug!(child, %error, "the child is no more likely than the service to be ended where memory runs out");
        }
    }
}
