//! `landfall completions` and `landfall man`: made of the command line itself.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Command;
use clap_complete::Shell;

use super::view;
use crate::model::os_text::escaped_path;

/// The arguments of `landfall completions`.
#[derive(clap::Args)]
#[command(
    after_help = "bash: landfall completions bash > ~/.local/share/bash-completion/completions/landfall\n\
                  zsh: landfall completions zsh > DIR/_landfall, with DIR in $fpath\n\
                  fish: landfall completions fish > ~/.config/fish/completions/landfall.fish"
)]
pub(super) struct CompletionsArgs {
    /// For which shell
    #[arg(value_name = "SHELL", value_enum)]
    shell: Shell,
}

/// The arguments of `landfall man`.
#[derive(clap::Args)]
pub(super) struct ManArgs {
    /// Write a page for each command into this folder; else the page of the program is printed
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "landfall", &mut script);
    view::print(|out| Ok(out.write_all(&script)?))
}

pub(super) fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    if let Some(folder) = &args.dir {
        return write(folder, command);
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page)?;
    view::print(|out| Ok(out.write_all(&page)?))
}

fn write(folder: &Path, command: Command) -> anyhow::Result<ExitCode> {
    let failed = || format!("cannot write pages into {}", escaped_path(folder));
    std::fs::create_dir_all(folder).with_context(failed)?;
    clap_mangen::generate_to(command, folder).with_context(failed)?;
    Ok(ExitCode::SUCCESS)
}
