//! See `src/fuzz` of the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    landfall::fuzz::run("stored", data).expect("it is a target");
});
