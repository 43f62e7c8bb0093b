//! `select`: keeps some columns, in a new order, perhaps under new names.
//!
//! Fields are copied as they are written, quotes and padding included. For jsonl columns are dotted paths and the result is an
//! object of these paths; one that a record does not have is left out. A renamed path may itself be dotted.

use serde_json::{Map, Value};

use super::Planned;
use crate::format::json;
use crate::format::path_of;
use crate::model::nearest::did_you_mean;
use crate::model::step::{Outcome, Record, RecordError, Selected, Step, StepPlan};
use crate::pipeline::context::StepContext;
use crate::pipeline::params::Params;

pub(crate) fn plan(table: &Map<String, Value>, context: &StepContext<'_>) -> Planned {
    let mut params = Params::new(table);
    let columns = params.texts("columns");
    if !table.contains_key("columns") {
        params.missing("columns", "list the columns to keep, like columns = [\"id\", \"amount\"]");
    }
    let names = columns.as_ref().map(|columns| renamed(&mut params, columns));
    let tree = match &names {
        Some(names) if context.format.has_paths() => {
            object_of(names).map_err(|message| params.problem("columns", message, None)).ok()
        }
        _ => None,
    };
    let (columns, names) = params.finish(columns.zip(names))?;
    let plan = match tree {
        Some(tree) => StepPlan::new(move |_| SelectKeys { tree: tree.clone(), out: Vec::new() }),
        None => StepPlan::new(|_| SelectColumns { out: Vec::new() }),
    };
    let selected = names.into_iter().enumerate().map(|(column, name)| Selected { column, name }).collect();
    Ok(plan.reading(columns).selecting(selected))
}

/// The names of the columns from here on.
fn renamed(params: &mut Params<'_>, columns: &[String]) -> Vec<String> {
    let mut names = columns.to_vec();
    for (from, to) in params.table("rename").into_iter().flatten() {
        let mut path = params.path_of("rename");
        path.push(from.clone());
        let position = columns.iter().position(|column| column == from);
        match (position.and_then(|position| names.get_mut(position)), to.as_str()) {
            (Some(name), Some(to)) if !to.is_empty() => to.clone_into(name),
            (Some(_), _) => {
                params.problem_at(path, "the new name must be a text".to_owned(), None);
            }
            (None, _) => {
                let hint = did_you_mean(from, columns.iter().map(String::as_str));
                params.problem_at(path, format!("`{from}` is not among `columns`"), hint);
            }
        }
    }
    let twice = names
        .iter()
        .enumerate()
        .find(|(position, name)| names.iter().take(*position).any(|other| other == *name));
    if let Some((_, name)) = twice {
        let hint = "leave one out, or give it another name in `rename`";
        params.problem("columns", format!("two columns would be called `{name}`"), Some(hint.into()));
    }
    names
}

/// Rows with fewer, other-ordered fields.
struct SelectColumns {
    out: Vec<u8>,
}

impl Step for SelectColumns {
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        record.keep_columns(&mut self.out)?;
        Ok(Outcome::On)
    }
}

/// The object to write: its keys in order, each with its JSON text.
#[derive(Clone, Debug, Default)]
struct Object(Vec<(String, Node)>);

#[derive(Clone, Debug)]
enum Node {
    Column(usize),
    Object(Object),
}

/// The object that dotted paths spell out.
fn object_of(paths: &[String]) -> Result<Object, String> {
    let mut root = Object::default();
    for (column, dotted) in paths.iter().enumerate() {
        let path = path_of(dotted);
        insert(&mut root, &path, column)
            .ok_or_else(|| format!("`{dotted}` lies within another column, or around it"))?;
    }
    Ok(root)
}

fn insert(object: &mut Object, path: &[String], column: usize) -> Option<()> {
    let (name, rest) = path.split_first()?;
    let known = object.0.iter().position(|(key, _)| key == name);
    if rest.is_empty() {
        object.0.push((name.clone(), Node::Column(column)));
        return known.is_none().then_some(());
    }
    let position = known.unwrap_or_else(|| {
        object.0.push((name.clone(), Node::Object(Object::default())));
        object.0.len() - 1
    });
    match object.0.get_mut(position) {
        Some((_, Node::Object(inner))) => insert(inner, rest, column),
        _ => None,
    }
}

/// JSON objects with these keys only.
struct SelectKeys {
    tree: Object,
    out: Vec<u8>,
}

impl Step for SelectKeys {
    fn process(&mut self, record: &mut Record<'_>) -> Result<Outcome, RecordError> {
        record.check()?;
        if !record.bytes().trim_ascii_start().starts_with(b"{") {
            return Err(RecordError::new("not a JSON object"));
        }
        self.out.clear();
        write_object(&self.tree, record, &mut self.out)?;
        record.set_bytes(&self.out);
        Ok(Outcome::On)
    }
}

/// Whether any key was there.
fn write_object(object: &Object, record: &mut Record<'_>, out: &mut Vec<u8>) -> Result<bool, RecordError> {
    out.push(b'{');
    let mut any = false;
    for (key, node) in &object.0 {
        let before = out.len();
        if any {
            out.push(b',');
        }
        json::write_string(key.as_bytes(), out);
        out.push(b':');
        let there = match node {
            Node::Object(inner) => write_object(inner, record, out)?,
            Node::Column(column) => match record.raw_column(*column)? {
                Some(raw) => {
                    out.extend_from_slice(raw);
                    true
                }
                None => false,
            },
        };
        if there {
            any = true;
        } else {
            out.truncate(before);
        }
    }
    out.push(b'}');
    Ok(any)
}
