//! Where a rule's archive takes a source: names are planned, and written down, before anything is moved.

use std::path::PathBuf;

use super::free_name::{free_name, numbered};
use super::moving::plan_companions;
use super::rule_book::ReadyRule;
use super::trouble::Trouble;
use crate::model::job::Job;
use crate::model::os_text::OsText;
use crate::model::rule::OnSuccess;
use crate::model::template::{Template, Variables};

/// Chooses where the source will go, and what belongs to it; written down before anything is moved, so that a restart finds it on either
/// side.
pub(super) fn plan(rule: &ReadyRule, job: &mut Job) -> Result<(), Trouble> {
    forget_plan(job);
    if job.source.claimed.is_none() || !job.source.retire || rule.rule.source.on_success != OnSuccess::Archive
    {
        return Ok(());
    }
    let folder = folder(rule, job)?;
    // An archive that is out of reach does not hold up the outputs: `move_source` chooses when it is back.
    job.retire_to(free_name(&folder, job.source.path.as_path(), 0).ok().map(OsText::from));
    plan_companions(&folder, job);
    Ok(())
}

/// For a job that turned out to be another than was planned for: names are chosen, and made durable, when its source is moved.
pub(super) fn forget_plan(job: &mut Job) {
    job.retire_to(None);
    job.source.companions.iter_mut().for_each(|companion| companion.retire_to(None));
}

pub(super) fn folder(rule: &ReadyRule, job: &Job) -> Result<PathBuf, Trouble> {
    let template = rule.rule.source.archive_dir.as_deref().unwrap_or_default();
    let variables = Variables::of(&rule.rule, job);
    let rendered = Template::of_job(template, job).and_then(|template| template.render(&variables));
    rendered.map_err(|mistake| Trouble::mistake(&rule.rule, "source.archive_dir", &mistake))
}

/// The names that a job's source may have got in the archive, the first choice first.
pub(super) fn names(rule: &ReadyRule, job: &Job) -> Result<impl Iterator<Item = PathBuf> + use<>, Trouble> {
    let folder = folder(rule, job)?;
    let source = job.source.path.as_path().to_owned();
    Ok((0_u64..).map(move |number| numbered(&folder, &source, number, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn a_name_that_the_archive_has_is_planned_with_a_number_and_a_lost_source_looked_for_under_both() {
        let world = World::new();
        let mut job = world.job();
        let rule = world.shared.rules.snapshot(&world.shared.store, &job).expect("is known");
        std::fs::create_dir(world.path("archive")).expect("makes");
        std::fs::write(world.path("archive/pay.txt"), "an older one").expect("writes");
        plan(&rule, &mut job).expect("plans");
        assert_eq!(job.retired_to, Some(world.path("archive/pay.txt-1").into()));
        let names: Vec<_> = names(&rule, &job).expect("is known").take(2).collect();
        assert_eq!(names, ["archive/pay.txt", "archive/pay.txt-1"].map(|name| world.path(name)));
        forget_plan(&mut job);
        assert_eq!(job.retired_to, None);
    }

    #[test]
    fn a_source_that_is_not_archived_has_no_plan() {
        for rule in ["source = { on_success = \"delete\" }\n", "source = { on_success = \"keep\" }\n"] {
            let world = World::with(rule);
            let mut job = world.job();
            job.retired_to = Some("elsewhere".into());
            let rule = world.shared.rules.snapshot(&world.shared.store, &job).expect("is known");
            plan(&rule, &mut job).expect("plans nothing");
            assert_eq!(job.retired_to, None);
        }
    }
}
