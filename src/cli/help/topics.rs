//! The pages of the documentation, by name: each file of `docs/`, in the order of its table of contents.

use std::fmt::Write as _;

use super::page;

const CONTENTS: &str = include_str!("../../../docs/SUMMARY.md");

macro_rules! topics {
    ($($name:literal)*) => {
        &[$(Topic { name: $name, text: include_str!(concat!("../../../docs/", $name, ".md")) }),*]
    };
}

/// `tests/book` holds that each file is here.
const TOPICS: &[Topic] = topics![
    "start" "questions" "words"
    "sftp" "complete" "watching" "uploads" "layouts" "foreign-folders" "encrypted" "archives"
    "steps" "formats" "testing" "resends" "changes"
    "following" "failed-records" "stopping" "priorities" "throttling" "disks" "crashes" "being-told" "dashboard" "http" "install" "as-a-service" "cluster" "backup"
    "encrypted-at-rest" "audit-trail"
    "moving" "comparison" "from-shell" "from-rocket-job" "from-camel" "from-nifi" "from-telegraf"
    "commands" "keys" "metrics" "errors" "kept"
    "trust" "how-it-works" "durable-steps" "performance" "figures"
    "own-steps" "embedding" "glossary"
];

/// A page.
pub(super) struct Topic {
    /// Its file's, without `.md`.
    pub(super) name: &'static str,
    pub(super) text: &'static str,
}

pub(super) fn all() -> impl Iterator<Item = &'static Topic> {
    TOPICS.iter()
}

impl Topic {
    /// Case does not count, nor does the file's ending.
    pub(super) fn named(name: &str) -> Option<&'static Self> {
        let name = name.strip_suffix(".md").unwrap_or(name);
        all().find(|topic| topic.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn title(&self) -> &'static str {
        self.text.lines().find_map(|line| line.strip_prefix("# ")).unwrap_or(self.name)
    }

    /// As a terminal shows it.
    pub(super) fn printed(&self) -> String {
        page::printed(self.text, |name| Self::named(name).map(|topic| topic.name))
    }
}

/// All of them, below the headings of the table of contents.
pub(super) fn listed() -> String {
    let mut listed = String::from("Pages (`landfall help TOPIC` prints one):\n");
    let mut heading = None;
    for line in CONTENTS.lines() {
        if let Some(title) = line.strip_prefix("# ") {
            heading = Some(title);
        }
        let file = line.split_once("](").and_then(|(_, file)| file.strip_suffix(".md)"));
        let Some(topic) = file.and_then(Topic::named) else { continue };
        if let Some(heading) = heading.take() {
            writeln!(listed, "\n{heading}").ok(); // as below
        }
        writeln!(listed, "  {:<18} {}", topic.name, topic.title()).ok(); // a text takes everything
    }
    listed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_is_listed_once_below_a_heading_and_can_be_printed() {
        let listed = listed();
        for topic in all() {
            let line = format!("\n  {:<18} {}\n", topic.name, topic.title());
            assert_eq!(listed.matches(&line).count(), 1, "{}: {listed}", topic.name);
            let printed = topic.printed();
            assert!(printed.starts_with(topic.title()) && printed.ends_with('\n'), "{printed}");
        }
        assert_eq!(listed.lines().filter(|line| line.starts_with("  ")).count(), TOPICS.len());
    }

    #[test]
    fn a_page_is_found_by_its_name_in_any_case() {
        assert_eq!(Topic::named("Resends").map(|topic| topic.name), Some("resends"));
        assert_eq!(Topic::named("resends.md").map(|topic| topic.name), Some("resends"));
        assert!(Topic::named("resend").is_none());
    }
}
