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

pub(crate) use files::ServiceSaid;
use files::{Loaded, Read, TestFiles};

use crate::model::at_rest::AtRest;
use crate::model::configuration::KeptConfiguration;
use crate::model::rule::Settings;
use crate::pipeline::Registry;
use texts::Shelf;

mod api;
mod at_rest;
mod belonging;
mod cluster;
mod decode;
mod delivery;
mod files;
mod fit;
mod hook;
mod layers;
mod output;
mod overriding;
mod pace;
mod paths;
mod pipeline;
mod places;
mod priority_when;
mod problem;
mod raw;
mod records;
mod report;
mod rule;
mod rule_test;
mod section;
mod service;
mod stamps;
mod suffixes;
mod texts;
mod traces;
mod units;

// Paths in the snapshots are those of Unix.
#[cfg(all(test, unix))]
mod hint_tests;
#[cfg(all(test, unix))]
mod overriding_tests;
#[cfg(all(test, unix))]
mod reference_tests;
#[cfg(all(test, unix))]
mod tests;

pub(crate) use at_rest::{go_by_store, resolved};
pub(crate) use places::Places;
pub use problem::{Problem, Problems};
pub(crate) use rule_test::{Content, Dropped, Expected, RuleTest};
pub(crate) use service::needing_restart;
pub(crate) use stamps::{Files, Stamps};
pub(crate) use texts::{Texts, keep, texts_of};

/// The name that is looked for in the working folder.
const FILE_NAME: &str = "landfall.toml";

/// Where the file is looked for that nobody names.
pub(crate) fn places() -> Vec<PathBuf> {
    vec![PathBuf::from(FILE_NAME), system_place()]
}

/// Finds the file: `given`, else `landfall.toml` in the working folder, else the system's place.
pub(crate) fn find(given: Option<&Path>) -> Result<PathBuf, Problems> {
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

/// A configuration as its files say it, right or wrong.
#[derive(Debug)]
pub(crate) struct Reading {
    /// What it says, or all that is wrong.
    pub settings: Result<Settings, Problems>,
    /// The main file, absolute.
    pub main: PathBuf,
    /// Where further rules lie, as far as it can be told.
    pub rules_dir: Option<PathBuf>,
    /// `service.data_dir`, as far as it can be told.
    pub data_dir: Option<PathBuf>,
    /// `service.at_rest`, likewise.
    pub at_rest: AtRest,
    /// What was read.
    pub texts: Texts,
}

/// Reads and checks everything, for those who go by it for long; without a registry nobody judges the steps.
pub(crate) fn read(file: &Path, registry: Option<&Registry>) -> Result<Reading, Problems> {
    Ok(reading_of(read_judged(file, registry, TestFiles::None, Shelf::Disk)?))
}

/// Checks what was kept of an earlier reading, as if it lay where it lay; without a registry nobody judges the steps.
pub(crate) fn read_kept(kept: &KeptConfiguration, registry: Option<&Registry>) -> Result<Settings, Problems> {
    let texts = texts_of(kept);
    let read = read_judged(kept.main.as_path(), registry, TestFiles::None, Shelf::Kept(&texts))?;
    reading_of(read).settings
}

/// Which service a configuration means, also where it is wrong or away. Reads its main file alone.
pub(crate) fn read_service(file: &Path) -> Result<ServiceSaid, Problems> {
    let (working_folder, variables) = (&working_folder(file)?, &environment());
    let (registry, test_files, shelf) = (None, TestFiles::None, Shelf::Disk);
    let inputs = files::Inputs { main: file, variables, working_folder, registry, test_files, shelf };
    Ok(files::read_service(&inputs))
}

fn reading_of(read: Read) -> Reading {
    let Read { loaded, main, rules_dir, data_dir, at_rest, texts } = read;
    Reading { settings: loaded.map(|loaded| loaded.settings), main, rules_dir, data_dir, at_rest, texts }
}

/// Tells of variables that look like configuration and are none.
pub(crate) fn tell_strays() {
    for (variable, hint) in layers::strays(&environment()) {
        tracing::warn!(variable, hint, "this variable is no configuration, and is left alone");
    }
}

/// Loads and checks everything; with where each key stands, for those who have more to say about it.
pub(crate) fn load_with_places(file: &Path, registry: &Registry) -> Result<(Settings, Places), Problems> {
    let loaded = load_judged(file, Some(registry), TestFiles::None)?;
    Ok((loaded.settings, loaded.places))
}

/// Loads and checks everything and the rules' tests: those in the rules' files, in `NAME.test.toml` beside them, and in those of these
/// files that are called so.
pub(crate) fn load_with_tests(
    file: &Path,
    registry: &Registry,
    named: &[PathBuf],
) -> Result<(Settings, Vec<RuleTest>), Problems> {
    let loaded = load_judged(file, Some(registry), TestFiles::BesideAnd(named))?;
    Ok((loaded.settings, loaded.tests))
}

/// Loads and checks everything but the steps, for those who run no rule: the steps may be those of another program.
pub(crate) fn load_without_steps(file: &Path) -> Result<Settings, Problems> {
    Ok(load_judged(file, None, TestFiles::None)?.settings)
}

fn load_judged(
    file: &Path,
    registry: Option<&Registry>,
    test_files: TestFiles<'_>,
) -> Result<Loaded, Problems> {
    if registry.is_some() {
        tell_strays();
    }
    read_judged(file, registry, test_files, Shelf::Disk)?.loaded
}

fn read_judged(
    main: &Path,
    registry: Option<&Registry>,
    test_files: TestFiles<'_>,
    shelf: Shelf<'_>,
) -> Result<Read, Problems> {
    let working_folder = &working_folder(main)?;
    let variables = &environment();
    Ok(files::read(&files::Inputs { main, variables, working_folder, registry, test_files, shelf }))
}

fn working_folder(main: &Path) -> Result<PathBuf, Problems> {
    std::env::current_dir().map_err(|error| {
        Problems(vec![Problem {
            file: Some(main.to_path_buf()),
            message: format!("the working folder cannot be told: {error}"),
            hint: Some("start in a folder that is there".into()),
            ..Problem::default()
        }])
    })
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
pub(crate) fn system_place() -> PathBuf {
    PathBuf::from("/etc/landfall").join(FILE_NAME)
}

#[cfg(windows)]
pub(crate) fn system_place() -> PathBuf {
    service::program_data(&environment()).join("Landfall").join(FILE_NAME)
}
