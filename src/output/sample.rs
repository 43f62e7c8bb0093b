//! Samples as a sender would make them: compressed with gzip, encrypted with age, for a key pair made on the spot.

use std::io::{self, Write as _};
use std::path::Path;

use age::secrecy::ExposeSecret as _;
use age::x25519::Identity;

use crate::durable_fs;

pub(crate) struct SampleKey(Identity);

pub(crate) fn new_key() -> SampleKey {
    SampleKey(Identity::generate())
}

impl SampleKey {
    /// The text of an identity file, as `age-keygen` writes it.
    pub(crate) fn identity_file(&self) -> String {
        format!("# public key: {}\n{}\n", self.0.to_public(), self.0.to_string().expose_secret())
    }
}

/// Writes `text` compressed and encrypted to the key.
pub(crate) fn write_gzip_age(path: &Path, text: &[u8], key: &SampleKey) -> io::Result<()> {
    let recipient = key.0.to_public();
    let recipients = std::iter::once(&recipient as &dyn age::Recipient);
    let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
    let file = durable_fs::create_private(path).map_err(io::Error::other)?;
    let mut gzip =
        flate2::write::GzEncoder::new(encryptor.wrap_output(file)?, flate2::Compression::default());
    gzip.write_all(text)?;
    gzip.finish()?.finish()?;
    Ok(())
}
