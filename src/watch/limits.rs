//! The kernel's limits of file events, for who has to raise one of them.

/// A limit that was met: its key, and what it is now where that can be read.
pub(super) fn told(limit: &str) -> String {
    let key = format!("fs.inotify.{limit}");
    match std::fs::read_to_string(format!("/proc/sys/fs/inotify/{limit}")) {
        Ok(now) => format!("raise {key} (`sysctl`), which is {} now", now.trim()),
        Err(_) => format!("raise {key} (`sysctl`)"),
    }
}

/// Folders that can be watched, of all processes of a user.
pub(super) const WATCHES: &str = "max_user_watches";
/// Watchers, of all processes of a user.
pub(super) const INSTANCES: &str = "max_user_instances";
/// Events that wait to be read.
pub(super) const EVENTS: &str = "max_queued_events";
