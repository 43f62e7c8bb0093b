//! Which destination outputs go to.

use super::destination::Destination;
use super::folder::Folder;
use crate::model::rule::Rule;

pub(super) fn destination_of(rule: &Rule) -> Box<dyn Destination> {
    Box::new(Folder::new(rule.publish.mount.clone()))
}

/// Where outputs lie that a row names; nothing is created there.
pub(super) fn destination_of_rows() -> Box<dyn Destination> {
    Box::new(Folder::default())
}
