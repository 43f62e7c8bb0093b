//! Small fixed cases of the library's real code, for counting their instructions: `counts CASE` does one of them once, on one thread.
//!
//! `benches/counts/check` runs it under callgrind and holds the counts against those in `counts.toml`. Only what runs within [`counted`]
//! is counted: data, rule and folders are made before. An instruction is no time: what waits (for the disk, for memory, for another
//! thread) is not seen here, and threads of the store's engine are not counted.
//!
//! A program, and not a benchmark target, so that nothing of what tests and benchmarks need is built for it; the feature `counts` keeps it
//! out of every other build.

#[path = "../payments.rs"]
#[allow(dead_code, reason = "the formats that no case reads")]
mod payments;
mod reading;
mod small_jobs;
mod work;
mod world;

use std::error::Error;
use std::hint::black_box;

use world::World;

/// Whatever goes wrong, there is no count.
type Failure = Box<dyn Error>;

/// A prepared case; the records that it took through, as a proof that it did its work.
type Case<'a> = Box<dyn FnMut() -> Result<u64, Failure> + 'a>;

/// Callgrind counts from here to the return: it knows the function by this name.
#[inline(never)]
fn counted(case: &mut Case<'_>) -> Result<u64, Failure> {
    black_box(case())
}

fn main() -> Result<(), Failure> {
    let name = std::env::args().nth(1).ok_or("no case: counts reading|work|small_jobs")?;
    let world = World::new()?;
    let (mut case, expected) = match name.as_str() {
        "reading" => (reading::prepare(&world), world::RECORDS),
        "work" => (work::prepare(&world)?, world::RECORDS),
        "small_jobs" => (small_jobs::prepare(&world)?, small_jobs::RECORDS),
        other => return Err(format!("there is no case {other}").into()),
    };
    let records = counted(&mut case)?;
    if records != expected {
        return Err(format!("{name}: {records} records, not {expected}").into());
    }
    Ok(())
}
