//! Which algorithms of keys messages can be read by, and what those are called by which they cannot.

use pgp::crypto::public_key::PublicKeyAlgorithm;
use pgp::types::{EcdhPublicParams, KeyDetails, PublicParams};

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

/// The same, as far as the algorithm's number tells.
pub(super) fn unsupported_algorithm(algorithm: PublicKeyAlgorithm) -> Option<String> {
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
