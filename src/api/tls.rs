//! TLS for a port that is open to other machines.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use super::ApiError;
use crate::model::api::Tls;

/// What a start would refuse of a certificate and its key.
pub(crate) fn judge(tls: &Tls) -> Result<(), ApiError> {
    acceptor(tls).map(drop)
}

pub(super) fn acceptor(tls: &Tls) -> Result<TlsAcceptor, ApiError> {
    let unread = |path: &Path| {
        let path = path.to_owned();
        move |error: pem::Error| ApiError::Pem { path, detail: error.to_string() }
    };
    let certificates = CertificateDer::pem_file_iter(&tls.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unread(&tls.certificate))?;
    let key = PrivateKeyDer::from_pem_file(&tls.key).map_err(unread(&tls.key))?;
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
