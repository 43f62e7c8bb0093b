//! `expect_every`: who is expected to send files, and when they did last.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::rule_book::Rules;
use crate::clock;
use crate::model::expected::{Expect, Expected, NothingCame, Overdue};
use crate::model::job::Job;
use crate::model::rule::Mode;
use crate::store::{Store, StoreError};

/// For so long a service that starts looks for what came while none ran.
const FIRST_LOOK: Duration = Duration::from_mins(10);
/// A named wildcard.
const SENDER: &str = "sender";

/// Who is expected to send, and when they did last.
#[derive(Debug, Default)]
pub(super) struct Expectations(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    of_rules: BTreeMap<String, Expect>,
    seen: Expected,
    /// When this process looked first.
    begun: Option<Instant>,
    /// As it was given to be kept last.
    kept: Expected,
}

impl Expectations {
    /// As they were kept.
    pub(super) fn load(store: &Store) -> Result<Self, StoreError> {
        let seen: Expected = store.said()?;
        Ok(Self(Mutex::new(State { kept: seen.clone(), seen, ..State::default() })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A file came.
    pub(super) fn note(&self, job: &Job) {
        self.with(|state| {
            let Some(expect) = state.of_rules.get(&job.rule) else { return };
            let sender = job.vars.get(SENDER).map(|sender| sender.as_os_str().to_string_lossy());
            state.seen.note(&job.rule, expect.of, sender.as_deref(), job.created_at);
        });
    }

    /// These are the rules from now on.
    pub(super) fn take(&self, rules: &Rules) {
        let live = rules.iter().filter(|rule| rule.is_base() && rule.mode == Mode::Live);
        let of_rules = live.filter_map(|rule| Some((rule.name.clone(), rule.expect?))).collect();
        self.with(|state| state.of_rules = of_rules);
    }

    /// Who sent nothing for too long, and was not told ([`Self::note_told`]). `old_before`: see there.
    pub(super) fn overdue(&self, old_before: impl Fn(Duration) -> Option<Timestamp>) -> Vec<NothingCame> {
        self.with(|state| {
            let ran = state.begun.get_or_insert_with(Instant::now).elapsed();
            // What came while no service ran is claimed first.
            let old_before = |age: Duration| old_before(age).filter(|_| ran >= age.min(FIRST_LOOK));
            state.seen.overdue(&state.of_rules, clock::now(), old_before)
        })
    }

    /// That is told.
    pub(super) fn note_told(&self, nothing: &NothingCame) {
        self.with(|state| state.seen.note_told(nothing));
    }

    /// Each rule of which files are expected, with what was told of it and is still so.
    pub(super) fn told(&self, old_before: impl Fn(Duration) -> Option<Timestamp>) -> Vec<Overdue> {
        self.with(|state| state.seen.told(&state.of_rules, old_before))
    }

    /// What is to be kept in place of what was given before; none: the same.
    pub(super) fn news(&self) -> Option<Expected> {
        self.with(|state| {
            if state.seen == state.kept {
                return None;
            }
            state.kept = state.seen.clone();
            Some(state.seen.clone())
        })
    }

    #[cfg(test)]
    pub(super) fn expect(&self, rule: &str, expect: Expect) {
        self.with(|state| state.of_rules.insert(rule.to_owned(), expect));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::expected::ExpectOf;

    #[test]
    fn what_comes_under_a_rule_is_noted_where_files_are_expected_and_given_to_be_kept_once() {
        let (world, expectations) = (World::new(), Expectations::default());
        let job = world.job();
        expectations.note(&job);
        assert_eq!(expectations.news(), None, "nothing is expected");
        expectations
            .expect(&job.rule, Expect { every: std::time::Duration::from_secs(1), of: ExpectOf::Rule });
        expectations.note(&job);
        assert!(expectations.news().is_some() && expectations.news().is_none());
        world.shared.rules.exchange(Vec::new());
        expectations.take(&world.shared.rules.now());
        expectations.overdue(|_| None);
        assert_eq!(expectations.news(), Some(Expected::default()), "its rule is gone");
    }

    #[test]
    fn what_is_overdue_when_a_service_starts_is_told_only_when_it_had_time_to_find_what_came_meanwhile() {
        let (world, expectations) = (World::new(), Expectations::default());
        let job = world.job();
        let every = |every| expectations.expect(&job.rule, Expect { every, of: ExpectOf::Rule });
        every(Duration::from_hours(24));
        expectations.note(&job);
        let overdue = || expectations.overdue(|_| Some(Timestamp::MAX));
        assert_eq!(overdue(), []);
        every(Duration::ZERO);
        assert_eq!(overdue().len(), 1);
        expectations.note_told(&overdue()[0]);
        assert_eq!(overdue(), []);
    }
}
