//! Payments, as `benches/harness/data.py` makes them, in each format: eight columns of about 85 bytes in all; in every 97th row the
//! amount is `N/A`. The same count gives the same bytes.

use std::fmt::Write as _;

/// The columns, with their widths where they are fixed.
pub const COLUMNS: [(&str, usize); 8] = [
    ("id", 8),
    ("account", 12),
    ("name", 16),
    ("amount", 8),
    ("currency", 3),
    ("date", 10),
    ("status", 7),
    ("note", 19),
];

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

/// Text of payments with a header.
pub fn csv(records: u64) -> Vec<u8> {
    let names = COLUMNS.map(|(name, _)| name);
    let mut text = names.join(",") + "\n";
    for row in rows(records) {
        text += &row.join(",");
        text.push('\n');
    }
    text.into_bytes()
}

/// One JSON object a line.
pub fn jsonl(records: u64) -> Vec<u8> {
    let mut text = String::new();
    for row in rows(records) {
        let members: Vec<String> =
            COLUMNS.iter().zip(row).map(|((name, _), value)| format!("\"{name}\":\"{value}\"")).collect();
        writeln!(text, "{{{}}}", members.join(",")).expect("a string takes all");
    }
    text.into_bytes()
}

/// Columns of fixed width, each record with `line_end` behind it.
pub fn fixed(records: u64, line_end: &str) -> Vec<u8> {
    let mut text = String::new();
    for row in rows(records) {
        for ((_, width), value) in COLUMNS.iter().zip(row) {
            write!(text, "{value:width$}").expect("a string takes all");
        }
        text += line_end;
    }
    text.into_bytes()
}

fn rows(records: u64) -> impl Iterator<Item = [String; 8]> {
    let mut chance = Chance(7);
    (0..records).map(move |number| {
        let amount = format!("{}.{:02}", chance.below(100_000), chance.below(100));
        [
            number.to_string(),
            format!("AC{:010}", chance.below(10_000_000_000)),
            chance.one_of(&NAMES).to_owned(),
            if number % 97 == 0 { "N/A".to_owned() } else { amount },
            (if chance.below(10) < 7 { "USD" } else { "EUR" }).to_owned(),
            format!("2026-{:02}-{:02}", 1 + chance.below(12), 1 + chance.below(28)),
            chance.one_of(&STATES).to_owned(),
            format!("ref {:x}-{:x}", chance.below(1 << 32), chance.below(1 << 24)),
        ]
    })
}

/// A generator of Marsaglia's (xorshift64*): the same numbers everywhere.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % bound
    }

    fn one_of<'t>(&mut self, texts: &[&'t str]) -> &'t str {
        texts[self.below(texts.len() as u64) as usize]
    }
}
