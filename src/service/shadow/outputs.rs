//! What a job that publishes nothing would have published: looked at and removed at once.
//!
//! ```text
//!  outputs in the job's own folder -> outlined -> outlines durable -> folder removed -> the job's row ends, with what they were
//! ```
//!
//! After a crash the outlines are there, or the outputs are. They stay as long as they are to be compared.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use super::content;
use super::outline::Outline;
use super::rules::{SEALED_SUFFIX, outputs_dir, root_of};
use crate::durable_fs::{self, OpenTo};
use crate::model::fault::{FaultKind, JobError};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::os_text::escaped_path;
use crate::model::rule::Rule;
use crate::model::shadow::{Compared, Shadow, Shadowed};
use crate::model::template;
use crate::store::Store;

/// The rules as the configuration has them: what is to be compared.
pub(super) type RealRules = Arc<RwLock<Vec<Rule>>>;

/// Outlines of a job's outputs, in their order; none where nobody asks for them any more.
pub(super) type Outlines = Vec<Outline>;

/// Of one shadow.
#[derive(Clone)]
pub(super) struct Places {
    pub data_dir: PathBuf,
    pub rules: RealRules,
    pub store: Store,
}

impl Places {
    /// The rule of a job as the configuration has it; none where it has none any more.
    pub(super) fn rule_of(&self, job: &Job) -> Option<Rule> {
        let rules = self.rules.read().unwrap_or_else(PoisonError::into_inner);
        rules.iter().find(|rule| rule.is_for(&job.rule, &job.vars)).cloned()
    }

    pub(super) fn outputs_of(&self, job: JobId) -> PathBuf {
        outputs_dir(&self.data_dir).join(job.to_string())
    }

    pub(super) fn outlines_dir(&self) -> PathBuf {
        self.data_dir.join("outlines")
    }

    pub(super) fn outlines_of(&self, job: JobId) -> PathBuf {
        self.outlines_dir().join(job.to_string())
    }

    pub(super) fn spool_dir(&self) -> PathBuf {
        self.data_dir.join("spool")
    }

    /// Ends what there is of a job's outputs; its row says what they were. `rule` is the one that it ran under, whatever the configuration
    /// says by now.
    pub(super) fn take(&self, rule: &Rule, job: &mut Job) -> Result<(), JobError> {
        let stands_for = rule.stands_for.clone().unwrap_or_default();
        if stands_for.not_run.is_some() {
            self.remove_outputs(job.id)?;
            job.outputs.clear();
            job.shadow = Some(Box::new(Shadow { not_run: stands_for.not_run, outputs: Vec::new() }));
            return Ok(());
        }
        let outlines = match self.read_outlines(job.id)? {
            Some(outlines) => outlines,
            None => self.outline(job, rule)?,
        };
        self.remove_outputs(job.id)?;
        let mut shadow = Shadow::default();
        let folder = self.outputs_of(job.id);
        let is_compared = self.rule_of(job).is_some_and(|rule| rule.compare.is_some());
        for (position, output) in job.outputs.iter_mut().enumerate() {
            shadow.outputs.push(shadowed(outlines.get(position), is_compared));
            let meant = stands_for.outputs.get(&output.category);
            let is_sealed = rule.outputs.get(&output.category).is_some_and(|output| output.is_sealed);
            let aside = unsealed(output.path.as_path(), is_sealed);
            output.path = real_path(&aside, &folder, meant.map(String::as_str)).into();
        }
        job.shadow = Some(Box::new(shadow));
        Ok(())
    }

    /// What is in a job's outputs, durably, before they go.
    fn outline(&self, job: &Job, rule: &Rule) -> Result<Outlines, JobError> {
        let mut outlines = Outlines::new();
        for output in &job.outputs {
            let path = output.path.as_path();
            let template = rule.outputs.get(&output.category).map_or("", |output| output.path.as_str());
            let outline = content::outline_ours(path, template, rule, self.store.keys(), &self.spool_dir())
                .map_err(|error| failed(format!("{}: {error}", escaped_path(path))))?;
            outlines.push(outline);
        }
        let text = serde_json::to_vec(&outlines).map_err(|error| failed(error.to_string()))?;
        durable_fs::make_folder(&self.outlines_dir(), OpenTo::Owner)
            .map_err(|error| JobError::from_fault(&error))?;
        durable_fs::write_file(&self.outlines_of(job.id), &text, true, 0o600)
            .map_err(|error| JobError::from_fault(&error))?;
        Ok(outlines)
    }

    pub(super) fn read_outlines(&self, job: JobId) -> Result<Option<Outlines>, JobError> {
        let path = self.outlines_of(job);
        let at_path = |error: &dyn std::fmt::Display| failed(format!("{}: {error}", escaped_path(&path)));
        let text = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.map_err(|error| at_path(&error))?,
        };
        serde_json::from_slice(&text).map(Some).map_err(|error| at_path(&error))
    }

    /// Nothing is left of what a job wrote.
    pub(super) fn remove_outputs(&self, job: JobId) -> Result<(), JobError> {
        let folder = self.outputs_of(job);
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed(format!("cannot remove {}: {error}", escaped_path(&folder))))
            }
            _ => Ok(()),
        }
    }
}

fn failed(message: String) -> JobError {
    JobError { kind: FaultKind::Storage, message, hint: None }
}

/// One that is to be compared is told as not there yet before the first look, too.
fn shadowed(outline: Option<&Outline>, is_compared: bool) -> Shadowed {
    let (bytes, lines, hash) =
        outline.map_or_else(Default::default, |outline| (outline.bytes, outline.lines, outline.hash.clone()));
    Shadowed { bytes, lines, hash, compared: is_compared.then(Compared::default) }
}

/// The name without what says that the data folder encrypts it.
fn unsealed(aside: &Path, is_sealed: bool) -> PathBuf {
    let is_named_so = aside.extension().is_some_and(|suffix| *suffix == SEALED_SUFFIX[1..]);
    if is_sealed && is_named_so { aside.with_extension("") } else { aside.to_owned() }
}

/// Where an output would lie.
fn real_path(aside: &Path, folder: &Path, meant: Option<&str>) -> PathBuf {
    let root =
        meant.map_or_else(|| PathBuf::from(std::path::MAIN_SEPARATOR_STR), |it| root_of(Path::new(it)));
    let Ok(inside) = aside.strip_prefix(folder) else { return aside.to_owned() };
    let mut path = root.join(inside).into_os_string();
    if let Some(meant) = meant {
        path.push(meant.get(template::unencrypted(meant).len()..).unwrap_or_default());
    }
    path.into()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn an_output_is_told_by_where_it_would_lie() {
        let folder = Path::new("/data/shadow/out/JOB");
        let aside = folder.join("srv/out/pay.csv.gz");
        assert_eq!(real_path(&aside, folder, None), Path::new("/srv/out/pay.csv.gz"));
    }
}
