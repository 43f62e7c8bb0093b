//! The service's end.

use std::io::{self, BufReader, BufWriter, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::address::AddressFile;
use super::protocol::{
    Address, Command, Greeting, Items, LINES_BYTES, Line, PROTOCOL_VERSION, Request, Session, Until,
    new_secret, write_line,
};
use crate::durable_fs::FsError;
use crate::engine::{Answers, Door, Refusal};
use crate::model::fault::{Fault, FaultKind, JobError};

/// Questions answered at once; further ones are turned away.
const CONNECTIONS_MAX: usize = 16;
/// A request is there within this after the connection.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// A reader that takes nothing for so long is given up.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a stop waits for those who answer: they are cut off.
const LAST_ANSWERS_TAKE: Duration = Duration::from_millis(500);
const LAST_ANSWERS_PAUSE: Duration = Duration::from_millis(2);
/// After an accept that failed (no descriptors left) it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The service cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The port or the thread.
    #[error("cannot listen for commands on 127.0.0.1")]
    Listen(#[source] io::Error),
    /// The file that tells commands where.
    #[error(transparent)]
    AddressFile(#[from] FsError),
}

impl Fault for ControlError {
    fn kind(&self) -> FaultKind {
        FaultKind::Storage
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Listen(_) => None,
            Self::AddressFile(_) => Some(
                "make the data folder writable for the service, with room on its disk, then start it again"
                    .to_owned(),
            ),
        }
    }
}

/// Answers commands until it is stopped or dropped.
pub(crate) struct Server {
    address: Arc<AddressFile>,
    port: u16,
    stopping: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens, and says where in `control.json` of the data folder.
    pub(crate) fn start(data_dir: &Path, door: Arc<dyn Door>) -> Result<Self, ControlError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(ControlError::Listen)?;
        let port = listener.local_addr().map_err(ControlError::Listen)?.port();
        let address = Address { pid: std::process::id(), port, token: new_secret().to_hex().to_string() };
        let stopping = Arc::new(AtomicBool::new(false));
        let desk = Arc::new(Desk { token: address.token.clone(), door, stopping: Arc::clone(&stopping) });
        let listening = Builder::new()
            .name("control".into())
            .spawn(move || listen(&listener, &desk))
            .map_err(ControlError::Listen)?;
        // Made before the file is written: its drop stops the thread if that fails.
        let address = Arc::new(AddressFile::new(data_dir, &address));
        let server = Self { address, port, stopping, listening: Some(listening) };
        server.address.post()?;
        Ok(server)
    }

    /// For whoever sees now and then that it is there.
    pub(crate) fn address(&self) -> Arc<AddressFile> {
        Arc::clone(&self.address)
    }

    /// Stops answering and removes `control.json`. Questions that are being answered are cut off.
    pub(crate) fn stop(mut self) -> Result<(), ControlError> {
        self.stop_threads();
        Ok(self.address.withdraw()?)
    }

    fn stop_threads(&mut self) {
        self.stopping.store(true, Ordering::Release);
        // The listener waits for a connection: it gets one.
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        drop(TcpStream::connect_timeout(&at, REQUEST_TIMEOUT));
        if let Some(listening) = self.listening.take() {
            // A panic in there was told by the panic hook.
            listening.join().ok();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.listening.is_some() {
            self.stop_threads();
            // A file that stays is of no harm: nobody answers under its token.
            self.address.withdraw().ok();
        }
    }
}

/// What every connection shares.
struct Desk {
    token: String,
    door: Arc<dyn Door>,
    stopping: Arc<AtomicBool>,
}

fn listen(listener: &TcpListener, desk: &Arc<Desk>) {
    let mut open: Vec<(TcpStream, JoinHandle<()>)> = Vec::new();
    while !desk.stopping.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, _)) => {
                open.retain(|(_, thread)| !thread.is_finished());
                if open.len() < CONNECTIONS_MAX {
                    open.extend(answer_apart(stream, desk));
                }
            }
            Err(_) => std::thread::sleep(ACCEPT_PAUSE),
        }
    }
    for (stream, _) in &open {
        stream.shutdown(std::net::Shutdown::Both).ok(); // gone already is fine
    }
    // One may be in a file system that hangs, and is left behind.
    let until = Instant::now() + LAST_ANSWERS_TAKE;
    while open.iter().any(|(_, thread)| !thread.is_finished()) && Instant::now() < until {
        std::thread::sleep(LAST_ANSWERS_PAUSE);
    }
}

fn answer_apart(stream: TcpStream, desk: &Arc<Desk>) -> Option<(TcpStream, JoinHandle<()>)> {
    let ours = stream.try_clone().ok()?;
    let desk = Arc::clone(desk);
    let thread = Builder::new().name("control-answer".into()).spawn(move || {
        // Who asked sees a broken answer as one; there is nobody else to tell.
        desk.answer(&stream).ok();
        // The listener keeps a handle, so that a drop alone would leave the asker waiting.
        stream.shutdown(std::net::Shutdown::Both).ok();
    });
    Some((ours, thread.ok()?))
}

impl Desk {
    fn answer(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_write_timeout(Some(WRITE_TIMEOUT))?;
        let until = Instant::now() + REQUEST_TIMEOUT;
        let nonce = new_secret();
        let mut greeting = Vec::new();
        write_line(&mut greeting, &Greeting { nonce: nonce.to_hex().to_string() })?;
        (&mut &*stream).write_all(&greeting)?;
        // A stranger learns nothing else.
        let mut from = BufReader::new(Until { stream, until });
        let (session, request) = Session::asked::<Request>(&mut from, &self.token, nonce)?;
        let to = BufWriter::with_capacity(LINES_BYTES, stream);
        let mut reply = Reply { to, session, items: Items::default(), at_once: false };
        if request.version == PROTOCOL_VERSION {
            self.carry_out(request.command, &mut reply)?;
        } else {
            reply.refuse(other_version())?;
        }
        reply.to.flush()
    }

    fn carry_out(&self, command: Command, reply: &mut Reply<impl Write>) -> io::Result<()> {
        match command {
            Command::Hello => reply.one(Ok(())),
            Command::List(filter) => self.all(reply, self.door.list(&filter)),
            Command::Lines(filter) => self.all(reply, self.door.lines(&filter)),
            Command::Show { job } => reply.one(self.door.show(&job)),
            Command::RuleOf { job } => reply.one(self.door.rule_of(&job)),
            Command::Find(sought) => self.all(reply, self.door.find(&sought)),
            Command::Would { act } => reply.one(self.door.would(&act)),
            Command::Act { act, by } => reply.one(self.door.act_for(&act, &by)),
            Command::ActAll { acts, by } => {
                reply.at_once = true;
                self.all(reply, self.door.act_all_for(acts, &by))
            }
            Command::Halt { halting, by } => reply.one(self.door.halt_for(&halting, &by)),
            Command::SetPace { setting, by } => reply.one(self.door.set_pace_for(&setting, &by)),
            Command::Paces => reply.one(self.door.paces()),
            Command::Halts => reply.one(self.door.halts()),
            Command::Subscribe => {
                reply.at_once = true;
                self.all(reply, self.door.subscribe())
            }
            Command::Records { job, all } => self.all(reply, self.door.records(&job, all)),
            Command::Record { job, number } => reply.one(self.door.record(&job, number)),
            Command::Settlements { job } => reply.one(self.door.settlements(&job)),
            Command::Published { rule, content_hash, delivery_key } => {
                reply.one(self.door.published(&rule, content_hash.as_deref(), delivery_key.as_ref()))
            }
            Command::FileKnown { path } => reply.one(self.door.file_known(&path)),
            Command::FilesWaiting { files_max } => self.all(reply, self.door.files_waiting(files_max)),
            Command::FilesInView => reply.one(self.door.files_in_view()),
            Command::CheckStore => {
                reply.at_once = true;
                self.all(reply, self.door.check_store())
            }
            Command::Reload { by } => reply.one(self.door.reload_for(&by)),
            Command::Configuration => reply.one(self.door.configuration()),
            Command::Reads { reader, jobs } => reply.one(self.door.note_reader(&reader, &jobs)),
            Command::Overdue => reply.one(self.door.overdue()),
            Command::WatchCounts => reply.one(self.door.watch_counts()),
            Command::KeptConfiguration => reply.one(self.door.kept_configuration()),
            Command::AuditEnd => reply.one(self.door.audit_end()),
            Command::KeysNeeded => reply.one(self.door.keys_needed()),
        }
    }

    fn all<T: Serialize>(&self, reply: &mut Reply<impl Write>, answers: Answers<'_, T>) -> io::Result<()> {
        for answer in answers {
            if self.stopping.load(Ordering::Acquire) {
                return Ok(()); // without an end, so that it is not taken for the whole
            }
            match answer {
                Ok(item) => reply.item(&item)?,
                Err(refusal) => return reply.refuse(refusal),
            }
        }
        reply.line(&Line::<()>::End)
    }
}

struct Reply<W> {
    to: W,
    session: Session,
    /// Those that are not sent yet.
    items: Items,
    /// Each line is sent as it is written: who asks waits only so long for the next.
    at_once: bool,
}

impl<W: Write> Reply<W> {
    fn one<T: Serialize>(&mut self, answer: Result<T, Refusal>) -> io::Result<()> {
        match answer {
            Ok(item) => {
                self.line(&Line::Item(item))?;
                self.line(&Line::<()>::End)
            }
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> io::Result<()> {
        self.line(&Line::<()>::Refused(refusal))
    }

    /// One more of a list.
    fn item<T: Serialize>(&mut self, item: &T) -> io::Result<()> {
        self.items.add(item)?;
        if !self.at_once && !self.items.are_many() {
            return Ok(());
        }
        self.items.send(&mut self.session, &mut self.to)?;
        if self.at_once { self.to.flush() } else { Ok(()) }
    }

    fn line<T: Serialize>(&mut self, line: &T) -> io::Result<()> {
        self.items.send(&mut self.session, &mut self.to)?;
        self.session.write(&mut self.to, line)?;
        if self.at_once { self.to.flush() } else { Ok(()) }
    }
}

fn other_version() -> Refusal {
    Refusal::Fault(JobError {
        kind: FaultKind::Config,
        message: "the running service is of another version than this command".into(),
        hint: Some("restart the service".into()),
    })
}
