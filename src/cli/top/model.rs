//! What is on the screen, and what keys do to it: no terminal, no clock and no service is met here.

use std::sync::Arc;
use std::time::Instant;

use jiff::Timestamp;

use super::paces::Paces;
use super::rows::Rows;
use crate::model::job_id::JobId;
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;
use crate::model::priority::Priority;

/// A key that means something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Up,
    Down,
    PageUp,
    PageDown,
    Home,
    End,
    Enter,
    Escape,
    Backspace,
    Char(char),
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Suspend,
    /// Ctrl-L.
    Redraw,
}

/// What a key asks for, beside another screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Intent {
    Quit,
    Suspend,
    Redraw,
    /// Another page is open: it wants its text.
    Look,
    Do(Deed),
}

/// What is done with a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deed {
    pub(super) job: JobId,
    pub(super) what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Pause,
    Resume,
    Retry,
    Abort,
    Set(Priority),
}

/// What may be open in place of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Job(JobId),
    Files,
    Attention,
    Help,
}

/// A page with its text.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) page: Page,
    pub(super) lines: Vec<String>,
    pub(super) first: usize,
}

/// What is wanted of the operator before anything else.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// Whether this job is to be aborted.
    Abort(JobId),
    /// What to search for; what was typed so far is searched for already.
    Search,
}

/// What is known beside the jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) rules: usize,
    /// Of all that are listed, by state.
    pub(super) jobs: Vec<(&'static str, u64)>,
    pub(super) files_waiting: u64,
    pub(super) paused: Vec<String>,
    pub(super) disks: Vec<String>,
    /// Each with what to do.
    pub(super) attention: Vec<(String, String)>,
}

/// Whether what is shown is as it is now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing was read yet.
    #[default]
    Reading,
    Live,
    /// The service ended, or answers no more.
    Lost {
        since: Timestamp,
        why: String,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) rows: Rows,
    pub(super) paces: Paces,
    /// Queued jobs that are no rows.
    pub(super) left_out: u64,
    pub(super) summary: Summary,
    /// Whether there is one yet.
    pub(super) is_summed_up: bool,
    pub(super) link: Link,
    pub(super) open: Option<Open>,
    pub(super) asks: Option<Asks>,
    /// What became of the last deed, and whether that is bad.
    pub(super) said: Option<(String, bool)>,
    pub(super) now: Timestamp,
    pub(super) is_coloured: bool,
}

/// What is told first: a narrow screen leaves out the last.
const MOST_TELLING: [JobState; 10] = [
    JobState::Running,
    JobState::Publishing,
    JobState::Retiring,
    JobState::Failed,
    JobState::Refused,
    JobState::Held,
    JobState::Paused,
    JobState::Queued,
    JobState::Completed,
    JobState::Aborted,
];

/// News for the screen.
#[derive(Debug)]
pub(super) enum News {
    /// All jobs at this moment, and how many queued ones are left out.
    Jobs(Vec<Arc<JobLine>>, u64, Instant),
    Summary(Summary),
    Text(Page, Vec<String>),
    Lost(String),
    Said(String, bool),
}

impl Model {
    pub(super) fn new(now: Timestamp, is_coloured: bool) -> Self {
        Self {
            rows: Rows::default(),
            paces: Paces::default(),
            left_out: 0,
            summary: Summary::default(),
            is_summed_up: false,
            link: Link::default(),
            open: None,
            asks: None,
            said: None,
            now,
            is_coloured,
        }
    }

    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Jobs(lines, left_out, at) => {
                self.paces.note(&lines, at);
                self.rows.replace(lines);
                self.left_out = left_out;
                self.link = Link::Live;
            }
            News::Summary(summary) => {
                self.summary = summary;
                self.is_summed_up = true;
                if let Some(Open { page: Page::Attention, lines, .. }) = &mut self.open {
                    *lines = attention(&self.summary);
                }
            }
            News::Text(page, text) => {
                if let Some(open) = self.open.as_mut().filter(|open| open.page == page) {
                    open.lines = text;
                }
            }
            News::Lost(why) => {
                if !matches!(self.link, Link::Lost { .. }) {
                    self.link = Link::Lost { since: self.now, why };
                }
            }
            News::Said(text, is_bad) => self.said = Some((text, is_bad)),
        }
    }

    /// So many rows, or lines of a page, are on the screen.
    pub(super) fn fit(&mut self, height: usize) {
        self.rows.fit(height);
        if let Some(open) = &mut self.open {
            open.first = open.first.min(open.lines.len().saturating_sub(height));
        }
    }

    /// How many jobs are listed, by state. Those that have not ended are all here, unless they are too many; others are counted now and then.
    pub(super) fn counts(&self) -> Vec<(&'static str, u64)> {
        let is_final =
            |word: &str| JobState::ALL.iter().any(|state| state.is_final() && state.as_str() == word);
        let ended = self.summary.jobs.iter().filter(|(word, _)| self.left_out > 0 || is_final(word)).copied();
        let unfinished = self.rows.counts().filter(|_| self.left_out == 0);
        let mut counts: Vec<_> = unfinished.chain(ended).collect();
        counts.sort_by_key(|(word, _)| MOST_TELLING.iter().position(|state| state.as_str() == *word));
        counts
    }

    /// The page whose text is wanted from the service.
    pub(super) fn wanted(&self) -> Option<Page> {
        let page = self.open.as_ref().map(|open| open.page)?;
        matches!(page, Page::Job(_) | Page::Files).then_some(page)
    }

    pub(super) fn press(&mut self, key: Key) -> Option<Intent> {
        match key {
            Key::Interrupt => return Some(Intent::Quit),
            Key::Suspend => return Some(Intent::Suspend),
            Key::Redraw => return Some(Intent::Redraw),
            _ => {}
        }
        self.said = None;
        match self.asks.take() {
            Some(Asks::Abort(job)) => {
                let is_meant = matches!(key, Key::Char('y' | 'Y'));
                is_meant.then_some(Intent::Do(Deed { job, what: What::Abort }))
            }
            Some(Asks::Search) => {
                self.type_search(key);
                None
            }
            None if self.open.is_some() => self.press_on_page(key),
            None => self.press_on_list(key),
        }
    }

    fn type_search(&mut self, key: Key) {
        let mut text = self.rows.searched().to_owned();
        match key {
            Key::Enter => return,
            Key::Escape => text.clear(),
            Key::Backspace => drop(text.pop()),
            Key::Char(c) => text.push(c),
            _ => {}
        }
        self.rows.search(&text);
        if key != Key::Escape {
            self.asks = Some(Asks::Search);
        }
    }

    fn press_on_list(&mut self, key: Key) -> Option<Intent> {
        match key {
            Key::Up | Key::Char('k') => self.rows.move_by(-1),
            Key::Down | Key::Char('j') => self.rows.move_by(1),
            Key::PageUp => self.rows.move_by(-self.a_screen()),
            Key::PageDown | Key::Char(' ') => self.rows.move_by(self.a_screen()),
            Key::Home | Key::Char('g') => self.rows.move_to_start(),
            Key::End | Key::Char('G') => self.rows.move_to_end(),
            Key::Char('s') => self.rows.sort_otherwise(),
            Key::Char('f') => self.rows.show_others(),
            Key::Char('/') => self.asks = Some(Asks::Search),
            Key::Escape => self.rows.search(""),
            Key::Char('q') => return Some(Intent::Quit),
            Key::Enter => match self.rows.selected() {
                Some(line) => {
                    let page = Page::Job(line.id);
                    return Some(self.open(page));
                }
                None => self.say_lost(self.rows.lost()),
            },
            Key::Char('w') => return Some(self.open(Page::Files)),
            Key::Char('a') => return Some(self.open(Page::Attention)),
            Key::Char('?' | 'h') => return Some(self.open(Page::Help)),
            other => {
                if let Some((job, priority)) = self.rows.selected().map(|line| (line.id, line.priority)) {
                    return self.press_for(job, priority, other);
                }
                if is_for_job(other) {
                    self.say_lost(self.rows.lost());
                }
            }
        }
        None
    }

    fn press_on_page(&mut self, key: Key) -> Option<Intent> {
        let screen = self.a_screen().unsigned_abs();
        let open = self.open.as_mut()?;
        match key {
            Key::Up | Key::Char('k') => open.first = open.first.saturating_sub(1),
            Key::Down | Key::Char('j') => open.first += 1,
            Key::PageUp => open.first = open.first.saturating_sub(screen),
            Key::PageDown | Key::Char(' ') => open.first += screen,
            Key::Home | Key::Char('g') => open.first = 0,
            Key::End | Key::Char('G') => open.first = open.lines.len(),
            Key::Escape | Key::Enter | Key::Char('q') => {
                self.open = None;
                return Some(Intent::Look);
            }
            other => {
                let Page::Job(job) = open.page else { return None };
                if let Some(priority) = self.rows.job(job).map(|line| line.priority) {
                    return self.press_for(job, priority, other);
                }
                if is_for_job(other) {
                    self.say_lost(Some(job));
                }
            }
        }
        None
    }

    /// A key was meant for a job that is there no more.
    fn say_lost(&mut self, job: Option<JobId>) {
        if let Some(job) = job {
            let told =
                format!("job {job} is not in the list any more, and nothing was done: choose another row");
            self.said = Some((told, true));
        }
    }

    fn press_for(&mut self, job: JobId, priority: Priority, key: Key) -> Option<Intent> {
        let what = match key {
            Key::Char('p') => What::Pause,
            Key::Char('r') => What::Resume,
            Key::Char('t') => What::Retry,
            Key::Char('+') => What::Set(sooner(priority)),
            Key::Char('-') => What::Set(later(priority)),
            Key::Char('x') => {
                self.asks = Some(Asks::Abort(job));
                return None;
            }
            _ => return None,
        };
        Some(Intent::Do(Deed { job, what }))
    }

    fn open(&mut self, page: Page) -> Intent {
        let lines = match page {
            Page::Attention => attention(&self.summary),
            Page::Help => HELP.lines().map(str::to_owned).collect(),
            Page::Job(_) | Page::Files => Vec::new(),
        };
        self.open = Some(Open { page, lines, first: 0 });
        Intent::Look
    }

    /// A line of the last one stays.
    fn a_screen(&self) -> isize {
        isize::try_from(self.rows.height()).unwrap_or(1).saturating_sub(1).max(1)
    }
}

/// Whether a key does something with a job.
fn is_for_job(key: Key) -> bool {
    matches!(key, Key::Char('p' | 'r' | 't' | 'x' | '+' | '-'))
}

/// In steps of ten.
fn sooner(priority: Priority) -> Priority {
    let number = u64::from(priority.get());
    Priority::new((number.saturating_sub(1) / 10 * 10).max(1)).unwrap_or(priority)
}

fn later(priority: Priority) -> Priority {
    let number = u64::from(priority.get());
    Priority::new(((number / 10 + 1) * 10).min(100)).unwrap_or(priority)
}

fn attention(summary: &Summary) -> Vec<String> {
    if summary.attention.is_empty() {
        return vec!["nothing needs attention".to_owned()];
    }
    let lines = summary.attention.iter();
    lines.flat_map(|(message, hint)| [message.clone(), format!("    {hint}"), String::new()]).collect()
}

const HELP: &str = "\
Moving
  up, down, k, j        a row            PgUp, PgDn, space   a screen
  Home, End, g, G       the first, the last
  Enter                 the job in full: timeline, outputs; Esc goes back

What is shown
  s   another order: by state, newest first, by priority, by source
  f   others: all jobs, those that have not ended, that wait, that failed
  /   only jobs with this in source, rule or id; Esc takes it back
  w   the files that wait to become jobs, and why
  a   what needs attention, and what to do

The selected job
  p   pause               r   resume           t   retry
  x   abort; it asks first
  +   goes sooner         -   goes later: the priority, in steps of ten

  Ctrl-L   draw anew      Ctrl-Z   to the shell; `fg` comes back      q   quit

DONE, RATE and LEFT are of jobs that run: the share of the file that is worked,
records a second of late, and how long the rest takes at that pace.
WRK: the workers at it now. PRI: its priority, the lower goes first.
Of jobs that ended, the newest are listed, and those that failed;
`landfall jobs` lists all.";

#[cfg(test)]
mod tests {
    use super::super::samples::{line, now};
    use super::*;

    fn model() -> Model {
        let mut model = Model::new(now(), true);
        model.fit(10);
        let lines = (1..=30).map(|number| Arc::new(line(number, JobState::Queued))).collect();
        model.hear(News::Jobs(lines, 0, Instant::now()));
        model
    }

    fn selected(model: &Model) -> u64 {
        model.rows.selected().expect("there is one").id.unix_ms()
    }

    fn deed(number: u64, what: What) -> Intent {
        Intent::Do(Deed { job: JobId::from_parts(number, 0), what })
    }

    #[test]
    fn jobs_are_counted_as_they_are_now_and_those_that_are_no_rows_as_they_were_counted_last() {
        let mut model = model();
        let jobs = vec![("completed", 9), ("queued", 77)];
        model.hear(News::Summary(Summary { jobs, ..Summary::default() }));
        assert_eq!(model.counts(), [("queued", 30), ("completed", 9)]);
        model.left_out = 47;
        assert_eq!(model.counts(), [("queued", 77), ("completed", 9)]);
    }

    #[test]
    fn keys_move_the_selection() {
        let mut model = model();
        let moves = [
            (Key::Down, 2),
            (Key::Char('j'), 3),
            (Key::Up, 2),
            (Key::PageDown, 11),
            (Key::PageUp, 2),
            (Key::End, 30),
            (Key::Down, 30),
            (Key::Home, 1),
            (Key::Up, 1),
        ];
        for (key, expected) in moves {
            assert_eq!(model.press(key), None);
            assert_eq!(selected(&model), expected, "{key:?}");
        }
    }

    #[test]
    fn keys_ask_for_deeds_with_the_selected_job_and_an_abort_is_asked_for_twice() {
        let mut model = model();
        model.press(Key::Down);
        assert_eq!(model.press(Key::Char('p')), Some(deed(2, What::Pause)));
        assert_eq!(model.press(Key::Char('r')), Some(deed(2, What::Resume)));
        assert_eq!(model.press(Key::Char('t')), Some(deed(2, What::Retry)));
        for other in [Key::Char('n'), Key::Enter, Key::Char('x'), Key::Escape] {
            assert_eq!(model.press(Key::Char('x')), None);
            assert_eq!(model.asks, Some(Asks::Abort(JobId::from_parts(2, 0))));
            assert_eq!(model.press(other), None, "{other:?} is no yes");
            assert_eq!(model.asks, None);
        }
        model.press(Key::Char('x'));
        assert_eq!(model.press(Key::Char('y')), Some(deed(2, What::Abort)));
        assert_eq!(model.press(Key::Char('y')), None, "it was said once");
    }

    #[test]
    fn no_key_does_anything_with_a_job_that_took_the_place_of_the_one_that_was_chosen() {
        for key in "prtx+-".chars().map(Key::Char).chain([Key::Enter]) {
            let mut model = model();
            model.press(Key::Down);
            let gone = JobId::from_parts(2, 0);
            let others = (1..=30).filter(|number| *number != 2);
            let lines = others.map(|number| Arc::new(line(number, JobState::Queued))).collect();
            model.hear(News::Jobs(lines, 0, Instant::now()));
            assert_eq!((model.press(key), &model.asks), (None, &None), "{key:?}");
            let (said, is_bad) = model.said.take().expect("it says so");
            assert!(
                said.contains(&gone.to_string()) && said.contains("nothing was done") && is_bad,
                "{said}"
            );
            model.press(Key::Down);
            assert!(model.press(Key::Char('p')).is_some() && selected(&model) != 2);
        }
    }

    #[test]
    fn a_priority_goes_in_steps_of_ten_and_not_over_its_ends() {
        let priority = |number| Priority::new(number).expect("is one");
        let steps = [(50, 40, 60), (45, 40, 50), (10, 1, 20), (1, 1, 10), (95, 90, 100), (100, 90, 100)];
        for (from, to_sooner, to_later) in steps {
            assert_eq!(sooner(priority(from)), priority(to_sooner), "{from}");
            assert_eq!(later(priority(from)), priority(to_later), "{from}");
        }
        let forty = What::Set(priority(40));
        assert_eq!(model().press(Key::Char('+')), Some(deed(1, forty)));
    }

    #[test]
    fn a_search_shows_what_is_typed_at_once_and_keys_mean_letters_meanwhile() {
        let mut model = model();
        model.press(Key::Char('/'));
        for c in "pay-2q".chars() {
            assert_eq!(model.press(Key::Char(c)), None);
        }
        assert_eq!(model.rows.count(), 0);
        model.press(Key::Backspace);
        assert_eq!(model.rows.count(), 11);
        model.press(Key::Enter);
        assert_eq!((model.rows.count(), &model.asks), (11, &None), "it stays");
        model.press(Key::Escape);
        assert_eq!(model.rows.count(), 30);
    }

    #[test]
    fn a_page_is_opened_scrolled_to_its_end_and_closed() {
        let mut model = model();
        assert_eq!(model.press(Key::Enter), Some(Intent::Look));
        let page = Page::Job(JobId::from_parts(1, 0));
        assert_eq!(model.wanted(), Some(page));
        let text = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        model.hear(News::Text(Page::Files, text(9)));
        assert!(model.open.as_ref().expect("is open").lines.is_empty(), "that was of another page");
        model.hear(News::Text(page, text(25)));
        model.press(Key::End);
        model.fit(10);
        assert_eq!(model.open.as_ref().map(|open| open.first), Some(15));
        model.hear(News::Text(page, text(12)));
        model.fit(10);
        assert_eq!(model.open.as_ref().map(|open| open.first), Some(2), "it got shorter");
        assert_eq!(model.press(Key::Char('p')), Some(deed(1, What::Pause)), "of the job that is open");
        assert_eq!(model.press(Key::Char('q')), Some(Intent::Look));
        assert!(model.open.is_none() && model.wanted().is_none());
        assert_eq!(model.press(Key::Char('q')), Some(Intent::Quit));
    }

    #[test]
    fn a_service_that_is_lost_is_told_since_when_and_is_there_again_with_the_next_jobs() {
        let mut model = model();
        model.hear(News::Lost("it was stopped".into()));
        model.now = Timestamp::UNIX_EPOCH;
        model.hear(News::Lost("it is away".into()));
        assert_eq!(model.link, Link::Lost { since: now(), why: "it was stopped".into() });
        assert_eq!(model.rows.count(), 30, "what was known last is shown");
        model.hear(News::Jobs(Vec::new(), 0, Instant::now()));
        assert_eq!(model.press(Key::Char('p')), None);
        assert_eq!(model.link, Link::Live);
    }

    #[test]
    fn what_ends_or_suspends_does_so_whatever_is_open_or_asked() {
        for key in [Key::Enter, Key::Char('x'), Key::Char('/')] {
            let mut model = model();
            model.press(key);
            assert_eq!(model.press(Key::Suspend), Some(Intent::Suspend));
            assert_eq!(model.press(Key::Interrupt), Some(Intent::Quit));
        }
    }

    #[test]
    fn every_key_of_the_help_does_something_and_every_line_fits_an_old_terminal() {
        assert!(HELP.lines().all(|line| line.chars().count() <= 80));
        for key in "sf/waprtx+-qkjgG?".chars() {
            let mut model = model();
            model.press(Key::Char('j'));
            let before = format!("{model:?}");
            let intent = model.press(Key::Char(key));
            assert!(intent.is_some() || format!("{model:?}") != before, "{key} does nothing");
            assert!(HELP.contains(key) || key == '?', "{key} is not told");
        }
    }
}
