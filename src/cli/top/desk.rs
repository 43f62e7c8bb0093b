//! What the threads of the command share: the service, and which page is open.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::model::Page;
use crate::control::Client;

/// The service, as far as there is one, and what of it is wanted.
pub(super) struct Desk {
    data_dir: PathBuf,
    client: Mutex<Option<Arc<Client>>>,
    wanted: Mutex<Option<Page>>,
    is_wanted: Condvar,
}

impl Desk {
    pub(super) fn new(client: Client) -> Self {
        let data_dir = client.data_dir().to_owned();
        let (client, wanted) = (Mutex::new(Some(Arc::new(client))), Mutex::new(None));
        Self { data_dir, client, wanted, is_wanted: Condvar::new() }
    }

    pub(super) fn service(&self) -> Option<Arc<Client>> {
        lock(&self.client).clone()
    }

    /// The text of this page is wanted from now on.
    pub(super) fn want(&self, page: Option<Page>) {
        *lock(&self.wanted) = page;
        self.is_wanted.notify_all();
    }

    /// The page whose text is wanted, after this time, or as soon as another one is.
    pub(super) fn wanted_after(&self, time: Duration, last: Option<Page>) -> Option<Page> {
        let is_as_before = |page: &mut Option<Page>| *page == last;
        let waited = self.is_wanted.wait_timeout_while(lock(&self.wanted), time, is_as_before);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn lose_service(&self) {
        *lock(&self.client) = None;
    }

    /// It may be there again.
    pub(super) fn find_service(&self) {
        let found = Client::connect(&self.data_dir).map(Arc::new);
        *lock(&self.client) = found;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
