//! Damaged files of the store: it opens with the beginning of its history, or refuses with advice; it never panics or hangs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::opening;
use crate::model::fault::Fault as _;
use crate::store::tests::{copy, folder, id, job, ledger_row, noise};
use crate::store::{Store, StoreError};

const JOBS: u64 = 6;
/// Besides the edges.
const SAMPLES: u64 = 10;

/// A data folder to be damaged, and where in its log each job was durable.
struct Image {
    folder: PathBuf,
    /// Length of the log of a store that was just made.
    made: u64,
    /// Length of the log, 0 for jobs that the snapshot has.
    durable_at: Vec<u64>,
}

impl Image {
    fn log_bytes(&self) -> u64 {
        fs::metadata(self.folder.join("store/db")).expect("the log").len()
    }

    /// A copy of it, damaged, in a new folder.
    fn damaged(&self, damage: impl FnOnce(&Path)) -> tempfile::TempDir {
        let copied = folder();
        copy(&self.folder.join("store"), &copied.path().join("store"));
        damage(&copied.path().join("store"));
        copied
    }

    fn cut_at(&self, length: u64) -> tempfile::TempDir {
        self.damaged(|store| {
            let log = File::options().write(true).open(store.join("db")).expect("the log");
            log.set_len(length).expect("is cut");
        })
    }
}

fn add_job(store: &Store, number: u64) {
    store.change().job(&job(number)).ledger(&ledger_row(number), false).apply().expect("applied");
    store.sync().expect("synced");
}

/// As a kill leaves it that comes in the first run: with a snapshot of the empty store.
fn killed(root: &Path) -> Image {
    let live = root.join("live");
    let store = Store::open(&live).expect("opens");
    let log = live.join("store/db");
    let made = fs::metadata(&log).expect("the log").len();
    let mut durable_at = Vec::new();
    for number in 0..JOBS {
        add_job(&store, number);
        durable_at.push(fs::metadata(&log).expect("the log").len());
    }
    let folder = root.join("killed");
    copy(&live.join("store"), &folder.join("store"));
    Image { folder, made, durable_at }
}

/// As a service that was started often leaves it: with a snapshot of most of the log.
fn started_often(root: &Path) -> Image {
    let folder = root.join("often");
    for number in 0..JOBS {
        add_job(&Store::open(&folder).expect("opens"), number);
    }
    // What the engine shreds at an opening has the length of a segment: its true end cannot be told from it.
    let end = fs::metadata(folder.join("store/db")).expect("the log").len();
    Image { durable_at: vec![end; JOBS as usize], made: end, folder }
}

/// Opens a damaged store. How many jobs it has, which are the first ones and whole; or why it refuses.
fn opened(data_dir: &Path) -> Result<u64, StoreError> {
    let store = Store::open(data_dir)?;
    let jobs: Vec<_> = store.jobs().collect::<Result<_, _>>().expect("what opens can be read");
    let count = jobs.len() as u64;
    for (number, found) in (0..).zip(&jobs) {
        assert_eq!(found, &job(number), "not the beginning of the history");
        assert_eq!(store.ledger(id(number)).expect("read"), Some(ledger_row(number)), "half a change");
    }
    // It is sound: what is added stays.
    add_job(&store, 100);
    drop(store);
    let store = Store::open(data_dir).expect("opens again");
    assert_eq!(store.jobs().count() as u64, count + 1, "a row that was durable is gone");
    Ok(count)
}

fn assert_says_what_to_do(error: &StoreError) {
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
    let hint = error.hint().expect("advice");
    assert!(hint.contains("landfall recover") && hint.contains("backup"), "{hint}");
    assert!(!error.to_string().contains("backtrace"), "{error}");
}

/// The edges of every change, and a sample between.
fn lengths(image: &Image) -> Vec<u64> {
    let end = image.log_bytes();
    let mut lengths = vec![0, 1];
    lengths.extend(image.durable_at.iter().flat_map(|at| [at - 1, *at, at + 1]));
    // The first kilobytes have all there is; the rest of a segment is padding.
    lengths.extend((1..=SAMPLES).map(|n| end.min(16 << 10) * n / (SAMPLES + 1)));
    lengths.retain(|length| *length <= end);
    lengths.sort_unstable();
    lengths.dedup();
    lengths
}

#[test]
fn a_store_cut_off_at_any_byte_of_its_log_has_all_that_was_durable_by_then_or_refuses_with_advice() {
    let root = folder();
    let image = killed(root.path());
    for length in lengths(&image) {
        let cut = image.cut_at(length);
        let jobs = match opened(cut.path()) {
            Ok(jobs) => jobs,
            Err(error) => {
                assert!(length < image.made, "cut at {length}: {error}");
                assert_says_what_to_do(&error);
                continue;
            }
        };
        let durable = image.durable_at.iter().filter(|at| **at <= length).count() as u64;
        assert!(jobs >= durable, "cut at {length}: {jobs} jobs, {durable} were durable");
    }
}

#[test]
fn a_store_cut_off_below_its_snapshot_refuses_with_advice() {
    let root = folder();
    let image = started_often(root.path());
    let mut refused = 0;
    for length in lengths(&image) {
        match opened(image.cut_at(length).path()) {
            Ok(jobs) => assert!(jobs >= JOBS - 1, "the snapshot has all but the last: {jobs}"),
            Err(error) => {
                assert_says_what_to_do(&error);
                refused += 1;
            }
        }
    }
    assert!(refused > 2, "{refused}");
}

#[test]
fn a_byte_that_changed_anywhere_costs_the_end_of_the_history_or_is_refused() {
    let root = folder();
    for image in [killed(root.path()), started_often(root.path())] {
        for (file, bytes, samples) in [("db", 12 << 10, 12), ("conf", 64, 4), ("snap.", 256, 4)] {
            for sample in 0..samples {
                let rotten = image.damaged(|store| flip(store, file, bytes * sample / samples));
                if let Err(error) = opened(rotten.path()) {
                    assert_says_what_to_do(&error);
                }
            }
        }
    }
}

fn flip(store: &Path, file: &str, at: u64) {
    let named =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(file));
    let Some(path) = fs::read_dir(store).expect("listed").flatten().map(|e| e.path()).find(named) else {
        return;
    };
    let mut bytes = fs::read(&path).expect("read");
    if let Some(byte) = bytes.get_mut(at as usize) {
        *byte ^= 0x41;
    }
    fs::write(&path, bytes).expect("written");
}

#[test]
fn files_of_the_store_that_are_gone_empty_or_garbage_are_made_anew_or_refused() {
    let root = folder();
    let image = started_often(root.path());
    let snapshot = fs::read_dir(image.folder.join("store")).expect("listed").flatten();
    let snapshot = snapshot.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let snapshot = snapshot.filter(|name| name.starts_with("snap.")).collect::<String>();
    let write = |name: &str, bytes: &[u8]| {
        opened(image.damaged(|s| fs::write(s.join(name), bytes).expect("written")).path())
    };
    let remove = |name: &str| {
        opened(image.damaged(|s| crate::durable_fs::remove_file(&s.join(name)).expect("removed")).path())
    };
    // What can be told from the log is told from it.
    for whole in [remove("conf"), write("conf", b""), remove(&snapshot), write("snap.X.generating", b"half")]
    {
        assert_eq!(whole.expect("opens"), JOBS);
    }
    let garbage = noise(1, 3000);
    let refused = [
        remove("db"),
        write("db", b""),
        write("db", &garbage),
        write("conf", &garbage),
        write(&snapshot, b""),
        write(&snapshot, &garbage),
        write("snap.FFFFFFFFFFFFFFFF", &garbage),
    ];
    for refused in refused {
        assert_says_what_to_do(&refused.expect_err("refused"));
    }
}

#[test]
fn a_panic_of_the_engine_is_an_error_with_advice() {
    let panics = || -> Result<(), StoreError> { panic!("assertion failed: lsn") };
    let error = opening::guarded(Path::new("/data/store"), panics).expect_err("caught");
    assert_says_what_to_do(&error);
    assert!(error.to_string().contains("assertion failed: lsn"), "{error}");
}
