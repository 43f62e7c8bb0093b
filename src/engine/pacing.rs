//! Setting how fast rules may work, while the service runs or not.

use std::sync::Arc;

use super::handle::Engine;
use super::operator::Kept;
use super::shared::Shared;
use super::trouble::Trouble;
use crate::clock;
use crate::model::pace::{PaceSetting, PacesSet};
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::World;
    use crate::model::pace::{PaceChange, Paced};

    #[test]
    fn what_is_set_is_kept_and_known_with_and_without_a_service() {
        for has_service in [true, false] {
            let world = World::new();
            let engine = Engine::over(world.shared.store.clone(), &[]);
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
