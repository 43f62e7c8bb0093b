//! The thread that tells a supervisor how the service is: that it is ready, what it is at, and that it gets on.
//!
//! Ready is a service whose folders were all looked through once. A file system that does not answer keeps nobody: after
//! [`FIRST_LOOK_TAKES`] the service is ready without it.
//!
//! It asks nothing of a file system, and takes the scheduler's lock. So where the engine stands still this thread does too, or sees it:
//! in both cases the watchdog is not fed, and the service is started anew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::board::Board;
use crate::engine::{Beat, Door as _, Engine};
use crate::model::files_in_view::FilesInView;
use crate::supervisor::Supervisor;
use crate::supervisor::proof::{Proof, Seen, Stuck};

/// The state is looked at so often, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Until it is ready.
const LOOK_EARLY_EVERY: Duration = Duration::from_millis(50);
/// How long folders are waited for that are looked through for the first time.
const FIRST_LOOK_TAKES: Duration = Duration::from_secs(10);
/// So much longer than it took to count jobs they are not counted again.
const COUNT_SHARE: u32 = 50;
/// A watchdog is fed so often in its time.
const FED_TIMES: u32 = 4;

/// Begins to tell it. Where nobody asks to be told there is no such thread.
pub(super) fn begin(
    engine: &Engine,
    board: &Arc<Board>,
    supervisor: &Arc<Supervisor>,
) -> std::io::Result<()> {
    if !supervisor.is_there() {
        return Ok(());
    }
    let life = Life::new(engine.clone(), Arc::clone(board), Arc::clone(supervisor));
    // It ends with the engine's stages.
    std::thread::Builder::new().name("life".into()).spawn(move || life.run()).map(drop)
}

struct Life {
    engine: Engine,
    board: Arc<Board>,
    supervisor: Arc<Supervisor>,
    begun: Instant,
    is_ready: bool,
    proof: Option<Proof>,
    fed: Option<Instant>,
    is_stuck: bool,
    jobs: (u64, u64),
    count_at: Instant,
}

impl Life {
    fn new(engine: Engine, board: Arc<Board>, supervisor: Arc<Supervisor>) -> Self {
        let now = Instant::now();
        let proof = supervisor.watchdog().map(|time| Proof::new(time / 2, every(Some(time))));
        Self {
            engine,
            board,
            supervisor,
            begun: now,
            is_ready: false,
            proof,
            fed: None,
            is_stuck: false,
            jobs: (0, 0),
            count_at: now,
        }
    }

    fn run(mut self) {
        let mut last = Instant::now();
        loop {
            let now = Instant::now();
            self.feed(now, now.saturating_duration_since(last));
            self.tell(now);
            last = now;
            let every = every(self.supervisor.watchdog());
            if self.engine.pause(if self.is_ready { every } else { LOOK_EARLY_EVERY.min(every) }) {
                return;
            }
        }
    }

    /// Tells a watchdog that the service gets on, if it does.
    fn feed(&mut self, now: Instant, passed: Duration) {
        let Some((proof, time)) = self.proof.as_mut().zip(self.supervisor.watchdog()) else { return };
        let beats = self.engine.beats();
        let stuck = proof.look(beats.iter().map(seen), passed);
        if let Some(Stuck { name, still_for }) = &stuck
            && !self.is_stuck
        {
            tracing::error!(
                thread = name,
                seconds = still_for.as_secs(),
                hint = "the next start recovers from what is durable; if this comes again, look at the disk of the data folder",
                "a loop of the engine stands still: the watchdog is not told that the service lives, and will have it started anew"
            );
        } else if stuck.is_none() && self.is_stuck {
            tracing::info!("the engine gets on again");
        }
        self.is_stuck = stuck.is_some();
        let is_due = self.fed.is_none_or(|fed| now.saturating_duration_since(fed) * FED_TIMES >= time);
        if !self.is_stuck && is_due {
            self.fed = Some(now);
            self.supervisor.lives();
        }
    }

    fn tell(&mut self, now: Instant) {
        let Ok(files) = self.engine.files_in_view() else { return };
        let waited = now.saturating_duration_since(self.begun);
        if !self.is_ready && !files.is_first_look {
            self.is_ready = true;
        } else if !self.is_ready && waited >= FIRST_LOOK_TAKES {
            tracing::warn!(
                seconds = waited.as_secs(),
                "some folders are still looked through for the first time: the service is ready, and files there are found later"
            );
            self.is_ready = true;
        }
        if self.is_ready {
            self.supervisor.ready(); // it tells that once, and again where it was not taken
        }
        self.count_jobs(now);
        let mut text = told(self.jobs, &files);
        if self.board.watches_nothing() {
            text.push_str("; no rule watches anything: `landfall check`");
        }
        self.supervisor.status(&text);
    }

    fn count_jobs(&mut self, now: Instant) {
        if now < self.count_at {
            return;
        }
        if let Ok(jobs) = self.engine.open_jobs() {
            self.jobs = jobs;
        }
        let done = Instant::now();
        self.count_at = done + done.saturating_duration_since(now) * COUNT_SHARE;
    }
}

/// How often is looked: what counts for a watchdog must be seen well within its time.
fn every(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(LOOK_EVERY, |time| LOOK_EVERY.min(time / FED_TIMES / 2))
}

fn seen(beat: &Beat) -> Seen<'_> {
    Seen { name: &beat.name, turns: beat.turns, rests: beat.rests, sleeps: beat.sleeps }
}

/// In a line: jobs that run, all that are not done, files that wait.
fn told((running, open): (u64, u64), files: &FilesInView) -> String {
    let some = |count: u64, one: &str, more: &str| match count {
        1 => format!("1 {one}"),
        count => format!("{count} {more}"),
    };
    let mut text = if open == 0 {
        "no jobs".to_owned()
    } else {
        format!("{} ({running} running)", some(open, "job", "jobs"))
    };
    text.push_str(", ");
    text.push_str(&match files.waiting + files.out_of_view {
        0 => "no files waiting".to_owned(),
        waiting => some(waiting, "file waiting", "files waiting"),
    });
    if files.is_first_look {
        text.push_str(" so far, in a first look through the folders");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_has_jobs_and_waiting_files_in_one_line() {
        let files = |waiting, is_first_look| FilesInView { waiting, is_first_look, ..FilesInView::default() };
        assert_eq!(told((0, 0), &files(0, false)), "no jobs, no files waiting");
        assert_eq!(told((1, 1), &files(1, false)), "1 job (1 running), 1 file waiting");
        assert_eq!(
            told((2, 7), &files(12, true)),
            "7 jobs (2 running), 12 files waiting so far, in a first look through the folders"
        );
    }

    #[test]
    fn a_watchdog_is_looked_after_well_within_its_time_and_not_more_often_than_each_second() {
        assert_eq!(every(None), LOOK_EVERY);
        assert_eq!(every(Some(Duration::from_mins(2))), LOOK_EVERY);
        assert_eq!(every(Some(Duration::from_secs(2))), Duration::from_millis(250));
    }
}
