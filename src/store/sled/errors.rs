//! The engine's errors in the store's words.

use std::io;
use std::path::Path;

use crate::store::error::StoreError;

/// For good: nothing is written after it.
pub(super) fn failed(action: &'static str, store: &Path, error: sled::Error) -> StoreError {
    StoreError::Failed { action, path: store.to_owned(), source: plain(error) }
}

pub(super) fn engine(action: &'static str) -> impl FnOnce(sled::Error) -> StoreError {
    move |error| StoreError::Engine { action, source: plain(error) }
}

/// Whether the engine read something that it never wrote.
pub(super) fn is_damage(error: &StoreError) -> bool {
    let (StoreError::Engine { source, .. } | StoreError::Failed { source, .. }) = error else { return false };
    match (source.downcast_ref(), source.downcast_ref::<io::Error>()) {
        (
            Some(
                sled::Error::Corruption { .. } | sled::Error::ReportableBug(_) | sled::Error::Unsupported(_),
            ),
            _,
        ) => true,
        // Part of what should be there is not.
        (_, Some(error)) => {
            matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData)
        }
        _ => false,
    }
}

/// The system's own words, where the engine only wraps them.
fn plain(error: sled::Error) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        sled::Error::Io(error) => Box::new(error),
        other => Box::new(other),
    }
}
