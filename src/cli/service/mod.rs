//! `landfall service`: has the system start the service and keep it running.
//!
//! `unit` makes the texts; who does it with them is the system's own file.

#[cfg(not(any(target_os = "linux", windows)))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod install;
#[cfg(target_os = "linux")]
mod systemd;
#[cfg(target_os = "linux")]
mod uninstall;
#[cfg(target_os = "linux")]
mod unit;
#[cfg(any(windows, test))]
#[cfg_attr(not(windows), allow(dead_code, reason = "some of it is tested everywhere"))]
mod windows;

use std::path::Path;
use std::process::ExitCode;

#[cfg(not(any(target_os = "linux", windows)))]
use elsewhere::{install, start, status, stop, uninstall};
#[cfg(target_os = "linux")]
use install::install;
#[cfg(target_os = "linux")]
use systemd::{start, status, stop};
#[cfg(target_os = "linux")]
use uninstall::uninstall;
#[cfg(windows)]
use windows::{install, start, status, stop, uninstall};

use crate::pipeline::Registry;
#[cfg(windows)]
use crate::telemetry::logging::Writes;

/// Has the system run Landfall as a service.
#[derive(clap::Args)]
#[command(
    after_help = "Under systemd: `install` needs root. It runs again after each change of folders in the configuration, and after an upgrade; \
                  what you change belongs into a drop-in (`systemctl edit landfall`), which it leaves alone.\n\n\
                  On Windows: all but `status` need a terminal of an administrator. The log is %ProgramData%\\Landfall\\log\\landfall.log; \
                  warnings and errors stand in the Event Log too."
)]
pub(super) struct ServiceArgs {
    #[command(subcommand)]
    command: ServiceCommand,
}

#[derive(clap::Subcommand)]
enum ServiceCommand {
    /// Make the service known to the system, with this binary and configuration, so that it starts with the machine
    Install(InstallArgs),
    /// Stop it, and have the system forget it; the configuration and all data stay
    Uninstall,
    /// Start it, and wait until it is ready
    Start,
    /// Stop it: what is in hand is finished or goes on at the next start
    Stop,
    /// Say whether it runs, and what it is at; exit code 1 if it does not
    Status,
    /// What the service control manager starts
    #[cfg(windows)]
    #[command(hide = true)]
    Run(windows::ServeArgs),
}

impl ServiceArgs {
    /// Whether it is the service itself.
    pub(super) fn is_service(&self) -> bool {
        match self.command {
            #[cfg(windows)]
            ServiceCommand::Run(_) => true,
            _ => false,
        }
    }

    /// Who writes its log.
    #[cfg(windows)]
    pub(super) fn writes(&self) -> Writes {
        match &self.command {
            ServiceCommand::Run(args) => windows::writes(args),
            _ => Writes::Itself,
        }
    }
}

/// The arguments of `landfall service install`.
#[derive(clap::Args)]
struct InstallArgs {
    /// The user that it runs as; made if there is none of this name
    #[cfg(not(windows))]
    #[arg(long, value_name = "NAME", default_value = "landfall")]
    user: String,
    /// The account that it runs as [default: LocalSystem, or the one that it has]
    #[cfg(windows)]
    #[arg(long, value_name = "NAME")]
    user: Option<windows::Account>,
    /// It waits while another service has the data folder, and takes over: `landfall run --standby`
    #[arg(long)]
    standby: bool,
    /// Change nothing: print what would be written
    #[arg(long)]
    print: bool,
}

pub(super) fn run(
    args: &ServiceArgs,
    config: Option<&Path>,
    registry: &Registry,
) -> anyhow::Result<ExitCode> {
    match &args.command {
        ServiceCommand::Install(args) => install(args, config, registry),
        ServiceCommand::Uninstall => uninstall(),
        ServiceCommand::Start => start(),
        ServiceCommand::Stop => stop(),
        ServiceCommand::Status => status(),
        #[cfg(windows)]
        ServiceCommand::Run(args) => windows::serve(args, config, registry.clone()),
    }
}
