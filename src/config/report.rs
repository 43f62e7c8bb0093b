//! Collects all that is wrong in a configuration while it is read.

use std::cell::RefCell;

use super::belonging::{Belonging, Kind};
use super::problem::{Problem, Problems};
use super::raw::Place;
use crate::model::overriding::Override;

/// Collects problems while the configuration is read; reading never stops at the first.
#[derive(Debug, Default)]
pub(super) struct Report {
    problems: RefCell<Vec<Problem>>,
    belonging: RefCell<Belonging>,
}

impl Report {
    /// Notes a problem at a place.
    pub(super) fn add(&self, place: &Place, key: String, message: impl Into<String>, hint: Option<String>) {
        self.add_problem(Problem::at(place, key, message.into(), hint));
    }

    /// Notes the keys that a table knows.
    pub(super) fn know(&self, table: Kind, keys: &[&'static str]) {
        self.belonging.borrow_mut().know(table, keys);
    }

    /// Notes a key that its table does not know; where it belongs is told in the end.
    pub(super) fn add_stranger(&self, key: &str, table: Option<Kind>, problem: Problem, is_near: bool) {
        if let Some(table) = table {
            self.belonging.borrow_mut().note(key, table, problem.clone(), is_near);
        }
        self.add_problem(problem);
    }

    /// Notes a problem as it is; one that is known already (a default that several rules inherit) is told once.
    pub(super) fn add_problem(&self, problem: Problem) {
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// Notes a problem of a rule as an override makes it. What is wrong with the rule itself is told there; where it is the override that makes
    /// wrong what the rule says, it is named.
    pub(super) fn add_overridden(&self, mut problem: Problem, overriding: &Override) {
        let is_known = |known: &Problem| {
            let is_missing = known.message.starts_with("missing: ");
            *known == problem
                || is_missing && known.message == problem.message && problem.key.ends_with(own_key(known))
        };
        if self.problems.borrow().iter().any(is_known) {
            return;
        }
        if !problem.key.contains(": override[") {
            problem.message = format!("{}, with the override for {overriding}", problem.message);
        }
        self.add_problem(problem);
    }

    /// Takes in what was found while the rule was read as an override makes it.
    pub(super) fn take_overridden(&self, found: Self, overriding: &Override) {
        found.problems.into_inner().into_iter().for_each(|problem| self.add_overridden(problem, overriding));
        self.belonging.borrow_mut().extend(found.belonging.into_inner());
    }

    /// Whether something is wrong with any key that begins like this.
    pub(super) fn has_any(&self, beginning: &str) -> bool {
        self.problems.borrow().iter().any(|problem| problem.key.starts_with(beginning))
    }

    /// The end of reading: the value if nothing was wrong.
    pub(super) fn into_result<T>(self, value: Option<T>) -> Result<T, Problems> {
        let mut problems = self.problems.into_inner();
        self.belonging.into_inner().tell(&mut problems);
        // The environment first: what it sets replaces what the files say.
        problems.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        match value {
            Some(value) if problems.is_empty() => Ok(value),
            _ => Err(Problems(problems)),
        }
    }
}

/// A key's path within its rule, with what stands before it.
fn own_key(problem: &Problem) -> &str {
    problem.key.rsplit_once(": ").map_or(problem.key.as_str(), |(_, path)| path)
}
