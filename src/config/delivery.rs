//! `[rule.delivery]`: is it a resend?

use super::section::Section;
use crate::model::delivery::{DeliveryRule, SameContent, SameKey};
use crate::model::mistake::Mistake;
use crate::model::template::{Outline, variables};

pub(super) fn read(section: &Section<'_>) -> DeliveryRule {
    let contents = [("take", SameContent::Take), ("refuse", SameContent::Refuse)];
    let keys = [("take", SameKey::Take), ("correction", SameKey::Correction), ("hold", SameKey::Hold)];
    let rule = DeliveryRule {
        key: section.text("key").map(str::to_owned),
        same_content: section.choice("same_content", &contents, &[]).unwrap_or_default(),
        same_key: section.choice("same_key", &keys, &[]).unwrap_or_default(),
    };
    if section.says("same_key") {
        section.missing(
            "key",
            "what `same_key` compares",
            "add a key, like `key = \"{name}\"`, or take `same_key` out",
        );
    }
    section.finish(&[]);
    rule
}

/// What is wrong with a `{revision}` in this table's template. In the path of an output, marker or manifest it cannot be part of a
/// folder: their hidden files lie there before the revision is known.
pub(super) fn misplaced_revision(has_key: bool, table: &str, template: &str) -> Option<Mistake> {
    if !has_key {
        let hint = "add `[rule.delivery]` with a key, like `key = \"{name}\"`: revisions are those of a key";
        return Some(Mistake::new("{revision} is never more than 1 without a delivery's key", hint));
    }
    let outline = Outline::parse(template).ok()?;
    let in_folder =
        ["output", "publish"].contains(&table) && outline.folder_variables().any(|name| name == "revision");
    let message = "{revision} cannot be in a folder of outputs, marker or manifest: it is known only once the file is read to its end";
    in_folder.then(|| Mistake::new(message, "put it into the file's name, like `{stem}-r{revision}.csv`"))
}

/// What is wrong with a key that its template's owner accepts.
pub(super) fn bad_key(key: &str) -> Option<Mistake> {
    const SINGLE: [&str; 5] = ["job", "category", "entry", "entry_stem", "revision"];
    let used = variables(key);
    if used.is_empty() {
        let hint = "use {name}, {stem} or a named wildcard of `paths`";
        return Some(Mistake::new("this key is the same for every file", hint));
    }
    let single = used.iter().find(|name| SINGLE.contains(&name.as_str()))?;
    let message = format!("{{{single}}} does not tell one delivery from another");
    Some(Mistake::new(message, "use what a later delivery has in common with the first, like {name}"))
}
