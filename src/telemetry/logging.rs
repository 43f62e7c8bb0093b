//! Setting up the log: text for people, JSON for machines, on standard error. Of what runs on and on, a thread writes it ([`LogWriter`]).
//!
//! A field's value that has blanks, quotes or equal signs stands in quotes: whoever chose a file's name cannot make one field look like two.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;
use std::time::Duration;

use tracing::field::Field;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

#[cfg(windows)]
use super::event_log::Hears;
use super::log_writer::LogWriter;
use crate::model::nearest::nearest;

/// Of a process whose log a thread writes.
static WRITER: OnceLock<LogWriter> = OnceLock::new();
/// How long the end of a process waits for whoever reads its log.
const LAST_LINES_TAKE: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Who writes the log.
pub(crate) enum Writes {
    /// Whoever logs.
    Itself,
    /// A thread: nobody waits for a reader who stands still.
    Thread,
    /// A thread, to this, as a service of Windows, which has no standard error; warnings and errors go to the system's log of events too.
    #[cfg(windows)]
    Service(Box<dyn io::Write + Send>),
}

/// The level is no `tracing` filter.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadLevel {
    /// A word that is no level; taken for a filter it would turn the log off.
    #[error("`{word}` is no log level: write one of {}, or a filter such as landfall=debug{}", LEVELS.join(", "), meant(word))]
    Unknown { word: String },
    #[error("`{filter}` is no log filter: {source}")]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
}

const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
/// What other programs call them.
const OTHER_NAMES: [(&str, &str); 5] =
    [("verbose", "debug"), ("warning", "warn"), ("fatal", "error"), ("quiet", "error"), ("none", "off")];

fn meant(word: &str) -> String {
    let word = word.to_lowercase();
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == word).map(|(_, level)| *level);
    let level = other.or_else(|| nearest(&word, LEVELS));
    level.map_or_else(String::new, |level| format!(" (did you mean `{level}`?)"))
}

/// The words of the brokers' client say nothing that ours do not.
const OF_LIBRARIES: &str = "async_nats=off";

/// A word by itself is a level: as a filter it would be the name of a module, and silence all others.
fn filter_of(text: &str) -> Result<EnvFilter, BadLevel> {
    let is_level = |word: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
    let is_filter = |part: &str| part.contains(['=', '[', ']', '{', '}']);
    let unknown = text.split(',').map(str::trim).find(|part| !is_level(part) && !is_filter(part));
    if let Some(word) = unknown {
        return Err(BadLevel::Unknown { word: word.to_owned() });
    }
    let whole = if text.contains("async_nats") { text.to_owned() } else { format!("{OF_LIBRARIES},{text}") };
    EnvFilter::try_new(whole).map_err(|source| BadLevel::Filter { filter: text.to_owned(), source })
}

/// Sends every event of at least `level` (`info`, or a filter such as `landfall=debug`) to standard error, or where `writes` says.
///
/// A second call changes nothing: the first set-up of a process stays.
pub(crate) fn set_up(level: &str, format: LogFormat, writes: Writes) -> Result<(), BadLevel> {
    let filter = filter_of(level)?;
    #[cfg(windows)]
    let events = matches!(writes, Writes::Service(_)).then_some(Hears(&super::event_log::SYSTEM));
    #[cfg(not(windows))]
    let events = None::<tracing_subscriber::layer::Identity>;
    start_writing(writes);
    let to = match WRITER.get() {
        Some(thread) => BoxMakeWriter::new(|| thread.clone()),
        None => BoxMakeWriter::new(io::stderr),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(to)
        // An event that cannot be written would be told on standard error too, which panics where that is closed.
        .log_internal_errors(false);
    let set = match format {
        LogFormat::Text => {
            let builder = builder.fmt_fields(debug_fn(write_field).delimited(" "));
            builder.with_target(false).with_ansi(io::stderr().is_terminal()).finish().with(events).try_init()
        }
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).finish().with(events).try_init()
        }
    };
    drop(set); // an embedding program may have set up its own
    Ok(())
}

/// Without a thread each line is written by whoever logs it.
#[cfg_attr(not(windows), expect(clippy::needless_pass_by_value, reason = "under Windows it has the file"))]
fn start_writing(writes: Writes) {
    let sink: Box<dyn io::Write + Send> = match writes {
        _ if WRITER.get().is_some() => return,
        Writes::Itself => return,
        Writes::Thread => Box::new(io::stderr()),
        #[cfg(windows)]
        Writes::Service(file) => file,
    };
    LogWriter::start(sink, tell_dropped).ok().map(|writer| WRITER.set(writer));
}

/// Something for people on standard error, behind what was logged before it.
pub(crate) fn say(text: &str) {
    match WRITER.get() {
        Some(writer) => writer.put(text.as_bytes()),
        None => io::Write::write_all(&mut io::stderr(), text.as_bytes()).unwrap_or(()), // there is nobody left to tell
    }
}

/// Before the process ends: has the last lines written, if somebody reads.
pub(crate) fn write_last_lines() {
    if let Some(writer) = WRITER.get() {
        writer.flush(LAST_LINES_TAKE);
    }
}

fn tell_dropped(lines: u64) {
    tracing::warn!(lines, "nobody read the log for a while: lines of it are lost; no work is");
}

fn write_field(to: &mut Writer<'_>, field: &Field, value: &dyn fmt::Debug) -> fmt::Result {
    if field.name() == "message" {
        return write!(to, "{value:?}");
    }
    let name = field.name().trim_start_matches("r#");
    if to.has_ansi_escapes() {
        write!(to, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m")?;
    } else {
        write!(to, "{name}=")?;
    }
    to.write_str(&field_text(format!("{value:?}")))
}

/// A value, in quotes where it could be taken for more than one. A text has them already.
fn field_text(text: String) -> String {
    let is_one_word = !text.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '"' | '='));
    if is_one_word || is_quoted(&text) { text } else { format!("{text:?}") }
}

/// Whether these are quotes around a text whose own quotes are escaped.
fn is_quoted(text: &str) -> bool {
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let mut is_escaped = false;
    let mut is_inside = |c: char| {
        let closes = c == '"' && !is_escaped;
        is_escaped = c == '\\' && !is_escaped;
        !closes && !c.is_control()
    };
    let stays_open = inner.is_some_and(|inner| inner.chars().all(&mut is_inside));
    stays_open && !is_escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_one_field_whatever_is_in_it() {
        let cases = [
            ("/srv/in/pay.csv", "/srv/in/pay.csv"),
            (r#""a text""#, r#""a text""#),
            ("/in/a rule=b", r#""/in/a rule=b""#),
            ("/in/a=b", r#""/in/a=b""#),
            (r#""a" rule="b""#, r#""\"a\" rule=\"b\"""#),
            (r#""a\""#, r#""\"a\\\"""#),
            ("a\nb", r#""a\nb""#),
        ];
        for (value, written) in cases {
            assert_eq!(field_text(value.to_owned()), written);
        }
    }

    #[test]
    fn levels_and_filters_are_taken() {
        for text in
            ["error", "WARN", "info", "debug", "trace", "off", "landfall=debug", "info,landfall::watch=trace"]
        {
            filter_of(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[test]
    fn a_word_that_would_turn_the_log_off_is_refused_with_the_level_that_is_meant() {
        let told = |text: &str| filter_of(text).expect_err(text).to_string();
        for (word, level) in [("verbose", "debug"), ("wran", "warn"), ("Warning", "warn"), ("debg", "debug")]
        {
            let told = told(word);
            assert!(told.contains("error, warn, info, debug, trace, off"), "{told}");
            assert!(told.ends_with(&format!("(did you mean `{level}`?)")), "{told}");
        }
        assert!(!told("landfall").contains("did you mean"));
        assert!(told("info,verbose").starts_with("`verbose`"));
        assert!(told("").starts_with("`` is no log level"));
        assert!(told("landfall=verbose").contains("no log filter"));
    }
}
