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

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::engine::tests::World;

    fn checked(world: &World, folder: &Path) -> Result<(), FsError> {
        check_own(folder, &[(*world.rule()).clone()])
    }

    fn opened_to(folder: &Path, mode: u32) {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(mode)).expect("sets");
    }

    #[test]
    fn a_claim_folder_is_trusted_while_it_is_ours_alone_and_so_is_its_quarantine() {
        let world = World::new();
        let folder = world.path("in/.landfall");
        opened_to(&folder, 0o700);
        checked(&world, &folder).expect("it is ours");
        opened_to(&folder, 0o777);
        checked(&world, &folder).expect_err("anybody can put something there");
        opened_to(&folder, 0o700);
        std::fs::create_dir(folder.join("quarantine")).expect("makes");
        opened_to(&folder.join("quarantine"), 0o777);
        checked(&world, &folder).expect_err("its quarantine is open to others");
    }

    #[test]
    fn a_link_in_the_place_of_a_claim_folder_or_on_the_way_to_it_is_not_followed() {
        let world = World::new();
        let theirs = world.path("in/.landfall");
        opened_to(&theirs, 0o700);
        symlink(&theirs, world.path("in/link")).expect("links");
        checked(&world, &world.path("in/link")).expect_err("it is a link");
        std::fs::create_dir(world.path("in/acme")).expect("makes");
        symlink(world.path("in"), world.path("in/acme/inbox")).expect("links");
        checked(&world, &world.path("in/acme/inbox/.landfall")).expect_err("a link is on the way");
    }
}
