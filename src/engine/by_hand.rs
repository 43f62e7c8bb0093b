//! Whether a file is taken by itself where it lies, and how else.

use std::path::Path;
use std::sync::Arc;

use super::trouble::Trouble;
use crate::durable_fs::{self, Mounts};
use crate::model::job::Job;
use crate::model::rule::{Mode, Rule};
use crate::model::shell;
use crate::watch::rules::RuleSet;

/// Whether one of these rules takes a file by itself, or may do so by another spelling of its path: the patterns of rules are as they are
/// written, and lead through links.
///
/// Other file systems than the file's are not asked, since they may hang: a link that leads from one to another is not seen.
pub(super) fn is_watched(rules: &[Arc<Rule>], path: &Path) -> bool {
    let Ok(set) = RuleSet::new(rules.to_vec()) else { return true };
    if let Some((at, _)) = set.assign(path) {
        return rules.get(at).is_some_and(|rule| rule.mode == Mode::Live);
    }
    let mounts = Mounts::now();
    let folders = set.fixed_folders();
    let mut beside = folders.iter().filter(|folder| mounts.are_of_one(folder, path));
    beside.any(|folder| {
        durable_fs::real_path(folder).is_ok_and(|real| real != *folder && path.starts_with(real))
    })
}

/// How a file is taken that lies where no rule watches.
pub(super) fn by_hand(job: &Job) -> String {
    let file = shell::word(job.source.path.as_path());
    format!("`landfall ingest {file} --rule {}` takes it as it is now", job.rule)
}

/// An error of what an operator asked for, and was refused at once: nothing of it waits until it is mended.
pub(super) fn refused_at_once(mut trouble: Trouble) -> Trouble {
    if let Some(hint) = &mut trouble.error.hint {
        for who in ["what waits", "everything", "the job"] {
            *hint = hint.replace(&format!("{who} goes on by itself"), "then ask again");
        }
    }
    trouble
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::fault::FaultKind;

    #[test]
    fn who_is_refused_at_once_is_told_to_ask_again_and_not_that_something_waits() {
        let hint = "`chmod g+w in`; what waits goes on by itself";
        let refused = refused_at_once(Trouble::new(FaultKind::Storage, "cannot rename", Some(hint)));
        assert_eq!(refused.error.hint.as_deref(), Some("`chmod g+w in`; then ask again"));
        assert_eq!(refused_at_once(Trouble::new(FaultKind::Storage, "no room", None)).error.hint, None);
    }

    fn rules(world: &World, mode: Mode) -> [Arc<Rule>; 1] {
        [Arc::new(Rule { mode, ..Rule::clone(&world.rule()) })]
    }

    #[test]
    fn a_file_is_watched_where_a_live_rule_has_its_name_and_by_no_other_rule() {
        let world = World::new();
        assert!(is_watched(&rules(&world, Mode::Live), &world.source()));
        assert!(!is_watched(&rules(&world, Mode::Shadow), &world.source()), "a shadow takes nothing");
        assert!(!is_watched(&rules(&world, Mode::Live), &world.path("out/pay.txt")));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_is_watched_by_the_real_name_of_a_folder_that_a_rule_names_by_a_link() {
        let world = World::new();
        durable_fs::rename_no_replace(&world.path("in"), &world.path("moved")).expect("renames");
        std::os::unix::fs::symlink(world.path("moved"), world.path("in")).expect("links");
        let real = world.path("moved").canonicalize().expect("is there");
        assert!(is_watched(&rules(&world, Mode::Live), &real.join("pay.txt")));
    }

    #[test]
    fn the_command_that_takes_a_file_names_it_and_its_rule() {
        let world = World::new();
        let job = world.job();
        let file = shell::word(&world.source());
        let expected = format!("`landfall ingest {file} --rule payments` takes it as it is now");
        assert_eq!(by_hand(&job), expected);
    }
}
