//! The configuration that a service went by last: its files, whole. A start whose files are wrong goes by it.

use super::error::StoreError;
use super::{Store, keys};
use crate::model::configuration::KeptConfiguration;

impl Store {
    /// What was kept last; none before the first service.
    pub(crate) fn configuration(&self) -> Result<Option<KeptConfiguration>, StoreError> {
        self.row("configuration", keys::CONFIGURATION)
    }

    /// Keeps it in place of the one before, durably.
    pub(crate) fn keep_configuration(&self, configuration: &KeptConfiguration) -> Result<(), StoreError> {
        self.change().put("configuration", keys::CONFIGURATION.to_vec(), configuration).apply()?;
        self.sync()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn what_is_kept_outlives_the_process_and_is_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let kept = |text: &str| KeptConfiguration {
            main: "/etc/landfall.toml".into(),
            taken_at: Timestamp::UNIX_EPOCH,
            files: vec![("/etc/landfall.toml".into(), text.repeat(100_000))],
            rules_mount: None,
        };
        let store = Store::open(folder.path()).expect("opens");
        assert_eq!(store.configuration().expect("reads"), None);
        for text in ["longer", "short"] {
            store.keep_configuration(&kept(text)).expect("writes");
        }
        drop(store);
        let store = Store::open(folder.path()).expect("opens");
        assert_eq!(store.configuration().expect("reads"), Some(kept("short")));
    }
}
