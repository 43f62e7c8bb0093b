//! What `landfall check` says of `exec` steps.

use std::path::Path;

use super::check_about::About;
use super::check_warnings::lack_of_program;
use crate::confinement;
use crate::model::os_text::escaped_path;
use crate::model::rule::StepSpec;
use crate::pipeline::steps::exec;

impl About<'_> {
    pub(super) fn programs(&mut self) {
        for (position, step) in self.rule.pipeline.iter().enumerate() {
            let Some(program) = exec::program_of(step, &self.rule.base_dir) else { continue };
            let position = position.to_string();
            if let Some(lack) = lack_of_program(&program, std::env::var_os("PATH").as_deref()) {
                let hint = "install it, or correct `command`; the service looks in its own PATH";
                self.warn(&["pipeline", &position, "command"], lack, hint);
            }
            if exec::is_confined(step) {
                self.confined_program(&position, step);
            }
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
