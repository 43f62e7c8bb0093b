//! Where programs lie.

use std::path::{Component, Path, PathBuf};

use crate::durable_fs::parent_of;
use crate::model::rule::StepSpec;

/// What a program in one of these needs lies beside it: `lib`, or the settings of an interpreter.
const BINS: &[&str] = &["bin", "sbin", "shims"];

/// Where a program may lie: a name alone is looked up in `PATH`.
pub(crate) fn places_of(program: &Path) -> Vec<PathBuf> {
    if program.components().nth(1).is_some() {
        return vec![program.to_owned()];
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).collect()
}

/// A name alone is looked up in `PATH`; anything with a separator starts from the rule's folder.
pub(crate) fn resolved(program: &str, base_dir: &Path) -> PathBuf {
    let path = Path::new(program);
    let mut components = path.components();
    let is_name = matches!((components.next(), components.next()), (Some(Component::Normal(_)), None));
    if is_name && !program.contains(std::path::is_separator) {
        return path.to_owned();
    }
    // `./x` would stand in the path as it is shown.
    base_dir.join(path.strip_prefix(".").unwrap_or(path))
}

/// The program of a step of this kind, as it is looked up.
pub(crate) fn program_of(step: &StepSpec, base_dir: &Path) -> Option<PathBuf> {
    let program = step.params.get("command").filter(|_| step.step == "exec")?.get(0)?.as_str()?;
    Some(resolved(program, base_dir))
}

/// The arguments of a step of this kind that are whole paths, or begin as one beside the rule's file does.
pub(crate) fn arguments_of(step: &StepSpec, base_dir: &Path) -> Vec<PathBuf> {
    let command = step.params.get("command").filter(|_| step.step == "exec").and_then(|list| list.as_array());
    let texts = command.into_iter().flatten().skip(1).filter_map(|text| text.as_str());
    texts.map(|text| PathBuf::from(argument_of(text, base_dir))).filter(|path| path.is_absolute()).collect()
}

/// An argument that begins as a path beside the rule's file does is one: the program is started elsewhere.
pub(super) fn argument_of(argument: &str, base_dir: &Path) -> String {
    let is_beside = ["./", "../"].iter().any(|begin| argument.starts_with(begin));
    let path = is_beside.then(|| resolved(argument, base_dir));
    // One that is no text is told apart by what the program says of the argument as it is.
    path.and_then(|path| path.to_str().map(str::to_owned)).unwrap_or_else(|| argument.to_owned())
}

/// What a step of this kind names under `read` or `write`.
pub(crate) fn paths_of(step: &StepSpec, key: &str, base_dir: &Path) -> Vec<PathBuf> {
    let list = step.params.get(key).filter(|_| step.step == "exec").and_then(|list| list.as_array());
    list.into_iter().flatten().filter_map(|text| Some(base_dir.join(text.as_str()?))).collect()
}

/// Whether the program of a step of this kind is confined.
pub(crate) fn is_confined(step: &StepSpec) -> bool {
    step.step == "exec" && step.params.get("confine").and_then(serde_json::Value::as_bool).unwrap_or(true)
}

/// The folders around a program in which lies what it needs: its own, and the one above where programs have one of their own.
pub(crate) fn around_of(program: &Path) -> Vec<PathBuf> {
    let folder = parent_of(program);
    let is_bin = folder.file_name().is_some_and(|name| BINS.iter().any(|bin| name == *bin));
    let above = is_bin.then(|| parent_of(folder)).filter(|above| above.parent().is_some());
    [Some(folder), above].into_iter().flatten().map(Path::to_owned).collect()
}
