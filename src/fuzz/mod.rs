//! What must hold for any bytes: one function for each fuzz target. In no ordinary build.
//!
//! `cargo fuzz` (the crate in `fuzz/`) feeds them what it makes up; an ordinary unit test feeds them the seeds in `fuzz/corpus/`, so
//! that neither rots. A function that comes back found nothing. What does not hold panics.

mod configuration;
mod decoding;
mod input;
mod names;
mod packing;
mod records;
mod text;

use input::Input;

/// Checks one input.
pub type Target = fn(&[u8]);

/// Every target by its name: that of its program in `fuzz/fuzz_targets/` and of its folder in `fuzz/corpus/`.
pub const TARGETS: [(&str, Target); 8] = [
    ("archives", decoding::archives),
    ("compressed", decoding::compressed),
    ("configuration", configuration::check),
    ("encrypted", decoding::encrypted),
    ("names", names::check),
    ("records", records::check),
    ("stored", crate::store::fuzz::check),
    ("text", text::check),
];

/// Runs a target on one input; none for a name that is no target's.
pub fn run(target: &str, data: &[u8]) -> Option<()> {
    let (_, check) = TARGETS.iter().find(|(name, _)| *name == target)?;
    check(data);
    Some(())
}

// Seeds name paths as Unix does.
#[cfg(all(test, unix))]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn fuzz_folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
    }

    #[test]
    fn every_seed_of_every_target_holds() {
        for (name, check) in TARGETS {
            let folder = fuzz_folder().join("corpus").join(name);
            let mut seeds = 0;
            for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            {
                let path = entry.expect("it can be listed").path();
                println!("{}", path.display());
                let seed = fs::read(&path).expect("it can be read");
                assert!(seed.len() <= 64 << 10, "{} is big for a seed", path.display());
                check(&seed);
                seeds += 1;
            }
            assert!(seeds > 0, "{name} has no seeds");
        }
    }

    #[test]
    fn every_target_has_its_program_and_every_program_its_target() {
        let mut programs: Vec<_> = fs::read_dir(fuzz_folder().join("fuzz_targets"))
            .expect("the programs are there")
            .map(|entry| entry.expect("it can be listed").path())
            .map(|path| path.file_stem().expect("it has a name").to_string_lossy().into_owned())
            .collect();
        programs.sort();
        assert_eq!(programs, TARGETS.map(|(name, _)| name.to_owned()));
    }
}
