//! The audit trail: lines in files that are only ever appended to, each with the hash of the one before it.
//!
//! What is to be written down lies in the store (`store::audit`), in the batch that made it so. One thread appends it, syncs the file, and
//! then has the store forget it and keep where the trail ends.
//!
//! ```text
//! {"seq":7,"id":…,"at":"…","event":"published","by":"service","job":"…",…,"prev":"HASH OF LINE 6","hash":"BLAKE3 OF THIS LINE UP TO HERE"}
//! ```
//!
//! # Invariants
//! - A line that is durable is never changed. What a crash left half is cut off; a whole line behind the store's end is kept, and its row, which
//!   it names (`id`), is not appended again.
//! - Files are called after the number of their first line; the chain goes on from file to file. None is ever removed.
//! - Where the file ends before the store says, lines are gone: the trail goes on in a new file whose first line says so, and is broken there.
//! - It never decides what is written down, and holds up no job.

mod line;
mod trail;
mod verify;
mod writer;

pub(crate) use line::Line;
pub(crate) use trail::{files_of, folder_of};
pub(crate) use verify::{lines_of, verify};
pub(crate) use writer::{Trail, TrailTrouble};
