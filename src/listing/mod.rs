//! The answers to whoever looks, as JSON: the commands print them (`--json`), and the control API sends them.
//!
//! They are written as they are read, so that memory does not grow with a list.

mod bytes;
pub(crate) mod disks;
pub(crate) mod explain;
pub(crate) mod explain_found;
pub(crate) mod find;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod lines;
pub(crate) mod named_path;
pub(crate) mod records;
pub(crate) mod reload;
pub(crate) mod rules;
pub(crate) mod status;
pub(crate) mod trace;
pub(crate) mod waiting;

use std::io::{self, Write};

use crate::engine::{Door, Refusal};

/// How a listing ends early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Stop {
    #[error("the question has no answer")]
    Refused(#[from] Refusal),
    #[error("the answer cannot be written")]
    Output(#[from] io::Error),
}

impl From<serde_json::Error> for Stop {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}

/// What is to be listed, if there is any: nothing is printed before it is known that there is an answer.
pub(crate) fn any<T>(
    mut items: impl Iterator<Item = Result<T, Refusal>>,
) -> Result<Option<impl Iterator<Item = Result<T, Refusal>>>, Refusal> {
    let first = items.next().transpose()?;
    Ok(first.map(|first| std::iter::once(Ok(first)).chain(items)))
}

/// The items of a JSON list and its end, line by line, so that memory does not grow with the list.
pub(crate) fn json_items<T>(
    out: &mut dyn Write,
    items: impl Iterator<Item = Result<T, Refusal>>,
    mut json_of: impl FnMut(T) -> serde_json::Result<String>,
) -> Result<(), Stop> {
    for (position, item) in items.enumerate() {
        let json = json_of(item?)?;
        write!(out, "{}{json}", if position == 0 { "\n" } else { ",\n" })?;
    }
    Ok(out.write_all(b"\n]")?)
}

/// Whether a service answers, in a word.
pub(crate) fn service_word(door: Option<&dyn Door>) -> &'static str {
    if door.is_some_and(Door::is_service) { "running" } else { "stopped" }
}
