//! `priority_when`: priorities by the size of files.

use super::section::Section;
use crate::model::priority::{Priority, PriorityWhen};

const BYTES_MAX: u64 = i64::MAX as u64;

pub(super) fn read(section: &Section<'_>) -> Vec<PriorityWhen> {
    let mut read: Vec<PriorityWhen> = Vec::new();
    for (position, of) in section.sections("priority_when").iter().enumerate() {
        of.missing(
            "priority",
            "which priority these files have",
            "add `priority = 10`: 1 to 100, the lower goes first",
        );
        let when = PriorityWhen {
            larger_than: of.size("larger_than", 0..=BYTES_MAX),
            smaller_than: of.size("smaller_than", 0..=BYTES_MAX),
            priority: of.integer("priority", 1..=100).and_then(Priority::new).unwrap_or_default(),
        };
        judge(section, of, position, &read, when);
        of.finish(&[]);
        read.push(when);
    }
    read
}

/// What would never count is hardly meant.
fn judge(
    section: &Section<'_>,
    of: &Section<'_>,
    position: usize,
    before: &[PriorityWhen],
    when: PriorityWhen,
) {
    let name = || format!("entry {}", position + 1);
    if !of.has("larger_than") && !of.has("smaller_than") {
        let hint = "add `smaller_than = \"1MiB\"` or `larger_than = \"10GiB\"`; what is for all files is the rule's `priority`";
        return section.problem("priority_when", format!("{} is for every file", name()), Some(hint.into()));
    }
    if is_wrong(of, "larger_than", when.larger_than) || is_wrong(of, "smaller_than", when.smaller_than) {
        return; // that is told
    }
    let Some((least, most)) = when.sizes() else {
        let hint = "write a `larger_than` that is smaller than its `smaller_than`";
        return section.problem(
            "priority_when",
            format!("no file is of the sizes of {}", name()),
            Some(hint.into()),
        );
    };
    let covers = |other: &PriorityWhen| other.sizes().is_some_and(|(from, to)| from <= least && most <= to);
    if let Some(first) = before.iter().position(covers) {
        let message = format!("{} never counts: entry {} is for all of its files", name(), first + 1);
        let hint = "the first that holds counts: put the narrower one first";
        section.problem("priority_when", message, Some(hint.into()));
    }
}

fn is_wrong(of: &Section<'_>, key: &str, read: Option<u64>) -> bool {
    of.has(key) && read.is_none()
}

#[cfg(all(test, unix))]
mod tests {
    use crate::config::tests::World;

    /// Of a rule with these entries.
    fn world(entries: &str) -> World {
        World::with(&format!(
            "config_version = 1\n[[rule]]\nname = \"payments\"\npaths = [\"in/*\"]\npriority_when = [{entries}]\n\
             output = {{ main = {{ path = \"out/{{stem}}\" }} }}\nsource = {{ on_success = \"delete\" }}\n"
        ))
    }

    #[test]
    fn the_first_that_holds_for_a_size_is_the_priority_and_else_that_of_the_rule() {
        let settings = world(
            "{ smaller_than = \"1MiB\", priority = 10 }, { smaller_than = \"2MiB\", priority = 20 }, { larger_than = 10737418240, priority = 90 }",
        )
        .settings();
        let of = |bytes: u64| settings.rules[0].priority_for(bytes).get();
        assert_eq!(
            [0, (1 << 20) - 1, 1 << 20, 2 << 20, 10 << 30, (10 << 30) + 1].map(of),
            [10, 10, 20, 50, 50, 90]
        );
        let hash = |entries: &str| world(entries).settings().rules[0].hash();
        assert_ne!(hash(""), hash("{ smaller_than = 1, priority = 1 }"));
    }

    #[test]
    fn what_would_never_count_or_always_is_told_with_what_to_do() {
        for (entries, message, hint) in [
            ("{ priority = 10 }", "entry 1 is for every file", "the rule's `priority`"),
            ("{ smaller_than = 0, priority = 10 }", "no file is of the sizes of entry 1", "`larger_than`"),
            ("{ smaller_than = \"1MiB\" }", "which priority", "1 to 100"),
            ("{ smaller_than = \"1MiB\", priority = 0 }", "0 is out of range", "from 1 to 100"),
            ("{ smaller_than = \"1 parsec\", priority = 1 }", "is not a size", "64KiB"),
            ("{ less_than = \"1MiB\", priority = 1 }", "unknown key", "smaller_than"),
            (
                "{ smaller_than = \"2MiB\", priority = 10 }, { smaller_than = \"1MiB\", priority = 5 }",
                "entry 2 never counts: entry 1",
                "narrower one first",
            ),
        ] {
            let problems = world(entries).load().expect_err(entries).to_string();
            assert!(problems.contains(message) && problems.contains(hint), "{entries}:\n{problems}");
        }
    }
}
