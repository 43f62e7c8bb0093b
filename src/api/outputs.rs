//! `GET /v1/jobs/{job}/output`: what a job published, as long as its reader takes it.
//!
//! A reader may be slow, and a file system may not answer. Each of a few turns is held as long as its reader takes something now and then;
//! one that was silent for long gives it to whoever asks. A thread that waits for a file system counts no more after a while, so that others
//! have its turn; further ones for that file system are refused.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};
use std::time::Duration;

use axum::http::StatusCode;

use super::params::Asked;
use super::pipe::{Giver, OUTPUT_TAKEN_WITHIN, Taker, Watcher, pipe_within};
use super::problem::Problem;
use super::turns::{Turn, Turns};
use crate::durable_fs::{self, Mounts};
use crate::engine::{Door, Refusal};
use crate::model::os_text::escaped_path;
use crate::published::{self, ReadError};

/// Outputs that are read at once: whoever takes one slowly holds up no other question.
const OUTPUTS_MAX: usize = 4;
/// With those that wait for a file system.
const THREADS_MAX: usize = 12;
/// Who has taken nothing for so long gives his turn to who asks for one.
const SILENT_MAX: Duration = Duration::from_secs(30);
/// A busy disk may take so long.
const HANGS_AFTER: Duration = Duration::from_secs(2);

pub(super) struct Outputs {
    turns: Arc<Turns>,
    reading: Mutex<Vec<ThreadId>>,
    answers: Mutex<Vec<Watcher>>,
}

impl Outputs {
    pub(super) fn new() -> Self {
        Self { turns: Turns::new(THREADS_MAX), reading: Mutex::default(), answers: Mutex::default() }
    }

    pub(super) fn take(&self) -> Option<Turn> {
        let turn = self.turns.take()?;
        let taken = self.turns.taken();
        let counting = |taken: usize| taken.saturating_sub(self.hanging().len() + self.given_up(taken));
        (taken <= OUTPUTS_MAX || counting(taken) <= OUTPUTS_MAX).then_some(turn)
    }

    /// For the answer of who took a turn.
    pub(super) fn pipe(&self) -> (Giver, Taker) {
        let (giver, taker) = pipe_within(OUTPUT_TAKEN_WITHIN);
        let mut answers = self.lock_answers();
        answers.retain(|answer| !answer.has_ended());
        answers.push(giver.watcher());
        drop(answers);
        (giver, taker)
    }

    /// How many are given up. Where all turns are taken, that is one more: whose reader was silent longest, if it was for long.
    fn given_up(&self, taken: usize) -> usize {
        let mut answers = self.lock_answers();
        answers.retain(|answer| !answer.has_ended());
        let given_up = answers.iter().filter(|answer| answer.is_given_up()).count();
        if taken.saturating_sub(given_up) <= OUTPUTS_MAX {
            return given_up;
        }
        let silent = answers.iter().filter(|answer| !answer.is_given_up());
        let silent = silent.map(|answer| (answer.silent_for(), answer)).max_by_key(|(time, _)| *time);
        match silent.filter(|(time, _)| *time >= SILENT_MAX) {
            Some((_, answer)) => {
                answer.give_up();
                given_up + 1
            }
            None => given_up,
        }
    }

    fn lock_answers(&self) -> MutexGuard<'_, Vec<Watcher>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn are_all_back(&self) -> bool {
        self.turns.are_all_back()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<ThreadId>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where threads are that wait for a file system, and how long.
    fn hanging(&self) -> Vec<(PathBuf, Duration)> {
        let reading = self.lock().clone();
        reading.into_iter().filter_map(|thread| durable_fs::hangs_at(thread, HANGS_AFTER)).collect()
    }

    /// Writes what is asked for, and says why not, as long as nothing is written.
    pub(super) fn print(&self, door: &dyn Door, asked: &Asked, out: &mut dyn Write) -> Result<(), Problem> {
        let refused = |refusal: Refusal| Problem::refused(&refusal);
        let job = asked.text("job").unwrap_or_default();
        let (job, rule) =
            door.show(job).and_then(|found| Ok((found, door.rule_of(job)?))).map_err(refused)?;
        let range = range(asked)?;
        let chosen =
            published::chosen(&job, asked.text("category"), asked.text("entry")).map_err(problem_of)?;
        let output = published::only(&job, &chosen).map_err(problem_of)?;
        let path = output.path.as_path();
        self.check_answers(path)?;
        let reader = Reader::begin(self, path);
        let mut out = Noted { out, path };
        let printed = published::print_alone(output, &rule, range, door.keys(), &mut out);
        drop(reader);
        printed.map_err(problem_of)
    }

    /// Whoever asks next would hang as well.
    fn check_answers(&self, path: &Path) -> Result<(), Problem> {
        let hanging = self.hanging();
        if hanging.is_empty() {
            return Ok(());
        }
        let mounts = Mounts::now();
        let of_path = mounts.of(path);
        match hanging.iter().find(|(met, _)| mounts.of(met) == of_path) {
            None => Ok(()),
            Some((met, time)) => {
                let detail = format!(
                    "the file system of {} has not answered for {} s",
                    escaped_path(met),
                    time.as_secs()
                );
                Err(Problem::new(
                    "no-answer",
                    StatusCode::SERVICE_UNAVAILABLE,
                    detail,
                    "see whether its server is there; then ask again",
                ))
            }
        }
    }
}

/// A thread that reads an output.
struct Reader<'o> {
    outputs: &'o Outputs,
    thread: ThreadId,
}

impl<'o> Reader<'o> {
    fn begin(outputs: &'o Outputs, path: &Path) -> Self {
        let thread = thread::current().id();
        outputs.lock().push(thread);
        durable_fs::note_place(path);
        Self { outputs, thread }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        durable_fs::leave_place();
        self.outputs.lock().retain(|thread| *thread != self.thread);
    }
}

/// Between two writes its thread waits for the file system, within one for the reader.
struct Noted<'a> {
    out: &'a mut dyn Write,
    path: &'a Path,
}

impl Write for Noted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        durable_fs::leave_place();
        let written = self.out.write(bytes);
        durable_fs::note_place(self.path);
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn range(asked: &Asked) -> Result<Option<published::Range>, Problem> {
    let (first, last) = (asked.number("first"), asked.number("last"));
    if first.is_none() && last.is_none() {
        return Ok(None);
    }
    let range = published::Range { first: first.unwrap_or(1), last: last.unwrap_or(u64::MAX) };
    if range.first > range.last {
        return Err(Problem::bad_request("`first` is behind `last`", "give them in the order of the file"));
    }
    Ok(Some(range))
}

#[allow(clippy::needless_pass_by_value, reason = "it stands behind map_err")]
fn problem_of(error: ReadError) -> Problem {
    match &error {
        ReadError::Print(_) => Problem::broken(), // nobody reads it any more
        ReadError::NoSuchOutput { .. } => Problem::not_there("no-such-output", &error),
        ReadError::TooFew { .. } => Problem::not_there("no-such-record", &error),
        _ if error.needs_key() => {
            let hint = "its key is not here: `landfall output JOB --identity FILE` decrypts it";
            Problem::new("encrypted", StatusCode::CONFLICT, error.to_string(), hint)
        }
        _ => Problem::refused(&Refusal::from_fault(&error)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// Goal: a file system that does not answer keeps no turn from those of others, and takes no more threads.
    #[test]
    fn a_thread_that_waits_for_a_file_system_counts_no_more_and_who_asks_for_that_one_is_refused() {
        let outputs = Arc::new(Outputs::new());
        let turns: Vec<_> = (0..OUTPUTS_MAX).map(|_| outputs.take().expect("there is room")).collect();
        assert!(outputs.take().is_none(), "all are taken");
        let path = Path::new("/landfall-hangs/out.csv");
        let ((tell, told), (answer, answered)) = (sync_channel(0), sync_channel::<()>(0));
        let hangs = Arc::clone(&outputs);
        let reading = thread::spawn(move || {
            let _reader = Reader::begin(&hangs, path);
            tell.send(()).expect("the test waits");
            answered.recv().expect("it answers");
        });
        told.recv().expect("it reads");
        // It says so before it waits.
        while crate::durable_fs::hangs_at(reading.thread().id(), Duration::ZERO).is_none() {
            thread::yield_now();
        }
        while outputs.hanging().is_empty() {
            thread::yield_now();
        }
        let more = outputs.take().expect("one of them counts no more");
        assert!(outputs.take().is_none());
        let refused = outputs.check_answers(path).expect_err("it would hang too");
        assert_eq!(refused.into_response().status(), StatusCode::SERVICE_UNAVAILABLE);
        answer.send(()).expect("it hangs");
        reading.join().expect("no panic");
        assert!(outputs.check_answers(path).is_ok());
        drop((turns, more));
        assert!(outputs.are_all_back());
    }
}
