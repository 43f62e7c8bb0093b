//! The tokens of the control API: made at the first start, kept in the data folder, and whoever can read one may ask. One opens everything;
//! whoever has the other one sees the metrics, and nothing else.

use std::io::Read as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use blake3::Hash;

use super::ApiError;
use crate::control::new_secret;
use crate::durable_fs::{self, FsError};

/// In the data folder. Removed, the next start makes another one.
pub(super) const FILE: &str = "api.token";
const METRICS_FILE: &str = "metrics.token";
/// A token is shorter; one that an operator wrote may be any text.
const BYTES_MAX: u64 = 4096;
/// And no shorter: it is not to be guessed.
const BYTES_MIN: usize = 16;
/// At most so often it is told that requests were refused.
const TELL_EVERY: Duration = Duration::from_mins(1);

pub(super) struct Tokens {
    /// Opens everything.
    pub(super) all: Hash,
    /// Opens `/metrics`.
    pub(super) metrics: Hash,
}

impl Tokens {
    pub(super) fn read_or_make(data_dir: &Path) -> Result<Self, ApiError> {
        let hash = |file| read_or_make(&data_dir.join(file)).map(|token| blake3::hash(token.as_bytes()));
        Ok(Self { all: hash(FILE)?, metrics: hash(METRICS_FILE)? })
    }

    /// Whether whoever shows this one may: hashes are compared in constant time.
    pub(super) fn know(&self, shown: &str, asks_for_metrics: bool) -> bool {
        let shown = blake3::hash(shown.as_bytes());
        shown == self.all || asks_for_metrics && shown == self.metrics
    }
}

/// Requests that were refused since that was last told: whoever guesses is seen, and does not fill the log.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<(u64, Option<Instant>)>);

impl Refusals {
    pub(super) fn note(&self, by: &str) {
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, told_at) = &mut *refused;
        *count += 1;
        if told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
            tracing::warn!(
                requests = *count,
                last_by = by,
                "refused: the control API was shown a wrong token"
            );
            *refused = (0, Some(Instant::now()));
        }
    }
}

fn read_or_make(path: &Path) -> Result<String, ApiError> {
    match durable_fs::open_source(path) {
        Ok(file) => {
            let mut text = String::new();
            file.take(BYTES_MAX + 1)
                .read_to_string(&mut text)
                .map_err(|source| ApiError::Token(FsError::new("read", path, source)))?;
            if text.len() as u64 > BYTES_MAX {
                return Err(ApiError::LongToken { path: path.to_owned(), most: BYTES_MAX });
            }
            let token = text.trim();
            if token.len() < BYTES_MIN {
                return Err(ApiError::ShortToken { path: path.to_owned(), least: BYTES_MIN });
            }
            Ok(token.to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let token = new_secret().to_hex().to_string();
            durable_fs::write_secret(path, format!("{token}\n").as_bytes()).map_err(ApiError::Token)?;
            Ok(token)
        }
        Err(source) => Err(ApiError::Token(FsError::new("open", path, source))),
    }
}
