//! Which destination outputs go to.

use super::destination::Destination;
use super::folder::Folder;
use crate::durable_fs::OpenTo;
use crate::model::rule::Rule;

pub(super) fn destination_of(rule: &Rule) -> Box<dyn Destination> {
    Box::new(Folder::new(rule.publish.mount.clone(), folders_open_to(rule)))
}

/// Who reads an output gets to it.
pub(crate) fn folders_open_to(rule: &Rule) -> OpenTo {
    const ALL_READ: u32 = 0o004;
    let is_for_all = rule.outputs.values().any(|output| output.mode & ALL_READ != 0);
    if is_for_all { OpenTo::All } else { OpenTo::Group }
}

/// Where outputs lie that a row names; nothing is created there.
pub(super) fn destination_of_rows() -> Box<dyn Destination> {
    Box::new(Folder::default())
}
