//! What stands in for systemd, and is told how a service is.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::time::Duration;

use super::{DEADLINE, Service, World};

/// What stands in for systemd.
pub struct Systemd {
    path: PathBuf,
    socket: UnixDatagram,
    /// All that it was told.
    pub told: Vec<String>,
}

impl Systemd {
    /// Waits to be told.
    pub fn new(world: &World) -> Self {
        let path = world.path("notify");
        let socket = UnixDatagram::bind(&path).expect("binds");
        Self { path, socket, told: Vec::new() }
    }

    /// Starts a service that tells it how it is.
    pub fn start(&self, world: &World, watchdog_ms: u64, arguments: &str) -> Service {
        let binary = env!("CARGO_BIN_EXE_landfall");
        let script = format!(
            "NOTIFY_SOCKET={} WATCHDOG_USEC={} exec {binary} run {arguments}",
            self.path.display(),
            watchdog_ms * 1000
        );
        Service::start_by(world, &script)
    }

    /// The next that it is told; none: nothing within this time.
    pub fn next_within(&mut self, time: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(time)).expect("a socket");
        let mut bytes = [0; 4096];
        match self.socket.recv(&mut bytes) {
            Ok(length) => {
                let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
                self.told.push(text.clone());
                Some(text)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until it is told this; all that it was told before.
    #[track_caller]
    pub fn wait_for(&mut self, word: &str, service: &Service) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let Some(next) = self.next_within(DEADLINE) else {
                panic!("it was not told `{word}`, but {:?}\n{}", self.told, service.log());
            };
            if next.contains(word) {
                return before;
            }
            before.push(next);
        }
    }

    /// What it was told before.
    pub fn forget(&mut self) {
        while self.next_within(Duration::from_millis(1)).is_some() {}
    }
}
