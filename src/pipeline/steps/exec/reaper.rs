//! The end of children that are killed. One that is in the middle of a call to a file system that hangs goes when that answers, and
//! whoever killed it does not wait for that: a thread waits for all of them.

use std::process::{Child, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::groups;

/// A child that was killed is gone within this, or in the middle of a call that hangs.
const GONE_WITHIN: Duration = Duration::from_millis(200);
const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(5);
/// Between looks at those that are not gone.
const LOOK_EVERY: Duration = Duration::from_millis(100);

static LEFT: Mutex<Left> = Mutex::new(Left { children: Vec::new(), is_waiting: false });

struct Left {
    children: Vec<Child>,
    /// Whether a thread waits for them.
    is_waiting: bool,
}

/// Kills a child, unless it has ended, and what it left behind in its process group. How it ended, if it is gone.
pub(crate) fn kill(mut child: Child) -> Option<ExitStatus> {
    groups::kill(child.id());
    if let Err(error) = child.kill() {
        tracing::debug!(%error, "the child cannot be killed");
    }
    let until = Instant::now() + GONE_WITHIN;
    let mut pause = PAUSE_MIN;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < until => {}
            Ok(None) => {
                leave(child);
                return None;
            }
            Err(error) => {
                tracing::debug!(%error, "the child cannot be waited for");
                return None;
            }
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

fn leave(child: Child) {
    tracing::warn!(
        child = child.id(),
        "a killed child is not gone: it may wait for a file system that does not answer"
    );
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    left.children.push(child);
    if left.is_waiting {
        return;
    }
    match std::thread::Builder::new().name("exec-reap".to_owned()).spawn(wait) {
        Ok(_) => left.is_waiting = true,
        Err(error) => {
            tracing::debug!(%error, "no thread waits for killed children before the next one is left");
        }
    }
}

/// The life of the thread.
fn wait() {
    loop {
        {
            let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
            left.children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            if left.children.is_empty() {
                left.is_waiting = false;
                return;
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// One that ends with its input.
    fn cat() -> Child {
        let mut command = Command::new("cat");
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("starts")
    }

    #[test]
    fn a_child_that_is_killed_is_gone_and_how_it_ended_is_known() {
        let status = kill(cat()).expect("is gone");
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    }

    #[test]
    fn whoever_leaves_a_child_that_is_not_gone_does_not_wait_for_it_and_a_thread_reaps_it() {
        let mut child = cat();
        let (id, input) = (child.id(), child.stdin.take());
        leave(child);
        let is_left = || LEFT.lock().expect("no panic").children.iter().any(|left| left.id() == id);
        assert!(is_left());
        drop(input);
        while is_left() {
            std::thread::yield_now();
        }
    }
}
