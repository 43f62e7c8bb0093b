//! The disk: how fast outputs get onto it, and what a checkpoint's syncs take where hardly anything is to be written.

use std::io::Write as _;
use std::time::Instant;

use landfall::doors::durable_fs;
use serde_json::{Value, json};

use crate::Failure;
use crate::source::Source;

/// As `output/sink.rs` writes.
const WRITE_BYTES: usize = 512 << 10;
const WRITEBACK_BYTES: usize = 8 << 20;
/// Enough that the last sync is a small part.
const FILE_BYTES: usize = 128 << 20;
const ROUNDS: usize = 3;
const SMALL_ROUNDS: usize = 15;

/// Medians.
pub fn measure(source: &Source) -> Result<Value, Failure> {
    let mut rates = (0..ROUNDS).map(|_| rate(source)).collect::<Result<Vec<_>, _>>()?;
    let mut syncs = (0..SMALL_ROUNDS).map(|_| small_sync(source)).collect::<Result<Vec<_>, _>>()?;
    rates.sort_by(f64::total_cmp);
    syncs.sort_by(f64::total_cmp);
    Ok(json!({ "bytes_per_second": rates[ROUNDS / 2], "sync_seconds": syncs[SMALL_ROUNDS / 2] }))
}

fn rate(source: &Source) -> Result<f64, Failure> {
    let path = source.folder.path().join("written");
    let mut file = durable_fs::create_private(&path)?;
    let block = vec![b'x'; WRITE_BYTES];
    let started = Instant::now();
    for written in (0..FILE_BYTES).step_by(WRITE_BYTES) {
        file.write_all(&block)?;
        let end = written + WRITE_BYTES;
        if end.is_multiple_of(WRITEBACK_BYTES) {
            durable_fs::start_writeback(&file, (end - WRITEBACK_BYTES) as u64, WRITEBACK_BYTES as u64);
        }
    }
    durable_fs::sync_data(&file, &path)?;
    let seconds = started.elapsed().as_secs_f64();
    durable_fs::remove_file(&path)?;
    Ok(FILE_BYTES as f64 / seconds)
}

/// A few bytes of an output, then the row.
fn small_sync(source: &Source) -> Result<f64, Failure> {
    let path = source.folder.path().join("small");
    let mut file = durable_fs::create_private(&path)?;
    file.write_all(b"few")?;
    let started = Instant::now();
    durable_fs::sync_data(&file, &path)?;
    source.store.change().job(&source.job).apply()?;
    source.store.sync()?;
    let seconds = started.elapsed().as_secs_f64();
    durable_fs::remove_file(&path)?;
    Ok(seconds)
}
