//! Landfall watches folders and ingests each file that lands in them, exactly once.
//!
//! The life of a file, the modules, and the order of durable steps: `ARCHITECTURE.md` beside this crate.
//!
//! # Steps of your own
//!
//! Implement [`model::step::Step`], register a factory for it with [`pipeline::Registry::register`], and hand the registry to
//! [`main`]: rules can name the step as they name the built-in ones, and the program has every command of `landfall`.
//! `examples/own_step.rs` is a whole program. A program with a `main` of its own starts the service with [`serve`], which gives
//! a handle that stops it. Commands that only ask (`jobs`, `show`, `records`, `retry`, `recover`) need not know the steps, so that
//! `landfall` itself answers beside such a program.

// What is `pub` can be reached from outside: of all else the compiler finds what nobody uses.
#![warn(unreachable_pub)]

mod allocator;
mod allowance;
mod api;
mod at_rest;
mod audit;
mod cli;
mod clock;
pub mod config;
mod confinement;
mod control;
mod decode;
mod durable_fs;
mod engine;
mod format;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod group_sync;
mod hooks;
mod key_file;
mod library;
mod listing;
pub mod model;
mod openpgp;
mod output;
pub mod pipeline;
mod posting;
mod published;
mod record;
mod service;
mod store;
mod supervisor;
mod telemetry;
mod traces;
mod watch;

pub use cli::main;
pub use library::{
    Ingestion, Input, Landfall, LandfallError, OutputFile, OutputRecords, OutputSlice, OutputSlices, Progress,
};
pub use published::ReadError;
pub use service::{Reloader, Service, ServiceError, Stopper, serve};

/// What the benchmarks and tests of this repository reach into; no promise is made of it.
#[doc(hidden)]
pub mod doors {
    pub use crate::allowance::Allowance;
    pub use crate::clock::now;
    pub use crate::decode::{DecodeError, DecodeRequest, Decoder, EntryReader, Progress};
    pub use crate::output::{EncodedChunk, EntryName, Intent, OutputPlan, Partials, RolledForward};
    pub use crate::record::{Cutter, FRAMING_VERSION};
    pub use crate::store::{Checkpoint, LedgerOutcome, LedgerRow, MemoryBudget, SliceQueue, Store, Taken};

    pub mod durable_fs {
        //! See `durable_fs` of the crate.
        pub use crate::durable_fs::{
            FolderRound, create_private, identity, remove_file, start_writeback, sync_data,
        };
    }
}

// Counts and sizes cross between u64 and usize freely.
const _: () = assert!(usize::BITS >= 64, "landfall runs on 64-bit machines only");
