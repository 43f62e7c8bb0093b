//! The socket of systemd that the service is given (`NOTIFY_SOCKET`): a path, or an abstract name behind `@`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

#[derive(Debug)]
pub(super) struct Socket(UnixDatagram);

impl Socket {
    pub(super) fn of_environment() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty())?;
        Self::at(&name)
    }

    /// None, which is told: the service works as well without.
    pub(super) fn at(name: &OsStr) -> Option<Self> {
        let connected = || -> io::Result<UnixDatagram> {
            let socket = UnixDatagram::unbound()?;
            socket.set_nonblocking(true)?;
            socket.connect_addr(&address(name)?)?;
            Ok(socket)
        };
        connected()
            .inspect_err(|error| {
                tracing::warn!(%error, socket = %name.display(), "nobody can be told how the service is (NOTIFY_SOCKET)");
            })
            .ok()
            .map(Self)
    }

    pub(super) fn send(&self, text: &str) -> io::Result<()> {
        self.0.send(text.as_bytes()).map(drop)
    }
}

fn address(name: &OsStr) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = name.as_bytes().strip_prefix(b"@") {
        use std::os::linux::net::SocketAddrExt as _;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname(name)
}

/// Of the clock that systemd compares it with.
pub(super) fn monotonic_usec() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    seconds * 1_000_000 + nanoseconds / 1000
}
