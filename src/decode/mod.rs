//! From a source to bounded streams of entries: age and enc, compression, archives and character encodings, taken off in whatever
//! order the sender put them on.
//!
//! Everything is pulled by one thread. Layers are recognised by content, or taken as `decode.layers` spells them out. What is
//! seekable stays so as long as only age is taken off, so that a zip within age is read in place; an archive that lies where
//! one cannot seek is spooled, encrypted. Nothing is taken for whole that does not prove it: an entry's text ends without
//! an error only where every layer around it met its own end, checksum or tag.
//!
//! It does not cut records, and it does not decide what becomes of a source.

mod age;
mod compress;
mod context;
mod decoder;
mod derivation;
mod enc;
mod enc_body;
mod entry;
mod error;
mod hash;
mod keys;
mod layers;
mod list_memory;
mod members;
mod peek;
mod pgp_layer;
mod request;
mod sniff;
mod spool;
mod tap;
mod tar_header;
mod tar_layer;
mod tar_links;
mod text;
mod transcode;
mod wide;
mod zip_deflated;
mod zip_end;
mod zip_layer;
mod zip_memory;

#[cfg(test)]
mod tests;

pub(crate) use self::decoder::{Decoded, Skipped};
pub use self::decoder::{Decoder, EntryReader};
pub use self::error::DecodeError;
pub(crate) use self::keys::{KeyUse, SecretKeyPassphrase, judge as judge_key_file};
pub(crate) use self::request::of_output;
pub use self::request::{DecodeRequest, Progress};
pub(crate) use self::sniff::{looks_packed, proves_its_end};
