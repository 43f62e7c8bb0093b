//! What outlives jobs: what an operator said, when files came, and where they went; one row for each kind of it, kept as a whole.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::changes::Changes;
use super::error::StoreError;
use super::{Store, keys};
use crate::model::expected::Expected;
use crate::model::halts::Halts;
use crate::model::pace::PacesSet;
use crate::model::places::Places;

/// A kind of it. Nothing was: the default.
pub(crate) trait Said: Serialize + DeserializeOwned + Default {
    /// As a fault of its row names it.
    const NAME: &'static str;
    const KEY: &'static [u8];
}

/// What does not go on until an operator says so.
impl Said for Halts {
    const NAME: &'static str = "halts";
    const KEY: &'static [u8] = keys::HALTS;
}

/// How fast rules may work.
impl Said for PacesSet {
    const NAME: &'static str = "limits";
    const KEY: &'static [u8] = keys::PACES;
}

/// When files came last, from whom they are expected.
impl Said for Expected {
    const NAME: &'static str = "expected files";
    const KEY: &'static [u8] = keys::EXPECTED;
}

/// On which mounts the folders of rules lay.
impl Said for Places {
    const NAME: &'static str = "places";
    const KEY: &'static [u8] = keys::PLACES;
}

impl Store {
    /// As it was kept last.
    pub(crate) fn said<T: Said>(&self) -> Result<T, StoreError> {
        Ok(self.row(T::NAME, T::KEY)?.unwrap_or_default())
    }
}

impl Changes<'_> {
    /// Keeps it in place of what was kept before.
    pub(crate) fn said<T: Said>(&mut self, said: &T) -> &mut Self {
        self.put(T::NAME, T::KEY.to_vec(), said)
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use jiff::Timestamp;

    use super::*;
    use crate::model::halts::Scope;
    use crate::model::pace::{PaceChange, PaceSetting, Paced};
    use crate::model::places::Lies;

    fn outlives_the_process<T: Said + PartialEq + Debug>(said: &T) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path()).expect("opens");
        assert_eq!(store.said::<T>().expect("nothing yet"), T::default());
        store.change().said(said).apply().expect("writes");
        store.sync().expect("is durable");
        drop(store);
        let store = Store::open(folder.path()).expect("opens");
        assert_eq!(store.said::<T>().expect("reads"), *said);
    }

    #[test]
    fn what_an_operator_said_outlives_the_process() {
        let mut halts = Halts::default();
        halts.pause(Scope::default(), Timestamp::UNIX_EPOCH, "root");
        outlives_the_process(&halts);
        let mut paces = PacesSet::default();
        let of = Paced::Throttle("mainframe".into());
        let setting = PaceSetting { of, workers_max: Some(PaceChange::To(1)), records_per_second: None };
        assert!(paces.set(&setting, Timestamp::UNIX_EPOCH, "root"));
        outlives_the_process(&paces);
        let mut mounted = Places::default();
        let (folder, mount) = ("/mnt/ar/x".as_ref(), "/mnt/ar".as_ref());
        assert!(mounted.learn(Lies { folder, mount, is_below: false }, Timestamp::UNIX_EPOCH));
        outlives_the_process(&mounted);
    }
}
