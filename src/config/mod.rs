//! The configuration, in two phases: as typed (`raw`: TOML, each value with its place), then as meant ([`Settings`]).
//!
//! - Every problem is told at once, with file, line, key, what is wrong and what to do. One bad file does not hide what
//!   is wrong in another.
//! - Nothing is parsed and ignored: an unknown key is a problem, and so is one that only later versions know.
//! - Layers: `[service]` and `[defaults]` of the main file, below the environment (merged by the `config` crate);
//!   `[[rule]]`s of the main file, then of `rules_dir` by file name, each above `[defaults]`.
//! - Patterns, templates and steps are judged by their owners (`fit`).
//!
//! It reads the configuration's files and nothing else: no folder of a rule need exist.

use std::path::{Path, PathBuf};

use files::{Loaded, TestFiles};

use crate::model::rule::Settings;
use crate::pipeline::Registry;

mod belonging;
mod decode;
mod delivery;
mod files;
mod fit;
mod layers;
mod output;
mod paths;
mod pipeline;
mod places;
mod problem;
mod raw;
mod read_files;
mod records;
mod report;
mod rule;
mod rule_test;
mod section;
mod service;
mod suffixes;
mod units;

// Paths in the snapshots are those of Unix.
#[cfg(all(test, unix))]
mod hint_tests;
#[cfg(all(test, unix))]
mod reference_tests;
#[cfg(all(test, unix))]
mod tests;

pub(crate) use places::Places;
pub use problem::{Problem, Problems};
pub use read_files::ReadFiles;
pub use rule_test::{Content, Dropped, Expected, ExpectedFailure, RuleTest};

/// The name that is looked for in the working folder.
const FILE_NAME: &str = "landfall.toml";

/// Finds the file: `given`, else `landfall.toml` in the working folder, else the system's place.
pub fn find(given: Option<&Path>) -> Result<PathBuf, Problems> {
    if let Some(given) = given {
        return Ok(given.to_path_buf());
    }
    let places = [PathBuf::from(FILE_NAME), system_place()];
    let found = places.iter().find(|place| place.is_file());
    found.cloned().ok_or_else(|| {
        let [here, system] = &places;
        Problems(vec![Problem {
            file: Some(here.clone()),
            message: format!("there is no configuration here, nor at {}", system.display()),
            hint: Some("make one with `landfall init`, or name one with `--config FILE`".into()),
            ..Problem::default()
        }])
    })
}

/// Loads and checks everything; all problems at once.
pub fn load(file: &Path, registry: &Registry) -> Result<Settings, Problems> {
    Ok(load_judged(file, Some(registry), TestFiles::None)?.settings)
}

/// Loads and checks everything; with the files as they were, for those who go by them for long.
pub(crate) fn load_with_files(file: &Path, registry: &Registry) -> Result<(Settings, ReadFiles), Problems> {
    let loaded = load_judged(file, Some(registry), TestFiles::None)?;
    Ok((loaded.settings, loaded.files))
}

/// Loads and checks everything; with where each key stands, for those who have more to say about it.
pub(crate) fn load_with_places(file: &Path, registry: &Registry) -> Result<(Settings, Places), Problems> {
    let loaded = load_judged(file, Some(registry), TestFiles::None)?;
    Ok((loaded.settings, loaded.places))
}

/// Loads and checks everything and the rules' tests: those in the rules' files, in `NAME.test.toml` beside them, and in those of these
/// files that are called so.
pub fn load_with_tests(
    file: &Path,
    registry: &Registry,
    named: &[PathBuf],
) -> Result<(Settings, Vec<RuleTest>), Problems> {
    let loaded = load_judged(file, Some(registry), TestFiles::BesideAnd(named))?;
    Ok((loaded.settings, loaded.tests))
}

/// Loads and checks everything but the steps, for those who run no rule: the steps may be those of another program.
pub fn load_without_steps(file: &Path) -> Result<Settings, Problems> {
    Ok(load_judged(file, None, TestFiles::None)?.settings)
}

fn load_judged(
    file: &Path,
    registry: Option<&Registry>,
    test_files: TestFiles<'_>,
) -> Result<Loaded, Problems> {
    let working_folder = std::env::current_dir().map_err(|error| {
        Problems(vec![Problem {
            file: Some(file.to_path_buf()),
            message: format!("the working folder cannot be told: {error}"),
            hint: Some("start in a folder that is there".into()),
            ..Problem::default()
        }])
    })?;
    let variables = environment();
    if registry.is_some() {
        for (variable, hint) in layers::strays(&variables) {
            tracing::warn!(variable, hint, "this variable is no configuration, and is left alone");
        }
    }
    let working_folder = &working_folder;
    files::load(&files::Inputs { main: file, variables: &variables, working_folder, registry, test_files })
}

/// The environment; what is not Unicode in it has U+FFFD in its place, which the layers refuse.
fn environment() -> raw::Variables {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (variable_name(text(name)), text(value))).collect()
}

#[cfg(not(windows))]
fn variable_name(name: String) -> String {
    name
}

/// Windows does not tell cases apart in names of variables.
#[cfg(windows)]
fn variable_name(name: String) -> String {
    name.to_uppercase()
}

#[cfg(not(windows))]
fn system_place() -> PathBuf {
    PathBuf::from("/etc/landfall").join(FILE_NAME)
}

#[cfg(windows)]
fn system_place() -> PathBuf {
    service::program_data(&environment()).join("Landfall").join(FILE_NAME)
}
