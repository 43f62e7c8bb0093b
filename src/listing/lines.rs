//! Jobs as the lines of a table, a page at a time: for whoever looks at a hundred thousand of them.
//!
//! The newest first, a page is read from that end, and what lies behind it is not read. In any other order every line is looked at, and no
//! more are kept than the page and those before it. `upto` keeps a page still while new jobs come.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::io::Write;

use jiff::Timestamp;
use serde::Serialize;

use super::Stop;
use crate::engine::{Door, JobFilter};
use crate::model::deadline::DeadlineReport;
use crate::model::job::Waiting;
use crate::model::job_id::JobId;
use crate::model::job_line::JobLine;
use crate::model::job_state::JobState;
use crate::model::job_view::{VIEW_VERSION, path_json};
use crate::model::shown_json;

type Order = fn(&JobLine, &JobLine) -> Ordering;

const CLAIMED: &str = "claimed";
const ORDERS: [(&str, Order); 9] = [
    (CLAIMED, |one, other| one.id.cmp(&other.id)),
    ("ended", |one, other| one.finished_at.cmp(&other.finished_at)),
    ("priority", |one, other| one.priority.get().cmp(&other.priority.get())),
    ("records", |one, other| one.records_in.cmp(&other.records_in)),
    ("failed_records", |one, other| one.records_failed.cmp(&other.records_failed)),
    ("rule", |one, other| one.rule.cmp(&other.rule)),
    ("size", |one, other| one.size.cmp(&other.size)),
    ("source", |one, other| one.source.cmp(&other.source)),
    ("state", |one, other| one.state.cmp(&other.state)),
];

/// By what they can be sorted.
pub(crate) const SORTS: &[&str] = &{
    let mut words = [""; ORDERS.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = ORDERS[at].0;
        at += 1;
    }
    words
};

/// What of the lines is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// So many are passed over.
    pub(crate) skip: usize,
    pub(crate) count: usize,
    /// One of [`SORTS`]; claimed, if none.
    pub(crate) sort: Option<String>,
    /// The least first; else the newest, or the greatest.
    pub(crate) ascending: bool,
    /// Only those whose source, or id, has this in it, whatever the case of its letters.
    pub(crate) text: Option<String>,
    /// Only those that wait for something.
    pub(crate) waiting: bool,
    /// None that is newer than this one.
    pub(crate) upto: Option<JobId>,
}

/// One line, as JSON.
#[derive(Serialize)]
struct LineView<'l> {
    id: JobId,
    rule: &'l str,
    source: String,
    size: u64,
    state: JobState,
    priority: u8,
    workers: usize,
    workers_max: u32,
    waiting: Option<&'l Waiting>,
    trouble: Option<String>,
    deadline: Option<&'l DeadlineReport>,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    records_in: u64,
    records_failed: u64,
    bytes_worked: u64,
}

impl<'l> LineView<'l> {
    fn of(line: &'l JobLine) -> Self {
        Self {
            id: line.id,
            rule: &line.rule,
            source: path_json(&line.source).0,
            size: line.size,
            state: line.state,
            priority: line.priority.get(),
            workers: line.workers,
            workers_max: line.workers_max,
            waiting: line.waiting.as_ref(),
            trouble: line.trouble().map(std::borrow::Cow::into_owned),
            deadline: line.deadline.as_ref(),
            created_at: line.created_at,
            started_at: line.started_at,
            finished_at: line.finished_at,
            records_in: line.records_in,
            records_failed: line.records_failed,
            bytes_worked: line.bytes_worked,
        }
    }
}

/// A page of the jobs that pass the filter.
pub(crate) fn print_json(
    out: &mut dyn Write,
    door: &dyn Door,
    filter: &JobFilter,
    page: &Page,
) -> Result<(), Stop> {
    let found = find(door, filter, page)?;
    let lines: Vec<_> = found.page.iter().map(LineView::of).collect();
    let told = serde_json::json!({
        "version": VIEW_VERSION,
        "jobs": lines,
        "more": found.more,
        "total": found.total,
        "newer": found.newer,
    });
    Ok(writeln!(out, "{}", shown_json::to_string(&told)?)?)
}

#[derive(Default)]
struct Found {
    page: Vec<JobLine>,
    /// There are some behind these.
    more: bool,
    /// How many pass in all; none: it was not counted.
    total: Option<u64>,
    /// Newer ones than `upto`, which are on no page.
    newer: u64,
}

fn find(door: &dyn Door, filter: &JobFilter, page: &Page) -> Result<Found, Stop> {
    let order = ORDERS.iter().find(|(word, _)| page.sort.as_deref() == Some(*word));
    let order = order.filter(|(word, _)| *word != CLAIMED).map(|(_, order)| *order);
    let by_age = order.is_none();
    let filter = JobFilter { newest_first: !(by_age && page.ascending), limit: None, ..filter.clone() };
    let text = page.text.as_ref().map(|text| text.to_lowercase());
    let passes = |line: &JobLine| {
        let has = |text: &String| {
            path_json(&line.source).0.to_lowercase().contains(text.as_str())
                || line.id.to_string().to_lowercase().contains(text.as_str())
        };
        (!page.waiting || line.waiting.is_some()) && text.as_ref().is_none_or(has)
    };
    let mut found = Found::default();
    let wanted = page.skip.saturating_add(page.count);
    let mut sorted = BinaryHeap::new();
    let mut seen = 0usize;
    for line in door.lines(&filter) {
        let line = line?;
        if !passes(&line) {
            continue;
        }
        if page.upto.is_some_and(|upto| line.id > upto) {
            found.newer += 1;
            continue;
        }
        seen += 1;
        if let Some(order) = order {
            sorted.push(Sorted { line, order, ascending: page.ascending });
            if sorted.len() > wanted {
                sorted.pop(); // the last one in that order
            }
        } else {
            if seen > wanted {
                found.more = true;
                return Ok(found);
            }
            if seen > page.skip {
                found.page.push(line);
            }
        }
    }
    if !by_age {
        found.more = seen > wanted;
        found.page = sorted.into_sorted_vec().into_iter().skip(page.skip).map(|sorted| sorted.line).collect();
    }
    found.total = Some(seen as u64);
    Ok(found)
}

/// A line in the order that is asked for: the first is the least.
struct Sorted {
    line: JobLine,
    order: Order,
    ascending: bool,
}

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = (self.order)(&self.line, &other.line);
        let order = if self.ascending { order } else { order.reverse() };
        // Of equal ones the newest first.
        order.then_with(|| other.line.id.cmp(&self.line.id))
    }
}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Sorted {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Sorted {}
