//! Where the system's rights are not told apart: see `rights.rs`.

use std::path::Path;

use super::names::{Need, Refusal};

/// What this process may not is told by the attempt alone.
pub(crate) fn refusal(_: &Path, _: Need) -> Option<Refusal> {
    None
}

/// Of what was refused already: on Windows who owns what is a matter of access lists, which one command changes.
pub(super) fn after_refusal(path: &Path, _: Need) -> Option<Refusal> {
    let user = std::env::var("USERNAME").ok().filter(|_| cfg!(windows))?;
    let at = path.ancestors().find(|ancestor| ancestor.is_dir()).unwrap_or(path).to_owned();
    let shown = crate::model::os_text::escaped_path(&at);
    let what = format!("user {user} may not do that in {shown}");
    Some(Refusal { at, what, how: format!("`icacls \"{shown}\" /grant \"{user}:(OI)(CI)M\"`") })
}

pub(crate) fn closed_file(_: &Path) -> Option<Refusal> {
    None
}

pub(super) fn sticky_refusal(_: &Path) -> Option<Refusal> {
    None
}

pub(crate) fn mount_for_us_alone(_: &Path) -> Option<String> {
    None
}
