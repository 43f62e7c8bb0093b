//! `landfall check`: every problem of the configuration, or "ok"; with `--files`, which file would go where.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::check_about::{Finding, Level};
use super::check_cluster;
use super::check_hooks;
use super::check_warnings;
use super::exit::USAGE;
use super::say::{self, say};
use crate::config::{self, Problems};
use crate::control;
use crate::format;
use crate::model::category::Category;
use crate::model::identity::FileIdentity;
use crate::model::job::{Job, Source};
use crate::model::job_id::JobId;
use crate::model::mode::all_off;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::pattern::Values;
use crate::model::rule::{OnSuccess, Output, Rule, Settings};
use crate::model::shown_json;
use crate::pipeline::{Pipeline, Registry};
use crate::watch::rules::RuleSet;

/// Checks the configuration; prints every problem, or "ok" and a line per rule.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ask it as the user that the service runs as: it looks with the rights of whoever asks. A running service takes a change as \
                        soon as it is saved, if nothing is wrong with it: to check one before, work on a copy beside it, with `--config`."
)]
pub(super) struct CheckArgs {
    /// Also print which present file goes to which rule, and to which paths, and which no rule takes
    #[arg(long)]
    pub files: bool,
    /// Also verify every value in the store, and the files of unfinished jobs
    #[arg(long)]
    pub store: bool,
    /// Print JSON: each problem, warning and note with level, file, line, column, key, message and hint
    #[arg(long, conflicts_with_all = ["files", "store"])]
    pub json: bool,
}

pub(super) fn run(args: &CheckArgs, config: Option<&Path>, registry: &Registry) -> anyhow::Result<ExitCode> {
    let found = config::find(config).and_then(|file| config::load_with_places(&file, registry));
    let (settings, findings) = match found {
        Ok((settings, places)) => {
            let mut findings = check_warnings::find(&settings, &places);
            findings.extend(check_hooks::find(&settings, &places));
            findings.extend(check_cluster::find(&settings, &places));
            (Some(settings), findings)
        }
        Err(Problems(problems)) => {
            let finding = |problem| Finding { level: Level::Problem, problem };
            (None, problems.into_iter().map(finding).collect())
        }
    };
    let is_wrong = findings.iter().any(|finding| finding.level == Level::Problem);
    if args.json {
        say!("{}", shown_json::to_string(&json(&findings))?);
        return Ok(if is_wrong { ExitCode::from(USAGE) } else { ExitCode::SUCCESS });
    }
    let Some(settings) = settings.filter(|_| !is_wrong) else {
        say::lines(&told(&findings));
        return Ok(ExitCode::from(USAGE));
    };
    say::lines(&summary(&settings));
    for Finding { level, problem } in &findings {
        say!("{}: {problem}", level.word());
    }
    if args.files {
        show_files(&settings, registry, &mut say::Output).context("cannot show the files")?;
    }
    if args.store {
        return super::check_store::run(&settings);
    }
    Ok(ExitCode::SUCCESS)
}

/// Warnings, then problems and their count.
fn told(findings: &[Finding]) -> String {
    let of =
        |level| findings.iter().filter(move |finding| finding.level == level).map(|finding| &finding.problem);
    let mut text = String::new();
    // Writing to a string cannot fail.
    for level in [Level::Note, Level::Warning] {
        let word = level.word();
        of(level).for_each(|problem| writeln!(text, "{word}: {problem}").unwrap_or_default());
    }
    of(Level::Problem).for_each(|problem| writeln!(text, "{problem}").unwrap_or_default());
    let count = counted(of(Level::Problem).count(), "problem");
    text + &count + "\n"
}

/// One object: whether the configuration can be used, and what was found.
fn json(findings: &[Finding]) -> serde_json::Value {
    let one = |Finding { level, problem }: &Finding| {
        serde_json::json!({
            "level": level.word(),
            "file": problem.file.as_deref().map(escaped_path),
            "line": problem.line,
            "column": problem.column,
            "key": problem.key,
            "message": problem.message,
            "hint": problem.hint,
        })
    };
    let ok = findings.iter().all(|finding| finding.level != Level::Problem);
    serde_json::json!({ "ok": ok, "findings": findings.iter().map(one).collect::<Vec<_>>() })
}

/// "ok", and a line per rule.
fn summary(settings: &Settings) -> String {
    let mut text = format!("ok: {}\n", escaped_path(&settings.file));
    // They stand before their rule.
    let mut overrides = Vec::new();
    for rule in &settings.rules {
        if let Some(overriding) = &rule.overriding {
            overrides.push(overriding);
            continue;
        }
        let outputs: Vec<&str> = rule.outputs.keys().map(Category::as_str).collect();
        // Writing to a string cannot fail.
        writeln!(
            text,
            "  {}: {}, {}, {}, {} to {}, source {}",
            rule.name,
            rule.mode.word(),
            counted(rule.paths.len(), "pattern"),
            format::of(&rule.records).name(),
            counted(rule.pipeline.len(), "step"),
            outputs.join(", "),
            match rule.source.on_success {
                OnSuccess::Archive => "archived",
                OnSuccess::Delete => "deleted",
                OnSuccess::Keep => "kept",
            },
        )
        .ok();
        for overriding in overrides.drain(..) {
            writeln!(text, "    if {overriding}: {}", overriding.keys.join(", ")).ok();
        }
    }
    if settings.rules.is_empty() {
        text.push_str("  no rule: nothing will be watched\n");
    } else if all_off(settings.rules.iter().map(|rule| rule.mode)) {
        text.push_str("  every rule is off: nothing will be watched before you take `mode = \"off\"` out\n");
    }
    text
}

pub(super) fn counted<N: std::fmt::Display + Copy + PartialEq + From<u8>>(count: N, noun: &str) -> String {
    format!("{count} {noun}{}", if count == N::from(1) { "" } else { "s" })
}

fn show_files(settings: &Settings, registry: &Registry, out: &mut dyn io::Write) -> anyhow::Result<()> {
    let rules = &settings.rules;
    let door = control::open(settings).ok(); // without a store nothing is known of any file
    let mut kept = 0_u64;
    let watched = RuleSet::new(rules.clone())?;
    let (mut found, mut left, mut looked_at) = (0_u64, Vec::new(), HashSet::new());
    for first in watched.families() {
        let mut folders = watched.fixed_folders_of(first);
        folders.reverse();
        // The patterns of a rule may begin in the same folder, or one below another.
        let mut seen = HashSet::new();
        let mut of_family: BTreeMap<usize, Vec<(PathBuf, Values)>> = BTreeMap::new();
        while let Some(folder) = folders.pop() {
            if !seen.insert(folder.clone()) {
                continue;
            }
            let (files, inner) = list(&folder, out)?;
            folders.extend(inner.into_iter().rev().filter(|folder| watched.could_match_below(folder)));
            for file in files {
                match watched.assign(&file) {
                    Some((taker, vars)) if watched.first_of_family(taker) == Some(first) => {
                        of_family.entry(taker).or_default().push((file, vars));
                    }
                    None if looked_at.insert(file.clone()) => left.push(file),
                    Some(_) | None => {}
                }
            }
        }
        for (rule, files) in of_family.into_iter().filter_map(|(at, files)| Some((rules.get(at)?, files))) {
            found += files.len() as u64;
            let made = made_outputs(rule, registry);
            for (file, vars) in files {
                let known =
                    door.as_ref().and_then(|door| door.file_known(&OsText::from(file.as_path())).ok());
                let why = known.and_then(|known| {
                    let kept = known.kept.map(|kept| format!("{}, and not taken again", kept.became()));
                    kept.or(known.not_taken)
                });
                let Some(why) = why else {
                    show_file(rule, &made, &file, vars, out)?;
                    continue;
                };
                kept += 1;
                writeln!(out, "{}: {}: {why}", rule.name, escaped_path(&file))?;
            }
        }
    }
    let found = found - kept;
    writeln!(out, "{found} file{} would be taken", if found == 1 { "" } else { "s" })?;
    if kept > 0 {
        writeln!(out, "{} of before that stay where they lie", counted(kept, "file"))?;
    }
    if !left.is_empty() {
        writeln!(out, "{} in watched folders that no rule takes", counted(left.len(), "file"))?;
        left.iter().try_for_each(|file| writeln!(out, "    {}", escaped_path(file)))?;
    }
    Ok(())
}

/// The outputs that files of a rule have: an override may leave some of its rule's out.
fn made_outputs<'r>(rule: &'r Rule, registry: &Registry) -> Vec<(&'r Category, &'r Output)> {
    // What cannot be built was a problem of the configuration.
    let pipeline = Pipeline::build(rule, registry).ok();
    let is_made = |category: &Category| pipeline.as_ref().is_none_or(|it| it.categories().contains(category));
    rule.outputs.iter().filter(|(category, _)| is_made(category)).collect()
}

fn show_file(
    rule: &Rule,
    outputs: &[(&Category, &Output)],
    file: &Path,
    vars: BTreeMap<String, OsText>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    match &rule.overriding {
        Some(overriding) => {
            writeln!(out, "{} (override for {overriding}): {}", rule.name, escaped_path(file))?;
        }
        None => writeln!(out, "{}: {}", rule.name, escaped_path(file))?,
    }
    let job = sample_job(rule, file, vars);
    for (category, output) in outputs {
        let entry = output.path.contains("{entry").then(|| OsText::from("ENTRY"));
        match crate::output::final_path(rule, &job, category, entry.as_ref()) {
            Ok(path) => writeln!(out, "    {category} -> {}", escaped_path(&path))?,
            Err(error) => writeln!(out, "    {category}: {error}")?,
        }
    }
    Ok(())
}

/// The files and the folders in a folder, by name. Links are not followed.
fn list(folder: &Path, out: &mut dyn io::Write) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut files, mut inner) = (Vec::new(), Vec::new());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((files, inner)),
        Err(error) => {
            writeln!(out, "{} cannot be listed: {error}", escaped_path(folder))?;
            return Ok((files, inner));
        }
    };
    for entry in entries {
        let looked_at = entry.and_then(|entry| Ok((entry.file_type()?, entry.path())));
        match looked_at {
            Ok((kind, path)) if kind.is_dir() => inner.push(path),
            Ok((kind, path)) if kind.is_file() => files.push(path),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // removed meanwhile
            Err(error) => writeln!(out, "{} cannot be listed to its end: {error}", escaped_path(folder))?,
        }
    }
    files.sort();
    inner.sort();
    Ok((files, inner))
}

/// The job that a file would become, claimed now.
fn sample_job(rule: &Rule, file: &Path, vars: BTreeMap<String, OsText>) -> Job {
    let now = crate::clock::now();
    let id = JobId::from_parts(u64::try_from(now.as_millisecond()).unwrap_or(0), 0);
    let identity = FileIdentity { device: 0, inode: 0, size: 0, mtime_ns: 0, ctime_ns: 0 };
    let source = Source::found(OsText::from(file), identity);
    Job { vars, ..Job::queued(id, &rule.name, &rule.hash(), source, now) }
}
