//! `landfall ingest --dry-run`: the real work, with every folder that is written to inside a temporary one. Names and revisions are those
//! of the real run: what lies among the outputs is looked at, and the real store, or the running service, says what was published before.

use std::path::{Component, Path, PathBuf};

use super::check::counted;
use super::private;
use super::say::say;
use super::view;
use crate::control;
use crate::engine::{Refusal, Rehearsal};
use crate::model::at_rest::KeysFrom;
use crate::model::fault::JobError;
use crate::model::job::{Job, PublishedOutput};
use crate::model::job_state::JobState;
use crate::model::os_text::escaped_path;
use crate::model::rule::{FreeMin, Publish, Rule, Sequence, Settings};
use crate::model::template;
use crate::published;
use crate::store::{Published, StoreError};

const LINES_SHOWN: usize = 4;
const LINE_BYTES_MAX: usize = 160;
/// Bytes of an output that are looked at.
const SAMPLE_BYTES: u64 = 64 << 10;

/// The folder that takes what a dry run writes, removed with it.
pub(super) struct DryRun {
    scratch: tempfile::TempDir,
    /// The root that outputs have in reality: `/`, or a drive. The rules may name different drives; the first one's is shown.
    root: PathBuf,
    rule: Option<Rule>,
    real: Settings,
}

impl DryRun {
    pub(super) fn new(settings: &Settings, rule: &str) -> anyhow::Result<Self> {
        let scratch = private::folder("landfall-dry-run-")?;
        let rule = settings.rules.iter().find(|known| known.is_base() && known.name == rule).cloned();
        let first = rule.as_ref().and_then(|rule| rule.outputs.values().next());
        let root = first.map_or_else(PathBuf::new, |output| root_of(Path::new(&output.path)));
        Ok(Self { scratch, root, rule, real: settings.clone() })
    }

    /// The settings with the data folder and all outputs inside the scratch folder; nothing else is ever written to without `--retire`.
    pub(super) fn settings(&self, mut settings: Settings) -> Settings {
        settings.service.data_dir = self.scratch.path().join("data");
        settings.service.free_min = FreeMin::Bytes(0); // nothing of it is to stay
        settings.service.at_rest.keys = KeysFrom::DataFolder; // its own
        for output in settings.rules.iter_mut().flat_map(|rule| rule.outputs.values_mut()) {
            let folder = template::escaped(&self.outputs().to_string_lossy());
            let scratched = Path::new(&folder).join(without_root(Path::new(&output.path)));
            output.path = scratched.to_string_lossy().into_owned();
            if std::mem::take(&mut output.is_sealed) {
                output.path.truncate(output.path.len() - ".age".len());
            }
        }
        for rule in &mut settings.rules {
            rule.publish = Publish::default();
            rule.window = None;
            rule.sequence = Sequence::None; // each file is told by itself
        }
        settings
    }

    /// What it asks of the real world.
    pub(super) fn rehearsal(&self) -> Rehearsal {
        let (outputs, root) = (self.outputs(), self.root.clone());
        let is_taken = move |path: &Path| real_path(path, &outputs, &root).symlink_metadata().is_ok();
        let real = self.real.clone();
        Rehearsal {
            is_taken: Box::new(is_taken),
            published: Box::new(move |rule, hash, key| {
                let refused = |refusal: Refusal| match refusal {
                    Refusal::Fault(error) => error,
                    other => JobError {
                        kind: crate::model::fault::FaultKind::Storage,
                        message: other.to_string(),
                        hint: other.hint(),
                    },
                };
                // Only for the moment: the service may be about to start.
                match control::open(&real) {
                    Ok(door) => door.published(rule, hash, key).map_err(refused),
                    Err(StoreError::NoStore { .. }) => Ok(Published::default()),
                    Err(error) => Err(JobError::from_fault(&error)),
                }
            }),
        }
    }

    fn outputs(&self) -> PathBuf {
        self.scratch.path().join("out")
    }

    pub(super) fn tell(&self, job: &Job) {
        let account = &job.account;
        let would = match job.state.get() {
            JobState::Completed => "would be completed".to_owned(),
            JobState::Failed => "would fail; nothing would be published".to_owned(),
            JobState::Refused => "would be refused; nothing would be published".to_owned(),
            state => format!("would be {state}; nothing would be published"),
        };
        say!("{}: {would}", job.source.path);
        if job.delivery.revision > 1 {
            say!("    revision {} of its delivery", job.delivery.revision);
        }
        say!(
            "    {} in, {} to outputs, {} dropped; failed records: {}",
            counted(account.records_in, "record"),
            account.records_written(),
            account.records_dropped(),
            account.records_failed
        );
        for output in &job.outputs {
            let path = self.real_text(&escaped_path(output.path.as_path()), job);
            let (records, bytes) = (counted(output.records, "record"), counted(output.bytes, "byte"));
            say!("    {}: {records}, {bytes}, {path}", output.category);
            match self.first_lines(output) {
                Ok(lines) => lines.iter().for_each(|line| say!("        {line}")),
                Err(error) => say!("        its records cannot be shown: {error}"),
            }
        }
        for (reason, count) in &account.reasons {
            say!("    {}: {count}", view::printable(reason.as_bytes(), usize::MAX));
        }
        for remark in job.remarks() {
            say!("    note: {}", view::printable(remark.as_bytes(), usize::MAX));
        }
        if let Some(error) = &job.error {
            say!("    error: {}", self.real_text(&error.message, job));
            if let Some(hint) = &error.hint {
                say!("    hint: {}", self.real_text(hint, job));
            }
        }
    }

    /// A text with the paths and names of the real run; its job's id is not known yet.
    fn real_text(&self, text: &str, job: &Job) -> String {
        let scratched = escaped_path(&self.outputs().join("x"));
        let root = escaped_path(&self.root.join("x"));
        let scratched = scratched.trim_end_matches('x');
        text.replace(scratched, root.trim_end_matches('x')).replace(&job.id.to_string(), "{job}")
    }

    fn first_lines(&self, output: &PublishedOutput) -> anyhow::Result<Vec<String>> {
        let Some(rule) = &self.rule else { return Ok(Vec::new()) };
        let path = output.path.as_path();
        if path.extension().is_some_and(|suffix| suffix == "age") {
            anyhow::bail!("the output is encrypted");
        }
        Ok(lines_of(&published::read(path, rule, self.scratch.path(), SAMPLE_BYTES)?))
    }
}

fn lines_of(bytes: &[u8]) -> Vec<String> {
    let lines = bytes.split_inclusive(|byte| *byte == b'\n');
    let mut shown: Vec<String> = lines
        .take(LINES_SHOWN + 1)
        .map(|line| view::printable(line.trim_ascii_end(), LINE_BYTES_MAX))
        .collect();
    if shown.len() > LINES_SHOWN {
        shown.truncate(LINES_SHOWN);
        shown.push("…".to_owned());
    }
    shown
}

/// Where an output would lie: the path within the scratch folder under its real root again.
fn real_path(scratched: &Path, outputs: &Path, root: &Path) -> PathBuf {
    scratched.strip_prefix(outputs).map_or_else(|_| scratched.to_owned(), |inside| root.join(inside))
}

/// The root of a path: `/`, or a drive.
fn root_of(path: &Path) -> PathBuf {
    path.components().take_while(|part| matches!(part, Component::Prefix(_) | Component::RootDir)).collect()
}

pub(super) fn without_root(path: &Path) -> PathBuf {
    path.components().skip_while(|part| matches!(part, Component::Prefix(_) | Component::RootDir)).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_comes_back_from_the_scratch_folder_as_it_was() {
        let real = Path::new("/data/out/{stem}.csv");
        let scratched = Path::new("/tmp/s/out").join(without_root(real));
        assert_eq!(scratched, Path::new("/tmp/s/out/data/out/{stem}.csv"));
        assert_eq!(real_path(&scratched, Path::new("/tmp/s/out"), &root_of(real)), real);
    }

    #[test]
    fn the_first_lines_are_shown_and_that_there_are_more() {
        let lines = |text: &str| lines_of(text.as_bytes());
        assert_eq!(lines("a\r\nb\n"), ["a", "b"]);
        assert_eq!(lines("1\n2\n3\n4\n5\n"), ["1", "2", "3", "4", "…"]);
        assert_eq!(lines(""), [""; 0]);
    }
}
