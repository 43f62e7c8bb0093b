//! Landfall watches folders and ingests each file that lands in them, exactly once. It waits until a file is complete, claims it, decrypts
//! and unpacks it as a stream, cuts it into records, takes them through the steps of a rule on all cores, and publishes outputs that appear
//! whole or not at all. Rules are TOML; this crate is for programs that want more than the `landfall` command.
//!
//! # Which door?
//!
//! | what you want | door | begin at |
//! |---|---|---|
//! | code of your own sees each record | a step of your own | [`step::Step`], [`Registry::register`] |
//! | hand over a file or records, read what comes out | a library | [`Landfall::open`], [`Landfall::ingest`] |
//! | watch folders within your program | the service | [`serve`] |
//! | the whole `landfall` command, with your steps | a program | [`main()`] |
//!
//! They go together: each takes a [`Registry`], which has the built-in steps and yours. No door needs async code. All calls block, and
//! may be made from any thread.
//!
//! # A step of your own
//!
//! A factory checks the parameters that a rule gives, and returns a [`step::StepPlan`]. One instance of the step serves one worker and one
//! job.
//!
//! ```
//! use landfall::step::{Outcome, Params, PipelineProblem, Record, RecordError, Step, StepContext, StepPlan};
//! use landfall::{Input, Landfall, Registry};
//! use serde_json::{Map, Value};
//!
//! /// Hides all but the last bytes of a column.
//! struct Mask {
//!     keep: usize,
//! }
//!
//! impl Step for Mask {
//!     fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
//!         let mut value = record.column(0)?.bytes().to_vec(); // the first that the plan reads
//!         let hidden = value.len().saturating_sub(self.keep);
//!         value[..hidden].fill(b'*');
//!         record.set_column(0, &value)?;
//!         Ok(Outcome::On)
//!     }
//! }
//!
//! fn mask(parameters: &Map<String, Value>, _: &StepContext<'_>) -> Result<StepPlan, Vec<PipelineProblem>> {
//!     let mut params = Params::new(parameters);
//!     let column = params.text("column").map(str::to_owned);
//!     if column.is_none() {
//!         params.missing("column", "name the column to hide");
//!     }
//!     let keep = params.count("keep").unwrap_or(4) as usize;
//!     let column = params.finish(column)?; // unknown parameters are problems, too
//!     Ok(StepPlan::new(move |_| Mask { keep }).reading([column]))
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut registry = Registry::with_builtin_steps();
//! registry.register("mask", mask);
//!
//! let folder = tempfile::tempdir()?;
//! let config = folder.path().join("landfall.toml");
//! std::fs::write(&config, r#"
//!     config_version = 1
//!     [service]
//!     data_dir = "data"           # below the folder of this file
//!     free_min = "0"              # so that it runs on a full disk, too
//!     [[rule]]
//!     name = "payments"
//!     paths = ["in/*.csv"]
//!     records = { format = "csv", header = true }
//!     [[rule.pipeline]]
//!     step = "mask"
//!     column = "account"
//!     keep = 2
//!     [rule.output.main]
//!     path = "out/{stem}.csv"
//!     [rule.source]
//!     on_success = "keep"         # the file stays
//! "#)?;
//! let file = folder.path().join("in/today.csv");
//! std::fs::create_dir(folder.path().join("in"))?;
//! std::fs::write(&file, "id,account\n1,DE4711\n2,AT0815\n")?;
//!
//! let landfall = Landfall::open(Some(&config), registry)?; // or landfall::main(registry), or landfall::serve(…)
//! landfall.ingest(Input::file(&file), "payments")?.wait()?;
//! let masked = std::fs::read_to_string(folder.path().join("out/today.csv"))?;
//! assert_eq!(masked, "id,account\n1,****11\n2,****15\n");
//! # landfall.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! A step that talks to something slow takes runs of records: [`step::RunStep`]. Commands that only ask (`jobs`, `show`, `records`, `retry`,
//! `recover`) need not know the steps: `landfall` itself answers beside such a program.
//!
//! # Hand over records, and read what comes out
//!
//! [`Landfall`] takes a file, a reader or an iterator of records through a rule, and no folder is watched. Where a service has the data
//! folder, that one does the work.
//!
//! ```
//! use landfall::job::JobState;
//! use landfall::{Input, Landfall, Registry};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let config = folder.path().join("landfall.toml");
//! std::fs::create_dir(folder.path().join("in"))?; // what is handed over becomes a file there
//! std::fs::write(&config, r#"
//!     config_version = 1
//!     [service]
//!     data_dir = "data"
//!     free_min = "0"
//!     [[rule]]
//!     name = "payments"
//!     paths = ["in/*.csv"]
//!     records = { format = "csv", header = true }
//!     [[rule.pipeline]]
//!     step = "validate"
//!     columns = { amount = { type = "decimal" } }
//!     to = "invalid"
//!     [rule.output.main]
//!     path = "out/{stem}.csv"
//!     [rule.output.invalid]
//!     path = "out/{stem}.invalid.csv"
//!     [rule.source]
//!     on_success = "delete"       # or "archive", or "keep"
//! "#)?;
//! let landfall = Landfall::open(Some(&config), Registry::with_builtin_steps())?;
//!
//! let records = ["1,12.50", "2,seven", "3,7.00"];
//! let input = Input::records(folder.path().join("in/today.csv"), records).with_header("id,amount");
//! let ingestion = landfall.ingest(input, "payments")?; // its job is durable
//! let job = ingestion.wait()?;
//! assert_eq!(job.state(), JobState::Completed);
//! assert_eq!(job.account.records_in, 3);
//!
//! for output in ingestion.outputs()? {
//!     let records: Vec<Vec<u8>> = output.records().collect::<Result<_, _>>()?;
//!     match output.category().as_str() {
//!         "main" => assert_eq!(records, [b"1,12.50", b"3,7.00".as_slice()]),
//!         _ => assert_eq!(records, [b"2,seven"]),
//!     }
//! }
//! assert_eq!(ingestion.failed_records().count(), 0); // those on which a step returned an error
//! landfall.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # The service within your program
//!
//! [`serve`] does what `landfall run` does. It listens for no signals, and never ends the process.
//!
//! ```
//! use std::time::{Duration, Instant};
//!
//! use landfall::Registry;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! let config = folder.path().join("landfall.toml");
//! std::fs::write(&config, r#"
//!     config_version = 1
//!     [service]
//!     data_dir = "data"
//!     free_min = "0"
//!     [[rule]]
//!     name = "lines"
//!     paths = ["in/*.txt"]
//!     records = { format = "lines" }
//!     [rule.output.main]
//!     path = "out/{stem}.txt"
//!     [rule.source]
//!     on_success = "delete"
//! "#)?;
//! let inbox = folder.path().join("in");
//! std::fs::create_dir(&inbox)?;
//!
//! let service = landfall::serve(Some(&config), Registry::with_builtin_steps())?;
//! std::fs::write(inbox.join("today.part"), "one\ntwo\n")?;
//! std::fs::rename(inbox.join("today.part"), inbox.join("today.txt"))?; // a second later it is taken
//!
//! let output = folder.path().join("out/today.txt"); // appears whole, or not at all
//! let begun = Instant::now();
//! while !output.is_file() {
//!     assert!(begun.elapsed() < Duration::from_secs(60), "nothing came out");
//!     std::thread::sleep(Duration::from_millis(20));
//! }
//! assert_eq!(std::fs::read_to_string(&output)?, "one\ntwo\n");
//! service.stop()?; // or `service.wait()`, until a `Stopper` of another thread says so
//! # Ok(())
//! # }
//! ```
//!
//! # Errors, panics, versions
//!
//! Errors say what, where, and by `hint()` what to do. No input makes this crate panic; a panic of a step of yours costs an attempt of the
//! records at hand, and is told as the job's error. Before 1.0 any version may change this surface; what it is stands in
//! `tests/surface/surface.txt` of the repository, so that a change of it is seen.
//!
//! How it works inside, in 15 minutes: `ARCHITECTURE.md` beside this crate.

// What is `pub` can be reached from outside: of all else the compiler finds what nobody uses.
#![warn(unreachable_pub)]

mod allocator;
mod allowance;
mod api;
mod at_rest;
mod audit;
mod cli;
mod clock;
mod config;
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
mod model;
mod openpgp;
mod output;
mod pipeline;
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
pub use config::{Problem, Problems};
pub use library::{
    Ingestion, Input, Landfall, LandfallError, OutputFile, OutputRecords, OutputSlice, OutputSlices, Progress,
};
pub use pipeline::Registry;
pub use published::ReadError;
pub use service::{Reloader, Service, ServiceError, Stopper, serve};

pub mod step {
    //! Steps of your own: what they implement, what they are given, and what their factories return.
    //!
    //! A [`Step`] takes one record at a time; a [`RunStep`] takes a run of records at once, for code that talks to something slow. A
    //! [`StepPlan`] is what a step's factory makes of its parameters: how to make an instance, which columns it reads and where it may
    //! send records. One instance serves one worker and one job, so a step may keep state, but what becomes of a record must depend on the
    //! record alone: slices are worked on in any order and more than once.
    //!
    //! A whole step, from its factory to its output: [the front page](crate#a-step-of-your-own).

    pub use crate::model::step::{
        Broken, CategoryId, Outcome, Reason, Record, RecordError, Run, RunStep, Selected, Step, StepPlan,
        StepStart, Value,
    };
    pub use crate::pipeline::params::Params;
    pub use crate::pipeline::{PipelineProblem, StepContext};
}

pub mod job {
    //! A job, which is the work for one file, as a program is told of it: its state, its account, its outputs, its history.
    //!
    //! Times are UTC. Sizes are in bytes. Its JSON, by `serde`, is a matter of the store of one version; for other programs there is
    //! `landfall show --json`.

    pub use crate::model::account::{Account, FailedRecord};
    pub use crate::model::category::Category;
    pub use crate::model::fault::{FaultKind, JobError, WaitsFor};
    pub use crate::model::job::{Entry, Job, Moment, PublishedOutput, Source, Waiting};
    pub use crate::model::job_id::{JobId, NotAJobId};
    pub use crate::model::job_state::JobState;
    pub use crate::model::os_text::OsText;
}

/// What the benchmarks and tests of this repository reach into; no promise is made of it.
#[doc(hidden)]
pub mod doors {
    pub use crate::allowance::Allowance;
    pub use crate::clock::now;
    pub use crate::config::load;
    pub use crate::decode::{DecodeError, DecodeRequest, Decoder, EntryReader, Progress};
    pub use crate::model::identity::FileIdentity;
    pub use crate::model::job_state::JobEvent;
    pub use crate::model::rule::{Rule, Settings};
    pub use crate::model::slice::{EntryShape, Slice};
    pub use crate::output::{EncodedChunk, EntryName, Intent, OutputPlan, Partials, RolledForward};
    pub use crate::pipeline::{Pipeline, PipelineWorker, SliceResult};
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
