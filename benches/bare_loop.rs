//! The yardstick of many small files: one thread reads each file of a folder, writes its output, syncs it, renames it to its final name, and
//! renames the source into an archive. Prints the seconds it took and how many files there were.
//!
//! `cargo bench --bench bare_loop -- FOLDER`, which has the files in `in`.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

#[allow(clippy::disallowed_methods, reason = "what the service does with care is done here without")]
fn main() -> Result<(), Box<dyn Error>> {
    // Cargo adds `--bench`.
    let Some(folder) = std::env::args_os().skip(1).find(|argument| argument != "--bench") else {
        println!("no files: cargo bench --bench bare_loop -- FOLDER");
        return Ok(());
    };
    let [sources, outputs, archive] = ["in", "out", "archive"].map(|name| Path::new(&folder).join(name));
    fs::create_dir(&outputs)?;
    fs::create_dir(&archive)?;
    let started = Instant::now();
    let mut count = 0_u64;
    for entry in fs::read_dir(&sources)? {
        let name = entry?.file_name();
        let bytes = fs::read(sources.join(&name))?;
        let partial = outputs.join("partial");
        let mut output = File::create(&partial)?;
        output.write_all(&bytes)?;
        output.sync_all()?;
        drop(output);
        fs::rename(&partial, outputs.join(&name))?;
        fs::rename(sources.join(&name), archive.join(&name))?;
        count += 1;
    }
    println!("{:.4} {count}", started.elapsed().as_secs_f64());
    Ok(())
}
