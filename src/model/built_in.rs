//! The names that mean something in every template, and so are no named wildcards.

/// Variables that every rule has.
pub(crate) const BUILT_IN: [&str; 13] = [
    "rule",
    "name",
    "stem",
    "ext",
    "date",
    "time",
    "job",
    "category",
    "entry",
    "entry_stem",
    "parent",
    "grandparent",
    "revision",
];
