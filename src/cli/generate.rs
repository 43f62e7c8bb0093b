//! `landfall completions`: the script by which a shell asks this program.

use std::process::ExitCode;

use anyhow::Context as _;
use clap_complete::Shell;
use clap_complete::env::Shells;

use super::{complete, view};

/// The arguments of `landfall completions`.
#[derive(clap::Args)]
#[command(
    after_help = "bash: landfall completions bash > ~/.local/share/bash-completion/completions/landfall\n\
                  zsh: landfall completions zsh > DIR/_landfall, with DIR in $fpath\n\
                  fish: landfall completions fish > ~/.config/fish/completions/landfall.fish\n\
                  The script asks `landfall`, as PATH has it, at each key: so it completes names of rules, and ids of jobs while a service runs."
)]
pub(super) struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let shell = args.shell.to_string();
    let completer = Shells::builtins();
    let completer = completer.completer(&shell).with_context(|| format!("{shell} cannot be completed"))?;
    let mut script = Vec::new();
    completer.write_registration(complete::VARIABLE, "landfall", "landfall", "landfall", &mut script)?;
    view::print(|out| Ok(out.write_all(&script)?))
}
