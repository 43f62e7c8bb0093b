//! A page of Markdown as plain text: paragraphs are wrapped, tables laid out, links told as what to type.
//!
//! It knows what the pages of `docs/` are made of, and no more of Markdown than that.

use super::table;
use super::wrap::{WIDTH, wrapped};

/// A page as a terminal shows it; `page_of` tells the page that a file's name (`x.md`) is, if it is one.
pub(super) fn printed(text: &str, page_of: impl Fn(&str) -> Option<&'static str>) -> String {
    let mut printed = String::new();
    let mut was_item = false;
    for block in blocks(text) {
        let is_item = matches!(&block, Block::Text { first, .. } if !first.trim().is_empty());
        let told = match block {
            Block::Heading(level, title) => heading(level, &plain(&title, &page_of)),
            Block::Code(lines) => indented(&lines),
            Block::Table(rows) => {
                let cells = |row: &String| cells(row).map(|cell| plain(cell, &page_of)).collect();
                table::printed(&rows.iter().map(cells).collect::<Vec<_>>(), WIDTH)
            }
            Block::Text { first, rest, words } => wrapped(&plain(&words, &page_of), &first, &rest),
        };
        // Items of a list stand together.
        if !(printed.is_empty() || is_item && was_item) {
            printed.push('\n');
        }
        printed.push_str(&told);
        was_item = is_item;
    }
    printed
}

enum Block {
    Heading(usize, String),
    Code(Vec<String>),
    /// Its rows as they stand, without the line of dashes.
    Table(Vec<String>),
    /// A paragraph, or an item of a list: what its lines begin with, and its words.
    Text {
        first: String,
        rest: String,
        words: String,
    },
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (indent, begins) = (line.len() - line.trim_start().len(), line.trim_start());
        if begins.is_empty() || is_definition(begins) {
            continue;
        }
        if begins.starts_with("<!--") {
            let mut last = line;
            while !last.contains("-->") {
                let Some(next) = lines.next() else { break };
                last = next;
            }
        } else if begins.starts_with("```") {
            let code = lines.by_ref().take_while(|line| !line.trim_start().starts_with("```"));
            let cut = |line: &str| line.get(indent..).unwrap_or_default().to_owned();
            blocks.push(Block::Code(code.map(cut).collect()));
        } else if let Some(title) = begins.strip_prefix('#') {
            let level = 1 + title.len() - title.trim_start_matches('#').len();
            blocks.push(Block::Heading(level, title.trim_start_matches('#').trim().to_owned()));
        } else if begins.starts_with('|') {
            let mut rows = vec![begins.to_owned()];
            while let Some(row) = lines.next_if(|line| line.trim_start().starts_with('|')) {
                rows.push(row.trim().to_owned());
            }
            rows.retain(|row| row.contains(|c: char| !['|', '-', ':', ' '].contains(&c)));
            blocks.push(Block::Table(rows));
        } else {
            let mark = item_mark(begins);
            let mut words = begins[mark.len()..].to_owned();
            while let Some(more) = lines.next_if(|line| goes_on(line)) {
                words = format!("{words} {}", more.trim());
            }
            let (first, rest) = (" ".repeat(indent) + mark, " ".repeat(indent + mark.len()));
            blocks.push(Block::Text { first, rest, words });
        }
    }
    blocks
}

/// Whether a line is more of the paragraph before it.
fn goes_on(line: &str) -> bool {
    let begins = line.trim_start();
    let is_other = begins.is_empty() || ["```", "|", "#", "<!--"].iter().any(|mark| begins.starts_with(mark));
    !is_other && item_mark(begins).is_empty()
}

/// What an item of a list begins with: `- `, `1. `.
fn item_mark(line: &str) -> &str {
    if line.starts_with("- ") {
        return &line[..2];
    }
    match line.split_once(". ") {
        Some((number, _)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
            &line[..number.len() + 2]
        }
        _ => "",
    }
}

/// Where a link leads that stands elsewhere by its name: `[0007]: decisions/0007-zip-members.md`.
fn is_definition(line: &str) -> bool {
    line.starts_with('[') && line.split_once("]: ").is_some_and(|(name, _)| !name.contains(' '))
}

fn cells(row: &str) -> impl Iterator<Item = &str> {
    row.trim_start_matches('|').trim_end_matches('|').split('|').map(str::trim)
}

fn heading(level: usize, title: &str) -> String {
    match level {
        1 => format!("{title}\n{}\n", "=".repeat(title.chars().count())),
        2 => format!("{title}\n{}\n", "-".repeat(title.chars().count())),
        _ => format!("{title}\n"),
    }
}

fn indented(lines: &[String]) -> String {
    let indent = |line: &String| format!("    {line}").trim_end().to_owned() + "\n";
    lines.iter().map(indent).collect()
}

/// Words without the marks of Markdown; code keeps its own.
fn plain(text: &str, page_of: impl Fn(&str) -> Option<&'static str>) -> String {
    let mut told = String::new();
    for (place, part) in text.split('`').enumerate() {
        if place % 2 == 1 {
            told = format!("{told}`{part}`");
        } else {
            told.push_str(&part.replace("**", ""));
        }
    }
    let mut linked = String::new();
    let mut rest = told.as_str();
    while let Some((before, behind)) = rest.split_once("](") {
        let Some(((before, words), (target, behind))) = before.rsplit_once('[').zip(behind.split_once(')'))
        else {
            break;
        };
        let before = before.strip_suffix('!').unwrap_or(before); // of a picture
        linked = linked + before + words + &where_to(words, target, &page_of);
        rest = behind;
    }
    linked + rest
}

/// What to type, or to open, behind the words of a link.
fn where_to(words: &str, target: &str, page_of: impl Fn(&str) -> Option<&'static str>) -> String {
    let file = target.split('#').next().unwrap_or_default();
    match page_of(file) {
        Some(page) => format!(" (landfall help {page})"),
        None if file.is_empty() || target == words => String::new(),
        None if file.starts_with("decisions/") => format!(" (docs/{file})"),
        None => format!(" ({target})"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> String {
        printed(text, |file| (file == "disks.md").then_some("disks"))
    }

    #[test]
    fn words_are_wrapped_and_links_told_as_what_to_type() {
        let text = "# A page\n\nSee [full\ndisks](disks.md#now), [there](https://a.example), [0007](decisions/0007-x.md) and\n**`x`**.\n";
        assert_eq!(
            told(text),
            "A page\n======\n\nSee full disks (landfall help disks), there (https://a.example), 0007\n(docs/decisions/0007-x.md) and `x`.\n"
        );
    }

    #[test]
    fn lists_and_code_keep_their_shape_and_comments_go() {
        let text = "- one\n  more\n- two\n\n<!-- not run:\n a reason -->\n```sh\n  landfall jobs\n```\n\n1. first\n2. second\n";
        assert_eq!(told(text), "- one more\n- two\n\n      landfall jobs\n\n1. first\n2. second\n");
    }

    #[test]
    fn no_line_of_text_is_wider_than_a_terminal() {
        let told = told(&format!("{}\n\n- {}\n", "word ".repeat(60), "word ".repeat(60)));
        assert!(told.lines().all(|line| line.chars().count() <= WIDTH), "{told}");
    }
}
