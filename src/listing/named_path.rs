//! The path of a file as who asks writes it, and as rules name it.

use std::io;
use std::path::{Component, Path, PathBuf};

use crate::watch::rules::RuleSet;

/// As rules name it: it may be relative, go up again (`..`), and a folder may go by the name of a link to it.
pub(crate) fn as_watched(path: &Path, set: &RuleSet) -> io::Result<PathBuf> {
    let absolute = without_dots(&std::path::absolute(path)?);
    if set.assign(&absolute).is_some() {
        return Ok(absolute);
    }
    let real = absolute.parent().and_then(|folder| folder.canonicalize().ok());
    let real = real.zip(absolute.file_name()).map(|(folder, name)| folder.join(name));
    Ok(real.filter(|real| set.assign(real).is_some()).unwrap_or(absolute))
}

fn without_dots(path: &Path) -> PathBuf {
    if !path.components().any(|part| part == Component::ParentDir) {
        return path.to_owned();
    }
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part == Component::ParentDir {
            plain.pop();
        } else {
            plain.push(part);
        }
    }
    // Behind a link it leads up from what that leads to.
    let real = |path: &Path| path.parent().and_then(|folder| folder.canonicalize().ok());
    match (real(path), real(&plain), path.file_name()) {
        (Some(folder), Some(own), Some(name)) if folder != own => folder.join(name),
        _ => plain,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_goes_up_again_is_what_the_system_reads_from_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("is there");
        std::fs::create_dir_all(root.join("in/plain/ok")).expect("makes");
        std::fs::create_dir_all(root.join("elsewhere/deep")).expect("makes");
        std::os::unix::fs::symlink(root.join("elsewhere/deep"), root.join("in/link")).expect("links");
        for (named, is) in [
            ("in/plain/ok/../x", "in/plain/x"),
            ("in/plain/gone/../x", "in/plain/x"),
            ("in/link/../x", "elsewhere/x"),
            ("in/../../x", "../x"),
            ("in/x", "in/x"),
        ] {
            let is =
                if is.starts_with("..") { root.parent().expect("a folder").join("x") } else { root.join(is) };
            assert_eq!(without_dots(&root.join(named)), is, "{named}");
        }
    }
}
