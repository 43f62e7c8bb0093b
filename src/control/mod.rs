//! Asking the running service about its jobs, from the same machine and as the same user.
//!
//! The service listens on a port of 127.0.0.1 that the system picks, and writes `control.json` (mode 0600) into the data folder:
//! who can read it may ask. Removed, it is written anew within a second. A request is one line, an answer is one line or, for lists, one line for each item; each end
//! proves in every line that it has read the file, and never sends what it read (see `protocol`).
//! Lines carry the stored rows, not the JSON that users see: both ends are of one version, or say that they are not.
//!
//! Where no service runs, a command opens the data folder's engine itself: [`open`] gives one [`Door`](crate::engine::Door) in either
//! case, so that the output is the same.

mod address;
mod client;
mod elsewhere;
mod protocol;
mod reach;
mod reading;
mod server;

pub(crate) use client::Client;
pub(crate) use protocol::new_secret;
pub(crate) use reach::{Reached, check_owner, keys_needed, open, open_existing, open_or_make, reach_service};
pub(crate) use reading::{Reading, Readings};
pub(crate) use server::{ControlError, Server};

#[cfg(test)]
mod tests;
