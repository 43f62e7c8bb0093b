//! The threads that start children: one for each program and folder.
//!
//! To start a program is to ask file systems: where it lies, its interpreter lies, and the folder that it is started in. One that hangs holds
//! up who wants the same program, for [`WITHIN`], and nobody else. It is asked by the thread itself first, and the process made after that: a
//! process that is forked and cannot begin its program has copies of all our open files meanwhile, the inputs of other children among them,
//! which would not see their end.
//!
//! On Linux a child ends with the thread that started it ([`super::fate`]). So whoever has a child has its [`Starter`] too, whose thread lives
//! as long as somebody has it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SendError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use super::confined::Reachable;
use super::interpreter::interpreters_of;
use super::programs::places_of;
use super::{fate, reaper};
use crate::confinement::CannotAllow;
use crate::durable_fs;

/// A program is started within this, or a file system hangs.
const WITHIN: Duration = Duration::from_secs(10);
/// Threads that are kept although nobody has a child of theirs.
const IDLE_MAX: usize = 16;
/// Children of one program that wait to be started: more than there are workers.
const ORDERS_MAX: usize = 1024;

/// Which program, and in which folder.
type Key = (PathBuf, PathBuf);

static STARTERS: Mutex<BTreeMap<Key, Starter>> = Mutex::new(BTreeMap::new());

/// A thread that starts children, as long as somebody has this.
#[derive(Clone)]
pub(super) struct Starter(Arc<StartThread>);

struct StartThread {
    id: ThreadId,
    orders: SyncSender<Box<Order>>,
    at_order: Arc<AtOrder>,
}

/// Since when it has been at an order, if it is at one.
type AtOrder = Mutex<Option<Instant>>;

struct Order {
    command: Command,
    program: PathBuf,
    folder: PathBuf,
    /// None: whatever we may.
    reachable: Option<Reachable>,
    /// Whoever asked still waits.
    wanted: Weak<()>,
    /// Without a place of its own: a child is handed over, or comes back.
    answer: SyncSender<Result<Child, NotStarted>>,
}

/// Why a child was not started.
#[derive(Debug)]
pub(super) enum NotStarted {
    Refused(io::Error),
    /// What its step names is not there.
    CannotAllow(CannotAllow),
    /// The file system of this path does not answer.
    Hangs(PathBuf),
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> Self {
        Self::Refused(error)
    }
}

/// Starts a program whose folder lies on the file system of `folder`, or is that; `command` says how.
pub(super) fn start(
    command: Command,
    program: &Path,
    folder: &Path,
    reachable: Option<Reachable>,
) -> Result<(Child, Starter), NotStarted> {
    let starter = Starter::of(program, folder)?;
    let child = starter.start(command, program, folder, reachable, WITHIN)?;
    Ok((child, starter))
}

impl Starter {
    fn of(program: &Path, folder: &Path) -> io::Result<Self> {
        let mut starters = lock(&STARTERS);
        let key = (program.to_owned(), folder.to_owned());
        if let Some(starter) = starters.get(&key) {
            return Ok(starter.clone());
        }
        if starters.len() >= IDLE_MAX {
            starters.retain(|_, starter| starter.is_needed());
        }
        let starter = Self::new(ask)?;
        starters.insert(key, starter.clone());
        Ok(starter)
    }

    /// `ask` asks the file systems that a start asks.
    fn new(ask: impl Fn(&Path, &Path) + Send + 'static) -> io::Result<Self> {
        let (orders, taken) = sync_channel(ORDERS_MAX);
        let at_order = Arc::new(AtOrder::default());
        let at = Arc::clone(&at_order);
        let start = move || start_children(&taken, &at, ask);
        let thread = std::thread::Builder::new().name("exec-start".to_owned()).spawn(start)?;
        Ok(Self(Arc::new(StartThread { id: thread.thread().id(), orders, at_order })))
    }

    /// Whether somebody has it beside the list, or its thread hangs: another one would hang as well.
    fn is_needed(&self) -> bool {
        Arc::strong_count(&self.0) > 1 || lock(&self.0.at_order).is_some()
    }

    fn start(
        &self,
        command: Command,
        program: &Path,
        folder: &Path,
        reachable: Option<Reachable>,
        within: Duration,
    ) -> Result<Child, NotStarted> {
        // Who comes late need not wait to be told the same.
        if lock(&self.0.at_order).is_some_and(|since| since.elapsed() >= within) {
            return Err(self.hangs(program));
        }
        let (wanted, (answer, answered)) = (Arc::new(()), sync_channel(0));
        let (program, folder) = (program.to_owned(), folder.to_owned());
        let wanted_by = Arc::downgrade(&wanted);
        let order = Order { command, program: program.clone(), folder, reachable, wanted: wanted_by, answer };
        match self.0.orders.try_send(Box::new(order)) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => return Err(self.hangs(&program)),
            Err(TrySendError::Disconnected(_)) => return Err(gone().into()),
        }
        match answered.recv_timeout(within) {
            Ok(started) => started,
            Err(RecvTimeoutError::Timeout) => Err(self.hangs(&program)),
            Err(RecvTimeoutError::Disconnected) => Err(gone().into()),
        }
    }

    fn hangs(&self, program: &Path) -> NotStarted {
        let place = durable_fs::place_of(self.0.id).map(|(place, _)| place);
        NotStarted::Hangs(place.unwrap_or_else(|| program.to_owned()))
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts children has ended")
}

fn start_children(orders: &Receiver<Box<Order>>, at: &AtOrder, ask: impl Fn(&Path, &Path)) {
    while let Ok(mut order) = orders.recv() {
        let is_wanted = |order: &Order| order.wanted.strong_count() > 0;
        if !is_wanted(&order) {
            continue; // it was given up while it stood in line
        }
        *lock(at) = Some(Instant::now());
        ask(&order.program, &order.folder);
        let started = is_wanted(&order).then(|| start_one(&mut order));
        durable_fs::leave_place();
        *lock(at) = None;
        if let Some(Err(SendError(Ok(child)))) = started.map(|started| order.answer.send(started)) {
            reaper::kill(child); // it was given up
        }
    }
}

fn start_one(order: &mut Order) -> Result<Child, NotStarted> {
    if let Some(reachable) = &order.reachable {
        let fence = reachable.fence().map_err(NotStarted::CannotAllow)?;
        fate::keep_in(&mut order.command, fence);
    }
    Ok(fate::start(&mut order.command)?)
}

/// Asks the file systems that a start asks. What they say is for the start to find out.
fn ask(program: &Path, folder: &Path) {
    for place in places_of(program) {
        durable_fs::note_place(&place);
        if durable_fs::open_named(&place).is_err() {
            continue;
        }
        for interpreter in interpreters_of(&place) {
            durable_fs::note_place(&interpreter);
            drop(durable_fs::open_named(&interpreter));
        }
        break;
    }
    durable_fs::note_place(folder);
    drop(durable_fs::folder_identity(folder));
    durable_fs::note_place(program);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_mins(1);
    const SHORT: Duration = Duration::from_millis(100);

    fn cat() -> Command {
        let mut command = Command::new("cat");
        command.stdin(std::process::Stdio::piped());
        command
    }

    fn started(starter: &Starter, within: Duration) -> Result<Child, NotStarted> {
        starter.start(cat(), Path::new("cat"), Path::new("/"), None, within)
    }

    /// One whose file systems answer when the test says so.
    fn hanging() -> (Starter, SyncSender<()>) {
        let (answers, answered) = sync_channel(ORDERS_MAX);
        let ask = move |_: &Path, _: &Path| {
            durable_fs::note_place(Path::new("/mnt/tools/cat"));
            answered.recv().unwrap_or(());
        };
        (Starter::new(ask).expect("a thread"), answers)
    }

    #[test]
    fn a_file_system_that_hangs_is_named_and_nobody_waits_for_it_twice() {
        let (starter, answers) = hanging();
        let place = |not_started| match not_started {
            Err(NotStarted::Hangs(place)) => place,
            other => panic!("{other:?}"),
        };
        assert_eq!(place(started(&starter, 2 * SHORT)), Path::new("/mnt/tools/cat"));
        let begun = Instant::now();
        assert_eq!(place(started(&starter, SHORT)), Path::new("/mnt/tools/cat"));
        assert!(begun.elapsed() < SHORT, "it hangs as it did");
        assert!(starter.is_needed());
        for _ in 0..2 {
            answers.send(()).expect("it waits");
        }
        let mut child = started(&starter, LONG).expect("starts");
        reaper::kill(child.stdin.take().map(|_| child).expect("it has one"));
    }

    #[test]
    fn a_thread_lives_as_long_as_somebody_has_a_child_of_it() {
        let starter = Starter::of(Path::new("cat"), Path::new("/")).expect("a thread");
        let again = Starter::of(Path::new("cat"), Path::new("/")).expect("a thread");
        assert_eq!(starter.0.id, again.0.id);
        let elsewhere = Starter::of(Path::new("cat"), Path::new("/tmp")).expect("a thread");
        assert_ne!(starter.0.id, elsewhere.0.id);
        let (alone, _answers) = hanging();
        assert!(!alone.is_needed() && again.is_needed());
    }

    #[test]
    fn a_program_that_is_not_there_is_refused() {
        let command = Command::new("/not/there");
        let refused = start(command, Path::new("/not/there"), Path::new("/"), None).map(|_| ());
        assert!(
            matches!(refused, Err(NotStarted::Refused(error)) if error.kind() == io::ErrorKind::NotFound)
        );
    }
}
