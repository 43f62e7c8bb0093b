//! Who has the jobs: the running service, or the engine of this process.

use std::time::{Duration, Instant};

use super::client::Client;
use crate::config;
use crate::engine::{Door, Engine};
use crate::model::rule::{Service, Settings};
use crate::store::{Store, StoreError, WhileTaken};

/// A service that starts, or another command, lets go of the store or answers within this.
const STARTING_PATIENCE: Duration = Duration::from_secs(3);
const STARTING_PAUSE: Duration = Duration::from_millis(50);

/// The running service, if there is one; else the engine over the store, opened as its owner.
pub(crate) fn open(settings: &Settings) -> Result<Box<dyn Door>, StoreError> {
    Ok(match reach(settings, Store::open_as_owner)? {
        Reached::Service(client) => Box::new(client),
        Reached::Engine(engine) => Box::new(engine),
    })
}

/// The same for a command that does the service's work: a store is made where none is.
pub(crate) fn open_or_make(settings: &Settings) -> Result<Reached, StoreError> {
    reach(settings, |service| match Store::open_as_owner(service) {
        Err(StoreError::NoStore { .. }) => Store::of_service(service, WhileTaken::Refuse),
        opened => opened,
    })
}

/// The running service, or the engine over the store, which must be there.
pub(crate) fn open_existing(settings: &Settings) -> Result<Reached, StoreError> {
    reach(settings, Store::open_as_owner)
}

/// The running service; none where none runs, of which the store is a sign: it is opened, and closed again.
pub(crate) fn reach_service(settings: &Settings) -> Result<Option<Client>, StoreError> {
    match reach(settings, Store::open_as_owner) {
        Ok(Reached::Service(client)) => Ok(Some(client)),
        Ok(Reached::Engine(_)) | Err(StoreError::NoStore { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Public keys that a start of the service needs for its store: a running one says which, else the store. None: neither can be asked.
pub(crate) fn keys_needed(service: &Service) -> Option<Vec<String>> {
    match Client::connect(&service.data_dir) {
        Some(client) => client.keys_needed().ok(),
        None => Store::keys_needed_in(&service.data_dir).ok(),
    }
}

/// Refuses a data folder of another user, before anything is done beside it.
pub(crate) fn check_owner(settings: &Settings) -> Result<(), StoreError> {
    Store::check_owner(&settings.service.data_dir)
}

pub(crate) enum Reached {
    Service(Client),
    /// None runs, and the data folder is ours meanwhile.
    Engine(Engine),
}

/// One that was started before `service.data_dir` was changed.
fn elsewhere(settings: &Settings) -> Option<Client> {
    let said = config::read_service(&settings.file).ok()?;
    (said.data_dir == settings.service.data_dir).then(|| Client::elsewhere(&said)).flatten()
}

fn reach(
    settings: &Settings,
    open_store: impl Fn(&Service) -> Result<Store, StoreError>,
) -> Result<Reached, StoreError> {
    let begun = Instant::now();
    let data_dir = &settings.service.data_dir;
    if let Some(client) = Client::connect(data_dir).or_else(|| elsewhere(settings)) {
        return Ok(Reached::Service(client));
    }
    loop {
        if let Some(client) = Client::connect(data_dir) {
            return Ok(Reached::Service(client));
        }
        match open_store(&settings.service) {
            Ok(store) => {
                // What is done now belongs in a trail that the next start begins.
                if settings.service.audit {
                    store.keep_audit(true)?;
                }
                return Ok(Reached::Engine(Engine::over(store, &settings.rules)));
            }
            // It starts, or stops, or another command has it for a moment.
            Err(StoreError::InUse { .. }) if begun.elapsed() < STARTING_PATIENCE => {
                std::thread::sleep(STARTING_PAUSE);
            }
            Err(StoreError::InUse { data_dir, pid, holder }) => {
                let has_address = Client::has_address(&data_dir);
                return Err(StoreError::Silent { data_dir, pid, holder, has_address });
            }
            Err(error) => return Err(error),
        }
    }
}
