//! How fast rules may work: their own limits, and `[throttle.NAME]`, the limits of several rules together.

use std::collections::BTreeMap;

use super::fit::ReadRule;
use super::problem::did_you_mean;
use super::raw::{Node, Value};
use super::report::Report;
use super::section::{Section, is_plain_name, key_path};
use crate::model::pace::{Pace, PaceLimits, Throttle};

const WORKERS_MOST: u64 = 10_000;
const RECORDS_MOST: u64 = 1_000_000_000_000;

/// What a rule says; what its throttle allows is known once all files are read.
pub(super) fn read(section: &Section<'_>) -> Pace {
    let job_workers_max = section.integer("job_workers_max", 0..=WORKERS_MOST).unwrap_or(0) as u32;
    let named = |name: &str| Throttle { name: name.to_owned(), limits: PaceLimits::default() };
    Pace { limits: limits(section), job_workers_max, throttle: section.text("throttle").map(named) }
}

fn limits(section: &Section<'_>) -> PaceLimits {
    PaceLimits {
        workers_max: section.integer("workers_max", 0..=WORKERS_MOST).map(|max| max as u32),
        records_per_second: section.integer("records_per_second", 0..=RECORDS_MOST),
    }
}

/// Every `[throttle.NAME]` of the main file.
pub(super) fn read_throttles(main: &Node, partial: bool, report: &Report) -> BTreeMap<String, PaceLimits> {
    let top = Section::new(main, "", partial, report);
    let throttles = top.section("throttle");
    let mut read = BTreeMap::new();
    for name in throttles.keys() {
        let Some(section) = throttles.named_section(name) else { continue };
        if !is_plain_name(name) {
            let hint = "use letters, digits, - and _ (1 to 100 of them)".to_owned();
            throttles.problem(name, format!("\"{name}\" cannot be a throttle's name"), Some(hint));
        }
        let limits = limits(&section);
        section.finish(&[]);
        if limits == PaceLimits::default() && matches!(throttles.node(name), Some(node) if is_table(node)) {
            let hint = "add `workers_max = 1` or `records_per_second = 1000`".to_owned();
            throttles.problem(name, "it limits nothing", Some(hint));
        }
        read.insert(name.clone(), limits);
    }
    read
}

fn is_table(node: &Node) -> bool {
    matches!(node.value, Value::Table(_))
}

/// Gives each rule what its throttle allows.
pub(super) fn join_throttles(
    rules: &mut [ReadRule],
    throttles: &BTreeMap<String, PaceLimits>,
    report: &Report,
) {
    for read in rules {
        let Some(throttle) = &mut read.rule.pace.throttle else { continue };
        match throttles.get(&throttle.name) {
            Some(limits) => throttle.limits = *limits,
            // That of an override is its rule's.
            None if read.position.is_some() => {}
            None => {
                let hint = did_you_mean(&throttle.name, throttles.keys().map(String::as_str));
                let hint = hint.unwrap_or_else(|| {
                    format!("write [throttle.{}] into the main file, with `workers_max`", throttle.name)
                });
                if let Some(place) = read.node.child("throttle").map(|node| &node.place) {
                    let path = key_path(&read.owner, "throttle", place);
                    let message = format!("no throttle is named \"{}\"", throttle.name);
                    report.add(place, path, message, Some(hint));
                }
            }
        }
    }
}
