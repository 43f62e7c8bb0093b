//! `landfall test`: the rules' tests. Each sample goes through the real rule in a temporary folder; nothing is written elsewhere, and the
//! data folder is not looked at.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use serde::Serialize;

use super::dry_run::without_root;
use super::exit::FAILED;
use super::private;
use super::say::{self, say};
use super::test_diff::difference;
use crate::config::{self, Content, Dropped, Expected, Problem, Problems, RuleTest};
use crate::durable_fs::{self, OpenTo};
use crate::engine::{self, Act, Door as _, Engine, Follower, Rehearsal};
use crate::model::account::FailedRecord;
use crate::model::at_rest::KeysFrom;
use crate::model::job::Job;
use crate::model::job_state::JobState;
use crate::model::job_view::VIEW_VERSION;
use crate::model::os_text::escaped_path;
use crate::model::pattern;
use crate::model::rule::{FreeMin, Limit, OnSuccess, Publish, Rule, Settings, SourceEnd};
use crate::model::template;
use crate::pipeline::{Pipeline, Registry};
use crate::published;
use crate::store::Published;

/// Runs `[[rule.test]]` in the rules' files and `[[test]]` in `NAME.test.toml` beside them.
#[derive(clap::Args)]
pub(super) struct TestArgs {
    /// Only the tests in these files: files of rules, or `NAME.test.toml`, wherever they lie
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

/// What came of a test.
#[derive(Serialize)]
struct Outcome<'a> {
    rule: &'a str,
    name: &'a str,
    file: String,
    line: usize,
    passed: bool,
    differences: Vec<Difference>,
}

/// One thing that is not as expected.
#[derive(Serialize)]
struct Difference {
    /// `output main`, `dropped`, `failed`, `job`.
    of: String,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<String>,
}

/// What a sample became.
struct Got {
    job: Job,
    outputs: BTreeMap<String, Vec<u8>>,
    failed: Vec<FailedRecord>,
}

pub(super) fn run(args: &TestArgs, config: Option<&Path>, registry: &Registry) -> anyhow::Result<ExitCode> {
    let file = config::find(config)?;
    let (settings, mut tests) = config::load_with_tests(&file, registry, &args.files)?;
    engine::keep_private(registry, &settings);
    if !args.files.is_empty() {
        tests = only_in(tests, &args.files)?;
    }
    let mut outcomes = Vec::with_capacity(tests.len());
    for test in &tests {
        // One that cannot be run does not stop the others.
        let differences = try_one(test, &settings, registry).unwrap_or_else(|error| {
            vec![Difference {
                of: "test".into(),
                message: format!("cannot be run: {error:#}"),
                lines: Vec::new(),
            }]
        });
        let passed = differences.is_empty();
        let (rule, name, line) = (test.rule.as_str(), test.name.as_str(), test.line);
        let outcome = Outcome { rule, name, file: escaped_path(&test.file), line, passed, differences };
        if !args.json {
            say::lines(&told(&outcome));
        }
        outcomes.push(outcome);
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.passed).count();
    let passed = outcomes.len() - failed;
    if args.json {
        let all = serde_json::json!({
            "version": VIEW_VERSION, "passed": passed, "failed": failed, "tests": outcomes
        });
        say!("{}", serde_json::to_string_pretty(&all)?);
    } else if outcomes.is_empty() {
        say!("no rule has a test; [[rule.test]] in a rule, or [[test]] in NAME.test.toml beside it, is one");
    } else {
        say!("{passed} passed, {failed} failed");
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The tests in these files; a file that holds none is asked for by mistake.
fn only_in(tests: Vec<RuleTest>, files: &[PathBuf]) -> Result<Vec<RuleTest>, Problems> {
    // A file that is not there is in no test.
    let same = |a: &Path, b: &Path| matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b);
    let without = files.iter().filter(|file| !tests.iter().any(|test| same(&test.file, file)));
    let problems = without.map(|file| Problem {
        file: Some(file.clone()),
        message: "no test of this configuration stands in this file".into(),
        hint: Some("name a file of its rules, or a NAME.test.toml with [[test]]s".into()),
        ..Problem::default()
    });
    let problems: Vec<Problem> = problems.collect();
    if !problems.is_empty() {
        return Err(Problems(problems));
    }
    Ok(tests.into_iter().filter(|test| files.iter().any(|file| same(&test.file, file))).collect())
}

/// Runs a test; what is not as expected. An error is a sample or an expectation that cannot be read, or no job.
fn try_one(test: &RuleTest, settings: &Settings, registry: &Registry) -> anyhow::Result<Vec<Difference>> {
    let scratch = private::folder("landfall-test-")?;
    let called = |rule: &&Rule| rule.is_base() && rule.name == test.rule;
    let base = settings.rules.iter().find(called).context("its rule is gone")?;
    let values = base.paths.values_of(&test.path).unwrap_or_default();
    let rule = settings.rules.iter().find(|rule| rule.is_for(&test.rule, &values)).unwrap_or(base);
    let mut expected_outputs = BTreeMap::new();
    for (category, content) in &test.expected.outputs {
        expected_outputs.insert(category.as_str(), bytes_of(content)?);
    }
    let sample = bytes_of(&test.sample)?;
    check_path(test, rule)?;
    let got = rehearse(test, &sample, rule, settings, registry, scratch.path())?;
    let mut differences = Vec::new();
    compare_end(&test.expected, &got.job, scratch.path(), &mut differences);
    if differences.is_empty() && test.expected.error.is_none() {
        compare_outputs(test, &expected_outputs, &got, &mut differences);
        compare_dropped(&test.expected.dropped, &got.job, &mut differences);
    }
    if test.expected.error.is_none() || !test.expected.failed.is_empty() {
        compare_failed(&test.expected, &got.failed, &mut differences);
    }
    Ok(differences)
}

/// Without a pattern that fits, named wildcards have no values.
fn check_path(test: &RuleTest, rule: &Rule) -> anyhow::Result<()> {
    if !rule.paths.names().is_empty() && rule.paths.values_of(&test.path).is_none() {
        let base = &rule.base_dir;
        let shown = |path: &Path| escaped_path(path.strip_prefix(base).unwrap_or(path));
        let known: Vec<String> = rule.paths.iter().map(|text| shown(Path::new(text))).collect();
        bail!(
            "its `path` {} fits no pattern of the rule: write one that fits {}",
            shown(&test.path),
            known.join(" or ")
        );
    }
    Ok(())
}

fn bytes_of(content: &Content) -> anyhow::Result<Vec<u8>> {
    match content {
        Content::Inline(text) => Ok(text.as_bytes().to_vec()),
        Content::File(path) => fs::read(path).with_context(|| format!("cannot read {}", escaped_path(path))),
    }
}

/// The sample through the rule, with every folder that is written to inside the scratch folder.
fn rehearse(
    test: &RuleTest,
    sample: &[u8],
    rule: &Rule,
    settings: &Settings,
    registry: &Registry,
    scratch: &Path,
) -> anyhow::Result<Got> {
    // The names of temporary folders may lead through links; files are matched by where they are.
    let scratch = scratch.canonicalize()?;
    let landed = scratch.join("in").join(without_root(&test.path));
    durable_fs::make_folder(landed.parent().unwrap_or(&scratch), OpenTo::Owner)?;
    fs::write(&landed, sample).with_context(|| format!("cannot write {}", escaped_path(&landed)))?;
    let mut rule = rule_within(rule, &scratch);
    if let Ok(pipeline) = Pipeline::build(&rule, registry) {
        // An override may leave out steps, and with them outputs of its rule.
        rule.outputs.retain(|category, _| pipeline.categories().contains(category));
    }
    rule.window = None;
    rule.overriding = None; // it is the only one there
    // Text as it is written in a test cannot be encrypted or signed; a test that expects an error may be about just that.
    if matches!(test.sample, Content::Inline(_)) && test.expected.error.is_none() {
        rule.decode.require_encrypted = false;
        rule.decode.require_signed = false;
    }
    let mut service = settings.service.clone();
    service.data_dir = scratch.join("data");
    service.free_min = FreeMin::Bytes(0); // nothing of it is to stay
    service.at_rest.keys = KeysFrom::DataFolder; // its own
    let settings =
        Settings { service, hooks: Vec::new(), rules: vec![rule.clone()], file: settings.file.clone() };
    let alone =
        Rehearsal { is_taken: Box::new(|_| false), published: Box::new(|_, _, _| Ok(Published::default())) };
    let engine = Engine::open(&settings)?;
    let running = engine.rehearse(settings, registry.clone(), alone)?;
    let ended = ended(&engine, &landed, &rule.name);
    running.stop()?;
    let job = ended?;
    let failed = engine
        .records(&job.id.to_string(), true)
        .map(|found| found.map(|found| found.record))
        .collect::<Result<_, _>>()?;
    let outputs = outputs_of(&job, &rule, &scratch)?;
    Ok(Got { job, outputs, failed })
}

fn ended(engine: &Engine, sample: &Path, rule: &str) -> anyhow::Result<Job> {
    let mut follower = Follower::new(engine);
    let id = engine.act(&Act::Ingest { path: sample.into(), rule: rule.to_owned(), retire: false })?;
    follower.follow(id, |_| Ok(()))
}

/// The rule with its files in the scratch folder, its outputs not encrypted, and without what concerns the files around a source. Of a few
/// records no share says anything: limits that are shares are off, those that are counts hold.
fn rule_within(rule: &Rule, scratch: &Path) -> Rule {
    let mut rule = rule.clone();
    let scratched = scratch.to_string_lossy();
    let within = |folder: String, path: &str| {
        let path = Path::new(&folder).join(without_root(Path::new(path)));
        path.to_string_lossy().into_owned()
    };
    let landing = |pattern: &String| within(pattern::escaped(&scratched) + "/in", pattern);
    rule.paths = rule.paths.iter().map(landing).collect();
    for output in rule.outputs.values_mut() {
        let path = template::unencrypted(&output.path);
        output.path = within(template::escaped(&scratched) + "/out", path);
        output.recipients.clear();
        output.recipients_file = None;
        output.is_sealed = false;
        output.max = output.max.filter(|limit| matches!(limit, Limit::Count(_)));
    }
    if matches!(rule.errors.failed_max, Limit::Percent(_)) {
        rule.errors.failed_max = Limit::Percent(100.0);
    }
    rule.publish = Publish::default();
    rule.ready.totals = None;
    rule.ready.checksum = None;
    rule.source = SourceEnd {
        on_success: OnSuccess::Keep,
        archive_dir: None,
        archive_keep: None,
        archive_owner: crate::model::rule::ArchiveOwner::Service,
        on_complete: crate::model::rule::OnComplete::Keep,
        claim_dir: None,
        quarantine_dir: None,
    };
    rule
}

/// What was written, by category; of several files one after the other.
fn outputs_of(job: &Job, rule: &Rule, scratch: &Path) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let mut outputs: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for output in &job.outputs {
        let text = published::read(output.path.as_path(), rule, scratch, u64::MAX)?;
        outputs.entry(output.category.to_string()).or_default().extend(text);
    }
    Ok(outputs)
}

fn compare_end(expected: &Expected, job: &Job, scratch: &Path, differences: &mut Vec<Difference>) {
    // Where it lay is no concern of the reader.
    let real = |text: &str| text.replace(&format!("{}/in", escaped_path(scratch)), "");
    let said = job.waiting.as_ref().map(|waiting| waiting.detail.clone());
    let error = job.error.as_ref().map(ToString::to_string);
    let said = error.or(said).map(|text| real(&text)).unwrap_or_default();
    let message = match (&expected.error, job.state.get()) {
        (None, JobState::Completed) => return,
        (Some(error), JobState::Completed) => format!("expected to fail with \"{error}\", got completed"),
        (Some(error), _) if said.contains(error.as_str()) => return,
        (Some(error), state) => format!("expected to fail with \"{error}\", got {state}: {said}"),
        (None, state) => format!("expected completed, got {state}: {said}"),
    };
    differences.push(Difference { of: "job".into(), message, lines: Vec::new() });
}

fn compare_outputs(
    test: &RuleTest,
    expected: &BTreeMap<&str, Vec<u8>>,
    got: &Got,
    differences: &mut Vec<Difference>,
) {
    for (category, wanted) in expected {
        let is_inline = matches!(test.expected.outputs.get(*category), Some(Content::Inline(_)));
        let written = got.outputs.get(*category).map(Vec::as_slice).unwrap_or_default();
        // Whoever writes a text in one line means the last line's end.
        let is_same = written == wanted || (is_inline && written.strip_suffix(b"\n") == Some(wanted));
        if !is_same {
            let message = "differs (- expected, + got)".to_owned();
            let lines = difference(wanted, written);
            differences.push(Difference { of: format!("output {category}"), message, lines });
        }
    }
    for (category, count) in &got.job.account.records_out {
        if *count > 0 && !expected.contains_key(category.as_str()) {
            let written = got.outputs.get(category.as_str()).map(Vec::as_slice).unwrap_or_default();
            let message = format!("expected no record, got {count}");
            let lines = difference(b"", written);
            differences.push(Difference { of: format!("output {category}"), message, lines });
        }
    }
}

fn compare_dropped(expected: &Dropped, job: &Job, differences: &mut Vec<Difference>) {
    let dropped = &job.account.dropped_by;
    let counts = |by: &BTreeMap<String, u64>| {
        let each: Vec<String> = by.iter().map(|(step, count)| format!("{step}: {count}")).collect();
        if each.is_empty() { "0".to_owned() } else { each.join(", ") }
    };
    let message = match expected {
        Dropped::Total(total) if *total != job.account.records_dropped() => {
            format!("expected {total}, got {}", counts(dropped))
        }
        Dropped::ByStep(by) if by != dropped => format!("expected {}, got {}", counts(by), counts(dropped)),
        _ => return,
    };
    differences.push(Difference { of: "dropped".into(), message, lines: Vec::new() });
}

fn compare_failed(expected: &Expected, got: &[FailedRecord], differences: &mut Vec<Difference>) {
    let is_same = expected.failed.len() == got.len()
        && expected
            .failed
            .iter()
            .zip(got)
            .all(|(wanted, got)| wanted.record == got.record && got.error.contains(&wanted.error));
    if is_same {
        return;
    }
    let wanted = expected.failed.iter().map(|wanted| format!("record {}: {}\n", wanted.record, wanted.error));
    let is_at = |record: u64, error: &str| {
        expected.failed.iter().find(|wanted| wanted.record == record && error.contains(&wanted.error))
    };
    // One that is as expected is shown by the part that was expected.
    let failed = got.iter().map(|failed| {
        let error = is_at(failed.record, &failed.error).map_or(&failed.error, |wanted| &wanted.error);
        format!("record {}: {error}\n", failed.record)
    });
    let lines = difference(wanted.collect::<String>().as_bytes(), failed.collect::<String>().as_bytes());
    let message = format!("expected {} failed records, got {}", expected.failed.len(), got.len());
    differences.push(Difference { of: "failed".into(), message, lines });
}

fn told(outcome: &Outcome<'_>) -> String {
    let (sign, place) = if outcome.passed {
        ("ok  ", String::new())
    } else {
        ("FAIL", format!("  ({}:{})", outcome.file, outcome.line))
    };
    let mut text = format!("{sign}  {}: {}{place}\n", outcome.rule, outcome.name);
    for Difference { of, message, lines } in &outcome.differences {
        text.extend([format!("      {of}: {message}\n")]);
        text.extend(lines.iter().map(|line| format!("        {line}\n")));
    }
    text
}
