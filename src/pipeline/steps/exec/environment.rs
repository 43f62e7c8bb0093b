//! What a program that we start has of the service's environment: what programs need to run at all, and no more. What the service was given
//! for itself, such as tokens, is not among it.

use std::process::Command;

#[cfg(unix)]
const KEPT: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];
#[cfg(not(unix))]
const KEPT: &[&str] = &[
    "PATH",
    "PATHEXT",
    "SystemRoot",
    "SystemDrive",
    "ComSpec",
    "TEMP",
    "TMP",
    "USERPROFILE",
    "APPDATA",
    "ProgramData",
];
/// Where programs make temporary files.
#[cfg(unix)]
pub(super) const TEMPORARY: &[&str] = &["TMPDIR"];
#[cfg(not(unix))]
pub(super) const TEMPORARY: &[&str] = &["TEMP", "TMP"];

/// The program gets these variables of the service's environment, and those that are given to it beside.
pub(crate) fn clear(command: &mut Command) {
    command.env_clear();
    command.envs(KEPT.iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
}
