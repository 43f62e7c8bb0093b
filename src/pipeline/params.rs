//! The parameters of a step as the TOML has them, read with every problem kept.

use serde_json::{Map, Value};

use super::problem::PipelineProblem;
use crate::model::nearest::did_you_mean;

/// A table of parameters being read: what is never asked for is unknown and refused at the end.
pub struct Params<'a> {
    table: &'a Map<String, Value>,
    path: Vec<String>,
    known: Vec<&'static str>,
    problems: Vec<PipelineProblem>,
}

impl<'a> Params<'a> {
    /// The parameters of a step.
    pub fn new(table: &'a Map<String, Value>) -> Self {
        Self::nested(table, Vec::new())
    }

    /// A table within the parameters, at this path.
    pub fn nested(table: &'a Map<String, Value>, path: Vec<String>) -> Self {
        Self { table, path, known: Vec::new(), problems: Vec::new() }
    }

    /// The path of a key in this table.
    pub fn path_of(&self, key: &str) -> Vec<String> {
        let mut path = self.path.clone();
        path.push(key.to_owned());
        path
    }

    /// A parameter as it is; none where it is not given.
    pub fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.table.get(key)
    }

    /// A text.
    pub fn text(&mut self, key: &'static str) -> Option<&'a str> {
        self.read_as(key, "a text", Value::as_str)
    }

    /// True or false.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.read_as(key, "true or false", Value::as_bool)
    }

    /// A count.
    pub fn count(&mut self, key: &'static str) -> Option<u64> {
        self.read_as(key, "a whole number of at least 0", Value::as_u64)
    }

    /// A table.
    pub fn table(&mut self, key: &'static str) -> Option<&'a Map<String, Value>> {
        self.read_as(key, "a table", Value::as_object)
    }

    /// A list.
    pub fn list(&mut self, key: &'static str) -> Option<&'a [Value]> {
        self.read_as(key, "a list", Value::as_array).map(Vec::as_slice)
    }

    fn read_as<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl Fn(&'a Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.get(key)?;
        let found = read(value);
        if found.is_none() {
            self.problem(key, format!("`{key}` must be {expected}, not {}", kind_of(value)), None);
        }
        found
    }

    /// A list of texts, not empty.
    pub fn texts(&mut self, key: &'static str) -> Option<Vec<String>> {
        let list = self.list(key)?;
        if list.is_empty() {
            self.problem(key, format!("`{key}` is empty"), None);
            return None;
        }
        let texts: Option<Vec<String>> = list.iter().map(|value| value.as_str().map(str::to_owned)).collect();
        if texts.is_none() {
            self.problem(key, format!("`{key}` holds something other than texts"), None);
        }
        texts
    }

    /// Refuses a parameter that must be given.
    pub fn missing(&mut self, key: &'static str, hint: &str) {
        let message = format!("`{key}` is missing");
        self.problem(key, message, Some(hint.to_owned()));
    }

    /// A problem with a parameter of this table.
    pub fn problem(&mut self, key: &str, message: String, hint: Option<String>) {
        self.problem_at(self.path_of(key), message, hint);
    }

    /// A problem with this table as a whole.
    pub fn problem_here(&mut self, message: String, hint: Option<String>) {
        self.problem_at(self.path.clone(), message, hint);
    }

    /// A problem at a path.
    pub fn problem_at(&mut self, key: Vec<String>, message: String, hint: Option<String>) {
        self.problems.push(PipelineProblem { key, message, hint });
    }

    /// What was read elsewhere; its problems are kept with those of this table.
    pub fn accept<T>(&mut self, read: Result<T, Vec<PipelineProblem>>) -> Option<T> {
        read.map_err(|problems| self.problems.extend(problems)).ok()
    }

    /// Every problem of this table, unknown parameters included.
    pub fn into_problems(mut self) -> Vec<PipelineProblem> {
        for key in self.table.keys() {
            if !self.known.contains(&key.as_str()) {
                let known: Vec<&str> = self.known.clone();
                let hint = did_you_mean(key, known.iter().copied())
                    .or_else(|| Some(format!("known are: {}", known.join(", "))))
                    .filter(|_| !known.is_empty());
                self.problem(key, format!("unknown parameter `{key}`"), hint);
            }
        }
        self.problems
    }

    /// What was read.
    ///
    /// # Errors
    ///
    /// Every problem that was met, and each parameter that nobody asked for; or, without any, that nothing was read.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, Vec<PipelineProblem>> {
        let path = self.path.clone();
        let problems = self.into_problems();
        match read {
            Some(read) if problems.is_empty() => Ok(read),
            _ if problems.is_empty() => {
                let message = "the parameters make no sense together".to_owned();
                Err(vec![PipelineProblem { key: path, message, hint: None }])
            }
            _ => Err(problems),
        }
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_parameters_are_refused_with_the_nearest_name() {
        let table = serde_json::json!({ "commnd": 1, "zzz": 2 });
        let table = table.as_object().expect("a table");
        let mut params = Params::new(table);
        assert_eq!(params.text("command"), None);
        let problems = params.into_problems();
        assert_eq!(problems.len(), 2);
        assert_eq!(problems[0].key, ["commnd"]);
        assert_eq!(problems[0].hint.as_deref(), Some("did you mean `command`?"));
        assert_eq!(problems[1].hint.as_deref(), Some("known are: command"));
    }

    #[test]
    fn a_parameter_of_another_kind_is_refused() {
        let table = serde_json::json!({ "a": 1, "b": "x", "c": -1, "d": [1], "e": [] });
        let mut params = Params::new(table.as_object().expect("a table"));
        assert_eq!(params.text("a"), None);
        assert_eq!(params.flag("b"), None);
        assert_eq!(params.count("c"), None);
        assert_eq!(params.texts("d"), None);
        assert_eq!(params.texts("e"), None);
        let messages: Vec<String> =
            params.into_problems().into_iter().map(|problem| problem.message).collect();
        assert_eq!(
            messages,
            [
                "`a` must be a text, not a number",
                "`b` must be true or false, not a text",
                "`c` must be a whole number of at least 0, not a number",
                "`d` holds something other than texts",
                "`e` is empty",
            ]
        );
    }
}
