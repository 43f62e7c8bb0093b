//! What is known of a file besides the rules: what lies there, what it waits for, what it became.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Stop;
use crate::durable_fs::{self, Kind};
use crate::engine::{Door, JobFilter};
use crate::model::amount;
use crate::model::file_known::{FileKept, FileSeen, ingest_here};
use crate::model::job::Job;
use crate::model::job_state::JobState;
use crate::model::job_view::job_json;
use crate::model::os_text::{OsText, escaped_path};
use crate::model::rule::{Mode, Rule};
use crate::watch;
use crate::watch::companion::{self, Companion};

/// So many jobs of a file are told, the newest.
const JOBS_TOLD_MAX: usize = 5;

/// What is known of the file.
pub(crate) struct Found {
    /// What lies there.
    pub(crate) there: String,
    /// Nothing does.
    pub(crate) is_gone: bool,
    /// What its rule waits for beside it: the key, where it lies, and whether it is there.
    pub(crate) companions: Vec<(&'static str, PathBuf, io::Result<Option<Kind>>)>,
    /// The key by which others wait for it.
    pub(crate) awaited_as: Option<&'static str>,
    /// How the running service has seen it.
    pub(crate) seen: Option<FileSeen>,
    /// What holds up a folder above it, or the watch.
    pub(crate) held_up: Option<(OsText, String)>,
    /// What is known of its folder, and holds up nothing.
    pub(crate) folder_note: Option<(OsText, String)>,
    /// It stays where it lies, and is not taken as long as it is the same.
    pub(crate) kept: Option<FileKept>,
    /// What has it taken here all the same, where another rule had it.
    pub(crate) taken_here: Option<String>,
    /// Why not, where a job has it, or had it.
    pub(crate) not_taken: Option<String>,
    /// The newest first, each with what of it the file is.
    pub(crate) jobs: Vec<(&'static str, Job)>,
    pub(crate) is_service: bool,
}

impl Found {
    /// Of what a path names, which is another one where a link is followed.
    pub(crate) fn of(
        door: Option<&dyn Door>,
        (named, path): (&Path, &Path),
        taker: Option<&Rule>,
        awaited_as: Option<&'static str>,
    ) -> Result<Self, Stop> {
        let name = OsText::from(path);
        let known = door.map(|door| door.file_known(&name)).transpose()?.unwrap_or_default();
        let (mut held_up, mut folder_note) = (None, None);
        let kind = durable_fs::kind_at(path);
        let is_gone = matches!(kind, Ok(None));
        // Else it is nothing to a file: no rule takes it, or it was dealt with, or it is not there.
        let may_be_taken = taker.is_some()
            && awaited_as.is_none()
            && known.kept.is_none()
            && matches!(kind, Ok(Some(Kind::File)) | Err(_));
        let in_view = door.filter(|_| may_be_taken).map(Door::files_in_view).transpose()?;
        for file in in_view.unwrap_or_default().folders {
            if !path.starts_with(file.path.as_path()) || path == file.path.as_path() {
                continue;
            }
            let told = if watch::is_mere_note(&file.reason) { &mut folder_note } else { &mut held_up };
            *told = Some((file.path, file.reason));
        }
        held_up = held_up.filter(|_| known.waiting.is_none());
        let elsewhere = |rule: &&Rule| known.kept.as_ref().is_some_and(|kept| kept.rule != rule.name);
        let taken_here = taker.filter(|rule| rule.mode == Mode::Live).filter(elsewhere);
        let taken_here = taken_here.map(|rule| ingest_here(path, &rule.name));
        let mut jobs = Vec::new();
        let newest = JobFilter { newest_first: true, ..JobFilter::default() };
        for job in door.into_iter().flat_map(|door| door.list(&newest)) {
            let job = job?;
            if let Some(part) = part_of(&job, &name) {
                jobs.push((part, job));
            }
            if jobs.len() == JOBS_TOLD_MAX {
                break;
            }
        }
        Ok(Self {
            there: what_lies_at(named),
            is_gone,
            companions: taker.map(|rule| companions(rule, path)).unwrap_or_default(),
            awaited_as,
            seen: known.waiting,
            held_up,
            folder_note,
            kept: known.kept,
            taken_here,
            not_taken: known.not_taken,
            jobs,
            is_service: door.is_some_and(Door::is_service),
        })
    }

    /// Whether the running service waits for it.
    pub(crate) fn is_seen(&self) -> bool {
        self.seen.is_some()
    }

    /// Whether it stays where it lies.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.is_some()
    }

    /// What it is, where it is nothing that may be taken: what a job made of a source.
    pub(crate) fn product(&self) -> Option<String> {
        let (part, job) = self.jobs.iter().find(|(part, _)| *part != "source")?;
        let id = job.id;
        Some(match (*part, job.state.get()) {
            ("retired source", JobState::Failed | JobState::Refused) => {
                format!("the source of job {id}, in quarantine: `landfall retry {id}` takes it again")
            }
            ("output", _) => format!("an output of job {id}"),
            (part, _) => format!("the {part} of job {id}: `landfall show {id}` tells of it"),
        })
    }

    pub(crate) fn json(&self) -> Value {
        let companion = |(key, path, kind): &(&str, PathBuf, io::Result<Option<Kind>>)| {
            let is_there = matches!(kind, Ok(Some(Kind::File)));
            json!({ "key": key, "path": escaped_path(path), "there": is_there })
        };
        let held_up = self.held_up.as_ref().map(|(_, reason)| reason);
        json!({
            "there": self.there,
            "waits": self.seen.as_ref().map(|seen| &seen.reason).or(held_up),
            "seen": self.seen,
            "held_up_at": self.held_up.as_ref().map(|(path, _)| path.to_string()),
            "folder_note": self.folder_note.as_ref().map(|(path, reason)| {
                json!({ "path": path.to_string(), "reason": reason })
            }),
            "companions": self.companions.iter().map(companion).collect::<Vec<_>>(),
            "kept": self.kept,
            "not_taken": self.not_taken,
            "jobs": self.jobs.iter().map(|(_, job)| job_json(job)).collect::<Vec<_>>(),
            "found_as": self.jobs.iter().map(|(part, _)| *part).collect::<Vec<_>>(),
        })
    }
}

/// What of a job a file is.
fn part_of(job: &Job, file: &OsText) -> Option<&'static str> {
    if job.source.path == *file {
        Some("source")
    } else if job.source.claimed.as_ref() == Some(file) {
        Some("claimed source")
    } else if job.retired_to.as_ref() == Some(file) {
        Some("retired source")
    } else if job.outputs.iter().any(|output| output.path == *file) {
        Some("output")
    } else {
        job.source.companions.iter().any(|companion| companion.path == *file).then_some("companion")
    }
}

/// The marker and the totals that a rule wants beside a file, each with what lies there.
fn companions(rule: &Rule, path: &Path) -> Vec<(&'static str, PathBuf, io::Result<Option<Kind>>)> {
    let marker = Companion::marker_of(&rule.ready).and_then(Result::ok);
    let named = |template: &Option<String>| companion::path(template.as_deref()?, path);
    let places = [
        ("marker", marker.and_then(|marker| marker.path_for(path))),
        ("totals", named(&rule.ready.totals)),
        ("checksum", named(&rule.ready.checksum)),
    ];
    let found = places.into_iter().filter_map(|(key, place)| place.map(|place| (key, place)));
    found.map(|(key, place)| (key, place.clone(), durable_fs::kind_at(&place))).collect()
}

fn what_lies_at(path: &Path) -> String {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => format!("a file of {}", amount::bytes(found.len())),
        Ok(found) if found.is_dir() => "a folder: only files are taken".to_owned(),
        Ok(found) if found.is_symlink() => Kind::Link.to_string(),
        Ok(_) => format!("{}: it is never taken, nor opened", Kind::Other),
        Err(error) if error.kind() == io::ErrorKind::NotFound => "nothing lies there".to_owned(),
        Err(error) => format!("it cannot be looked at: {error}"),
    }
}
