//! The control API: what the commands ask and do, over HTTP, as JSON.
//!
//! ```text
//!  port, socket ──> server (connections, deadlines) ──> desk (who asks, what for) ──> a thread ──> Door
//!                                                         routes, acts, params: the table     │
//!                                                                <── pipe, piece by piece ────┘
//! ```
//!
//! # Invariants
//! - What may wait for a disk is done by a thread of its own, of which there are so many at most; nobody waits for one without a deadline.
//! - A reader that is slow is waited for by nobody but that thread, and not for long.
//! - The table of routes is the only one: the OpenAPI document is made of it, and parameters are checked by it.

mod acts;
mod dashboard;
mod desk;
mod events;
mod metrics;
mod openapi;
mod outputs;
mod params;
mod pipe;
mod problem;
mod routes;
mod server;
#[cfg(unix)]
mod socket;
mod tls;
mod token;
mod turns;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

pub(crate) use server::Server;
pub(crate) use tls::judge as judge_tls;

use crate::durable_fs::FsError;
use crate::model::fault::{Fault, FaultKind};
use crate::model::os_text::escaped_path;

/// The control API cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The port.
    #[error("the control API cannot listen on {address}")]
    Listen {
        /// As configured.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The socket.
    #[error("the control API cannot listen on {}", escaped_path(path))]
    Socket {
        /// Where it is to lie.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The thread that listens, or its runtime.
    #[error("no thread can be started for the control API")]
    Thread(#[source] io::Error),
    /// The token's file.
    #[error(transparent)]
    Token(FsError),
    /// It could be guessed.
    #[error("the token in {} is too short", escaped_path(path))]
    ShortToken {
        /// The file.
        path: PathBuf,
        /// Characters that it must have.
        least: usize,
    },
    /// What a client sends would never be the whole of it.
    #[error("the token in {} is too long", escaped_path(path))]
    LongToken {
        /// The file.
        path: PathBuf,
        /// Bytes that its file may have.
        most: u64,
    },
    /// A file of TLS.
    #[error("{} cannot be read as PEM: {detail}", escaped_path(path))]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// They are no pair, or not of a kind that is known.
    #[error("{} and {} cannot be used: {detail}", escaped_path(certificate), escaped_path(key))]
    Tls {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with its key.
        key: PathBuf,
        /// Why.
        detail: String,
    },
}

impl Fault for ApiError {
    fn kind(&self) -> FaultKind {
        FaultKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                "another program has the port: give `service.listen` another one, or \"\" for no control API".into()
            }
            Self::Listen { .. } => "give `service.listen` an address of this machine, or \"\" for no control API".into(),
            Self::Socket { .. } => {
                "its folder must be there and writable, its path shorter than 100 characters, `service.socket_group` \
                 a group that the service's user is in; `service.socket` says where it lies"
                    .into()
            }
            Self::Thread(_) => "raise the limit of processes (ulimit -u) for the service".into(),
            Self::Token(_) => "make it readable for the service's user, or remove it: the next start makes another".into(),
            Self::ShortToken { least, .. } => {
                format!("write {least} characters or more, or remove it: the next start makes another")
            }
            Self::LongToken { most, .. } => {
                format!("write {most} bytes at most, or remove it: the next start makes another")
            }
            Self::Pem { .. } => "`service.tls` names a certificate and its key, each a PEM file that the service can read".into(),
            Self::Tls { .. } => "give the certificate, with those above it, and the private key that belongs to it".into(),
        })
    }
}
