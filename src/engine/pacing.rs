//! Setting how fast rules may work, while the service runs or not.

use std::sync::Arc;

use super::handle::{Engine, no_such_rule};
use super::operator::Kept;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::model::fault::FaultKind;
use crate::model::pace::{PaceLimits, PaceSetting, Paced, PacesSet};
use crate::model::rule::{Mode, Rule};
use crate::store::StoreError;
use crate::telemetry::events;

impl Engine {
    /// Sets how fast a rule or a group may work; durable when it returns. False: it was so.
    pub(super) fn set_pace_of(
        &self,
        stages: Option<&Arc<Shared>>,
        setting: &PaceSetting,
        by: &str,
    ) -> Result<bool, Trouble> {
        match stages {
            Some(shared) => {
                let rules = shared.rules.now();
                let rules: Vec<_> = rules.iter().map(AsRef::as_ref).collect();
                check(&rules, &shared.operator.paces.now(), &setting.of)?;
            }
            None => check(
                &self.rules_without_stages().iter().collect::<Vec<_>>(),
                &self.store().said()?,
                &setting.of,
            )?,
        }
        let set = |paces: &mut PacesSet| paces.set(setting, clock::now(), by);
        let Some(shared) = stages else {
            let is_new = Kept::load(self.store())?.change(self.store(), set, |_| ())?;
            self.store().sync()?;
            return Ok(is_new);
        };
        let set = shared.operator.paces.change(&shared.store, set, |paces| shared.tell_limits(paces));
        let is_new = set.and_then(|is_new| {
            shared.store.sync()?; // also what another one has just said
            Ok(is_new)
        });
        let is_new = is_new.map_err(Trouble::from).inspect_err(|trouble| shared.stop_if_poisoned(trouble))?;
        if is_new {
            events::pace_set(setting, by);
        }
        Ok(is_new)
    }

    /// What is set now.
    pub(super) fn paces_now(&self) -> Result<Arc<PacesSet>, StoreError> {
        match self.stages() {
            Some(shared) => Ok(shared.operator.paces.now()),
            None => self.store().said().map(Arc::new),
        }
    }
}

/// Refuses what no rule has. What was set outlives its rule, and is taken back all the same.
fn check(rules: &[&Rule], paces: &PacesSet, of: &Paced) -> Result<(), Trouble> {
    if paces.of(of) != PaceLimits::default() {
        return Ok(());
    }
    match of {
        Paced::Rule(name) => {
            let base = rules.iter().find(|rule| rule.is_base() && rule.name == *name);
            let base = base.ok_or_else(|| no_such_rule(rules.iter().copied(), name))?;
            if base.mode != Mode::Shadow {
                return Ok(());
            }
            let message =
                format!("{of} is a shadow (`mode = \"shadow\"`), and goes by its configuration alone");
            Err(Trouble::new(FaultKind::Config, message, Some("write the limit into the rule")))
        }
        Paced::Throttle(name) => {
            let mut known: Vec<_> =
                rules.iter().filter_map(|rule| Some(rule.pace.throttle.as_ref()?.name.as_str())).collect();
            known.sort_unstable();
            known.dedup();
            if known.contains(&name.as_str()) {
                return Ok(());
            }
            let hint = match known.as_slice() {
                [] => "add `[throttle.NAME]`, and `throttle = \"NAME\"` to its rules".to_owned(),
                known => format!("rules name: {}", known.join(", ")),
            };
            Err(Trouble::new(FaultKind::Config, format!("no rule names a {of}"), Some(&hint)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::pace::{PaceChange, Throttle};

    #[test]
    fn a_limit_of_what_no_rule_has_is_refused_and_one_that_is_set_outlives_its_rule_whoever_asks() {
        for has_stages in [false, true] {
            let world = World::new();
            let mut live = Rule::clone(&world.rule());
            live.pace.throttle = Some(Throttle { name: "third".into(), limits: PaceLimits::default() });
            let shadow = Rule { name: "shadow".into(), mode: Mode::Shadow, ..live.clone() };
            let engine = Engine::over(world.shared.store.clone(), &[live.clone(), shadow.clone()]);
            if has_stages {
                Engine::exchange_rules(&world.shared, vec![live, shadow]).expect("are right");
            }
            let stages = has_stages.then_some(&world.shared);
            let set = |of: &Paced, change| {
                let workers_max = Some(change);
                engine.set_pace_of(
                    stages,
                    &PaceSetting { of: of.clone(), workers_max, records_per_second: None },
                    "root",
                )
            };
            let one = PaceChange::To(1);
            let told = |of| set(&of, one).expect_err("is not there").error.to_string();
            assert!(told(Paced::Rule("paymnets".into())).contains("paymnets"));
            assert!(told(Paced::Rule("shadow".into())).contains("shadow"));
            assert!(told(Paced::Throttle("thrid".into())).contains("no rule names a throttle \"thrid\""));
            let known = [Paced::Rule("payments".into()), Paced::Throttle("third".into())];
            for of in &known {
                assert!(set(of, one).expect("is set"), "{of}");
            }
            if has_stages {
                Engine::exchange_rules(&world.shared, Vec::new()).expect("are right");
            }
            for of in &known {
                assert!(set(of, PaceChange::Default).expect("is taken back"), "{of}");
            }
        }
    }

    #[test]
    fn what_is_set_is_kept_and_known_with_and_without_a_service() {
        for has_service in [true, false] {
            let world = World::new();
            let engine = Engine::over(world.shared.store.clone(), &[Rule::clone(&world.rule())]);
            assert!(!has_service || engine.run_by(&world.shared));
            let stages = has_service.then_some(&world.shared);
            let of = Paced::Rule("payments".into());
            let setting = PaceSetting { of, workers_max: Some(PaceChange::To(1)), records_per_second: None };
            assert!(engine.set_pace_of(stages, &setting, "root").expect("is set"));
            assert!(!engine.set_pace_of(stages, &setting, "root").expect("is known"), "it was so");
            let kept = world.shared.store.said::<PacesSet>().expect("reads");
            assert_eq!((kept.0.len(), &kept), (1, &*engine.paces_now().expect("reads")));
        }
    }
}
