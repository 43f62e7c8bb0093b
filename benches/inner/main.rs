//! The inner parts, each alone and on one thread: framing, `validate`, collecting, the store.
//!
//! `cargo bench --bench inner`, or some of them: `cargo bench --bench inner -- framing store`. About half a minute; what
//! was measured last is kept under `target/criterion` and compared with. Parts run here on text that lies in the cache: what they
//! come to together, with everything cold and at once, is for `benches/run` and `benches/cores`.

mod collecting;
mod framing;
#[path = "../payments.rs"]
mod payments;
mod store;
mod validate;
mod world;

use std::time::Duration;

use criterion::Criterion;

fn main() {
    // Few and short: the least that shows a change of a few percent.
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .configure_from_args();
    framing::measure(&mut criterion);
    validate::measure(&mut criterion);
    collecting::measure(&mut criterion);
    store::measure(&mut criterion);
    criterion.final_summary();
}
