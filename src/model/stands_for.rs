//! A rule that stands for another one, in an engine that publishes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::category::Category;

/// What a rule leaves out that stands for another and publishes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandsFor {
    /// The step before which it ends, in words.
    pub not_run: Option<String>,
    /// The templates of the outputs, by category, as the other has them.
    pub outputs: BTreeMap<Category, String>,
}
