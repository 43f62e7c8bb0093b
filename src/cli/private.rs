//! Files and folders with records in them, for the user alone, whatever the umask says.
//!
//! On Windows that is what the folder for temporary files of each user is for; what lies elsewhere has the rights of its folder.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use anyhow::Context as _;
use tempfile::TempDir;

/// A new folder among the temporary ones, removed with what is returned.
pub(super) fn folder(prefix: &str) -> anyhow::Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(prefix);
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
    builder.tempdir().context("cannot make a temporary folder")
}

/// A file that is made for this, and was not there.
pub(super) fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
