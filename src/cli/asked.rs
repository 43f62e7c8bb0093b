//! What the service control manager of Windows asked for, until who waits for signals hears it.

use std::sync::OnceLock;

use tokio::sync::Notify;

static STOP: Notify = Notify::const_new();
static RELOAD: Notify = Notify::const_new();
/// What asked to stop first.
static STOPPED_BY: OnceLock<&str> = OnceLock::new();

/// Asks to stop; nothing is lost where nobody waits yet.
pub(super) fn ask_to_stop(by: &'static str) {
    STOPPED_BY.get_or_init(|| by);
    STOP.notify_one();
}

/// Whether anybody asked to stop, ever.
pub(super) fn is_stop_asked() -> bool {
    STOPPED_BY.get().is_some()
}

/// Asks for a reload; several are one.
pub(super) fn ask_to_reload() {
    RELOAD.notify_one();
}

/// Until somebody asks to stop, and by what.
pub(super) async fn stop_asked() -> &'static str {
    STOP.notified().await;
    STOPPED_BY.get().copied().unwrap_or("a control")
}

/// Until somebody asks for a reload.
pub(super) async fn reload_asked() {
    RELOAD.notified().await;
}
