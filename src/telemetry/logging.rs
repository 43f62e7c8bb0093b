//! Setting up the log: text for people, JSON for machines, on standard error.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

/// `--log-format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line an event, for people.
    #[default]
    Text,
    /// One JSON object an event.
    Json,
}

/// The level is no `tracing` filter.
#[derive(Debug, thiserror::Error)]
#[error("`{level}` is no log level: {source}")]
pub struct BadLevel {
    level: String,
    source: tracing_subscriber::filter::ParseError,
}

/// Sends every event of at least `level` (`info`, or a filter such as `landfall=debug`) to standard error.
///
/// A second call changes nothing: the first set-up of a process stays.
pub fn set_up(level: &str, format: LogFormat) -> Result<(), BadLevel> {
    let filter = EnvFilter::try_new(level).map_err(|source| BadLevel { level: level.to_owned(), source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match format {
        LogFormat::Text => builder.with_target(false).with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
    };
    drop(set); // an embedding program may have set up its own
    Ok(())
}
