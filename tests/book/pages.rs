//! The pages, and what is read of them: headings, links, samples.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A document, by its path from the root of the repository.
pub struct Page {
    pub path: String,
    pub text: String,
}

/// A block of code.
#[derive(Debug)]
pub struct Sample {
    /// `page:line`
    pub place: String,
    pub language: String,
    pub code: String,
    /// Why it is not run.
    pub excuse: Option<String>,
}

/// Every page of `docs`, by its path; not the table of contents.
pub fn of_the_book() -> Vec<Page> {
    let mut paths = Vec::new();
    for folder in ["docs", "docs/decisions"] {
        for entry in fs::read_dir(root().join(folder)).expect("it is there").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if Path::new(&name).extension().is_some_and(|it| it == "md") && name != "SUMMARY.md" {
                paths.push(format!("{folder}/{name}"));
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| Page::at(path)).collect()
}

impl Page {
    pub fn at(path: &str) -> Self {
        Self { path: path.to_owned(), text: read(path) }
    }

    pub fn title(&self) -> &str {
        self.text.lines().find_map(|line| line.strip_prefix("# ")).expect("a title")
    }

    /// The path of a file that is named from beside this page.
    pub fn beside(&self, file: &str) -> String {
        let file = file.split('#').next().unwrap_or_default();
        let mut parts: Vec<&str> = self.path.split('/').collect();
        parts.pop();
        for part in file.split('/') {
            match part {
                ".." => _ = parts.pop(),
                part => parts.push(part),
            }
        }
        parts.join("/")
    }

    /// Its text without blocks of code and code in lines.
    fn prose(&self) -> String {
        let mut is_code = false;
        let mut prose = String::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            } else if !is_code {
                prose.push_str(line);
                prose.push('\n');
            }
        }
        prose.split('`').step_by(2).collect()
    }

    /// Where its links lead.
    pub fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let inline = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let named =
            prose.lines().filter(|line| line.starts_with('[')).filter_map(|line| line.split_once("]: "));
        inline.chain(named.map(|(_, target)| target.trim())).map(str::to_owned).collect()
    }

    /// What its headings are called in links.
    pub fn anchors(&self) -> BTreeSet<String> {
        let mut is_code = false;
        let mut anchors = BTreeSet::new();
        for line in self.text.lines() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            let Some(title) = line.strip_prefix('#').filter(|_| !is_code) else { continue };
            let kept = |c: &char| c.is_alphanumeric() || [' ', '-', '_'].contains(c);
            let anchor: String =
                title.trim_start_matches('#').trim().to_lowercase().chars().filter(kept).collect();
            anchors.insert(anchor.replace(' ', "-"));
        }
        anchors
    }

    pub fn samples(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut excuse: Option<String> = None;
        let mut lines = self.text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let begins = line.trim_start();
            let indent = line.len() - begins.len();
            if let Some(comment) = begins.strip_prefix("<!-- not run:") {
                let mut comment = comment.to_owned();
                while !comment.contains("-->") {
                    comment.push_str(lines.next().expect("the comment ends").1);
                }
                excuse = Some(comment.replace("-->", "").trim().to_owned());
            } else if let Some(language) = begins.strip_prefix("```") {
                let code = lines.by_ref().map(|(_, line)| line).take_while(|line| line.trim() != "```");
                let code: String =
                    code.map(|line| format!("{}\n", line.get(indent..).unwrap_or_default())).collect();
                let place = format!("{}:{}", self.path, number + 1);
                samples.push(Sample { place, language: language.to_owned(), code, excuse: excuse.take() });
            } else if !begins.is_empty() {
                assert!(excuse.is_none(), "{}:{}: an excuse without a sample", self.path, number + 1);
            }
        }
        samples
    }
}
