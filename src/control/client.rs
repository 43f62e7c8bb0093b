//! Asking the running service.

use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::protocol::{
    ADDRESS_BYTES_MAX, ADDRESS_FILE, ANSWER_BYTES_MAX, Address, Command, Line, PROTOCOL_VERSION, Request,
    read_line, write_line,
};
use super::{Answers, FileWaiting, Handler, JobFilter, Refusal};
use crate::model::account::FailedRecord;
use crate::model::fault::{FaultKind, JobError};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::store::{Published, Verified};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A long list is read from the disk between two lines.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// A running service on this data folder. Each question is a connection of its own.
#[derive(Debug)]
pub struct Client {
    address: Address,
}

impl Client {
    /// The service that has this data folder; none if none answers, or if this user may not ask it.
    pub fn connect(data_dir: &Path) -> Option<Self> {
        let mut text = Vec::new();
        File::open(data_dir.join(ADDRESS_FILE)).ok()?.take(ADDRESS_BYTES_MAX).read_to_end(&mut text).ok()?;
        let client = Self { address: serde_json::from_slice(&text).ok()? };
        // A killed service leaves its file behind, and its port may be another program's by now.
        client.one::<()>(Command::Hello).ok()?;
        Some(client)
    }

    fn answers<T: DeserializeOwned + 'static>(&self, command: Command) -> Answers<'_, T> {
        match self.ask(command) {
            Ok(lines) => Box::new(Lines { lines: Some(lines), item: std::marker::PhantomData }),
            Err(error) => Box::new(std::iter::once(Err(broken(&error)))),
        }
    }

    fn one<T: DeserializeOwned + 'static>(&self, command: Command) -> Result<T, Refusal> {
        let nothing = || broken(&io::Error::new(io::ErrorKind::InvalidData, "the answer is empty"));
        self.answers(command).next().unwrap_or_else(|| Err(nothing()))
    }

    fn ask(&self, command: Command) -> io::Result<BufReader<TcpStream>> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, self.address.port));
        let mut stream = TcpStream::connect_timeout(&at, CONNECT_TIMEOUT)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.set_write_timeout(Some(CONNECT_TIMEOUT))?;
        let request = Request { version: PROTOCOL_VERSION, token: self.address.token.clone(), command };
        let mut line = Vec::new();
        write_line(&mut line, &request)?;
        io::Write::write_all(&mut stream, &line)?;
        Ok(BufReader::new(stream))
    }
}

impl Handler for Client {
    fn jobs(&self, filter: &JobFilter) -> Answers<'_, Job> {
        self.answers(Command::Jobs(filter.clone()))
    }

    fn files_waiting(&self) -> Answers<'_, FileWaiting> {
        self.answers(Command::FilesWaiting)
    }

    fn show(&self, job: &str) -> Result<Job, Refusal> {
        self.one(Command::Show { job: job.to_owned() })
    }

    fn records(&self, job: &str) -> Answers<'_, FailedRecord> {
        self.answers(Command::Records { job: job.to_owned() })
    }

    fn record(&self, job: &str, number: u64) -> Result<FailedRecord, Refusal> {
        self.one(Command::Record { job: job.to_owned(), number })
    }

    fn retry(&self, job: &str) -> Result<JobId, Refusal> {
        self.one(Command::Retry { job: job.to_owned() })
    }

    fn ingest(&self, path: &OsText, rule: &str, retire: bool) -> Result<JobId, Refusal> {
        self.one(Command::Ingest { path: path.clone(), rule: rule.to_owned(), retire })
    }

    fn published(
        &self,
        rule: &str,
        content_hash: Option<&str>,
        delivery_key: Option<&OsText>,
    ) -> Result<Published, Refusal> {
        self.one(Command::Published {
            rule: rule.to_owned(),
            content_hash: content_hash.map(str::to_owned),
            delivery_key: delivery_key.cloned(),
        })
    }

    fn check_store(&self) -> Answers<'_, Verified> {
        self.answers(Command::CheckStore)
    }
}

/// The lines of an answer, up to its end: one that breaks off is an error, never a shorter list.
struct Lines<T> {
    lines: Option<BufReader<TcpStream>>,
    item: std::marker::PhantomData<T>,
}

impl<T: DeserializeOwned> Iterator for Lines<T> {
    type Item = Result<T, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = read_line(self.lines.as_mut()?, ANSWER_BYTES_MAX);
        match line {
            Ok(Line::Item(item)) => return Some(Ok(item)),
            Ok(Line::End) => self.lines = None,
            Ok(Line::Refused(refusal)) => {
                self.lines = None;
                return Some(Err(refusal));
            }
            Err(error) => {
                self.lines = None;
                return Some(Err(broken(&error)));
            }
        }
        None
    }
}

fn broken(error: &io::Error) -> Refusal {
    Refusal::Fault(JobError {
        kind: FaultKind::Transient,
        message: format!("the running service gives no whole answer: {error}"),
        hint: Some("try again; after an update of landfall, restart the service first".into()),
    })
}
