//! The lines that go over the wire.

use std::io::{self, BufRead, Read as _, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{JobFilter, Refusal};
use crate::model::os_text::OsText;

/// Of the lines; another one is refused.
pub(super) const PROTOCOL_VERSION: u32 = 1;
/// In the data folder.
pub(super) const ADDRESS_FILE: &str = "control.json";
/// An address file is shorter.
pub(super) const ADDRESS_BYTES_MAX: u64 = 4096;
/// A request is shorter: a path that is not Unicode takes four characters for each of its 4096 bytes at most.
pub(super) const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// An item is shorter: a failed record keeps at most `record_max` bytes, and Base64 adds a third.
pub(super) const ANSWER_BYTES_MAX: u64 = 256 << 20;

/// Where the service listens.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) pid: u32,
    pub(super) port: u16,
    pub(super) token: String,
}

/// One request.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) version: u32,
    pub(super) token: String,
    #[serde(flatten)]
    pub(super) command: Command,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub(super) enum Command {
    /// Whether this is the service that the address file speaks of.
    Hello,
    Jobs(JobFilter),
    FilesWaiting,
    Show {
        job: String,
    },
    Records {
        job: String,
    },
    Record {
        job: String,
        number: u64,
    },
    Retry {
        job: String,
    },
    Ingest {
        path: OsText,
        rule: String,
        retire: bool,
    },
    Published {
        rule: String,
        content_hash: Option<String>,
        delivery_key: Option<OsText>,
    },
    CheckStore,
}

/// One line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line<T> {
    Item(T),
    Refused(Refusal),
    End,
}

pub(super) fn write_line<T: Serialize>(to: &mut impl Write, line: &T) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

/// Reads one whole line; a longer one, or one that breaks off, is an error.
pub(super) fn read_line<T: DeserializeOwned>(from: &mut impl BufRead, bytes_max: u64) -> io::Result<T> {
    let mut line = Vec::new();
    from.take(bytes_max).read_until(b'\n', &mut line)?;
    if line.last() != Some(&b'\n') {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the line breaks off or is too long"));
    }
    Ok(serde_json::from_slice(&line)?)
}
