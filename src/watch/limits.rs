//! The kernel's limits of file events, for who has to raise one of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One that is met again and again, by one watch or several, is told once in so long.
const TELL_EVERY: Duration = Duration::from_mins(1);

static TOLD: Mutex<BTreeMap<&str, Instant>> = Mutex::new(BTreeMap::new());

/// A limit that was met: its key, what it is now where that can be read, and the command that raises it. None where it was told a moment ago.
pub(super) fn tell(limit: &'static str) -> Option<String> {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.get(limit).is_some_and(|at| at.elapsed() < TELL_EVERY) {
        return None;
    }
    told.insert(limit, Instant::now());
    let key = format!("fs.inotify.{limit}");
    let now = std::fs::read_to_string(format!("/proc/sys/fs/inotify/{limit}"));
    Some(match now.ok().and_then(|now| now.trim().parse::<u64>().ok()) {
        Some(now) => {
            let next = now.saturating_mul(2).max(1024);
            format!(
                "raise {key}, which is {now} now: `sysctl -w {key}={next}`, and the same in /etc/sysctl.d to keep it"
            )
        }
        None => format!("raise {key}: `sysctl -w {key}=NUMBER`"),
    })
}

/// Folders that can be watched, of all processes of a user.
pub(super) const WATCHES: &str = "max_user_watches";
/// Watchers, of all processes of a user.
pub(super) const INSTANCES: &str = "max_user_instances";
/// Events that wait to be read.
pub(super) const EVENTS: &str = "max_queued_events";
