//! File names, partials, codecs and publishing.
//!
//! Order of durable steps, per job: partials are appended to (worker threads, in slice order); a checkpoint syncs what
//! it names; what is ended is synced; the engine makes the [`Intent`] durable in the store; its outputs are renamed, and their folders synced.
//!
//! # Invariants
//! - Partials lie under hidden names in the folders of their final names: publishing is renames on one file system.
//! - When `finish` returns, content and names of all partials are durable: from then on a partial that is gone from its folder was
//!   published, provided that it is still the same folder.
//! - After the first error of a job's partials nothing more is written, checkpointed or finished; a later run resumes or starts over.
//! - Gzip outputs are one member: raw deflate blocks, made by the workers chunk by chunk without a shared window.
//! - zstd, bzip2 and xz end their frame or stream at a checkpoint; an age output cannot be continued.
//!
//! Limits (`max`, `failed_max`) and the account are the engine's; nothing here decides whether a job may be published.

mod became;
mod choice;
mod codec;
mod destination;
mod entry;
mod error;
mod folder;
mod gzip;
mod hidden;
mod intent;
mod naming;
mod partial;
mod partials;
mod plan;
mod recipients;
mod renaming;
pub(crate) mod sample;
mod signals;
mod sink;
mod sound;
mod unsynced;

pub(crate) use became::Became;
pub(crate) use choice::folders_open_to;
pub use codec::EncodedChunk;
#[cfg(test)]
pub(crate) use destination::Hidden;
pub use entry::EntryName;
pub(crate) use error::OutputError;
pub(crate) use folder::partials_in;
pub(crate) use hidden::{is_of_earlier, job_of_partial};
pub(crate) use intent::FinishedOutput;
pub use intent::{Intent, RolledForward};
pub(crate) use naming::{final_path, signal_paths};
#[cfg(test)]
pub(crate) use partial::HeaderState;
pub(crate) use partial::PartialState;
pub(crate) use partial::{hexadecimal, sha256_of};
pub use partials::Partials;
pub(crate) use partials::{PendingSync, remove_partials};
pub use plan::OutputPlan;
#[cfg(test)]
pub(crate) use renaming::Renaming;
pub(crate) use signals::SignalPartials;

#[cfg(test)]
mod tests;
