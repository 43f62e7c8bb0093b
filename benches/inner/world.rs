//! What the benches share: a folder, rules as their TOML means them, slices, a job.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use landfall::Registry;
use landfall::doors::Cutter;
use landfall::doors::FileIdentity;
use landfall::doors::Rule;
use landfall::doors::{EntryShape, Slice};
use landfall::job::JobId;
use landfall::job::OsText;
use landfall::job::{Job, Source};
use tempfile::TempDir;

/// Of 2026: ids and rows have a time, and it may as well always be the same.
const MADE_AT_MS: i64 = 1_796_000_000_000;

/// A folder on the disk that the build lies on, removed at the end: temporary folders are often in memory, where a sync costs nothing.
pub fn folder() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder for the benches")
}

/// The rule of payments with this `[rule.records]`, this pipeline, and outputs for `categories` with this suffix.
pub fn rule(folder: &Path, records: &str, pipeline: &str, categories: &[&str], suffix: &str) -> Rule {
    let outputs: Vec<String> = categories
        .iter()
        .map(|name| {
            format!("[rule.output.{name}]\npath = \"out/{{stem}}.{name}{suffix}\"\nempty = \"write\"\n")
        })
        .collect();
    let toml = format!(
        "config_version = 1\n[[rule]]\nname = \"payments\"\npaths = [\"in/*\"]\n[rule.records]\n{records}\n{pipeline}\n{}\
         [rule.source]\non_success = \"delete\"\n",
        outputs.concat()
    );
    let path = folder.join("landfall.toml");
    fs::write(&path, toml).expect("the folder takes a file");
    let settings = landfall::doors::load(&path, &Registry::with_builtin_steps());
    settings.unwrap_or_else(|problems| panic!("{problems}")).rules.remove(0)
}

/// All slices of a text, and its shape.
pub fn slices(rule: &Rule, text: &[u8]) -> (Arc<EntryShape>, Vec<Slice>) {
    let mut cutter = Cutter::new(Cursor::new(text), &rule.records, &rule.decode, 0, String::new(), 0)
        .expect("the rule can be cut by");
    let shape = Arc::new(cutter.shape().expect("the text has a header"));
    let slices = std::iter::from_fn(|| cutter.next_slice().expect("the text can be cut"));
    (shape, slices.collect())
}

pub fn job_id(number: u64) -> JobId {
    JobId::from_parts(MADE_AT_MS.cast_unsigned() + number, u128::from(number))
}

/// A job that was just queued.
pub fn job(number: u64) -> Job {
    let path = PathBuf::from("/srv/in").join(format!("payments-{number}.csv"));
    let identity = FileIdentity { device: 1, inode: number, size: 850, mtime_ns: 1, ctime_ns: 1 };
    let mut source = Source::found(OsText::from(path.as_path()), identity);
    source.claimed = Some(OsText::from(path.with_extension("claimed")));
    let at = Timestamp::from_millisecond(MADE_AT_MS).expect("a time of 2026");
    Job::queued(job_id(number), "payments", "blake3:00", source, at)
}
