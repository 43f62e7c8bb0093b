//! Claimed files, told without the store: a claim folder explains itself by its names.
//!
//! `JOB.NAME` is a claimed file, `quarantine/NAME` with `NAME.error.json` one whose content was refused. What the names do not say (the
//! folder a file came from, where `source.claim_dir` is one of its own; whether its outputs were published) the configuration may.
//!
//! Nothing here is done by guess: a store that is lost may have published a source before it was lost. Only [`give_back`] moves
//! anything, and only what an operator names.

mod own;
mod report;
mod traces;

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::EngineError;
use super::claim_names::reason_of;
use super::claim_names::{REASON_SUFFIX, stands_for_a_long_name};
use super::trouble::Trouble;
use crate::durable_fs::{self, CLAIM_FOLDER, Kind, Renamed};
use crate::model::fault::FaultKind;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::model::pattern::Pattern;
use crate::model::rule::Rule;

pub(crate) use own::{check_own, distrust_way_to};
pub(super) use report::{tell_partials, tell_strays};
pub(crate) use traces::{Traces, look_for_traces};

/// Characters of a job id; a dot stands behind it.
const ID_LENGTH: usize = 26;
/// A reason file is shorter: it is a job's JSON.
const REASON_BYTES_MAX: u64 = 16 << 20;

/// What lies in a claim folder.
#[derive(Debug, Default)]
pub(crate) struct ClaimFolder {
    /// Claimed files, by job id: sources and their companions.
    pub claimed: Vec<Stray>,
    /// Sources whose content was refused.
    pub quarantined: Vec<Quarantined>,
    /// Hidden copies that a move over file systems left.
    pub leftovers: Vec<OsText>,
}

/// A file with a claimed name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Stray {
    /// The job that it was claimed for.
    pub job: JobId,
    /// What it was called; none where the name was too long to be kept.
    pub name: Option<OsText>,
    /// Where it lies.
    pub path: OsText,
    /// Where it lay, as far as the claim folder or the configuration tell.
    pub origin: Option<OsText>,
    /// In bytes.
    pub bytes: u64,
    /// What the job left among the outputs.
    #[serde(flatten)]
    pub traces: Traces,
}

/// A source in quarantine, with what its reason file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Quarantined {
    /// Where it lies.
    pub path: OsText,
    /// The job that refused it, where its reason file can be read.
    pub job: Option<JobId>,
    /// The rule's name.
    pub rule: Option<String>,
    /// Where it came from.
    pub source: Option<String>,
    /// Why it was refused.
    pub error: Option<String>,
}

/// Lists a claim folder. With `rules` more is told: where files came from, and where their quarantine is.
pub(crate) fn claim_folder(folder: &Path, rules: &[Rule]) -> Result<ClaimFolder, EngineError> {
    let mut found = ClaimFolder { claimed: claimed_files(folder)?, ..ClaimFolder::default() };
    let origin = origin_of(folder, rules);
    for stray in &mut found.claimed {
        let lay = origin.as_deref().zip(stray.name.as_ref());
        stray.origin = lay.map(|(folder, name)| folder.join(name.as_path()).into());
    }
    for quarantine in &quarantines(folder, rules) {
        found.quarantined.extend(quarantined_files(quarantine)?);
        found.leftovers.extend(leftovers(quarantine)?);
    }
    found.leftovers.extend(leftovers(folder)?);
    Ok(found)
}

/// Where sources from a claim folder go that are refused.
fn quarantines(folder: &Path, rules: &[Rule]) -> BTreeSet<PathBuf> {
    let of = rules.iter().filter(|rule| is_claim_folder_of(folder, rule));
    of.filter_map(|rule| rule.source.quarantine_dir.clone()).chain([folder.join("quarantine")]).collect()
}

/// The claim folder that a watched folder has, where that was named in its place.
pub(crate) fn claim_folder_in(watched: &Path) -> Option<PathBuf> {
    Some(watched.join(CLAIM_FOLDER))
        .filter(|folder| matches!(durable_fs::kind_at(folder), Ok(Some(Kind::Folder))))
}

/// What became of a file that was to be given back.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum GivenBack {
    /// It lies here again.
    To(OsText),
    /// Another file has its name.
    NameTaken(OsText),
    /// Somebody took it meanwhile.
    Gone,
}

/// Renames a claimed file to where it is to lie, never over another; durable when this returns. The partials that its job left go
/// then: they hold nothing that the source does not give again.
pub(crate) fn give_back(stray: &Stray, to: &Path) -> Result<GivenBack, EngineError> {
    match durable_fs::move_file(stray.path.as_path(), to).map_err(Trouble::from)? {
        Renamed::Done => {}
        Renamed::NameTaken => return Ok(GivenBack::NameTaken(to.into())),
        Renamed::Missing => return Ok(GivenBack::Gone),
    }
    for partial in &stray.traces.partials {
        durable_fs::remove_file(partial.as_path()).map_err(Trouble::from)?;
    }
    Ok(GivenBack::To(to.into()))
}

/// The files with claimed names in a folder, by job id. None where there is no such folder.
fn claimed_files(folder: &Path) -> Result<Vec<Stray>, Trouble> {
    let mut found = Vec::new();
    for path in files_in(folder)? {
        let Some((job, name)) = path.file_name().and_then(parse_claimed) else { continue };
        let name = (!stands_for_a_long_name(&name)).then(|| OsText::new(name));
        // One that vanished was moved on; one that cannot be looked at is told all the same.
        let bytes = match durable_fs::identity_at(&path) {
            Ok(None) => continue,
            Ok(Some(identity)) => identity.size,
            Err(error) => {
                tracing::warn!(path = %OsText::from(path.as_path()), %error, "cannot look at a claimed file: its size is not known");
                0
            }
        };
        let path = path.into();
        found.push(Stray { job, name, path, origin: None, bytes, traces: Traces::default() });
    }
    found.sort_by(|a, b| (a.job, a.path.as_path()).cmp(&(b.job, b.path.as_path())));
    Ok(found)
}

/// The job and the original name in a claimed name.
fn parse_claimed(name: &OsStr) -> Option<(JobId, OsString)> {
    let (id, rest) = name.as_encoded_bytes().split_at_checked(ID_LENGTH)?;
    let id = std::str::from_utf8(id).ok()?.parse().ok()?;
    rest.strip_prefix(b".").filter(|original| !original.is_empty())?;
    Some((id, behind_id(name)))
}

/// What follows an id and its dot, which are ASCII.
#[cfg(unix)]
fn behind_id(name: &OsStr) -> OsString {
    use std::os::unix::ffi::OsStrExt as _;
    OsStr::from_bytes(name.as_bytes().get(ID_LENGTH + 1..).unwrap_or_default()).to_owned()
}

#[cfg(windows)]
fn behind_id(name: &OsStr) -> OsString {
    use std::os::windows::ffi::{OsStrExt as _, OsStringExt as _};
    OsString::from_wide(&name.encode_wide().skip(ID_LENGTH + 1).collect::<Vec<_>>())
}

/// The folder from which the files of a claim folder came, where that is one.
fn origin_of(folder: &Path, rules: &[Rule]) -> Option<PathBuf> {
    if folder.file_name().is_some_and(|name| name == CLAIM_FOLDER) {
        return Some(durable_fs::parent_of(folder).to_owned());
    }
    let of = |rule: &Rule| -> Vec<Option<PathBuf>> {
        let fixed = |(text, pattern): (&String, &Result<Pattern, _>)| {
            let above = Path::new(text).parent()?;
            (pattern.as_ref().ok()?.fixed_folder() == above).then(|| above.to_owned())
        };
        rule.paths.iter().zip(rule.paths.judged()).map(fixed).collect()
    };
    let mut origins: Vec<_> =
        rules.iter().filter(|rule| is_claim_folder_of(folder, rule)).flat_map(of).collect();
    origins.dedup();
    match origins.as_slice() {
        [Some(only)] => Some(only.clone()),
        _ => None,
    }
}

fn is_claim_folder_of(folder: &Path, rule: &Rule) -> bool {
    rule.source.claim_dir.as_deref() == Some(folder)
}

fn quarantined_files(folder: &Path) -> Result<Vec<Quarantined>, Trouble> {
    let is_hidden =
        |path: &Path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let files: BTreeSet<PathBuf> = files_in(folder)?.into_iter().collect();
    // A sender may call a source like a reason: with a reason of its own it is none.
    let has_reason = |path: &Path| files.contains(&reason_of(path));
    let is_reason = |path: &Path| {
        path.as_os_str().as_encoded_bytes().ends_with(REASON_SUFFIX.as_bytes()) && !has_reason(path)
    };
    let sources = files.iter().filter(|path| !is_reason(path) && !is_hidden(path));
    let reason_is_ours = |path: &Path| has_reason(path) && is_reason(&reason_of(path));
    Ok(sources.map(|path| quarantined(path.clone(), reason_is_ours(path))).collect())
}

fn quarantined(path: PathBuf, has_reason: bool) -> Quarantined {
    let (reason, unreadable) = match has_reason.then(|| read_reason(&path)) {
        None => (serde_json::Value::Null, None),
        Some(Ok(reason)) => (reason, None),
        Some(Err(error)) => {
            (serde_json::Value::Null, Some(format!("its reason file cannot be read: {error}")))
        }
    };
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    Quarantined {
        job: reason["id"].as_str().and_then(|id| id.parse().ok()),
        rule: text(&reason["rule"]),
        source: text(&reason["source"]),
        error: unreadable.or_else(|| text(&reason["error"]["message"])),
        path: path.into(),
    }
}

/// Only of our own: a sender's says what he likes.
fn read_reason(source: &Path) -> io::Result<serde_json::Value> {
    let file = durable_fs::open_own(&reason_of(source))?;
    Ok(serde_json::from_reader(io::BufReader::new(file.take(REASON_BYTES_MAX)))?)
}

/// Hidden copies of a move that did not come to its end.
fn leftovers(folder: &Path) -> Result<Vec<OsText>, Trouble> {
    let is_hidden_copy = |path: &PathBuf| {
        let name = path.file_name().map(OsStr::to_string_lossy).unwrap_or_default();
        name.starts_with(durable_fs::HIDDEN_PREFIX) && name.ends_with(".partial")
    };
    Ok(files_in(folder)?.into_iter().filter(is_hidden_copy).map(OsText::from).collect())
}

/// The regular files in a folder; none where there is no such folder. Links are not followed.
fn files_in(folder: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let failed = |error: io::Error| {
        let message = format!("cannot list {}: {error}", OsText::from(folder));
        let hint = "run the command as the user that the service runs as";
        Trouble::new(FaultKind::Storage, message, Some(hint))
    };
    let entries = match durable_fs::list(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed)?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.kind == Kind::File {
            files.push(entry.path);
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_name_gives_back_the_job_and_the_original_name() {
        let id = JobId::from_parts(1_796_000_000_000, 7);
        let name = std::ffi::OsString::from(format!("{id}.pay.csv.gz"));
        assert_eq!(parse_claimed(&name), Some((id, OsString::from("pay.csv.gz"))));
        let no_claim =
            ["landfall.lock", "quarantine", &format!("{id}"), &format!("{id}."), "01hq.pay.csv", ""];
        assert!(no_claim.iter().all(|name| parse_claimed(OsStr::new(name)).is_none()));
    }

    #[cfg(unix)]
    #[test]
    fn a_name_that_is_not_unicode_keeps_its_bytes() {
        use std::os::unix::ffi::OsStrExt as _;
        let id = JobId::from_parts(1, 7);
        let name = [id.to_string().as_bytes(), b".\xff\xfe.csv"].concat();
        let (found, original) = parse_claimed(OsStr::from_bytes(&name)).expect("is claimed");
        assert_eq!((found, original.as_bytes()), (id, &b"\xff\xfe.csv"[..]));
    }
}
