//! Whose a claim folder is, before a command trusts what lies in it.
//!
//! A claim folder beside the files has its name in a folder of the sender's: he can put a link to another sender's there, or a folder of his
//! own with files that look claimed. So it is reached as the service reaches it, and must belong to the user who asks.

use std::path::Path;

use super::quarantines;
use crate::durable_fs::{self, FsError};
use crate::engine::landing_roots;
use crate::model::rule::Rule;

/// Refuses a claim folder, or a quarantine of it, that is a link, another user's, or open to others. From here on no link of a sender's is
/// followed on the way there.
pub(crate) fn check_own(folder: &Path, rules: &[Rule]) -> Result<(), FsError> {
    rules.iter().for_each(landing_roots::distrust);
    distrust_way_to(durable_fs::parent_of(folder));
    for own in [folder.to_owned()].into_iter().chain(quarantines(folder, rules)) {
        durable_fs::own_folder(&own)?;
    }
    Ok(())
}

/// Lets no links but those of root and of our own be followed on the way to a folder. Below a folder that rules watch none are.
pub(crate) fn distrust_way_to(folder: &Path) {
    if !durable_fs::is_in_landing_root(folder) {
        durable_fs::add_landing_root(folder);
    }
}
