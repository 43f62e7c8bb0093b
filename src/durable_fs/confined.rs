//! Whether this process keeps itself to what it was given at its start (`service.confine`): the system then refuses what its rights allow.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

/// What helps then.
const RESTART: &str = "the service is confined (`service.confine`) to what its configuration named, as it lay there when it started: what was made, \
                       replaced or mounted since is out of its reach before a restart";

static IS_CONFINED: AtomicBool = AtomicBool::new(false);

/// It does from now on, for good.
pub(crate) fn note_confined() {
    IS_CONFINED.store(true, Ordering::Release);
}

pub(crate) fn is_confined() -> bool {
    IS_CONFINED.load(Ordering::Acquire)
}

/// What to do about an error that this is the likely reason of, where nobody's rights are.
pub(crate) fn hint_if_confined(error: &io::Error) -> Option<&'static str> {
    (is_confined() && error.kind() == io::ErrorKind::PermissionDenied).then_some(RESTART)
}
