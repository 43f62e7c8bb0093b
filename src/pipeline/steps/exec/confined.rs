//! What a step's program may reach: what programs of the system need, its own file and its interpreter's, each with the folder around it, what
//! its command and its step name, and a folder of its own to write in. Nothing of that is private to the service, unless the step names it.
//!
//! A folder in which the service keeps something, or that is nobody's alone, is not opened: keys of yesterday, copies of the configuration and
//! other people's files lie in such. Of what lies in it the program has its own file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::interpreter::{base_of, interpreters_of};
use super::programs::{around_of, places_of};
use crate::confinement::{Allowed, CannotAllow, Fence, Private, SYSTEM, is_wide};
use crate::durable_fs::{self, Kind};
use crate::pipeline::surroundings::PrivatePaths;

/// What interpreters have beside their `bin`.
const BESIDE_BIN: &[&str] =
    &["lib", "lib32", "lib64", "libexec", "share", "include", "plugins", "pyvenv.cfg", "version", "versions"];

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
        let found = self.private.found();
        let private = found.as_ref();
        let system = SYSTEM.iter().map(PathBuf::from);
        let named = self.named_by_command();
        let around = named.iter().flat_map(|file| allowed_around(file, private));
        let system = system.flat_map(|path| private.leave_out(&path));
        let mut read_if_there: Vec<_> = system.chain(around).chain(named.iter().cloned()).collect();
        read_if_there.sort();
        read_if_there.dedup();
        let write = [&self.work].into_iter().chain(&self.write).cloned().collect();
        Allowed { read: self.read.clone(), write, read_if_there, ..Allowed::default() }
    }

    /// The program with its interpreters, and arguments that are whole paths of files. A folder is not opened by that: `/` is a mark between
    /// columns more often than a place.
    fn named_by_command(&self) -> Vec<PathBuf> {
        let found = |program: &Path| places_of(program).into_iter().find(|place| is_file(place));
        let program = found(&self.program);
        let interpreters = program.iter().flat_map(|program| interpreters_of(program));
        let interpreters = interpreters.filter_map(|interpreter| found(&interpreter));
        let programs: Vec<_> = program.iter().cloned().chain(interpreters).collect();
        let bases: Vec<_> = programs.iter().filter_map(|program| base_of(program)).collect();
        let arguments = self.arguments.iter().map(PathBuf::from).filter(|path| path.is_absolute());
        let mut files = bases;
        for path in programs.into_iter().chain(arguments) {
            let real = durable_fs::real_path(&path).ok();
            files.extend([Some(path), real].into_iter().flatten().filter(|path| is_file(path)));
        }
        files
    }
}

/// The folders around a file, as far as they are for it; of the one above a folder of programs else what those are sure to need.
fn allowed_around(file: &Path, private: &Private) -> Vec<PathBuf> {
    let mut allowed = Vec::new();
    for (height, folder) in around_of(file).into_iter().enumerate() {
        match private.whole(&folder).filter(|folder| !is_wide(folder)) {
            Some(whole) => allowed.push(whole),
            None if height > 0 => {
                allowed.extend(BESIDE_BIN.iter().flat_map(|name| private.leave_out(&folder.join(name))));
            }
            None => {}
        }
    }
    allowed
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
        surroundings.keep_private(
            "rules",
            vec![root.join("rules/data"), root.join("rules/site.key")],
            Vec::new(),
        );
        let script = root.join("rules/enrich.py").display().to_string();
        let reachable = Reachable {
            program: root.join("venv/bin/python"),
            arguments: ["-u", &script, "table", "/", &root.join("tool").display().to_string()]
                .map(str::to_owned)
                .to_vec(),
            read: Vec::new(),
            write: vec![root.join("tool")],
            work: root.join("work"),
            private: surroundings.private(),
        };
        let allowed = reachable.allowed();
        let in_root: Vec<_> =
            allowed.read_if_there.iter().filter_map(|path| path.strip_prefix(&root).ok()).collect();
        let expected = ["rules/enrich.py", "venv", "venv/bin", "venv/bin/python"];
        assert_eq!(in_root, expected.map(Path::new));
        let system = |path: &Path| path.parent().is_some_and(|above| above.parent().is_none());
        let of_system: Vec<_> = allowed.read_if_there.iter().filter(|path| system(path)).collect();
        assert!(of_system.iter().all(|path| SYSTEM.iter().any(|own| path.starts_with(own))), "{of_system:?}");
        assert_eq!(allowed.write, [root.join("work"), root.join("tool")]);
        assert!(!allowed.signals_others);
    }

    /// Copies of the configuration and old keys lie beside it, and no rule names them.
    #[test]
    fn beside_the_configuration_a_program_reaches_its_own_file_and_its_interpreter() {
        let world = tempfile::tempdir().expect("a folder");
        let root = world.path().canonicalize().expect("is there");
        for folder in ["conf/bin", "conf/lib", "conf/data", "py/bin", "py/lib"] {
            std::fs::create_dir_all(root.join(folder)).expect("makes");
        }
        let script = format!("#!{}\n", root.join("py/bin/python").display());
        for (file, text) in [
            ("conf/enrich.py", script.as_str()),
            ("conf/bin/tool", ""),
            ("conf/landfall.toml.old", "secret"),
            ("py/bin/python", ""),
        ] {
            std::fs::write(root.join(file), text).expect("writes");
        }
        let surroundings = Surroundings::default();
        surroundings.keep_private("configuration", vec![root.join("conf/data")], vec![root.join("conf")]);
        let reached = |program: &str| {
            let reachable = Reachable {
                program: root.join(program),
                arguments: Vec::new(),
                read: Vec::new(),
                write: Vec::new(),
                work: root.join("work"),
                private: surroundings.private(),
            };
            let allowed = reachable.allowed().read_if_there;
            let in_root = allowed.iter().filter_map(|path| path.strip_prefix(&root).ok());
            in_root.map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        assert_eq!(reached("conf/enrich.py"), ["conf/enrich.py", "py", "py/bin", "py/bin/python"]);
        assert_eq!(reached("conf/bin/tool"), ["conf/bin", "conf/bin/tool", "conf/lib"]);
    }
}
