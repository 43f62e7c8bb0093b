//! `landfall adopt`: files that were dealt with before this program came are never taken.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::exit::FAILED;
use super::say::{complain, say};
use crate::control::{self, Reached};
use crate::engine::{Act, Door};
use crate::listing::named_path::as_watched;
use crate::listing::rules::rules_gone_by;
use crate::model::file_known::{FileKept, FileKnown};
use crate::model::os_text::{OsText, escaped_path};
use crate::model::rule::{Mode, Rule, Settings};
use crate::watch::rules::RuleSet;

/// The arguments of `landfall adopt`.
#[derive(clap::Args)]
#[command(
    after_help = "The files stay where they lie. They are known by what they are now: one that is written again, replaced or renamed \
                  is a new file, and is taken. A job that failed with such a file where it lies, or was refused, is ended. \
                  A shadow reads adopted files all the same: there it counts once the rule is live. `--undo` takes an adoption back. `landfall explain FILE` tells of it.\n\
                  With a running service it counts at once; without one it is there for the next start."
)]
pub(super) struct AdoptArgs {
    /// Files that a rule would take
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Have these files taken after all, as if they had never been adopted
    #[arg(long)]
    undo: bool,
}

pub(super) fn run(args: &AdoptArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let reached = control::open_or_make(settings)?;
    let door: &dyn Door = match &reached {
        Reached::Service(client) => client,
        Reached::Engine(engine) => engine,
    };
    let rules = rules_gone_by(Some(door)).unwrap_or_else(|| settings.rules.clone());
    let set = RuleSet::new(rules.clone())?;
    let mut all_done = true;
    for file in &args.files {
        if let Err(error) = one(args, file, (door, &set, &rules)) {
            complain(&error.0, error.1.as_deref());
            all_done = false;
        }
    }
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// One that cannot be adopted does not stop the others.
fn one(
    args: &AdoptArgs,
    file: &Path,
    (door, set, rules): (&dyn Door, &RuleSet, &[Rule]),
) -> Result<(), (String, Option<String>)> {
    let refused = |refusal: crate::engine::Refusal| (refusal.to_string(), refusal.hint());
    let path = as_watched(file, set)
        .map_err(|error| (format!("{} cannot be found: {error}", escaped_path(file)), None))?;
    // One that no live rule has is adopted for the day when its rule is live.
    let is_not_live = set.assign(&path).is_none();
    let path = OsText::from(path);
    if args.undo {
        door.act(&Act::GiveUp { path: path.clone() }).map_err(refused)?;
        let known = door.file_known(&path).map_err(refused)?;
        say!("{path}: adopted no more; {}", what_follows(door, (set, rules), &path, known));
        return Ok(());
    }
    let before = door.file_known(&path).map_err(refused)?.kept;
    door.act(&Act::Adopt { path: path.clone() }).map_err(refused)?;
    let known = door.file_known(&path).map_err(refused)?;
    let is_gone = path.as_path().symlink_metadata().is_err();
    match (before, known.kept) {
        (Some(FileKept { job: None, .. }), _) => say!("{path}: was adopted before"),
        (Some(FileKept { job: Some(job), .. }), Some(FileKept { job: None, rule, .. })) => {
            say!(
                "{path}: adopted; job {job}, which had ended badly, is ended; rule \"{rule}\" never takes it as it lies there now"
            );
        }
        (Some(before), _) => say!("{path}: known before: {}; not taken again", before.became()),
        (None, Some(kept)) if is_not_live && is_off(rules, &kept.rule) => say!(
            "{path}: adopted; once rule \"{}\" is on it does not take it as it lies there now",
            kept.rule
        ),
        (None, Some(kept)) if is_not_live => say!(
            "{path}: adopted; once rule \"{}\" is live it does not take it as it lies there now; as a shadow it reads it all the same",
            kept.rule
        ),
        (None, Some(kept)) => {
            say!("{path}: adopted; rule \"{}\" never takes it as it lies there now", kept.rule);
        }
        (None, None) if is_gone => say!("{path}: adopted, but it is gone since"),
        (None, None) => say!("{path}: adopted, but it has changed since: it is a new file now"),
    }
    if let Some(why) = known.not_taken {
        say!("    besides, {why}");
    }
    Ok(())
}

fn is_off(rules: &[Rule], name: &str) -> bool {
    rules.iter().any(|rule| rule.name == name && rule.mode == Mode::Off)
}

/// What becomes of a file that is adopted no more.
fn what_follows(
    door: &dyn Door,
    (set, rules): (&RuleSet, &[Rule]),
    path: &OsText,
    known: FileKnown,
) -> String {
    if let Some(why) = known.not_taken {
        return format!("it is not taken all the same: {why}");
    }
    let Some((at, vars)) = set.assign(path.as_path()) else {
        return "no live rule takes it: `landfall explain` says why".to_owned();
    };
    let rule = rules.get(at).map(|rule| rule.name.as_str()).unwrap_or_default();
    let why = door.halts().ok().and_then(|halts| halts.why_not_claimed(rule, &vars, path.as_path()));
    if let Some(why) = why {
        return format!("it is taken once it is complete, and this is lifted: {why}");
    }
    let by = if door.is_service() { "" } else { ", by the next `landfall run`" };
    format!("it is taken once it is complete{by}")
}
