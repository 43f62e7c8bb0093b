//! Rules made ready for work: pipeline built, templates parsed; one of each per snapshot.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::trouble::Trouble;
use crate::model::fault::FaultKind;
use crate::model::job::Job;
use crate::model::rule::Rule;
use crate::output::OutputPlan;
use crate::pipeline::{Pipeline, Registry};
use crate::store::Store;

/// A rule with what is made from it.
pub(super) struct ReadyRule {
    pub rule: Arc<Rule>,
    pub hash: String,
    pub pipeline: Arc<Pipeline>,
    pub outputs: Arc<OutputPlan>,
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
            rule: Arc::new(rule),
            pipeline: Arc::new(pipeline),
            outputs: Arc::new(outputs),
        })
    }

    /// `decode.identities` with the job's named wildcards filled in.
    pub(super) fn identities(&self, job: &Job) -> Vec<PathBuf> {
        self.rule.decode.identities.iter().map(|path| fill_in(path, job)).collect()
    }

    /// `decode.passphrase_file` with the job's named wildcards filled in.
    pub(super) fn passphrase_file(&self, job: &Job) -> Option<PathBuf> {
        self.rule.decode.passphrase_file.as_deref().map(|path| fill_in(path, job))
    }
}

/// A key's path takes only the rule's named wildcards: they match one path component, so that the result stays in its folder.
fn fill_in(path: &str, job: &Job) -> PathBuf {
    let filled = job.vars.iter().fold(path.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{name}}}"), &value.as_os_str().to_string_lossy())
    });
    PathBuf::from(filled)
}

/// The current rules and the snapshots that jobs in hand still need.
pub(super) struct RuleBook {
    registry: Registry,
    current: HashMap<String, Arc<ReadyRule>>,
    snapshots: Mutex<HashMap<String, Arc<ReadyRule>>>,
}

impl RuleBook {
    pub(super) fn new(rules: &[Rule], registry: Registry) -> Result<Self, Trouble> {
        let mut current = HashMap::new();
        for rule in rules {
            current.insert(rule.name.clone(), Arc::new(ReadyRule::build(rule.clone(), &registry)?));
        }
        Ok(Self { registry, current, snapshots: Mutex::default() })
    }

    /// The rule of this name as the configuration has it now.
    pub(super) fn current(&self, name: &str) -> Option<Arc<ReadyRule>> {
        self.current.get(name).cloned()
    }

    /// The snapshot that a job was cut under.
    pub(super) fn snapshot(&self, store: &Store, job: &Job) -> Result<Arc<ReadyRule>, Trouble> {
        if let Some(rule) = self.current(&job.rule).filter(|rule| rule.hash == job.rule_hash) {
            return Ok(rule);
        }
        let mut snapshots = super::lock(&self.snapshots);
        if let Some(rule) = snapshots.get(&job.rule_hash) {
            return Ok(Arc::clone(rule));
        }
        let rule = store.rule(&job.rule_hash)?.ok_or_else(|| {
            let message = format!("the store has no snapshot {} of rule \"{}\"", job.rule_hash, job.rule);
            Trouble::new(FaultKind::Bug, message, None)
        })?;
        let ready = Arc::new(ReadyRule::build(rule, &self.registry)?);
        snapshots.insert(job.rule_hash.clone(), Arc::clone(&ready));
        Ok(ready)
    }
}
