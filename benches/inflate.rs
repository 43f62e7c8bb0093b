//! The yardstick of `benches/run`: inflates one gzip file to nowhere and prints the seconds it took.
//!
//! `cargo bench --bench inflate -- FILE.gz`

use std::error::Error;
use std::fs::File;
use std::hint::black_box;
use std::io::{BufReader, Read as _};
use std::time::Instant;

use flate2::bufread::MultiGzDecoder;

const BUFFER_BYTES: usize = 128 << 10;

fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let Some(path) = std::env::args_os().skip(1).find(|argument| argument != "--bench") else {
        println!("nothing to inflate: cargo bench --bench inflate -- FILE.gz");
        return Ok(());
    };
    let started = Instant::now();
    let mut decoder = MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, File::open(path)?));
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut inflated_bytes = 0_u64;
    loop {
        match decoder.read(&mut buffer)? {
            0 => break,
            read => inflated_bytes += black_box(&buffer[..read]).len() as u64,
        }
    }
    println!("{:.4} {inflated_bytes}", started.elapsed().as_secs_f64());
    Ok(())
}
