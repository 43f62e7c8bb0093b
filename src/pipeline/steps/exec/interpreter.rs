//! What a script is run by, and where an interpreter of a virtual environment has its library. Asks file systems; takes nobody's word but that
//! of the files which the command names.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::programs::places_of;
use crate::durable_fs;

/// Of a program's begin, where a script names its interpreter: Linux reads no more.
const HEAD_BYTES: u64 = 256;
/// Interpreters may be scripts themselves; Linux follows no more of them.
const SCRIPTS_MAX: usize = 4;
/// `pyvenv.cfg` has a few short lines.
const SETTINGS_BYTES: u64 = 4 << 10;

/// The programs that a program is run by, none where it is no script; as they are named, which may be by a name alone.
pub(crate) fn interpreters_of(program: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut script = program.to_owned();
    for _ in 0..SCRIPTS_MAX {
        let named = named_by(&script);
        let Some(last) = named.last().cloned() else { break };
        found.extend(named);
        script = last;
    }
    found
}

/// The interpreter in a script's first line, and the program that `env` looks for.
fn named_by(script: &Path) -> Vec<PathBuf> {
    let head = places_of(script).into_iter().find_map(|place| begin_of(&place, HEAD_BYTES));
    let words = head.as_deref().map(words_of).unwrap_or_default();
    let Some((first, rest)) = words.split_first() else { return Vec::new() };
    let interpreter = PathBuf::from(first);
    let is_env = interpreter.file_name().is_some_and(|name| name == "env");
    let sought = rest.iter().find(|word| is_env && !word.starts_with('-') && !word.contains('='));
    [Some(interpreter), sought.map(PathBuf::from)].into_iter().flatten().collect()
}

fn begin_of(file: &Path, bytes: u64) -> Option<Vec<u8>> {
    durable_fs::note_place(file);
    let mut head = Vec::new();
    durable_fs::open_named(file).ok()?.take(bytes).read_to_end(&mut head).ok()?;
    Some(head)
}

/// The words of a script's first line behind `#!`.
fn words_of(head: &[u8]) -> Vec<String> {
    let line = head.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    let text = line.and_then(|line| std::str::from_utf8(line).ok()).unwrap_or_default();
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

/// Where the Python lies that a virtual environment was made from, for the one in its `bin`: its library lies beside that.
pub(super) fn base_of(interpreter: &Path) -> Option<PathBuf> {
    let settings = interpreter.parent()?.parent()?.join("pyvenv.cfg");
    let text = String::from_utf8(begin_of(&settings, SETTINGS_BYTES)?).ok()?;
    let home = text.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "home")?.1;
    let home = Path::new(home.trim());
    home.is_absolute().then(|| home.join("python3"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_script_names_its_interpreter_and_env_the_one_that_it_looks_for() {
        let world = tempfile::tempdir().expect("a folder");
        let script = |text: &str| {
            let file = world.path().join("script");
            std::fs::write(&file, text).expect("writes");
            interpreters_of(&file)
        };
        assert_eq!(script("#! /mnt/sh -e\nexec cat\n"), [PathBuf::from("/mnt/sh")]);
        assert_eq!(script("#!/usr/bin/env -S A=1 lua9 -x\n"), ["/usr/bin/env", "lua9"].map(PathBuf::from));
        assert!(script("\x7fELF").is_empty() && script("#!\n").is_empty());
    }

    #[test]
    fn an_interpreter_that_is_a_script_names_its_own_and_one_that_names_itself_ends() {
        let world = tempfile::tempdir().expect("a folder");
        let (shim, script) = (world.path().join("shim"), world.path().join("script"));
        std::fs::write(&shim, "#!/mnt/bash\n").expect("writes");
        std::fs::write(&script, format!("#!{}\n", shim.display())).expect("writes");
        assert_eq!(interpreters_of(&script), [shim.clone(), "/mnt/bash".into()]);
        std::fs::write(&shim, format!("#!{}\n", shim.display())).expect("writes");
        assert_eq!(interpreters_of(&shim).len(), SCRIPTS_MAX);
    }

    #[test]
    fn a_virtual_environment_names_the_python_that_it_was_made_from() {
        let world = tempfile::tempdir().expect("a folder");
        let python = world.path().join("bin/python");
        assert_eq!(base_of(&python), None);
        std::fs::write(world.path().join("pyvenv.cfg"), "home = /opt/py/bin\nversion = 3\n").expect("writes");
        assert_eq!(base_of(&python), Some("/opt/py/bin/python3".into()));
    }
}
