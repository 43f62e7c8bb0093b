//! What lies beside a file and is none itself: its marker, its totals.

use std::path::{Path, PathBuf};

use crate::model::mistake::Mistake;
use crate::model::pattern::Segment;
use crate::model::rule::{MarkerFor, Ready, ReadyStrategy};
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

    /// The marker of all files of its folder: it has a name of its own.
    pub(crate) fn of_folder(text: &str) -> Result<Self, Mistake> {
        if text.contains(std::path::is_separator) || ["", ".", ".."].contains(&text) {
            let hint = "write a name, like \"_SUCCESS\"; it lies in the folder of its files";
            return Err(Mistake::new(format!("`{text}` is no name of a file"), hint));
        }
        let template = Outline::parse(text)?;
        if template.variables().next().is_some() {
            let hint = "write a name, like \"_SUCCESS\", or `marker_for = \"file\"`";
            return Err(Mistake::new(format!("`{text}` is the name of one file's marker"), hint));
        }
        let shape = Segment::of_literals(&template.literals());
        Ok(Self { template, shape })
    }

    /// A rule's marker, if its files wait for one.
    pub(crate) fn marker_of(ready: &Ready) -> Option<Result<Self, Mistake>> {
        let text = ready.marker.as_deref().filter(|_| ready.strategy == ReadyStrategy::Marker)?;
        Some(match ready.marker_for {
            MarkerFor::File => Self::parse(text),
            MarkerFor::Folder => Self::of_folder(text),
        })
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
    fn the_marker_of_a_folder_has_a_name_of_its_own() {
        let marker = Companion::of_folder("_SUCCESS").expect("good");
        assert_eq!(marker.path_for(Path::new("in/a.csv")), Some(PathBuf::from("in/_SUCCESS")));
        assert!(marker.shape().is_match("_SUCCESS") && !marker.shape().is_match("_SUCCESS.csv"));
        for text in ["{name}.done", "x/done", "..", "", "{done"] {
            assert!(Companion::of_folder(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_companion_that_would_swallow_every_file_is_refused() {
        for text in ["{name}", "{stem}{name}", "done", "x/{name}.done", "{name.done", "{date}.done"] {
            assert!(Companion::parse(text).is_err(), "{text}");
        }
    }
}
