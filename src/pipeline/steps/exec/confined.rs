//! What a step's program may reach: what programs of the system need, its own file with the folder around it, what its command and its step
//! name, and a folder of its own to write in. Nothing of that is private to the service, unless the step names it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::programs::{around_of, places_of};
use crate::confinement::{Allowed, CannotAllow, Fence, SYSTEM};
use crate::durable_fs::{self, Kind};
use crate::pipeline::surroundings::PrivatePaths;

/// What one program may reach; looked up by who starts it.
pub(super) struct Reachable {
    /// By which it is started.
    pub program: PathBuf,
    pub arguments: Vec<String>,
    /// Named by the step.
    pub read: Vec<PathBuf>,
    pub write: Vec<PathBuf>,
    /// The folder of its own.
    pub work: PathBuf,
    pub private: Arc<PrivatePaths>,
}

impl Reachable {
    /// Asks the file systems of all these paths.
    pub(super) fn fence(&self) -> Result<Fence, CannotAllow> {
        Fence::around(&self.allowed())
    }

    fn allowed(&self) -> Allowed {
        let private = self.private.found();
        let system = SYSTEM.iter().map(PathBuf::from);
        let (named, around) = self.named_by_command();
        let around = system.chain(around).flat_map(|path| private.leave_out(&path));
        let mut read_if_there: Vec<_> = around.chain(named).collect();
        read_if_there.sort();
        read_if_there.dedup();
        let write = [&self.work].into_iter().chain(&self.write).cloned().collect();
        Allowed { read: self.read.clone(), write, read_if_there, ..Allowed::default() }
    }

    /// The program, and arguments that are whole paths: the files, and folders, theirs or named.
    fn named_by_command(&self) -> (Vec<PathBuf>, Vec<PathBuf>) {
        let arguments = self.arguments.iter().map(PathBuf::from).filter(|path| path.is_absolute());
        let program = places_of(&self.program).into_iter().find(|place| is_file(place));
        let (mut named, mut around) = (Vec::new(), Vec::new());
        for path in program.into_iter().chain(arguments) {
            let real = durable_fs::real_path(&path).ok();
            for path in [Some(path), real].into_iter().flatten() {
                if is_file(&path) {
                    around.extend(around_of(&path));
                    named.push(path);
                } else {
                    around.push(path);
                }
            }
        }
        (named, around)
    }
}

fn is_file(path: &Path) -> bool {
    let real = durable_fs::real_path(path);
    real.is_ok_and(|real| matches!(durable_fs::kind_at(&real), Ok(Some(Kind::File))))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::pipeline::surroundings::Surroundings;

    #[test]
    fn what_the_command_names_is_reached_with_what_lies_around_it_and_what_is_private_is_not() {
        let world = tempfile::tempdir().expect("a folder");
        let root = world.path().canonicalize().expect("is there");
        for folder in ["venv/bin", "venv/lib", "rules/data", "tool"] {
            std::fs::create_dir_all(root.join(folder)).expect("makes");
        }
        for file in ["venv/bin/python", "rules/site.key", "rules/enrich.py", "rules/table", "tool/run"] {
            std::fs::write(root.join(file), "").expect("writes");
        }
        let surroundings = Surroundings::default();
        surroundings.keep_private("rules", vec![root.join("rules/data"), root.join("rules/site.key")]);
        let script = root.join("rules/enrich.py").display().to_string();
        let reachable = Reachable {
            program: root.join("venv/bin/python"),
            arguments: vec!["-u".into(), script, "table".into()],
            read: Vec::new(),
            write: vec![root.join("tool")],
            work: root.join("work"),
            private: surroundings.private(),
        };
        let allowed = reachable.allowed();
        let in_root: Vec<_> =
            allowed.read_if_there.iter().filter_map(|path| path.strip_prefix(&root).ok()).collect();
        let expected = ["rules/enrich.py", "rules/table", "venv", "venv/bin", "venv/bin/python"];
        assert_eq!(in_root, expected.map(Path::new));
        assert_eq!(allowed.write, [root.join("work"), root.join("tool")]);
        assert!(!allowed.signals_others);
    }
}
