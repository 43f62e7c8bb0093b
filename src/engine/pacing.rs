//! Setting how fast rules may work, while the service runs or not.

use std::sync::Arc;

use super::handle::Engine;
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
        let Some(shared) = stages else {
            let mut paces = self.store().paces()?;
            let is_new = paces.set(setting, clock::now(), by);
            self.store().change().paces(&paces).apply()?;
            self.store().sync()?;
            return Ok(is_new);
        };
        let set = shared.paces.set(&shared.store, setting, by, |paces| shared.tell_limits(paces));
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
            Some(shared) => Ok(shared.paces.now()),
            None => self.store().paces().map(Arc::new),
        }
    }
}
