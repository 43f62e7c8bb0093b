//! Which folders the files of one job go to, as far as that is known before its source is read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::clock;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::rule::Rule;
use crate::model::template::{Template, Variables, fixed_folder};
use crate::watch::Offer;

/// A folder that files of a job go to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Goal {
    folder: PathBuf,
    /// Whether they go there, and not to folders in it that the source's content names.
    is_whole: bool,
}

impl Goal {
    /// One that is known.
    pub(super) fn at(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), is_whole: true }
    }

    /// Where files go to folders in it, those are known by now.
    pub(super) fn settled(self) -> Self {
        Self { is_whole: true, ..self }
    }

    /// The folder, where that is all that is to be known.
    pub(super) fn whole(&self) -> Option<&Path> {
        self.is_whole.then_some(&self.folder)
    }

    /// Whether files that go there may come to lie in this folder, or below.
    pub(super) fn may_reach(&self, folder: &Path) -> bool {
        self.folder.starts_with(folder) || !self.is_whole && folder.starts_with(&self.folder)
    }
}

pub(super) fn of_job(rule: &Rule, job: &Job) -> Vec<Goal> {
    of(rule, &Variables::of(rule, job))
}

/// Those of the job that a file would become now.
pub(super) fn of_offer(rule: &Rule, offer: &Offer) -> Vec<Goal> {
    let variables = Variables {
        rule: &rule.name,
        source: &offer.path,
        claimed_at: clock::now(),
        timezone: &rule.timezone,
        job: JobId::from_parts(0, 0),
        category: None,
        entry: None,
        revision: 1,
        vars: &offer.vars,
    };
    of(rule, &variables)
}

fn of(rule: &Rule, variables: &Variables<'_>) -> Vec<Goal> {
    let names: BTreeSet<String> = variables.vars.keys().cloned().collect();
    let of_path = |path: &str| {
        let known = Template::parse(path, &names).and_then(|template| template.known_folder(variables));
        // What cannot be rendered holds its job by itself.
        let (folder, is_whole) = known.unwrap_or_else(|_| (fixed_folder(path), true));
        Goal { folder, is_whole }
    };
    let outputs = rule.outputs.values().map(|output| of_path(&output.path));
    let signals = [&rule.publish.marker, &rule.publish.manifest].into_iter().flatten();
    let archive = rule.source.archive_dir.as_ref().map(|folder| of_path(&format!("{folder}/")));
    let own = [&rule.source.claim_dir, &rule.source.quarantine_dir].into_iter().flatten();
    let goals = outputs.chain(signals.map(|path| of_path(path))).chain(archive);
    goals.chain(own.map(|folder| Goal::at(folder))).collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::category::Category;
    use crate::model::rule::Output;

    #[test]
    fn the_folders_of_a_job_are_told_as_far_as_nothing_of_its_content_names_them() {
        let world = World::new();
        let (mut rule, mut job) = (Rule::clone(&world.rule()), world.job());
        let path = |path: &str| format!("{}/{path}", world.path("").display());
        let main = rule.outputs.values().next().expect("there is one").clone();
        rule.outputs.clear();
        for (category, to) in [
            ("main", "out/{sender}/{name}"),
            ("late", "by/{category}/{sender}/{name}"),
            ("odd", "odd/x-{revision}.csv"),
        ] {
            let category = Category::new(category);
            rule.outputs.insert(category, Output { path: path(to), ..main.clone() });
        }
        rule.source.archive_dir = Some(path("ar/{sender}"));
        rule.source.quarantine_dir = Some(world.path("aside"));
        job.vars.insert("sender".to_owned(), "acme".into());
        let goals = of_job(&rule, &job);
        let told = |path: &str, is_whole| Goal { folder: world.path(path), is_whole };
        let wanted = [
            told("aside", true),
            told("by", false),
            told("odd", true),
            told("ar/acme", true),
            told("out/acme", true),
        ];
        for goal in &wanted {
            assert!(goals.contains(goal), "{goal:?} is not among {goals:?}");
        }
        assert_eq!(goals.len(), wanted.len(), "{goals:?}");
    }

    #[test]
    fn files_reach_a_folder_that_lies_above_where_they_go_and_one_below_only_where_that_is_open() {
        let open = |is_whole| Goal { folder: "/out/acme".into(), is_whole };
        for is_whole in [false, true] {
            let reaches = |folder: &str| open(is_whole).may_reach(Path::new(folder));
            assert!(reaches("/out") && reaches("/out/acme"));
            assert!(!reaches("/out/globex") && !reaches("/out/ac"));
            assert_eq!(reaches("/out/acme/late"), !is_whole);
        }
    }
}
