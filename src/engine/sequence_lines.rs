//! Who may begin in a sequence, and behind whom the others stand. It decides and does nothing: [`super::sequence`] tells it what happened.
//!
//! ```text
//!  claimed, recovered, retried: in its line, by the rule's `order`
//!    -> a loader takes it up -- one has begun, or another comes first --> it waits until it is called
//!                            `- neither -> begun -> ended: the next one is called
//!                                                |- put down (paused, held, waits for a delivery): it stands in its place again
//!                                                `- failed: likewise, and none that comes after it begins until it ends well or is given up
//! ```
//!
//! Begun is who is at work, or will not be stopped any more. Such a one waits for no other job; all others wait for those that come before
//! them, or for one that has begun. So no two wait for each other.
//!
//! Rows are the truth, and this is an index of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::path::PathBuf;

use super::schedule::Owner;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;

/// Whose jobs go one after another: of a rule, or of one folder of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct LineName {
    pub rule: String,
    pub folder: Option<PathBuf>,
}

/// Where a job stands among those of its line that have not begun; equal ones stand by their ids.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    Arrival,
    Name(OsString),
    Modified(i128),
}

/// A job, as far as it matters here.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub line: LineName,
    pub place: Place,
    pub owner: Owner,
    /// Where its file lay.
    pub source: OsText,
}

/// The job behind which another one waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Behind {
    pub job: JobId,
    pub source: OsText,
    pub has: Has,
}

/// What that one has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Has {
    Begun,
    Failed,
    /// Nothing yet: it comes before the other.
    Precedence,
}

#[derive(Debug, Default)]
struct Line {
    /// All that have not begun, failed ones too.
    waiting: BTreeSet<(Place, JobId)>,
    begun: BTreeSet<JobId>,
    /// Failed ones, also while they are retried.
    failed: BTreeSet<JobId>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lines {
    by_name: HashMap<LineName, Line>,
    members: BTreeMap<JobId, Member>,
    /// Those that a loader took up when it was not their turn: they are in no queue.
    turned_away: HashSet<JobId>,
    /// Those to which something happened while somebody makes other lines.
    touched: Option<BTreeSet<JobId>>,
}

impl Lines {
    /// Somebody makes other lines from the rows: until [`Self::give_way_to`] nobody begins, and it is noted to whom something happens.
    pub(super) fn pause(&mut self) {
        self.touched = Some(BTreeSet::new());
    }

    /// To whom something happened since then.
    pub(super) fn touched(&self) -> BTreeSet<JobId> {
        self.touched.clone().unwrap_or_default()
    }

    /// No other lines come after all. Those that were turned away, each to be taken up again.
    pub(super) fn go_on(&mut self) -> Vec<(Owner, JobId)> {
        self.touched = None;
        let turned_away = std::mem::take(&mut self.turned_away);
        turned_away.iter().filter_map(|id| self.owner_of(*id)).collect()
    }

    fn owner_of(&self, id: JobId) -> Option<(Owner, JobId)> {
        Some((self.members.get(&id)?.owner.clone(), id))
    }

    fn touch(&mut self, id: JobId) {
        if let Some(touched) = &mut self.touched {
            touched.insert(id);
        }
    }

    /// A job stands in its line, or where it stands there already.
    pub(super) fn enter(&mut self, id: JobId, member: Member) {
        self.touch(id);
        if self.members.contains_key(&id) {
            return;
        }
        self.by_name.entry(member.line.clone()).or_default().waiting.insert((member.place.clone(), id));
        self.members.insert(id, member);
    }

    pub(super) fn knows(&self, id: JobId) -> bool {
        self.members.contains_key(&id)
    }

    /// Behind whom the job stands; none: it may begin, has begun, or stands in no line.
    pub(super) fn behind(&self, id: JobId) -> Option<Behind> {
        let line = self.by_name.get(&self.members.get(&id)?.line)?;
        if line.begun.contains(&id) {
            return None;
        }
        let begun = line.begun.first().map(|begun| (*begun, Has::Begun));
        let first = line.waiting.first().map(|(_, first)| *first).filter(|first| *first != id);
        let has = |first| if line.failed.contains(&first) { Has::Failed } else { Has::Precedence };
        let (job, has) = begun.or_else(|| first.map(|first| (first, has(first))))?;
        Some(Behind { job, source: self.members.get(&job)?.source.clone(), has })
    }

    /// A loader has taken the job up. Whether it has begun; else it waits until it is called.
    pub(super) fn take_up(&mut self, id: JobId) -> bool {
        let is_paused = self.touched.is_some() && !self.has_begun(id);
        let begins = !is_paused && self.behind(id).is_none();
        if begins {
            self.begin(id);
        } else {
            self.turned_away.insert(id);
        }
        begins
    }

    fn has_begun(&self, id: JobId) -> bool {
        let line = self.members.get(&id).and_then(|member| self.by_name.get(&member.line));
        line.is_some_and(|line| line.begun.contains(&id))
    }

    /// The job has begun, whoever else has.
    pub(super) fn begin(&mut self, id: JobId) {
        self.touch(id);
        self.turned_away.remove(&id);
        let Some(member) = self.members.get(&id) else { return };
        if let Some(line) = self.by_name.get_mut(&member.line) {
            line.waiting.remove(&(member.place.clone(), id));
            line.begun.insert(id);
        }
    }

    /// The job is at work no more, and has not ended: it stands in its place. The one that is called, because it comes before.
    pub(super) fn put_down(&mut self, id: JobId) -> Option<(Owner, JobId)> {
        self.touch(id);
        let Member { line: name, place, .. } = self.members.get(&id)?.clone();
        let line = self.by_name.get_mut(&name)?;
        if !line.begun.remove(&id) {
            return None;
        }
        line.waiting.insert((place, id));
        self.next_of(&name)
    }

    /// The job failed: its line stops behind it. The one that is called, because it comes before.
    pub(super) fn fail(&mut self, id: JobId) -> Option<(Owner, JobId)> {
        self.touch(id);
        self.turned_away.remove(&id);
        let Member { line: name, place, .. } = self.members.get(&id)?.clone();
        let line = self.by_name.get_mut(&name)?;
        line.begun.remove(&id);
        line.waiting.insert((place, id));
        line.failed.insert(id);
        self.next_of(&name)
    }

    /// The job ended otherwise, or is given up. The one that is called, if it waits to be.
    pub(super) fn leave(&mut self, id: JobId) -> Option<(Owner, JobId)> {
        self.touch(id);
        self.turned_away.remove(&id);
        let Member { line: name, place, .. } = self.members.remove(&id)?;
        let line = self.by_name.get_mut(&name)?;
        line.waiting.remove(&(place, id));
        line.begun.remove(&id);
        line.failed.remove(&id);
        if line.waiting.is_empty() && line.begun.is_empty() && line.failed.is_empty() {
            self.by_name.remove(&name);
            return None;
        }
        self.next_of(&name)
    }

    /// Who may begin now and was turned away before.
    fn next_of(&mut self, name: &LineName) -> Option<(Owner, JobId)> {
        let line = self.by_name.get(name)?;
        let (_, first) = line.waiting.first().filter(|_| line.begun.is_empty())?;
        let owner = self.members.get(first)?.owner.clone();
        self.turned_away.remove(first).then_some((owner, *first))
    }

    /// Those that others may be behind: their rows tell whether they still are.
    pub(super) fn in_front(&self) -> Vec<JobId> {
        let lines = self.by_name.values();
        let first = |line: &Line| line.waiting.first().map(|(_, id)| *id);
        lines.flat_map(|line| line.begun.iter().copied().chain(first(line))).collect()
    }

    /// Other lines in place of these: jobs that began go on. Those that were turned away, each to be taken up again.
    pub(super) fn give_way_to(&mut self, mut next: Self) -> Vec<(Owner, JobId)> {
        let begun = self.by_name.values().flat_map(|line| &line.begun).copied();
        begun.filter(|id| next.knows(*id)).collect::<Vec<_>>().into_iter().for_each(|id| next.begin(id));
        let mut before = std::mem::replace(self, next);
        before.go_on()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::priority::Priority;

    fn id(number: u64) -> JobId {
        JobId::from_parts(number, 0)
    }

    fn member(rule: &str, name: &str) -> Member {
        let source = format!("in/{name}");
        Member {
            line: LineName { rule: rule.to_owned(), folder: None },
            place: Place::Name(name.into()),
            owner: Owner::of_source(rule, std::path::Path::new(&source), Priority::default()),
            source: source.as_str().into(),
        }
    }

    fn line_of(names: &[(u64, &str)]) -> Lines {
        let mut lines = Lines::default();
        for (number, name) in names {
            lines.enter(id(*number), member("rule", name));
        }
        lines
    }

    fn behind(lines: &mut Lines, number: u64) -> Option<(JobId, Has)> {
        let behind = lines.behind(id(number)).map(|behind| (behind.job, behind.has));
        assert_eq!(lines.take_up(id(number)), behind.is_none());
        behind
    }

    #[test]
    fn one_begins_after_another_in_the_order_of_their_places_and_says_behind_whom_it_is() {
        let mut lines = line_of(&[(1, "b"), (2, "a"), (3, "c")]);
        assert_eq!(behind(&mut lines, 1), Some((id(2), Has::Precedence)));
        assert_eq!(behind(&mut lines, 2), None);
        assert_eq!(behind(&mut lines, 3), Some((id(2), Has::Begun)));
        lines.enter(id(4), member("rule", "0"));
        assert_eq!(behind(&mut lines, 2), None, "it goes on");
        assert_eq!(lines.leave(id(2)), None, "the first is in the queue already");
        assert_eq!(behind(&mut lines, 4), None);
        assert_eq!(lines.leave(id(4)).map(|(_, id)| id), Some(id(1)));
        assert_eq!(behind(&mut lines, 1), None);
        assert_eq!(lines.leave(id(1)).map(|(_, id)| id), Some(id(3)));
        assert_eq!(lines.leave(id(3)), None);
        assert!(lines.by_name.is_empty() && lines.members.is_empty() && lines.turned_away.is_empty());
    }

    #[test]
    fn a_line_stops_behind_a_failed_one_and_that_one_alone_begins_again() {
        let mut lines = line_of(&[(1, "a"), (2, "b")]);
        assert_eq!(behind(&mut lines, 1), None);
        lines.fail(id(1));
        assert_eq!(behind(&mut lines, 2), Some((id(1), Has::Failed)));
        assert_eq!(behind(&mut lines, 1), None, "it is retried");
        assert_eq!(behind(&mut lines, 2), Some((id(1), Has::Begun)));
        lines.fail(id(1));
        assert_eq!(behind(&mut lines, 2), Some((id(1), Has::Failed)));
        assert_eq!(lines.leave(id(1)).map(|(_, id)| id), Some(id(2)));
    }

    #[test]
    fn a_failed_one_holds_up_those_that_come_after_it_and_not_those_before_it() {
        let mut lines = line_of(&[(1, "b"), (2, "c")]);
        assert_eq!(behind(&mut lines, 1), None);
        lines.enter(id(3), member("rule", "a"));
        assert_eq!(behind(&mut lines, 3), Some((id(1), Has::Begun)));
        assert_eq!(lines.fail(id(1)).map(|(_, id)| id), Some(id(3)));
        assert_eq!(behind(&mut lines, 1), Some((id(3), Has::Precedence)), "it is retried");
        assert_eq!(behind(&mut lines, 3), None);
        assert_eq!(lines.leave(id(3)).map(|(_, id)| id), Some(id(1)));
        assert_eq!(behind(&mut lines, 2), Some((id(1), Has::Failed)));
    }

    #[test]
    fn one_that_is_put_down_stands_in_its_place_and_one_that_comes_before_it_is_called() {
        let mut lines = line_of(&[(2, "b"), (3, "c")]);
        assert_eq!(behind(&mut lines, 2), None);
        assert_eq!(lines.put_down(id(2)), None, "it is the first, and in a queue of its own");
        assert_eq!(behind(&mut lines, 3), Some((id(2), Has::Precedence)));
        assert_eq!(behind(&mut lines, 2), None);
        lines.enter(id(1), member("rule", "a"));
        assert_eq!(behind(&mut lines, 1), Some((id(2), Has::Begun)));
        assert_eq!(lines.put_down(id(2)).map(|(_, id)| id), Some(id(1)));
        assert_eq!(lines.put_down(id(2)), None, "it is at work no more");
        assert_eq!(behind(&mut lines, 1), None);
    }

    #[test]
    fn other_lines_keep_what_has_begun_and_call_whom_they_find_waiting() {
        let mut lines = line_of(&[(1, "a"), (2, "b")]);
        behind(&mut lines, 1);
        behind(&mut lines, 2);
        let called = lines.give_way_to(line_of(&[(1, "a"), (2, "b")]));
        assert_eq!(called.into_iter().map(|(_, id)| id).collect::<Vec<_>>(), [id(2)]);
        assert_eq!(behind(&mut lines, 2), Some((id(1), Has::Begun)));
        assert_eq!(lines.give_way_to(Lines::default()).len(), 1, "its rule has no sequence any more");
        assert_eq!(behind(&mut lines, 2), None);
    }

    #[test]
    fn while_other_lines_are_made_nobody_begins_and_all_that_were_turned_away_are_called() {
        let mut lines = line_of(&[(1, "a"), (2, "b")]);
        assert!(lines.take_up(id(1)));
        for gives_way in [true, false] {
            lines.pause();
            lines.enter(
                id(3),
                Member { line: LineName { rule: "b".into(), folder: None }, ..member("b", "c") },
            );
            assert!(lines.take_up(id(1)) && !lines.take_up(id(2)), "one goes on that had begun");
            assert!(!lines.take_up(id(3)), "nobody comes before it, as far as is known");
            assert_eq!(lines.touched(), BTreeSet::from([id(1), id(3)]));
            let called = if gives_way {
                let mut next = line_of(&[(1, "a"), (2, "b")]);
                next.enter(id(3), member("b", "c"));
                lines.give_way_to(next)
            } else {
                lines.go_on()
            };
            assert_eq!(
                called.into_iter().map(|(_, id)| id).collect::<BTreeSet<_>>(),
                BTreeSet::from([id(2), id(3)])
            );
        }
        assert!(lines.take_up(id(3)) && !lines.take_up(id(2)));
    }

    /// What may happen to a job.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Claim,
        TakeUp,
        PutDown,
        End,
        Fail,
    }

    fn any_event() -> impl Strategy<Value = (Event, u64)> {
        const EVENTS: [Event; 6] =
            [Event::Claim, Event::TakeUp, Event::TakeUp, Event::PutDown, Event::End, Event::Fail];
        (prop::sample::select(&EVENTS[..]), 0..6_u64)
    }

    proptest! {
        /// Whatever happens in whatever order: no two have begun, none begins before one that comes first, failed or not, and whoever may go
        /// on is in the queue, so that nobody waits for ever.
        #[test]
        fn a_line_has_one_at_work_and_never_stands_still_for_nothing(events in prop::collection::vec(any_event(), 0..80)) {
            let names = ["d", "b", "f", "a", "e", "c"];
            let mut lines = Lines::default();
            let mut queue = BTreeSet::new();
            let (mut begun, mut failed) = (BTreeSet::new(), BTreeSet::new());
            for (event, number) in events {
                let job = id(number);
                let name = names[number as usize];
                match event {
                    // Also a failed one that is retried.
                    Event::Claim if !lines.knows(job) || failed.contains(&number) && !begun.contains(&number) => {
                        lines.enter(job, member("rule", name));
                        queue.insert(number);
                    }
                    Event::TakeUp if queue.remove(&number) => {
                        let mut others = (0..6).filter(|other| *other != number && lines.knows(id(*other)));
                        let comes_first = others.all(|other| name < names[other as usize]);
                        if lines.take_up(job) {
                            prop_assert!(comes_first, "{number} {failed:?}");
                            prop_assert!(begun.insert(number) && begun.len() == 1);
                        }
                    }
                    // It waits for something else, and comes again by itself.
                    Event::PutDown if begun.remove(&number) => {
                        queue.extend(lines.put_down(job).map(|(_, id)| id.unix_ms()));
                        queue.insert(number);
                    }
                    Event::End if begun.remove(&number) => {
                        failed.remove(&number);
                        queue.extend(lines.leave(job).map(|(_, id)| id.unix_ms()));
                    }
                    Event::Fail if begun.remove(&number) => {
                        failed.insert(number);
                        queue.extend(lines.fail(job).map(|(_, id)| id.unix_ms()));
                    }
                    _ => continue,
                }
                let may_go_on = (0..6).filter(|other| lines.knows(id(*other)) && lines.behind(id(*other)).is_none());
                for other in may_go_on {
                    let is_left_to_an_operator = failed.contains(&other) && !lines.turned_away.contains(&id(other));
                    prop_assert!(begun.contains(&other) || queue.contains(&other) || is_left_to_an_operator, "{other} is forgotten");
                }
            }
        }
    }
}
