//! How writers treat their files before they are done with them.

use std::os::unix::fs::FileExt as _;
use std::time::SystemTime;

use super::*;
use crate::durable_fs::identity_at;

const ROUNDS: u8 = 12;

type Change = fn(&File, u8);

/// What a writer does to a file that it opened anew, before it closes it.
const CHANGES: [(&str, Change); 5] = [
    ("appends", |file, round| write_at(file, u64::from(round) + 64, round)),
    ("fills what it allocated before", |file, round| write_at(file, u64::from(round), round)),
    ("truncates and rewrites", |file, round| {
        file.set_len(0).expect("truncates");
        file.write_all_at(&[round; 64], 0).expect("writes");
    }),
    ("keeps an old time", |file, round| {
        write_at(file, 0, round);
        file.set_modified(SystemTime::UNIX_EPOCH).expect("sets the time");
    }),
    ("has a clock that is wrong", |file, round| {
        write_at(file, 0, round);
        let ahead = SystemTime::now() + Duration::from_hours(24 * 365);
        file.set_modified(ahead).expect("sets the time");
    }),
];

fn write_at(file: &File, offset: u64, byte: u8) {
    file.write_all_at(&[byte], offset).expect("writes");
}

/// Neither size nor mtime tells of every change; whatever it is, the file waits anew.
fn each_change_starts_the_wait_anew(set_up: fn(&mut Rule)) {
    for (what, change) in CHANGES {
        let mut world = Plan::new(set_up).start();
        let path = world.write("a", &[0; 64]);
        let mut changed = Instant::now();
        let mut rounds = 0..ROUNDS;
        let early = loop {
            if let Ok(mut batch) = world.offers.try_recv() {
                break batch.pop();
            }
            let Some(round) = rounds.next() else { break None };
            changed = Instant::now();
            let file = File::options().write(true).open(&path).expect("opens");
            change(&file, round);
            drop(file);
            std::thread::sleep(STABLE_FOR / 4);
        };
        // On a busy machine this thread may sleep longer than the file has to stand still.
        let offer = early.unwrap_or_else(|| world.next());
        let is_as_offered = identity_at(&path).expect("is looked at") == Some(offer.identity);
        let waited = changed.elapsed();
        assert!(!is_as_offered || waited >= STABLE_FOR, "a writer that {what}: offered after {waited:?}");
    }
}

#[test]
fn whatever_a_writer_does_the_quiet_time_starts_anew() {
    each_change_starts_the_wait_anew(|_| {});
}

#[test]
fn a_file_that_is_written_again_after_a_trusted_close_lingers_anew() {
    each_change_starts_the_wait_anew(|rule| {
        never_stable(rule);
        rule.ready.trust_close = TrustClose::Always;
        rule.ready.linger = STABLE_FOR;
    });
}
