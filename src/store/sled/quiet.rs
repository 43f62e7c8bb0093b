//! What sled panics on is an error here, and not told twice.
//!
//! sled 0.34 asserts some things that damage can break, and when it is closed unwraps the result of a last fsync. Its words go into our
//! error; the process's panic hook stays silent for them.

use std::any::Any;
use std::cell::Cell;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static IS_QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Does the work; a panic in it is what it said.
pub(super) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOKED: Once = Once::new();
    HOOKED.call_once(|| {
        let tell = take_hook();
        set_hook(Box::new(move |panic| {
            if !IS_QUIET.get() {
                tell(panic);
            }
        }));
    });
    let before = IS_QUIET.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    IS_QUIET.set(before);
    done.map_err(|panic| said(panic.as_ref()))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no words".to_owned())
}

/// A handle of the engine, the last one of which closes it: what is in the store was made durable by our own sync before, so that a close
/// that fails is only told.
pub(super) struct Closing<T>(ManuallyDrop<T>);

impl<T> Closing<T> {
    pub(super) fn new(handle: T) -> Self {
        Self(ManuallyDrop::new(handle))
    }
}

impl<T> Deref for Closing<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for Closing<T> {
    #[allow(unsafe_code, reason = "the only way to drop a part under a guard without an empty state")]
    fn drop(&mut self) {
        // SAFETY: nobody sees the handle after this.
        let closed = quietly(|| unsafe { ManuallyDrop::drop(&mut self.0) });
        if let Err(error) = closed {
            tracing::error!(
                error,
                hint = "look at the disk of the data folder (room, errors in the system's log); the next start recovers everything",
                "the store was not closed well"
            );
        }
    }
}
