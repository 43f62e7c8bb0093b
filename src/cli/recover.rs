//! `landfall recover CLAIM_DIR`: what lies in a claim folder without a store, and taking it up again.

use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Serialize;

use super::exit::FAILED;
use super::say::{complain, say, say_aside};
use super::view::{self, Stop};
use crate::config;
use crate::control;
use crate::durable_fs::{self, FsError, Hold};
use crate::engine::strays::{self, ClaimFolder, GivenBack, Quarantined, Stray};
use crate::engine::{Door, Refusal};
use crate::model::fault::Fault as _;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::job_view::VIEW_VERSION;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::rule::Settings;
use crate::model::shell;
use crate::store::StoreError;

const TEXT_BYTES_MAX: usize = 4096;

/// Which claim folder, and what to do with what lies there.
#[derive(clap::Args)]
pub(super) struct RecoverArgs {
    /// The claim folder: `.landfall` in a watched folder, or a rule's `source.claim_dir`
    #[arg(value_name = "CLAIM_DIR")]
    folder: PathBuf,
    /// Rename the files back to where they lay, so that they are taken again; one that may have been published only by --job
    #[arg(long)]
    give_back: bool,
    /// Give back only the files of this job, also if it may have been published; can be given several times
    #[arg(long, value_name = "JOB", requires = "give_back")]
    job: Vec<JobId>,
    /// Give back into this folder, where the claim folder does not tell where files lay
    #[arg(long, value_name = "DIR", requires = "give_back")]
    to: Option<PathBuf>,
    /// Print JSON
    #[arg(long, conflicts_with = "give_back")]
    json: bool,
}

/// A file, and what the store has of its job, if there is a store.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    stray: Stray,
    state: Option<JobState>,
}

impl Told {
    /// The service goes on with it, or `landfall retry` does.
    fn is_in_hand(&self) -> bool {
        self.state
            .is_some_and(|state| !state.is_final() || matches!(state, JobState::Failed | JobState::Aborted))
    }

    /// The store, or what lies among the outputs, speaks for it.
    fn may_be_published(&self) -> bool {
        self.state.is_some() || !self.stray.traces.outputs.is_empty()
    }

    /// The configuration says where its outputs would be.
    fn can_be_told(&self) -> bool {
        !self.stray.traces.unknown
    }
}

#[derive(Serialize)]
struct View<'a> {
    version: u32,
    claimed: &'a [Told],
    quarantined: &'a [Quarantined],
    leftovers: &'a [OsText],
}

pub(super) fn run(args: &RecoverArgs, config: Option<&Path>) -> anyhow::Result<ExitCode> {
    let settings = settings(config)?;
    if let Some(settings) = &settings {
        control::check_owner(settings)
            .context("cannot tell what of the claim folder is the service's own")?;
    }
    let folder = plain(&args.folder)?;
    if !folder.is_dir() {
        return Ok(refuse(
            &format!("there is no folder {}", escaped_path(&folder)),
            "name a claim folder: `.landfall` in a watched folder, or a rule's `source.claim_dir`",
        ));
    }
    if let Some(claims) = strays::claim_folder_in(&folder) {
        let message = format!("{} is a watched folder", escaped_path(&folder));
        return Ok(refuse(&message, &format!("name its claim folder: {}", escaped_path(&claims))));
    }
    let rules = settings.as_ref().map(|settings| settings.rules.as_slice()).unwrap_or_default();
    if let Err(refused) = strays::check_own(&folder, rules) {
        return Ok(refuse_foreign(&refused));
    }
    // Held until the end: no service begins to claim here meanwhile.
    let _held = match hold(&folder)? {
        Ok(held) => held,
        Err(holder) => {
            let message = format!("the claim folder {} is in use by {holder}", escaped_path(&folder));
            return Ok(refuse(
                &message,
                "that service goes on with what lies there: `landfall jobs` lists it; else stop it first",
            ));
        }
    };
    if let Some(to) = args.to.as_deref().filter(|to| is_hidden_place(to)) {
        return Ok(refuse(
            &format!("{} is no folder that is watched: hidden files are never taken", escaped_path(to)),
            "name the folder where senders put their files",
        ));
    }
    let to = args.to.as_deref().map(plain).transpose()?;
    if let Some(to) = &to {
        strays::distrust_way_to(to);
    }
    let mut found = strays::claim_folder(&folder, rules)?;
    strays::look_for_traces(&mut found.claimed, rules);
    let claimed = with_states(std::mem::take(&mut found.claimed), settings.as_ref())?;
    if args.give_back {
        return give_back(args, to.as_deref(), &claimed);
    }
    view::print(|out| {
        if !args.json {
            return list(out, &folder, &claimed, &found);
        }
        let ClaimFolder { quarantined, leftovers, .. } = &found;
        view::json(out, &View { version: VIEW_VERSION, claimed: &claimed, quarantined, leftovers })
    })
}

/// The whole path, without a slash at its end, which would follow a link, and without `..`, which means another folder behind a link.
fn plain(path: &Path) -> anyhow::Result<PathBuf> {
    let whole = std::path::absolute(path).context("cannot find the current folder")?;
    let mut plain = PathBuf::new();
    for part in whole.components() {
        if part != Component::ParentDir {
            plain.push(part);
            continue;
        }
        if plain.symlink_metadata().is_ok_and(|found| found.is_symlink()) {
            anyhow::bail!(
                "{} is a symbolic link: name the folder without `..` behind it",
                escaped_path(&plain)
            );
        }
        plain.pop();
    }
    Ok(plain)
}

/// A claim or quarantine folder, or one in it.
fn is_hidden_place(folder: &Path) -> bool {
    let path = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    path.components().any(|part| part.as_os_str().to_string_lossy().starts_with(".landfall"))
}

/// The configuration tells more about the files, but must not be needed: it may be lost too.
fn settings(config: Option<&Path>) -> anyhow::Result<Option<Settings>> {
    let file = match config::find(config) {
        Ok(file) => file,
        Err(problems) if config.is_some() => return Err(problems.into()),
        Err(_) => return Ok(None),
    };
    Ok(Some(config::load_without_steps(&file)?))
}

/// The lock of a claim folder, where a service ever took it; else nobody has it, and none is made.
fn hold(folder: &Path) -> anyhow::Result<Result<Option<Hold>, durable_fs::Holder>> {
    if !durable_fs::was_held(folder) {
        return Ok(Ok(None));
    }
    Ok(match durable_fs::hold_folder(folder, None)? {
        Hold::Theirs(holder) => Err(holder),
        ours => Ok(Some(ours)),
    })
}

/// What the store says of each job, where there is one that can be asked.
fn with_states(claimed: Vec<Stray>, settings: Option<&Settings>) -> anyhow::Result<Vec<Told>> {
    let door = match settings.map(control::open) {
        None | Some(Err(StoreError::NoStore { .. })) => None,
        Some(Ok(door)) => Some(door),
        Some(Err(error @ StoreError::Damaged { .. })) => {
            say_aside!("landfall: {error}\n    what it knows of these files cannot be told");
            None
        }
        Some(Err(error)) => return Err(error).context("cannot ask the store what it knows of these files"),
    };
    let mut told = Vec::with_capacity(claimed.len());
    for stray in claimed {
        let state = door.as_deref().map(|door| state_of(door, stray.job)).transpose()?.flatten();
        told.push(Told { stray, state });
    }
    Ok(told)
}

fn state_of(door: &dyn Door, id: JobId) -> anyhow::Result<Option<JobState>> {
    match door.show(&id.to_string()) {
        Ok(job) => Ok(Some(job.state.get())),
        Err(Refusal::NoSuchJob { .. }) => Ok(None),
        Err(refusal) => Err(refusal).context("cannot ask the store what it knows of these files"),
    }
}

fn list(out: &mut dyn Write, folder: &Path, claimed: &[Told], found: &ClaimFolder) -> Result<(), Stop> {
    for of_job in claimed.chunk_by(|a, b| a.stray.job == b.stray.job) {
        let is_told = of_job.iter().any(Told::can_be_told);
        of_job.iter().try_for_each(|told| list_one(out, told, is_told))?;
    }
    for quarantined in &found.quarantined {
        let text = |text: &Option<String>| {
            text.as_ref().map_or_else(
                || "not known".to_owned(),
                |text| view::printable(text.as_bytes(), TEXT_BYTES_MAX),
            )
        };
        writeln!(out, "{}", quarantined.path)?;
        writeln!(out, "    quarantined: {}", text(&quarantined.error))?;
        writeln!(out, "    came from {}", text(&quarantined.source))?;
    }
    for leftover in &found.leftovers {
        writeln!(
            out,
            "{leftover}\n    a copy that a move began; the file itself is where it was, and this may be removed"
        )?;
    }
    // A source and what belongs to it are one.
    let jobs = || claimed.chunk_by(|a, b| a.stray.job == b.stray.job);
    let waiting = jobs().filter(|of_job| of_job.iter().all(|told| !told.is_in_hand())).count();
    writeln!(
        out,
        "{}: {} claimed ({waiting} that no store has in hand), {} quarantined",
        escaped_path(folder),
        jobs().count(),
        found.quarantined.len()
    )?;
    if waiting > 0 {
        writeln!(
            out,
            "    hint: look whether their outputs were published; `landfall recover --give-back {}` renames those that leave no sign of it to \
             where they lay, and the next start takes them",
            shell::word(folder)
        )?;
    }
    Ok(())
}

fn list_one(out: &mut dyn Write, told: &Told, is_told: bool) -> Result<(), Stop> {
    let Stray { job, name, path, origin, bytes, traces } = &told.stray;
    let name =
        name.as_ref().map_or_else(|| "a name that was too long to keep".to_owned(), ToString::to_string);
    writeln!(out, "{path}")?;
    writeln!(out, "    job {job}, {name}, {bytes} bytes")?;
    match origin {
        Some(origin) => writeln!(out, "    came from {origin}")?,
        None => writeln!(out, "    where it came from is not known: say it with --to")?,
    }
    if let Some(rule) = &traces.rule {
        writeln!(out, "    rule {rule}")?;
    }
    match told.state {
        Some(state) if told.is_in_hand() => writeln!(out, "    the store has the job: {state}")?,
        Some(state) => writeln!(out, "    the store has the job as {state}: it was done already")?,
        None => {}
    }
    for output in &traces.outputs {
        writeln!(out, "    may have been published: {output} is there")?;
    }
    for partial in &traces.partials {
        writeln!(out, "    unfinished output: {partial}")?;
    }
    if !is_told && !told.is_in_hand() {
        writeln!(out, "    whether it was published cannot be told from here")?;
    }
    Ok(())
}

/// Gives back what was asked for; exit code 1 if anything stays.
fn give_back(args: &RecoverArgs, to: Option<&Path>, claimed: &[Told]) -> anyhow::Result<ExitCode> {
    let missing: Vec<_> =
        args.job.iter().filter(|id| claimed.iter().all(|told| told.stray.job != **id)).collect();
    for id in &missing {
        say_aside!("landfall: no file of job {id} lies there");
    }
    let (mut given, mut stay) = (0, 0);
    // A source and what belongs to it go together or stay together.
    for of_job in claimed.chunk_by(|a, b| a.stray.job == b.stray.job) {
        if of_job.iter().all(|told| !args.job.is_empty() && !args.job.contains(&told.stray.job)) {
            continue;
        }
        let places = match places(args, to, of_job) {
            Ok(places) => places,
            Err(why) => {
                stay += of_job.len();
                for told in of_job {
                    say!("{}: stays: {why}", told.stray.path);
                }
                continue;
            }
        };
        for (told, to) in of_job.iter().zip(places) {
            match strays::give_back(&told.stray, &to)? {
                GivenBack::To(to) => {
                    given += 1;
                    say!("{to}: given back");
                }
                GivenBack::NameTaken(to) => {
                    stay += 1;
                    say!("{}: stays: another file has its name {to}", told.stray.path);
                }
                GivenBack::Gone => {
                    stay += 1;
                    say!("{}: is gone", told.stray.path);
                }
            }
        }
    }
    say!("{given} given back, {stay} stay");
    Ok(if stay == 0 && missing.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Where each file of a job is to lie, or why all of them stay.
fn places(args: &RecoverArgs, to: Option<&Path>, of_job: &[Told]) -> Result<Vec<PathBuf>, String> {
    let job = of_job.first().map(|told| told.stray.job.to_string()).unwrap_or_default();
    if let Some(told) = of_job.iter().find(|told| told.is_in_hand()) {
        let state = told.state.map_or_else(String::new, |state| state.to_string());
        return Err(format!("the store has its job ({state}), and the service goes on with it"));
    }
    if args.job.is_empty() {
        if of_job.iter().any(Told::may_be_published) {
            return Err(format!("it may have been published; if it was not: `--give-back --job {job}`"));
        }
        if !of_job.iter().any(Told::can_be_told) {
            return Err(format!(
                "whether it was published cannot be told; if it was not: `--give-back --job {job}`, or name its configuration with --config"
            ));
        }
    }
    let places: Vec<_> = of_job.iter().map(|told| place(to, &told.stray)).collect::<Result<_, _>>()?;
    match places.iter().find(|to| to.symlink_metadata().is_ok()) {
        Some(taken) => Err(format!(
            "another file has its name {}: move that away, or choose another folder with --to",
            escaped_path(taken)
        )),
        None => Ok(places),
    }
}

fn place(to: Option<&Path>, stray: &Stray) -> Result<PathBuf, String> {
    let Some(name) = &stray.name else {
        return Err("its name was too long to be kept: rename it by hand".to_owned());
    };
    match (to, &stray.origin) {
        (Some(folder), _) => Ok(folder.join(name.as_path())),
        (None, Some(origin)) => Ok(origin.as_path().to_owned()),
        (None, None) => Err("where it came from is not known: say it with --to".to_owned()),
    }
}

/// What others could have put there is neither listed nor given back.
fn refuse_foreign(refused: &FsError) -> ExitCode {
    let hint = refused.hint().unwrap_or_default();
    refuse(
        &format!("what lies there is not trusted: {refused}: {}", refused.source),
        &format!("run the command as the user that the service runs as; if this is that user: {hint}"),
    )
}

fn refuse(message: &str, hint: &str) -> ExitCode {
    complain(message, Some(hint));
    ExitCode::from(FAILED)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: RecoverArgs,
    }

    #[test]
    fn what_is_chosen_goes_with_giving_back_and_json_with_listing() {
        let parse =
            |words: &[&str]| Line::try_parse_from([&["recover", "in/.landfall"], words].concat()).is_ok();
        let id = JobId::from_parts(1, 1).to_string();
        assert!(parse(&[]) && parse(&["--json"]) && parse(&["--give-back", "--job", &id, "--to", "in"]));
        assert!(!parse(&["--job", &id]) && !parse(&["--to", "in"]) && !parse(&["--json", "--give-back"]));
        assert!(!parse(&["--give-back", "--job", "no-id"]));
    }
}
