//! A record in the editor of the user.
//!
//! It lies in a file of its own meanwhile, in a folder that is the user's alone, with a line end behind it, which editors want.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// Where nothing says which.
const EDITOR: &str = if cfg!(windows) { "notepad" } else { "vi" };

/// A record that a user wrote; its file goes with this, unless it is kept.
pub(super) struct Edited {
    pub(super) bytes: Vec<u8>,
    folder: tempfile::TempDir,
    file: PathBuf,
}

impl Edited {
    /// What was written is not lost: where it lies.
    pub(super) fn keep(self) -> PathBuf {
        self.folder.keep().join(self.file)
    }
}

/// Has the user edit a record.
pub(super) fn edit(bytes: &[u8]) -> anyhow::Result<Edited> {
    let folder = tempfile::Builder::new().prefix("landfall-").tempdir();
    let folder = folder.context("cannot make a folder for the record")?;
    let file = PathBuf::from("record.txt");
    let path = folder.path().join(&file);
    let cannot = |what: &str| format!("cannot {what} {}", path.display());
    fs::write(&path, [bytes, b"\n"].concat()).with_context(|| cannot("write"))?;
    let editor = ["VISUAL", "EDITOR"].into_iter().filter_map(std::env::var_os).find(|it| !it.is_empty());
    let editor = editor.unwrap_or_else(|| EDITOR.into());
    let ended = run(&editor, &path).with_context(|| format!("cannot run the editor {}", editor.display()))?;
    if !ended {
        bail!("the editor {} ended with an error; nothing was done", editor.display());
    }
    let mut bytes = fs::read(&path).with_context(|| cannot("read"))?;
    if bytes.ends_with(b"\n") {
        bytes.pop();
    }
    if cfg!(windows) && bytes.ends_with(b"\r") {
        bytes.pop();
    }
    Ok(Edited { bytes, folder, file })
}

/// Whether it ended well. It may have arguments of its own.
#[cfg(unix)]
fn run(editor: &OsString, file: &Path) -> io::Result<bool> {
    let mut line = editor.clone();
    line.push(" \"$1\"");
    let status = Command::new("sh").arg("-c").arg(line).arg("sh").arg(file).status()?;
    Ok(status.success())
}

/// The same.
#[cfg(not(unix))]
fn run(editor: &OsString, file: &Path) -> io::Result<bool> {
    Ok(Command::new(editor).arg(file).status()?.success())
}
