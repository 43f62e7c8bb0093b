//! What each stage of the engine costs for one file under one rule: what `benches/cores` simulates wider machines from.
//!
//! `cargo bench --bench stages -- landfall.toml FILE`, where the configuration's first rule takes files like this one; outputs go where
//! the rule puts them, and are removed. Prints one JSON object, seconds and bytes. The same calls as the engine's, in the
//! same order, but made by one thread with a clock between them (`pass`); then what that cannot show: a sleeping worker woken (`wake`),
//! the disk (`disk`), and two threads at once (`pair`).
//!
//! The engine's board, its locks and its bookkeeping of jobs cannot be reached from here and are not in it.

mod disk;
mod pair;
mod pass;
mod processor;
mod source;
mod wake;

use std::error::Error;
use std::path::Path;

use serde_json::json;

/// Of any of the parts, also of one on another thread.
type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    // Cargo adds `--bench`.
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let [configuration, file] = arguments.as_slice() else {
        println!("nothing to measure: cargo bench --bench stages -- landfall.toml FILE");
        return Ok(());
    };
    let source = source::Source::new(Path::new(configuration), Path::new(file))?;
    let figures = json!({
        "pass": pass::measure(&source)?,
        "wake": wake::measure(),
        "disk": disk::measure(&source)?,
        "pair": pair::measure(&source)?,
    });
    println!("{figures:#}");
    Ok(())
}
