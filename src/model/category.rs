//! Categories: the named outputs of a job.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a named output of a job: `main`, `invalid`, any other. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Category(Arc<str>);

impl Category {
    /// The category that every record starts in.
    pub const MAIN: &'static str = "main";

    /// A category of this name; names are checked by the configuration.
    pub(crate) fn new(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// The category that every record starts in.
    #[doc(hidden)]
    pub fn main() -> Self {
        Self::new(Self::MAIN)
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Borrow<str> for Category {
    fn borrow(&self) -> &str {
        &self.0
    }
}
