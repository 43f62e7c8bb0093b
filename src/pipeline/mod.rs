//! The registry of steps, and the runner that takes slices through a rule's pipeline.
//!
//! [`Pipeline::build`] checks everything that can be known before a file arrives: parameters, categories and where they lead,
//! and, as far as the rule tells the columns, their names. Columns that only an entry tells are checked by
//! [`Pipeline::check_shape`]. A [`PipelineWorker`] takes slices through its own instances of the steps.
//!
//! # Invariants
//! - A slice's account balances: every record ends in one chunk, dropped, or failed.
//! - All records of a category have one shape (csv, fixed): `build` refuses a pipeline where they could differ.
//! - A record that no step changed comes out byte for byte, its line end aside (jsonl with a separator: and white space around it).
//! - Nobody looks into a record that no step needs the fields of: a csv record with misplaced quotes passes as it stands. What
//!   would not be one record at the reader's, and what does not fit a fixed layout, fails all the same, see `inspect`.
//! - Nothing is allocated for a record that no step changed and none refuses.

mod broken;
mod build;
mod context;
mod decimal;
mod inspect;
mod missing;
pub(crate) mod params;
mod plan;
mod problem;
mod registry;
mod render;
mod resemblance;
mod result;
mod runner;
mod schema;
mod shapes;
pub(crate) mod steps;
mod surroundings;
#[cfg(test)]
mod tests;
mod trace;
mod work;

pub(crate) use broken::StepBroken;
pub use context::StepContext;
pub(crate) use missing::MissingColumns;
pub use plan::Pipeline;
pub use problem::PipelineProblem;
pub use registry::Registry;
pub(crate) use resemblance::Resemblance;
pub use result::SliceResult;
pub use runner::PipelineWorker;
pub(crate) use steps::exec::environment::clear as clear_environment;
pub(crate) use steps::exec::fate::start as start_child;
pub(crate) use steps::exec::groups::{kill_all as kill_children, kill_all_of as kill_children_of};
pub(crate) use steps::exec::reaper::kill as end_child;
pub(crate) use surroundings::{Surroundings, remove_whole};
pub(crate) use trace::{OPERATOR, RecordTrace, StepOutcome, StepTrace};
pub(crate) use work::{BEFORE_STEPS_NAME, bytes_of, place_of};
