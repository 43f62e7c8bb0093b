//! Draws a [`Model`]: from what is known to what is in each cell, and nothing else.
//!
//! ```text
//! title: jobs by state, the time
//! files that wait, disks, pauses
//! what needs attention, or that the service is lost
//! the head of the list                                  or of a page that is open
//! …                                                     or its text
//! which rows these are, of how many
//! the selected job: its id, its source
//! why it waits, or why it failed
//! keys; what became of the last deed; what is asked
//! ```
//!
//! A screen with few lines leaves out what is around the list. What comes from outside is escaped before it comes into a cell.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Span;

use super::columns::{self, Column};
use super::draw_text::printable;
use super::model::{Asks, Link, Model, Open, Page};
use crate::cli::view;
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;

/// Lines of a screen that has room for all of it.
const HEIGHT_MIN: u16 = 14;
/// Above the list and below it.
const AROUND: u16 = 8;
/// The same where there is little room: title, head and keys.
const AROUND_MIN: u16 = 3;

/// How many rows of the list, or lines of a page, a screen of this height has.
pub(super) fn rows_of(height: u16) -> usize {
    let around = if height < HEIGHT_MIN { AROUND_MIN } else { AROUND };
    usize::from(height.saturating_sub(around))
}

/// See the module.
pub(super) fn draw(model: &Model, buffer: &mut Buffer) {
    let area = *buffer.area();
    let mut pen = Pen { buffer, area, style: Styles { is_coloured: model.is_coloured } };
    let is_low = area.height < HEIGHT_MIN;
    pen.title(model);
    let mut y = 1;
    if !is_low {
        pen.line(1, &beside(model), Style::new());
        pen.attention(2, model);
        y = 3;
    }
    let rows = u16::try_from(rows_of(area.height)).unwrap_or(u16::MAX);
    match &model.open {
        Some(open) => pen.page(y, rows, open, model),
        None => pen.list(y, rows, model),
    }
    if !is_low {
        pen.selected(y + 1 + rows, model);
    }
    pen.last_line(area.height.saturating_sub(1), model);
}

/// The styles of things; without colours what matters is told by bold and reversed letters.
#[derive(Clone, Copy)]
struct Styles {
    is_coloured: bool,
}

impl Styles {
    fn coloured(self, colour: Color) -> Style {
        if self.is_coloured { Style::new().fg(colour) } else { Style::new() }
    }

    fn bad(self) -> Style {
        self.coloured(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn of(self, line: &JobLine) -> Style {
        match line.state {
            JobState::Running => self.coloured(Color::Green),
            JobState::Publishing | JobState::Retiring => self.coloured(Color::Cyan),
            JobState::Held | JobState::Paused => self.coloured(Color::Yellow),
            JobState::Failed | JobState::Refused => self.bad(),
            JobState::Queued => Style::new(),
            JobState::Completed | JobState::Aborted => Style::new().add_modifier(Modifier::DIM),
        }
    }
}

struct Pen<'b> {
    buffer: &'b mut Buffer,
    area: Rect,
    style: Styles,
}

impl Pen<'_> {
    /// From a column on; what does not fit is left out.
    fn put(&mut self, x: u16, y: u16, width: u16, text: &str, style: Style) {
        let (left, top) = (self.area.left(), self.area.top());
        if y < self.area.height && x < self.area.width {
            let width = usize::from(width.min(self.area.width - x));
            self.buffer.set_stringn(left + x, top + y, text, width, style);
        }
    }

    fn line(&mut self, y: u16, text: &str, style: Style) {
        self.put(0, y, self.area.width, text, style);
    }

    fn fill(&mut self, y: u16, style: Style) {
        if y < self.area.height {
            self.buffer.set_style(Rect { y: self.area.top() + y, height: 1, ..self.area }, style);
        }
    }

    fn title(&mut self, model: &Model) {
        let bold = Style::new().add_modifier(Modifier::BOLD);
        self.put(0, 0, 8, "landfall", bold);
        let jobs: Vec<_> =
            model.counts().into_iter().map(|(state, count)| format!("{count} {state}")).collect();
        let jobs = match jobs.as_slice() {
            [] if model.is_summed_up => "no jobs".to_owned(),
            [] => "reading …".to_owned(),
            jobs => jobs.join(", "),
        };
        let time = model.now.strftime("%H:%M:%SZ").to_string();
        let at = self.area.width.saturating_sub(9);
        self.put(10, 0, at.saturating_sub(12), &jobs, Style::new());
        self.put(at, 0, 9, &time, Style::new());
    }

    fn attention(&mut self, y: u16, model: &Model) {
        if let Link::Lost { since, why } = &model.link {
            let since = since.strftime("%H:%M:%SZ");
            let why = printable(why);
            let text = format!(
                "no service since {since} ({why}); what is shown is of then, and goes on with the next"
            );
            return self.line(y, &text, self.style.bad());
        }
        match model.summary.attention.as_slice() {
            [] => {}
            [(message, _)] => self.line(y, &format!("! {}", printable(message)), self.style.bad()),
            [(message, _), ..] => {
                let (count, message) = (model.summary.attention.len(), printable(message));
                self.line(y, &format!("! {count} things need attention (a): {message}"), self.style.bad());
            }
        }
    }

    fn list(&mut self, y: u16, rows: u16, model: &Model) {
        let columns = columns::columns(self.area.width);
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        self.fill(y, reversed);
        let mut x = 0;
        for Column { title, width, is_right, .. } in &columns {
            self.cell(x, y, *width, *is_right, title, reversed);
            x += width + 1;
        }
        let (first, lines) = model.rows.on_screen();
        let (mut shown, mut at) = (0, y + 1);
        for (is_selected, line) in lines.take(usize::from(rows)) {
            let style = self.style.of(line);
            let style = if is_selected { style.add_modifier(Modifier::REVERSED) } else { style };
            self.fill(at, style);
            let mut x = 0;
            for Column { width, is_right, of, .. } in &columns {
                self.cell(x, at, *width, *is_right, &of(line, model, usize::from(*width)), style);
                x += width + 1;
            }
            (shown, at) = (shown + 1, at + 1);
        }
        if self.area.height >= HEIGHT_MIN {
            let told = told_of_rows(model, first, shown);
            self.line(y + 1 + rows, &told, Style::new().add_modifier(Modifier::DIM));
        }
    }

    fn cell(&mut self, x: u16, y: u16, width: u16, is_right: bool, text: &str, style: Style) {
        let used = u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX);
        let space = if is_right { width.saturating_sub(used) } else { 0 };
        self.put(x + space, y, width - space, text, style);
    }

    fn page(&mut self, y: u16, rows: u16, open: &Open, model: &Model) {
        let reversed = Style::new().add_modifier(Modifier::REVERSED);
        let title = match open.page {
            Page::Job(id) => format!("job {id}"),
            Page::Files => "files that wait to become jobs".to_owned(),
            Page::Attention => "what needs attention".to_owned(),
            Page::Help => "keys".to_owned(),
        };
        self.fill(y, reversed);
        self.line(y, &title, reversed);
        let text = open.lines.iter().skip(open.first).take(usize::from(rows));
        for (line, at) in text.zip(y + 1..) {
            self.line(at, &printable(line), Style::new());
        }
        if open.lines.is_empty() {
            let waits = if model.link == Link::Live { "reading …" } else { "no service answers" };
            self.line(y + 1, waits, Style::new());
        }
        if self.area.height >= HEIGHT_MIN && !open.lines.is_empty() {
            let last = (open.first + usize::from(rows)).min(open.lines.len());
            let told = format!("lines {}-{last} of {}", open.first + 1, open.lines.len());
            self.line(y + 1 + rows, &told, Style::new().add_modifier(Modifier::DIM));
        }
    }

    /// The line at `y` is told by the list.
    fn selected(&mut self, y: u16, model: &Model) {
        if model.open.is_some() {
            return;
        }
        let Some(line) = model.rows.selected() else { return };
        self.line(y + 1, &format!("{}  {}", line.id, line.source), Style::new());
        let mut why = Vec::new();
        if let Some(report) = line.deadline_in_trouble() {
            why.push(format!("deadline {}: {}", view::moment(report.at), report.state));
        }
        if line.workers_max > 0 {
            why.push(format!("{} workers at most", line.workers_max));
        }
        why.extend(line.trouble().map(|trouble| printable(&trouble)));
        if line.records_failed > 0 {
            why.push(format!("{} records failed", line.records_failed));
        }
        self.line(y + 2, &why.join("; "), self.style.of(line).remove_modifier(Modifier::DIM));
    }

    fn last_line(&mut self, y: u16, model: &Model) {
        let (text, style) = match (&model.asks, &model.said) {
            (Some(Asks::Abort(id)), _) => {
                let short = columns::short(*id);
                let text =
                    format!("abort job {short}? nothing is published, its source goes to quarantine (y/n)");
                (text, self.style.bad())
            }
            (Some(Asks::Search), _) => (format!("/{}_", printable(model.rows.searched())), Style::new()),
            (None, Some((said, true))) => (printable(said), self.style.bad()),
            (None, Some((said, false))) => (printable(said), Style::new().add_modifier(Modifier::BOLD)),
            (None, None) => (keys(model).to_owned(), Style::new().add_modifier(Modifier::DIM)),
        };
        self.line(y, &text, style);
    }
}

fn keys(model: &Model) -> &'static str {
    match model.open.as_ref().map(|open| open.page) {
        None => "enter show  p pause  r resume  t retry  x abort  + - priority  ? keys  q quit",
        Some(Page::Job(_)) => "esc back  p pause  r resume  t retry  x abort  + - priority",
        Some(_) => "esc back",
    }
}

fn beside(model: &Model) -> String {
    let summary = &model.summary;
    let mut told = Vec::new();
    if summary.files_waiting > 0 {
        let files = summary.files_waiting;
        told.push(format!("{files} {} (w)", if files == 1 { "file waits" } else { "files wait" }));
    }
    told.extend(summary.paused.iter().map(|pause| printable(pause)));
    told.extend(summary.disks.iter().map(|disk| printable(disk)));
    told.join(" · ")
}

fn told_of_rows(model: &Model, first: usize, shown: usize) -> String {
    let rows = &model.rows;
    let which = match (shown, &model.link) {
        (_, Link::Reading) => return String::new(),
        (0, _) => "none".to_owned(),
        _ => format!("{}-{} of {}", first + 1, first + shown, rows.count()),
    };
    let mut told = format!("{which}: {}, {}", rows.only.told(), rows.sort.told());
    if !rows.searched().is_empty() {
        told = format!("{told}, with \"{}\"", printable(rows.searched()));
    }
    if model.left_out > 0 {
        told = format!("{told}; {} more are queued", model.left_out);
    }
    told
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::model::{Key, News, Summary};
    use super::super::samples::{line, now, waits};
    use super::*;
    use crate::model::fault::WaitsFor;
    use crate::model::priority::Priority;

    fn drawn(model: &mut Model, width: u16, height: u16) -> TestBackend {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
        model.fit(rows_of(height));
        terminal.draw(|frame| draw(model, frame.buffer_mut())).expect("is drawn");
        terminal.backend().clone()
    }

    /// Something of everything.
    fn busy() -> Model {
        let mut model = Model::new(now(), true);
        let running = |bytes_worked| JobLine {
            size: 4000,
            bytes_worked,
            records_in: 30 * bytes_worked,
            workers: 3,
            workers_max: 4,
            ..line(1, JobState::Running)
        };
        let begun = Instant::now();
        model.hear(News::Jobs(vec![Arc::new(running(400))], 0, begun));
        let why = "rule \"payments\" works from 22:00-06:00 (UTC): its `window` is closed";
        let jobs = vec![
            running(1000),
            JobLine { records_in: 5, ..line(2, JobState::Publishing) },
            JobLine {
                priority: Priority::new(1).expect("is one"),
                ..waits(3, JobState::Queued, WaitsFor::Window, why)
            },
            JobLine {
                source: "/srv/inbox/with/a/very/long/path/that/fits/nowhere/pay-4.csv.gz".into(),
                ..waits(4, JobState::Held, WaitsFor::Key, "no configured identity can decrypt it")
            },
            JobLine {
                error: Some("it is cut short".into()),
                rule: "a_rule_of_a_long_name".into(),
                ..line(5, JobState::Failed)
            },
            JobLine { records_in: 1_234_567, records_failed: 2, ..line(6, JobState::Completed) },
            JobLine { source: "/srv/in\u{1b}[2Jbox/\u{202e}x\n.csv".into(), ..line(7, JobState::Completed) },
        ];
        let jobs = jobs.into_iter().map(Arc::new).collect();
        model.hear(News::Jobs(jobs, 0, begun + Duration::from_secs(1)));
        model.hear(News::Summary(Summary {
            rules: 1,
            jobs: vec![
                ("completed", 2),
                ("failed", 1),
                ("held", 1),
                ("publishing", 1),
                ("queued", 1),
                ("running", 1),
            ],
            files_waiting: 3,
            paused: vec!["rule \"other\" was paused by root".into()],
            disks: vec!["/: 35.0 GiB of 252.0 GiB free".into()],
            attention: vec![
                ("one job is failed, 5: it is cut short".into(), "`landfall show 5` says more".into()),
                ("one job waits, 4: no configured identity".into(), "`landfall show 4` says more".into()),
            ],
        }));
        model
    }

    #[test]
    fn a_terminal_of_80_columns_shows_what_jobs_are_at_and_why_they_wait() {
        insta::assert_snapshot!(drawn(&mut busy(), 80, 24));
    }

    #[test]
    fn a_wide_terminal_shows_more_of_each_job() {
        insta::assert_snapshot!(drawn(&mut busy(), 160, 20));
    }

    #[test]
    fn the_selected_job_is_told_in_full_and_an_abort_is_asked_for() {
        let mut model = busy();
        for _ in 0..3 {
            model.press(Key::Down);
        }
        model.press(Key::Char('x'));
        insta::assert_snapshot!(drawn(&mut model, 80, 16));
    }

    #[test]
    fn a_screen_without_jobs_says_so_and_one_that_was_not_read_yet_does_not() {
        let mut model = Model::new(now(), true);
        let reading = drawn(&mut model, 80, 14).to_string();
        assert!(reading.contains("reading …") && !reading.contains("no jobs"), "{reading}");
        model.hear(News::Jobs(Vec::new(), 0, Instant::now()));
        model.hear(News::Summary(Summary::default()));
        insta::assert_snapshot!(drawn(&mut model, 80, 14));
    }

    #[test]
    fn of_many_jobs_those_around_the_selected_one_are_shown_with_how_many_there_are() {
        let mut model = Model::new(now(), true);
        let jobs = (1..=10_000).map(|number| Arc::new(line(number, JobState::Queued))).collect();
        model.hear(News::Jobs(jobs, 7, Instant::now()));
        drawn(&mut model, 80, 14);
        model.press(Key::End);
        insta::assert_snapshot!(drawn(&mut model, 80, 14));
    }

    #[test]
    fn what_needs_attention_is_told_with_what_to_do() {
        let mut model = busy();
        model.press(Key::Char('a'));
        insta::assert_snapshot!(drawn(&mut model, 80, 16));
    }

    #[test]
    fn a_service_that_is_lost_is_told_above_what_was_known_last() {
        let mut model = busy();
        model.hear(News::Lost("it was stopped".into()));
        insta::assert_snapshot!(drawn(&mut model, 100, 15));
    }

    #[test]
    fn the_keys_are_told() {
        let mut model = busy();
        model.press(Key::Char('?'));
        insta::assert_snapshot!(drawn(&mut model, 80, 34));
    }

    #[test]
    fn no_screen_is_too_small_and_none_too_large() {
        let mut model = busy();
        for (width, height) in [(0, 0), (1, 1), (5, 2), (20, 4), (79, 13), (500, 100), (3, 200)] {
            for key in [Key::Escape, Key::Char('a'), Key::Escape, Key::Char('x'), Key::Escape] {
                model.press(key);
                drawn(&mut model, width, height);
            }
        }
        let small = drawn(&mut model, 40, 6).to_string();
        assert!(small.contains("running") && small.contains("pay-1.csv"), "{small}");
    }

    #[test]
    fn without_colours_no_cell_has_one_and_with_them_what_failed_is_red() {
        let is_coloured = |screen: &TestBackend| {
            let cells = screen.buffer().content().iter();
            cells.map(|cell| cell.fg).collect::<std::collections::HashSet<_>>()
        };
        let mut model = busy();
        assert!(is_coloured(&drawn(&mut model, 80, 24)).contains(&Color::Red));
        model.is_coloured = false;
        assert_eq!(is_coloured(&drawn(&mut model, 80, 24)), [Color::Reset].into());
    }

    #[test]
    fn what_comes_from_outside_cannot_steer_the_terminal() {
        let mut model = busy();
        model.hear(News::Said("no \u{1b}]0;title\u{7} and \u{9b}31m".into(), true));
        let mut text = vec!["\u{1b}[2J\tx".to_owned()];
        for number in 0..2 {
            let screen = drawn(&mut model, 200, 24);
            let cells = screen.buffer().content().iter();
            let all: String = cells.map(ratatui::buffer::Cell::symbol).collect();
            assert!(!all.contains(|c: char| c.is_control() || c == '\u{202e}'), "{all:?}");
            assert!(number == 1 || all.contains(r"\x1b[2J"), "{all:?}");
            model.press(Key::Char('w'));
            model.hear(News::Text(Page::Files, std::mem::take(&mut text)));
        }
    }
}
