//! Looks at the running service for the screen, on a thread of its own: a service that is slow does not make the screen so.
//!
//! It never keeps the store open, but for the moment in which it sees that no service has it: whoever has the store keeps a service from starting, and this command may stand open for days. A service that ends
//! is looked for until there is one again.

use std::collections::BTreeSet;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use super::desk::Desk;
use super::due::{ASKED_MAX, Due};
use super::happenings::Happening;
use super::kept::Kept;
use super::model::{News, Summary};
use crate::cli::status;
use crate::engine::{Door, JobFilter};
use crate::listing::Stop;
use crate::listing::status::{Status, of_service_showing};
use crate::model::halts::Pause;
use crate::model::job_id::JobId;

/// A service that ended is looked for so often.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Before all jobs are read, so many are on the screen: the newest.
const FIRST: usize = 100;
/// Until nobody listens any more.
pub(super) fn look(desk: &Desk, to: &SyncSender<Happening>) {
    let say = |news| to.send(Happening::News(news)).is_ok();
    loop {
        let why = match desk.service() {
            Some(service) => follow(service.as_ref(), &say),
            None => Some("it is not there yet".to_owned()),
        };
        let Some(why) = why else { return };
        desk.lose_service();
        if !say(News::Lost(why)) {
            return;
        }
        std::thread::sleep(AGAIN_AFTER);
        desk.find_service();
    }
}

/// Tells what becomes of the jobs of a service until it ends; why it did. None: nobody listens any more.
fn follow(door: &dyn Door, say: &dyn Fn(News) -> bool) -> Option<String> {
    let mut looks = Looks { door, kept: Kept::default(), due: Due::new() };
    for notice in door.subscribe() {
        let told = notice.map_err(Stop::from).and_then(|notice| {
            looks.due.note(&notice);
            looks.look(say)
        });
        match told {
            Ok(true) => {}
            Ok(false) => return None,
            Err(Stop::Refused(refusal)) => return Some(refusal.to_string()),
            Err(Stop::Output(error)) => return Some(error.to_string()),
        }
    }
    Some("it was stopped".to_owned())
}

struct Looks<'d> {
    door: &'d dyn Door,
    kept: Kept,
    due: Due,
}

impl Looks<'_> {
    /// Whether anybody listens.
    fn look(&mut self, say: &dyn Fn(News) -> bool) -> Result<bool, Stop> {
        let mut goes_on = true;
        if self.due.all(Instant::now()) {
            goes_on = self.look_at_all(say)?;
        } else if self.due.some(self.kept.at_work().next().is_some(), Instant::now()) {
            self.look_at_some()?;
            goes_on = say(self.jobs());
        }
        Ok(goes_on)
    }

    fn look_at_all(&mut self, say: &dyn Fn(News) -> bool) -> Result<bool, Stop> {
        let begun = Instant::now();
        self.due.begin_all();
        if self.kept.lines().0.is_empty() {
            let newest = JobFilter { limit: Some(FIRST), newest_first: true, ..JobFilter::default() };
            for line in self.door.lines(&newest) {
                self.kept.add(&line?);
            }
            if !say(self.jobs()) {
                return Ok(false);
            }
        }
        let mut all = Kept::default();
        let status = of_service_showing(self.door, None, &mut |line| all.add(line))?;
        self.kept = all;
        self.due.looked_at_all(begun, Instant::now());
        Ok(say(self.jobs()) && say(News::Summary(summary_of(&status))))
    }

    fn look_at_some(&mut self) -> Result<(), Stop> {
        let begun = Instant::now();
        let changed = self.due.take_changed();
        let room = ASKED_MAX.saturating_sub(changed.len());
        let at_work: BTreeSet<JobId> = self.kept.at_work().take(room).collect();
        let mut left: BTreeSet<JobId> = changed.union(&at_work).copied().collect();
        if left.is_empty() {
            return Ok(()); // of none all would be told
        }
        let these = JobFilter { jobs: left.clone(), ..JobFilter::default() };
        for line in self.door.lines(&these) {
            let line = line?;
            left.remove(&line.id);
            self.kept.renew(&line);
        }
        for id in left {
            self.kept.remove(id); // retention took them
        }
        self.due.looked_at_some(begun, Instant::now());
        Ok(())
    }

    fn jobs(&self) -> News {
        let (lines, left_out) = self.kept.lines();
        News::Jobs(lines, left_out, Instant::now())
    }
}

fn summary_of(status: &Status) -> Summary {
    let Status { rules, jobs, files_waiting, paused, disks, attention, .. } = status;
    Summary {
        rules: *rules,
        jobs: jobs.iter().map(|(state, count)| (*state, *count)).collect(),
        files_waiting: *files_waiting,
        paused: paused.iter().map(Pause::to_string).collect(),
        disks: disks.iter().map(status::told).collect(),
        attention: attention.iter().map(|item| (item.message.clone(), item.hint.clone())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::engine::Engine;
    use crate::model::job::Job;
    use crate::model::job_state::JobState;
    use crate::model::job_view::tests::sample_job;
    use crate::store::Store;

    fn looks(door: &Engine) -> Looks<'_> {
        Looks { door, kept: Kept::default(), due: Due::new() }
    }

    #[test]
    fn jobs_that_changed_are_asked_for_alone_and_one_that_is_listed_no_more_goes() {
        let store = Store::in_memory();
        let [first, second] = [sample_job().id, sample_job().id.successor()];
        for id in [first, second] {
            let job = Job { id, state: JobState::Running.into(), ..sample_job() };
            store.change().job(&job).apply().expect("applied");
        }
        let door = Engine::over(store.clone(), &[]);
        let mut looks = looks(&door);
        looks.due.take_changed();
        for line in door.lines(&JobFilter::default()) {
            looks.kept.add(&line.expect("is read"));
        }
        store.change().job(&Job { id: first, ..sample_job() }).unclaim(second).apply().expect("applied");
        looks.look_at_some().expect("looks");
        let lines: Vec<_> = looks.kept.lines().0.iter().map(|line| (line.id, line.state)).collect();
        assert_eq!(lines, [(first, JobState::Completed)]);
    }

    #[test]
    fn who_does_not_listen_any_more_ends_it() {
        let store = Store::in_memory();
        store.change().job(&sample_job()).apply().expect("applied");
        let door = Engine::over(store, &[]);
        let heard = RefCell::new(0);
        let say = |_: News| {
            *heard.borrow_mut() += 1;
            false
        };
        assert!(!looks(&door).look_at_all(&say).expect("looks"));
        assert_eq!(*heard.borrow(), 1);
    }
}
