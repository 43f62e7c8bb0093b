//! Jobs whose file system does not answer now: told to who asks, and written nowhere.
//!
//! A thread that hangs has work of one job, or of several, in hand; others wait for what it holds, or would hang next. So every unfinished
//! job is told that uses the file system at which a thread hangs. That of the data folder is none to be told: all would wait for it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use super::file_systems;
use super::shared::Shared;
use crate::durable_fs::{self, Mounts};
use crate::model::job::{Job, Waiting};
use crate::model::os_text::escaped_path;

/// A busy disk may take so long.
const LEAST: Duration = Duration::from_secs(2);

/// The file systems that do not answer now, each with where that was met.
#[derive(Default)]
pub(super) struct Hanging {
    mounts: Mounts,
    at: Vec<(PathBuf, PathBuf, Duration)>,
}

impl Hanging {
    pub(super) fn now(shared: &Shared) -> Self {
        let met = durable_fs::hanging(LEAST);
        if met.is_empty() {
            return Self::default();
        }
        let mounts = Mounts::now();
        let own = mounts.of(&shared.service.data_dir);
        let at = met.into_iter().map(|(path, time)| (mounts.of(&path), path, time));
        let mut at: Vec<_> = at.filter(|(mount, ..)| *mount != own).collect();
        at.sort_by_key(|(_, _, time)| std::cmp::Reverse(*time));
        Self { mounts, at }
    }

    /// Says it of a job that has nothing else to wait for.
    pub(super) fn tell(&self, shared: &Shared, job: &mut Job) {
        if self.at.is_empty() || job.state.is_final() || job.waiting.is_some() {
            return;
        }
        let used = self.used_by(shared, job);
        if let Some((_, path, time)) = self.at.iter().find(|(mount, ..)| used.contains(mount)) {
            job.waiting = Some(Waiting::for_answer(&escaped_path(path), time.as_secs()));
        }
    }

    fn used_by(&self, shared: &Shared, job: &Job) -> BTreeSet<PathBuf> {
        let rules = shared.rules.now();
        let of_rule = rules.rule_for(&job.rule, &job.vars).map(|rule| {
            let programs = file_systems::program_places(rule).into_iter().map(|place| self.mounts.of(&place));
            programs.chain(file_systems::used_by(rule, &self.mounts))
        });
        let own = [&job.source.path, job.source_path()];
        let own = own.into_iter().map(|path| self.mounts.of(path.as_path()));
        own.chain(of_rule.into_iter().flatten()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::engine::tests::World;
    use crate::model::job_state::JobEvent;

    fn hanging_at(path: PathBuf) -> Hanging {
        let mounts = Mounts::now();
        let at = vec![(mounts.of(&path), path, Duration::from_secs(3))];
        Hanging { mounts, at }
    }

    #[test]
    fn an_unfinished_job_is_told_where_the_file_system_hangs_that_it_uses() {
        let world = World::new();
        let mut job = world.job();
        hanging_at(world.source()).tell(&world.shared, &mut job);
        let expected = Waiting::for_answer(&escaped_path(&world.source()), 3);
        assert_eq!(job.waiting, Some(expected));
    }

    #[cfg(unix)]
    #[test]
    fn a_job_is_told_where_the_file_system_hangs_on_which_the_program_of_a_step_lies() {
        let at = PathBuf::from("/mnt/tools/enrich");
        for (command, is_told) in [("/mnt/tools/enrich", true), ("/opt/enrich", false)] {
            let step = format!("pipeline = [{{ step = \"exec\", command = [\"{command}\"] }}]");
            let world = World::with(&format!("source = {{ on_success = \"delete\" }}\n{step}\n"));
            let mut job = world.job();
            let mounts = Mounts::at(&["/", "/mnt/tools"]);
            let at = vec![(mounts.of(&at), at.clone(), Duration::from_secs(3))];
            Hanging { mounts, at }.tell(&world.shared, &mut job);
            assert_eq!(job.waiting.is_some(), is_told, "{command}");
        }
    }

    #[test]
    fn jobs_that_wait_for_something_else_or_have_ended_or_use_another_file_system_are_told_nothing() {
        let world = World::new();
        let here = hanging_at(world.source());
        let mut waits = world.job();
        let other = Waiting::for_answer("elsewhere", 9);
        waits.waiting = Some(other.clone());
        here.tell(&world.shared, &mut waits);
        assert_eq!(waits.waiting, Some(other));
        let mut ended = world.job();
        ended.take(JobEvent::GivenBack, clock::now(), "").expect("ends");
        here.tell(&world.shared, &mut ended);
        assert_eq!(ended.waiting, None);
        let mut elsewhere = world.job();
        let at = vec![("/not/a/mount".into(), "/not/a/mount/x".into(), Duration::from_secs(3))];
        Hanging { mounts: Mounts::now(), at }.tell(&world.shared, &mut elsewhere);
        assert_eq!(elsewhere.waiting, None);
    }
}
