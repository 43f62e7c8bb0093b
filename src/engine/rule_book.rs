//! Rules made ready for work: pipeline built, templates parsed; one of each per snapshot.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::fit::Fit;
use super::trouble::Trouble;
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::rule::Rule;
use crate::model::template::{Template, Variables, fixed_folder};
use crate::output::OutputPlan;
use crate::pipeline::{Pipeline, Registry};
use crate::store::Store;

/// A rule with what is made from it.
pub(super) struct ReadyRule {
    pub rule: Arc<Rule>,
    pub hash: String,
    pub pipeline: Arc<Pipeline>,
    pub outputs: Arc<OutputPlan>,
    /// The folders that its files are written to, as far as they are known before.
    pub folders: Vec<PathBuf>,
    /// Whether its column names fit the files.
    pub fit: Fit,
}

impl ReadyRule {
    fn build(rule: Rule, registry: &Registry) -> Result<Self, Trouble> {
        let pipeline = Pipeline::build(&rule, registry).map_err(|problems| {
            let said: Vec<_> =
                problems.iter().map(|p| format!("{}: {}", p.key.join("."), p.message)).collect();
            let message = format!("rule \"{}\": {}", rule.name, said.join("; "));
            Trouble::new(
                FaultKind::Config,
                message,
                Some("mend the rule and restart; `landfall check` explains"),
            )
        })?;
        let outputs = OutputPlan::build(&rule, pipeline.categories())?;
        Ok(Self {
            hash: rule.hash(),
            folders: folders_of(&rule),
            rule: Arc::new(rule),
            pipeline: Arc::new(pipeline),
            outputs: Arc::new(outputs),
            fit: Fit::default(),
        })
    }

    /// `decode.identities` with the job's named wildcards filled in.
    pub(super) fn identities(&self, job: &Job) -> Result<Vec<PathBuf>, Trouble> {
        self.rule.decode.identities.iter().map(|path| self.fill_in("decode.identities", path, job)).collect()
    }

    /// `decode.passphrase_file` with the job's named wildcards filled in.
    pub(super) fn passphrase_file(&self, job: &Job) -> Result<Option<PathBuf>, Trouble> {
        let path = self.rule.decode.passphrase_file.as_deref();
        path.map(|path| self.fill_in("decode.passphrase_file", path, job)).transpose()
    }

    /// A key's path takes only the rule's named wildcards, byte for byte: they match one path component, so that the result stays in its
    /// folder, and the file is called as its sender is.
    fn fill_in(&self, key: &str, path: &str, job: &Job) -> Result<PathBuf, Trouble> {
        let filled = Template::of_job(path, job)
            .and_then(|template| template.render_text(&Variables::of(&self.rule, job)));
        let filled = filled.map_err(|mistake| Trouble::mistake(&self.rule, key, &mistake))?;
        Ok(PathBuf::from(filled.as_os_str()))
    }
}

/// The folders of a rule that files are written to, as far as they are spelled out before the first variable.
pub(super) fn folders_of(rule: &Rule) -> Vec<PathBuf> {
    let outputs = rule.outputs.values().map(|output| fixed_folder(&output.path));
    let signals = [&rule.publish.marker, &rule.publish.manifest].into_iter().flatten();
    let archive = rule.source.archive_dir.as_ref().map(|folder| fixed_folder(&format!("{folder}/")));
    let own = [&rule.source.claim_dir, &rule.source.quarantine_dir].into_iter().flatten().cloned();
    let all = outputs.chain(signals.map(|path| fixed_folder(path))).chain(archive).chain(own);
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

/// A rule of the configuration. One that cannot be made ready (a file with recipients that is away) stops no other: its files wait,
/// and it is tried again with each of them.
struct Current {
    rule: Rule,
    ready: Mutex<Option<Arc<ReadyRule>>>,
}

/// The current rules and the snapshots that jobs in hand still need.
pub(super) struct RuleBook {
    registry: Registry,
    current: HashMap<String, Current>,
    /// As many as there are in the store: rules do not change while a service runs.
    snapshots: Mutex<HashMap<String, Arc<ReadyRule>>>,
}

impl RuleBook {
    pub(super) fn new(rules: &[Rule], registry: Registry) -> Self {
        let current =
            |rule: &Rule| (rule.name.clone(), Current { rule: rule.clone(), ready: Mutex::default() });
        let book =
            Self { registry, current: rules.iter().map(current).collect(), snapshots: Mutex::default() };
        for rule in rules {
            if let Err(trouble) = book.current(&rule.name) {
                tracing::warn!(rule = rule.name, error = %trouble.error, "this rule's files wait until it is mended");
            }
        }
        book
    }

    /// The rule of this name as the configuration has it now.
    pub(super) fn current(&self, name: &str) -> Result<Option<Arc<ReadyRule>>, Trouble> {
        let Some(current) = self.current.get(name) else { return Ok(None) };
        let mut ready = super::lock(&current.ready);
        if let Some(ready) = ready.as_ref() {
            return Ok(Some(Arc::clone(ready)));
        }
        let built = Arc::new(ReadyRule::build(current.rule.clone(), &self.registry)?);
        Ok(Some(Arc::clone(ready.insert(built))))
    }

    /// The snapshot that a job was cut under.
    pub(super) fn snapshot(&self, store: &Store, job: &Job) -> Result<Arc<ReadyRule>, Trouble> {
        if let Some(rule) = self.current(&job.rule).ok().flatten().filter(|rule| rule.hash == job.rule_hash) {
            return Ok(rule);
        }
        if let Some(rule) = super::lock(&self.snapshots).get(&job.rule_hash) {
            return Ok(Arc::clone(rule));
        }
        let rule = store.rule(&job.rule_hash)?.ok_or_else(|| {
            let message = format!("the store has no snapshot {} of rule \"{}\"", job.rule_hash, job.rule);
            Trouble::new(FaultKind::Bug, message, None)
        })?;
        // Not under the lock: it reads files of recipients.
        let ready = Arc::new(ReadyRule::build(rule, &self.registry)?);
        let mut snapshots = super::lock(&self.snapshots);
        Ok(Arc::clone(snapshots.entry(job.rule_hash.clone()).or_insert(ready)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_template_ends_before_its_first_variable() {
        let folders = ["/data/out/{rule}/{stem}.csv", "/data/out/x{stem}", "/data/all.csv"].map(fixed_folder);
        assert_eq!(folders, ["/data/out/", "/data/out/", "/data/"].map(PathBuf::from));
    }
}
