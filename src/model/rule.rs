//! Rules as they are meant: checked, defaults filled in, paths absolute.
//!
//! The configuration makes them from the TOML; a job keeps a snapshot of its rule, so that the same source is cut
//! into the same slices after a restart. What the TOML says and these types do not is refused by the configuration.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::api::Api;
pub(crate) use super::archive_owner::ArchiveOwner;
use super::category::Category;
use super::deadline;
use super::default::is_default;
use super::delivery::DeliveryRule;
use super::expected::Expect;
use super::hook::Hook;
pub(crate) use super::layer::Layer;
pub(crate) use super::line_end::LineEnd;
pub(crate) use super::marker_for::MarkerFor;
pub(crate) use super::mode::Mode;
pub(crate) use super::on_complete::OnComplete;
use super::os_text::OsText;
use super::overriding::Override;
use super::pace::Pace;
pub(crate) use super::pattern::Patterns;
use super::priority::{Priority, PriorityWhen};
pub(crate) use super::ready::{EmptyFile, LastLine, Ready, ReadyStrategy, TrustClose};
pub(crate) use super::sequence::Sequence;
pub(crate) use super::stands_for::StandsFor;
pub(crate) use super::symmetric_key::SymmetricKey;
use super::traces::Collector;
use super::window::{DayTime, Window};

/// Everything the configuration says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[service]`.
    pub service: Service,
    /// Every `[[hook]]`.
    pub hooks: Vec<Hook>,
    /// Every `[[rule]]`, in the order that decides overlaps; before each the rules that its overrides make of it, under its name.
    pub rules: Vec<Rule>,
    /// The main configuration file, absolute.
    pub file: PathBuf,
}

/// `[service]`: what is one for all rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The store and all working state.
    pub data_dir: PathBuf,
    /// Worker threads; never 0 here (0 in the TOML is one per core).
    pub workers: usize,
    /// Bytes of slices and results in memory, all jobs together.
    pub memory_max: u64,
    /// Bytes that loading may run ahead of the work through the store, for a job.
    pub load_ahead: u64,
    /// Time between reconcile scans.
    pub scan_every: Duration,
    /// A stop finishes within this.
    pub stop_timeout: Duration,
    /// Finished jobs stay listed so long.
    pub retention: Duration,
    /// Less room than this on a file system: nothing is claimed or published there.
    pub free_min: FreeMin,
    /// Ledger rows, and with them what deliveries are compared with, stay so long.
    pub ledger_retention: Duration,
    /// Who goes first of those of one priority.
    pub sharing: super::priority::Sharing,
    /// IANA name of the time zone for `{date}`, `{time}` and times of the day.
    pub timezone: String,
    /// The control API.
    pub api: Api,
    /// Where traces of jobs go; none: nowhere.
    pub traces: Option<Collector>,
    /// Whether what is kept is encrypted.
    pub at_rest: super::at_rest::AtRest,
    /// Where the store of several nodes lies; none: in the data folder, for this one alone.
    pub(crate) cluster: Option<super::cluster::Cluster>,
    /// Whether the service keeps itself to what its configuration names.
    pub confine: bool,
    /// Whether an audit trail is kept.
    pub audit: bool,
}

/// `service.free_min`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FreeMin {
    /// Not written: 1 GiB, but on a small file system no more than a twentieth of it.
    Default,
    /// Bytes, as written. 0: never too little.
    Bytes(u64),
}

/// More free inodes are not asked for.
const FILES_FREE_MAX: u64 = 1000;

impl FreeMin {
    /// What must be free on a file system of `total` bytes.
    pub fn of(self, total: u64) -> u64 {
        match self {
            Self::Default => (1 << 30).min(total / 20),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// How many files (inodes) must be free on a file system that has room for so many: none where nothing is to be kept free.
    pub fn files_of(self, total: u64) -> u64 {
        match self {
            Self::Bytes(0) => 0,
            Self::Default | Self::Bytes(_) => (total / 20).clamp(1, FILES_FREE_MAX).min(total),
        }
    }
}

/// One `[[rule]]`: which files, how to read them, the pipeline, the outputs, the source's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Letters, digits, `-` and `_`; unique but for the rule's overrides.
    pub name: String,
    /// Whether files are claimed at all, or only looked at.
    pub mode: Mode,
    /// Absolute patterns of the files.
    pub paths: Patterns,
    /// Patterns of what is no candidate: without a separator they match the file's name, else the whole path (absolute).
    pub exclude: Arc<[String]>,
    /// Which jobs go first.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: Priority,
    /// The first of these that holds goes before `priority`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub priority_when: Vec<PriorityWhen>,
    /// How fast it may work.
    #[serde(default, skip_serializing_if = "is_default")]
    pub pace: Pace,
    /// Which of several waiting files goes first.
    pub order: Order,
    /// When its jobs run; none: always.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// By when each day a file is to be done that was claimed before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<DayTime>,
    /// How often files are expected; none: nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// Whether its jobs go one after another, in that order.
    #[serde(default, skip_serializing_if = "is_default")]
    pub sequence: Sequence,
    /// Links to files and folders are followed, as far as they lead into the folders that `paths` begin in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub follow_links: bool,
    /// When a candidate is complete.
    pub ready: Ready,
    /// Its records may not lie in clear in the data folder.
    #[serde(default, skip_serializing_if = "is_default")]
    pub encrypt_at_rest: bool,
    /// How a source becomes text.
    pub decode: Decode,
    /// How text becomes records.
    pub records: Records,
    /// The steps, in order.
    pub pipeline: Vec<StepSpec>,
    /// The outputs, by category.
    pub outputs: BTreeMap<Category, Output>,
    /// Signals to consumers.
    pub publish: Publish,
    /// What failed records and broken steps lead to.
    pub errors: Errors,
    /// What becomes of the source.
    pub source: SourceEnd,
    /// What becomes of resends; none: they are not looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<DeliveryRule>,
    /// Folder of the file that names the rule: relative commands start there.
    #[serde(with = "super::os_text::path")]
    pub base_dir: PathBuf,
    /// IANA name of the time zone for `{date}`, `{time}` and times of the day.
    pub timezone: String,
    /// The override that made this of its rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overriding: Option<Override>,
    /// Where the old system writes its outputs, absolute (`shadow`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compare: Option<PathBuf>,
    /// What it leaves out of the rule that it stands for, in an engine that publishes nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stands_for: Option<StandsFor>,
}

impl Rule {
    /// `blake3:` and the hash of the rule as it is meant: equal rules hash alike whatever their TOML looks like. A key that comes
    /// later is to be left out where it is not used, so that the hash outlives the update.
    pub fn hash(&self) -> String {
        // Plain data serializes. Should it not, two rules must not hash alike all the same.
        let json = serde_json::to_vec(self).unwrap_or_else(|_| format!("{self:?}").into_bytes());
        format!("blake3:{}", blake3::hash(&json).to_hex())
    }

    /// Whether this is the rule itself, and none of its overrides.
    pub fn is_base(&self) -> bool {
        self.overriding.is_none()
    }

    /// The priority of the job of a file of so many bytes.
    pub fn priority_for(&self, bytes: u64) -> Priority {
        let first = self.priority_when.iter().find(|when| when.holds(bytes));
        first.map_or(self.priority, |when| when.priority)
    }

    /// By when a file is to be done that is claimed now. `by_hand`: it waits for no window.
    pub fn due(&self, now: Timestamp, by_hand: bool) -> Option<Timestamp> {
        deadline::due(self.deadline?, self.window.filter(|_| !by_hand), now, &self.zone())
    }

    /// That of its times of the day. It was known when the configuration was read.
    pub fn zone(&self) -> TimeZone {
        TimeZone::get(&self.timezone).unwrap_or(TimeZone::UTC)
    }

    /// Whether files whose path gave these values are this one's among those of its name: the first of which this is true has them.
    pub fn is_for(&self, name: &str, values: &BTreeMap<String, OsText>) -> bool {
        self.name == name && self.overriding.as_ref().is_none_or(|overriding| overriding.holds(values))
    }
}

/// `order`: among waiting files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// As they became ready.
    Arrival,
    /// By file name.
    Name,
    /// By modification time.
    Modified,
}

/// `[rule.decode]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decode {
    /// Spelled-out layers from the outermost in; empty: recognised by content.
    pub layers: Vec<Layer>,
    /// `require = ["encrypted"]`.
    pub require_encrypted: bool,
    /// `require = ["signed"]`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub require_signed: bool,
    /// Files of age identities and of secret `OpenPGP` keys, absolute; may hold the rule's named wildcards.
    pub identities: Vec<String>,
    /// Files of public `OpenPGP` keys, absolute; may hold named wildcards. Where there are some, each signature is by one of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<String>,
    /// File with the passphrase of sources that are encrypted with one, and of protected `OpenPGP` keys, absolute; may hold named wildcards.
    pub passphrase_file: Option<String>,
    /// Keys of `.enc` files of the Symmetric Encryption library.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub symmetric_encryption: Vec<SymmetricKey>,
    /// Patterns of the archive members to take; empty: all files.
    pub entries: Vec<String>,
    /// Members of one source at most.
    pub entries_max: u64,
    /// Layers within each other at most.
    pub depth_max: u32,
    /// Bytes that one source may expand to.
    pub expanded_max: u64,
    /// Expanded to stored bytes at most, checked past the first 16 MiB.
    pub ratio_max: u64,
    /// How long reading one source may take, waiting aside.
    pub time_max: Duration,
    /// The work factor of a passphrase at most, as age counts it: 2^n KiB of memory.
    pub work_factor_max: u8,
    /// WHATWG label of the character encoding.
    pub encoding: String,
    /// What becomes of bytes that are not in it.
    pub on_bad_encoding: OnBadEncoding,
}

impl Decode {
    /// The default of `decode.time_max`.
    pub const fn time_max() -> Duration {
        Duration::from_hours(1)
    }

    /// The default of `decode.work_factor_max`: what `age -p` writes.
    pub const fn work_factor_max() -> u8 {
        18
    }
}

/// `decode.on_bad_encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBadEncoding {
    /// The job fails.
    Fail,
    /// U+FFFD in their place, counted.
    Replace,
    /// Bytes pass as they are.
    Raw,
}

/// `[rule.records]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(clippy::struct_field_names, reason = "fields have the names of their keys")]
pub struct Records {
    /// How the text is cut.
    pub format: Format,
    /// Leading lines of an entry that are no records.
    pub skip_lines: u64,
    /// Bytes of a record at most; a longer one becomes a failed record.
    pub record_max: u64,
    /// Records of a slice at most.
    pub slice_records: u32,
    /// What ends a record, after decoding; none: `\n` or `\r\n`, and nothing at all after records of a `record_length`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
}

impl Records {
    /// Bytes of each record, where they are told from each other by that; a separator is not counted.
    pub fn record_length(&self) -> Option<u64> {
        match &self.format {
            Format::Fixed(fixed) => fixed.record_length,
            Format::Lines | Format::Csv(_) | Format::Jsonl => None,
        }
    }

    /// How the records of an output are cut again: line by line, whatever stood between those of the source.
    pub(crate) fn as_written(&self, output: &Output) -> Self {
        let mut format = self.format.clone();
        match &mut format {
            Format::Csv(csv) => {
                csv.header &= output.header;
                csv.columns.clear();
            }
            Format::Fixed(fixed) => fixed.record_length = None,
            Format::Lines | Format::Jsonl => {}
        }
        Self { format, skip_lines: 0, separator: None, ..self.clone() }
    }
}

/// `records.format` and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One record a line.
    Lines,
    /// RFC 4180, with its usual liberties.
    Csv(Csv),
    /// Fields of fixed width.
    Fixed(Fixed),
    /// One JSON value a line.
    Jsonl,
}

/// The parameters of csv.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Csv {
    /// The first record of each entry names the columns.
    pub header: bool,
    /// Without a header: the columns; with one: columns that must be there.
    pub columns: Vec<String>,
    /// One byte.
    pub delimiter: u8,
    /// One byte; none: quotes are ordinary characters.
    pub quote: Option<u8>,
    /// One byte: within quotes, a quote or another of it behind it is meant as it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub escape: Option<u8>,
    /// Columns of a header, and fields of a record, at most.
    pub columns_max: u64,
}

impl Csv {
    /// The default of `records.columns_max`.
    pub const fn columns_max() -> u64 {
        10_000
    }
}

/// The parameters of fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fixed {
    /// In order, without gaps.
    pub fields: Vec<FixedField>,
    /// Bytes of a record before decoding, where there are no line ends; a separator is not counted.
    pub record_length: Option<u64>,
    /// What becomes of a record that is longer or shorter than its fields.
    pub on_misfit: OnMisfit,
}

/// `records.on_misfit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMisfit {
    /// It is a failed record.
    #[default]
    Fail,
    /// Fields that are not there are empty, and what is more belongs to none.
    Allow,
}

/// A field of a fixed record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedField {
    /// The column's name.
    pub name: String,
    /// In characters after decoding.
    pub width: u32,
}

/// One `[[rule.pipeline]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepSpec {
    /// Its registered name.
    pub step: String,
    /// The categories whose records it sees.
    pub on: Vec<Category>,
    /// Its parameters as the TOML has them (dates as strings); the step's factory checks them.
    pub params: serde_json::Map<String, serde_json::Value>,
}

/// In the data folder: what jobs published into the store, for each a folder under its id.
pub(crate) const OUTPUTS_FOLDER: &str = "outputs";
/// In the data folder of shadow rules: what their jobs write, until it is compared.
pub(crate) const OUTPUTS_ASIDE_FOLDER: &str = "out";

/// One `[rule.output.CATEGORY]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(clippy::struct_excessive_bools, reason = "each is a key of its own in the TOML")]
pub struct Output {
    /// Template of the final path, absolute.
    pub path: String,
    /// `keep_output = "store"`: the path is one in the data folder, and the file goes with its job's row.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_in_store: bool,
    /// It is encrypted to the data folder's own key (`service.at_rest`), and its path ends in `.age`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_sealed: bool,
    /// What to do where the name is taken.
    pub on_exists: OnExists,
    /// Whether a file without records is written.
    pub write_empty: bool,
    /// More records here than this fail the job.
    pub max: Option<Limit>,
    /// csv: repeat the header.
    pub header: bool,
    /// What ends each record.
    pub line_end: LineEnd,
    /// csv, jsonl: add `_record` and `_reason`.
    pub annotate: bool,
    /// age recipients to encrypt to.
    pub recipients: Vec<String>,
    /// File with further recipients, one a line, absolute.
    pub recipients_file: Option<PathBuf>,
    /// Whether the SHA-256 of the finished file is told.
    pub sha256: bool,
    /// Unix permissions of the file.
    pub mode: u32,
}

/// `output.on_exists`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnExists {
    /// `name-1.csv`, `name-2.csv` …
    Number,
    /// The job fails before anything is published.
    Fail,
    /// The old file is replaced atomically.
    Replace,
}

/// A share or a count of the records of a job.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// From 0 to 100.
    Percent(f64),
    /// Records.
    Count(u64),
}

impl Limit {
    /// Whether `count` of `total` records is more than this.
    pub fn is_passed_by(self, count: u64, total: u64) -> bool {
        match self {
            Self::Percent(percent) => count as f64 * 100.0 > percent * total as f64,
            Self::Count(max) => count > max,
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Count(count) => write!(f, "{count}"),
        }
    }
}

/// `[rule.publish]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// Template of the file that says all outputs are there, absolute.
    pub marker: Option<String>,
    /// Template of the file with the job's JSON, absolute.
    pub manifest: Option<String>,
    /// The folder where a file system must be mounted, absolute.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mount: Option<PathBuf>,
}

/// `[rule.errors]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// What a failed record leads to.
    pub on_record_error: OnRecordError,
    /// More failed records than this fail the job.
    pub failed_max: Limit,
    /// Tries of a slice whose step broke.
    pub attempts: u32,
    /// Failed jobs in a row after which the rule claims no file any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_after: Option<u32>,
}

/// `errors.on_record_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnRecordError {
    /// Keep it and go on.
    SetAside,
    /// Keep it; the job is published once each is decided on.
    Hold,
    /// The job fails at once.
    Fail,
}

/// `[rule.source]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceEnd {
    /// What becomes of a source whose job completed.
    pub on_success: OnSuccess,
    /// Template of the archive folder, absolute (`archive`).
    pub archive_dir: Option<String>,
    /// Archived sources are removed when they are older; none: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_keep: Option<Duration>,
    /// Whose an archived source is.
    #[serde(default, skip_serializing_if = "ArchiveOwner::is_default")]
    pub archive_owner: ArchiveOwner,
    /// What becomes of the records of a job that completed.
    #[serde(default, skip_serializing_if = "OnComplete::is_default")]
    pub on_complete: OnComplete,
    /// Folder for claimed files; none: `.landfall` where the file lies.
    pub claim_dir: Option<PathBuf>,
    /// Folder for quarantined files; none: `quarantine` within the claim folder.
    pub quarantine_dir: Option<PathBuf>,
}

/// `source.on_success`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnSuccess {
    /// Moved to `archive_dir`.
    Archive,
    /// Removed.
    Delete,
    /// Left where it lies; never renamed.
    Keep,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_passed_only_by_more_than_it_says() {
        assert!(!Limit::Percent(50.0).is_passed_by(5, 10));
        assert!(Limit::Percent(50.0).is_passed_by(6, 10));
        assert!(!Limit::Count(3).is_passed_by(3, 3));
        assert!(Limit::Count(0).is_passed_by(1, 1_000_000));
        assert!(!Limit::Percent(1.0).is_passed_by(0, 0));
    }
}
