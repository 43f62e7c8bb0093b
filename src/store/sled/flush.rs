//! The engine's flush, which it may forget.
//!
//! A thread of its pool that cannot write a buffer notes the error and wakes nobody (`Log::exit_reservation`), and who waits for that buffer
//! waits for ever. Any flush that begins later sees the error, and wakes all. So whoever waits here does it beside the engine, and has
//! another flush ask where it takes long: only when that has met the error, both end.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// After so long another flush is begun; after twice as long the next: where a disk hangs they are few.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(2);

/// Gives all that was written to the system.
pub(super) fn flush(db: &sled::Db) -> sled::Result<()> {
    wait(|| db.flush_async(), FORGOTTEN_AFTER).map(drop)
}

/// Waits for a flush of those that `ask` begins, each when it is first polled.
fn wait<T, F: Future<Output = sled::Result<T>>>(
    ask: impl Fn() -> F,
    mut patience: Duration,
) -> sled::Result<T> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut flushed = pin!(ask());
    let mut since = Instant::now();
    loop {
        if let Poll::Ready(done) = flushed.as_mut().poll(&mut context) {
            return done;
        }
        thread::park_timeout(patience.saturating_sub(since.elapsed()));
        if since.elapsed() >= patience {
            // Nobody waits for it, as it may be forgotten, too.
            if let Poll::Ready(Err(error)) = pin!(ask()).poll(&mut context) {
                return Err(error);
            }
            (since, patience) = (Instant::now(), patience.saturating_mul(2));
        }
    }
}

/// Wakes the thread that waits.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::future::poll_fn;

    use super::*;

    fn failure() -> sled::Error {
        sled::Error::Io(std::io::ErrorKind::StorageFull.into())
    }

    #[test]
    fn a_flush_that_is_forgotten_ends_with_the_error_that_a_later_one_sees() {
        let (begun, forgotten) = (Cell::new(0), RefCell::new(None::<Waker>));
        let ask = || {
            let number = begun.replace(begun.get() + 1);
            let (begun, forgotten) = (&begun, &forgotten);
            poll_fn(move |context| match number {
                0 if begun.get() > 2 => Poll::Ready(Err::<usize, _>(failure())),
                0 => {
                    forgotten.replace(Some(context.waker().clone()));
                    Poll::Pending
                }
                1 => Poll::Pending, // the error comes after this one began
                _ => {
                    forgotten.take().expect("the first waits").wake();
                    Poll::Pending
                }
            })
        };
        wait(ask, Duration::from_millis(1)).expect_err("the disk is full");
        assert_eq!(begun.get(), 3);
    }

    #[test]
    fn a_flush_that_comes_back_in_time_is_the_only_one() {
        let begun = Cell::new(0);
        let ask = || {
            begun.set(begun.get() + 1);
            let mut wakes = 0;
            poll_fn(move |context| {
                wakes += 1;
                context.waker().wake_by_ref();
                if wakes > 3 { Poll::Ready(Ok(7)) } else { Poll::Pending }
            })
        };
        assert_eq!(wait(ask, Duration::from_hours(1)).expect("flushes"), 7);
        assert_eq!(begun.get(), 1);
    }
}
