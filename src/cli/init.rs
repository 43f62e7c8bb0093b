//! `landfall init`: a configuration and folders that run at once.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::say::{say, say_aside};
use anyhow::Context as _;

const STARTER: &str = include_str!("../../config/starter.toml");
const FILE_NAME: &str = "landfall.toml";
const FOLDERS: [&str; 4] = ["inbox", "out", "archive", "data"];

/// Writes a configuration and its folders; an existing configuration stays as it is.
#[derive(Debug, clap::Args)]
pub(super) struct InitArgs {
    /// The folder to make them in; made if it is not there
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
}

pub(super) fn run(args: &InitArgs) -> anyhow::Result<ExitCode> {
    let file = args.dir.join(FILE_NAME);
    if !set_up(&args.dir)? {
        say_aside!("{} is there already and was left as it is", file.display());
        return Ok(ExitCode::from(2));
    }
    say!("wrote {}", file.display());
    say!("put a CSV file into {}, then:", args.dir.join("inbox").display());
    say!("    landfall run --config {}", file.display());
    Ok(ExitCode::SUCCESS)
}

/// Whether the configuration was written; `false` if there was one.
fn set_up(dir: &Path) -> anyhow::Result<bool> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let file = dir.join(FILE_NAME);
    let mut options = fs::OpenOptions::new();
    // Also a dangling link counts as a file that is there.
    let mut written = match options.write(true).create_new(true).open(&file) {
        Ok(written) => written,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot write {}", file.display())),
    };
    written.write_all(STARTER.as_bytes()).with_context(|| format!("cannot write {}", file.display()))?;
    for name in FOLDERS {
        let folder = dir.join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    keep_private(&dir.join("data"))?;
    Ok(true)
}

/// The store holds what senders sent: it is its owner's alone.
#[cfg(unix)]
fn keep_private(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot make {} private", folder.display()))
}

#[cfg(not(unix))]
fn keep_private(_: &Path) -> anyhow::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fresh_folder_gets_a_configuration_and_its_folders() {
        let parent = tempfile::tempdir().expect("a folder");
        let dir = parent.path().join("new/zone");
        assert!(set_up(&dir).expect("sets up"));
        assert_eq!(fs::read_to_string(dir.join(FILE_NAME)).expect("is there"), STARTER);
        assert!(FOLDERS.iter().all(|name| dir.join(name).is_dir()));
    }

    #[test]
    fn an_existing_configuration_is_never_overwritten() {
        let dir = tempfile::tempdir().expect("a folder");
        fs::write(dir.path().join(FILE_NAME), "mine").expect("writes");
        assert!(!set_up(dir.path()).expect("refuses"));
        assert_eq!(fs::read_to_string(dir.path().join(FILE_NAME)).expect("is there"), "mine");
    }
}
