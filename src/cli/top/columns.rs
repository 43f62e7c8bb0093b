//! The columns of the list, and what stands in each.

use ratatui::text::Span;

use super::draw_text::printable;
use super::model::Model;
use crate::cli::view;
use crate::model::job_id::JobId;
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;

/// Characters of an id's end by which a command finds a job.
const SHORT_ID: usize = 6;
/// A bar of so many characters shows how far a job is.
const BAR: u64 = 10;

pub(super) struct Column {
    pub(super) title: &'static str,
    pub(super) width: u16,
    pub(super) is_right: bool,
    /// What stands in it, where it is so wide.
    pub(super) of: fn(&JobLine, &Model, usize) -> String,
}

/// Those that a screen of this width has: the last one takes what the others leave.
pub(super) fn columns(width: u16) -> Vec<Column> {
    let left = |title, width, of| Column { title, width, is_right: false, of };
    let right = |title, width, of| Column { title, width, is_right: true, of };
    let mut columns =
        vec![left("JOB", 6, job as fn(&JobLine, &Model, usize) -> String), left("STATE", 10, state)];
    if width >= 80 {
        columns.push(left("RULE", if width >= 120 { 20 } else { 10 }, rule));
        columns.push(right("PRI", 3, priority));
    }
    match width {
        120.. => columns.push(right("DONE", 15, bar)),
        _ => columns.push(right("DONE", 4, percent)),
    }
    if width >= 80 {
        columns.extend([right("RATE", 8, rate), right("LEFT", 4, time_left), right("WRK", 3, workers)]);
    }
    if width >= 120 {
        columns.extend([right("RECORDS", 11, records), right("AGE", 4, age)]);
    }
    let used: u16 = columns.iter().map(|column| column.width + 1).sum();
    let rest = width.saturating_sub(used);
    columns.push(left(
        "SOURCE, and what is in its way",
        rest,
        if width >= 120 { source_and_trouble } else { source },
    ));
    columns
}

/// The end of an id, as commands take it.
pub(super) fn short(id: JobId) -> String {
    let id = id.to_string();
    id[id.len() - SHORT_ID..].to_owned()
}

fn job(line: &JobLine, _: &Model, _: usize) -> String {
    short(line.id)
}

fn state(line: &JobLine, _: &Model, _: usize) -> String {
    line.state.to_string()
}

fn rule(line: &JobLine, _: &Model, width: usize) -> String {
    let rule = printable(&line.rule);
    if Span::raw(&rule).width() > width {
        format!("{}…", beginning(&rule, width.saturating_sub(1)))
    } else {
        rule
    }
}

fn priority(line: &JobLine, _: &Model, _: usize) -> String {
    line.priority.get().to_string()
}

/// Of one that is at work, how many hundredths of its file are worked.
fn hundredths(line: &JobLine) -> Option<u64> {
    let is_begun = line.state == JobState::Running || line.bytes_worked > 0 && !line.state.is_final();
    let worked = u128::from(line.bytes_worked) * 100 / u128::from(line.size.max(1));
    is_begun.then(|| u64::try_from(worked).unwrap_or(100).min(100))
}

fn percent(line: &JobLine, _: &Model, _: usize) -> String {
    hundredths(line).map_or_else(String::new, |hundredths| format!("{hundredths}%"))
}

fn bar(line: &JobLine, _: &Model, _: usize) -> String {
    hundredths(line).map_or_else(String::new, |hundredths| {
        let done = hundredths * BAR / 100;
        let (done, rest) = ("#".repeat(done as usize), ".".repeat((BAR - done) as usize));
        format!("{done}{rest} {hundredths:>3}%")
    })
}

fn rate(line: &JobLine, model: &Model, _: usize) -> String {
    let pace = model.paces.of(line);
    pace.map_or_else(String::new, |pace| format!("{}/s", short_count(pace.records_per_second)))
}

fn time_left(line: &JobLine, model: &Model, _: usize) -> String {
    let left = model.paces.of(line).and_then(|pace| pace.left);
    let seconds = left.and_then(|left| i64::try_from(left.as_secs()).ok());
    let end =
        seconds.and_then(|seconds| model.now.checked_add(jiff::SignedDuration::from_secs(seconds)).ok());
    end.map_or_else(String::new, |end| view::age(model.now, end))
}

fn workers(line: &JobLine, _: &Model, _: usize) -> String {
    if line.state == JobState::Running { line.workers.to_string() } else { String::new() }
}

fn records(line: &JobLine, _: &Model, _: usize) -> String {
    if line.records_in > 0 { line.records_in.to_string() } else { String::new() }
}

fn age(line: &JobLine, model: &Model, _: usize) -> String {
    view::age(line.created_at, model.now)
}

/// Its end says most.
fn source(line: &JobLine, _: &Model, width: usize) -> String {
    let path = line.source.to_string();
    if Span::raw(&path).width() <= width {
        path
    } else {
        format!("…{}", end(&path, width.saturating_sub(1)))
    }
}

fn source_and_trouble(line: &JobLine, model: &Model, width: usize) -> String {
    match line.trouble() {
        None => source(line, model, width),
        Some(trouble) => format!("{}  ({})", source(line, model, width / 2), printable(&trouble)),
    }
}

/// In a few characters, like `12.3k`.
fn short_count(count: f64) -> String {
    let units = [(1e9, "G"), (1e6, "M"), (1e3, "k")];
    match units.iter().find(|(unit, _)| count >= *unit) {
        Some((unit, word)) => format!("{:.1}{word}", count / unit),
        None => format!("{count:.0}"),
    }
}

/// What of a text's beginning is no wider than this.
fn beginning(text: &str, width: usize) -> String {
    taken(text.chars(), width)
}

/// The same of its end.
fn end(text: &str, width: usize) -> String {
    taken(text.chars().rev(), width).chars().rev().collect()
}

fn taken(chars: impl Iterator<Item = char>, width: usize) -> String {
    let mut left = width;
    let fits = |c: &char| {
        let wide = Span::raw(c.to_string()).width();
        let fits = wide <= left;
        left = left.saturating_sub(wide);
        fits
    };
    chars.take_while(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{line, now};
    use super::*;

    fn model() -> Model {
        Model::new(now(), false)
    }

    #[test]
    fn a_job_is_told_as_far_as_its_file_is_worked_and_only_while_it_is_not_done() {
        let of = |state, bytes_worked| {
            let line = JobLine { bytes_worked, ..line(1, state) };
            (percent(&line, &model(), 4), bar(&line, &model(), 15))
        };
        assert_eq!(of(JobState::Running, 0), ("0%".into(), "..........   0%".into()));
        assert_eq!(of(JobState::Paused, 455), ("45%".into(), "####......  45%".into()));
        assert_eq!(of(JobState::Running, 5000), ("100%".into(), "########## 100%".into()), "it grew");
        for state in [JobState::Queued, JobState::Completed] {
            let worked = if state == JobState::Queued { 0 } else { 1000 };
            assert_eq!(of(state, worked), (String::new(), String::new()));
        }
        let empty = JobLine { size: 0, ..line(1, JobState::Running) };
        assert_eq!(percent(&empty, &model(), 4), "0%");
    }

    #[test]
    fn a_path_that_is_too_long_is_told_by_its_end_however_wide_its_letters_are() {
        let of = |path: &str, width| {
            source(&JobLine { source: path.into(), ..line(1, JobState::Queued) }, &model(), width)
        };
        assert_eq!(of("/in/pay.csv", 20), "/in/pay.csv");
        assert_eq!(of("/in/pay.csv", 8), "…pay.csv");
        assert_eq!(of("/in/入金.csv", 9), "…入金.csv");
        assert_eq!(of("/in/入金.csv", 8), "…金.csv");
        assert_eq!(of("/in/pay.csv", 0), "…");
    }

    #[test]
    fn counts_are_told_in_a_few_characters() {
        let told = [0.0, 999.4, 12_345.0, 2_500_000.0, 3e9].map(short_count);
        assert_eq!(told, ["0", "999", "12.3k", "2.5M", "3.0G"]);
    }

    #[test]
    fn columns_fill_a_screen_and_a_narrow_one_has_fewer() {
        for width in [60, 80, 119, 120, 200] {
            let used: u16 = columns(width).iter().map(|column| column.width + 1).sum();
            assert_eq!(used, width + 1, "{width}");
        }
        let titles = |width| columns(width).iter().map(|column| column.title).collect::<Vec<_>>();
        assert_eq!(titles(40), ["JOB", "STATE", "DONE", "SOURCE, and what is in its way"]);
        assert!(titles(120).contains(&"RECORDS"));
    }
}
