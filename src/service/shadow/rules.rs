//! The rules as an engine has them that stands aside: shadows are live there, and what is live is a shadow.

use std::path::{Component, Path, PathBuf};

use crate::config;
use crate::model::at_rest::Encrypt;
use crate::model::rule::{
    Mode, OUTPUTS_ASIDE_FOLDER, OnSuccess, Publish, Rule, Sequence, Settings, SourceEnd, StandsFor,
};
use crate::model::template;

/// Behind the name of what the data folder encrypts.
pub(super) const SEALED_SUFFIX: &str = ".age";
/// The step that is not run.
const NOT_RUN: &str = "exec";

/// The settings of the engine that stands aside: its data folder lies in that of the service, and it has half the workers.
pub(crate) fn settings_aside(settings: &Settings) -> Settings {
    let mut service = settings.service.clone();
    service.data_dir = service.data_dir.join("shadow");
    service.workers = (service.workers / 2).max(1);
    service.at_rest = config::resolved(&service.at_rest, &settings.rules);
    let is_sealed = service.at_rest.encrypt == Encrypt::Yes;
    let rules = rules_aside(&settings.rules, &service.data_dir, is_sealed);
    Settings { service, hooks: Vec::new(), rules, file: settings.file.clone() }
}

/// `is_sealed`: the data folder's store is encrypted.
pub(super) fn rules_aside(rules: &[Rule], data_dir: &Path, is_sealed: bool) -> Vec<Rule> {
    rules.iter().map(|rule| rule_aside(rule, data_dir, is_sealed)).collect()
}

/// Where the outputs of a job go for the moment.
pub(super) fn outputs_dir(data_dir: &Path) -> PathBuf {
    data_dir.join(OUTPUTS_ASIDE_FOLDER)
}

/// Each job has a folder of its own for its outputs, so that no name is ever taken; what lies in the rule's own folders is not looked at.
/// Nothing is encrypted but by the data folder itself, no marker or manifest written, and the source stays.
fn rule_aside(rule: &Rule, data_dir: &Path, is_sealed: bool) -> Rule {
    let stands_for = StandsFor {
        not_run: step_not_run(rule).map(|(number, step)| format!("step {number}, {step}")),
        outputs: rule.outputs.iter().map(|(category, it)| (category.clone(), it.path.clone())).collect(),
    };
    let mut rule = Rule { stands_for: Some(stands_for), ..rule.clone() };
    rule.mode = match rule.mode {
        Mode::Live => Mode::Shadow,
        Mode::Shadow => Mode::Live,
        Mode::Off => Mode::Off,
    };
    let folder = template::escaped(&outputs_dir(data_dir).to_string_lossy());
    let ends_before = rule.pipeline.iter().position(|step| step.step == NOT_RUN);
    for output in rule.outputs.values_mut() {
        let path = template::unencrypted(&output.path);
        let aside = Path::new(&folder).join("{job}").join(without_root(Path::new(path)));
        output.path = aside.to_string_lossy().into_owned();
        output.is_sealed = is_sealed;
        if is_sealed {
            output.path.push_str(SEALED_SUFFIX);
        }
        output.recipients.clear();
        output.recipients_file = None;
        if ends_before.is_some() {
            output.max = None; // what does not run may move records away
        }
    }
    if let Some(position) = ends_before {
        rule.pipeline.truncate(position);
    }
    rule.publish = Publish::default();
    rule.source = SourceEnd {
        on_success: OnSuccess::Keep,
        archive_dir: None,
        archive_keep: None,
        archive_owner: crate::model::rule::ArchiveOwner::Service,
        on_complete: crate::model::rule::OnComplete::Keep,
        claim_dir: None,
        quarantine_dir: None,
    };
    rule.compare = None;
    rule.window = None;
    rule.sequence = Sequence::None; // nothing is published that could be out of order
    rule
}

/// The step before which a shadow of this rule ends, and its place from 1.
pub(crate) fn step_not_run(rule: &Rule) -> Option<(usize, &str)> {
    let position = rule.pipeline.iter().position(|step| step.step == NOT_RUN)?;
    Some((position + 1, NOT_RUN))
}

fn is_root(part: &Component<'_>) -> bool {
    matches!(part, Component::Prefix(_) | Component::RootDir)
}

fn without_root(path: &Path) -> PathBuf {
    path.components().skip_while(is_root).collect()
}

/// The root of a path: `/`, or a drive.
pub(super) fn root_of(path: &Path) -> PathBuf {
    path.components().take_while(is_root).collect()
}
