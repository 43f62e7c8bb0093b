//! `landfall man`: pages made of the command line itself, with what stands in no `--help`: exit codes, files, the environment, examples.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Command;
use clap::builder::Resettable;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::view;
use crate::config;
use crate::model::os_text::escaped_path;

/// The arguments of `landfall man`.
#[derive(clap::Args)]
pub(super) struct ManArgs {
    /// Write a page for each command into this folder; else the page of the program is printed
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

type Items<'a> = &'a [(&'a str, &'a str)];

const EXIT_STATUS: Items<'_> = &[
    ("0", "Done. Of status: nothing needs attention."),
    ("1", "A job or a test failed, something needs attention, or what was asked for does not exist."),
    ("2", "The command line or the configuration is wrong."),
];

const FILES: Items<'_> = &[
    (
        "DATA_DIR/store/",
        "What is known of jobs, sources and failed records. DATA_DIR is service.data_dir of the configuration. Nothing in it is edited by hand.",
    ),
    ("DATA_DIR/control.json", "Where the running service answers commands, for its user alone."),
    (
        "DATA_DIR/api.token, DATA_DIR/metrics.token, DATA_DIR/api.sock",
        "Who may ask over HTTP, if service.listen says so.",
    ),
    (
        ".landfall/",
        "In each watched folder: claimed files, which go to the archive when they are done. Those of failed jobs lie in .landfall/quarantine, each with its reason in NAME.error.json.",
    ),
    (
        ".landfall-JOB-N.partial",
        "In an output folder: an output before it is published. It is not to be removed.",
    ),
];

const ENVIRONMENT: Items<'_> = &[
    (
        "LANDFALL_SERVICE__KEY, LANDFALL_DEFAULTS__KEY",
        "A key of [service] or of [defaults], before the configuration's own: LANDFALL_SERVICE__DATA_DIR is service.data_dir.",
    ),
    ("VISUAL, EDITOR", "What records JOB edit opens."),
    ("NO_COLOR", "If it is set and not empty, top has no colours."),
    (
        "SSL_CERT_FILE",
        "Certificates by which hooks and collectors of traces are judged, in place of the system's.",
    ),
];

const EXAMPLES: Items<'_> = &[
    ("landfall demo", "Shows all of it in a temporary folder."),
    (
        "landfall init && landfall check && landfall run",
        "Makes a configuration, checks it, and runs it in the foreground.",
    ),
    (
        "landfall status",
        "Says how the service is, and what needs attention: for people, and for monitors by its exit code.",
    ),
    ("landfall jobs --state failed", "Lists the jobs that failed."),
    (
        "landfall show JOB",
        "Says what became of one: its history, its account, its outputs, and why it waits or failed.",
    ),
    ("landfall retry JOB", "Takes a failed one again, under the rule as it is now."),
    ("landfall explain FILE", "Says why a file is not taken."),
    ("landfall records JOB retry --all", "Takes the records of a job again that failed."),
];

pub(super) fn man(args: &ManArgs, command: Command) -> anyhow::Result<ExitCode> {
    // It has a section of its own.
    let command = command.after_help(Resettable::Reset).disable_help_subcommand(true);
    if let Some(folder) = &args.dir {
        let failed = || format!("cannot write pages into {}", escaped_path(folder));
        std::fs::create_dir_all(folder).with_context(failed)?;
        let mut command = command;
        command.build();
        write(folder, &command, true).with_context(failed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let page = page(&command, true)?;
    view::print(|out| Ok(out.write_all(&page)?))
}

/// A page for this command, and one for each below it.
fn write(folder: &Path, command: &Command, is_program: bool) -> io::Result<()> {
    let file = folder.join(Man::new(command.clone()).get_filename());
    std::fs::write(file, page(command, is_program)?)?;
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .try_for_each(|below| write(folder, below, false))
}

fn page(command: &Command, is_program: bool) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    let mut more = Roff::new();
    add(&mut more, "EXIT STATUS", EXIT_STATUS);
    if is_program {
        add(&mut more, "FILES", FILES);
        let places: Vec<_> = config::places().iter().map(|place| escaped_path(place)).collect();
        let about = "The configuration, where --config names no other: the first of these that is there.";
        item(&mut more, &places.join(", "), about);
        add(&mut more, "ENVIRONMENT", ENVIRONMENT);
        add(&mut more, "EXAMPLES", EXAMPLES);
    } else {
        more.control("SH", ["SEE ALSO"]).text([bold("landfall"), roman("(1)")]);
    }
    more.to_writer(&mut page)?;
    Ok(page)
}

fn add(to: &mut Roff, title: &str, items: Items<'_>) {
    to.control("SH", [title]);
    for (name, about) in items {
        item(to, name, about);
    }
}

fn item(to: &mut Roff, name: &str, about: &str) {
    to.control("TP", []).text([bold(name)]).text([roman(about)]);
}
