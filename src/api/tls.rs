//! TLS for a port that is open to other machines.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use super::ApiError;
use crate::key_file;
use crate::model::api::Tls;

/// Of a file with certificates, or their key.
const FILE_BYTES_MAX: usize = 1 << 20;

/// What a start would refuse of a certificate and its key.
pub(crate) fn judge(tls: &Tls) -> Result<(), ApiError> {
    acceptor(tls).map(drop)
}

pub(super) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, ApiError> {
    let unread =
        |path: &Path, error: &dyn Display| ApiError::Pem { path: path.to_owned(), detail: error.to_string() };
    // A pipe, or a mount that hangs, holds up nobody for ever.
    let bytes = |path: &Path| key_file::bytes(path, FILE_BYTES_MAX).map_err(|error| unread(path, &error));
    let certificates =
        CertificateDer::pem_slice_iter(&bytes(&tls.certificate)?).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| unread(&tls.certificate, &error))?;
    let key = PrivateKeyDer::from_pem_slice(&bytes(&tls.key)?).map_err(|error| unread(&tls.key, &error))?;
    let unfit = |error: rustls::Error| ApiError::Tls {
        certificate: tls.certificate.clone(),
        key: tls.key.clone(),
        detail: error.to_string(),
    };
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .map_err(unfit)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
