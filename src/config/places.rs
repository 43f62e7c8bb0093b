//! Where each key stands: for what is said of a configuration that is right in itself.

use super::fit::{place_of, shown_key};
use super::problem::Problem;
use super::raw::{Layer, Node, Value};
use super::section::key_path;

/// The configuration as written, with what the rules inherited.
#[derive(Debug)]
pub(crate) struct Places {
    pub(super) service: Node,
    /// By the rules' order, each with its name in messages.
    pub(super) rules: Vec<(String, Node)>,
    /// By their order.
    pub(super) hooks: Vec<Node>,
}

impl Places {
    /// Something about a key of `[service]`.
    pub(crate) fn of_service(&self, key: &str, message: String, hint: &str) -> Problem {
        let place = place_of(&self.service, &[key]);
        Problem::at(place, key_path("service", key, place), message, Some(hint.to_owned()))
    }

    /// Something about a key of a hook.
    pub(crate) fn of_hook(&self, hook: usize, key: &str, message: String, hint: &str) -> Problem {
        let hint = Some(hint.to_owned());
        let Some(node) = self.hooks.get(hook) else {
            return Problem { message, hint, ..Problem::default() };
        };
        Problem::at(place_of(node, &[key]), format!("hook[{}].{key}", hook + 1), message, hint)
    }

    /// Something about a key of a rule; a step into an array is its position.
    pub(crate) fn of_rule(&self, rule: usize, key: &[&str], message: String, hint: &str) -> Problem {
        let hint = Some(hint.to_owned());
        let Some((owner, node)) = self.rules.get(rule) else {
            return Problem { message, hint, ..Problem::default() };
        };
        let place = place_of(node, key);
        Problem::at(place, key_path(owner, &shown_key(key), place), message, hint)
    }

    /// Whether the rule, or one of its overrides, says this key itself.
    pub(crate) fn is_own(&self, rule: usize, key: &[&str]) -> bool {
        let said = self
            .rules
            .get(rule)
            .and_then(|(_, node)| key.iter().try_fold(node, |node, name| node.child(name)));
        said.is_some_and(|node| node.place.layer != Layer::Defaults)
    }

    /// A text as it was written, before it was made absolute.
    pub(crate) fn text(&self, rule: usize, key: &[&str]) -> Option<&str> {
        let (_, node) = self.rules.get(rule)?;
        let found = key.iter().try_fold(node, |node, name| match &node.value {
            Value::Table(table) => table.get(*name),
            Value::Array(items) => items.get(name.parse::<usize>().ok()?),
            _ => None,
        })?;
        match &found.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}
