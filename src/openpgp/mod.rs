//! `OpenPGP` (RFC 9580, RFC 4880, and what `GnuPG` writes beside them): messages read and written as streams, and the keys for it.
//!
//! Packets are walked here, one after another, and only what is within one is left to the crate: so whatever a message says, a
//! bounded number of its packets is in memory, and what a compressed one expands to is counted while it does.
//!
//! # Invariants
//! - The end of a message is told only once everything was verified: the modification detection code or each tag, the
//!   packets behind the content, and each signature where somebody asked for it. Until then what was read is not to be used.
//! - After an error nothing more is given.
//! - No key is in a message of an error, or in what `Debug` shows.

mod algorithms;
mod armor;
mod error;
mod keys;
mod message;
mod seal;
mod signatures;
mod sniff;
mod source;
mod unlock;

pub(crate) use armor::Dearmored;
pub(crate) use error::Unread;
pub(crate) use keys::{
    Certificate, Lasts, Purpose, SecretKeys, Unlocks, certificates, has_secret_key, holds_keys,
    holds_secret_keys,
};
pub(crate) use message::{Expanding, Message, NO_MESSAGE, Reading, UNPROTECTED};
pub(crate) use seal::Sealer;
pub(crate) use signatures::Signer;
pub(crate) use sniff::{Looks, looks_like};
pub(crate) use unlock::{Locks, SessionKey, Tried, by_passphrase, memory_bytes};

#[cfg(test)]
mod tests;
