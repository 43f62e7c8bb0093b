//! Where the data folder lay: what rows name in an earlier place is looked for where the folder is now.
//!
//! A job that is under way when the folder is moved, or copied to another disk, has a rule, a checkpoint and an intent that name its kept
//! outputs as they were. Followed there, they would lie in a folder that nobody uses any more.

use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use super::{Checkpoint, Store, StoreError, keys};
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::model::rule::{OUTPUTS_FOLDER, Rule};
use crate::model::template;
use crate::output::Intent;

/// So many are known: a folder that moves more often than that has no job that is as old.
const HOMES_MAX: usize = 64;

/// The folder as it is now, and where it was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Homes {
    now: PathBuf,
    before: Vec<PathBuf>,
}

impl Homes {
    /// It was nowhere else.
    pub(super) const NONE: Self = Self { now: PathBuf::new(), before: Vec::new() };

    /// What lay in the folder lies in it now.
    pub(super) fn place(&self, path: &mut OsText) {
        let moved = self.before.iter().find_map(|home| {
            path.as_path().strip_prefix(home).ok().filter(|rest| rest.starts_with(OUTPUTS_FOLDER))
        });
        if let Some(rest) = moved {
            *path = self.now.join(rest).into();
        }
    }

    fn place_rule(&self, rule: &mut Rule) {
        let Some(now) = in_template(&self.now) else { return };
        for before in self.before.iter().filter_map(|home| in_template(home)) {
            for output in rule.outputs.values_mut() {
                if let Some(rest) = output.path.strip_prefix(&before) {
                    output.path = format!("{now}{rest}");
                }
            }
        }
    }

    fn place_checkpoint(&self, checkpoint: &mut Checkpoint) {
        checkpoint.partials.iter_mut().for_each(|partial| self.place(&mut partial.hidden.path));
    }

    fn place_intent(&self, intent: &mut Intent) {
        for finished in &mut intent.outputs {
            for path in [&mut finished.hidden.path, &mut finished.wanted, &mut finished.output.path] {
                self.place(path);
            }
        }
    }
}

/// What the paths of kept outputs begin with in a rule; none where a template cannot have it.
fn in_template(home: &Path) -> Option<String> {
    let folder = home.join(OUTPUTS_FOLDER);
    Some(template::escaped(folder.to_str()?) + MAIN_SEPARATOR.encode_utf8(&mut [0; 4]))
}

impl Store {
    /// Notes where the folder lies, durable before anything is put there.
    pub(super) fn note_home(&self) -> Result<(), StoreError> {
        let Some(data_dir) = &self.inner.data_dir else { return Ok(()) };
        let now = OsText::from(data_dir.as_path());
        let mut known: Vec<OsText> = self.row("places of the data folder", keys::HOMES)?.unwrap_or_default();
        if !known.contains(&now) {
            known.push(now);
            known.drain(..known.len().saturating_sub(HOMES_MAX));
            self.change().put("places of the data folder", keys::HOMES.to_vec(), &known).apply()?;
            self.sync()?;
        }
        let before =
            known.iter().map(|home| home.as_path().to_owned()).filter(|home| home != data_dir).collect();
        // It is noted once, when the store is opened.
        self.inner.homes.set(Homes { now: data_dir.clone(), before }).unwrap_or_default();
        Ok(())
    }

    /// None: there is no folder.
    pub(super) fn homes(&self) -> Option<&Homes> {
        self.inner.homes.get()
    }

    /// The rule of this hash. Where its kept outputs go is said anew, so that it may hash otherwise.
    pub(crate) fn rule(&self, hash: &str) -> Result<Option<Rule>, StoreError> {
        let mut rule = self.row("rule", &keys::rule(hash))?;
        self.at_home(rule.as_mut(), Homes::place_rule);
        Ok(rule)
    }

    /// Where a job's checkpoint stands.
    pub fn checkpoint(&self, job: JobId) -> Result<Option<Checkpoint>, StoreError> {
        let mut checkpoint = self.row("checkpoint", &keys::of_job(keys::CHECKPOINT, job))?;
        self.at_home(checkpoint.as_mut(), Homes::place_checkpoint);
        Ok(checkpoint)
    }

    /// What a job is publishing.
    pub(crate) fn intent(&self, job: JobId) -> Result<Option<Intent>, StoreError> {
        let mut intent = self.row("intent", &keys::of_job(keys::INTENT, job))?;
        self.at_home(intent.as_mut(), Homes::place_intent);
        Ok(intent)
    }

    fn at_home<T>(&self, row: Option<&mut T>, place: impl Fn(&Homes, &mut T)) {
        if let (Some(homes), Some(row)) = (self.homes(), row) {
            place(homes, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lay_among_the_outputs_of_an_earlier_place_lies_among_those_of_this_one() {
        let homes = Homes { now: "/new".into(), before: vec!["/old".into(), "/old/er".into()] };
        let placed = |path: &str| {
            let mut path = OsText::from(Path::new(path));
            homes.place(&mut path);
            path.to_string().replace('\\', "/")
        };
        assert_eq!(placed("/old/outputs/J/.landfall-J-0.partial"), "/new/outputs/J/.landfall-J-0.partial");
        assert_eq!(placed("/old/er/outputs/J/main.zst"), "/new/outputs/J/main.zst");
        for elsewhere in ["/old/out/pay.txt", "/older/outputs/J/main.zst", "/new/outputs/J/main.zst"] {
            assert_eq!(placed(elsewhere), elsewhere);
        }
    }
}
