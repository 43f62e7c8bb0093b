//! `service.at_rest.key_command`: a program that prints the keys, as a vault's client does.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::key_file::{self, Secret, TIMEOUT};
use crate::model::os_text::said;
use crate::pipeline;

/// More is no text of keys.
pub(super) const KEYS_BYTES_MAX: usize = 64 << 10;
/// A longer word may be a key.
const WORD_BYTES_MAX: usize = 32;
/// Of what it complains, so much is told.
const COMPLAINT_BYTES_MAX: usize = 500;
/// What it started may keep its pipes open.
const REST_TIMEOUT: Duration = Duration::from_secs(1);

/// What it prints. An error says why it is none, and never what it printed. It has the service's environment: what a vault's client needs is
/// there.
pub(super) fn run(command: &[String], folder: &Path) -> Result<Zeroizing<String>, String> {
    let Some((program, arguments)) = command.split_first() else { return Err("it names no program".into()) };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipeline::start_child(&mut command)
        .map_err(|error| format!("{program} cannot be started: {error}"))?;
    let pipes = (child.stdout.take(), child.stderr.take());
    let (Some(stdout), Some(stderr)) = pipes else {
        pipeline::end_child(child);
        return Err(format!("{program} has no pipes"));
    };
    let (printed, complaint) = match (read(stdout), read(stderr)) {
        (Ok(printed), Ok(complaint)) => (printed, complaint),
        (Err(error), _) | (_, Err(error)) => {
            pipeline::end_child(child);
            return Err(format!("{program} cannot be listened to: {error}"));
        }
    };
    let Ok(printed) = printed.recv_timeout(TIMEOUT) else {
        pipeline::end_child(child);
        return Err(format!("{program} took longer than {TIMEOUT:?}, and was killed"));
    };
    let Some(status) = wait(&mut child) else {
        pipeline::end_child(child);
        return Err(format!("{program} closed its output, did not end, and was killed"));
    };
    if !status.success() {
        // What cannot be read of it is not told: the status is.
        let complaint = complaint.recv_timeout(REST_TIMEOUT).ok().and_then(Result::ok).unwrap_or_default();
        return Err(format!("{program} ended ({status}){}", told(&complaint)));
    }
    let printed = printed.map_err(|error| format!("what {program} prints cannot be taken: {error}"))?;
    match std::str::from_utf8(&printed) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(format!("{program} prints no text")),
    }
}

/// On a thread, so that neither pipe can block the program.
fn read(mut pipe: impl Read + Send + 'static) -> io::Result<Receiver<io::Result<Secret>>> {
    let (give, taken) = sync_channel(1);
    std::thread::Builder::new().name("key-command".into()).spawn(move || {
        let bytes = key_file::bytes_of(&mut pipe, KEYS_BYTES_MAX);
        let mut rest = Zeroizing::new([0; 4096]);
        // It is not to be stopped by a full pipe.
        while bytes.is_err() && pipe.read(&mut *rest).is_ok_and(|length| length > 0) {}
        give.send(bytes).ok(); // nobody waits any more
    })?;
    Ok(taken)
}

fn wait(child: &mut std::process::Child) -> Option<std::process::ExitStatus> {
    let begun = std::time::Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if begun.elapsed() < REST_TIMEOUT => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => return None,
        }
    }
}

/// A key that it complains with is not repeated.
fn told(complaint: &[u8]) -> String {
    let end = complaint.get(complaint.len().saturating_sub(COMPLAINT_BYTES_MAX)..).unwrap_or_default();
    // A part of one, or one in another alphabet, is a long word without a sign between.
    let has_key = |text: &[u8]| {
        let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+=".contains(byte);
        text.split(|byte| !is_of_word(byte)).any(|word| word.len() >= WORD_BYTES_MAX)
            || String::from_utf8_lossy(text).to_ascii_uppercase().contains("AGE-SECRET-KEY")
    };
    match complaint {
        [] => String::new(),
        complaint if has_key(complaint) => ": it complains with a key".to_owned(),
        _ => format!(": {}", said(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_complaint_is_told_but_for_one_that_may_hold_a_key_or_a_part_of_it() {
        for told_as_it_is in [
            "the vault is sealed",
            "cannot open /etc/vault/keys/at-rest.age: no such file",
            "connection to 10.0.0.1:8200 refused",
        ] {
            assert!(told(told_as_it_is.as_bytes()).contains(told_as_it_is), "{told_as_it_is}");
        }
        let key = "AGE-SECRET-KEY-1QQPQ8ZZXYRP2KV0S3FQ8TJX4WS8N3M9XJ5Q7Z0L6C2D4E5F6G7H8J9";
        let parts = [key, &key[15..], &key[30..], "QUdFLVNFQ1JFVC1LRVktMVFRUFE4WlpYWVJQMktWMFMz"];
        for part in parts {
            let text = format!("bad line: {part}\nsorry");
            assert!(!told(text.as_bytes()).contains(part), "{part}");
        }
    }
}
