//! From a thread that may wait for a disk to a connection whose reader may be slow: a few pieces at a time, and nobody waits without end.
//!
//! The giver waits so long at most for the taker; the taker never waits in a thread. An answer whose giver is gone before its last piece
//! is broken, and its connection is cut: it is never taken for a shorter one.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use hyper::body::Frame;

use super::problem::Problem;

/// A piece goes on its way when it has so many bytes.
const PIECE_BYTES: usize = 32 << 10;
/// Pieces that wait for the reader.
const PIECES_MAX: usize = 2;
/// A reader that takes nothing for so long is given up.
const TAKEN_WITHIN: Duration = Duration::from_mins(1);
/// The same of an output. A slow reader takes megabytes at a time, which the system holds for it: minutes may lie between two looks at them.
pub(super) const OUTPUT_TAKEN_WITHIN: Duration = Duration::from_mins(10);

#[derive(Debug)]
pub(super) enum Piece {
    More(Bytes),
    Last(Bytes),
    Refused(Problem),
}

#[derive(Default)]
struct State {
    pieces: VecDeque<Piece>,
    /// Of the taker.
    waker: Option<Waker>,
    /// Since when the giver waits for the taker.
    waits_since: Option<Instant>,
    giver_is_gone: bool,
    taker_is_gone: bool,
    is_given_up: bool,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    room: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn pipe() -> (Giver, Taker) {
    pipe_within(TAKEN_WITHIN)
}

pub(super) fn pipe_within(taken_within: Duration) -> (Giver, Taker) {
    let shared = Arc::new(Shared::default());
    (Giver { shared: Arc::clone(&shared), buffer: Vec::new(), taken_within }, Taker { shared })
}

/// Sees how a reader gets on.
pub(super) struct Watcher(Arc<Shared>);

impl Watcher {
    /// How long its reader has taken nothing, though there is something.
    pub(super) fn silent_for(&self) -> Duration {
        self.0.lock().waits_since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Its answer breaks off.
    pub(super) fn give_up(&self) {
        self.0.lock().is_given_up = true;
        self.0.room.notify_one();
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.0.lock().is_given_up
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.lock().giver_is_gone
    }
}

/// What a thread writes its answer into.
pub(super) struct Giver {
    shared: Arc<Shared>,
    buffer: Vec<u8>,
    taken_within: Duration,
}

impl Giver {
    pub(super) fn watcher(&self) -> Watcher {
        Watcher(Arc::clone(&self.shared))
    }

    /// What was written so far goes on its way now.
    pub(super) fn send(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.buffer);
        if bytes.is_empty() { Ok(()) } else { self.give(Piece::More(bytes.into())) }
    }

    /// Whether nobody reads any more.
    pub(super) fn is_unread(&self) -> bool {
        self.shared.lock().taker_is_gone
    }

    pub(super) fn end(mut self) {
        let bytes = std::mem::take(&mut self.buffer);
        self.give(Piece::Last(bytes.into())).ok(); // who does not read it is gone
    }

    /// Nothing was sent yet, or the answer breaks off.
    pub(super) fn refuse(self, problem: Problem) {
        self.give(Piece::Refused(problem)).ok();
    }

    fn give(&self, piece: Piece) -> io::Result<()> {
        let is_full = |state: &mut State| {
            state.pieces.len() >= PIECES_MAX && !state.taker_is_gone && !state.is_given_up
        };
        let mut state = self.shared.lock();
        state.waits_since = Some(Instant::now());
        let waited = self.shared.room.wait_timeout_while(state, self.taken_within, is_full);
        let (mut state, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waits_since = None;
        if state.taker_is_gone || state.is_given_up || waited.timed_out() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        state.pieces.push_back(piece);
        wake(state);
        Ok(())
    }
}

impl Write for Giver {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.giver_is_gone = true;
        wake(state);
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The answer as it comes.
pub(super) struct Taker {
    shared: Arc<Shared>,
}

impl Taker {
    /// None: the giver is gone, and what came is not the whole.
    pub(super) async fn next(&self) -> Option<Piece> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&self, context: &Context<'_>) -> Poll<Option<Piece>> {
        let mut state = self.shared.lock();
        if let Some(piece) = state.pieces.pop_front() {
            self.shared.room.notify_one();
            return Poll::Ready(Some(piece));
        }
        if state.giver_is_gone {
            return Poll::Ready(None);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// The rest, behind what was taken.
    pub(super) fn into_body(self, first: Bytes) -> Body {
        Body::new(Rest { first: Some(first), taker: self, has_ended: false })
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.shared.lock().taker_is_gone = true;
        self.shared.room.notify_one();
    }
}

struct Rest {
    first: Option<Bytes>,
    taker: Taker,
    has_ended: bool,
}

impl hyper::body::Body for Rest {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        let Poll::Ready(piece) = self.taker.poll_next(context) else { return Poll::Pending };
        Poll::Ready(match piece {
            Some(Piece::More(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Piece::Last(bytes)) => {
                self.has_ended = true;
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
            Some(Piece::Refused(_)) | None => Some(Err(io::ErrorKind::UnexpectedEof.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(taker: &Taker) -> Option<Piece> {
        let context = Context::from_waker(Waker::noop());
        match taker.poll_next(&context) {
            Poll::Ready(piece) => piece,
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_takes_something_now_and_then_has_all_of_it_and_who_takes_nothing_is_given_up() {
        let within = Duration::from_millis(500);
        let (mut giver, taker) = pipe_within(within);
        let thread = std::thread::spawn(move || {
            let begun = std::time::Instant::now();
            let piece = vec![0; PIECE_BYTES];
            let ended = (0..20).try_for_each(|_| giver.write_all(&piece));
            (ended, begun.elapsed())
        });
        for _ in 0..15 {
            std::thread::sleep(within / 10); // how slowly it reads
            while take(&taker).is_none() {
                std::thread::yield_now();
            }
        }
        let (ended, time) = thread.join().expect("no panic");
        assert_eq!(ended.expect_err("it is given up").kind(), io::ErrorKind::BrokenPipe);
        assert!(time > within * 2, "it was given up only after it took nothing: {time:?}");
    }
}
