//! When the files of a configuration stand still, so that none of them is half of what somebody is writing.
//!
//! ```text
//!  changed ──> as it is for 200 ms ──> nobody has it open for writing ──> read ──> still as it is ──> taken
//!              600 ms where something was lost: a file is gone or shorter, or its last line has no end
//! ```
//!
//! Editors write a file anew in place (truncate, write, close), or another one under its name (rename). In the first case it is short for a
//! moment, in the second it may be gone for a moment. An operator takes things out, too: so a loss is not refused but believed later.

use std::time::{Duration, Instant};

use crate::config::Stamps;

/// How long files stand still before they are read.
const STILL_FOR: Duration = Duration::from_millis(200);
/// The same where something was lost.
const LOSS_STILL_FOR: Duration = Duration::from_millis(600);

/// The files as they were looked at last, and since when they are so.
#[derive(Debug)]
pub(super) struct Stillness {
    last: Stamps,
    since: Instant,
}

impl Stillness {
    /// They were looked at now for the first time; what they were like before is unknown.
    pub(super) fn new(now_there: Stamps, now: Instant) -> Self {
        Self { last: now_there, since: now }
    }

    /// They were looked at again.
    pub(super) fn note(&mut self, stamps: &Stamps, now: Instant) {
        if self.last != *stamps {
            self.last = stamps.clone();
            self.since = now;
        }
    }

    /// Somebody is at them, whatever they look like.
    pub(super) fn disturb(&mut self, now: Instant) {
        self.since = now;
    }

    /// How long to wait until they have stood still for long enough; none: they have. `loses`: something that was there is not.
    pub(super) fn wait(&self, loses: bool, now: Instant) -> Option<Duration> {
        let wanted = if loses { LOSS_STILL_FOR } else { STILL_FOR };
        let left = wanted.saturating_sub(now.saturating_duration_since(self.since));
        (!left.is_zero()).then_some(left)
    }
}

/// Whether a text was cut off within its last line, or its writer leaves that without an end.
pub(super) fn lacks_its_end(text: &[u8]) -> bool {
    !text.is_empty() && !text.ends_with(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Files;

    #[test]
    fn every_change_begins_the_wait_anew_and_a_loss_is_waited_for_longer() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a");
        let files = Files { main: file.clone(), ..Files::default() };
        let write = |text: &str| std::fs::write(&file, text).expect("writes");
        write("long");
        let start = Instant::now();
        let before = files.look();
        let mut still = Stillness::new(before.clone(), start);
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!(still.wait(false, at(150)), Some(Duration::from_millis(50)));
        write("longer");
        still.note(&files.look(), at(150));
        assert_eq!(still.wait(false, at(340)), Some(Duration::from_millis(10)));
        still.note(&files.look(), at(340));
        assert_eq!(still.wait(false, at(350)), None);
        assert_eq!(still.wait(true, at(350)), Some(Duration::from_millis(400)));
        still.disturb(at(400));
        assert!(still.wait(false, at(599)).is_some() && still.wait(false, at(600)).is_none());
    }

    #[test]
    fn a_text_that_ends_with_its_line_is_whole() {
        for (text, lacks) in [("", false), ("a = 1\n", false), ("a = 1", true), ("a = 1\n[[ru", true)] {
            assert_eq!(lacks_its_end(text.as_bytes()), lacks, "{text}");
        }
    }
}
