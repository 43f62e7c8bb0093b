//! The service on Windows: registered with the service control manager, started, stopped and asked by it.
//!
//! ```text
//!  landfall service install ──> manager ──starts──> landfall service run   `entry`
//!                                  │                     │ the work of `landfall run`
//!                                  ├──Stop, ParamChange──> `controls` ──> `cli/asked.rs`: who waits for signals
//!                                  <──checkpoints, Running, Stopped── `supervisor::manager`
//! ```
//!
//! - The log is where the installer makes a folder for it, and its command line says: what keeps a service from reading its configuration
//!   is found there, and a service may have another environment than who installed it.
//! - Who registers and asks is `install` and `manage`; what needs no system is tested everywhere.

mod account;
mod command_line;
#[cfg(windows)]
mod controls;
#[cfg(windows)]
mod entry;
#[cfg(windows)]
mod install;
mod log_file;
#[cfg(windows)]
mod manage;
#[cfg(windows)]
mod registry;
mod trust;

#[cfg(windows)]
pub(super) use {
    account::Account,
    entry::{ServeArgs, serve, writes},
    install::install,
    manage::{start, status, stop, uninstall},
};

/// By which the system knows it.
#[cfg(windows)]
const NAME: &str = "landfall";

/// `%ProgramData%\Landfall`.
#[cfg(windows)]
fn home() -> std::path::PathBuf {
    crate::durable_fs::parent_of(&crate::config::system_place()).to_owned()
}

/// What the service logs, where nobody says another file.
#[cfg(windows)]
fn log() -> std::path::PathBuf {
    home().join("log").join("landfall.log")
}
