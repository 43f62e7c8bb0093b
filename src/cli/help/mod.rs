//! `landfall help`: what a command takes, or a page of the documentation.
//!
//! A name is looked up among the commands first; no page has a command's name. Other words are looked for in the pages. Pages lie in this program: they are those of the version that runs.

mod page;
mod search;
mod table;
mod topics;
mod wrap;

use std::io::ErrorKind;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Command;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::exit::USAGE;
use super::say::complain;
use super::view;
use crate::model::nearest::nearest;
use topics::Topic;

/// What asks for the list.
const LIST: &str = "topics";

/// The arguments of `landfall help`.
#[derive(clap::Args)]
#[command(
    after_help = "`landfall help topics` lists the pages. `landfall help COMMAND` is the same as `landfall COMMAND --help`. Of other words the \
                  pages are listed that tell of them: `landfall help bad lines`."
)]
pub(super) struct HelpArgs {
    /// A page, a command (`records retry`), `topics`, or words to look for; without it all commands and pages are listed
    #[arg(value_name = "TOPIC", add = candidates())]
    words: Vec<String>,
}

fn candidates() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let command = super::commands();
        let commands = command.get_subcommands().map(|command| {
            let about = command.get_about().cloned();
            CompletionCandidate::new(command.get_name()).help(about)
        });
        let pages =
            topics::all().map(|topic| CompletionCandidate::new(topic.name).help(Some(topic.title().into())));
        commands.chain(pages).chain([CompletionCandidate::new(LIST)]).collect()
    })
}

pub(super) fn run(args: &HelpArgs, mut commands: Command) -> anyhow::Result<ExitCode> {
    commands.build();
    match args.words.as_slice() {
        [] => {
            print_help(commands, &[])?;
            view::print(|out| Ok(writeln!(out, "\n{}", topics::listed().trim_end())?))
        }
        [word] if word == LIST => view::print(|out| Ok(out.write_all(topics::listed().as_bytes())?)),
        words if is_command(&commands, words) => print_help(commands, words),
        words => match words.first().filter(|_| words.len() == 1).and_then(|word| Topic::named(word)) {
            Some(topic) => view::print(|out| Ok(out.write_all(topic.printed().as_bytes())?)),
            None => search_for(words, &commands),
        },
    }
}

/// Whether each word is a command below that of the word before it.
fn is_command(commands: &Command, words: &[String]) -> bool {
    words.iter().try_fold(commands, |command, word| command.find_subcommand(word)).is_some()
}

/// What the command prints with `--help`.
fn print_help(commands: Command, words: &[String]) -> anyhow::Result<ExitCode> {
    let name = commands.get_bin_name().unwrap_or("landfall").to_owned();
    let typed = [name].into_iter().chain(words.iter().cloned()).chain(["--help".to_owned()]);
    // Whoever asks for help is answered by an error that is none.
    let Err(help) = commands.try_get_matches_from(typed) else { return Ok(ExitCode::SUCCESS) };
    match help.print() {
        // The reader has seen enough: `landfall help | head`.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn search_for(words: &[String], commands: &Command) -> anyhow::Result<ExitCode> {
    let found = search::search(words, topics::all());
    if found.is_empty() {
        return Ok(unknown(&words.join(" "), commands));
    }
    view::print(|out| {
        writeln!(out, "No page has that name; these tell of it (`landfall help TOPIC` prints one):\n")?;
        for page in found {
            let title = page.topic.title();
            match page.heading.as_str() {
                heading if heading == title => writeln!(out, "  {:<18} {title}", page.topic.name)?,
                heading => writeln!(out, "  {:<18} {title}: {heading}", page.topic.name)?,
            }
        }
        Ok(())
    })
}

fn unknown(word: &str, commands: &Command) -> ExitCode {
    let names = commands.get_subcommands().map(Command::get_name);
    let known = names.chain(topics::all().map(|topic| topic.name));
    let hint = match nearest(word, known) {
        Some(name) => format!("did you mean `landfall help {name}`? `landfall help topics` lists all pages"),
        None => "`landfall help topics` lists all pages, `landfall help` the commands too".to_owned(),
    };
    complain(&format!("there is no command and no page `{}`", word.escape_debug()), Some(&hint));
    ExitCode::from(USAGE)
}
