//! The configuration: as typed (raw, spanned), then as meant (`Settings`). SKELETON, owned by the config helper.

use std::path::{Path, PathBuf};

use crate::model::rule::Settings;
use crate::pipeline::Registry;

/// One thing that is wrong in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or none for the environment.
    pub file: Option<PathBuf>,
    /// From 1.
    pub line: Option<usize>,
    /// `rule "payments": output.invalid.path`.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Every problem of a configuration.
#[derive(Debug, thiserror::Error)]
#[error("SKELETON")]
pub struct Problems(pub Vec<Problem>);

/// Finds the file: `given`, else `landfall.toml` in the working folder, else the system's place.
pub fn find(given: Option<&Path>) -> Result<PathBuf, Problems> { let _ = given; unimplemented!() }
/// Loads and checks everything; all problems at once.
pub fn load(file: &Path, registry: &Registry) -> Result<Settings, Problems> { let _ = (file, registry); unimplemented!() }
