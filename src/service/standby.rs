//! Waiting for a data folder that another service has: active and passive over shared storage.
//!
//! The lock of the folder is the only word on who is active. It is asked for now and then, and not taken here: who finds it free starts as
//! any service does, and where another one was faster, waits again.
//!
//! A folder that is not there is waited for, too: where shared storage is not mounted, a start would begin another store on this machine's
//! own disk.

use std::path::Path;
use std::time::Duration;

use super::ServiceError;
use crate::config;
use crate::durable_fs;
use crate::model::os_text::escaped_path;
use crate::store::Store;

/// Between looks: a takeover begins within this.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Whether this process waits for the store of a cluster: it has nothing in hand.
pub(crate) fn is_now() -> bool {
    Store::stands_by()
}

/// What keeps a service from starting, in a sentence; none: nothing does, or what does is for its start to tell.
pub(crate) fn waits_for(config: Option<&Path>) -> Result<Option<String>, ServiceError> {
    let said = config::read_service(&config::find(config)?)?;
    if said.text.is_none() {
        return Ok(None); // the start says why it cannot be read
    }
    let folder = escaped_path(&said.data_dir);
    let holder = match durable_fs::holder_of(&said.data_dir) {
        Ok(Some(holder)) => format!("the data folder {folder} is in use by {holder}"),
        Ok(None) if said.data_dir.is_dir() => return Ok(None),
        Ok(None) => format!("the data folder {folder} is not there: is its file system mounted?"),
        Err(error) => format!("it is not known who has the data folder {folder}: {error}"),
    };
    Ok(Some(holder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable_fs::{Hold, hold_folder};

    #[test]
    fn a_service_waits_for_who_has_its_data_folder_and_for_a_folder_that_is_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("landfall.toml");
        std::fs::write(&file, "config_version = 1\n[service]\ndata_dir = \"data\"\n").expect("writes");
        let waits = || waits_for(Some(&file)).expect("is read");
        assert!(waits().is_some_and(|why| why.contains("is not there")));
        std::fs::create_dir(folder.path().join("data")).expect("makes");
        assert_eq!(waits(), None);
        let Hold::Ours(held) = hold_folder(&folder.path().join("data"), None).expect("holds") else {
            panic!("nobody has it")
        };
        let why = waits().expect("it is held");
        assert!(why.contains(&format!("in use by process {}", std::process::id())), "{why}");
        drop(held);
        assert_eq!(waits(), None);
    }
}
