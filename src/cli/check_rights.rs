//! Whether the user who asks `landfall check` has the rights that the service has, and whose a folder is. Where he is not the service's user
//! his own rights say nothing.

use std::fs;
use std::path::Path;

use crate::control::Client;
use crate::durable_fs::{self, Need};
use crate::model::os_text::escaped_path;
use crate::model::rule::Settings;

/// What the rights of this process tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    /// They are another user's than the service's.
    Others,
    /// They are the service's. It runs, so that nothing is tried in its folders.
    Asked,
    /// They are the service's, and what it will do is tried.
    Tried,
}

impl Rights {
    pub(super) fn of(settings: &Settings) -> Self {
        let data_dir = &settings.service.data_dir;
        if !are_the_services(data_dir) {
            Self::Others
        } else if Client::connect(data_dir).is_some() {
            Self::Asked
        } else {
            Self::Tried
        }
    }
}

/// Whether the rights of this process are those of the service: it owns the data folder, or nobody does yet.
#[cfg(unix)]
pub(super) fn are_the_services(data_dir: &Path) -> bool {
    service_user(data_dir) == rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
pub(super) fn are_the_services(_: &Path) -> bool {
    true
}

/// Whether a program that the configuration names may be run by this process: the data folder is its own, or would be made where all is
/// its own, and nobody but root could have put something else there. Who may not look may not.
#[cfg(unix)]
pub(super) fn runs_programs(data_dir: &Path) -> bool {
    use std::io::ErrorKind;
    use std::os::unix::fs::MetadataExt as _;
    let us = rustix::process::geteuid().as_raw();
    let Ok(data_dir) = std::path::absolute(data_dir) else { return false };
    let mut is_ours = None;
    for place in data_dir.ancestors() {
        match fs::symlink_metadata(place) {
            Ok(found) if ![0, us].contains(&found.uid()) => return false,
            // The first that is there: what a link leads to may be anybody's.
            Ok(found) => _ = is_ours.get_or_insert(found.is_dir() && found.uid() == us),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) => return false,
        }
    }
    is_ours.unwrap_or(false)
}

#[cfg(not(unix))]
pub(super) fn runs_programs(_: &Path) -> bool {
    true
}

/// Whether what this process may read and change tells what the service may: root reads all, and rights are judged for the service's user.
#[cfg(unix)]
pub(super) fn tell_of_keys(data_dir: &Path) -> bool {
    are_the_services(data_dir) || rustix::process::geteuid().is_root()
}

#[cfg(not(unix))]
pub(super) fn tell_of_keys(_: &Path) -> bool {
    true
}

/// What keeps this user from the data folder, and what to do.
pub(super) fn lack_of_data_dir(data_dir: &Path) -> Option<(String, String)> {
    match fs::metadata(data_dir) {
        Ok(found) if found.is_dir() => {
            let is_open = durable_fs::may_list(data_dir) && durable_fs::may_write_in(data_dir);
            let message = || format!("this user may not open the data folder {}", escaped_path(data_dir));
            let hint = "run this command and the service as the user who owns it";
            (!is_open).then(|| (message(), hint.to_owned()))
        }
        // Told by itself.
        Ok(_) => None,
        Err(_) => durable_fs::refusal(data_dir, Need::Write).map(|refusal| (refusal.what, refusal.how)),
    }
}

/// The user that the service runs as: the owner of its data folder where that is there, else who asks.
#[cfg(unix)]
pub(super) fn service_user(data_dir: &Path) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata(data_dir).map_or_else(|_| rustix::process::geteuid().as_raw(), |found| found.uid())
}

#[cfg(not(unix))]
pub(super) fn service_user(_: &Path) -> u32 {
    0
}

/// As commands take him.
#[cfg(unix)]
pub(super) fn user_word(user: u32) -> String {
    durable_fs::user_name(user).unwrap_or_else(|| user.to_string())
}

#[cfg(not(unix))]
pub(super) fn user_word(_: u32) -> String {
    "the service's user".to_owned()
}

/// As `sudo -u` takes him.
pub(super) fn sudo_word(user: &str) -> String {
    if user.starts_with(|c: char| c.is_ascii_digit()) { format!("'#{user}'") } else { user.to_owned() }
}

/// The group that the service's user is in from the start: this process's own, his in the list of users, or else that of his data folder.
#[cfg(target_os = "linux")]
pub(super) fn service_group(data_dir: &Path, user: u32) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    if user == rustix::process::geteuid().as_raw() {
        return rustix::process::getegid().as_raw();
    }
    let of_data = || fs::metadata(data_dir).map_or(user, |found| found.gid());
    durable_fs::group_of_user(user).unwrap_or_else(of_data)
}

/// Whether more than one sender may write. Root may do everything anyway, and a user's own group is he.
#[cfg(target_os = "linux")]
pub(super) fn are_several(writers: &durable_fs::Writers, user: u32, group: u32) -> bool {
    let users: Vec<u32> =
        writers.users.iter().copied().filter(|writer| *writer != user && *writer != 0).collect();
    let is_own = |of: &u32| users.iter().any(|user| durable_fs::group_of_user(*user).unwrap_or(*user) == *of);
    let groups = writers.groups.iter().filter(|writer| **writer != group && **writer != 0 && !is_own(writer));
    writers.everybody || users.len() + groups.count() > 1
}

/// Mode, user and group; none where there are none.
#[cfg(unix)]
#[allow(clippy::unnecessary_wraps, reason = "one signature for all platforms")]
pub(super) fn access(found: &fs::Metadata) -> Option<(u32, u32, u32)> {
    use std::os::unix::fs::MetadataExt as _;
    Some((found.mode(), found.uid(), found.gid()))
}

#[cfg(not(unix))]
pub(super) fn access(_: &fs::Metadata) -> Option<(u32, u32, u32)> {
    None
}

/// Whether a user may surely not rename files in a folder: who is in its group is not asked.
pub(super) fn is_closed_to(folder: &fs::Metadata, user: u32) -> bool {
    access(folder).is_some_and(|(mode, owner, _)| {
        let by_owner = owner == user && mode & 0o200 != 0;
        user != 0 && !by_owner && mode & 0o022 == 0
    })
}

/// Why a folder is not the service's own, by the same rule as the service's.
pub(super) fn not_own(folder: &fs::Metadata, user: u32) -> Option<String> {
    match access(folder)? {
        (_, owner, _) if owner != user => {
            Some(format!("belongs to user {owner}, and the service's is {user}"))
        }
        (mode, ..) if mode & 0o022 != 0 => {
            Some(format!("has mode {:03o}, so that others may write in it", mode & 0o777))
        }
        _ => None,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use durable_fs::Writers;

    /// What the service's user may exchange for something of his is not run by another.
    #[test]
    fn a_program_is_run_where_the_data_folder_is_ours_or_would_be_and_nobody_else_could_have_put_it_there() {
        let world = tempfile::tempdir().expect("a folder");
        let root = world.path().to_owned();
        for folder in ["data", "theirs/data"] {
            fs::create_dir_all(root.join(folder)).expect("makes");
        }
        std::os::unix::fs::symlink("nowhere", root.join("dangling")).expect("links");
        std::os::unix::fs::symlink("data", root.join("link")).expect("links");
        assert!(runs_programs(&root.join("data")) && runs_programs(&root.join("new/data")));
        assert!(!runs_programs(&root.join("dangling")) && !runs_programs(&root.join("link")));
        if std::os::unix::fs::chown(root.join("theirs"), Some(4001), None).is_ok() {
            for data_dir in ["theirs", "theirs/data", "theirs/new"] {
                assert!(!runs_programs(&root.join(data_dir)), "{data_dir}");
            }
        }
    }

    /// The service's user and group are 4001, of which no machine knows.
    #[test]
    fn one_sender_and_his_own_group_are_one_and_two_of_a_kind_are_several() {
        let several = |users: &[u32], groups: &[u32], everybody| {
            are_several(&Writers { users: users.to_vec(), groups: groups.to_vec(), everybody }, 4001, 4001)
        };
        for (users, groups) in [
            (&[0][..], &[][..]),
            (&[4001], &[4001]),
            (&[4002], &[4001]), // acme:landfall 2770
            (&[4002], &[4002]), // acme:acme 2770
            (&[0], &[4003]),    // root:partners 2770
            (&[4001], &[4003]),
            (&[4002, 4001], &[4002]), // acme:acme, and the service by an access list
        ] {
            assert!(!several(users, groups, false), "{users:?} {groups:?}");
        }
        for (users, groups) in [(&[4002][..], &[4003][..]), (&[4002, 4003], &[4001]), (&[0], &[4002, 4003])] {
            assert!(several(users, groups, false), "{users:?} {groups:?}");
        }
        assert!(several(&[0], &[], true));
    }
}
