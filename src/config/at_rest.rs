//! `[service.at_rest]`: whether the data folder is encrypted, and by which keys; and what rules ask of it.

use super::fit::ReadRule;
use super::paths;
use super::section::{Section, is_plain_name};
use crate::model::at_rest::{AtRest, Encrypt, KeysFrom};
use crate::model::rule::Rule;

const MEND_KEYS: &str = "write one of `key_file`, `key_command` and `key_credential`";

pub(super) fn read(service: &Section<'_>) -> AtRest {
    let table = service.section("at_rest");
    let encrypt = match table.boolean("encrypt") {
        Some(true) => Encrypt::Yes,
        Some(false) => Encrypt::No,
        None => Encrypt::AsItIs,
    };
    // What is stored is made smaller by it in any case: the word says so, and no other is known.
    table.choice("compress", &[("lz4", ())], &[]);
    let keys = keys(&table);
    table.finish(&[]);
    AtRest { encrypt, keys }
}

fn keys(table: &Section<'_>) -> KeysFrom {
    let named = ["key_file", "key_command", "key_credential"];
    if let Some(second) = named.iter().filter(|key| table.has(key)).nth(1) {
        table.problem(second, "keys come from one place", Some(MEND_KEYS.to_owned()));
    }
    let (file, command, credential) =
        (table.path("key_file"), key_command(table), table.text("key_credential"));
    // `..` is another folder.
    let is_name = |name: &str| is_plain_name(&name.replace('.', "-")) && !name.starts_with('.');
    if let Some(name) = credential.filter(|name| !is_name(name)) {
        let hint = "write the name that `LoadCredentialEncrypted=` has in the unit".to_owned();
        table.problem("key_credential", format!("\"{name}\" cannot be a credential's name"), Some(hint));
    }
    match (file, command, credential) {
        (Some(path), ..) => KeysFrom::File(path),
        (None, Some(command), _) => command,
        (None, None, Some(name)) => KeysFrom::Credential(name.to_owned()),
        (None, None, None) => KeysFrom::DataFolder,
    }
}

fn key_command(table: &Section<'_>) -> Option<KeysFrom> {
    let items = table.texts("key_command")?;
    let Some(program) = items.first().filter(|program| !program.text.is_empty()) else {
        let hint = "write `key_command = [\"vault\", \"read\", …]`".to_owned();
        table.problem("key_command", "a command begins with its program", Some(hint));
        return None;
    };
    let folder = program.place.folder().to_owned();
    let mut command: Vec<String> = items.iter().map(|item| item.text.to_owned()).collect();
    // One with a folder in it is found from the file that names it, others in `PATH`.
    if program.text.contains(paths::is_separator) {
        let found = paths::absolute_path(program.text, &folder);
        let found =
            found.inspect_err(|bad| table.item_problem(program, bad.message, Some(bad.hint.to_owned())));
        found.ok()?.to_str()?.clone_into(command.first_mut()?);
    }
    Some(KeysFrom::Command { command, folder })
}

/// What the rules ask for. The outputs that lie in the data folder are encrypted with it.
pub(super) fn settle(at_rest: &mut AtRest, rules: &mut [ReadRule], service: &Section<'_>) {
    let table = service.section("at_rest");
    if at_rest.encrypt == Encrypt::No {
        let demand = rules.iter().find(|read| read.rule.encrypt_at_rest);
        if let Some(read) = demand {
            let message = format!("rule \"{}\" has `encrypt_at_rest = true`", read.rule.name);
            let hint = "take this line out, or that of the rule".to_owned();
            table.problem("encrypt", message, Some(hint));
        }
        return;
    }
    if at_rest.encrypt == Encrypt::AsItIs && rules.iter().any(|read| read.rule.is_private()) {
        at_rest.encrypt = Encrypt::Yes;
    }
    if at_rest.encrypt == Encrypt::Yes {
        for read in rules {
            seal_outputs(&mut read.rule);
        }
    }
}

/// Has outputs that lie in the data folder encrypted where the store is: it may be so by rules that are gone.
pub(crate) fn go_by_store(rules: &mut [Rule], is_encrypted: bool) {
    if is_encrypted {
        for rule in rules {
            seal_outputs(rule);
        }
    }
}

fn seal_outputs(rule: &mut Rule) {
    for output in rule.outputs.values_mut() {
        if output.is_in_store && !output.is_sealed && !output.path.is_empty() {
            output.path.push_str(".age");
            output.is_sealed = true;
        }
    }
}

/// With what these rules ask for.
pub(crate) fn resolved(at_rest: &AtRest, rules: &[Rule]) -> AtRest {
    let is_wanted = at_rest.encrypt == Encrypt::AsItIs && rules.iter().any(Rule::is_private);
    let encrypt = if is_wanted { Encrypt::Yes } else { at_rest.encrypt };
    AtRest { encrypt, keys: at_rest.keys.clone() }
}
