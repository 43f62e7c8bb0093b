//! Adopting: an operator says of a file that it was dealt with, by whatever came before this program. It stays where it lies.
//!
//! It has a row in the ledger, as a file that a rule keeps, and is known by what it is (inode, size, times; with another ctime, if its bytes are
//! the same): once it is another, it is a new source. No job stands behind it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::abandon;
use super::answers::WATCH_PATIENCE;
use super::handle::{Engine, file_in_hand};
use super::retry;
use super::shared::Shared;
use super::taken::TakenFiles;
use super::trouble::Trouble;
use crate::clock::{self, JobIds};
use crate::durable_fs::{self, Kind};
use crate::model::fault::FaultKind;
use crate::model::file_known::{FileKept, FileKnown};
use crate::model::identity::FileIdentity;
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::os_text::escaped_path;
use crate::model::rule::{Mode, Rule};
use crate::store::{LedgerOutcome, LedgerRow, Store, StoreError};
use crate::watch::Answer;
use crate::watch::links::{self, Lead};
use crate::watch::rules::RuleSet;

impl Engine {
    /// Has a file that lies there now, and that a rule would take, never taken; the row's id. One that is known already stays so, unless its job
    /// ended badly: that ends with it.
    pub(super) fn adopt(
        &self,
        stages: Option<&Arc<Shared>>,
        path: &Path,
        by: &str,
    ) -> Result<JobId, Trouble> {
        let taking = taker(&self.rules_now(stages), path).ok_or_else(|| taken_by_none(path))?;
        let path = real(&taking, path);
        let path = path.as_path();
        let identity = there(path)?;
        // Nobody claims it meanwhile.
        let _entered =
            stages.map(|shared| file_in_hand(shared, &shared.claims.keeping, identity, path)).transpose()?;
        if there(path)? != identity {
            let message = format!("{} changed just now, or was taken", escaped_path(path));
            return Err(Trouble::new(
                FaultKind::Transient,
                message,
                Some("`landfall explain` says what became of it"),
            ));
        }
        self.refuse_while_read(path, &identity)?;
        if let Some(known) = self.store().kept(&path.into(), &identity)?
            && !self.gave_up(stages, known, by)?
        {
            return Ok(known);
        }
        let now = clock::now();
        let tail = super::claims::random_tail();
        let job = match stages {
            Some(shared) => shared.claims.ids.next(tail),
            None => JobIds::after(self.store().newest_id()?).next(tail),
        };
        let kept_as = durable_fs::kept_as(path, &identity);
        let row = LedgerRow {
            kept_as,
            job,
            rule: taking.name.clone(),
            path: path.into(),
            identity,
            claimed_at: now,
            outcome: LedgerOutcome::Adopted,
            finished_at: Some(now),
            content_hash: None,
            delivery_key: None,
            revision: None,
            folder: durable_fs::folder_identity(durable_fs::parent_of(path)).ok().flatten(),
            lay_at: None,
        };
        self.store().change().ledger(&row, true).apply()?;
        self.store().sync()?;
        if let Some(shared) = stages {
            shared.claims.answer(path, Answer::Taken); // it waits no more
        }
        Ok(job)
    }

    /// A job that has the file where it lies publishes it, whatever is said of it meanwhile.
    fn refuse_while_read(&self, path: &Path, identity: &FileIdentity) -> Result<(), Trouble> {
        let unfinished = |taken: &TakenFiles| taken.unfinished(self.store(), path, identity, u64::MAX, None);
        let found = match self.stages() {
            Some(shared) => unfinished(&shared.claims.taken)?,
            None => unfinished(self.taken_without_stages()?)?,
        };
        let Some(id) = found.map(|taken| taken.job()) else { return Ok(()) };
        let message = format!("job {id} is at {}, and publishes it once it goes on", escaped_path(path));
        let hint = format!(
            "`landfall show {id}` says what it waits for; `landfall abandon {id} --reason TEXT` ends it while it is held, and leaves the file to be adopted"
        );
        Err(Trouble::new(FaultKind::Transient, message, Some(&hint)))
    }

    /// Whether nobody has the file of a job that has it where it lies: the job failed, or was refused, which is ended here; or an operator ended it.
    fn gave_up(&self, stages: Option<&Arc<Shared>>, id: JobId, by: &str) -> Result<bool, Trouble> {
        Ok(match self.store().job(id)? {
            Some(job) if matches!(job.state.get(), JobState::Failed | JobState::Refused) => {
                abandon::abandon(self.store(), stages, id, "its file was adopted", by)?;
                true
            }
            Some(job) => job.was_ended_by_operator(),
            None => self.store().ledger(id)?.is_some_and(|row| {
                use LedgerOutcome::{Aborted, Failed, Refused};
                matches!(row.outcome, Failed | Refused | Aborted)
            }),
        })
    }

    /// Takes that back: the file is one like any other.
    pub(super) fn give_up(&self, stages: Option<&Arc<Shared>>, path: &Path) -> Result<JobId, Trouble> {
        let path = &self.real(stages, path);
        there(path)?;
        let row = row_of(self.store(), path)?
            .filter(|row| row.outcome == LedgerOutcome::Adopted)
            .ok_or_else(|| {
                let message = format!("{} is not adopted as it lies there", escaped_path(path));
                Trouble::new(FaultKind::Input, message, Some("`landfall explain` says what is known of it"))
            })?;
        self.store()
            .change()
            .forget_kept(row.job, &row.path, &row.identity)
            .forget_ledger_row(row.job)
            .apply()?;
        self.store().sync()?;
        if let Some(shared) = stages {
            shared.claims.answer(path, Answer::NotYet); // it is looked at as if it were new
        }
        Ok(row.job)
    }

    /// Why the job of a file is not to be retried, where that ended badly.
    fn retry_refused(&self, row: &LedgerRow) -> Option<String> {
        use LedgerOutcome::{Aborted, Failed, Refused};
        if !matches!(row.outcome, Failed | Refused | Aborted) {
            return None;
        }
        let stages = self.stages();
        let taken = stages.map(|shared| &*shared.claims.taken);
        let rules = self.rules_now(stages);
        let rules: Vec<_> = rules.iter().map(AsRef::as_ref).collect();
        let asked = retry::Asked { forgets_decisions: false, same_rule: false, by: "" };
        let refused = retry::would(self.store(), taken, &rules, row.job, &asked).err()?;
        Some(refused.error.message)
    }

    pub(super) fn rules_now(&self, stages: Option<&Arc<Shared>>) -> Vec<Arc<Rule>> {
        match stages {
            Some(shared) => shared.rules.now().iter().cloned().collect(),
            None => self.rules_without_stages().iter().cloned().map(Arc::new).collect(),
        }
    }

    /// Where the file of this name lies, if a rule has it by a link.
    fn real(&self, stages: Option<&Arc<Shared>>, path: &Path) -> PathBuf {
        let rules = self.rules_now(stages);
        let follows = rules.iter().any(|rule| rule.follow_links);
        let taker = if follows { taker(&rules, path) } else { None };
        taker.map_or_else(|| path.to_owned(), |rule| real(&rule, path))
    }

    /// What is known of a file beside its jobs.
    pub(super) fn file_known(&self, path: &Path) -> Result<FileKnown, StoreError> {
        let path = &self.real(self.stages(), path);
        let kept = match row_of(self.store(), path)? {
            Some(row) => Some(FileKept {
                job: (row.outcome != LedgerOutcome::Adopted).then_some(row.job),
                state: self.store().job(row.job)?.map(|job| job.state.get()),
                retry_refused: self.retry_refused(&row),
                at: row.claimed_at,
                lay_at: Some(row.found_at()).filter(|lay| lay.as_path() != path).cloned(),
                rule: row.rule,
            }),
            None => None,
        };
        let waiting = self.stages().and_then(|shared| shared.claims.watches.seen(path, WATCH_PATIENCE));
        Ok(FileKnown { waiting, kept, not_taken: self.why_not_taken(path)? })
    }

    /// Of a file that lies there, and that a job has, or had, by whatever name.
    fn why_not_taken(&self, path: &Path) -> Result<Option<String>, StoreError> {
        let Ok(Some(identity)) = durable_fs::identity_at(path) else { return Ok(None) };
        let names = durable_fs::names_of(path).unwrap_or(1);
        let other = |taken: &TakenFiles| taken.other_name(self.store(), path, &identity, names, None);
        let taken = match self.stages() {
            Some(shared) => other(&shared.claims.taken)?,
            None => other(self.taken_without_stages()?)?,
        };
        Ok(taken.map(|taken| taken.told()))
    }
}

/// Why nothing at a path is adopted.
fn taken_by_none(path: &Path) -> Trouble {
    let shown = escaped_path(path);
    let (message, hint) = match durable_fs::kind_at(path) {
        Ok(Some(Kind::Folder)) => (
            format!("{shown} is a folder, and only files are adopted"),
            "name its files: `find FOLDER -type f -print0 | xargs -0 landfall adopt`",
        ),
        Ok(None) => (format!("{shown} is not there"), "give the path of a file that lies there"),
        Ok(Some(_)) | Err(_) => (
            format!("no rule takes {shown}: there is nothing to adopt"),
            "`landfall explain` says why; give the path as the rule names it",
        ),
    };
    Trouble::new(FaultKind::Input, message, Some(hint))
}

/// The rule that takes a file, or will once it is live.
fn taker(rules: &[Arc<Rule>], path: &Path) -> Option<Arc<Rule>> {
    let taker = RuleSet::new(rules.to_vec()).ok()?.assign(path).or_else(|| as_live(rules)?.assign(path));
    taker.and_then(|(at, _)| rules.get(at)).cloned()
}

/// Where the file lies that its rule has by this name, which may lead over a link.
fn real(rule: &Rule, path: &Path) -> PathBuf {
    match links::follow_for(rule, path) {
        Some(Lead::To(target, _)) => target,
        _ => path.to_owned(),
    }
}

/// The rules once their shadows, and those that are off, are live: what lies there at that moment may be adopted before.
fn as_live(rules: &[Arc<Rule>]) -> Option<RuleSet> {
    let live = |rule: &Arc<Rule>| match rule.mode {
        Mode::Shadow | Mode::Off => Arc::new(Rule { mode: Mode::Live, ..Rule::clone(rule) }),
        Mode::Live => Arc::clone(rule),
    };
    RuleSet::new(rules.iter().map(live).collect::<Vec<_>>()).ok()
}

/// The ledger's row of a file that stays where it lies, as it is now.
fn row_of(store: &Store, path: &Path) -> Result<Option<LedgerRow>, StoreError> {
    let Ok(Some(identity)) = durable_fs::identity_at(path) else { return Ok(None) };
    store.kept(&path.into(), &identity)?.map_or(Ok(None), |job| store.ledger(job))
}

fn there(path: &Path) -> Result<FileIdentity, Trouble> {
    let lacking = |why: &str| {
        let message = format!("{} {why}", escaped_path(path));
        Trouble::new(
            FaultKind::Input,
            message,
            Some("only of a file that lies there can it be said that it was dealt with"),
        )
    };
    match durable_fs::identity_at(path) {
        Ok(Some(identity)) => Ok(identity),
        Ok(None) => Err(lacking("is not there, or is no regular file")),
        Err(error) => Err(lacking(&format!("cannot be looked at: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    #[test]
    fn only_a_file_that_lies_there_can_be_adopted() {
        let world = World::new();
        there(&world.path("in/none.txt")).expect_err("nothing is there");
        there(&world.path("in")).expect_err("a folder is no file");
        assert_eq!(
            Some(there(&world.source()).expect("is there")),
            durable_fs::identity_at(&world.source()).expect("looks")
        );
    }

    #[test]
    fn a_file_that_somebody_claims_and_does_not_let_go_of_is_not_adopted_and_the_word_is_answered() {
        let world = World::new();
        let engine = Engine::over(world.shared.store.clone(), &[]);
        let adopt = || engine.adopt(Some(&world.shared), &world.source(), "root");
        let claiming = world.shared.claims.keeping.enter(there(&world.source()).expect("is there"));
        let refused = adopt().expect_err("it is in other hands").error;
        assert!(refused.message.contains("in hand just now"), "{refused}");
        drop(claiming);
        let id = adopt().expect("is adopted");
        assert_eq!(adopt().expect("is known"), id, "one that is known already stays so");
    }

    #[test]
    fn an_adopted_file_is_known_until_it_is_another() {
        let world = World::new();
        let (store, path) = (&world.shared.store, world.source());
        assert_eq!(row_of(store, &path).expect("reads"), None);
        let row =
            LedgerRow { path: path.as_path().into(), ..LedgerRow::of(&world.job(), LedgerOutcome::Adopted) };
        store.change().ledger(&row, true).apply().expect("writes");
        assert_eq!(row_of(store, &path).expect("reads").map(|found| found.job), Some(row.job));
        std::fs::write(&path, "1\n2\n3\n").expect("its sender writes it anew");
        assert_eq!(row_of(store, &path).expect("reads"), None);
    }
}
