//! Who started the service and watches over it, and is told how it is: systemd, by the protocol of `sd_notify(3)`, or the service control
//! manager of Windows, for which `manager` takes the same words.
//!
//! ```text
//!  start ──> STATUS, EXTEND_TIMEOUT_USEC … ──> READY=1 ──> STATUS, WATCHDOG=1 … ──> STOPPING=1
//!                                                ^  └── RELOADING=1 ──┐
//!                                                └────────────────────┘
//! ```
//!
//! - The socket is opened when this is made: before the service confines itself, and once.
//! - Nothing here waits. What the supervisor does not take at once is lost; it is told how the service is again and again.
//! - Nobody is told of a reload before the service is ready: the end of one is told by the words for "ready".
//!
//! Nothing here knows the service, or judges whether it gets on: see `proof` for what counts as proof, and `service::life` for who
//! looks. Where nobody asks to be told all of this does nothing.

#[cfg(any(windows, test))]
#[cfg_attr(not(windows), allow(dead_code, reason = "it is tested everywhere"))]
pub(crate) mod manager;
pub(crate) mod proof;
#[cfg(unix)]
mod socket;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

#[cfg(windows)]
use manager as socket;
use socket::Socket;

/// What it is told of a service's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Starting,
    Ready,
    Reloading,
    Stopping,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Supervisor {
    socket: Option<Socket>,
    /// Within which it wants to be told that the service lives.
    watchdog: Option<Duration>,
    told: Mutex<Told>,
}

/// Locked while something is told, so that all is told in order.
#[derive(Clone, Debug)]
struct Told {
    phase: Phase,
    status: String,
}

impl Supervisor {
    /// The one that the environment names.
    pub(crate) fn of_environment() -> Self {
        let watchdog = std::env::var("WATCHDOG_USEC").ok();
        let pid = std::env::var("WATCHDOG_PID").ok();
        let watchdog = watchdog.and_then(|time| asked_for(&time, pid.as_deref(), std::process::id()));
        Self::over(Socket::of_environment(), watchdog)
    }

    fn over(socket: Option<Socket>, watchdog: Option<Duration>) -> Self {
        let told = Told { phase: Phase::Starting, status: String::new() };
        let watchdog = watchdog.filter(|_| socket.is_some());
        Self { socket, watchdog, told: Mutex::new(told) }
    }

    /// Whether anybody is told anything.
    pub(crate) fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Within which it wants to be told that the service lives, if it does.
    pub(crate) fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// The service takes files from now on.
    pub(crate) fn ready(&self) {
        self.tell_if(|told| (told.phase == Phase::Starting).then_some((Phase::Ready, "READY=1".to_owned())));
    }

    /// The configuration is read anew.
    pub(crate) fn reloading(&self) {
        self.tell_if(|told| {
            let text = || format!("RELOADING=1\nMONOTONIC_USEC={}", socket::monotonic_usec());
            (told.phase == Phase::Ready).then(|| (Phase::Reloading, text()))
        });
    }

    /// It was, or was refused.
    pub(crate) fn reloaded(&self) {
        self.tell_if(|told| (told.phase == Phase::Reloading).then_some((Phase::Ready, "READY=1".to_owned())));
    }

    /// The service stops.
    pub(crate) fn stopping(&self) {
        self.tell_if(|told| {
            let text = "STOPPING=1\nSTATUS=stopping".to_owned();
            (told.phase != Phase::Stopping).then_some((Phase::Stopping, text))
        });
    }

    /// How the service is, in a line; what was told last is not told again.
    pub(crate) fn status(&self, text: &str) {
        self.tell_if(|told| {
            let is_news = told.phase != Phase::Stopping && told.status != text;
            is_news.then(|| {
                text.clone_into(&mut told.status);
                // A line of its own is another word of the protocol.
                (told.phase, format!("STATUS={}", text.replace('\n', " ")))
            })
        });
    }

    /// The service gets on.
    pub(crate) fn lives(&self) {
        self.tell_if(|told| Some((told.phase, "WATCHDOG=1".to_owned())));
    }

    /// What is under way takes up to so long from now on.
    pub(crate) fn takes(&self, time: Duration) {
        self.tell_if(|told| Some((told.phase, format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()))));
    }

    fn tell_if(&self, news: impl FnOnce(&mut Told) -> Option<(Phase, String)>) {
        let Some(socket) = &self.socket else { return };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = told.clone();
        if let Some((phase, text)) = news(&mut told) {
            match socket.send(&text) {
                Ok(()) => told.phase = phase,
                // Its queue is full, or it is gone: what is not told is told again.
                Err(error) => {
                    tracing::debug!(%error, text, "the supervisor was not told");
                    *told = before;
                }
            }
        }
    }
}

/// The time that a watchdog gives this process; one of another process is for that.
fn asked_for(time: &str, process: Option<&str>, own: u32) -> Option<Duration> {
    if process.is_some_and(|process| process.parse() != Ok(own)) {
        return None;
    }
    time.parse().ok().filter(|time| *time > 0).map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watchdog_is_for_the_process_that_it_names_or_for_all() {
        let asked = |process| asked_for("2000000", process, 7);
        assert_eq!(asked(None), Some(Duration::from_secs(2)));
        assert_eq!(asked(Some("7")), Some(Duration::from_secs(2)));
        assert_eq!(asked(Some("8")), None);
        assert_eq!([asked_for("0", None, 7), asked_for("soon", None, 7)], [None, None]);
    }

    #[test]
    fn where_nobody_asks_to_be_told_nothing_happens() {
        let nobody = Supervisor::over(None, Some(Duration::from_secs(1)));
        nobody.ready();
        nobody.status("idle");
        assert_eq!((nobody.is_there(), nobody.watchdog()), (false, None));
    }

    #[cfg(unix)]
    mod over_a_socket {
        use std::os::unix::net::UnixDatagram;

        use super::*;

        fn heard(socket: &UnixDatagram) -> Vec<String> {
            let mut bytes = [0; 4096];
            socket.set_nonblocking(true).expect("a socket");
            let next = || {
                let length = socket.recv(&mut bytes).ok()?;
                Some(String::from_utf8_lossy(&bytes[..length]).into_owned())
            };
            std::iter::from_fn(next).collect()
        }

        fn world() -> (tempfile::TempDir, UnixDatagram, Supervisor) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("notify");
            let socket = UnixDatagram::bind(&path).expect("binds");
            let supervisor = Supervisor::over(Socket::at(path.as_os_str()), None);
            (folder, socket, supervisor)
        }

        #[test]
        fn each_part_of_a_life_is_told_once_and_a_reload_only_of_what_is_ready() {
            let (_folder, socket, supervisor) = world();
            supervisor.reloading();
            supervisor.reloaded();
            assert!(heard(&socket).is_empty(), "it is not ready yet");
            supervisor.ready();
            supervisor.ready();
            supervisor.reloading();
            supervisor.reloaded();
            supervisor.reloaded();
            supervisor.stopping();
            supervisor.stopping();
            supervisor.status("idle");
            let told = heard(&socket);
            let words: Vec<_> = told.iter().map(|text| text.split('\n').next().unwrap_or_default()).collect();
            assert_eq!(words, ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]);
            let time = told[1].split_once("MONOTONIC_USEC=").and_then(|(_, time)| time.parse::<u64>().ok());
            assert!(time.is_some_and(|time| time > 0), "{told:?}");
        }

        #[test]
        fn a_status_is_one_line_and_told_when_it_is_another() {
            let (_folder, socket, supervisor) = world();
            supervisor.status("one\nREADY=1");
            supervisor.status("one\nREADY=1");
            supervisor.status("two");
            assert_eq!(heard(&socket), ["STATUS=one READY=1", "STATUS=two"]);
        }

        #[test]
        fn a_supervisor_that_takes_nothing_more_holds_up_nobody() {
            let (_folder, socket, supervisor) = world();
            for _ in 0..10_000 {
                supervisor.lives();
            }
            assert!(!heard(&socket).is_empty());
        }
    }
}
