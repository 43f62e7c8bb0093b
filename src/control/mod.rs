//! Asking the running service about its jobs, from the same machine and as the same user.
//!
//! The service listens on a port of 127.0.0.1 that the system picks, and writes `control.json` (mode 0600) into the data folder:
//! who can read it may ask. A request is one line, an answer is one line or, for lists, one line for each item; each end
//! proves in every line that it has read the file, and never sends what it read (see `protocol`).
//! Lines carry the stored rows, not the JSON that users see: both ends are of one version, or say that they are not.
//!
//! Where no service runs, a command opens the store itself: [`open`] gives one [`Handler`] in either case, so that the
//! output is the same.

mod client;
mod handler;
mod protocol;
mod reach;
mod server;
mod starting;
mod store_handler;

pub(crate) use client::Client;
#[cfg(test)]
use handler::Answers;
pub(crate) use handler::{FileWaiting, Handler, JobFilter, Refusal};
pub(crate) use reach::{Reached, open, reach};
pub(crate) use server::{ControlError, Server};
pub(crate) use starting::StartingHandler;
pub(crate) use store_handler::{Acts, StoreHandler};

#[cfg(test)]
mod tests;
