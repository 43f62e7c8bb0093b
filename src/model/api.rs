//! `[service]`: the control API.

use core::net::SocketAddr;
use std::path::PathBuf;

/// Where it listens, and who may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// `listen`; the socket alone where only `socket` is said.
    pub listen: Listen,
    /// `tls`: without it only this machine is listened to.
    pub tls: Option<Tls>,
    /// `socket`: where it lies, absolute; in the data folder if nothing is said.
    pub socket: Option<PathBuf>,
    /// `socket_group`: who may use it besides the service's user.
    pub socket_group: Option<String>,
}

/// `service.listen`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// There is none.
    #[default]
    Off,
    /// The socket alone.
    Socket,
    /// A port too.
    Port(SocketAddr),
}

/// `service.tls`: PEM files, absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, with those above it.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
