//! `landfall check`: every problem of the configuration, or "ok"; with `--files`, which file would go where.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use crate::config::{self, Problems};
use crate::model::category::Category;
use crate::model::identity::FileIdentity;
use crate::model::job::{Job, Source};
use crate::model::job_id::JobId;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::rule::{Format, Mode, OnSuccess, Rule, Settings};
use crate::pipeline::Registry;
use crate::watch::pattern::Pattern;

/// Names that are no candidates in any rule.
const UNFINISHED: [&str; 6] = [".part", ".filepart", ".tmp", ".partial", ".crdownload", "~"];

/// Checks the configuration; prints every problem, or "ok" and a line per rule.
#[derive(Debug, clap::Args)]
pub struct CheckArgs {
    /// Also print which present file goes to which rule, and to which paths.
    #[arg(long)]
    pub files: bool,
}

/// Runs the command.
pub fn run(args: &CheckArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let registry = Registry::with_builtin_steps();
    let settings = match config::find(config).and_then(|file| config::load(&file, &registry)) {
        Ok(settings) => settings,
        Err(problems) => {
            print!("{}", told(&problems));
            return Ok(ExitCode::from(2));
        }
    };
    print!("{}", summary(&settings));
    if args.files {
        show_files(&settings.rules, &mut io::stdout().lock()).context("cannot show the files")?;
    }
    Ok(ExitCode::SUCCESS)
}

fn told(problems: &Problems) -> String {
    let count = problems.0.len();
    format!("{problems}\n{count} problem{}\n", if count == 1 { "" } else { "s" })
}

/// "ok", and a line per rule.
fn summary(settings: &Settings) -> String {
    let mut text = format!("ok: {}\n", escaped_path(&settings.file));
    for rule in &settings.rules {
        let outputs: Vec<&str> = rule.outputs.keys().map(Category::as_str).collect();
        // Writing to a string cannot fail.
        writeln!(
            text,
            "  {}: {}, {}, {}, {} to {}, source {}",
            rule.name,
            match rule.mode {
                Mode::Live => "live",
                Mode::Off => "off",
            },
            counted(rule.paths.len(), "pattern"),
            format_name(&rule.records.format),
            counted(rule.pipeline.len(), "step"),
            outputs.join(", "),
            match rule.source.on_success {
                OnSuccess::Archive => "archived",
                OnSuccess::Delete => "deleted",
                OnSuccess::Keep => "kept",
            },
        )
        .ok();
    }
    if settings.rules.is_empty() {
        text.push_str("  no rule: nothing will be watched\n");
    }
    text
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn format_name(format: &Format) -> &'static str {
    match format {
        Format::Lines => "lines",
        Format::Csv(_) => "csv",
        Format::Fixed(_) => "fixed",
        Format::Jsonl => "jsonl",
    }
}

/// Prints every file that a live rule would take, with its output paths; the first rule that takes a file has it.
fn show_files(rules: &[Rule], out: &mut dyn io::Write) -> anyhow::Result<()> {
    let takers =
        rules.iter().filter(|rule| rule.mode == Mode::Live).map(Taker::new).collect::<Result<Vec<_>, _>>()?;
    let mut found = 0_u64;
    for (position, taker) in takers.iter().enumerate() {
        for (number, pattern) in taker.patterns.iter().enumerate() {
            let mut folders = vec![pattern.fixed_folder().to_path_buf()];
            while let Some(folder) = folders.pop() {
                for file in list(&folder, &mut folders, out)? {
                    let is_taken = takers.iter().take(position).any(|earlier| earlier.takes(&file).is_some())
                        || taker.patterns.iter().take(number).any(|earlier| earlier.matches(&file).is_some());
                    let vars = pattern.matches(&file).filter(|_| !is_taken && !taker.excludes_file(&file));
                    if let Some(vars) = vars {
                        found += 1;
                        show_file(taker.rule, &file, vars, out)?;
                    }
                }
            }
        }
    }
    writeln!(out, "{found} file{} would be taken", if found == 1 { "" } else { "s" })?;
    Ok(())
}

fn show_file(
    rule: &Rule,
    file: &Path,
    vars: BTreeMap<String, OsText>,
    out: &mut dyn io::Write,
) -> io::Result<()> {
    writeln!(out, "{}: {}", rule.name, escaped_path(file))?;
    let job = sample_job(rule, file, vars);
    for (category, output) in &rule.outputs {
        let entry = output.path.contains("{entry").then(|| OsText::from("ENTRY"));
        match crate::output::final_path(rule, &job, category, entry.as_ref()) {
            Ok(path) => writeln!(out, "    {category} -> {}", escaped_path(&path))?,
            Err(error) => writeln!(out, "    {category}: {error}")?,
        }
    }
    Ok(())
}

/// The files of a folder by name; folders in it are added to those to come. Links are not followed.
fn list(folder: &Path, folders: &mut Vec<PathBuf>, out: &mut dyn io::Write) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            writeln!(out, "{} cannot be listed: {error}", escaped_path(folder))?;
            return Ok(Vec::new());
        }
    };
    let (mut files, mut inner) = (Vec::new(), Vec::new());
    // An entry that cannot be read has vanished.
    for entry in entries.filter_map(Result::ok) {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => inner.push(entry.path()),
            Ok(kind) if kind.is_file() => files.push(entry.path()),
            _ => {}
        }
    }
    files.sort();
    inner.sort_by(|a, b| b.cmp(a));
    folders.extend(inner);
    Ok(files)
}

/// A rule with its patterns, parsed.
struct Taker<'a> {
    rule: &'a Rule,
    patterns: Vec<Pattern>,
    exclude_paths: Vec<Pattern>,
    exclude_names: Vec<Pattern>,
    root: PathBuf,
}

impl<'a> Taker<'a> {
    fn new(rule: &'a Rule) -> anyhow::Result<Self> {
        let parse =
            |text: &str| Pattern::parse(text).with_context(|| format!("rule \"{}\": \"{text}\"", rule.name));
        let root = rule.base_dir.ancestors().last().unwrap_or(Path::new("/")).to_path_buf();
        let (by_path, by_name): (Vec<&String>, Vec<&String>) =
            rule.exclude.iter().partition(|text| text.contains(std::path::is_separator));
        // Names are matched as if they lay in the root.
        let in_root = |name: &&String| parse(&root.join(name).to_string_lossy());
        Ok(Self {
            patterns: rule.paths.iter().map(|text| parse(text)).collect::<Result<_, _>>()?,
            exclude_paths: by_path.iter().map(|text| parse(text)).collect::<Result<_, _>>()?,
            exclude_names: by_name.iter().map(in_root).collect::<Result<_, _>>()?,
            root,
            rule,
        })
    }

    fn takes(&self, file: &Path) -> Option<&Pattern> {
        if self.excludes_file(file) {
            return None;
        }
        self.patterns.iter().find(|pattern| pattern.matches(file).is_some())
    }

    fn excludes_file(&self, file: &Path) -> bool {
        let Some(name) = file.file_name() else { return true };
        let bytes = name.as_encoded_bytes();
        let lower = bytes.to_ascii_lowercase();
        let in_root = self.root.join(name);
        UNFINISHED.iter().any(|end| lower.ends_with(end.as_bytes()))
            || self.rule.ready.marker.as_deref().is_some_and(|marker| is_marker(marker, bytes))
            || self.exclude_paths.iter().any(|pattern| pattern.matches(file).is_some())
            || self.exclude_names.iter().any(|pattern| pattern.matches(&in_root).is_some())
    }
}

/// Whether a name is a marker's, whatever file it is for.
fn is_marker(template: &str, name: &[u8]) -> bool {
    let before = template.split('{').next().unwrap_or_default();
    let after = template.rsplit('}').next().unwrap_or_default();
    name.len() > before.len() + after.len()
        && name.starts_with(before.as_bytes())
        && name.ends_with(after.as_bytes())
}

/// The job that a file would become, claimed now.
fn sample_job(rule: &Rule, file: &Path, vars: BTreeMap<String, OsText>) -> Job {
    let now = crate::clock::now();
    let id = JobId::from_parts(u64::try_from(now.as_millisecond()).unwrap_or(0), 0);
    let identity = FileIdentity { device: 0, inode: 0, size: 0, mtime_ns: 0, ctime_ns: 0 };
    let source = Source {
        path: OsText::from(file),
        claimed: None,
        identity,
        moved_from: None,
        companions: Vec::new(),
        may_be_early: false,
        retire: true,
    };
    Job { vars, ..Job::queued(id, &rule.name, &rule.hash(), source, now) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_known_by_what_their_template_adds() {
        assert!(is_marker("{name}.done", b"a.csv.done"));
        assert!(is_marker("done-{stem}", b"done-a"));
        assert!(!is_marker("{name}.done", b".done"));
        assert!(!is_marker("{name}.done", b"a.csv"));
    }
}
