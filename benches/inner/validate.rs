//! `validate`: slices of csv through the pipeline, with one column checked and with all eight, as in `benches/run`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use landfall::Registry;
use landfall::doors::Pipeline;

use crate::{payments, world};

const RECORDS: u64 = 20_000;
const AMOUNT: &str = "amount = { type = \"decimal\" }";
const ALL_COLUMNS: &str = "id = { type = \"integer\", min = 0 }, account = { type = \"string\", matches = \"^AC[0-9]{10}$\" }, \
    name = { type = \"string\", length_max = 40 }, amount = { type = \"decimal\" }, \
    currency = { type = \"string\", one_of = [\"USD\", \"EUR\"] }, date = { type = \"date\" }, \
    status = { type = \"string\", one_of = [\"ACTIVE\", \"CLOSED\", \"PENDING\", \"HOLD\"] }, \
    note = { type = \"string\", length_min = 1 }";

pub fn measure(criterion: &mut Criterion) {
    let folder = world::folder();
    let text = payments::csv(RECORDS);
    let mut group = criterion.benchmark_group("validate");
    group.throughput(Throughput::Elements(RECORDS));
    for (name, columns) in [("one column", AMOUNT), ("all columns", ALL_COLUMNS)] {
        let step = format!(
            "[[rule.pipeline]]\nstep = \"validate\"\non = [\"main\"]\nto = \"invalid\"\ncolumns = {{ {columns} }}\n"
        );
        let rule = world::rule(folder.path(), "format = \"csv\"", &step, &["main", "invalid"], ".csv");
        let pipeline =
            Pipeline::build(&rule, &Registry::with_builtin_steps()).expect("it was checked with the rule");
        let (shape, slices) = world::slices(&rule, &text);
        let mut worker = Arc::new(pipeline).worker(world::job_id(0));
        let mut run = || {
            let mut valid = 0;
            for slice in &slices {
                let result = worker.run(slice, &shape).expect("no step breaks");
                valid += black_box(&result).chunks[1].records;
            }
            valid
        };
        // Categories are in the order of their names.
        assert_eq!(run(), RECORDS - RECORDS.div_ceil(97), "all are valid but every 97th");
        group.bench_function(name, |bencher| bencher.iter(&mut run));
    }
    group.finish();
}
