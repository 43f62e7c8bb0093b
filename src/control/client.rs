//! Asking the running service.

use std::io::{self, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;

use super::protocol::{
    ADDRESS_BYTES_MAX, ADDRESS_FILE, ANSWER_BYTES_MAX, Address, Command, GREETING_BYTES_MAX, Greeting,
    LINES_BYTES, Line, PROTOCOL_VERSION, REQUEST_BYTES_MAX, Request, Session, Until, read_line,
};
use crate::durable_fs;
use crate::engine::{Act, Answers, Door, Found, JobFilter, Refusal, Sought};
use crate::model::audit::AuditEnd;
use crate::model::configuration::{ConfigurationState, KeptConfiguration, Reloaded};
use crate::model::expected::Overdue;
use crate::model::fault::{FaultKind, JobError};
use crate::model::file_known::FileKnown;
use crate::model::files_in_view::{FileWaiting, FilesInView};
use crate::model::halts::{Halting, Halts};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_line::JobLine;
use crate::model::notice::Notice;
use crate::model::os_text::OsText;
use crate::model::pace::{PaceSetting, PacesSet};
use crate::model::rule::Rule;
use crate::model::settling::{NumberedRecord, Settlement};
use crate::model::watch_counts::WatchCounts;
use crate::store::{Published, Verified};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Acts of one request: it must not be too long.
const ACTS_MAX: usize = 256;
/// A service greets, and says that it is the one, within this: it needs nothing from the disk.
const GREETING_TIMEOUT: Duration = Duration::from_secs(5);
/// A service that is asked by more than it answers at once is asked again for so long.
const BUSY_PATIENCE: Duration = Duration::from_secs(10);
const BUSY_PAUSE: Duration = Duration::from_millis(10);
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(200);
/// So often it is asked whether another service took the place of one that ended.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// A long list is read from the disk between two lines.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);

/// A running service on this data folder. Each question is a connection of its own.
#[derive(Debug)]
pub(crate) struct Client {
    data_dir: PathBuf,
    /// Another one once another service took its place.
    address: Mutex<Arc<Address>>,
}

impl Client {
    /// The service that has this data folder; none if none answers, or if this user may not ask it.
    pub(crate) fn connect(data_dir: &Path) -> Option<Self> {
        let address = Mutex::new(Arc::new(address_in(data_dir)?));
        let client = Self { data_dir: data_dir.to_owned(), address };
        // A killed service leaves its file behind, and its port may be another program's by now.
        client.greet().ok()?;
        Some(client)
    }

    /// Whether something says there where a service listens.
    pub(super) fn has_address(data_dir: &Path) -> bool {
        durable_fs::open_source(&data_dir.join(ADDRESS_FILE)).is_ok()
    }

    /// The data folder of the service.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Its process.
    #[cfg(unix)]
    pub(crate) fn pid(&self) -> u32 {
        self.address().pid
    }

    fn address(&self) -> Arc<Address> {
        Arc::clone(&self.address.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether another service says in the data folder that it is there, and answers.
    fn follow_address(&self) -> bool {
        let before = self.address();
        let Some(other) = address_in(&self.data_dir).filter(|other| other.token != before.token) else {
            return false;
        };
        let other = Self { data_dir: self.data_dir.clone(), address: Mutex::new(Arc::new(other)) };
        if other.greet().is_err() {
            return false; // of one that was killed, too
        }
        *self.address.lock().unwrap_or_else(PoisonError::into_inner) = other.address();
        true
    }

    /// Before anything is asked that a stranger should not read.
    fn greet(&self) -> io::Result<()> {
        let (stream, mut session) = self.ask(Command::Hello)?;
        let mut lines = BufReader::new(Until { stream: &stream, until: Instant::now() + GREETING_TIMEOUT });
        match session.read::<Line<()>>(&mut lines, GREETING_BYTES_MAX)? {
            Line::Item(()) => Ok(()),
            Line::Refused(refusal) => Err(io::Error::other(refusal)),
            Line::Items(_) | Line::End => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// A connection on which the service has greeted. One that answers as many as it can hangs up on others: they come again.
    fn greeted(&self) -> io::Result<(TcpStream, Greeting)> {
        let begun = Instant::now();
        let mut pause = BUSY_PAUSE;
        loop {
            match self.connected() {
                Err(error) if is_hung_up(&error) && begun.elapsed() + pause < BUSY_PATIENCE => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(BUSY_PAUSE_MAX);
                }
                // It was started again meanwhile. Nothing was asked yet.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused && self.follow_address() => {}
                other => return other,
            }
        }
    }

    fn connected(&self) -> io::Result<(TcpStream, Greeting)> {
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, self.address().port));
        let stream = TcpStream::connect_timeout(&at, CONNECT_TIMEOUT)?;
        stream.set_write_timeout(Some(CONNECT_TIMEOUT))?;
        let until = Instant::now() + GREETING_TIMEOUT;
        // Nothing follows the greeting before the request: the buffer that is dropped here holds nothing of the service's.
        let greeting = read_line(&mut BufReader::new(Until { stream: &stream, until }), GREETING_BYTES_MAX)?;
        Ok((stream, greeting))
    }

    fn answers<T: DeserializeOwned + 'static>(&self, command: Command) -> Answers<'_, T> {
        match self.ask(command) {
            Ok((stream, session)) => {
                let lines = Some((BufReader::with_capacity(LINES_BYTES, stream), session));
                Box::new(Lines { lines, items: Vec::new().into_iter() })
            }
            Err(error) => Box::new(std::iter::once(Err(broken(&error)))),
        }
    }

    fn one<T: DeserializeOwned + 'static>(&self, command: Command) -> Result<T, Refusal> {
        let nothing = || broken(&io::Error::new(io::ErrorKind::InvalidData, "the answer is empty"));
        self.answers(command).next().unwrap_or_else(|| Err(nothing()))
    }

    fn ask(&self, command: Command) -> io::Result<(TcpStream, Session)> {
        let (mut stream, greeting) = self.greeted()?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        let request = Request { version: PROTOCOL_VERSION, command };
        let session = Session::ask(&mut stream, &self.address().token, &greeting, &request)?;
        Ok((stream, session))
    }
}

/// Before a word was said.
fn is_hung_up(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    matches!(error.kind(), K::UnexpectedEof | K::ConnectionReset | K::ConnectionAborted | K::BrokenPipe)
}

impl Door for Client {
    fn list(&self, filter: &JobFilter) -> Answers<'_, Job> {
        self.answers(Command::List(filter.clone()))
    }

    fn lines(&self, filter: &JobFilter) -> Answers<'_, JobLine> {
        self.answers(Command::Lines(filter.clone()))
    }

    fn show(&self, job: &str) -> Result<Job, Refusal> {
        self.one(Command::Show { job: job.to_owned() })
    }

    fn rule_of(&self, job: &str) -> Result<Rule, Refusal> {
        self.one(Command::RuleOf { job: job.to_owned() })
    }

    fn find(&self, sought: &Sought) -> Answers<'_, Found> {
        self.answers(Command::Find(sought.clone()))
    }

    fn would(&self, act: &Act) -> Result<(), Refusal> {
        self.one(Command::Would { act: act.clone() })
    }

    fn act_for(&self, act: &Act, by: &str) -> Result<JobId, Refusal> {
        self.one(Command::Act { act: act.clone(), by: by.to_owned() })
    }

    fn act_all_for<'a>(&'a self, mut acts: Vec<Act>, by: &str) -> Answers<'a, Result<JobId, Refusal>> {
        let by = by.to_owned();
        let requests = std::iter::from_fn(move || {
            let rest = acts.split_off(acts.len().min(ACTS_MAX));
            let acts = std::mem::replace(&mut acts, rest);
            (!acts.is_empty()).then(|| Command::ActAll { acts, by: by.clone() })
        });
        // Behind an answer that broke off those of the next request would stand in the places of others.
        let mut is_broken = false;
        let answers = requests.flat_map(|request| self.answers(request));
        Box::new(answers.take_while(move |answer| !std::mem::replace(&mut is_broken, answer.is_err())))
    }

    fn halt_for(&self, halting: &Halting, by: &str) -> Result<bool, Refusal> {
        self.one(Command::Halt { halting: halting.clone(), by: by.to_owned() })
    }

    fn set_pace_for(&self, setting: &PaceSetting, by: &str) -> Result<bool, Refusal> {
        self.one(Command::SetPace { setting: setting.clone(), by: by.to_owned() })
    }

    fn paces(&self) -> Result<PacesSet, Refusal> {
        self.one(Command::Paces)
    }

    fn halts(&self) -> Result<Halts, Refusal> {
        self.one(Command::Halts)
    }

    /// From the moment on that the first notice came.
    fn subscribe(&self) -> Answers<'_, Notice> {
        let mut notices = self.answers(Command::Subscribe);
        Box::new(notices.next().into_iter().chain(notices))
    }

    fn records(&self, job: &str, all: bool) -> Answers<'_, NumberedRecord> {
        self.answers(Command::Records { job: job.to_owned(), all })
    }

    fn record(&self, job: &str, number: u64) -> Result<NumberedRecord, Refusal> {
        self.one(Command::Record { job: job.to_owned(), number })
    }

    fn settlements(&self, job: &str) -> Result<Vec<Settlement>, Refusal> {
        self.one(Command::Settlements { job: job.to_owned() })
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

    fn files_waiting(&self, files_max: Option<usize>) -> Answers<'_, FileWaiting> {
        self.answers(Command::FilesWaiting { files_max })
    }

    fn files_in_view(&self) -> Result<FilesInView, Refusal> {
        self.one(Command::FilesInView)
    }

    fn file_known(&self, path: &OsText) -> Result<FileKnown, Refusal> {
        self.one(Command::FileKnown { path: path.clone() })
    }

    fn check_store(&self) -> Answers<'_, Verified> {
        self.answers(Command::CheckStore)
    }

    fn is_service(&self) -> bool {
        true
    }

    fn reach_again(&self, within: Duration) -> bool {
        let begun = Instant::now();
        loop {
            if self.greet().is_ok() || self.follow_address() {
                return true;
            }
            if begun.elapsed() >= within {
                return false;
            }
            std::thread::sleep(RESTART_PAUSE.min(within));
        }
    }

    fn reload_for(&self, by: &str) -> Result<Reloaded, Refusal> {
        self.one(Command::Reload { by: by.to_owned() })
    }

    fn configuration(&self) -> Result<Option<ConfigurationState>, Refusal> {
        self.one(Command::Configuration)
    }

    fn note_reader(&self, reader: &str, jobs: &[JobId]) -> Result<(), Refusal> {
        self.one(Command::Reads { reader: reader.to_owned(), jobs: jobs.to_vec() })
    }

    fn watch_counts(&self) -> Result<Option<WatchCounts>, Refusal> {
        self.one(Command::WatchCounts)
    }

    fn overdue(&self) -> Result<Vec<Overdue>, Refusal> {
        self.one(Command::Overdue)
    }

    fn kept_configuration(&self) -> Result<KeptConfiguration, Refusal> {
        self.one(Command::KeptConfiguration)
    }

    fn audit_end(&self) -> Result<AuditEnd, Refusal> {
        self.one(Command::AuditEnd)
    }

    fn keys_needed(&self) -> Result<Vec<String>, Refusal> {
        self.one(Command::KeysNeeded)
    }
}

/// The lines of an answer, up to its end: one that breaks off is an error, never a shorter list.
struct Lines<T> {
    lines: Option<(BufReader<TcpStream>, Session)>,
    /// Of the line that was read last.
    items: std::vec::IntoIter<T>,
}

impl<T: DeserializeOwned> Iterator for Lines<T> {
    type Item = Result<T, Refusal>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.items.next() {
                return Some(Ok(item));
            }
            let (lines, session) = self.lines.as_mut()?;
            let refusal = match session.read(lines, ANSWER_BYTES_MAX) {
                Ok(Line::Items(items)) => {
                    self.items = items.into_iter();
                    continue;
                }
                Ok(Line::Item(item)) => return Some(Ok(item)),
                Ok(Line::End) => None,
                Ok(Line::Refused(refusal)) => Some(refusal),
                Err(error) => Some(broken(&error)),
            };
            self.lines = None;
            return refusal.map(Err);
        }
    }
}

fn address_in(data_dir: &Path) -> Option<Address> {
    let mut text = Vec::new();
    let file = durable_fs::open_source(&data_dir.join(ADDRESS_FILE)); // what is there may be a stranger's
    file.ok()?.take(ADDRESS_BYTES_MAX).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

fn broken(error: &io::Error) -> Refusal {
    use io::ErrorKind as E;
    if error.kind() == E::InvalidInput {
        return Refusal::Fault(JobError {
            kind: FaultKind::Input,
            message: format!(
                "more is asked at once than the running service takes ({REQUEST_BYTES_MAX} bytes)"
            ),
            hint: Some("ask for a part of it at a time; ranges like 1-5000 are short".into()),
        });
    }
    let has_ended = matches!(
        error.kind(),
        E::UnexpectedEof | E::ConnectionReset | E::ConnectionAborted | E::BrokenPipe | E::ConnectionRefused
    );
    let hint = if has_ended {
        "it was stopped, or ended: its log says why; jobs that it had go on at its next start"
    } else {
        "try again; after an update of landfall, restart the service first"
    };
    Refusal::Fault(JobError {
        kind: FaultKind::Transient,
        message: format!("the running service gives no whole answer: {error}"),
        hint: Some(hint.into()),
    })
}
