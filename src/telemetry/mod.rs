//! What operators see of the service: the log and its events.

#[cfg(any(windows, test))]
#[cfg_attr(not(windows), allow(dead_code, reason = "it is tested everywhere"))]
pub(crate) mod event_log;
pub(crate) mod events;
mod log_writer;
pub(crate) mod logging;
pub(crate) mod metrics;

/// Under this name the service writes into the system's log of events.
#[cfg(windows)]
pub(crate) const EVENT_SOURCE: &str = "Landfall";
