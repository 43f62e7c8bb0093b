//! What commands say while they work.
//!
//! A reader who has seen enough (`landfall check | head -1`) and a terminal that is gone end no work: what is said to them is lost, and the
//! exit code is about the work. Standard output that fails otherwise (a full disk) makes a command fail once it is done. The macros of
//! the standard library panic in all these cases.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use super::exit::FAILED;
use crate::telemetry::logging;

/// What standard output first failed with.
static FAILURE: OnceLock<io::Error> = OnceLock::new();

macro_rules! say {
    ($($text:tt)*) => { $crate::cli::say::line(format_args!($($text)*)) };
}

macro_rules! say_aside {
    ($($text:tt)*) => { $crate::cli::say::line_aside(format_args!($($text)*)) };
}

pub(super) use {say, say_aside};

/// Standard output that takes everything.
pub(super) struct Output;

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if FAILURE.get().is_none() {
            io::stdout().write_all(bytes).unwrap_or_else(note);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush().unwrap_or_else(note);
        Ok(())
    }
}

pub(super) fn line(text: fmt::Arguments<'_>) {
    writeln!(Output, "{text}").ok(); // it takes everything
}

pub(super) fn lines(text: &str) {
    Output.write_all(text.as_bytes()).ok(); // it takes everything
}

pub(super) fn line_aside(text: fmt::Arguments<'_>) {
    logging::say(&format!("{text}\n"));
}

/// Says on standard error what is wrong, and what to do: every command in the same words.
pub(super) fn complain(message: &str, hint: Option<&str>) {
    say_aside!("landfall: {message}");
    if let Some(hint) = hint {
        say_aside!("    hint: {hint}");
    }
}

/// A command's exit code, once all it said is written.
pub(super) fn end(code: ExitCode) -> ExitCode {
    Output.flush().ok(); // it takes everything
    match FAILURE.get() {
        Some(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("cannot write to standard output: {error}"), None);
            ExitCode::from(FAILED)
        }
        _ => code,
    }
}

fn note(error: io::Error) {
    FAILURE.set(error).ok(); // the first counts
}
