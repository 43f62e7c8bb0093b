//! The data: payments as the other benchmarks have them (`benches/harness/data.py`), the same bytes each time.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::Failure;

const NAMES: [&str; 8] = [
    "Ada Lovelace",
    "Grace Hopper",
    "Edsger Dijkstra",
    "Barbara Liskov",
    "Donald Knuth",
    "Leslie Lamport",
    "Tony Hoare",
    "John von Neumann",
];
const STATES: [&str; 4] = ["ACTIVE", "CLOSED", "PENDING", "HOLD"];
const SEED: u64 = 7;

/// `SplitMix64` (<https://prng.di.unimi.it/splitmix64.c>).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Eight columns of about 85 bytes in all; in every 97th row the amount is N/A.
fn csv(records: u64) -> Result<String, Failure> {
    let mut chance = Chance(SEED);
    let mut text = String::from("id,account,name,amount,currency,date,status,note\n");
    for number in 0..records {
        write!(text, "{number},AC{:010},{},", chance.below(10_000_000_000), NAMES[chance.below(8) as usize])?;
        if number % 97 == 0 {
            text.push_str("N/A");
        } else {
            write!(text, "{}.{:02}", chance.below(100_000), chance.below(100))?;
        }
        let currency = if chance.below(10) < 7 { "USD" } else { "EUR" };
        let (month, day) = (1 + chance.below(12), 1 + chance.below(28));
        let status = STATES[chance.below(4) as usize];
        let (one, other) = (chance.below(1 << 32), chance.below(1 << 24));
        writeln!(text, ",{currency},2026-{month:02}-{day:02},{status},ref {one:x}-{other:x}")?;
    }
    Ok(text)
}

/// Writes them as one gzip member.
pub(crate) fn write_gzip(path: &Path, records: u64) -> Result<(), Failure> {
    let mut packer = GzEncoder::new(File::create(path)?, Compression::new(6));
    packer.write_all(csv(records)?.as_bytes())?;
    packer.finish()?;
    Ok(())
}
