//! A record in the editor of the user.
//!
//! It lies in a file of its own meanwhile, in a folder that is the user's alone, with a line end behind it, which editors want. An interrupt
//! from the terminal is for the editor: who ended here would leave it with a file that nobody reads. What was written stays until it is taken.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use anyhow::{Context as _, bail};

use super::private;

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
    let folder = private::folder("landfall-")?;
    let file = PathBuf::from("record.txt");
    let path = folder.path().join(&file);
    let cannot = |what: &str| format!("cannot {what} {}", path.display());
    let given = [bytes, b"\n"].concat();
    let made = private::new_file(&path).and_then(|mut made| made.write_all(&given));
    made.with_context(|| cannot("write"))?;
    let editor = ["VISUAL", "EDITOR"].into_iter().filter_map(std::env::var_os).find(|it| !it.is_empty());
    let editor = editor.unwrap_or_else(|| EDITOR.into());
    let ended = run(&editor, &path);
    let written = fs::read(&path);
    if !matches!(ended, Ok(true)) && written.as_ref().is_ok_and(|written| *written != given) {
        let kept = folder.keep().join(file);
        bail!(
            "the editor {} ended with an error; nothing was done, and what was written is kept in {}",
            editor.display(),
            kept.display()
        );
    }
    if !ended.with_context(|| format!("cannot run the editor {}", editor.display()))? {
        bail!("the editor {} ended with an error; nothing was done", editor.display());
    }
    let mut bytes = written.with_context(|| cannot("read"))?;
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
    use tokio::signal::unix::{SignalKind, signal};

    // The shell, too, lives on until the editor has ended, and ends as that did.
    let mut line = OsString::from("trap : INT QUIT HUP; ");
    line.push(editor);
    line.push(" \"$1\"");
    // Listened to until the editor has ended, and for nothing else: a listener keeps a signal from ending this process, and the editor, as
    // any child, has its own ways with it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    let _listeners = [SignalKind::interrupt(), SignalKind::quit(), SignalKind::hangup()].map(signal);
    await_end(&mut Command::new("sh").arg("-c").arg(line).arg("sh").arg(file).spawn()?)
}

/// The same.
#[cfg(not(unix))]
fn run(editor: &OsString, file: &Path) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _entered = runtime.enter();
    let _listener = tokio::signal::windows::ctrl_c();
    await_end(&mut Command::new(editor).arg(file).spawn()?)
}

fn await_end(editor: &mut Child) -> io::Result<bool> {
    Ok(editor.wait()?.success())
}
