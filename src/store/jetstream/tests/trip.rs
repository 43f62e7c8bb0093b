//! What a test lets happen to a writer's thread: it sleeps, or ends as by a kill.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Asked by the writer before each word.
pub(super) struct Trip {
    sleeps: AtomicBool,
    /// Words that it may still say.
    left: AtomicU32,
    has_ended: AtomicBool,
}

impl Default for Trip {
    fn default() -> Self {
        Self {
            sleeps: AtomicBool::default(),
            left: AtomicU32::new(u32::MAX),
            has_ended: AtomicBool::default(),
        }
    }
}

impl Trip {
    pub(super) fn sleep(&self, sleeps: bool) {
        self.sleeps.store(sleeps, Ordering::Release);
    }

    pub(super) fn end_behind(&self, words: u32) {
        self.left.store(words, Ordering::Release);
    }

    pub(super) fn wait_for_the_end(&self) {
        while !self.has_ended.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    }

    pub(super) async fn before_a_word(&self) {
        while self.sleeps.load(Ordering::Acquire) {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        let left = self.left.load(Ordering::Acquire);
        if left == 0 {
            self.has_ended.store(true, Ordering::Release);
            std::future::pending::<()>().await;
        }
        if left != u32::MAX {
            self.left.store(left - 1, Ordering::Release);
        }
    }
}
