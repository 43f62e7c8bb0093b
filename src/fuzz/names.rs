//! Templates and patterns: any text parses or is refused, and whatever a sender calls his files, no path leaves its folder.
//!
//! Input: template, source path, entry name, value of `{sender}`, pattern; each but the last ended by a zero byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::Input;
use crate::model::category::Category;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::model::pattern::Pattern;
use crate::model::template::{Template, Variables};

pub(super) fn check(data: &[u8]) {
    let mut input = Input(data);
    let template = String::from_utf8_lossy(input.until(0)).into_owned();
    let source = path(input.until(0));
    let (entry, sender) = (path(input.until(0)), path(input.until(0)));
    let pattern = String::from_utf8_lossy(input.until(0)).into_owned();
    check_template(&template, &source, &entry, &sender);
    check_pattern(&pattern, &source);
}

#[cfg(unix)]
fn path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}

#[cfg(not(unix))]
fn path(bytes: &[u8]) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(bytes).into_owned())
}

fn check_template(text: &str, source: &Path, entry: &Path, sender: &Path) {
    let known = BTreeSet::from(["sender".to_owned()]);
    let template = match Template::parse(text, &known) {
        Ok(template) => template,
        Err(error) => {
            assert!(!error.message.is_empty(), "`{text}` is refused without a word");
            return;
        }
    };
    let category = Category::main();
    let entry = OsText::from(entry);
    let vars = BTreeMap::from([("sender".to_owned(), OsText::from(sender))]);
    let variables = Variables {
        rule: "payments",
        source,
        claimed_at: jiff::Timestamp::UNIX_EPOCH,
        timezone: "UTC",
        job: JobId::from_parts(0, 0),
        category: Some(&category),
        entry: Some(&entry),
        revision: 1,
        vars: &vars,
    };
    let Ok(rendered) = template.render(&variables) else { return };
    let rest = rendered.strip_prefix(template.fixed_folder());
    let rest = rest.unwrap_or_else(|_| panic!("{} has left its folder under `{text}`", rendered.display()));
    let is_name = |part: Component<'_>| matches!(part, Component::Normal(_));
    assert!(
        rest.components().count() > 0 && rest.components().all(is_name),
        "{} steps out of its folder under `{text}`",
        rendered.display()
    );
    // What senders give is cut to fit; what the operator spells out is his.
    if text.len() <= 100 && text.matches('{').count() <= 4 && !text.contains(':') {
        let fits = |part: Component<'_>| part.as_os_str().len() <= 255;
        assert!(rest.components().all(fits), "{} is too long under `{text}`", rendered.display());
    }
}

fn check_pattern(text: &str, file: &Path) {
    let pattern = match Pattern::parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            assert!(!error.message.is_empty(), "`{text}` is refused without a word");
            return;
        }
    };
    let Some(values) = pattern.matches(file) else { return };
    let shown = file.display();
    assert!(
        file.starts_with(pattern.fixed_folder()) || cfg!(windows),
        "{shown} lies elsewhere than `{text}`"
    );
    let folder = file.parent().unwrap_or_else(|| panic!("{shown} matches `{text}` without a folder"));
    assert!(pattern.could_match_in(folder), "{shown} matches `{text}`, which matches nothing in its folder");
    assert!(pattern.could_match_below(folder) && pattern.could_match_below(pattern.fixed_folder()));
    let mut named: Vec<_> = pattern.names().to_vec();
    named.sort();
    assert_eq!(named, values.keys().cloned().collect::<Vec<_>>(), "each wildcard of `{text}` has its value");
    for value in values.values() {
        let is_one_name = value.as_path().components().count() == 1 && value.as_path().file_name().is_some();
        let is_dots = value.as_os_str() == "." || value.as_os_str() == "..";
        assert!(is_one_name || is_dots, "{value} is no part of a name of {shown} under `{text}`");
    }
}
