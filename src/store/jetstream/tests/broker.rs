//! A broker of a test's own.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::model::cluster::Cluster;

const STARTS_WITHIN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// One `nats-server`, which ends with it.
pub(in crate::store) struct Broker {
    process: Child,
    folder: TempDir,
    port: u16,
}

/// The program, where it is installed.
fn program() -> std::ffi::OsString {
    std::env::var_os("NATS_SERVER").unwrap_or_else(|| "nats-server".into())
}

impl Broker {
    /// None where the program is not installed; `tests/run` installs it.
    pub(in crate::store) fn start() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let Some(process) = started(&folder, port) else {
            println!("SKIPPED: there is no nats-server on this machine");
            return None;
        };
        Some(Self { process, folder, port })
    }

    /// Killed, and started again on the same files.
    pub(in crate::store) fn restart(&mut self) {
        self.kill();
        self.process = started(&self.folder, self.port).expect("it started before");
    }

    pub(in crate::store) fn kill(&mut self) {
        self.process.kill().expect("is ours");
        self.process.wait().expect("ends");
    }

    pub(in crate::store) fn cluster(&self, node: &str) -> Cluster {
        Cluster {
            servers: vec![format!("nats://127.0.0.1:{}", self.port)],
            name: "test".to_owned(),
            node: node.to_owned(),
            credentials: None,
            ca: None,
            certificate: None,
            replicas: 1,
            lease: Duration::from_secs(1),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn started(folder: &TempDir, port: u16) -> Option<Child> {
    let mut command = Command::new(program());
    command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(folder.path());
    let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < STARTS_WITHIN, "the broker does not listen");
        std::thread::sleep(LOOK_EVERY);
    }
    Some(process)
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    listener.local_addr().expect("has one").port()
}
