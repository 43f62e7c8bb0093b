//! The command line: one file per command; everything that prints.
//!
//! Exit codes: 0 done; 1 a job failed or the thing asked for does not exist; 2 the command line or the configuration is wrong.

mod abandon;
mod adopt;
#[cfg(windows)]
mod asked;
mod audit;
mod check;
mod check_about;
mod check_at_rest;
mod check_cluster;
mod check_exec;
mod check_folders;
mod check_hooks;
mod check_keys;
mod check_leases;
mod check_rights;
#[cfg(unix)]
mod check_socket;
mod check_store;
mod check_warnings;
mod complete;
mod demo;
mod dry_run;
mod edit;
mod exit;
mod explain;
mod explain_lines;
mod explain_path;
mod find;
mod generate;
mod help;
mod ingest;
mod ingest_mode;
mod init;
mod jobs;
mod man;
mod output;
mod pause;
mod private;
mod records;
mod recover;
mod rekey;
mod reload;
mod rerun;
mod retry;
mod rules;
mod run;
mod running;
mod say;
mod selection;
mod service;
mod set;
mod shadow;
mod shadow_theirs;
mod show;
mod show_follow;
mod status;
mod store;
mod test;
mod test_diff;
mod top;
mod trace;
mod view;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};

use crate::allocator;
use crate::model::rule::Settings;
use crate::pipeline::Registry;
use crate::telemetry::logging::{self, LogFormat, Writes};
use exit::USAGE;
use explain::explain;

/// What scripts go by, and where to read on.
const AFTER_HELP: &str = "\
Exit codes: 0: done; 1: a job or a test failed, or what was asked for does not exist; 2: the command line or the configuration is wrong

Pages of the documentation: `landfall help topics` lists them, `landfall help TOPIC` prints one";

/// Watches folders and ingests each file that lands in them: exactly once, accounted for, on all cores.
#[derive(Parser)]
#[command(name = "landfall", version, after_help = AFTER_HELP, disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(clap::Args)]
#[command(next_help_heading = "Options of every command")]
struct Common {
    /// The configuration [default: landfall.toml here, else the system's]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What is logged to standard error: error, warn, info, debug, trace, or a filter [default: info for run, else warn]
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// How it is logged
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t = LogStyle::Text)]
    log_format: LogStyle,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogStyle {
    Text,
    Json,
}

#[derive(Subcommand)]
enum Command {
    /// Make a configuration and folders that run at once
    Init(init::InitArgs),
    /// Show it all in a temporary folder: a sample is dropped, ingested, and accounted for
    Demo(demo::DemoArgs),
    /// Check the configuration: every problem and warning at once, or "ok"
    Check(check::CheckArgs),
    /// Test the rules: samples against what should come out of them
    Test(test::TestArgs),
    /// Run the service in the foreground, until Ctrl-C or SIGTERM
    Run(run::RunArgs),
    /// Have the system run the service: install, uninstall, start, stop, status
    Service(service::ServiceArgs),
    /// Ingest these files now, and wait until they are done
    Ingest(ingest::IngestArgs),
    /// List the jobs, and the files that wait to become one
    Jobs(jobs::JobsArgs),
    /// Say how the service is, its disks, and what needs attention
    Status(status::StatusArgs),
    /// Watch the running service on the whole screen: jobs, how fast they go, what waits and why; pause, retry and more by key
    Top(top::TopArgs),
    /// List the rules that the service goes by: what waits for each, what it is at
    Rules(rules::RulesArgs),
    /// Say which rule takes a file, what keeps others from it, what it waits for, and which jobs it became
    Explain(explain_path::ExplainArgs),
    /// Have files that were dealt with before, by something else, never taken
    Adopt(adopt::AdoptArgs),
    /// Tell what a rule would publish that touches nothing, and how that compares with what the old system published
    Shadow(shadow::ShadowArgs),
    /// Show one job: timeline, account, outputs, errors with hints
    Show(show::ShowArgs),
    /// Show a job's failed records
    Records(records::RecordsArgs),
    /// Print what a job published, unpacked and decrypted
    Output(output::OutputArgs),
    /// Find which job a source became, or an output came from, also of jobs that are not listed any more
    Find(find::FindArgs),
    /// Read a record of a job again: what each step makes of it, and where it went
    Trace(trace::TraceArgs),
    /// List what the audit trail says of files and of operators, or verify that it is whole (`service.audit`)
    Audit(audit::AuditArgs),
    /// Have the store written anew by the key that encrypts now (`service.at_rest`)
    Rekey,
    /// Move the store to the brokers of `service.cluster`, or back into the data folder
    Store(store::StoreArgs),
    /// Take failed, refused or aborted jobs from their sources again, under the current rule
    Retry(retry::RetryArgs),
    /// Stop jobs, a rule, a sender or everything until they are resumed
    Pause(pause::PauseArgs),
    /// Let what was paused go on, or a rule that stopped after failures
    Resume(pause::PauseArgs),
    /// End jobs of which nothing is published; their sources go to quarantine
    Abort(pause::AbortArgs),
    /// End a job that waits for what never comes back, and say what of it is published
    Abandon(abandon::AbandonArgs),
    /// Take completed jobs again, from their archives, as new jobs
    Rerun(rerun::RerunArgs),
    /// Have jobs that wait or run go before others, or behind them
    Set(set::SetArgs),
    /// Have the running service read its configuration anew, and say what changed
    Reload(reload::ReloadArgs),
    /// List what lies in a claim folder without a store, and give it back
    Recover(recover::RecoverArgs),
    /// Print a script that completes command lines
    Completions(generate::CompletionsArgs),
    /// Print the manual page, or write one for each command
    Man(man::ManArgs),
    /// Print a page of the documentation, or the help of a command
    Help(help::HelpArgs),
}

/// The whole `landfall` program with the steps of this registry: parses the process's arguments, runs the command, says what went
/// wrong, and returns the exit code.
///
/// ```no_run
/// fn main() -> std::process::ExitCode {
///     let mut registry = landfall::Registry::with_builtin_steps();
///     // registry.register("mask", mask);
///     landfall::main(registry)
/// }
/// ```
pub fn main(registry: Registry) -> ExitCode {
    allocator::bound_arenas();
    crate::durable_fs::narrow_umask();
    complete::answer(Cli::command);
    let cli = parse();
    let level = cli.common.log_level.as_deref().unwrap_or(match &cli.command {
        Command::Run(_) => "info",
        Command::Service(args) if args.is_service() => "info",
        // What is logged of a job that is none, with paths of its own, would be taken for real.
        Command::Ingest(args) if args.dry_run => "off",
        // Of the second it would stand in the middle of the screen.
        Command::Test(_) | Command::Top(_) => "off",
        _ => "warn",
    });
    let format = match cli.common.log_format {
        LogStyle::Text => LogFormat::Text,
        LogStyle::Json => LogFormat::Json,
    };
    let writes = match &cli.command {
        Command::Run(_) => Writes::Thread,
        #[cfg(windows)]
        Command::Service(args) => args.writes(),
        _ => Writes::Itself,
    };
    if let Err(error) = logging::set_up(level, format, writes) {
        say::complain(&error.to_string(), None);
        return ExitCode::from(USAGE);
    }
    let config = cli.common.config.as_deref();
    let result = match cli.command {
        Command::Init(args) => init::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Check(args) => check::run(&args, config, &registry),
        Command::Test(args) => test::run(&args, config, &registry),
        Command::Run(args) => run::run(args, config, &registry),
        Command::Service(args) => service::run(&args, config, &registry),
        Command::Ingest(args) => ingest::run(&args, config, registry),
        Command::Jobs(args) => settings(config).and_then(|settings| jobs::run(&args, &settings)),
        Command::Rules(args) => settings(config).and_then(|settings| rules::run(&args, &settings)),
        Command::Explain(args) => settings(config).and_then(|settings| explain_path::run(&args, &settings)),
        Command::Adopt(args) => settings(config).and_then(|settings| adopt::run(&args, &settings)),
        Command::Shadow(args) => settings(config).and_then(|settings| shadow::run(&args, &settings)),
        Command::Show(args) if args.follow => {
            settings(config).and_then(|settings| show_follow::run(&args, &settings))
        }
        Command::Show(args) => settings(config).and_then(|settings| show::run(&args, &settings)),
        Command::Records(args) => settings(config).and_then(|settings| records::run(&args, &settings)),
        Command::Output(args) => settings(config).and_then(|settings| output::run(&args, &settings)),
        Command::Find(args) => settings(config).and_then(|settings| find::run(&args, &settings)),
        Command::Trace(args) => trace::run(&args, config, &registry),
        Command::Set(args) => settings(config).and_then(|settings| set::run(&args, &settings)),
        Command::Pause(args) => settings(config).and_then(|settings| pause::pause(&args, &settings)),
        Command::Resume(args) => settings(config).and_then(|settings| pause::resume(&args, &settings)),
        Command::Abort(args) => settings(config).and_then(|settings| pause::abort(&args, &settings)),
        Command::Abandon(args) => settings(config).and_then(|settings| abandon::run(&args, &settings)),
        Command::Rerun(args) => settings(config).and_then(|settings| rerun::run(&args, &settings)),
        Command::Audit(args) => settings(config).and_then(|settings| audit::run(&args, &settings)),
        Command::Rekey => settings(config).and_then(|settings| rekey::run(&settings)),
        Command::Store(args) => settings(config).and_then(|settings| store::run(&args, &settings)),
        Command::Reload(args) => reload::run(&args, config),
        Command::Status(args) => settings(config).and_then(|settings| status::run(&args, &settings)),
        Command::Top(args) => top::run(&args, config),
        Command::Completions(args) => generate::completions(&args),
        Command::Man(args) => man::man(&args, Cli::command()),
        Command::Help(args) => help::run(&args, commands()),
        Command::Recover(args) => recover::run(&args, config),
        Command::Retry(args) => settings(config).and_then(|settings| retry::run(&args, &settings)),
    };
    let code = say::end(result.unwrap_or_else(|error| explain(&error)));
    logging::write_last_lines();
    code
}

/// The arguments; usage and help name the program as it was called.
fn parse() -> Cli {
    Cli::from_arg_matches(&commands().get_matches()).unwrap_or_else(|error| error.exit())
}

fn commands() -> clap::Command {
    let program = std::env::args_os().next().map(PathBuf::from);
    let name = program.as_deref().and_then(Path::file_stem).map(|name| name.to_string_lossy().into_owned());
    Cli::command().bin_name(name.unwrap_or_else(|| "landfall".to_owned()))
}

/// What the running service goes by, for commands that only look or ask; where none runs, the configuration. The steps may be those of another
/// program.
fn settings(config: Option<&Path>) -> anyhow::Result<Settings> {
    if let Some(settings) = running::settings(config) {
        return Ok(settings);
    }
    let file = crate::config::find(config)?;
    Ok(running::read(&file)?.settings?)
}
