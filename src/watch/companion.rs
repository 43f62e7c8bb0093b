//! What lies beside a file and is none itself: its marker, its totals.

use std::path::{Path, PathBuf};

use crate::model::mistake::Mistake;
use crate::model::pattern::Segment;
use crate::model::template::{self, Outline};

/// The template of a companion's name: `{name}` is the file's name, `{stem}` what it is in every template.
#[derive(Debug)]
pub(crate) struct Companion {
    template: Outline,
    shape: Segment,
}

impl Companion {
    /// Refused is what does not tell which file it belongs to, or is the file itself.
    pub(crate) fn parse(text: &str) -> Result<Self, Mistake> {
        if text.contains(std::path::is_separator) {
            let hint = "write a name; it lies in its file's folder";
            return Err(Mistake::new(format!("the name `{text}` cannot hold a folder"), hint));
        }
        let template = Outline::parse(text)?;
        if let Some(unknown) = template.variables().find(|name| !["name", "stem"].contains(name)) {
            let hint = "this name knows {name} and {stem}";
            return Err(Mistake::new(format!("unknown variable {{{unknown}}}"), hint));
        }
        let literals = template.literals();
        if literals.len() < 2 || literals.iter().all(|text| text.is_empty()) {
            let message = format!("`{text}` does not tell it from its file, or whose it is");
            return Err(Mistake::new(
                message,
                "use {name} or {stem} with something of its own, like \"{name}.done\"",
            ));
        }
        let shape = Segment::of_literals(&literals);
        Ok(Self { template, shape })
    }

    /// Where the companion of this file lies.
    pub(crate) fn path_for(&self, file: &Path) -> Option<PathBuf> {
        let name = file.file_name()?;
        let value = |variable: &str| if variable == "stem" { template::stem(name) } else { name.to_owned() };
        Some(file.with_file_name(self.template.filled(value)))
    }

    /// What the names of all such companions match.
    pub(crate) fn shape(&self) -> &Segment {
        &self.shape
    }
}

/// Where a marker or a file with totals lies, by its template.
pub(crate) fn path(template: &str, file: &Path) -> Option<PathBuf> {
    Companion::parse(template).ok()?.path_for(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_companion_lies_beside_its_file() {
        let marker = Companion::parse("{stem}.done").expect("good");
        assert_eq!(marker.path_for(Path::new("in/a.csv.gz")), Some(PathBuf::from("in/a.done")));
        assert_eq!(marker.path_for(Path::new("in/{name}.csv")), Some(PathBuf::from("in/{name}.done")));
        assert_eq!(marker.path_for(Path::new("in/a.001")), Some(PathBuf::from("in/a.001.done")));
        assert!(marker.shape().is_match("a.done") && !marker.shape().is_match(".done"));
        let braced = Companion::parse("{{{name}}}").expect("good");
        assert_eq!(braced.path_for(Path::new("in/a")), Some(PathBuf::from("in/{a}")));
    }

    #[test]
    fn a_companion_that_would_swallow_every_file_is_refused() {
        for text in ["{name}", "{stem}{name}", "done", "x/{name}.done", "{name.done", "{date}.done"] {
            assert!(Companion::parse(text).is_err(), "{text}");
        }
    }
}
