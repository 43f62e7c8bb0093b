//! The folders whose inside belongs to senders, and what is refused there.
//!
//! A sender may do in a landing folder whatever a user can: move it away and put a link in its place, make a claim folder beforehand,
//! leave a pipe where a file is wanted. So the folders below a landing root are reached without following links, and a claim
//! folder with all below it must belong to the service alone. The landing root itself is the operator's; links on the way to it are
//! followed where root or the service's user made them.
//!
//! What is written goes to folders below the fixed part of a template: that part is the operator's, and what stands behind it comes from
//! names that senders give. Where others may write into such a folder they could plant a link there. So below it, too, only links of root's and of
//! the service's user are followed: the operator may have put a part of it elsewhere.
//!
//! The roots are known to the whole process, so that every function of this module keeps to them, whoever calls it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, PoisonError, RwLock};

/// Name of the claim folder beside the files; hidden, so that no pattern picks it up.
pub(crate) const CLAIM_FOLDER: &str = ".landfall";
/// What the names of our own files begin with, beside those of others, until they are whole.
pub(crate) const HIDDEN_PREFIX: &str = ".landfall-";

static LANDING: LazyLock<RwLock<Roots>> = LazyLock::new(RwLock::default);
static TARGETS: LazyLock<RwLock<Roots>> = LazyLock::new(RwLock::default);

/// Asked for many times a file: most ancestors of a path are told by their lengths alone to be no roots, before anything is hashed.
#[derive(Default)]
struct Roots {
    paths: HashSet<PathBuf>,
    /// Whether one is so long.
    lengths: Vec<bool>,
}

impl Roots {
    fn add(&mut self, root: &Path) {
        let root: PathBuf = root.components().collect(); // spelled plainly
        let length = root.as_os_str().len();
        if self.lengths.len() <= length {
            self.lengths.resize(length + 1, false);
        }
        if let Some(is_one_so_long) = self.lengths.get_mut(length) {
            *is_one_so_long = true;
        }
        self.paths.insert(root);
    }

    /// The nearest one that a folder lies in, or is, and the way from there.
    fn nearest<'a>(&self, folder: &'a Path) -> Option<(&'a Path, &'a Path)> {
        if self.paths.is_empty() {
            return None;
        }
        let is_plain = is_spelled_plainly(folder);
        let is_root =
            |ancestor: &&Path| (!is_plain || self.may_be_so_long(ancestor)) && self.paths.contains(*ancestor);
        let root = folder.ancestors().find(is_root)?;
        Some((root, folder.strip_prefix(root).ok()?))
    }

    fn may_be_so_long(&self, folder: &Path) -> bool {
        self.lengths.get(folder.as_os_str().len()).is_some_and(|is_one_so_long| *is_one_so_long)
    }
}

/// Tells that all below this folder belongs to others.
pub(crate) fn add_landing_root(root: &Path) {
    LANDING.write().unwrap_or_else(PoisonError::into_inner).add(root);
}

/// Tells that names below this folder, into which we write, come from others.
pub(crate) fn add_target_root(root: &Path) {
    TARGETS.write().unwrap_or_else(PoisonError::into_inner).add(root);
}

/// Whether a path has no part that says nothing (`//`, `/./`, a `/` at the end); false where that cannot be told in a few steps.
fn is_spelled_plainly(path: &Path) -> bool {
    let mut names = path.as_os_str().as_encoded_bytes().split(|byte| *byte == b'/');
    let begins_at_root = names.next().is_some_and(<[u8]>::is_empty);
    cfg!(unix) && begins_at_root && names.all(|name| !matches!(name, b"" | b"."))
}

pub(crate) fn is_in_landing_root(folder: &Path) -> bool {
    root_of(folder).is_some()
}

/// The nearest landing root that a folder lies in, or is, and the way from there.
pub(super) fn root_of(folder: &Path) -> Option<(&Path, &Path)> {
    LANDING.read().unwrap_or_else(PoisonError::into_inner).nearest(folder)
}

/// The nearest folder into which we write that this one lies in, or is, and the way from there.
pub(super) fn target_root_of(folder: &Path) -> Option<(&Path, &Path)> {
    TARGETS.read().unwrap_or_else(PoisonError::into_inner).nearest(folder)
}

/// Something in a landing folder that is not touched: what, and what an operator can do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Refused {
    message: String,
    hint: Cow<'static, str>,
}

fn refused(message: String, hint: impl Into<Cow<'static, str>>) -> io::Error {
    io::Error::new(io::ErrorKind::PermissionDenied, Refused { message, hint: hint.into() })
}

/// What to do about an error, where it is a refusal of ours.
pub(super) fn hint_of(error: &io::Error) -> Option<&str> {
    error.get_ref()?.downcast_ref::<Refused>().map(|refused| refused.hint.as_ref())
}

/// What to do about a folder that is not this user's, or that others may write in. What lies there may be the only copy of claimed sources.
pub(crate) fn how_to_own(folder: &Path, user: &str, is_foreign: bool) -> String {
    let word = crate::model::shell::word(folder);
    match super::rights::mount_for_us_alone(folder) {
        // Where the mount's options say whose a folder is, no other command helps.
        Some(how) => format!("{how}; files wait until then"),
        None if is_foreign => format!(
            "if the service ran as that user before: stop it, `chown -R {user} {word} && chmod -R go-w {word}`, and start it again; else find \
             out who made it, and move it to another place: the service makes its own. Never remove it while files lie in it: they may be \
             the only copies of claimed sources. `source.claim_dir` and `quarantine_dir` can be out of the sender's reach"
        ),
        None => {
            format!("look through what lies in it, then `chmod -R go-w {word}`; files wait until then")
        }
    }
}

/// The user of this process, as commands take him.
#[cfg(unix)]
fn own_word() -> String {
    super::users::user_name(own_user()).unwrap_or_else(|| own_user().to_string())
}

fn shown(path: &Path) -> String {
    crate::model::os_text::escaped_path(path)
}

pub(super) fn link_below_root(folder: &Path) -> io::Error {
    refused(
        format!("a symbolic link is on the way to {} below the landing folder", shown(folder)),
        "remove the link, or name the folder it leads to in the rule's `paths`; the files there wait until then",
    )
}

#[cfg(not(unix))]
pub(super) fn link_below_target(folder: &Path) -> io::Error {
    refused(
        format!("a link or junction is on the way to {} below the fixed part of a template", shown(folder)),
        "name the folder it leads to in the template itself; the job waits until then",
    )
}

pub(super) fn no_folder(folder: &Path) -> io::Error {
    refused(
        format!("{} is a symbolic link, or no folder", shown(folder)),
        "move what lies there to another place, after a look at it; the folder is made when it is needed",
    )
}

/// Never changes: the service takes on no other user's rights.
#[cfg(unix)]
pub(super) fn own_user() -> u32 {
    static OWN: LazyLock<u32> = LazyLock::new(|| rustix::process::geteuid().as_raw());
    *OWN
}

/// Refuses a folder that is not this user's, or that others may write into.
#[cfg(unix)]
pub(super) fn check_own(mode: u32, owner: u32, folder: &Path) -> io::Result<()> {
    let (own, kind) = (own_user(), mode & 0o170_000);
    match kind {
        0o040_000 if owner != own => Err(foreign_folder(folder, owner, own)),
        0o040_000 if mode & 0o022 != 0 => Err(shared_folder(folder, mode)),
        0o040_000 => Ok(()),
        _ => Err(io::ErrorKind::NotADirectory.into()),
    }
}

#[cfg(unix)]
pub(super) fn foreign_link(link: &Path, owner: u32) -> io::Error {
    refused(
        format!(
            "the link {} belongs to user {owner}, neither to root nor to the service's user",
            shown(link)
        ),
        "name the folder it leads to in the rule, or make the link as root or as the service's user",
    )
}

#[cfg(unix)]
fn foreign_folder(folder: &Path, owner: u32, own: u32) -> io::Error {
    refused(
        format!("{} belongs to user {owner}, and the service runs as user {own}", shown(folder)),
        how_to_own(folder, &own_word(), true),
    )
}

#[cfg(unix)]
fn shared_folder(folder: &Path, mode: u32) -> io::Error {
    refused(
        format!("{} can be written by other users (mode {:04o})", shown(folder), mode & 0o7777),
        how_to_own(folder, &own_word(), false),
    )
}

pub(super) fn no_plain_file(path: &Path) -> io::Error {
    refused(
        format!("{} is no regular file", shown(path)),
        "somebody exchanged the file; look at what lies there, and move it to another place",
    )
}

#[cfg(unix)]
pub(super) fn foreign_file(path: &Path) -> io::Error {
    let hint = "if the service ran as another user before: stop it, give the folder with all in it to the user it runs as now \
         (`chown -R`), and start it again; else find out who put the file there, and move it to another place. Never remove it: it may \
         be the only copy of a claimed source";
    refused(format!("{} is not the service's own file", shown(path)), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_landing_root_counts() {
        let (outer, inner) = (Path::new("/landing-root-test"), Path::new("/landing-root-test/acme/inbox"));
        add_landing_root(outer);
        add_landing_root(inner);
        assert_eq!(root_of(&outer.join("b")), Some((outer, Path::new("b"))));
        assert_eq!(root_of(&inner.join(CLAIM_FOLDER)), Some((inner, Path::new(CLAIM_FOLDER))));
        assert_eq!(root_of(Path::new("/landing-root-tests/a")), None);
    }

    #[test]
    fn a_landing_root_is_met_however_it_is_spelled() {
        add_landing_root(Path::new("/landing//root-spelled/./in/"));
        // Under Windows a path that begins with two separators is that of a share.
        let twice = if cfg!(windows) { "/landing/root-spelled//in/." } else { "//landing/root-spelled/in/." };
        for folder in
            ["/landing/root-spelled/in", "/landing/root-spelled/in/", "/landing/./root-spelled//in", twice]
        {
            let found = root_of(Path::new(folder)).map(|(root, below)| (root.to_owned(), below.to_owned()));
            assert_eq!(found, Some(("/landing/root-spelled/in".into(), PathBuf::new())), "{folder}");
            let below = Path::new(folder).join(CLAIM_FOLDER);
            assert_eq!(root_of(&below).map(|(_, below)| below), Some(Path::new(CLAIM_FOLDER)), "{folder}");
        }
        assert_eq!(root_of(Path::new("/landing/root-spelled")), None);
        assert_eq!(root_of(Path::new("/landing/root-spelled/im")), None);
    }

    #[test]
    #[cfg(unix)]
    fn no_hint_advises_to_remove_what_may_be_the_only_copy_of_a_source() {
        let path = Path::new("/in/.landfall");
        let refusals = [no_folder(path), foreign_folder(path, 1, 2), no_plain_file(path), foreign_file(path)];
        for refusal in refusals.into_iter().chain([shared_folder(path, 0o777)]) {
            let hint = hint_of(&refusal).expect("there is one");
            assert!(!hint.replace("Never remove", "").contains("remove"), "{hint}");
        }
        assert!(hint_of(&foreign_folder(path, 1, 2)).expect("there is one").contains("chown -R"));
    }
}
