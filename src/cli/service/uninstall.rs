//! `landfall service uninstall`: what `install` wrote for systemd goes; what holds data stays, and is named.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;

use super::systemd::{DROP_IN, UNIT, UNITS, Unit, call, refusal, unit_of_package};
use super::unit::{MARK, STATE_FOLDER};
use crate::cli::exit::FAILED;
use crate::cli::say::{complain, say};
use crate::durable_fs;

pub(super) fn uninstall() -> anyhow::Result<ExitCode> {
    if let Some(refused) = refusal(true, "uninstall") {
        return Ok(refused);
    }
    let unit = Unit::now()?;
    if !unit.is_known() {
        complain("no service is installed", None);
        return Ok(ExitCode::from(FAILED));
    }
    call("systemctl", &["disable", "--now", UNIT])?;
    say!("stopped, and it starts with the machine no more");
    let file = Path::new(UNITS).join(UNIT);
    let removed = remove_ours(&file)?;
    let drop_in = Path::new(DROP_IN);
    remove_ours(drop_in)?;
    // Others' drop-ins stay.
    fs::remove_dir(durable_fs::parent_of(drop_in)).ok();
    call("systemctl", &["daemon-reload"])?;
    if removed {
        say!("removed {}", file.display());
    } else {
        say!("left {}, which this command did not write", unit.get("FragmentPath"));
    }
    if let Some(packaged) = unit_of_package().filter(|_| removed) {
        say!("the package's {} counts again: `landfall service install` has it started", packaged.display());
    }
    say!(
        "left as they are: the configuration, the user, the data folder ({STATE_FOLDER} unless `data_dir` is another), and the"
    );
    say!(
        "`.landfall` of each watched folder: files that were claimed and are not done lie there, and go on where a service is"
    );
    say!("started again");
    Ok(ExitCode::SUCCESS)
}

/// Removes a file that `install` wrote. Whether it was there.
pub(super) fn remove_ours(file: &Path) -> anyhow::Result<bool> {
    match fs::read_to_string(file) {
        Ok(text) if text.starts_with(MARK) => {}
        Ok(_) => return Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
    durable_fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_else_wrote_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let [ours, theirs] = ["ours", "theirs"].map(|name| folder.path().join(name));
        fs::write(&ours, format!("{MARK}\n[Service]\n")).expect("writes");
        fs::write(&theirs, "[Service]\n").expect("writes");
        assert!(remove_ours(&ours).expect("removes") && !remove_ours(&ours).expect("is gone"));
        assert!(!remove_ours(&theirs).expect("leaves it") && theirs.is_file());
    }
}
