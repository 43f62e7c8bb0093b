//! Where a key belongs that stands in the wrong table: known once every table has been read.

use std::collections::BTreeMap;

use super::problem::Problem;

/// The kinds of tables, each with the keys that it knows, and the keys that a table did not know.
#[derive(Debug, Default)]
pub(super) struct Belonging {
    tables: BTreeMap<Kind, Vec<&'static str>>,
    strangers: Vec<Stranger>,
}

/// A table's names from the top on, with `CATEGORY` for any category: `["rule", "ready"]`.
pub(super) type Kind = Vec<String>;

#[derive(Debug)]
struct Stranger {
    key: String,
    table: Kind,
    /// As it was reported.
    problem: Problem,
    /// Whether its table knows a key that is spelt alike.
    is_near: bool,
}

impl Belonging {
    /// The keys that a table knows.
    pub(super) fn know(&mut self, table: Kind, keys: &[&'static str]) {
        let known = self.tables.entry(table).or_default();
        for key in keys {
            if !known.contains(key) {
                known.push(key);
            }
        }
    }

    /// A key that its table does not know.
    pub(super) fn note(&mut self, key: &str, table: Kind, problem: Problem, is_near: bool) {
        self.strangers.push(Stranger { key: key.to_owned(), table, problem, is_near });
    }

    /// Those of another one, too.
    pub(super) fn extend(&mut self, other: Self) {
        other.tables.into_iter().for_each(|(table, keys)| self.know(table, &keys));
        self.strangers.extend(other.strangers);
    }

    /// Says of each such key where it belongs, if some table knows it.
    pub(super) fn tell(&self, problems: &mut [Problem]) {
        for stranger in &self.strangers {
            let Some(where_to) = self.home_of(stranger) else { continue };
            let Some(told) = problems.iter_mut().find(|problem| **problem == stranger.problem) else {
                continue;
            };
            let hint = told.hint.take().unwrap_or_default();
            if stranger.is_near {
                told.hint = Some(format!("{hint} `{}` itself belongs into {where_to}", stranger.key));
            } else {
                told.message = "this key does not belong here".into();
                told.hint = Some(format!("it belongs into {where_to}"));
            }
        }
    }

    /// The tables that know it: those within its own if there are any, else the others.
    fn home_of(&self, stranger: &Stranger) -> Option<String> {
        let knowing: Vec<&Kind> = self
            .tables
            .iter()
            .filter(|(table, keys)| **table != stranger.table && keys.contains(&stranger.key.as_str()))
            .map(|(table, _)| table)
            .collect();
        let inner: Vec<&Kind> =
            knowing.iter().copied().filter(|table| table.starts_with(&stranger.table)).collect();
        let homes = if inner.is_empty() { knowing } else { inner };
        let is_default = stranger.problem.key.starts_with("defaults");
        let names: Vec<String> = homes.into_iter().map(|table| shown(table, is_default)).collect();
        (!names.is_empty()).then(|| names.join(" or "))
    }
}

fn shown(table: &[String], is_default: bool) -> String {
    match table {
        [rule] if rule == "rule" && !is_default => "[[rule]], above its inner tables".to_owned(),
        [rule, inner @ ..] if rule == "rule" && is_default => {
            let names: Vec<&str> =
                std::iter::once("defaults").chain(inner.iter().map(String::as_str)).collect();
            format!("[{}]", names.join("."))
        }
        _ => format!("[{}]", table.join(".")),
    }
}
