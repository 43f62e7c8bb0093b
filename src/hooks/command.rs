//! A hook's program: what happened stands in its environment and on its input, and how it ends says whether it took it.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use crate::model::os_text::said;
use crate::pipeline;

const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Of what it complains, so much is told.
const COMPLAINT_BYTES_MAX: usize = 500;
/// What it started may keep its standard error open.
const COMPLAINT_PATIENCE: Duration = Duration::from_millis(100);

/// Runs it to its end, or kills it with what it started. An error says why it did not take what it was told.
pub(super) fn run(
    command: &[String],
    folder: &Path,
    variables: &[(&str, OsString)],
    input: &[u8],
    timeout: Duration,
    stops: &dyn Fn() -> bool,
) -> Result<(), String> {
    let Some((program, arguments)) = command.split_first() else { return Err("it names no program".into()) };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    pipeline::clear_environment(&mut command);
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = pipeline::start_child(&mut command)
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    let pipes = (child.stdin.take(), child.stderr.take());
    let complaint = match pipes {
        (Some(stdin), Some(stderr)) => tend(stdin, stderr, input.to_vec()),
        _ => Err(std::io::Error::other("it has no pipes")),
    };
    let complaint = match complaint {
        Ok(complaint) => complaint,
        Err(error) => {
            pipeline::end_child(child);
            return Err(format!("{program} cannot be talked to: {error}"));
        }
    };
    let ended = wait(child, timeout, stops);
    ended.map_err(|why| {
        let complaint = complaint.recv_timeout(COMPLAINT_PATIENCE).unwrap_or_default();
        if complaint.is_empty() {
            format!("{program} {why}")
        } else {
            format!("{program} {why}: {complaint}")
        }
    })
}

/// Its pipes have threads, so that neither side can block the other. Gives its last words.
fn tend(mut stdin: ChildStdin, mut stderr: ChildStderr, input: Vec<u8>) -> std::io::Result<Receiver<String>> {
    let (told, complaint) = sync_channel(1);
    let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
    // The last line of a text has an end, too; one that does not read it need not.
    thread("hook-input").spawn(move || stdin.write_all(&input).and_then(|()| stdin.write_all(b"\n")).ok())?;
    thread("hook-complain").spawn(move || {
        let (mut last, mut block) = (Vec::new(), [0; 4096]);
        while let Ok(count) = stderr.read(&mut block) {
            if count == 0 {
                break;
            }
            last.extend_from_slice(block.get(..count).unwrap_or_default());
            let too_many = last.len().saturating_sub(COMPLAINT_BYTES_MAX);
            last.drain(..too_many);
        }
        told.send(said(&last)).ok();
    })?;
    Ok(complaint)
}

fn wait(mut child: Child, timeout: Duration, stops: &dyn Fn() -> bool) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("ended ({status})")),
            Ok(None) => {}
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
        let why = match () {
            () if stops() => "was stopped with the service".to_owned(),
            () if begun.elapsed() > timeout => format!("took longer than {timeout:?}, and was killed"),
            () => {
                std::thread::sleep(LOOK_EVERY);
                continue;
            }
        };
        pipeline::end_child(child);
        return Err(why);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn run_sh(script: &str, timeout: Duration) -> Result<(), String> {
        let command = ["sh", "-c", script].map(str::to_owned);
        let variables = [("LANDFALL_EVENT", OsString::from("failed"))];
        run(&command, Path::new("/"), &variables, b"{}", timeout, &|| false)
    }

    #[test]
    fn it_gets_what_happened_and_little_else_and_its_end_tells_whether_it_took_it() {
        let long = Duration::from_mins(1);
        run_sh("read -r line && [ \"$line\" = '{}' ] && [ \"$LANDFALL_EVENT\" = failed ]", long)
            .expect("takes it: its line has an end");
        run_sh("[ -z \"$CARGO_MANIFEST_DIR\" ]", long).expect("has it not");
        let error = run_sh("echo no route >&2; exit 3", long).expect_err("refuses it");
        assert!(error.contains("exit status: 3") && error.ends_with("no route"), "{error}");
    }

    #[test]
    fn what_it_complains_is_one_line_of_its_last_words_in_which_nothing_is_taken_for_a_sign() {
        let script = r"printf 'first\033[31mred\r\nINFO forged\n\n' >&2; exit 1";
        let error = run_sh(script, Duration::from_mins(1)).expect_err("refuses it");
        assert!(error.ends_with(r"first\u{1b}[31mred | INFO forged"), "{error}");
        let error = run_sh("yes x | head -c 10000 >&2; echo end >&2; exit 1", Duration::from_mins(1));
        let error = error.expect_err("refuses it");
        assert!(error.ends_with("x | end") && error.len() < 4 * COMPLAINT_BYTES_MAX, "{error}");
    }

    #[test]
    fn one_that_hangs_is_killed_with_what_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let script = format!("(sleep 600; echo) & echo $! > {}/child; wait", folder.path().display());
        let error = run_sh(&script, Duration::from_secs(2)).expect_err("hangs");
        assert!(error.contains("and was killed"), "{error}");
        let child = std::fs::read_to_string(folder.path().join("child")).expect("it was started");
        let is_there = || std::fs::metadata(Path::new("/proc").join(child.trim())).is_ok();
        let begun = Instant::now();
        while is_there() && begun.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
        assert!(!is_there());
    }

    #[test]
    fn one_that_cannot_be_started_says_so() {
        let error =
            run(&["/no/such".to_owned()], Path::new("/"), &[], b"", Duration::from_secs(1), &|| false);
        assert!(error.expect_err("is not there").contains("cannot be started"));
    }
}
