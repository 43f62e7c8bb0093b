//! The log's way to standard error: who reads it and stands still (a terminal with Ctrl-S, a pager, a log driver that hangs) holds up nobody.
//!
//! ```text
//! threads --line--> waiting (bounded) --all at once--> the writer's thread --> standard error
//!                      `- full for a while: lines are dropped and counted, until the reader goes on
//! ```

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

/// Lines that wait to be written.
const WAITING_BYTES_MAX: usize = 1 << 20;
/// How long a full log holds up who logs before it counts as one that nobody reads.
const PATIENCE: Duration = Duration::from_secs(1);
/// Lines that come within this are written at once: a wake-up for each would cost busy threads more than writing it did.
const GATHERED_FOR: Duration = Duration::from_millis(1);

/// Takes lines; its clones write to the same.
#[derive(Clone)]
pub(super) struct LogWriter(Arc<Log>);

#[derive(Default)]
struct Log {
    state: Mutex<State>,
    /// Something waits to be written.
    came: Condvar,
    /// Something was written.
    went: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// The writer has something in its hands.
    is_writing: bool,
    /// Nobody reads, as far as is known.
    stands_still: bool,
    /// Somebody waits for [`Log::went`].
    watchers: usize,
    /// Since somebody last read.
    dropped: u64,
    /// The thread that writes: what it says itself always has room, since only it makes some.
    writer: Option<ThreadId>,
}

impl LogWriter {
    /// Starts the thread that writes to `sink`; `tell_dropped` says how many lines were lost, once the reader goes on.
    pub(super) fn start(
        sink: impl Write + Send + 'static,
        tell_dropped: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let log = Arc::new(Log::default());
        let writes = Arc::clone(&log);
        thread::Builder::new().name("log".into()).spawn(move || writes.write_to(sink, tell_dropped))?;
        Ok(Self(log))
    }

    /// Takes a line, unless nobody reads.
    pub(super) fn put(&self, line: &[u8]) {
        let mut state = self.0.state();
        let deadline = Instant::now() + PATIENCE;
        while state.is_full(line) && !state.stands_still {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                state.stands_still = true;
            } else {
                state = self.0.watch(state, left);
            }
        }
        if state.is_full(line) {
            state.dropped += 1;
            return;
        }
        let sleeps = state.waiting.is_empty() && !state.is_writing;
        state.waiting.extend_from_slice(line);
        if sleeps {
            self.0.came.notify_one();
        }
    }

    /// Waits until all is written; false: not within `patience`.
    pub(super) fn flush(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let mut state = self.0.state();
        while state.is_writing || !state.waiting.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.watch(state, left);
        }
        true
    }
}

impl State {
    /// One line always has room where nothing waits, however long it is.
    fn is_full(&self, line: &[u8]) -> bool {
        let has_room = self.waiting.is_empty() || self.waiting.len() + line.len() <= WAITING_BYTES_MAX;
        !has_room && self.writer != Some(thread::current().id())
    }
}

impl Log {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something was written.
    fn watch<'a>(&self, mut state: MutexGuard<'a, State>, time: Duration) -> MutexGuard<'a, State> {
        state.watchers += 1;
        let mut state = self.went.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0;
        state.watchers -= 1;
        state
    }

    /// The life of the writer's thread. What cannot be written (a closed stream, a full disk) is lost: there is nowhere to tell it.
    fn write_to(&self, mut sink: impl Write, tell_dropped: impl Fn(u64)) {
        let mut lines = Vec::new();
        self.state().writer = Some(thread::current().id());
        loop {
            let mut state = self.state();
            state.is_writing = false;
            state.stands_still = false;
            let dropped = std::mem::take(&mut state.dropped);
            if state.watchers > 0 {
                self.went.notify_all();
            }
            if dropped > 0 {
                drop(state);
                tell_dropped(dropped); // comes back as a line
                continue;
            }
            let waited = self.came.wait_while(state, |state| state.waiting.is_empty());
            drop(waited.unwrap_or_else(PoisonError::into_inner));
            thread::sleep(GATHERED_FOR);
            let mut state = self.state();
            lines.clear();
            std::mem::swap(&mut lines, &mut state.waiting);
            state.is_writing = true;
            drop(state);
            sink.write_all(&lines).and_then(|()| sink.flush()).ok();
        }
    }
}

/// One event.
impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    use super::*;

    /// More than any test sends before somebody takes it.
    const AHEAD: usize = 10_000;

    /// Takes a block each time that it is let.
    struct Reader {
        may_take: Receiver<()>,
        took: SyncSender<Vec<u8>>,
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.may_take.recv().ok();
            self.took.send(bytes.to_vec()).ok();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct World {
        log: LogWriter,
        may_take: SyncSender<()>,
        took: Receiver<Vec<u8>>,
        told: Receiver<u64>,
    }

    impl World {
        fn new() -> Self {
            let ((may_take, may), (took, takes), (tell, told)) =
                (sync_channel(AHEAD), sync_channel(AHEAD), sync_channel(AHEAD));
            let reader = Reader { may_take: may, took };
            let log = LogWriter::start(reader, move |lines| tell.send(lines).unwrap_or(())).expect("starts");
            Self { log, may_take, took: takes, told }
        }

        /// A reader who is there again.
        fn read_all(&self) -> Vec<u8> {
            for _ in 0..1000 {
                self.may_take.send(()).expect("is there");
            }
            assert!(self.log.flush(Duration::from_mins(1)), "somebody reads");
            self.took.try_iter().flatten().collect()
        }
    }

    const LINE: &[u8] = &[b'x'; 1000];

    #[test]
    fn a_log_that_nobody_reads_holds_up_one_line_for_a_moment_and_no_more() {
        let world = World::new();
        let started = Instant::now();
        let lines = 3 * WAITING_BYTES_MAX / LINE.len();
        for _ in 0..lines {
            world.log.put(LINE);
        }
        assert!(started.elapsed() < 20 * PATIENCE, "each line waited");
        assert!(!world.log.flush(Duration::from_millis(1)), "nobody reads");
        let read = world.read_all().len() / LINE.len();
        let dropped = world.told.recv_timeout(Duration::from_mins(1)).expect("is told");
        assert!(read > 0 && dropped > 0, "{read} {dropped}");
        assert_eq!(read + usize::try_from(dropped).expect("is small"), lines, "each line is read or counted");
    }

    /// The log is full again at once each time that somebody reads, and the note of what was lost is a line, too.
    #[test]
    fn what_was_lost_is_told_in_a_log_that_stays_full() {
        let (may_take, may) = sync_channel(AHEAD);
        let (took, takes) = sync_channel(AHEAD);
        let (hand_over, handed_over) = sync_channel::<LogWriter>(AHEAD);
        let tell = move |lines| {
            let log: LogWriter = handed_over.recv().expect("is handed over once");
            for _ in 0..2 * WAITING_BYTES_MAX / LINE.len() {
                log.put(LINE); // by the thread that writes
            }
            log.put(format!("{lines} lost\n").as_bytes());
        };
        let log = LogWriter::start(Reader { may_take: may, took }, tell).expect("starts");
        for _ in 0..3 * WAITING_BYTES_MAX / LINE.len() {
            log.put(LINE);
        }
        hand_over.send(log.clone()).expect("is there");
        (0..1000).for_each(|_| may_take.send(()).expect("is there"));
        assert!(log.flush(Duration::from_mins(1)));
        let read: Vec<u8> = takes.try_iter().flatten().collect();
        assert!(read.ends_with(b" lost\n"));
    }

    #[test]
    fn what_is_read_comes_whole_and_in_order() {
        let world = World::new();
        let text: Vec<u8> = (0..5000).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            world.log.put(line);
        }
        assert_eq!(world.read_all(), text);
        world.log.put(LINE);
        assert_eq!(world.read_all(), LINE);
        assert!(world.told.try_recv().is_err(), "nothing was dropped");
    }

    #[test]
    fn a_line_longer_than_what_may_wait_is_taken() {
        let world = World::new();
        let long = vec![b'y'; WAITING_BYTES_MAX + 1];
        world.log.put(&long);
        assert_eq!(world.read_all(), long);
    }

    #[test]
    fn a_stream_that_is_closed_holds_up_nobody() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
        }
        let log = LogWriter::start(Closed, |lines| panic!("{lines} were dropped")).expect("starts");
        for _ in 0..10 * WAITING_BYTES_MAX / LINE.len() {
            log.put(LINE);
        }
        assert!(log.flush(Duration::from_mins(1)));
    }
}
