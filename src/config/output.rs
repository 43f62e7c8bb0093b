//! `[rule.output.CATEGORY]`: one table per category.

use std::collections::BTreeMap;
use std::path::Path;

use super::pipeline::validate_targets;
use super::section::{Section, is_plain_name};
use super::suffixes::{Promised, in_right_order, not_done, promised};
use crate::format::RecordFormat;
use crate::model::category::Category;
use crate::model::rule::{Limit, LineEnd, OUTPUTS_FOLDER, OnExists, Output, StepSpec};
use crate::model::template;

/// What of a job may go to `validate`'s target unless the output says otherwise: garbage that still parses must not pass.
const INVALID_MAX: Limit = Limit::Percent(50.0);

/// Reads every output.
pub(super) fn read_all(
    section: &Section<'_>,
    format: &dyn RecordFormat,
    pipeline: &[StepSpec],
    data_dir: &Path,
) -> BTreeMap<Category, Output> {
    let mut outputs = BTreeMap::new();
    for name in section.keys() {
        if name == "*" {
            let hint = "this version of landfall does not know it; write one table per category".to_owned();
            section.problem(name, "this table is not available yet", Some(hint));
        } else if !is_plain_name(name) {
            let hint = "use letters, digits, - and _ (1 to 100 of them)".to_owned();
            section.problem(name, format!("\"{name}\" cannot be a category's name"), Some(hint));
        } else if let Some(table) = section.named_section(name) {
            let validates = validate_targets(pipeline).any(|target| target == name);
            let output = output(&table, name, format, validates, data_dir);
            outputs.insert(Category::new(name), output);
        }
    }
    if section.keys().next().is_none() {
        section.missing("main", "an output", "add a table `[rule.output.main]` with a `path`");
    }
    outputs
}

fn output(
    table: &Section<'_>,
    category: &str,
    format: &dyn RecordFormat,
    validates: bool,
    data_dir: &Path,
) -> Output {
    let kept = table.choice("keep_output", &[("file", false), ("store", true)], &[]);
    let is_in_store = kept.unwrap_or(false);
    if is_in_store {
        let keys = ["path", "on_exists", "mode", "recipients", "recipients_file"];
        table.refuse(
            &keys,
            "an output in the store is no file of yours",
            "take this key out, or `keep_output`",
        );
    } else if kept.is_some() || !table.has("keep_output") {
        table.missing("path", "the output's path", "add `path = \"out/{rule}/{stem}.csv\"`");
    }
    let header = table.boolean("header").unwrap_or(true);
    if !format.may_have_header() {
        table.refuse(&["header"], "only csv has a header to repeat", "take the key out");
    }
    let annotate = table.boolean("annotate").unwrap_or(false);
    if annotate && !format.may_annotate() {
        table.refuse(&["annotate"], "only csv and jsonl can be annotated", "take the key out");
    }
    let exists = [("number", OnExists::Number), ("fail", OnExists::Fail), ("replace", OnExists::Replace)];
    let ends = [("lf", LineEnd::Lf), ("crlf", LineEnd::Crlf), ("none", LineEnd::None)];
    let write_empty = table.choice("empty", &[("write", true), ("skip", false)], &[]);
    let output = Output {
        path: if is_in_store {
            path_in_store(table, category, data_dir)
        } else {
            table.template("path").unwrap_or_default()
        },
        is_in_store,
        is_sealed: false, // where the data folder is encrypted
        on_exists: table.choice("on_exists", &exists, &[]).unwrap_or(OnExists::Number),
        write_empty: write_empty.unwrap_or(category == Category::MAIN),
        max: table.limit("max").or(validates.then_some(INVALID_MAX)),
        header: header && format.may_have_header(),
        line_end: table.choice("line_end", &ends, &[]).unwrap_or(LineEnd::Lf),
        annotate: annotate && format.may_annotate(),
        recipients: recipients(table),
        recipients_file: table.path("recipients_file"),
        sha256: table.boolean("sha256").unwrap_or(false),
        mode: table.mode("mode").unwrap_or(0o640),
    };
    if !is_in_store {
        check_encryption(table, &output); // its name is ours
    }
    table.finish(&[]);
    output
}

/// Below a folder that its job has alone: so the job's id says whose it is.
fn path_in_store(table: &Section<'_>, category: &str, data_dir: &Path) -> String {
    let folder = data_dir.join(OUTPUTS_FOLDER);
    let Some(folder) = folder.to_str().map(template::escaped) else {
        let hint = "give `service.data_dir` a path in Unicode".to_owned();
        table.problem("keep_output", "the data folder has a name that no template can have", Some(hint));
        return String::new();
    };
    let place = Path::new(&folder).join("{job}").join(template::escaped(category) + ".zst");
    place.to_string_lossy().into_owned()
}

fn recipients(table: &Section<'_>) -> Vec<String> {
    let items = table.texts("recipients").unwrap_or_default();
    for item in &items {
        if item.text.to_ascii_lowercase().starts_with("age-secret-key-") {
            // Its text is not repeated: it would land in logs.
            let hint = "write the public key (`age-keygen -y KEYFILE` shows it), and make a new pair: this one is known now";
            table.item_problem(item, "this is a secret key", Some(hint.to_owned()));
        } else if !["age1", "ssh-"].iter().any(|kind| item.text.starts_with(kind)) {
            let hint = "write a public key: age1…, ssh-ed25519 … or ssh-rsa …".to_owned();
            table.item_problem(item, "this is no recipient", Some(hint));
        }
    }
    items.iter().map(|item| item.text.to_owned()).collect()
}

/// The name says whether a file is encrypted, and it says so truly.
fn check_encryption(table: &Section<'_>, output: &Output) {
    if let Some(right) = in_right_order(&output.path) {
        let hint = format!("what is encrypted cannot be made smaller: write \"{right}\"");
        table.problem("path", "this output would be encrypted first and then compressed", Some(hint));
        return;
    }
    if let Some(suffix) = not_done(&output.path) {
        let message = format!("this name promises .{suffix}, and nothing here writes that");
        let hint = "an output is compressed by .gz, .zst, .bz2 or .xz and encrypted by .age, .pgp, .gpg or .asc behind it, each once; take other suffixes off";
        table.problem("path", message, Some(hint.to_owned()));
    }
    let encrypted = !output.recipients.is_empty() || output.recipients_file.is_some();
    if output.path.is_empty() {
        return;
    }
    match promised(&output.path, encrypted) {
        Some(Promised::Age) if !encrypted => {
            let hint =
                "add `recipients = [\"age1…\"]` or `recipients_file`, or take the suffix off".to_owned();
            table.problem("path", "an .age file needs recipients to encrypt to", Some(hint));
        }
        Some(Promised::OpenPgp) if !output.recipients.is_empty() => {
            let hint = "name a `recipients_file` with the keys: `gpg --export --armor KEY > FILE`".to_owned();
            table.problem(
                "recipients",
                "these are recipients of age, and the path ends as of OpenPGP",
                Some(hint),
            );
        }
        Some(Promised::OpenPgp) if !encrypted => {
            let hint = "add `recipients_file` with their keys (`gpg --export --armor KEY > FILE`), or take the suffix off";
            table.problem("path", "a file of OpenPGP needs recipients to encrypt to", Some(hint.to_owned()));
        }
        None if encrypted => {
            let hint = "add the suffix .age to the path (.pgp, .gpg or .asc for OpenPGP), or take the recipients out";
            table.problem(
                "path",
                "this output is encrypted, but its name does not end in .age",
                Some(hint.to_owned()),
            );
        }
        Some(_) | None => {}
    }
}
