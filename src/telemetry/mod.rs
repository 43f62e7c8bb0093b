//! What operators see of the service: the log and its events.

pub(crate) mod events;
mod log_writer;
pub(crate) mod logging;
pub(crate) mod metrics;
