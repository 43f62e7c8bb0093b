//! The pure vocabulary: rules, jobs and their lifecycle, slices, records, accounts and the `Step` trait.
//!
//! Nothing here does I/O, reads a clock, or meets tokio, sled or notify. Everything that is stored is plain
//! `serde` data, so that the store can keep it and a test can compare it.

pub mod account;
pub mod amount;
pub mod api;
pub mod archive_owner;
pub(crate) mod built_in;
pub mod category;
pub mod clock_steps;
pub mod complete_by;
pub mod configuration;
pub mod deadline;
pub mod decisions;
pub mod delivery;
pub mod expected;
pub mod fault;
pub(crate) mod file_known;
pub mod files_in_view;
pub mod first_free;
pub mod halts;
pub mod hook;
pub mod identity;
pub mod job;
pub mod job_id;
pub(crate) mod job_line;
mod job_moves;
pub mod job_state;
pub mod job_view;
pub mod line_end;
pub mod marker_for;
pub mod mistake;
pub mod mode;
pub(crate) mod nearest;
pub mod notice;
pub mod of_no_rule;
pub mod on_time;
pub mod os_text;
pub mod overriding;
pub mod pace;
pub(crate) mod pattern;
pub mod places;
pub mod priority;
pub mod ready;
pub mod reason;
pub mod rule;
pub mod sequence;
pub mod settling;
pub mod shadow;
pub(crate) mod shell;
pub mod shown_json;
pub mod slice;
pub mod standing;
pub mod step;
pub mod template;
pub mod watch_counts;
pub mod window;
