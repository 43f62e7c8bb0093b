//! Jobs of sources that are about to go from where they lie: see [`super::held`].

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use super::handle::Engine;
use super::intake;
use super::shared::Shared;
use crate::durable_fs;
use crate::model::identity::FileIdentity;
use crate::model::os_text::OsText;
use crate::model::pattern::Values;
use crate::model::rule::Rule;
use crate::watch::Offer;

impl Engine {
    /// Takes a file that is about to go from where it lies. Holds up nobody.
    pub(crate) fn take_open(&self, rule: &Arc<Rule>, vars: Values, path: &Path, identity: &FileIdentity) {
        let Some(shared) = self.stages() else { return };
        let Some(intake) = shared.claims.held.intake.get() else { return };
        let Ok(file) = durable_fs::open_source(path) else { return };
        if !durable_fs::identity(&file).is_ok_and(|found| found.same_content(identity)) {
            return;
        }
        let offer = Offer {
            rule: Arc::clone(rule),
            path: path.to_owned(),
            identity: *identity,
            vars,
            companions: Vec::new(),
            folder_marker: None,
            names: None,
            may_be_early: false,
        };
        if !shared.claims.held.hold(*identity, file) || intake.try_send(vec![offer]).is_err() {
            shared.claims.held.forget(identity);
            tracing::debug!(path = %path.display(), "a live rule takes it before the shadow has room for it");
        }
    }
}

/// The life of who makes jobs of them.
pub(super) fn take_held(shared: &Arc<Shared>, offers: &Receiver<Vec<Offer>>) {
    while let Ok(batch) = offers.recv() {
        if shared.stop.is_asked() {
            return;
        }
        let offered: Vec<_> =
            batch.iter().map(|offer| (offer.path.as_path().into(), offer.identity)).collect();
        if let Err(trouble) = intake::take_batch(shared, batch)
            && trouble.is_poisoned()
        {
            shared.fail_for_good(trouble.error);
            return;
        }
        for (_, identity) in offered.iter().filter(|(path, identity)| !is_under_way(shared, path, identity)) {
            shared.claims.held.forget(identity);
        }
    }
}

/// Whether a job is to read it; its end lets go of it.
fn is_under_way(shared: &Shared, path: &OsText, identity: &FileIdentity) -> bool {
    let job =
        shared.store.kept(path, identity).ok().flatten().and_then(|id| shared.store.job(id).ok().flatten());
    job.is_some_and(|job| !job.state.is_final())
}
