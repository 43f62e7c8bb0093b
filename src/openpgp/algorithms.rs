//! Which algorithms of keys messages can be read by, and what those are called by which they cannot.

use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::packet::PublicKeyEncryptedSessionKey;
use pgp::types::{
    EcdhPublicParams, EcdsaPublicParams, EddsaLegacyPublicParams, KeyDetails, PkeskBytes, PublicParams,
};

/// By which algorithm a key is encrypted to that cannot be used here; none: it can.
pub(super) fn unsupported(key: &impl KeyDetails) -> Option<String> {
    match key.public_params() {
        PublicParams::ECDH(
            EcdhPublicParams::Brainpool256 { .. }
            | EcdhPublicParams::Brainpool384 { .. }
            | EcdhPublicParams::Brainpool512 { .. },
        ) => Some("ECDH with a Brainpool curve".to_owned()),
        PublicParams::ECDH(EcdhPublicParams::Unsupported { .. }) => {
            Some("ECDH with a curve that is not known".to_owned())
        }
        _ => unsupported_algorithm(key.algorithm()),
    }
}

/// By which algorithm a key signs whose signatures cannot be verified here; none: they can.
pub(super) fn unverifiable(key: &impl KeyDetails) -> Option<String> {
    match key.public_params() {
        PublicParams::ECDSA(EcdsaPublicParams::Unsupported { curve, .. }) => {
            Some(format!("ECDSA with the curve {curve}"))
        }
        PublicParams::EdDSALegacy(EddsaLegacyPublicParams::Unsupported { curve, .. }) => {
            Some(format!("EdDSA with the curve {curve}"))
        }
        PublicParams::Unknown { .. } => {
            Some(format!("the algorithm of number {}", u8::from(key.algorithm())))
        }
        _ => None,
    }
}

/// The same as `unsupported`, of the key that a message is encrypted to, which need not be there.
pub(super) fn unsupported_lock(lock: &PublicKeyEncryptedSessionKey) -> Option<String> {
    let algorithm = lock.algorithm().ok()?;
    match lock.values() {
        Ok(PkeskBytes::Ecdh { public_point, .. }) if !is_on_known_curve(public_point.as_ref()) => {
            Some("ECDH with a Brainpool curve, or another that is not known".to_owned())
        }
        _ => unsupported_algorithm(algorithm),
    }
}

/// A message does not say which curve its point is of: where it lies on none that is known, it is of another.
fn is_on_known_curve(point: &[u8]) -> bool {
    const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
    const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
    /// For a key: 3 bytes follow, SHA-256 and AES-128. Nothing here is by them.
    const FOR_KEYS: &[u8] = &[3, 1, 8, 7];
    let curve = match (point.first(), point.len()) {
        (Some(4), 65) => P256,
        (Some(4), 97) => P384,
        (Some(4), 133) => P521,
        // Curve25519 has a prefix of its own.
        (Some(0x40), 33) => return true,
        _ => return false,
    };
    // Its first byte has 3 bits.
    let bits = (point.len() as u16 - 1) * 8 + 3;
    let key = [&[curve.len() as u8], curve, &bits.to_be_bytes(), point, FOR_KEYS].concat();
    EcdhPublicParams::try_from_reader(key.as_slice(), None).is_ok()
}

/// The same, as far as the algorithm's number tells.
fn unsupported_algorithm(algorithm: PublicKeyAlgorithm) -> Option<String> {
    match algorithm {
        _ if can_encrypt(algorithm) => None,
        PublicKeyAlgorithm::Elgamal | PublicKeyAlgorithm::ElgamalEncrypt => Some("ElGamal".to_owned()),
        other => Some(format!("the algorithm of number {}", u8::from(other))),
    }
}

pub(super) fn can_encrypt(algorithm: PublicKeyAlgorithm) -> bool {
    use PublicKeyAlgorithm::{ECDH, RSA, RSAEncrypt, X448, X25519};
    // What ElGamal is encrypted to nobody writes any more.
    matches!(algorithm, RSA | RSAEncrypt | ECDH | X25519 | X448)
}
