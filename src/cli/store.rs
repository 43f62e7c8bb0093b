//! `landfall store copy`: the store to the brokers of a cluster, or back.

use std::process::ExitCode;

use clap::ValueEnum;

use super::say::say;
use crate::model::rule::Settings;
use crate::store::{MoveTo, Moved, move_store};

/// Moves the store.
#[derive(Debug, clap::Args)]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: StoreCommand,
}

#[derive(Debug, clap::Subcommand)]
enum StoreCommand {
    /// Copy jobs, ledger and failed records, compare both by counts and hashes, and mark the store that they came from
    #[command(
        after_help = "Stop the service on all nodes before. What was moved opens for nobody where it was; the same command with the other `--to` \
                            brings it back. After a crash say it again."
    )]
    Copy(CopyArgs),
}

#[derive(Debug, clap::Args)]
struct CopyArgs {
    /// Where to: the cluster of `service.cluster`, or sled in `service.data_dir`
    #[arg(long, value_enum)]
    to: To,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum To {
    Cluster,
    Sled,
}

pub(super) fn run(args: &StoreArgs, settings: &Settings) -> anyhow::Result<ExitCode> {
    let StoreCommand::Copy(CopyArgs { to }) = &args.command;
    let (to, next) = match to {
        To::Cluster => (MoveTo::Cluster, "next: `landfall run` on each node"),
        To::Sled => (
            MoveTo::DataFolder,
            "next: take `[service.cluster]` out of the configuration, then `landfall run`",
        ),
    };
    let Moved { rows, bytes, jobs, ledger, failed, hash } = move_store(&settings.service, to)?;
    say!(
        "moved {rows} rows, {bytes} bytes: {jobs} jobs, {ledger} rows of the ledger, {failed} groups of failed records"
    );
    say!("both hash to {hash}");
    say!("{next}");
    Ok(ExitCode::SUCCESS)
}
