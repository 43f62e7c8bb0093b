//! `landfall adopt`: files that were dealt with before this program came are never taken.

use std::path::PathBuf;
use std::process::ExitCode;

use super::exit::FAILED;
use super::say::{complain, say};
use crate::control::{self, Reached};
use crate::engine::{Act, Door};
use crate::listing::rules::rules_gone_by;
use crate::model::file_known::FileKept;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::rule::Settings;
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
    let rules = RuleSet::new(rules_gone_by(Some(door)).unwrap_or_else(|| settings.rules.clone()))?;
    let mut all_done = true;
    for file in &args.files {
        if let Err(error) = one(args, file, (door, &rules)) {
            complain(&error.0, error.1.as_deref());
            all_done = false;
        }
    }
    Ok(if all_done { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// One that cannot be adopted does not stop the others.
fn one(
    args: &AdoptArgs,
    file: &PathBuf,
    (door, rules): (&dyn Door, &RuleSet),
) -> Result<(), (String, Option<String>)> {
    let refused = |refusal: crate::engine::Refusal| (refusal.to_string(), refusal.hint());
    let path = std::path::absolute(file)
        .map_err(|error| (format!("{} cannot be found: {error}", escaped_path(file)), None))?;
    // One that no live rule has is adopted for the day when its shadow is live.
    let is_shadow = rules.assign(&path).is_none();
    let path = OsText::from(path);
    if args.undo {
        door.act(&Act::GiveUp { path: path.clone() }).map_err(refused)?;
        say!("{path}: adopted no more; it is taken once it is complete");
        return Ok(());
    }
    let before = door.file_known(&path).map_err(refused)?.kept;
    door.act(&Act::Adopt { path: path.clone() }).map_err(refused)?;
    let known = door.file_known(&path).map_err(refused)?.kept;
    match (before, known) {
        (Some(FileKept { job: None, .. }), _) => say!("{path}: was adopted before"),
        (Some(FileKept { job: Some(job), .. }), Some(FileKept { job: None, rule, .. })) => {
            say!(
                "{path}: adopted; job {job}, which had ended badly, is ended; rule \"{rule}\" never takes it as it lies there now"
            );
        }
        (Some(before), _) => say!("{path}: known before: {}; not taken again", before.became()),
        (None, Some(kept)) if is_shadow => say!(
            "{path}: adopted; once rule \"{}\" is live it does not take it as it lies there now; as a shadow it reads it all the same",
            kept.rule
        ),
        (None, Some(kept)) => {
            say!("{path}: adopted; rule \"{}\" never takes it as it lies there now", kept.rule);
        }
        (None, None) => say!("{path}: adopted, but it has changed since: it is a new file now"),
    }
    Ok(())
}
