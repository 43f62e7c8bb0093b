//! From folders to offers: the notifier (hints), the scanner (truth) and readiness.
//!
//! One thread, `watch`, owns the table of candidates. It is driven by a bounded inbox and by deadlines. Only while the engine
//! takes no offers are they made again every few milliseconds:
//!
//! ```text
//! notifier --hint--+
//!                  +--> candidate --ready?--> offer --> engine
//! scanner --file---+        ^                             |
//!                           +---- not yet, refused -------+
//! ```
//!
//! # Invariants
//! - Everything works without events: they only make it faster. What is lost (a full inbox, an overflowing queue, a watch limit, a
//!   network file system) costs a scan, never a file.
//! - A file is a candidate of the first rule that matches it, and is in the table once.
//! - A candidate is offered only after nobody was seen to have it open for writing; see `ready` for when.
//! - Links are no candidates. Where a rule follows them, what they lead to is one, inside the watched folders only. The claim folders are
//!   never entered.
//!
//! Nothing here moves, changes or removes a file, or waits for the engine.

mod batch;
mod bell;
mod beside;
mod by_number;
mod candidate;
mod candidates;
pub(crate) mod companion;
mod counts;
mod error;
mod exchange;
pub(crate) mod exclude;
mod folder_mark;
mod handle;
mod in_view;
mod kept;
mod kept_reader;
mod limits;
mod linked;
pub(crate) mod links;
mod look;
mod marker_reason;
mod message;
mod notifier;
mod offer;
mod offering;
mod probe;
#[cfg(target_os = "linux")]
mod processes;
mod ready;
mod remembered;
mod roots;
pub(crate) mod rules;
mod scanner;
mod second_names;
mod strangers;
mod table;
mod tally;
#[cfg(all(test, unix))]
mod tests;
mod troubles;
mod watcher;

pub(crate) use bell::Bell;
pub(crate) use handle::Patience;
pub(crate) use handle::Watch;
pub(crate) use kept_reader::Kept;
pub(crate) use look::{
    HERE_FOR, blind_spot, is_blind, is_mere_note, is_of_folder, is_written, look_at, may_have_writer,
};
pub(crate) use offer::{Answer, Content, Offer, Outlets};
pub(crate) use watcher::{Known, OtherName, WentAway};
