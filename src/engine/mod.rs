//! The engine: the stages a file goes through, and the threads that carry them.
//!
//! ```text
//!  watch --offers--> intake --queued--> loaders --slices--> workers --results--> collector (whichever worker is next)
//!                                                                                   |
//!                       checkpointer <--orders-- ... --settled--> finisher: publish, retire, fail, give back
//! ```
//!
//! Nothing here runs on the async runtime. The life of a file, who owns and locks what, and the order of durable steps: `ARCHITECTURE.md`.

mod abandon;
mod adopt;
mod answers;
mod archive;
mod beside_text;
mod by_hand;
mod care;
mod checkpoint;
mod checksum;
mod child;
mod claim;
mod claim_folders;
mod claim_names;
mod claims;
mod collect;
mod companions;
mod content;
mod deadlines;
mod delivery;
mod delivery_order;
mod disk_space;
mod dispatch;
mod door;
mod entries;
mod error;
mod exchange;
mod expectations;
mod fail;
mod file_systems;
mod find;
mod finish;
mod fit;
mod footprints;
mod free_name;
mod give_back;
mod give_way;
mod given_back;
mod gone;
mod halting;
mod halts;
mod handle;
mod hanging;
mod held;
mod held_records;
mod hours;
mod in_hand;
mod intake;
mod landing_roots;
mod large;
mod late_writes;
mod limits;
mod load;
mod load_failed;
mod load_pace;
mod loading;
mod lock;
mod lookers;
mod marks;
mod memory;
mod moving;
mod names;
mod noticed;
mod one_at_a_time;
mod opening;
mod operator;
mod order;
mod paces;
mod pacing;
mod places;
mod publish;
mod quarantine;
mod reach;
mod recent_pace;
mod recover;
mod removed;
mod rerun;
mod resend;
mod restored;
mod retire;
mod retrieval;
mod retry;
mod rule_book;
mod rule_to_go_by;
mod run;
mod run_state;
mod running;
mod schedule;
mod sequence;
mod sequence_lines;
mod set;
mod settle;
mod shared;
mod side_by_side;
mod source;
mod stop;
mod stopping;
pub(crate) mod strays;
mod take_held;
mod taken;
mod thin;
mod threads;
mod tick;
mod totals;
mod trace;
mod trouble;
mod turns;
mod unopened;
mod unsynced_claims;
mod wall_clock;
mod watches;
mod watching;
mod window_closing;
mod work;

pub(crate) use disk_space::mounts_away;
pub(crate) use door::{Act, Answers, Configuration, Door, Found, JobFilter, Refusal, Sought};
pub(crate) use error::EngineError;
pub(crate) use file_systems::disks_of;
pub(crate) use handle::{Engine, could_ingest, unknown_rule};
use lock::lock;
pub(crate) use opening::Purpose;
pub(crate) use rule_book::Unready;
pub(crate) use running::{Rehearsal, Running};
pub(crate) use shared::TakeOutputs;
pub(crate) use stopping::place_of;
pub(crate) use trace::{Asked as TraceAsked, Decided as TraceDecided, Trace, TraceEnd, trace};

#[cfg(test)]
mod tests;
