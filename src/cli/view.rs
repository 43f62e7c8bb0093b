//! What the listing commands share: where answers come from, and how things are shown.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;

use super::exit::FAILED;
use super::say::complain;
use crate::control;
use crate::engine::{self, Door, Refusal};
pub(super) use crate::listing::{Stop, any, json_items};
pub(super) use crate::model::amount::bytes;
use crate::model::configuration::{ConfigurationProblem, ConfigurationState};
use crate::model::halts::Pause;
use crate::model::os_text::is_shown_raw;
use crate::model::rule::Settings;
use crate::model::shown_json;
use crate::store::StoreError;

/// Who answers: the running service, or the store; none where no service has ever run.
pub(super) fn door(settings: &Settings) -> anyhow::Result<Option<Box<dyn Door>>> {
    match control::open(settings) {
        Ok(door) => Ok(Some(door)),
        Err(StoreError::NoStore { .. }) => Ok(None),
        // Its hint is told with it.
        Err(error) => Err(error).context("cannot look into the store"),
    }
}

pub(super) fn print(listing: impl FnOnce(&mut dyn Write) -> Result<(), Stop>) -> anyhow::Result<ExitCode> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    let ended = listing(&mut out).and_then(|()| Ok(out.flush()?));
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        // The reader has seen enough: `landfall jobs | head`.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        Err(Stop::Output(error)) => Err(error).context("cannot write to standard output"),
        Err(Stop::Refused(refusal)) => {
            out.flush().ok();
            Ok(refuse(&refusal))
        }
    }
}

/// One value, on lines of its own.
pub(super) fn json(out: &mut dyn Write, value: &impl Serialize) -> Result<(), Stop> {
    let json = shown_json::to_string_pretty(value)?;
    Ok(writeln!(out, "{json}")?)
}

/// Says on standard error why there is no answer.
pub(super) fn refuse(refusal: &Refusal) -> ExitCode {
    complain(&refusal.to_string(), refusal.hint().as_deref());
    ExitCode::from(FAILED)
}

/// In what the running service does not go by its configuration as it is now; one line for each thing, and none where it does.
pub(super) fn not_gone_by(state: &ConfigurationState, now: Timestamp) -> Vec<String> {
    let ConfigurationState {
        file: _,
        taken_at,
        problems,
        wrong_since,
        needs_restart,
        unsettled,
        last_change: _,
        hooks: _, // `status` tells, of this and the next
        trail_trouble: _,
    } = state;
    let mut told = Vec::new();
    if !problems.is_empty() {
        let since = wrong_since.map(|since| format!(" since {} ({} ago)", moment(since), age(since, now)));
        let (since, taken) = (since.unwrap_or_default(), moment(*taken_at));
        let wrong = where_wrong(problems);
        told.push(format!(
            "the configuration is wrong{since}, in {wrong}: the service goes by what it read at {taken}"
        ));
        told.extend(problems.iter().map(|problem| format!("  {}", problem.text.replace('\n', "\n  "))));
    }
    if let Some(file) = unsettled {
        told.push(format!(
            "{file} was changed a moment ago, or is still open for writing: it is not taken yet"
        ));
    }
    if !needs_restart.is_empty() {
        told.push(format!(
            "changed, and counts after a restart of the service: {}",
            needs_restart.join(", ")
        ));
    }
    told
}

/// The files in which something is wrong; what an environment variable says stands in none.
pub(super) fn where_wrong(problems: &[ConfigurationProblem]) -> String {
    const SHOWN_MAX: usize = 3;
    let name = |problem: &ConfigurationProblem| {
        problem.file.as_ref().map_or_else(|| "the environment".to_owned(), ToString::to_string)
    };
    let mut names: Vec<_> = problems.iter().map(name).collect();
    names.sort();
    names.dedup();
    let more = names.len().saturating_sub(SHOWN_MAX);
    names.truncate(SHOWN_MAX);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", names.join(", "))
}

/// The same of the service that answers; said only where that is known.
pub(super) fn service_not_gone_by(door: &dyn Door) -> Vec<String> {
    let state = door.configuration().ok().flatten();
    state.map(|state| not_gone_by(&state, crate::clock::now())).unwrap_or_default()
}

/// What is set of how fast rules may work; one line for each.
pub(super) fn paces_told(door: &dyn Door) -> Result<Vec<String>, Refusal> {
    Ok(door.paces()?.0.iter().map(ToString::to_string).collect())
}

/// What is paused, and what stopped; one line for each.
pub(super) fn halts_told(door: &dyn Door) -> Result<Vec<String>, Refusal> {
    let halts = door.halts()?;
    let pauses = halts.pauses.iter().map(Pause::told);
    let stops = halts.failed.keys().filter_map(|rule| halts.stop_of(rule));
    let sequences = halts.sequences.iter().map(|(id, stop)| stop.told(*id));
    Ok(pauses.chain(stops).chain(sequences).collect())
}

/// Refuses a rule's name that the configuration does not have, unless jobs tell that it had.
pub(super) fn know_rule(
    settings: &Settings,
    rule: &str,
    has_jobs: impl FnOnce() -> bool,
) -> anyhow::Result<()> {
    if settings.rules.iter().any(|known| known.name == rule) || has_jobs() {
        return Ok(());
    }
    Err(engine::unknown_rule(&settings.rules, rule).into())
}

/// How long ago, in one unit: `45s`, `12m`, `3h`, `9d`.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86400),
    }
}

/// A moment to the second, UTC.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Text from outside, safe to print: what is not seen, or turns text around, escaped, and not without end.
pub(super) fn printable(text: &[u8], bytes_max: usize) -> String {
    use std::fmt::Write as _;
    let shown = &text[..text.len().min(bytes_max)];
    let mut line = String::with_capacity(shown.len());
    for chunk in shown.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\t' => line.push(c),
                '\n' => line.push_str("\\n"),
                '\r' => line.push_str("\\r"),
                c if !is_shown_raw(c) => line.extend(c.escape_unicode()),
                c => line.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            write!(line, "\\x{byte:02x}").ok();
        }
    }
    if shown.len() < text.len() {
        line.push('…');
    }
    line
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a listing prints.
    pub(in crate::cli) fn printed(listing: impl FnOnce(&mut dyn Write) -> Result<(), Stop>) -> String {
        let mut out = Vec::new();
        listing(&mut out).expect("prints");
        String::from_utf8(out).expect("is text")
    }

    #[test]
    fn ages_and_sizes_have_one_unit() {
        let now = Timestamp::from_second(1_000_000).expect("a time");
        let ago = |seconds: i64| age(Timestamp::from_second(1_000_000 - seconds).expect("a time"), now);
        assert_eq!([ago(-5), ago(59), ago(60), ago(7200), ago(864_000)], ["0s", "59s", "1m", "2h", "10d"]);
        assert_eq!([bytes(9), bytes(10 << 10), bytes(3 << 40)], ["9 B", "10.0 KiB", "3.0 TiB"]);
    }

    #[test]
    fn what_comes_from_a_file_cannot_steer_the_terminal() {
        assert_eq!(printable(b"a\x1b[2J\xff\nb", 100), "a\\u{1b}[2J\\xff\\nb");
        assert_eq!(printable(b"abcdef", 3), "abc…");
    }
}
