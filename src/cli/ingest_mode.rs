//! `landfall ingest` under a rule that takes no file by itself, as a shadow or as one that is off: the files are ingested for real all the
//! same, which is said before the first one is.

use std::path::{Path, PathBuf};

use super::check::counted;
use super::say::complain;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Mode, Rule};

/// The files of such rules: the first, with what its rule is, and how many more.
#[derive(Default)]
pub(super) struct NotLive {
    first: Option<(PathBuf, String)>,
    others: usize,
}

impl NotLive {
    pub(super) fn note(&mut self, file: &Path, rule: &Rule) {
        let is = match rule.mode {
            Mode::Live => return,
            Mode::Off => "is off",
            Mode::Shadow => "is a shadow",
        };
        let who = match &rule.overriding {
            Some(overriding) => format!("the override of rule \"{}\" for {overriding}", rule.name),
            None => format!("rule \"{}\"", rule.name),
        };
        match self.first {
            None => self.first = Some((file.to_owned(), format!("{who} {is}"))),
            Some(_) => self.others += 1,
        }
    }

    pub(super) fn tell(&self, retire: bool) {
        let Some((file, who_is)) = &self.first else { return };
        let others = match self.others {
            0 => String::new(),
            others => format!(" and of {}", counted(others, "more file")),
        };
        let retired = if retire { ", and the source is retired as its rule says" } else { "" };
        let file = escaped_path(file);
        let message = format!(
            "{who_is}, and `landfall ingest` is done for real all the same: what comes of {file}{others} is published{retired}"
        );
        complain(&message, Some("`--dry-run` shows what would come out, and writes nothing"));
    }
}
