//! `landfall explain PATH`: which rule takes a file, what keeps each other from it, what it waits for, and which jobs it became.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use jiff::Timestamp;

use super::explain_lines::lines;
use super::view::{self, Stop};
use crate::listing::explain::{Verdict, companion_of, print_json, taker, verdicts};
use crate::listing::explain_found::Found;
use crate::listing::named_path::as_watched;
use crate::listing::rules::rules_gone_by;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Rule, Settings};
use crate::service::shadow::settings_aside;
use crate::watch::rules::RuleSet;

/// Which file.
#[derive(clap::Args)]
pub(super) struct ExplainArgs {
    /// A file, there or not
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &ExplainArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let door = view::door(settings)?;
    let door = door.as_deref();
    let rules = rules_gone_by(door).unwrap_or_else(|| settings.rules.clone());
    let set = RuleSet::new(rules.clone())?;
    let path = as_watched(&args.path, &set)?;
    let bases: Vec<_> = rules.iter().filter(|rule| rule.is_base()).collect();
    let verdicts = verdicts(&bases, &rules, &path);
    let shadow = bases.iter().zip(&verdicts).find(|(_, verdict)| **verdict == Verdict::Shadow);
    // What it waits for, and became, is known to the engine that stands aside.
    let aside = match shadow {
        Some((rule, _)) => Some((*rule, view::door(&settings_aside(settings))?)),
        None => None,
    };
    view::print(|out| {
        let taker = taker(&rules, &set, &path, &verdicts);
        let awaited_as = companion_of(&rules, &path);
        let target = verdicts.iter().find_map(Verdict::target).unwrap_or(&path);
        let found = Found::of(door, (&path, target), taker, awaited_as)?;
        let aside = aside
            .map(|(rule, door)| Found::of(door.as_deref(), (&path, target), Some(rule), awaited_as))
            .transpose()?;
        let all = (&found, aside.as_ref());
        if args.json {
            print_json(out, &path, &bases, &verdicts, all)
        } else {
            print_text(out, &path, &bases, &verdicts, all, crate::clock::now())
        }
    })
}

fn print_text(
    out: &mut dyn Write,
    path: &Path,
    rules: &[&Rule],
    verdicts: &[Verdict],
    (found, aside): (&Found, Option<&Found>),
    now: Timestamp,
) -> Result<(), Stop> {
    writeln!(out, "{}: {}", escaped_path(path), found.there)?;
    let product = found.product();
    if let Some(product) = &product {
        writeln!(out, "  {product}")?;
    }
    for (rule, verdict) in rules.iter().zip(verdicts).filter(|(_, verdict)| **verdict != Verdict::NoPattern) {
        writeln!(out, "  rule \"{}\": {}", rule.name, verdict.told(found.is_kept()))?;
    }
    if verdicts.iter().all(|verdict| *verdict == Verdict::NoPattern) {
        match found.awaited_as {
            Some(key) => {
                writeln!(out, "  no rule takes it: it is what other files wait for (`ready.{key}`)")?;
            }
            None if found.is_seen() => {
                writeln!(
                    out,
                    "  no pattern fits its own name: a rule that follows links has it by one that leads here"
                )?;
            }
            None if product.is_some() => {}
            None if is_hidden(path) => {
                writeln!(out, "  no rule: hidden files, whose names begin with a dot, are never taken")?;
            }
            None => {
                writeln!(out, "  no rule: no pattern fits; `landfall rules` lists them")?;
            }
        }
    }
    for line in lines(found, now) {
        writeln!(out, "  {line}")?;
    }
    for line in aside.into_iter().flat_map(|aside| lines(aside, now)) {
        writeln!(out, "  as a shadow: {line}")?;
    }
    Ok(())
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}
