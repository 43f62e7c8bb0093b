//! A sign that whoever left its name in a folder still runs, for other processes of this machine.

use std::io;

use super::platform;

/// A name that this process has for itself until this is dropped or the process ends. It is no file, so that it keeps no file system from
/// being unmounted.
#[derive(Debug)]
pub(crate) struct RunningSign {
    name: String,
    _holds: Name,
}

impl RunningSign {
    /// None where the system has no such names, or this process may not have one.
    pub(crate) fn new() -> Option<Self> {
        use std::hash::{BuildHasher as _, RandomState};
        // Seeded by the operating system.
        let number = RandomState::new().hash_one(std::process::id());
        let name = format!("landfall-{number:016x}-{}", std::process::id());
        let holds = take(&name).ok()?;
        Some(Self { name, _holds: holds })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether somebody on this machine has this name now. Where there is no descriptor to ask by, somebody may.
    pub(super) fn is_shown(name: &str) -> bool {
        match take(name) {
            Ok(_) => false,
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => true,
            // A sandbox may allow this process no such names; it may still look at them.
            Err(error) => platform::is_out_of_descriptors(&error) || is_listed(name),
        }
    }
}

/// Whether the system lists the name: behind an `@`, at the end of a line; names of others are any bytes. Where the list cannot be read,
/// somebody may have it: a start that is refused says by whom, and two services at one folder would not.
fn is_listed(name: &str) -> bool {
    let Ok(table) = std::fs::read("/proc/net/unix") else { return cfg!(target_os = "linux") };
    table.split(|byte| *byte == b'\n').any(|line| {
        let listed = line.iter().position(|byte| *byte == b'@').and_then(|at| line.get(at + 1..));
        listed == Some(name.as_bytes())
    })
}

/// A socket that nobody talks to, with an abstract name (`unix(7)`).
#[cfg(target_os = "linux")]
type Name = std::os::unix::net::UnixDatagram;

#[cfg(target_os = "linux")]
fn take(name: &str) -> io::Result<Name> {
    use std::os::linux::net::SocketAddrExt as _;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(not(target_os = "linux"))]
type Name = ();

#[cfg(not(target_os = "linux"))]
fn take(_: &str) -> io::Result<Name> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_sign_is_shown_until_it_is_dropped_and_each_has_a_name_of_its_own() {
        let signs = [RunningSign::new().expect("a sign"), RunningSign::new().expect("another")];
        let names = signs.each_ref().map(|sign| sign.name().to_owned());
        assert!(names[0] != names[1] && names.iter().all(|name| RunningSign::is_shown(name)));
        let mut stranger = names[0].as_bytes().to_owned();
        stranger.extend(b"-\xFF"); // no UTF-8
        let stranger = {
            use std::os::linux::net::SocketAddrExt as _;
            use std::os::unix::net::{SocketAddr, UnixDatagram};
            UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(stranger).expect("a name"))
        };
        assert!(names.iter().all(|name| is_listed(name)));
        drop(stranger.expect("is free"));
        drop(signs);
        assert!(!names.iter().any(|name| is_listed(name)));
        assert!(!names.iter().any(|name| RunningSign::is_shown(name)));
    }
}
