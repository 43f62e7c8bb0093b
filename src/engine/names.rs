//! Final names that jobs have chosen and not taken yet: two jobs never choose one name.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::lock;
use crate::model::job_id::JobId;

/// Whether something lies where an output would really go.
pub(crate) type AskTaken = Box<dyn Fn(&Path) -> bool + Send + Sync>;

/// Who has chosen which name.
#[derive(Default)]
pub(super) struct Names {
    chosen: Mutex<HashMap<PathBuf, JobId>>,
    /// A dry run: its outputs are its own, and would go elsewhere.
    pub taken_elsewhere: Option<AskTaken>,
}

impl Names {
    /// Whether another job has chosen this final name and not taken it yet.
    pub(super) fn is_reserved(&self, path: &Path, by_others_than: JobId) -> bool {
        lock(&self.chosen).get(path).is_some_and(|owner| *owner != by_others_than)
            || self.taken_elsewhere.as_ref().is_some_and(|is_taken| is_taken(path))
    }

    /// Reserves final names for a job until it releases them.
    pub(super) fn reserve(&self, id: JobId, names: Vec<PathBuf>) {
        lock(&self.chosen).extend(names.into_iter().map(|path| (path, id)));
    }

    /// Reserves names that a job chose, unless one of those that were `free` when it looked is another's by now.
    pub(super) fn reserve_if_free(&self, id: JobId, names: Vec<PathBuf>, free: &HashSet<PathBuf>) -> bool {
        let mut chosen = lock(&self.chosen);
        let is_anothers = |name: &PathBuf| chosen.get(name).is_some_and(|owner| *owner != id);
        if names.iter().any(|name| free.contains(name) && is_anothers(name)) {
            return false;
        }
        chosen.extend(names.into_iter().map(|path| (path, id)));
        true
    }

    /// The job has taken its names, or gave them up.
    pub(super) fn release(&self, id: JobId) {
        lock(&self.chosen).retain(|_, owner| *owner != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u64) -> JobId {
        JobId::from_parts(number, 0)
    }

    #[test]
    fn a_chosen_name_is_kept_from_others_until_its_job_has_taken_it() {
        let (names, path) = (Names::default(), Path::new("out/pay"));
        names.reserve(id(1), vec![path.into()]);
        assert!(names.is_reserved(path, id(2)) && !names.is_reserved(path, id(1)));
        names.release(id(1));
        assert!(!names.is_reserved(path, id(2)));
    }

    #[test]
    fn of_two_that_saw_a_name_free_one_gets_it_and_the_other_gets_none_of_its_names() {
        let names = Names::default();
        let all = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        let free = HashSet::from_iter(all(&["out/a", "out/b"]));
        assert!(names.reserve_if_free(id(1), all(&["out/a"]), &free));
        assert!(!names.reserve_if_free(id(2), all(&["out/b", "out/a"]), &free));
        assert!(!names.is_reserved(Path::new("out/b"), id(1)), "none of them");
        assert!(names.reserve_if_free(id(1), all(&["out/a"]), &free), "its own is its own");
    }

    #[test]
    fn a_dry_run_takes_no_name_that_is_taken_where_its_outputs_would_really_go() {
        let names = Names {
            taken_elsewhere: Some(Box::new(|path| path == Path::new("out/there"))),
            ..Names::default()
        };
        assert!(names.is_reserved(Path::new("out/there"), id(1)));
        assert!(!names.is_reserved(Path::new("out/new"), id(1)));
    }
}
