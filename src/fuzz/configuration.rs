//! The configuration: any text is settings, or problems that each have a place. Input: the text of `landfall.toml`.

use std::fs;

use crate::config::{self, Problem};
use crate::pipeline::Registry;

thread_local! {
    static FOLDER: tempfile::TempDir = tempfile::tempdir().expect("a temporary folder can be made");
}

pub(super) fn check(data: &[u8]) {
    FOLDER.with(|folder| {
        let file = folder.path().join("landfall.toml");
        fs::write(&file, data).expect("it can be written");
        let registry = Registry::with_builtin_steps();
        let loaded = config::load(&file, &registry);
        let Err(problems) = loaded else { return };
        assert!(!problems.0.is_empty(), "refused without a problem");
        let lines = 1 + memchr::memchr_iter(b'\n', data).count();
        for problem in &problems.0 {
            check_problem(problem, &file, lines);
        }
        assert!(!problems.to_string().is_empty());
    });
}

fn check_problem(problem: &Problem, file: &std::path::Path, lines: usize) {
    assert!(!problem.message.is_empty(), "{problem:?}");
    if problem.file.as_deref() == Some(file) {
        let line = problem.line.unwrap_or_else(|| panic!("no line: {problem:?}"));
        assert!((1..=lines).contains(&line), "there is no such line: {problem:?}");
    } else {
        // `rules_dir` may name any folder; what is wrong with that or in it is told there.
        assert!(problem.file.is_some(), "no file: {problem:?}");
    }
}
