//! What an operator set of how fast rules may work.

use super::changes::Changes;
use super::error::StoreError;
use super::{Store, keys};
use crate::model::pace::PacesSet;

impl Store {
    /// As it was kept last.
    pub(crate) fn paces(&self) -> Result<PacesSet, StoreError> {
        Ok(self.row("limits", keys::PACES)?.unwrap_or_default())
    }
}

impl Changes<'_> {
    /// Keeps it in place of what was kept before.
    pub(crate) fn paces(&mut self, paces: &PacesSet) -> &mut Self {
        self.put("limits", keys::PACES.to_vec(), paces)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::pace::{PaceChange, PaceSetting, Paced};

    #[test]
    fn what_is_set_outlives_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let mut paces = store.paces().expect("none yet");
        let of = Paced::Throttle("mainframe".into());
        let setting = PaceSetting { of, workers_max: Some(PaceChange::To(1)), records_per_second: None };
        assert!(paces.set(&setting, Timestamp::UNIX_EPOCH, "root"));
        store.change().paces(&paces).apply().expect("writes");
        store.sync().expect("is durable");
        drop(store);
        let store = Store::open(folder.path()).expect("opens");
        assert_eq!(store.paces().expect("reads"), paces);
    }
}
