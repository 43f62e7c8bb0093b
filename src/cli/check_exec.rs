//! What `landfall check` says of `exec` steps: what their programs lack, and what they reach that they hardly should.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::check_about::About;
use super::check_warnings::lack_of_program;
use crate::confinement::{self, is_wide, real_of};
use crate::durable_fs::{self, Kind, parent_of};
use crate::engine::{Kept, kept_by};
use crate::model::os_text::escaped_path;
use crate::model::rule::StepSpec;
use crate::pipeline::steps::exec;

/// Of what a path opens so many are named.
const NAMED_MAX: usize = 3;
/// Entries of a folder that are looked through.
const ENTRIES_MAX: usize = 4096;

impl About<'_> {
    pub(super) fn programs(&mut self) {
        for (position, step) in self.rule.pipeline.iter().enumerate() {
            let Some(program) = exec::program_of(step, &self.rule.base_dir) else { continue };
            let position = position.to_string();
            let path = std::env::var_os("PATH");
            if let Some(lack) = lack_of_program(&program, path.as_deref()) {
                let hint = "install it, or correct `command`; the service looks in its own PATH";
                self.warn(&["pipeline", &position, "command"], lack, hint);
            }
            self.interpreters(&position, &program, path.as_deref());
            if exec::is_confined(step) {
                self.confined_program(&position, step);
                let scripts = exec::arguments_of(step, &self.rule.base_dir).into_iter();
                for program in scripts.filter(|path| path.is_file()).chain([program]) {
                    self.alone(&position, &program);
                }
                self.opened(&position, step);
            }
        }
    }

    /// The system says of a script that it is not there, where that is its interpreter.
    fn interpreters(&mut self, position: &str, program: &Path, path: Option<&OsStr>) {
        let mut interpreters = exec::interpreters_of(program).into_iter();
        if let Some(lack) = interpreters.find_map(|interpreter| lack_of_program(&interpreter, path)) {
            let message = format!("{} cannot be run by its first line (`#!`): {lack}", escaped_path(program));
            let hint = "correct that line, or install what it names; a virtual environment that was moved is to be made anew";
            self.warn(&["pipeline", position, "command"], message, hint);
        }
    }

    fn confined_program(&mut self, position: &str, step: &StepSpec) {
        if let Some(file) = argument_beside(step, &self.rule.base_dir) {
            let message =
                format!("`{file}` lies beside this file, and the program starts in a folder of its own");
            let hint = format!("write `./{file}`");
            self.warn(&["pipeline", position, "command"], message, &hint);
        }
        for key in ["read", "write"] {
            for path in exec::paths_of(step, key, &self.rule.base_dir) {
                if matches!(path.try_exists(), Ok(false)) {
                    let message = format!("{} does not exist", escaped_path(&path));
                    let hint = "make it, or correct the path, before files come: the program is not started without it";
                    self.warn(&["pipeline", position, key], message, hint);
                }
            }
        }
        if !confinement::is_known() {
            let message = "this system has no Landlock: the program reaches whatever the service's user may";
            let hint = "on Linux, see to it that the kernel has it (`lsm=` on its command line); or write `confine = false`";
            self.note(&["pipeline", position], message.to_owned(), hint);
        }
    }

    /// What the step names may have in it what is the service's: it is opened then, whoever knows of it.
    fn opened(&mut self, position: &str, step: &StepSpec) {
        let kept = kept_by(self.settings);
        let base_dir = &self.rule.base_dir;
        let paths = ["read", "write"]
            .into_iter()
            .flat_map(|key| exec::paths_of(step, key, base_dir).into_iter().map(move |path| (key, path)));
        let arguments = exec::arguments_of(step, base_dir).into_iter();
        let files = arguments.filter(|path| path.is_file()).map(|path| ("command", path));
        for (key, path) in paths.chain(files).collect::<Vec<_>>() {
            let opened = opened_by(&path, &kept);
            let (Some(first), more) = (opened.first(), opened.len().saturating_sub(NAMED_MAX)) else {
                continue;
            };
            let is_secret = first.is_secret;
            let mut named: Vec<_> = opened.iter().take(NAMED_MAX).map(|kept| shown(kept)).collect();
            if more > 0 {
                named.push(format!("{more} more"));
            }
            let path = escaped_path(&path);
            let message =
                format!("{path} opens to the program what the service keeps to itself: {}", named.join(", "));
            let hint = if is_secret {
                "name what the program needs, and nothing above it; or keep that elsewhere"
            } else {
                "name what the program needs, and nothing above it; these folders by themselves where they are meant"
            };
            self.warn(&["pipeline", position, key], message, hint);
        }
    }

    /// Beside what the service keeps a program has its own file: what it would import from there is not found.
    fn alone(&mut self, position: &str, program: &Path) {
        let folder = parent_of(program);
        let Some(helper) = helper_beside(program) else { return };
        let why = if is_wide(folder) {
            Some("that folder is nobody's alone".to_owned())
        } else {
            let kept = kept_by(self.settings);
            let beside: Vec<_> = kept.iter().filter(|kept| meets(&kept.path, folder)).map(shown).collect();
            let named = beside.get(..NAMED_MAX.min(beside.len())).unwrap_or_default().join(", ");
            (!beside.is_empty()).then(|| format!("the service keeps {named} there"))
        };
        let Some(why) = why else { return };
        let (helper, folder) = (escaped_path(&helper), escaped_path(folder));
        let message = format!("{helper} lies beside the program in {folder}, and is out of its reach: {why}");
        let hint = "put the program with what it needs into a folder for it alone; or name what it opens by its path: `read = [\"FILE\"]`";
        self.note(&["pipeline", position, "command"], message, hint);
    }

    /// A path that begins with a variable keeps the service to nothing.
    pub(super) fn wide(&mut self) {
        let confines = self.settings.service.confine;
        let patterns =
            self.rule.paths.good().map(|pattern| (vec!["paths"], pattern.fixed_folder().to_owned()));
        let products = self.products().into_iter();
        let products = products.map(|(key, text)| (key, crate::model::template::fixed_folder(text)));
        let wide = patterns.chain(products).filter(|(_, folder)| folder.parent().is_none());
        for (key, folder) in wide.collect::<Vec<_>>() {
            let folder = escaped_path(&folder);
            let message = if confines {
                format!(
                    "{folder} is all that is fixed of this path: `service.confine` lets the service write everywhere"
                )
            } else {
                format!(
                    "{folder} is all that is fixed of this path: its folders are not known to be kept from programs of steps"
                )
            };
            self.warn(&key, message, "begin the path with a folder for it, like `/srv/landfall`");
        }
    }
}

fn shown(kept: &Kept) -> String {
    format!("{} ({})", escaped_path(&kept.path), kept.key)
}

/// Whether a path lies in a folder, or the other way round; with links and without them.
fn meets(path: &Path, folder: &Path) -> bool {
    let meet = |path: &Path, folder: &Path| {
        path.parent().is_some() && (path.starts_with(folder) || folder.starts_with(path))
    };
    let real = real_of(path).zip(real_of(folder));
    meet(path, folder) || real.is_some_and(|(path, folder)| meet(&path, &folder))
}

/// What of this a path opens, the worst first. A folder that files go through may be meant where it is named itself, or something in it.
fn opened_by<'k>(path: &Path, kept: &'k [Kept]) -> Vec<&'k Kept> {
    let real = real_of(path).unwrap_or_else(|| path.to_owned());
    let is_opened = |kept: &&Kept| {
        let there = real_of(&kept.path).unwrap_or_else(|| kept.path.clone());
        let is_in_it = there.starts_with(&real);
        let is_meant = !kept.is_secret && there == real;
        is_in_it && !is_meant || kept.is_secret && real.starts_with(&there)
    };
    let mut opened: Vec<_> = kept.iter().filter(is_opened).collect();
    opened.sort_by_key(|kept| !kept.is_secret);
    opened.dedup_by(|one, other| one.path == other.path);
    opened
}

/// A file of the program's own kind beside it, which it may be made to read.
fn helper_beside(program: &Path) -> Option<PathBuf> {
    let ending = program.extension()?;
    let entries = durable_fs::list(parent_of(program)).ok()?.take(ENTRIES_MAX).flatten();
    let mut files = entries.filter(|entry| entry.kind == Kind::File).map(|entry| entry.path);
    files.find(|file| file.extension() == Some(ending) && file.file_name() != program.file_name())
}

/// An argument that worked where the program was started beside the rule's file.
fn argument_beside<'s>(step: &'s StepSpec, base_dir: &Path) -> Option<&'s str> {
    let arguments =
        step.params.get("command")?.as_array()?.iter().skip(1).filter_map(|argument| argument.as_str());
    let mut relative = arguments.filter(|argument| {
        let is_named = !argument.is_empty() && !argument.starts_with(['.', '-', '/']);
        is_named && base_dir.join(argument).is_file()
    });
    relative.next()
}
