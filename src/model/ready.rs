//! `[rule.ready]`: when a candidate is complete.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::marker_for::MarkerFor;

/// `[rule.ready]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// How completeness is judged.
    pub strategy: ReadyStrategy,
    /// What a close-write proves (`auto`).
    pub trust_close: TrustClose,
    /// How long size, mtime and ctime must stand still.
    pub stable_for: Duration,
    /// How long it must stand still after a close, a rename or a marker that was seen: its sender may still ask for it.
    pub linger: Duration,
    /// Template of the marker's name (`marker`): `{name}`, `{stem}`; in the file's folder. For a folder the name itself.
    pub marker: Option<String>,
    /// For which files a marker stands.
    #[serde(default, skip_serializing_if = "MarkerFor::is_file")]
    pub marker_for: MarkerFor,
    /// Template of the name of the file with the sender's totals, as for a marker of one file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub totals: Option<String>,
    /// Template of the name of the file with the sender's checksum, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// What a last record without its line end means.
    pub last_line: LastLine,
    /// Whether events tell of files, where the file system has any; else only scans do.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub events: bool,
    /// What a file without a byte is.
    #[serde(default)]
    pub empty: EmptyFile,
    /// A file that waits longer is told; none: never.
    pub late_after: Option<Duration>,
}

fn yes() -> bool {
    true
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_yes(it: &bool) -> bool {
    *it
}

/// `ready.empty`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EmptyFile {
    /// A source without records.
    #[default]
    Take,
    /// A placeholder: it waits until something is written into it.
    Wait,
}

/// `ready.last_line`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LastLine {
    /// It is a record, and the job says that it had no line end.
    #[default]
    Any,
    /// The file was cut off.
    Complete,
}

/// `ready.strategy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReadyStrategy {
    /// Events, the open-writer check and quiet time.
    Auto,
    /// Quiet time only (and the open-writer check).
    Stable,
    /// A marker file.
    Marker,
}

/// `ready.trust_close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TrustClose {
    /// Only where the content proves its own end.
    Framed,
    /// Senders never break off.
    Always,
    /// Quiet time always counts.
    Never,
}
