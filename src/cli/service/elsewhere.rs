//! Where there is no service manager that this program knows.

use std::path::Path;
use std::process::ExitCode;

use super::InstallArgs;
use crate::cli::exit::USAGE;
use crate::cli::say::complain;
use crate::pipeline::Registry;

fn refuse() -> anyhow::Result<ExitCode> {
    complain(
        "`landfall service` knows systemd on Linux alone so far",
        Some("have `landfall run` started by what starts services here"),
    );
    Ok(ExitCode::from(USAGE))
}

pub(super) fn install(
    InstallArgs { user: _, standby: _, print: _ }: &InstallArgs,
    _: Option<&Path>,
    _: &Registry,
) -> anyhow::Result<ExitCode> {
    refuse()
}

pub(super) fn uninstall() -> anyhow::Result<ExitCode> {
    refuse()
}

pub(super) fn start() -> anyhow::Result<ExitCode> {
    refuse()
}

pub(super) fn stop() -> anyhow::Result<ExitCode> {
    refuse()
}

pub(super) fn status() -> anyhow::Result<ExitCode> {
    refuse()
}
