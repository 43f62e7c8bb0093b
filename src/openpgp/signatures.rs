//! Signatures of a message: hashed while its content is read, judged at its end.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{OnePassSignature, OpsVersionSpecific, Signature, SignatureType, SignatureVersionSpecific};
use pgp::types::{KeyDetails, KeyVersion, VerifyingKey};
use sha2::digest::DynDigest;

use super::error::Unread;
use super::keys::{Certificate, Lasts, Part, Purpose, is_in_force, not_understood};

/// So many may sign one message.
pub(super) const SIGNATURES_MAX: usize = 32;

/// Somebody whose signature counts, with the file that says so.
pub(crate) struct Signer {
    pub(crate) certificate: Certificate,
    pub(crate) file: PathBuf,
}

enum Announced {
    /// It follows the content.
    OnePass(Box<OnePassSignature>),
    /// It stood before the content; or it has come.
    Whole(Box<Signature>),
}

/// A signature while the content is read.
pub(super) struct Pending {
    announced: Announced,
    hash: Option<Hash>,
    /// Within how many packets it lies.
    pub(super) level: usize,
    /// A signature that does not fit what was announced.
    is_another: bool,
}

impl Pending {
    pub(super) fn one_pass(packet: OnePassSignature, level: usize, is_checked: bool) -> Self {
        let salt = match packet.version_specific() {
            OpsVersionSpecific::V6 { salt, .. } => &salt[..],
            OpsVersionSpecific::V3 { .. } | OpsVersionSpecific::Unknown { .. } => &[],
        };
        let hash = is_checked.then(|| Hash::new(packet.hash_algorithm(), packet.typ(), salt)).flatten();
        Self { announced: Announced::OnePass(Box::new(packet)), hash, level, is_another: false }
    }

    pub(super) fn whole(packet: Signature, level: usize, is_checked: bool) -> Self {
        let config = packet.config().filter(|_| is_checked);
        let hash = config.and_then(|config| {
            let salt = match &config.version_specific {
                SignatureVersionSpecific::V6 { salt } => salt.as_slice(),
                _ => &[],
            };
            Hash::new(config.hash_alg, config.typ, salt)
        });
        Self { announced: Announced::Whole(Box::new(packet)), hash, level, is_another: false }
    }

    pub(super) fn is_awaited(&self) -> bool {
        matches!(self.announced, Announced::OnePass(_))
    }

    pub(super) fn has_come(&mut self, signature: Signature) {
        if let Announced::OnePass(packet) = &self.announced {
            self.is_another = !packet.matches(&signature);
        }
        self.announced = Announced::Whole(Box::new(signature));
    }

    pub(super) fn update(&mut self, content: &[u8]) {
        if let Some(hash) = &mut self.hash {
            hash.update(content);
        }
    }

    /// Whether it is good, and by one of the signers.
    pub(super) fn judge(self, signers: &[Signer], now: Timestamp) -> Result<(), Unread> {
        let Announced::Whole(signature) = &self.announced else { return Err(Unread::EndsEarly) };
        let issuer = issuer(signature);
        let bad = |what: &str, hint| Err(bad(format!("its signature {issuer}{what}"), hint));
        let Some(hash) = self.hash else {
            return bad("is of a kind, or by a hash, that proves nothing", SIGN_STRONGER);
        };
        if self.is_another {
            return bad("is another than it announces", SEND_AGAIN);
        }
        if let Some(what) = not_understood(signature) {
            return bad(&format!("counts for nobody who does not know its {what}"), SIGN_PLAINLY);
        }
        let Some(digest) = hash.of(signature) else { return bad("is damaged", SEND_AGAIN) };
        let (mut is_known, mut counts_no_more) = (false, None);
        for signer in signers {
            for (part, lasts) in signer.certificate.parts(Purpose::Sign, now) {
                if !is_by(signature, part) {
                    continue;
                }
                is_known = true;
                if !verifies(signature, part, &digest) {
                    continue;
                }
                if !is_in_force(signature, now) || signature.created().is_none_or(|made| made < created(part))
                {
                    return bad("has expired, or is of another time than its key", SIGN_ANEW);
                }
                // Another file may have the same key, renewed.
                match lapsed(lasts, &signer.certificate, &signer.file) {
                    Ok(()) => return Ok(()),
                    Err(lapsed) => counts_no_more = counts_no_more.or(Some(lapsed)),
                }
            }
        }
        if let Some(lapsed) = counts_no_more {
            return Err(lapsed);
        }
        if is_known {
            return bad("does not fit its content: it was changed", SEND_AGAIN);
        }
        match signers.iter().find_map(|signer| unfit(signature, signer)) {
            Some((why, hint)) => bad(&why, hint),
            None => bad("is by none of `decode.signers`", NAME_SIGNER),
        }
    }
}

const SIGN_STRONGER: &str = "ask the sender to sign the content, by SHA-256 or SHA-512 (`gpg --digest-algo SHA256 --sign`); an old DSA key cannot, one of Ed25519 or RSA can";
const SIGN_PLAINLY: &str = "ask the sender to sign without marking that as critical (`gpg --sig-notation` without `!` before the name)";
const SIGN_ANEW: &str = "ask the sender to sign it anew, on a machine whose clock is right";
const SIGN_BY_ANOTHER: &str = "ask the sender to sign by a key of another kind: Ed25519, ECDSA with a NIST curve, and RSA can be verified";
const SEND_AGAIN: &str = "ask the sender for the file again, as it was signed";
const NAME_SIGNER: &str = "ask the sender who signed it; a key that you trust goes into `decode.signers`";
const NAME_SUCCESSOR: &str = "a key that was revoked never counts again: ask its owner for the one in its place, put that into `decode.signers`, and ask for the file signed by it";
const RENEW_SIGNER: &str = "ask its owner for the whole public key, as it is now (`gpg --export --armor KEY`), and put it into its file";

fn bad(detail: String, hint: &'static str) -> Unread {
    Unread::Signature { detail, hint }
}

/// Why a key that made this signature, and is in a signer's file, does not count; none: it is not in it.
fn unfit(signature: &Signature, signer: &Signer) -> Option<(String, &'static str)> {
    let names_any = !signature.issuer_fingerprint().is_empty() || !signature.issuer_key_id().is_empty();
    let is_in_it = names_any && signer.certificate.all_parts().any(|part| is_by(signature, part));
    is_in_it.then(|| match signer.certificate.unsupported(Purpose::Sign) {
        Some(algorithm) => (format!("is by {algorithm}, which is not supported"), SIGN_BY_ANOTHER),
        None => ("is by a key of `decode.signers` that does not say it may sign".to_owned(), RENEW_SIGNER),
    })
}

/// A good signature by a key that counts no more: revoked for good, or until somebody renews the file.
fn lapsed(lasts: Lasts, certificate: &Certificate, file: &Path) -> Result<(), Unread> {
    let name = certificate.name();
    match lasts {
        Lasts::Ever | Lasts::Until(_) => Ok(()),
        Lasts::Lapsed(end) => {
            let detail =
                format!("the key {name} in it has signed this, and expired on {}", end.strftime("%F"));
            Err(Unread::SignerLapsed { file: file.to_owned(), detail })
        }
        Lasts::Revoked | Lasts::Unfit => {
            Err(bad(format!("it is signed by the key {name}, which is revoked"), NAME_SUCCESSOR))
        }
    }
}

/// `by the key … `, where it says by which.
fn issuer(signature: &Signature) -> String {
    let fingerprint = signature.issuer_fingerprint().first().map(ToString::to_string);
    let name = fingerprint.or_else(|| signature.issuer_key_id().first().map(ToString::to_string));
    name.map(|name| format!("by the key {} ", name.to_uppercase())).unwrap_or_default()
}

/// Whether it says that this key made it; one that says nothing may be by any.
fn is_by(signature: &Signature, part: Part<'_>) -> bool {
    let (fingerprint, id) = match part {
        Part::Primary(key) => (key.fingerprint(), key.legacy_key_id()),
        Part::Sub(key) => (key.fingerprint(), key.legacy_key_id()),
    };
    let (fingerprints, ids) = (signature.issuer_fingerprint(), signature.issuer_key_id());
    match (fingerprints.as_slice(), ids.as_slice()) {
        ([], []) => true,
        ([], ids) => ids.contains(&&id),
        (fingerprints, _) => fingerprints.contains(&&fingerprint),
    }
}

fn created(part: Part<'_>) -> pgp::types::Timestamp {
    match part {
        Part::Primary(key) => key.created_at(),
        Part::Sub(key) => key.created_at(),
    }
}

fn verifies(signature: &Signature, part: Part<'_>, digest: &[u8]) -> bool {
    let (Some(config), Some(bytes), Some(begin)) =
        (signature.config(), signature.signature(), signature.signed_hash_value())
    else {
        return false;
    };
    let version = match part {
        Part::Primary(key) => key.version(),
        Part::Sub(key) => key.version(),
    };
    let is_of_v6 = matches!(config.version_specific, SignatureVersionSpecific::V6 { .. });
    if digest.get(..2) != Some(&begin[..]) || is_of_v6 != (version == KeyVersion::V6) {
        return false;
    }
    match part {
        Part::Primary(key) => key.verify(config.hash_alg, digest, bytes),
        Part::Sub(key) => key.verify(config.hash_alg, digest, bytes),
    }
    .is_ok()
}

struct Hash {
    inner: Box<dyn DynDigest + Send>,
    algorithm: HashAlgorithm,
    kind: SignatureType,
    was_return: bool,
}

impl Hash {
    /// None for signatures of other things than content, and for hashes for which two contents can be made that fit one signature.
    fn new(algorithm: HashAlgorithm, kind: SignatureType, salt: &[u8]) -> Option<Self> {
        use HashAlgorithm::{Sha3_256, Sha3_512, Sha224, Sha256, Sha384, Sha512};
        let is_strong = matches!(algorithm, Sha224 | Sha256 | Sha384 | Sha512 | Sha3_256 | Sha3_512);
        let is_of_content = matches!(kind, SignatureType::Binary | SignatureType::Text);
        let mut inner = (is_strong && is_of_content).then(|| algorithm.new_hasher().ok()).flatten()?;
        inner.update(salt);
        Some(Self { inner, algorithm, kind, was_return: false })
    }

    fn update(&mut self, content: &[u8]) {
        if self.kind == SignatureType::Binary {
            self.inner.update(content);
            return;
        }
        // Text is signed with `\r\n` at the end of its lines, whatever stands there.
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let Some(text) = line.strip_suffix(b"\n") else {
                self.inner.update(line);
                self.was_return = line.ends_with(b"\r");
                continue;
            };
            let has_return = if text.is_empty() { self.was_return } else { text.ends_with(b"\r") };
            self.inner.update(text);
            self.inner.update(if has_return { b"\n" } else { b"\r\n" });
            self.was_return = false;
        }
    }

    /// With what the signature says of itself; none where it is not of this hash.
    fn of(mut self, signature: &Signature) -> Option<Box<[u8]>> {
        let config = signature.config()?;
        if config.hash_alg != self.algorithm || config.typ != self.kind {
            return None;
        }
        let length = config.hash_signature_data(&mut self.inner).ok()?;
        self.inner.update(&config.trailer(length).ok()?);
        Some(self.inner.finalize())
    }
}
