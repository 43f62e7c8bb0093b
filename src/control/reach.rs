//! Who has the jobs: the running service, or the store.

use std::path::Path;
use std::time::Instant;

use super::client::Client;
use super::handler::Handler;
use super::starting::{STARTING_PATIENCE, STARTING_PAUSE};
use super::store_handler::StoreHandler;
use crate::store::{Store, StoreError};

/// The running service, if there is one; else the store itself, opened as its owner.
pub(crate) fn open(data_dir: &Path) -> Result<Box<dyn Handler>, StoreError> {
    Ok(match reach(data_dir, Store::open_as_owner)? {
        Reached::Service(client) => Box::new(client),
        Reached::Store(store) => Box::new(StoreHandler::new(store)),
    })
}

/// Who has the jobs.
pub(crate) enum Reached {
    /// A service runs.
    Service(Client),
    /// None runs, and the store is ours meanwhile.
    Store(Store),
}

/// The running service, if there is one; else the store, opened this way.
pub(crate) fn reach(
    data_dir: &Path,
    open_store: impl Fn(&Path) -> Result<Store, StoreError>,
) -> Result<Reached, StoreError> {
    let begun = Instant::now();
    loop {
        if let Some(client) = Client::connect(data_dir) {
            return Ok(Reached::Service(client));
        }
        match open_store(data_dir) {
            Ok(store) => return Ok(Reached::Store(store)),
            // It starts, or stops, or another command has it for a moment.
            Err(StoreError::InUse { .. }) if begun.elapsed() < STARTING_PATIENCE => {
                std::thread::sleep(STARTING_PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
}
