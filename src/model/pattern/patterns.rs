//! The patterns of a rule: as text, and parsed when they are first asked for.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Mistake, Pattern, Values};

/// The patterns of a rule. The rules that its overrides make of it have the same ones: copies share them, parsed or not.
#[derive(Clone)]
pub struct Patterns(Arc<Written>);

struct Written {
    texts: Vec<String>,
    parsed: OnceLock<Vec<Result<Pattern, Mistake>>>,
}

impl Patterns {
    /// Each pattern, or why its text is none.
    pub(crate) fn judged(&self) -> &[Result<Pattern, Mistake>] {
        self.0.parsed.get_or_init(|| self.0.texts.iter().map(|text| Pattern::parse(text)).collect())
    }

    /// Those that are patterns.
    pub(crate) fn good(&self) -> impl Iterator<Item = &Pattern> + Clone {
        self.judged().iter().filter_map(|judged| judged.as_ref().ok())
    }

    /// The named wildcards of any of them.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.good().flat_map(|pattern| pattern.names().iter().cloned()).collect()
    }

    /// The named wildcards' values from the first that fits a path.
    pub(crate) fn values_of(&self, path: &Path) -> Option<Values> {
        self.good().find_map(|pattern| pattern.matches(path))
    }
}

impl Deref for Patterns {
    type Target = [String];

    fn deref(&self) -> &[String] {
        &self.0.texts
    }
}

impl From<Vec<String>> for Patterns {
    fn from(texts: Vec<String>) -> Self {
        Self(Arc::new(Written { texts, parsed: OnceLock::new() }))
    }
}

impl FromIterator<String> for Patterns {
    fn from_iter<I: IntoIterator<Item = String>>(texts: I) -> Self {
        texts.into_iter().collect::<Vec<_>>().into()
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.texts == other.0.texts
    }
}

impl std::fmt::Debug for Patterns {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.texts.fmt(f)
    }
}

impl Serialize for Patterns {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.texts.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}
