//! Framing: text in memory to slices, in each format.

use std::hint::black_box;
use std::io::Cursor;

use criterion::{Criterion, Throughput};
use landfall::doors::Cutter;
use landfall::doors::Rule;

use crate::{payments, world};

const RECORDS: u64 = 20_000;

pub fn measure(criterion: &mut Criterion) {
    let folder = world::folder();
    let fields: Vec<String> = payments::COLUMNS
        .iter()
        .map(|(name, width)| format!("{{ name = \"{name}\", width = {width} }}"))
        .collect();
    let fixed = format!("format = \"fixed\"\nfields = [{}]", fields.join(", "));
    let width: usize = payments::COLUMNS.iter().map(|(_, width)| width).sum();
    let by_length = format!("{fixed}\nrecord_length = {width}");
    let formats = [
        ("lines", "format = \"lines\"", payments::csv(RECORDS)),
        ("csv", "format = \"csv\"", payments::csv(RECORDS)),
        ("csv without quotes", "format = \"csv\"\nquote = \"\"", payments::csv(RECORDS)),
        ("fixed", &fixed, payments::fixed(RECORDS, "\n")),
        ("fixed by length", &by_length, payments::fixed(RECORDS, "")),
        ("jsonl", "format = \"jsonl\"", payments::jsonl(RECORDS)),
    ];
    let mut group = criterion.benchmark_group("framing");
    for (name, records, text) in formats {
        let rule = world::rule(folder.path(), records, "", &["main"], ".txt");
        // Lines have no header: it is one of them.
        let records_in = RECORDS + u64::from(name == "lines");
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| assert_eq!(cut(&rule, &text), records_in, "records of {name}"));
        });
    }
    group.finish();
}

/// The records of all slices, a header not counted.
fn cut(rule: &Rule, text: &[u8]) -> u64 {
    let mut cutter = Cutter::new(Cursor::new(text), &rule.records, &rule.decode, 0, String::new(), 0)
        .expect("the rule can be cut by");
    let mut records = 0;
    while let Some(slice) = cutter.next_slice().expect("the text can be cut") {
        records += black_box(&slice).records.len() as u64;
    }
    records
}
