//! Which folders the files of one job go to, as far as that is known before its source is read.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use crate::clock;
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::rule::Rule;
use crate::model::template::{Template, Variables, fixed_folder};
use crate::watch::Offer;

/// A folder that files of a job go to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Goal {
    folder: Arc<Path>,
    /// Whether they go there, and not to folders in it that the source's content names.
    is_whole: bool,
}

impl Goal {
    /// One that is known.
    pub(super) fn at(folder: &Path) -> Self {
        Self { folder: folder.into(), is_whole: true }
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

/// Where files of a rule's jobs go; its templates are parsed once.
#[derive(Debug)]
pub(super) struct Goals {
    /// What is the same for each job.
    same: Vec<Goal>,
    /// The others, each with the folder that is spelled out in it.
    each: Vec<(Template, Goal)>,
}

impl Goals {
    pub(super) fn of(rule: &Rule) -> Self {
        let names: BTreeSet<String> =
            rule.paths.good().flat_map(|pattern| pattern.names().iter().cloned()).collect();
        let outputs = rule.outputs.values().map(|output| output.path.clone());
        let signals = [&rule.publish.marker, &rule.publish.manifest].into_iter().flatten().cloned();
        let archive = rule.source.archive_dir.as_ref().map(|folder| format!("{folder}/"));
        let paths: BTreeSet<String> = outputs.chain(signals).chain(archive).collect();
        let own = [&rule.source.claim_dir, &rule.source.quarantine_dir].into_iter().flatten();
        let mut same: BTreeSet<_> = own.map(|folder| Goal::at(folder)).collect();
        let mut each = Vec::new();
        for path in paths {
            let spelled_out = Goal::at(&fixed_folder(&path));
            match Template::parse(&path, &names) {
                Ok(template) if !template.has_one_folder() => each.push((template, spelled_out)),
                // What cannot be rendered holds its job by itself.
                Ok(_) | Err(_) => drop(same.insert(spelled_out)),
            }
        }
        Self { same: same.into_iter().collect(), each }
    }

    pub(super) fn of_job(&self, rule: &Rule, job: &Job) -> Vec<Goal> {
        self.filled(&Variables::of(rule, job))
    }

    /// Those of the job that a file would become now.
    pub(super) fn of_offer(&self, rule: &Rule, offer: &Offer) -> Vec<Goal> {
        self.filled(&Variables {
            rule: &rule.name,
            source: &offer.path,
            claimed_at: clock::now(),
            timezone: &rule.timezone,
            job: JobId::from_parts(0, 0),
            category: None,
            entry: None,
            revision: 1,
            vars: &offer.vars,
        })
    }

    fn filled(&self, variables: &Variables<'_>) -> Vec<Goal> {
        let filled = |(template, spelled_out): &(Template, Goal)| {
            let known = template.known_folder(variables);
            known.map_or_else(
                |_| spelled_out.clone(),
                |(folder, is_whole)| Goal { folder: folder.into(), is_whole },
            )
        };
        let goals = self.same.iter().cloned().chain(self.each.iter().map(filled));
        goals.collect::<BTreeSet<_>>().into_iter().collect()
    }
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
        rule.paths = vec![path("in/{sender}/*")].into();
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
        let goals = Goals::of(&rule).of_job(&rule, &job);
        let told = |path: &str, is_whole| Goal { folder: world.path(path).into(), is_whole };
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
        let open = |is_whole| Goal { folder: Path::new("/out/acme").into(), is_whole };
        for is_whole in [false, true] {
            let reaches = |folder: &str| open(is_whole).may_reach(Path::new(folder));
            assert!(reaches("/out") && reaches("/out/acme"));
            assert!(!reaches("/out/globex") && !reaches("/out/ac"));
            assert_eq!(reaches("/out/acme/late"), !is_whole);
        }
    }
}
