//! Landfall watches folders and ingests each file that lands in them, exactly once.
//!
//! # The life of a file
//!
//! ```text
//!  watch      notifier (hints) + scanner (truth)  ->  candidate  ->  ready?
//!  claim      ledger row durable, then rename into the folder's `.landfall`
//!  load       open -> decrypt -> decompress -> entries -> text -> records -> slices
//!  work       slice -> pipeline of registered steps -> chunk of bytes per category, failed records, counts
//!  collect    results in slice order -> one partial per output; a checkpoint now and then
//!  publish    balance the account, sync, intent, rename all, sync folders, manifest, marker
//!  retire     archive / delete / keep the source
//! ```
//!
//! # Steps of your own
//!
//! Implement [`model::step::Step`], register a factory for it with [`pipeline::Registry::register`], and hand the registry to
//! [`main`]: rules can name the step as they name the built-in ones, and the program has every command of `landfall`.
//! `examples/own_step.rs` is a whole program. A program with a `main` of its own starts the service with [`serve`], which gives
//! a handle that stops it. Commands that only ask (`jobs`, `show`, `records`, `retry`, `recover`) need not know the steps, so that
//! `landfall` itself answers beside such a program.

mod allocator;
pub mod allowance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod decode;
pub mod durable_fs;
pub mod engine;
pub mod format;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod group_sync;
pub mod model;
pub mod output;
pub mod pipeline;
pub mod record;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod watch;

pub use cli::main;
pub use service::{Service, ServiceError, Stopper, serve};

// Counts and sizes cross between u64 and usize freely.
const _: () = assert!(usize::BITS >= 64, "landfall runs on 64-bit machines only");
