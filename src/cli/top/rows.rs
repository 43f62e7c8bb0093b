//! The rows of the list: which jobs, in which order, and where the operator is among them.

use std::cmp::Reverse;
use std::sync::Arc;

use crate::model::job_id::JobId;
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;

/// In which order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// What is at work, then what waits, then what failed, then what is done.
    #[default]
    State,
    Newest,
    Priority,
    Source,
}

impl Sort {
    const ALL: [Self; 4] = [Self::State, Self::Newest, Self::Priority, Self::Source];

    pub(super) fn told(self) -> &'static str {
        match self {
            Self::State => "by state",
            Self::Newest => "newest first",
            Self::Priority => "by priority",
            Self::Source => "by source",
        }
    }
}

/// Which ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Only {
    #[default]
    All,
    Unfinished,
    Waiting,
    Failed,
}

impl Only {
    const ALL: [Self; 4] = [Self::All, Self::Unfinished, Self::Waiting, Self::Failed];

    pub(super) fn told(self) -> &'static str {
        match self {
            Self::All => "all jobs",
            Self::Unfinished => "jobs that have not ended",
            Self::Waiting => "jobs that wait",
            Self::Failed => "jobs that failed",
        }
    }

    fn takes(self, line: &JobLine) -> bool {
        match self {
            Self::All => true,
            Self::Unfinished => !line.state.is_final(),
            Self::Waiting => {
                let waits = matches!(line.state, JobState::Queued | JobState::Held | JobState::Paused);
                waits || line.waiting.is_some() && !line.state.is_final()
            }
            Self::Failed => matches!(line.state, JobState::Failed | JobState::Refused),
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Rows {
    lines: Vec<Arc<JobLine>>,
    shown: Vec<Arc<JobLine>>,
    selected: usize,
    /// The selected job, which is followed wherever it goes; none: there was none yet.
    followed: Option<JobId>,
    /// It is shown no more, and nobody has chosen another one since: what an operator does is never about a job that he did not choose.
    is_lost: bool,
    first: usize,
    height: usize,
    pub(super) sort: Sort,
    pub(super) only: Only,
    search: String,
}

impl Rows {
    /// These are all jobs now.
    pub(super) fn replace(&mut self, lines: Vec<Arc<JobLine>>) {
        self.lines = lines;
        self.arrange(true);
    }

    /// So many rows are on the screen.
    pub(super) fn fit(&mut self, height: usize) {
        self.height = height;
        self.scroll();
    }

    pub(super) fn count(&self) -> usize {
        self.shown.len()
    }

    /// None also where the one that was is shown no more.
    pub(super) fn selected(&self) -> Option<&JobLine> {
        self.shown.get(self.selected).filter(|_| !self.is_lost).map(AsRef::as_ref)
    }

    /// The job that was selected, where it is shown no more.
    pub(super) fn lost(&self) -> Option<JobId> {
        self.followed.filter(|_| self.is_lost)
    }

    /// How many there are in each state from which a job goes on.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let count = |state: JobState| self.lines.iter().filter(|line| line.state == state).count() as u64;
        let counted = JobState::ALL.into_iter().filter(|state| !state.is_final());
        counted.map(move |state| (state.as_str(), count(state))).filter(|(_, count)| *count > 0)
    }

    /// One of all, shown or not.
    pub(super) fn job(&self, id: JobId) -> Option<&JobLine> {
        self.lines.iter().find(|line| line.id == id).map(AsRef::as_ref)
    }

    /// The rows on the screen, the position of the first, and which of them is selected.
    pub(super) fn on_screen(&self) -> (usize, impl Iterator<Item = (bool, &JobLine)>) {
        let rows = self.shown.iter().enumerate().skip(self.first).take(self.height);
        (self.first, rows.map(|(position, line)| (position == self.selected && !self.is_lost, line.as_ref())))
    }

    pub(super) fn height(&self) -> usize {
        self.height
    }

    pub(super) fn move_by(&mut self, rows: isize) {
        self.select(self.selected.saturating_add_signed(rows));
    }

    pub(super) fn move_to_start(&mut self) {
        self.select(0);
    }

    pub(super) fn move_to_end(&mut self) {
        self.select(usize::MAX);
    }

    pub(super) fn sort_otherwise(&mut self) {
        self.sort = next_of(&Sort::ALL, self.sort);
        self.arrange(false);
    }

    pub(super) fn show_others(&mut self) {
        self.only = next_of(&Only::ALL, self.only);
        self.arrange(false);
    }

    /// Only those whose source, rule or id has this in it.
    pub(super) fn search(&mut self, text: &str) {
        text.clone_into(&mut self.search);
        self.arrange(false);
    }

    pub(super) fn searched(&self) -> &str {
        &self.search
    }

    fn select(&mut self, position: usize) {
        self.selected = position.min(self.shown.len().saturating_sub(1));
        self.is_lost = false;
        self.followed = self.selected().map(|line| line.id);
        self.scroll();
    }

    /// `by_itself`: no operator asked for it.
    fn arrange(&mut self, by_itself: bool) {
        let sought = self.search.to_lowercase();
        let has = |text: String| text.to_lowercase().contains(&sought);
        let is_sought = |line: &JobLine| {
            sought.is_empty()
                || has(line.source.to_string())
                || has(line.rule.clone())
                || has(line.id.to_string())
        };
        let takes = |line: &&Arc<JobLine>| self.only.takes(line) && is_sought(line);
        self.shown = self.lines.iter().filter(takes).cloned().collect();
        match self.sort {
            Sort::State => self.shown.sort_by_cached_key(|line| (order_of(line.state), place_in_state(line))),
            Sort::Newest => self.shown.sort_by_key(|line| Reverse(line.id)),
            Sort::Priority => {
                self.shown.sort_by_key(|line| (line.state.is_final(), line.priority, line.id));
            }
            Sort::Source => self.shown.sort_by(|a, b| (&a.source, a.id).cmp(&(&b.source, b.id))),
        }
        let place = self.followed.and_then(|id| self.shown.iter().position(|line| line.id == id));
        match (self.followed, place) {
            (None, _) => self.select(0),
            (Some(_), Some(place)) => (self.selected, self.is_lost) = (place, false),
            // Its place is kept, and nobody's until the operator moves.
            (Some(_), None) if by_itself => {
                self.selected = self.selected.min(self.shown.len().saturating_sub(1));
                self.is_lost = true;
            }
            (Some(_), None) => self.select(self.selected),
        }
        self.scroll();
    }

    /// The selected row is on the screen, and no room is left behind the last one.
    fn scroll(&mut self) {
        let last_first = self.shown.len().saturating_sub(self.height);
        let least = (self.selected + 1).saturating_sub(self.height);
        self.first = self.first.clamp(least, self.selected.max(least)).min(last_first);
    }
}

fn next_of<T: Copy + PartialEq>(all: &[T], now: T) -> T {
    let position = all.iter().position(|one| *one == now).map_or(0, |position| position + 1);
    all[position % all.len()]
}

fn order_of(state: JobState) -> u8 {
    match state {
        JobState::Running => 0,
        JobState::Publishing => 1,
        JobState::Retiring => 2,
        JobState::Held => 3,
        JobState::Queued => 4,
        JobState::Paused => 5,
        JobState::Failed => 6,
        JobState::Refused => 7,
        JobState::Completed | JobState::Aborted => 8,
    }
}

/// In the order in which they go on; of those that ended the last one first.
fn place_in_state(line: &JobLine) -> (u8, Reverse<Option<jiff::Timestamp>>, JobId) {
    if line.state.is_final() {
        (0, Reverse(line.finished_at), line.id)
    } else {
        (line.priority.get(), Reverse(None), line.id)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{line, now};
    use super::*;
    use crate::model::priority::Priority;

    fn rows(lines: impl IntoIterator<Item = JobLine>) -> Rows {
        let mut rows = Rows::default();
        rows.fit(3);
        rows.replace(lines.into_iter().map(Arc::new).collect());
        rows
    }

    fn numbers(rows: &Rows) -> Vec<u64> {
        rows.shown.iter().map(|line| line.id.unix_ms()).collect()
    }

    fn on_screen(rows: &Rows) -> Vec<(bool, u64)> {
        rows.on_screen().1.map(|(is_selected, line)| (is_selected, line.id.unix_ms())).collect()
    }

    #[test]
    fn what_is_at_work_comes_first_then_what_waits_in_its_order_then_what_ended_the_last_first() {
        let urgent = Priority::new(1).expect("is one");
        let later = Some(now().checked_add(jiff::SignedDuration::from_secs(1)).expect("a time"));
        let rows = rows([
            JobLine { finished_at: Some(now()), ..line(1, JobState::Completed) },
            JobLine { finished_at: later, ..line(2, JobState::Completed) },
            line(3, JobState::Queued),
            JobLine { priority: urgent, ..line(4, JobState::Queued) },
            line(5, JobState::Failed),
            line(6, JobState::Running),
        ]);
        assert_eq!(numbers(&rows), [6, 4, 3, 5, 2, 1]);
    }

    #[test]
    fn each_order_is_one_key_away_and_the_first_one_comes_back() {
        let urgent = Priority::new(1).expect("is one");
        let mut rows = rows([
            line(1, JobState::Running),
            JobLine { priority: urgent, ..line(2, JobState::Queued) },
            JobLine { source: "/a".into(), ..line(3, JobState::Completed) },
        ]);
        let orders = std::array::from_fn::<_, 5, _>(|_| {
            let seen = numbers(&rows);
            rows.sort_otherwise();
            seen
        });
        assert_eq!(orders, [[1, 2, 3], [3, 2, 1], [2, 1, 3], [3, 1, 2], [1, 2, 3]]);
    }

    #[test]
    fn the_selected_job_stays_selected_and_on_the_screen_wherever_it_goes() {
        let mut rows = rows((1..=9).map(|number| line(number, JobState::Queued)));
        rows.move_by(4);
        assert_eq!(on_screen(&rows), [(false, 3), (false, 4), (true, 5)]);
        rows.move_by(-1);
        assert_eq!(on_screen(&rows), [(false, 3), (true, 4), (false, 5)], "it scrolls no more than it must");
        let mut others: Vec<_> = (5..=9).map(|number| line(number, JobState::Queued)).collect();
        others.push(line(4, JobState::Failed));
        rows.replace(others.into_iter().map(Arc::new).collect());
        assert_eq!(on_screen(&rows), [(false, 8), (false, 9), (true, 4)]);
        rows.move_to_end();
        rows.move_by(3);
        assert_eq!(rows.selected().map(|line| line.id.unix_ms()), Some(4));
        rows.move_by(isize::MIN);
        assert_eq!(on_screen(&rows)[0], (true, 5));
    }

    #[test]
    fn the_first_job_that_was_seen_stays_selected_when_others_come_before_it() {
        let mut rows = rows([line(2, JobState::Queued)]);
        rows.replace(vec![Arc::new(line(2, JobState::Queued)), Arc::new(line(1, JobState::Queued))]);
        assert_eq!(rows.selected().map(|line| line.id.unix_ms()), Some(2));
        rows.move_to_start();
        rows.replace(vec![Arc::new(line(7, JobState::Running)), Arc::new(line(1, JobState::Queued))]);
        assert_eq!(rows.selected().map(|line| line.id.unix_ms()), Some(1));
    }

    #[test]
    fn a_job_that_is_gone_leaves_its_place_to_nobody_until_the_operator_moves_and_an_empty_list_has_none() {
        let mut rows = rows((1..=3).map(|number| line(number, JobState::Queued)));
        rows.move_by(2);
        let gone = rows.selected().map(|line| line.id);
        rows.replace(vec![Arc::new(line(1, JobState::Queued))]);
        assert_eq!((rows.selected(), rows.lost(), on_screen(&rows)), (None, gone, vec![(false, 1)]));
        rows.move_by(0);
        assert_eq!((rows.selected().map(|line| line.id.unix_ms()), rows.lost()), (Some(1), None));
        rows.replace(Vec::new());
        rows.move_by(1);
        assert_eq!((rows.selected(), on_screen(&rows)), (None, vec![]));
        rows.fit(0);
    }

    #[test]
    fn jobs_are_chosen_by_how_they_are_and_by_what_is_sought() {
        let mut rows = rows([
            line(1, JobState::Running),
            line(2, JobState::Queued),
            line(3, JobState::Failed),
            JobLine { source: "/srv/Other.csv".into(), ..line(4, JobState::Completed) },
        ]);
        let seen = std::array::from_fn::<_, 4, _>(|_| {
            let seen = numbers(&rows);
            rows.show_others();
            seen
        });
        assert_eq!(seen, [vec![1, 2, 3, 4], vec![1, 2], vec![2], vec![3]]);
        rows.search("oTHER");
        assert_eq!(numbers(&rows), [4]);
        rows.search("");
        assert_eq!(numbers(&rows).len(), 4);
    }
}
