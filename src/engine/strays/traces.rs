//! What the job of a claimed file left among the outputs: whether it may have been published is the operator's question.

use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;

use super::Stray;
use crate::durable_fs;
use crate::model::identity::FileIdentity;
use crate::model::job::{Job, Source};
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::model::rule::{Mode, Rule};
use crate::model::template;
use crate::output;
use crate::watch::rules::RuleSet;

/// Numbered names that are looked at, `pay-1.csv` and so on.
const NUMBERS_MAX: u64 = 20;

/// File systems keep time more coarsely than the clock that made the job's id.
const FILE_CLOCK_SLACK: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);

/// What a job left among the outputs, as far as the configuration tells where to look.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Traces {
    /// The rule that takes the file.
    pub rule: Option<String>,
    /// Files under the names of its outputs, manifest and marker, changed after it was claimed: it may have been published.
    pub outputs: Vec<OsText>,
    /// Its hidden partials.
    pub partials: Vec<OsText>,
    /// Whether no rule says where its outputs would be, or they have names that only the content tells.
    pub unknown: bool,
}

/// Looks for what each file's job left. A rule that is off now may have claimed it.
pub(crate) fn look_for_traces(strays: &mut [Stray], rules: &[Rule]) {
    let on = rules.iter().map(|rule| Rule { mode: Mode::Live, ..rule.clone() });
    let taken_by = RuleSet::new(on.collect()).ok();
    for stray in strays {
        let origin = stray.origin.as_ref().map(OsText::as_path);
        let taken = taken_by.as_ref().zip(origin).and_then(|(rules, origin)| rules.assign(origin));
        let rule = taken.and_then(|(position, vars)| Some((rules.get(position)?, vars)));
        stray.traces = match (rule, origin) {
            (Some((rule, vars)), Some(origin)) => {
                let mut job = job_of(stray.job, rule, origin);
                job.vars = vars;
                traces_of(&job, rule)
            }
            _ => Traces { unknown: true, ..Traces::default() },
        };
    }
}

/// The job as it was when it was claimed, as far as its paths depend on it.
fn job_of(id: JobId, rule: &Rule, origin: &Path) -> Job {
    let claimed_at = i64::try_from(id.unix_ms()).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let source =
        Source::found(origin, FileIdentity { device: 0, inode: 0, size: 0, mtime_ns: 0, ctime_ns: 0 });
    Job::queued(id, &rule.name, "", source, claimed_at.unwrap_or_default())
}

fn traces_of(job: &Job, rule: &Rule) -> Traces {
    let mut traces = Traces { rule: Some(rule.name.clone()), ..Traces::default() };
    let mut folders: Vec<PathBuf> = Vec::new();
    for (category, wanted) in &rule.outputs {
        let is_per_entry = wanted.path.contains("{entry");
        let entry = is_per_entry.then(|| OsText::from("entry"));
        let Ok(path) = output::final_path(rule, job, category, entry.as_ref()) else {
            traces.unknown = true;
            continue;
        };
        folders.push(durable_fs::parent_of(&path).to_owned());
        traces.unknown |= is_per_entry;
        if !is_per_entry {
            traces.outputs.extend(published(&path, job).into_iter().map(OsText::from));
        }
    }
    let signals = output::signal_paths(rule, job);
    traces.unknown |= signals.is_err();
    for signal in signals.into_iter().flatten().flatten() {
        traces.outputs.extend(published(&signal, job).into_iter().map(OsText::from));
        folders.push(durable_fs::parent_of(&signal).to_owned());
    }
    folders.sort();
    folders.dedup();
    for folder in &folders {
        match output::partials_in(folder, job.id) {
            Ok(partials) => traces.partials.extend(partials.into_iter().map(OsText::from)),
            // What may lie there is not known.
            Err(_) => traces.unknown = true,
        }
    }
    traces
}

/// Files of this name, or this name with a number, that changed after the job's claim.
fn published(path: &Path, job: &Job) -> Vec<PathBuf> {
    let names = (0..=NUMBERS_MAX)
        .map(|number| if number == 0 { path.to_owned() } else { template::numbered(path, number) });
    let is_later = |path: &PathBuf| {
        let modified = fs::symlink_metadata(path).and_then(|metadata| metadata.modified()).ok()?;
        let modified = Timestamp::try_from(modified).ok()?;
        Some(modified + FILE_CLOCK_SLACK >= job.created_at)
    };
    // All of them: a consumer takes some and leaves others.
    names.filter(|name| is_later(name) == Some(true)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    /// A claimed file of a job that nobody knows, claimed now or an hour from now.
    fn stray(world: &World, in_an_hour: bool) -> Stray {
        let now = crate::clock::now() + jiff::SignedDuration::from_hours(i64::from(in_an_hour));
        let job = JobId::from_parts(now.as_millisecond().unsigned_abs(), 7);
        Stray {
            job,
            name: None,
            path: world.claimed().into(),
            origin: Some(world.source().into()),
            bytes: 2,
            traces: Traces::default(),
        }
    }

    fn traces_of(world: &World, mut stray: Stray) -> Traces {
        look_for_traces(std::slice::from_mut(&mut stray), &[(*world.rule()).clone()]);
        stray.traces
    }

    #[test]
    fn outputs_of_its_names_that_came_after_the_claim_are_its_traces_and_older_ones_are_not() {
        let world = World::new();
        for name in ["out/pay.main", "out/pay-2.main", "out/other.main"] {
            std::fs::write(world.path(name), "1\n").expect("writes");
        }
        let found = traces_of(&world, stray(&world, false));
        let published = ["out/pay.main", "out/pay-2.main"].map(|name| OsText::from(world.path(name)));
        assert_eq!(
            (found.rule.as_deref(), found.outputs, found.unknown),
            (Some("payments"), published.to_vec(), false)
        );
        assert!(traces_of(&world, stray(&world, true)).outputs.is_empty(), "they were there before");
    }

    #[test]
    fn its_hidden_partials_are_its_traces_and_those_of_others_are_not() {
        let world = World::new();
        let stray = stray(&world, false);
        let partial = |id: JobId| world.path(&format!("out/.landfall-{id}-0.partial"));
        for id in [stray.job, JobId::from_parts(1, 9)] {
            std::fs::write(partial(id), "1\n").expect("writes");
        }
        let own = OsText::from(partial(stray.job));
        assert_eq!(traces_of(&world, stray).partials, [own]);
    }

    #[test]
    fn where_no_rule_says_where_outputs_would_be_nothing_is_known() {
        let world = World::new();
        let of_nobody =
            Stray { origin: Some(world.path("elsewhere/pay.txt").into()), ..stray(&world, false) };
        assert!(traces_of(&world, of_nobody).unknown);
        let nameless = Stray { origin: None, ..stray(&world, false) };
        assert!(traces_of(&world, nameless).unknown);
    }
}
