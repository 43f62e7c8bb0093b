//! What does not go on until an operator says so.

use super::changes::Changes;
use super::error::StoreError;
use super::{Store, keys};
use crate::model::halts::Halts;

impl Store {
    /// As it was kept last.
    pub(crate) fn halts(&self) -> Result<Halts, StoreError> {
        Ok(self.row("halts", keys::HALTS)?.unwrap_or_default())
    }
}

impl Changes<'_> {
    /// Keeps it in place of what was kept before.
    pub(crate) fn halts(&mut self, halts: &Halts) -> &mut Self {
        self.put("halts", keys::HALTS.to_vec(), halts)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::halts::Scope;

    #[test]
    fn what_is_paused_outlives_the_process() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        let mut halts = store.halts().expect("none yet");
        halts.pause(Scope::default(), Timestamp::UNIX_EPOCH, "root");
        store.change().halts(&halts).apply().expect("writes");
        store.sync().expect("is durable");
        drop(store);
        let store = Store::open(folder.path()).expect("opens");
        assert_eq!(store.halts().expect("reads"), halts);
    }
}
