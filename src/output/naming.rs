//! The paths of a job's outputs and signals.

use std::path::{Path, PathBuf};

use super::error::OutputError;
use crate::model::category::Category;
use crate::model::job::Job;
use crate::model::os_text::OsText;
use crate::model::rule::Rule;
use crate::model::template::{self, Template, Variables};

pub(super) fn parse(rule: &Rule, text: &str, place: &str) -> Result<Template, OutputError> {
    Template::parse(text, &rule.paths.names()).map_err(|source| OutputError::template(place, source))
}

/// An output's path. Where the template leaves the end of the name to a variable, or adds nothing but what the output is packed in,
/// suffixes of what was unpacked do not stay: a plain output of `pay.csv.gz` under `{name}` is `pay.csv`, under `{name}.zst` it
/// is `pay.csv.zst`.
pub(super) fn output_path(
    template: &Template,
    rule: &Rule,
    job: &Job,
    category: &Category,
    entry: Option<&OsText>,
) -> Result<PathBuf, OutputError> {
    let path = template
        .render(&Variables { category: Some(category), entry, ..Variables::of(rule, job) })
        .map_err(|source| OutputError::template(place_of(category), source))?;
    let packing = template.literal_end();
    if !is_packing(packing) {
        return Ok(of_retry(path, job));
    }
    Ok(of_retry(template::without_known_suffixes_before(&path, packing), job))
}

/// What a retry of failed records publishes is called after what their job published: `pay-retry1.csv`.
fn of_retry(path: PathBuf, job: &Job) -> PathBuf {
    let numbers = job.retries.iter().flat_map(|retries| &retries.numbers);
    let mark = numbers.fold(String::new(), |mark, number| mark + "-retry" + &number.to_string());
    if mark.is_empty() { path } else { template::marked(&path, &mark) }
}

/// Whether this end of a name says nothing of the data: nothing at all, or suffixes of compression and encryption.
fn is_packing(end: &str) -> bool {
    let name = format!("x{end}");
    template::without_known_suffixes_before(Path::new(&name), "") == Path::new("x")
}

/// Of manifest and marker, before any number.
pub(crate) fn signal_paths(rule: &Rule, job: &Job) -> Result<[Option<PathBuf>; 2], OutputError> {
    let path = |template: &Option<String>, place: &str| {
        let render = |text: &String| {
            let rendered = parse(rule, text, place)?.render(&Variables::of(rule, job));
            let path = rendered.map_err(|source| OutputError::template(place, source))?;
            Ok::<_, OutputError>(of_retry(path, job))
        };
        template.as_ref().map(render).transpose()
    };
    Ok([path(&rule.publish.manifest, "publish.manifest")?, path(&rule.publish.marker, "publish.marker")?])
}

pub(super) fn place_of(category: &Category) -> String {
    format!("output.{category}.path")
}

pub(super) fn is_per_entry(template: &Template) -> bool {
    template.uses("entry") || template.uses("entry_stem")
}

/// For callers that show where outputs would go.
pub(crate) fn final_path(
    rule: &Rule,
    job: &Job,
    category: &Category,
    entry: Option<&OsText>,
) -> Result<PathBuf, OutputError> {
    let output =
        rule.outputs.get(category).ok_or_else(|| OutputError::NoOutput { category: category.clone() })?;
    let template = parse(rule, &output.path, &place_of(category))?;
    output_path(&template, rule, job, category, entry)
}
