//! The token of the control API: made at the first start, kept in the data folder, and whoever can read it may ask.

use std::io::Read as _;
use std::path::Path;

use super::ApiError;
use crate::control::new_secret;
use crate::durable_fs::{self, FsError};

/// In the data folder. Removed, the next start makes another one.
pub(super) const FILE: &str = "api.token";
/// A token is shorter; one that an operator wrote may be any text.
const BYTES_MAX: u64 = 4096;
/// And no shorter: it is not to be guessed.
const BYTES_MIN: usize = 16;

pub(super) fn read_or_make(data_dir: &Path) -> Result<String, ApiError> {
    let path = data_dir.join(FILE);
    match durable_fs::open_source(&path) {
        Ok(file) => {
            let mut text = String::new();
            file.take(BYTES_MAX)
                .read_to_string(&mut text)
                .map_err(|source| ApiError::Token(FsError::new("read", &path, source)))?;
            let token = text.trim();
            if token.len() < BYTES_MIN {
                return Err(ApiError::ShortToken { path, least: BYTES_MIN });
            }
            Ok(token.to_owned())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let token = new_secret().to_hex().to_string();
            durable_fs::write_secret(&path, format!("{token}\n").as_bytes()).map_err(ApiError::Token)?;
            Ok(token)
        }
        Err(source) => Err(ApiError::Token(FsError::new("open", &path, source))),
    }
}
