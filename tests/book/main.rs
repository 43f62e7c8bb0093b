//! Promise: what the book says can be found, typed and pasted: no dead link, no page left out, every sample runs, and what is told of commands,
//! keys, metrics and errors is what the program has.
//!
//! `LANDFALL_BOOK=write cargo test --test book` writes anew what is generated (`generated.rs`). A sample that is not run says why in a comment
//! before it: `<!-- not run: REASON -->`.
#![cfg(target_os = "linux")]
#![expect(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "texts of some pages: nobody counts what they allocate"
)]

mod errors;
mod generated;
mod keys;
mod pages;
mod samples;
mod session;
mod shell;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;

use pages::{Page, read, root};
use support::World;

/// Documents outside of the book, whose links are looked at too.
const OTHERS: [&str; 5] =
    ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md"];
/// What a stranger reads.
const README_LINES_MAX: usize = 150;

#[test]
fn every_link_leads_to_a_file_and_a_heading_that_are_there() {
    let mut dead = Vec::new();
    let others = OTHERS.iter().map(|name| Page::at(name));
    for page in pages::of_the_book().into_iter().chain(others).chain([Page::at("docs/SUMMARY.md")]) {
        for link in page.links().into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if file.is_empty() { page.path.clone() } else { page.beside(file) };
            let is_there = root().join(&target).symlink_metadata().is_ok();
            let has = |anchor: &str| Page::at(&target).anchors().contains(anchor);
            if !is_there || !anchor.is_empty() && !has(anchor) {
                dead.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert!(dead.is_empty(), "dead links: {dead:#?}");
}

/// The site has the pages of `docs` and nothing else: a link out of it would be dead there.
#[test]
fn no_page_of_the_book_links_out_of_it() {
    let leads_out =
        |page: &Page, link: &str| !link.contains("://") && !page.beside(link).starts_with("docs/");
    let found: Vec<String> = pages::of_the_book()
        .iter()
        .flat_map(|page| page.links().into_iter().map(move |link| (page, link)))
        .filter(|(page, link)| !link.starts_with('#') && leads_out(page, link))
        .map(|(page, link)| format!("{}: {link}", page.path))
        .collect();
    assert!(found.is_empty(), "name the file as code instead: {found:#?}");
}

#[test]
fn the_table_of_contents_has_each_page_once_by_its_title() {
    let contents = Page::at("docs/SUMMARY.md");
    let listed: Vec<String> = contents.links().iter().map(|link| contents.beside(link)).collect();
    let once: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(listed.len(), once.len(), "a page is listed twice");
    let pages = pages::of_the_book();
    let left_out: Vec<&String> =
        pages.iter().map(|page| &page.path).filter(|path| !once.contains(path)).collect();
    assert!(left_out.is_empty(), "docs/SUMMARY.md lacks {left_out:#?}");
    assert_eq!(listed.len(), pages.len(), "docs/SUMMARY.md lists what is no page");
    for page in &pages {
        let file = page.path.trim_start_matches("docs/");
        let named =
            contents.text.lines().find_map(|line| line.split_once('[')?.1.split_once(&format!("]({file})")));
        let (named, _) = named.expect("it is listed");
        let is_title = named == page.title()
            || named.strip_suffix('…').is_some_and(|begin| page.title().starts_with(begin));
        assert!(is_title, "docs/SUMMARY.md calls {} otherwise than {}", page.path, page.title());
    }
}

#[test]
fn each_page_is_printed_by_help_and_has_no_commands_name() {
    let world = World::bare();
    let listed = world.landfall(&["help", "topics"]).done().stdout;
    let commands = generated::commands(&world);
    for page in pages::of_the_book().iter().filter(|page| !page.path.contains("decisions/")) {
        let name = page.path.trim_start_matches("docs/").trim_end_matches(".md");
        assert!(
            !commands.iter().any(|command| command == name),
            "`{name}` is a command: name the page otherwise"
        );
        let is_listed = listed.lines().any(|line| line.split_whitespace().next() == Some(name));
        assert!(is_listed, "`landfall help topics` lacks {name}: add it to src/cli/help/topics.rs");
        let printed = world.landfall(&["help", name]).done().stdout;
        assert!(printed.starts_with(page.title()), "{printed}");
        for mark in ["](", "```", "|---", "<!--"] {
            assert!(!printed.contains(mark), "`landfall help {name}` shows Markdown: {mark}\n{printed}");
        }
    }
}

#[test]
fn help_is_that_of_a_command_or_a_page_or_finds_pages_and_proposes_what_is_meant() {
    let world = World::bare();
    let help = |words: &[&str]| world.landfall(&[&["help"], words].concat());
    assert_eq!(help(&["jobs"]).done().stdout, world.landfall(&["jobs", "--help"]).done().stdout);
    let below = world.landfall(&["records", "retry", "--help"]).done().stdout;
    assert_eq!(help(&["records", "retry"]).done().stdout, below);
    let all = help(&[]).done().stdout;
    assert!(all.contains("Commands:") && all.contains("resends") && all.contains("Sent again"), "{all}");
    let found = help(&["bad", "lines"]).done().stdout;
    assert!(found.contains("\n  failed-records ") && found.contains("3% bad lines?"), "{found}");
    let near = help(&["jbos"]).ends_with(2).stderr;
    assert!(near.contains("`landfall help jobs`"), "{near}");
    let far = help(&["xylophone"]).ends_with(2).stderr;
    assert!(far.contains("`landfall help topics`") && !far.contains("did you mean"), "{far}");
}

/// Each question has a number, and its answer names a page.
#[test]
fn ten_questions_of_operators_have_an_answer_that_leads_to_a_page() {
    let page = Page::at("docs/questions.md");
    for number in 1..=10 {
        let (_, answer) = page.text.split_once(&format!("\n## {number}. ")).expect("ten questions");
        let answer = answer.split("\n## ").next().unwrap_or_default();
        assert!(answer.contains(".md"), "question {number} leads nowhere: {answer}");
        let commands = answer.split('`').filter(|code| code.starts_with("landfall "));
        for command in commands.filter_map(|code| code.split_whitespace().nth(1)) {
            World::bare().landfall(&[command, "--help"]).done();
        }
    }
}

#[test]
fn the_readme_is_short_enough_for_a_stranger() {
    let lines = read("README.md").lines().count();
    assert!(lines < README_LINES_MAX, "{lines} lines: move some into the book");
}
