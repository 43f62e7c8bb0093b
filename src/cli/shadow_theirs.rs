//! Files that the old system wrote and a shadow would not have.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::durable_fs;
use crate::model::rule::Rule;
use crate::service::shadow::unpacked_name;
use crate::watch::exclude::Excludes;

/// Folders that are looked through at most.
const FOLDERS_MAX: usize = 10_000;

/// Files below a folder that were changed since then, are called as an output of one of these rules may be, and are not among those known.
pub(super) fn theirs_only<'r>(
    folder: &Path,
    rules: impl Iterator<Item = &'r Rule>,
    since: Timestamp,
    known: &HashSet<PathBuf>,
) -> Vec<PathBuf> {
    let outputs = rules.flat_map(|rule| rule.outputs.values());
    let shapes: Vec<Vec<String>> = outputs.map(|output| shape_of(Path::new(&output.path))).collect();
    let unfinished = Excludes::default();
    let is_theirs = |path: &Path| {
        let name = unpacked_name(path);
        let name = name.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let changed = durable_fs::identity_at(path).ok().flatten().map(|found| found.mtime_ns);
        changed.is_some_and(|at| at >= since.as_nanosecond())
            && !known.contains(path)
            && !unfinished.excludes(path)
            && shapes.iter().any(|shape| fits(shape, &name))
    };
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    let mut looked_at = 0;
    while let Some(folder) = folders.pop().filter(|_| looked_at < FOLDERS_MAX) {
        looked_at += 1;
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(kind) if kind.is_file() && is_theirs(&entry.path()) => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

/// What an output's file name spells out, between its variables.
fn shape_of(template: &Path) -> Vec<String> {
    let unpacked = unpacked_name(template);
    let name = unpacked.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let (mut shape, mut text) = (Vec::new(), String::new());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let is_doubled = chars.peek() == Some(&c);
        match c {
            '{' | '}' if is_doubled => text.extend(chars.next()),
            '{' => {
                shape.push(std::mem::take(&mut text));
                chars.by_ref().find(|c| *c == '}');
            }
            c => text.push(c),
        }
    }
    shape.push(text);
    shape
}

fn fits(shape: &[String], name: &str) -> bool {
    let [first, middle @ .., last] = shape else { return shape.first().is_some_and(|whole| whole == name) };
    let inner = name.strip_prefix(first.as_str()).and_then(|rest| rest.strip_suffix(last.as_str()));
    let Some(mut rest) = inner else { return false };
    for text in middle {
        let Some((_, behind)) = rest.split_once(text.as_str()) else { return false };
        rest = behind;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_a_template_where_it_has_what_that_spells_out() {
        let shape = shape_of(Path::new("out/{sender}/pay-{stem}-{date:%Y}.csv.gz"));
        assert_eq!(shape, ["pay-", "-", ".csv"]);
        assert!(fits(&shape, "pay-a-2026.csv"));
        assert!(!fits(&shape, "pay-a.csv") && !fits(&shape, "receipt-a-2026.csv"));
        assert!(fits(&shape_of(Path::new("out/all.csv")), "all.csv"));
        assert!(!fits(&shape_of(Path::new("out/all.csv")), "any.csv"));
        assert_eq!(shape_of(Path::new("out/{{x}}.csv")), ["{x}.csv"]);
    }
}
