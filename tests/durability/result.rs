//! What a run left behind, in a form in which two runs can be compared.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::scenario::Stage;

/// Folders that are compared, files by their names and contents.
const FOLDERS: &[&str] = &["in", "out", "archive", "elsewhere", "consumed", "stored"];

/// Values of a job that differ between two runs that went equally well.
const VOLATILE: &[&str] = &[
    "id",
    "parent",
    "created_at",
    "started_at",
    "finished_at",
    "attempts",
    "deaths",
    "resumed_at_slice",
    "resumed_at_record",
    "records_again",
    "rule_hash",
    "timeline",
    "throughput",
    "complete_by",
    "job",
    "at",
];

/// Everything that a run left: each file's content, unpacked, and each job.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Outcome {
    pub files: BTreeMap<String, Vec<u8>>,
    pub jobs: Vec<String>,
    /// What stopped and waits for an operator.
    pub stops: String,
}

impl Outcome {
    pub fn of(stage: &Stage) -> Self {
        let files = names(stage)
            .into_iter()
            .map(|(name, path)| {
                let content = content(&name, &path);
                let content = match () {
                    () if is_report(&name) => report(stage, &content),
                    () if stage.is_told && name.starts_with("consumed/") => events_told(&content),
                    () => content,
                };
                (name, content)
            })
            .collect();
        let listed = stage.world.landfall(&["jobs"]).stdout;
        let stops: Vec<_> = listed.lines().filter(|line| line.contains(" stopped ")).collect();
        Self { files, jobs: jobs(stage), stops: stops.join("\n") }
    }

    /// How another outcome differs from this one, the undisturbed.
    pub fn difference(&self, other: &Self) -> Option<Difference> {
        let mut difference = Difference::default();
        for (name, content) in &self.files {
            match other.files.get(name) {
                None => difference.lost.push(format!("{name} is missing")),
                Some(there) if there.len() < content.len() => {
                    difference.lost.push(format!("{name} has {} of {} bytes", there.len(), content.len()));
                }
                Some(there) if there.len() > content.len() => {
                    difference.doubled.push(format!(
                        "{name} has {} bytes, not {}",
                        there.len(),
                        content.len()
                    ));
                }
                Some(there) if there != content => difference.other.push(format!(
                    "{name} differs:\n{}\n{}",
                    String::from_utf8_lossy(&content[..content.len().min(2000)]),
                    String::from_utf8_lossy(&there[..there.len().min(2000)])
                )),
                Some(_) => {}
            }
        }
        for name in other.files.keys().filter(|name| !self.files.contains_key(*name)) {
            difference.doubled.push(format!("{name} should not be there"));
        }
        if self.jobs != other.jobs {
            difference.other.push(other_lines(&self.jobs.join("\n"), &other.jobs.join("\n")));
        }
        if self.stops != other.stops {
            difference.other.push(format!("it says what it did not say before: {}", other.stops));
        }
        difference.is_some().then_some(difference)
    }
}

/// The lines that only one of two texts has.
fn other_lines(left: &str, right: &str) -> String {
    let only = |text: &str, other: &str, mark: char| -> String {
        text.lines()
            .filter(|line| !other.lines().any(|there| there == *line))
            .fold(String::new(), |all, line| all + "\n    " + &mark.to_string() + line)
    };
    format!("other jobs:{}{}", only(right, left, '+'), only(left, right, '-'))
}

/// What is wrong.
#[derive(Debug, Default)]
pub struct Difference {
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
    pub other: Vec<String>,
}

impl Difference {
    fn is_some(&self) -> bool {
        !(self.lost.is_empty() && self.doubled.is_empty() && self.other.is_empty())
    }
}

/// The names of all compared files: cheap to poll.
pub fn names(stage: &Stage) -> BTreeMap<String, std::path::PathBuf> {
    let mut found = BTreeMap::new();
    for folder in FOLDERS {
        if let Some(path) = stage.folder(folder) {
            collect(folder, &path, &mut found);
        }
    }
    found.into_iter().map(|(name, path)| (without_job(name), path)).collect()
}

/// What is in the store lies in a folder of its job's id.
fn without_job(name: String) -> String {
    match name.strip_prefix("stored/").and_then(|within| within.split_once('/')) {
        Some((_, file)) => format!("stored/JOB/{file}"),
        None => name,
    }
}

fn collect(prefix: &str, folder: &Path, found: &mut BTreeMap<String, std::path::PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = format!("{prefix}/{}", entry.file_name().to_string_lossy());
        let path = entry.path();
        if path.is_dir() {
            collect(&name, &path, found);
        } else if !is_of_the_folder(&name) {
            found.insert(name, path);
        }
    }
}

/// What stays in a claim folder: who holds it, and whose it is. A copy of the latter that a fault cut short is written anew at the next
/// claim there, or at the next start.
fn is_of_the_folder(name: &str) -> bool {
    let half_a_mark = name.starts_with("in/.landfall/.landfall-") && name.ends_with(".partial");
    half_a_mark
        || [".landfall/landfall.lock", ".landfall/landfall.store"].iter().any(|own| name.ends_with(own))
}

/// A file's bytes; an output that is packed, unpacked by the real tool, since a resumed one may be packed otherwise.
fn content(name: &str, path: &Path) -> Vec<u8> {
    let is_output = ["out/", "consumed/", "stored/"].iter().any(|folder| name.starts_with(folder));
    let packed_by = path.extension().and_then(|extension| match extension.to_str() {
        Some("gz") => Some("gzip"),
        Some("zst") => Some("zstd"),
        _ => None,
    });
    if let Some(program) = packed_by.filter(|_| is_output) {
        let unpacked = Command::new(program).arg("-dc").arg(path).output().expect("it runs");
        assert!(unpacked.status.success(), "{}: {unpacked:?}", path.display());
        return unpacked.stdout;
    }
    fs::read(path).unwrap_or_default()
}

/// How many events a receiver was told, of which it knows by their numbers which are the same.
fn events_told(numbers: &[u8]) -> Vec<u8> {
    let numbers = String::from_utf8_lossy(numbers);
    format!("{} events", numbers.lines().collect::<BTreeSet<_>>().len()).into_bytes()
}

/// Manifests and error reports hold a job's JSON.
fn is_report(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "json")
}

fn report(stage: &Stage, content: &[u8]) -> Vec<u8> {
    let job: Value = serde_json::from_slice(content).expect("a report is JSON");
    stable(stage, job).into_bytes()
}

/// Every job, by the command.
pub fn jobs(stage: &Stage) -> Vec<String> {
    let (command, list) = stage.listed();
    let ran = stage.world.landfall(&command);
    let Ok(listed) = serde_json::from_str::<Value>(&ran.stdout) else { return vec![format!("{ran:?}")] };
    let jobs = listed[list].as_array().cloned().unwrap_or_default();
    let mut jobs: Vec<_> = jobs.into_iter().map(|job| stable(stage, job)).collect();
    jobs.sort();
    jobs
}

/// A job without what may differ.
fn stable(stage: &Stage, mut job: Value) -> String {
    if let Some(fields) = job.as_object_mut() {
        for key in VOLATILE {
            fields.remove(*key);
        }
    }
    for output in job["outputs"].as_array_mut().into_iter().flatten() {
        // How well it is packed depends on where it was resumed.
        output["bytes"] = Value::Null;
        if let Some((store, name)) = output["path"].as_str().and_then(|path| path.split_once("/outputs/")) {
            output["path"] = format!("{store}/{}", without_job(format!("stored/{name}"))).into();
        }
    }
    stage.without_places(&serde_json::to_string_pretty(&job).expect("JSON can be written"))
}
