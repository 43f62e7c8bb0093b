//! The lines that go over the wire, and what proves whose they are.
//!
//! The service greets with a nonce. A request is the asker's nonce, a proof and JSON; each line of the answer is a proof and JSON.
//! A proof is a keyed hash over the line and its place; its key comes from the token and both nonces. The token itself is
//! never sent: after a crash another user may have the port. No line is good on a second connection, nor in another place.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, BufRead, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use blake3::Hash;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::engine::{Act, JobFilter, Refusal, Sought};
use crate::model::halts::Halting;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::model::pace::PaceSetting;

/// Of the lines; another one is refused.
pub(super) const PROTOCOL_VERSION: u32 = 15;
/// In the data folder.
pub(super) const ADDRESS_FILE: &str = "control.json";
/// An address file is shorter.
pub(super) const ADDRESS_BYTES_MAX: u64 = 4096;
/// A greeting is shorter, and the answer to [`Command::Hello`]: what nobody has vouched for yet takes no memory.
pub(super) const GREETING_BYTES_MAX: u64 = 4096;
/// A request is shorter: a path that is not Unicode takes four characters for each of its 4096 bytes at most.
pub(super) const REQUEST_BYTES_MAX: u64 = 64 << 10;
/// Lines go and come so many bytes at a time: of many short ones each would cost a system call.
pub(super) const LINES_BYTES: usize = 64 << 10;
/// An item is shorter: a failed record keeps at most `record_max` bytes, and Base64 adds a third.
pub(super) const ANSWER_BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) pid: u32,
    pub(super) port: u16,
    pub(super) token: String,
}

/// The service's first line on a connection.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Greeting {
    pub(super) nonce: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) version: u32,
    #[serde(flatten)]
    pub(super) command: Command,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase")]
pub(super) enum Command {
    /// Whether this is the service that the address file speaks of.
    Hello,
    List(JobFilter),
    Lines(JobFilter),
    Show {
        job: String,
    },
    RuleOf {
        job: String,
    },
    Find(Sought),
    Would {
        act: Act,
    },
    Act {
        act: Act,
        by: String,
    },
    ActAll {
        acts: Vec<Act>,
        by: String,
    },
    Halt {
        halting: Halting,
        by: String,
    },
    Halts,
    SetPace {
        setting: PaceSetting,
        by: String,
    },
    Paces,
    Subscribe,
    Records {
        job: String,
        all: bool,
    },
    Record {
        job: String,
        number: u64,
    },
    Settlements {
        job: String,
    },
    Published {
        rule: String,
        content_hash: Option<String>,
        delivery_key: Option<OsText>,
    },
    FilesWaiting {
        files_max: Option<usize>,
    },
    FilesInView,
    FileKnown {
        path: OsText,
    },
    CheckStore,
    Reload {
        by: String,
    },
    Configuration,
    WatchCounts,
    Reads {
        reader: String,
        jobs: Vec<JobId>,
    },
    Overdue,
    KeptConfiguration,
    AuditEnd,
    KeysNeeded,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Line<T> {
    /// The one that was asked for.
    Item(T),
    /// Those of a list that come next: [`Items`] writes them.
    Items(Vec<T>),
    Refused(Refusal),
    End,
}

/// A line of several items, as they come: each with a line and a proof of its own would cost more than it does.
#[derive(Default)]
pub(super) struct Items {
    json: Vec<u8>,
}

/// A line of items that is so long is sent.
const ITEMS_BYTES: usize = 16 << 10;

impl Items {
    pub(super) fn add<T: Serialize>(&mut self, item: &T) -> io::Result<()> {
        let before: &[u8] = if self.json.is_empty() { b"{\"items\":[" } else { b"," };
        self.json.extend_from_slice(before);
        Ok(serde_json::to_writer(&mut self.json, item)?)
    }

    pub(super) fn are_many(&self) -> bool {
        self.json.len() >= ITEMS_BYTES
    }

    /// Sends them, if there are any.
    pub(super) fn send(&mut self, session: &mut Session, to: &mut impl Write) -> io::Result<()> {
        if self.json.is_empty() {
            return Ok(());
        }
        self.json.extend_from_slice(b"]}");
        session.write_json(to, &self.json)?;
        self.json.clear();
        Ok(())
    }
}

pub(super) fn write_line<T: Serialize>(to: &mut impl Write, line: &T) -> io::Result<()> {
    serde_json::to_writer(&mut *to, line)?;
    to.write_all(b"\n")
}

/// Reads one whole line; a longer one, or one that breaks off, is an error.
pub(super) fn read_line<T: DeserializeOwned>(from: &mut impl BufRead, bytes_max: u64) -> io::Result<T> {
    Ok(serde_json::from_slice(&whole_line(from, bytes_max)?)?)
}

fn whole_line(from: &mut impl BufRead, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    from.take(bytes_max).read_until(b'\n', &mut line)?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        Some(_) if line.len() as u64 + 1 >= bytes_max => {
            Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long"))
        }
        _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection ended")),
    }
}

/// A value that other users cannot guess and that comes once. The keys of std's hashers come from the operating system's
/// generator, on every platform: once for each thread, then they count on.
pub(crate) fn new_secret() -> Hash {
    let mut seed = blake3::Hasher::new();
    for round in 0..8u64 {
        let mut hasher = RandomState::new().build_hasher();
        hasher.write_u64(round);
        seed.update(&hasher.finish().to_le_bytes());
    }
    seed.finalize()
}

/// One connection between two that have the token: the request is line 0, the answer's lines count on from there.
#[derive(Debug)]
pub(super) struct Session {
    key: Hash,
    line: u64,
}

impl Session {
    fn new(token: &str, services: Hash, askers: Hash) -> Self {
        let mut nonces = blake3::Hasher::new_keyed(blake3::hash(token.as_bytes()).as_bytes());
        nonces.update(services.as_bytes()).update(askers.as_bytes());
        Self { key: nonces.finalize(), line: 0 }
    }

    /// The asker's end: sends the request, with a nonce of its own.
    pub(super) fn ask(
        to: &mut impl Write,
        token: &str,
        greeting: &Greeting,
        request: &Request,
    ) -> io::Result<Self> {
        let services = Hash::from_hex(&greeting.nonce).map_err(|_| no_proof())?;
        let askers = new_secret();
        let mut session = Self::new(token, services, askers);
        let mut line = askers.to_hex().as_bytes().to_vec();
        session.write(&mut line, request)?;
        if line.len() as u64 > REQUEST_BYTES_MAX {
            return Err(io::ErrorKind::InvalidInput.into()); // the service would hang up in the middle of it
        }
        to.write_all(&line)?;
        Ok(session)
    }

    /// The service's end: reads the request that answers its nonce.
    pub(super) fn asked<T: DeserializeOwned>(
        from: &mut impl BufRead,
        token: &str,
        services: Hash,
    ) -> io::Result<(Self, T)> {
        let line = whole_line(from, REQUEST_BYTES_MAX)?;
        let (askers, line) = leading_hash(&line)?;
        let mut session = Self::new(token, services, askers);
        let request = session.believe(line)?;
        Ok((session, request))
    }

    /// Writes a line and its proof.
    pub(super) fn write<T: Serialize>(&mut self, to: &mut impl Write, line: &T) -> io::Result<()> {
        self.write_json(to, &serde_json::to_vec(line)?)
    }

    /// At once, where `to` has a buffer or is one.
    fn write_json(&mut self, to: &mut impl Write, json: &[u8]) -> io::Result<()> {
        let proof = self.next_proof(json);
        to.write_all(proof.to_hex().as_bytes())?;
        to.write_all(json)?;
        to.write_all(b"\n")
    }

    /// Reads the next line if the other end has the token.
    pub(super) fn read<T: DeserializeOwned>(
        &mut self,
        from: &mut impl BufRead,
        bytes_max: u64,
    ) -> io::Result<T> {
        self.believe(&whole_line(from, bytes_max)?)
    }

    fn believe<T: DeserializeOwned>(&mut self, line: &[u8]) -> io::Result<T> {
        let (proof, json) = leading_hash(line)?;
        // Hashes are compared in constant time.
        if proof != self.next_proof(json) {
            return Err(no_proof());
        }
        Ok(serde_json::from_slice(json)?)
    }

    fn next_proof(&mut self, json: &[u8]) -> Hash {
        let mut proof = blake3::Hasher::new_keyed(self.key.as_bytes());
        proof.update(&self.line.to_le_bytes()).update(json);
        self.line += 1;
        proof.finalize()
    }
}

const HASH_DIGITS: usize = 2 * blake3::OUT_LEN;

fn leading_hash(line: &[u8]) -> io::Result<(Hash, &[u8])> {
    let (digits, rest) = line.split_at_checked(HASH_DIGITS).ok_or_else(no_proof)?;
    Ok((Hash::from_hex(digits).map_err(|_| no_proof())?, rest))
}

fn no_proof() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "another program answers at its port")
}

/// A stream that is read until a moment, however slowly the bytes come.
pub(super) struct Until<'a> {
    pub(super) stream: &'a TcpStream,
    pub(super) until: Instant,
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}
