//! Files that are gone before an engine that stands aside could read them: each has a row that says so.

use std::path::Path;

use super::claims;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::model::identity::FileIdentity;
use crate::model::job::{Job, Source};
use crate::model::job_state::JobEvent;
use crate::model::pattern::Values;
use crate::model::rule::Rule;

/// Notes a file that is gone as a job that ended before it began; `why` follows "it was gone before it was".
pub(super) fn note(
    shared: &Shared,
    rule: &Rule,
    path: &Path,
    identity: &FileIdentity,
    values: &Values,
    why: &str,
) {
    let id = shared.claims.ids.next(claims::random_tail());
    let source = Source { retire: true, ..Source::found(path, *identity) };
    let mut job =
        Job { vars: values.clone(), ..Job::queued(id, &rule.name, &rule.hash(), source, clock::now()) };
    job.is_gone = true;
    let ended = job.take(JobEvent::GivenBack, clock::now(), &format!("it was gone before it was {why}"));
    let written =
        ended.map_err(Trouble::from).and_then(|()| Ok(shared.store.change().rule(rule).job(&job).apply()?));
    if let Err(trouble) = written {
        tracing::warn!(path = %job.source.path, error = %trouble.error, "that this file is gone is not noted");
    }
}
