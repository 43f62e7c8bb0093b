//! Rules made ready for work: pipeline built, templates parsed; one of each per snapshot.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Weak};

use super::file_systems::{folders_of, group_of};
use super::fit::Fit;
use super::goals::Goals;
use super::lock;
use super::trouble::Trouble;
use crate::durable_fs::Mounts;
use crate::model::configuration::ConfigurationChange;
use crate::model::fault::{FaultKind, JobError};
use crate::model::job::Job;
use crate::model::job_id::JobId;
use crate::model::pattern::Values;
use crate::model::rule::{Mode, Rule};
use crate::model::template::{Template, Variables};
use crate::output::OutputPlan;
use crate::pipeline::{Pipeline, Registry};
use crate::store::Store;

/// A rule with what is made from it.
pub(super) struct ReadyRule {
    pub rule: Arc<Rule>,
    pub hash: String,
    pub pipeline: Arc<Pipeline>,
    pub outputs: Arc<OutputPlan>,
    /// The folders that its files are written to, as far as they are known before.
    pub folders: Vec<PathBuf>,
    pub goals: Goals,
    /// A name of all file systems that it uses.
    pub group: Arc<str>,
    /// Whether its column names fit the files.
    pub fit: Fit,
}

impl ReadyRule {
    pub(super) fn build(rule: &Arc<Rule>, registry: &Registry) -> Result<Self, Trouble> {
        let pipeline = Pipeline::build(rule, registry).map_err(|problems| {
            let said: Vec<_> =
                problems.iter().map(|p| format!("{}: {}", p.key.join("."), p.message)).collect();
            let message = format!("rule \"{}\": {}", rule.name, said.join("; "));
            Trouble::new(FaultKind::Config, message, Some("mend the rule; `landfall check` explains"))
        })?;
        let outputs = OutputPlan::build(rule, pipeline.categories())?;
        Ok(Self {
            hash: rule.hash(),
            folders: folders_of(rule),
            goals: Goals::of(rule),
            group: group_of(rule, &Mounts::now()),
            rule: Arc::clone(rule),
            pipeline: Arc::new(pipeline),
            outputs: Arc::new(outputs),
            fit: Fit::default(),
        })
    }

    /// Whether a job has values for the named wildcards that the rule's templates may use: those of all its patterns.
    pub(super) fn has_values_for(&self, job: &Job) -> bool {
        let names = self
            .rule
            .paths
            .good()
            .map(|pattern| pattern.names().iter().cloned().collect::<BTreeSet<String>>());
        let used = names.reduce(|all, names| &all & &names).unwrap_or_default();
        used.iter().all(|name| job.vars.contains_key(name))
    }

    /// `decode.identities` with the job's named wildcards filled in.
    pub(super) fn identities(&self, job: &Job) -> Result<Vec<PathBuf>, Trouble> {
        self.rule.decode.identities.iter().map(|path| self.fill_in("decode.identities", path, job)).collect()
    }

    /// `decode.passphrase_file` with the job's named wildcards filled in.
    pub(super) fn passphrase_file(&self, job: &Job) -> Result<Option<PathBuf>, Trouble> {
        let path = self.rule.decode.passphrase_file.as_deref();
        path.map(|path| self.fill_in("decode.passphrase_file", path, job)).transpose()
    }

    /// `decode.signers` with the job's named wildcards filled in.
    pub(super) fn signers(&self, job: &Job) -> Result<Vec<PathBuf>, Trouble> {
        self.rule.decode.signers.iter().map(|path| self.fill_in("decode.signers", path, job)).collect()
    }

    /// A key's path takes only the rule's named wildcards, byte for byte: they match one path component, so that the result stays in its
    /// folder, and the file is called as its sender is.
    fn fill_in(&self, key: &str, path: &str, job: &Job) -> Result<PathBuf, Trouble> {
        let filled = Template::of_job(path, job)
            .and_then(|template| template.render_text(&Variables::of(&self.rule, job)));
        let filled = filled.map_err(|mistake| Trouble::mistake(&self.rule, key, &mistake))?;
        Ok(PathBuf::from(filled.as_os_str()))
    }
}

/// The rules of a configuration, in the order that decides overlaps, and before each those that its overrides make of it. One value: other rules come as another one.
#[derive(Default)]
pub(super) struct Rules {
    /// How many came before, in this process.
    pub generation: u64,
    all: Vec<Arc<Current>>,
}

/// One rule. One that cannot be made ready (a file with recipients that is away) stops no other: its files wait, and it is tried again
/// with each of them.
struct Current {
    rule: Arc<Rule>,
    hash: String,
    ready: Mutex<Option<Arc<ReadyRule>>>,
}

impl Current {
    fn new(rule: Rule) -> Self {
        Self { hash: rule.hash(), rule: rule.into(), ready: Mutex::default() }
    }

    fn ready(&self, registry: &Registry) -> Result<Arc<ReadyRule>, Trouble> {
        if let Some(ready) = lock(&self.ready).as_ref() {
            return Ok(Arc::clone(ready));
        }
        // Not under the lock: it reads files of recipients.
        let built = Arc::new(ReadyRule::build(&self.rule, registry)?);
        Ok(Arc::clone(lock(&self.ready).get_or_insert(built)))
    }
}

impl Rules {
    /// Those that an earlier set has too are the same, with what was made of them.
    fn after(before: &Self, rules: Vec<Rule>) -> Self {
        let current = |rule: Rule| {
            let known = before.called(&rule.name).find(|known| *known.rule == rule);
            known.cloned().unwrap_or_else(|| Arc::new(Current::new(rule)))
        };
        Self { generation: before.generation + 1, all: rules.into_iter().map(current).collect() }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.all.iter().map(|current| &current.rule)
    }

    /// Jobs that wait for one of these rules to be mended, where another has come in its place.
    pub(super) fn held_until(&self, next: &Self) -> HashSet<JobId> {
        let is_gone = |rule: &&Arc<Current>| !next.all.iter().any(|other| Arc::ptr_eq(rule, other));
        let ready = self.all.iter().filter(is_gone).filter_map(|rule| lock(&rule.ready).clone());
        ready.flat_map(|rule| rule.fit.let_go()).collect()
    }

    /// What other rules in the place of these change.
    pub(super) fn change_to(&self, next: &Self) -> ConfigurationChange {
        let mut change =
            ConfigurationChange { generation: next.generation, ..ConfigurationChange::default() };
        for name in next.names() {
            let others = || self.called(name).map(|current| &current.rule);
            if others().next().is_none() {
                change.added.push(name.to_owned());
            } else if next.called(name).map(|current| &current.rule).eq(others()) {
                change.unchanged += 1;
            } else {
                change.changed.push(name.to_owned());
            }
        }
        let stays = |name: &&str, others: &Self| others.called(name).next().is_some();
        change.removed = self.names().filter(|name| !stays(name, next)).map(str::to_owned).collect();
        let (before, after) = (self.names(), next.names());
        change.reordered =
            !before.filter(|name| stays(name, next)).eq(after.filter(|name| stays(name, self)));
        change
    }

    /// Each rule's name once, in their order.
    fn names(&self) -> impl Iterator<Item = &str> {
        self.iter().filter(|rule| rule.is_base()).map(|rule| rule.name.as_str())
    }

    /// The overrides of this name's rule, and the rule.
    fn called(&self, name: &str) -> impl Iterator<Item = &Arc<Current>> {
        self.all.iter().filter(move |current| current.rule.name == name)
    }

    /// The one of these that has a file with these values of its named wildcards.
    fn named(&self, name: &str, values: &Values) -> Option<&Arc<Current>> {
        self.all.iter().find(|current| current.rule.is_for(name, values))
    }

    /// The rule of a name as it is for a file with these values of its named wildcards.
    pub(super) fn rule_for(&self, name: &str, values: &Values) -> Option<&Arc<Rule>> {
        self.named(name, values).map(|current| &current.rule)
    }

    /// The rule of a name, without its overrides.
    pub(super) fn base(&self, name: &str) -> Option<&Arc<Rule>> {
        self.iter().find(|rule| rule.is_base() && rule.name == name)
    }
}

/// A rule that cannot be made ready as it is now: a file of recipients is wrong, or away.
#[derive(Debug)]
pub(crate) struct Unready {
    pub rule: String,
    pub error: JobError,
    /// Whether it goes on with what was read before. Else its files wait.
    pub goes_on: bool,
}

/// The snapshot of a job's rule.
pub(super) fn stored(store: &Store, job: &Job) -> Result<Rule, Trouble> {
    store.rule(&job.rule_hash)?.ok_or_else(|| {
        let message = format!("the store has no snapshot {} of rule \"{}\"", job.rule_hash, job.rule);
        Trouble::new(FaultKind::Bug, message, None)
    })
}

/// The current rules and the snapshots that jobs in hand still need.
pub(super) struct RuleBook {
    registry: Arc<Registry>,
    now: Mutex<Arc<Rules>>,
    /// Rules that were current before, with their hashes, as long as an offer or a run has one: a job may be about to begin under it.
    earlier: Mutex<Vec<(Weak<Rule>, String)>>,
    /// By their hashes: those that jobs in hand and offers need which were made under earlier rules. An exchange lets go of the others.
    snapshots: Mutex<HashMap<String, Arc<ReadyRule>>>,
}

impl RuleBook {
    /// Without any rule yet.
    pub(super) fn new(registry: Registry) -> Self {
        let registry = registry.into();
        Self { registry, now: Mutex::default(), earlier: Mutex::default(), snapshots: Mutex::default() }
    }

    /// Takes these rules in place of all; the ones before, and these. Jobs that run keep theirs.
    pub(super) fn exchange(&self, rules: Vec<Rule>) -> (Arc<Rules>, Arc<Rules>) {
        let (before, next) = {
            let mut now = lock(&self.now);
            let next = Arc::new(Rules::after(&now, rules));
            // Before they are gone from `now`: a rule that somebody has is always known.
            self.note_earlier(&now, &next);
            (std::mem::replace(&mut *now, Arc::clone(&next)), next)
        };
        lock(&self.snapshots).retain(|_, ready| Arc::strong_count(ready) > 1 || ready.fit.holds_any());
        (before, next)
    }

    fn note_earlier(&self, before: &Rules, next: &Rules) {
        let mut earlier = lock(&self.earlier);
        earlier.retain(|(rule, _)| rule.strong_count() > 0);
        let stays = |current: &Arc<Current>| next.all.iter().any(|other| Arc::ptr_eq(current, other));
        let gone = before.all.iter().filter(|current| !stays(current));
        earlier.extend(gone.map(|current| (Arc::downgrade(&current.rule), current.hash.clone())));
    }

    /// Makes these rules ready and says which cannot be. For a thread of its own: their files of recipients may lie on a file system that hangs.
    pub(super) fn make_ready(&self, rules: &Arc<Rules>) -> impl FnOnce() + Send + use<> {
        let (rules, registry) = (Arc::clone(rules), Arc::clone(&self.registry));
        move || {
            for current in &rules.all {
                if let Err(trouble) = current.ready(&registry) {
                    let name = &current.rule.name;
                    tracing::warn!(rule = name, error = %trouble.error, "this rule's files wait until it is mended");
                }
            }
        }
    }

    /// The steps that rules can name.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// All rules as they are now.
    pub(super) fn now(&self) -> Arc<Rules> {
        Arc::clone(&lock(&self.now))
    }

    /// Makes a rule and its overrides ready anew: what is read with them was changed. One for which that fails stays as it was; the first is
    /// given back.
    pub(super) fn renew(&self, name: &str) -> Option<Unready> {
        let mut failed = None;
        for current in self.now().called(name) {
            // Not under the lock: it reads files of recipients.
            let renewed = ReadyRule::build(&current.rule, &self.registry);
            let mut ready = lock(&current.ready);
            match renewed {
                Ok(renewed) => drop(ready.replace(renewed.into())),
                Err(Trouble { error, .. }) => {
                    let goes_on = ready.is_some();
                    failed.get_or_insert(Unready { rule: name.to_owned(), error, goes_on });
                }
            }
        }
        failed
    }

    /// Whether files with these values of their named wildcards are claimed under a rule of this name.
    pub(super) fn takes_files(&self, name: &str, values: &Values) -> bool {
        self.now().rule_for(name, values).is_some_and(|rule| rule.mode == Mode::Live)
    }

    /// The hashes of all rules that are current, or were and somebody has still.
    pub(super) fn known_hashes(&self) -> Vec<String> {
        // Before those: what leaves it meanwhile is among them then.
        let now = self.now();
        let mut hashes: Vec<_> = now.all.iter().map(|current| current.hash.clone()).collect();
        let earlier = lock(&self.earlier);
        let held = earlier.iter().filter(|(rule, _)| rule.strong_count() > 0);
        hashes.extend(held.map(|(_, hash)| hash.clone()));
        hashes
    }

    /// Whether the rule of a job's name is another now than this one.
    pub(super) fn is_changed(&self, job: &Job, rule: &ReadyRule) -> bool {
        self.now().named(&job.rule, &job.vars).is_some_and(|current| current.hash != rule.hash)
    }

    /// The rule of a job's name as it is now for the job's file.
    pub(super) fn current(&self, job: &Job) -> Result<Option<Arc<ReadyRule>>, Trouble> {
        self.now().named(&job.rule, &job.vars).map(|current| current.ready(&self.registry)).transpose()
    }

    /// The rule that an offer carries. It may be one of an earlier set.
    pub(super) fn ready(&self, rule: &Arc<Rule>) -> Result<Arc<ReadyRule>, Trouble> {
        match self.now().called(&rule.name).find(|current| Arc::ptr_eq(&current.rule, rule)) {
            Some(current) => current.ready(&self.registry),
            None => self.earlier(&rule.hash(), || Ok(Arc::clone(rule))),
        }
    }

    /// The snapshot that a job was cut under.
    pub(super) fn snapshot(&self, store: &Store, job: &Job) -> Result<Arc<ReadyRule>, Trouble> {
        if let Some(rule) = self.current(job).ok().flatten().filter(|rule| rule.hash == job.rule_hash) {
            return Ok(rule);
        }
        self.earlier(&job.rule_hash, || stored(store, job).map(Arc::new))
    }

    fn earlier(
        &self,
        hash: &str,
        rule: impl FnOnce() -> Result<Arc<Rule>, Trouble>,
    ) -> Result<Arc<ReadyRule>, Trouble> {
        if let Some(rule) = lock(&self.snapshots).get(hash) {
            return Ok(Arc::clone(rule));
        }
        // Not under the lock: it reads files of recipients.
        let ready = Arc::new(ReadyRule::build(&rule()?, &self.registry)?);
        let mut snapshots = lock(&self.snapshots);
        Ok(Arc::clone(snapshots.entry(hash.to_owned()).or_insert(ready)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;

    /// The same rule under another name for its records.
    fn changed(rule: &Rule) -> Rule {
        let mut changed = rule.clone();
        changed.source.archive_keep = Some(std::time::Duration::from_hours(1));
        changed
    }

    #[test]
    fn a_rule_that_an_exchange_leaves_as_it_is_keeps_what_was_made_of_it() {
        let world = World::new();
        let job = world.job();
        let (book, rule) = (&world.shared.rules, Rule::clone(&world.rule()));
        let before = book.current(&job).expect("is right").expect("is there");
        let other = Rule { name: "other".into(), ..rule.clone() };
        let (_, next) = book.exchange(vec![other, rule.clone()]);
        assert_eq!(next.generation, 2);
        assert_eq!(next.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["other", "payments"]);
        let same = book.current(&job).expect("is right").expect("is there");
        assert!(Arc::ptr_eq(&before, &same));
        book.exchange(vec![changed(&rule)]);
        let anew = book.current(&job).expect("is right").expect("is there");
        assert!(!Arc::ptr_eq(&before, &anew) && anew.hash != before.hash);
        let of_other = Job { rule: "other".into(), ..job };
        assert!(book.current(&of_other).expect("is right").is_none());
    }

    #[test]
    fn an_offer_that_was_made_under_an_earlier_rule_is_claimed_under_that() {
        let world = World::new();
        let (book, earlier) = (&world.shared.rules, world.rule());
        book.exchange(vec![changed(&earlier)]);
        let ready = book.ready(&earlier).expect("is right");
        assert_eq!(ready.hash, earlier.hash());
        assert!(Arc::ptr_eq(&ready, &book.ready(&earlier).expect("is right")), "it is made ready once");
    }

    #[test]
    fn a_job_goes_on_under_the_rule_that_it_was_cut_under_and_under_no_other() {
        let world = World::new();
        let (shared, job) = (&world.shared, world.job());
        shared.rules.exchange(vec![changed(&world.rule())]);
        assert_eq!(shared.rules.snapshot(&shared.store, &job).expect("the store has it").hash, job.rule_hash);
        shared.rules.exchange(Vec::new());
        assert_eq!(shared.rules.snapshot(&shared.store, &job).expect("the store has it").hash, job.rule_hash);
        let lost = Job { rule_hash: "blake3:00".into(), ..job };
        let trouble =
            shared.rules.snapshot(&shared.store, &lost).map(|rule| rule.hash.clone()).expect_err("is lost");
        assert_eq!(trouble.error.kind, FaultKind::Bug, "{trouble:?}");
    }

    /// A service that is edited for years: what is kept of earlier rules is what somebody has of them.
    #[test]
    fn a_thousand_reloads_leave_no_more_behind_than_what_jobs_and_offers_have_still() {
        let world = World::new();
        let (shared, job, first) = (&world.shared, world.job(), Rule::clone(&world.rule()));
        let of_run = shared.rules.snapshot(&shared.store, &job).expect("is known");
        let mut offered = Vec::new();
        for hours in 1..=1000 {
            let mut edited = first.clone();
            edited.source.archive_keep = Some(std::time::Duration::from_hours(hours));
            shared.rules.exchange(vec![edited]);
            let current = Arc::clone(shared.rules.now().iter().next().expect("one"));
            shared.rules.exchange(Vec::new());
            let ready = shared.rules.ready(&current).expect("is right");
            assert_eq!(ready.hash, current.hash());
            shared.rules.snapshot(&shared.store, &job).expect("the store has it");
            if hours % 100 == 0 {
                offered.push(current);
            }
            let known = shared.rules.known_hashes();
            assert!(
                known.contains(&job.rule_hash) && known.contains(&ready.hash),
                "a job may begin under it"
            );
        }
        let kept = (lock(&shared.rules.snapshots).len(), lock(&shared.rules.earlier).len());
        assert!(kept.0 <= 3 && kept.1 <= offered.len() + 3, "{kept:?}");
        drop((of_run, offered));
        shared.rules.exchange(Vec::new());
        assert_eq!((lock(&shared.rules.snapshots).len(), shared.rules.known_hashes().len()), (0, 0));
    }

    #[test]
    fn jobs_that_wait_for_their_rule_to_be_mended_go_on_when_another_comes_in_its_place() {
        let world = World::new();
        let (book, job) = (&world.shared.rules, world.job());
        let rule = Rule::clone(&world.rule());
        let held = || book.current(&world.job()).expect("is right").expect("is there").fit.hold(job.id);
        held();
        let (before, next) = book.exchange(vec![rule.clone()]);
        assert!(before.held_until(&next).is_empty(), "it is the same rule");
        held();
        let (before, next) = book.exchange(vec![changed(&rule)]);
        assert_eq!(before.held_until(&next), HashSet::from([job.id]));
    }

    /// Senders' names need not be Unicode, and have braces where they like.
    #[cfg(unix)]
    #[test]
    fn a_key_is_called_as_its_sender_byte_for_byte() {
        use std::os::unix::ffi::OsStrExt as _;
        let world = World::new();
        let mut rule = Rule::clone(&world.rule());
        rule.paths = vec!["in/{sender}/*".into()].into();
        rule.decode.identities = vec!["keys/{sender}.key".into()];
        world.shared.rules.exchange(vec![rule]);
        let ready = world.shared.rules.current(&world.job()).expect("is right").expect("is there");
        for name in [&b"caf\xe9"[..], b"{sender}"] {
            let mut job = world.job();
            let sender = std::ffi::OsStr::from_bytes(name);
            job.vars.insert("sender".into(), sender.into());
            let mut wanted = PathBuf::from("keys");
            wanted.push(sender);
            wanted.as_mut_os_string().push(".key");
            assert_eq!(ready.identities(&job).expect("is filled in"), [wanted]);
        }
    }
}
