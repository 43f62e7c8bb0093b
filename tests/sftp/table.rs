//! Prints what each client's uploads came to, and how soon: the tables of `docs/uploads.md`.
//!
//! What is printed is what was seen. That it is what it should be, the tests beside it judge.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::manner::{Format, Manner, size_of, succeeds};
use super::support::World;
use super::support::sftp::ROOT;
use super::{TRUSTS, landing_zone, make};

/// As in a rule that says nothing of it.
const STABLE_FOR: Duration = Duration::from_secs(10);
const READY: &str = "stable_for = \"10s\", linger = \"1s\"";
/// What is not there by then never comes.
const PATIENCE: Duration = Duration::from_secs(35);

/// One file under one rule.
struct Row {
    manner: Manner,
    format: Format,
    trust: &'static str,
    text: String,
    size: u64,
    /// When its last byte was there, or its session had broken off.
    sent: Option<Instant>,
    outcome: Option<(Outcome, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Whole,
    Half,
    Quarantined,
    Nothing,
}

impl Row {
    fn name(&self) -> String {
        self.manner.file(self.format)
    }

    /// Looks at what became of it.
    fn look(&mut self, world: &World, is_broken_off: bool) {
        let folder = world.path(ROOT).join(self.trust);
        if self.sent.is_none() && !is_broken_off && size_of(&folder, &self.name()) == Some(self.size) {
            self.sent = Some(Instant::now());
        }
        let output = format!("out/{}/{}", self.trust, self.name());
        let outcome = if world.has(&output) {
            Some(if world.text(&output) == self.text { Outcome::Whole } else { Outcome::Half })
        } else if world.has(format!("{ROOT}/{}/.landfall/quarantine/{}", self.trust, self.name())) {
            Some(Outcome::Quarantined)
        } else {
            None
        };
        self.outcome = self.outcome.or(outcome.map(|outcome| (outcome, Instant::now())));
    }

    /// What proved its end is told by how long it took.
    fn cell(&self) -> String {
        let (Some(sent), Some((outcome, at))) = (self.sent, self.outcome) else { return "nothing".into() };
        let after = at.saturating_duration_since(sent);
        let rule =
            if after < STABLE_FOR.saturating_sub(Duration::from_secs(1)) { "linger" } else { "stable_for" };
        match outcome {
            Outcome::Whole => format!("{rule}, {:.1} s", after.as_secs_f64()),
            Outcome::Half => format!("**half**, {:.1} s", after.as_secs_f64()),
            Outcome::Quarantined => format!("quarantined, {:.1} s", after.as_secs_f64()),
            Outcome::Nothing => "nothing".into(),
        }
    }
}

#[test]
#[ignore = "takes a minute and judges nothing: `tests/run sftp` prints the tables of the documentation"]
fn the_tables_of_the_documentation() {
    let whole = rows(&Manner::ALL, false);
    let broken_off = rows(&Manner::BROKEN_OFF, true);
    let all_are_whole = whole.iter().all(|row| matches!(row.outcome, Some((Outcome::Whole, _))));
    assert!(all_are_whole, "a whole upload did not come out whole:\n{}", table(&whole));
    println!("Whole uploads:\n\n{}\nBroken off half way:\n\n{}", table(&whole), table(&broken_off));
}

/// Uploads each format in each of these manners to each rule, one client after another, and watches what becomes of it.
fn rows(manners: &[Manner], is_broken_off: bool) -> Vec<Row> {
    let (world, server, service) = landing_zone(READY, "");
    let count = |format| match (is_broken_off, format) {
        (false, _) => 1_000,
        (true, Format::Plain) => 10_000,
        (true, Format::Gzip) => 40_000,
    };
    let texts = Format::ALL.map(|format| (format, make(&world, format.name(), format, count(format))));
    let mut rows = Vec::new();
    for &manner in manners {
        for (format, text) in &texts {
            let file = world.write(
                format!("local/{}", manner.file(*format)),
                world.bytes(format!("local/{}", format.name())),
            );
            let size = file.metadata().expect("it was made").len();
            let row = |trust| Row {
                manner,
                format: *format,
                trust,
                text: text.clone(),
                size,
                sent: None,
                outcome: None,
            };
            rows.extend(TRUSTS.map(row));
        }
    }
    let ended = AtomicBool::new(false);
    let broken_off = std::sync::Mutex::new(Vec::new());
    thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut last = None;
            while rows.iter().any(|row| row.outcome.is_none()) {
                for row in &mut rows {
                    row.look(&world, is_broken_off);
                }
                if ended.load(Ordering::Relaxed) && last.get_or_insert_with(Instant::now).elapsed() > PATIENCE
                {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
        });
        for &manner in manners {
            let files = Format::ALL.map(|format| manner.file(format));
            if !is_broken_off {
                manner.uploads(&server, &world, &files, &TRUSTS).into_iter().for_each(succeeds);
                continue;
            }
            for (file, trust) in files.iter().flat_map(|file| TRUSTS.map(|trust| (file, trust))) {
                assert!(manner.break_off(&server, &world, file, trust), "{file} was done before");
                broken_off.lock().expect("nobody failed").push((file.clone(), trust, Instant::now()));
            }
        }
        ended.store(true, Ordering::Relaxed);
        watch.join().expect("it does not fail");
    });
    for (name, trust, at) in broken_off.into_inner().expect("nobody failed") {
        let row = rows.iter_mut().find(|row| row.name() == name && row.trust == trust).expect("it was begun");
        row.sent = Some(at);
        let is_gone = size_of(&world.path(ROOT).join(trust), &name).is_none();
        row.outcome = row.outcome.or(is_gone.then_some((Outcome::Nothing, at)));
    }
    service.stop();
    rows
}

fn table(rows: &[Row]) -> String {
    let mut text =
        "| client | format | `never` | `framed` (default) | `always` |\n|---|---|---|---|---|\n".to_owned();
    for row in rows.chunks(TRUSTS.len()) {
        let cells: Vec<_> = row.iter().map(Row::cell).collect();
        let (title, format) = (row[0].manner.title(), row[0].format.name());
        writeln!(text, "| {title} | {format} | {} |", cells.join(" | ")).expect("a string takes all");
    }
    text
}
