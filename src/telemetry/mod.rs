//! What operators see of the service: the log and its events.

pub mod events;
pub mod logging;
