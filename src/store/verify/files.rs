//! Whether the files of an unfinished job lie where its rows say.

use std::io;

use super::{Finding, place};
use crate::durable_fs;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::OsText;
use crate::model::rule::OnSuccess;
use crate::record::FRAMING_VERSION;
use crate::store::Store;

/// What is wrong with a job's files. Rows that cannot be read were found by then.
pub(super) fn judge(store: &Store, id: JobId) -> Vec<Finding> {
    let Ok(Some(job)) = store.job(id) else { return Vec::new() };
    if job.state.is_final() {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = source(store, &job).into_iter().collect();
    findings.extend(partials(store, &job));
    findings
}

fn finding(what: &str, job: &Job, problem: String, hint: &str) -> Finding {
    Finding { place: place(what, Some(job.id)), problem, hint: hint.to_owned() }
}

/// The source is at one of the places between which it is moved.
fn source(store: &Store, job: &Job) -> Option<Finding> {
    let may_be_gone = job.state == JobState::Retiring
        && store
            .rule(&job.rule_hash)
            .is_ok_and(|rule| rule.is_some_and(|rule| rule.source.on_success == OnSuccess::Delete));
    if may_be_gone {
        return None;
    }
    let here = job.source_path();
    match durable_fs::identity_at(here.as_path()) {
        Err(error) => return Some(unreadable(job, here, &error)),
        Ok(Some(found)) if durable_fs::is_same_content(here.as_path(), &found, &job.source.identity) => {
            return None;
        }
        Ok(Some(_)) => {
            let hint = "find who wrote it; a job whose source changed is given back, then quarantined";
            return Some(finding("source", job, format!("{here} is not the file that was claimed"), hint));
        }
        Ok(None) => {}
    }
    let others = [Some(&job.source.path), job.retrieved_from(), job.retired_to.as_ref()];
    for other in others.into_iter().flatten() {
        match durable_fs::identity_at(other.as_path()) {
            Err(error) => return Some(unreadable(job, other, &error)),
            Ok(Some(_)) => return None,
            Ok(None) => {}
        }
    }
    let folder = durable_fs::parent_of(here.as_path());
    let hint = if folder.is_dir() {
        "find who removed it; whatever the sender still has can be sent again"
    } else {
        "its folder is not there: mount its file system, and the job goes on by itself"
    };
    Some(finding("source", job, format!("it is not at {here}, nor where it came from or goes to"), hint))
}

fn unreadable(job: &Job, path: &OsText, error: &io::Error) -> Finding {
    let hint = "run the command as the user that the service runs as";
    finding("source", job, format!("cannot look at {path}: {error}"), hint)
}

/// Each partial of the checkpoint is there and long enough, while the job may go on from it.
fn partials(store: &Store, job: &Job) -> Vec<Finding> {
    let goes_on = !job.is_failing() && !job.state.is_past_intent();
    let Ok(Some(checkpoint)) = store.checkpoint(job.id) else { return Vec::new() };
    if !goes_on || checkpoint.framing_version != FRAMING_VERSION {
        return Vec::new();
    }
    let hint = "find who removed or cut it; the job starts from its first record";
    let wrong = |state: &crate::output::PartialState| {
        let path = state.hidden.path.as_path();
        let length = match path.metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Some(format!("cannot look at {}: {error}", state.hidden.path)),
        };
        let problem =
            || format!("{} has {length} bytes, its checkpoint counts on {}", state.hidden.path, state.length);
        (length < state.length).then(problem)
    };
    let problems = checkpoint.partials.iter().filter_map(wrong);
    problems.map(|problem| finding("partial", job, problem, hint)).collect()
}
