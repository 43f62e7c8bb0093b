//! Keys as files have them: which of their parts may sign or be encrypted to, until when, and whether they were revoked.
//!
//! A part counts only by a signature of its own key that verifies, the newest one: what merely lies beside it says nothing.

use jiff::Timestamp;
use pgp::composed::{PublicOrSecret, SignedPublicKey, SignedPublicSubKey, SignedSecretKey};
use pgp::packet::{PublicKey, PublicSubkey, Signature, SignatureType, SubpacketData, SubpacketType};
use pgp::types::{DecryptionKey, EskType, KeyDetails, Password, PkeskVersion, Tag};

use super::algorithms::{can_encrypt, unsupported, unverifiable};
use super::unlock::{Locks, SessionKey, Tried, is_plausible};

const ARMOR: &[u8] = b"-----BEGIN PGP ";
const PUBLIC: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
const SECRET: &[u8] = b"-----BEGIN PGP PRIVATE KEY BLOCK-----";
/// Clocks differ: what was made later than this from now does not count yet.
const AHEAD_SECONDS: u64 = 24 * 60 * 60;

/// How often a key is tried on one packet: each try may have to undo its passphrase, and whoever knows our public keys can name them often.
const TRIES_MAX: usize = 32;

/// Whether a key file holds keys of `OpenPGP`, and none of another kind.
pub(crate) fn holds_keys(bytes: &[u8]) -> bool {
    let is_binary = matches!(bytes, [0x98 | 0x99 | 0xc6, ..]) || is_binary_secret(bytes);
    is_binary || [PUBLIC, SECRET].iter().any(|begin| memchr::memmem::find(bytes, begin).is_some())
}

/// The same, of secret ones.
pub(crate) fn holds_secret_keys(bytes: &[u8]) -> bool {
    is_binary_secret(bytes) || memchr::memmem::find(bytes, SECRET).is_some()
}

fn is_binary_secret(bytes: &[u8]) -> bool {
    matches!(bytes, [0x94 | 0x95 | 0xc5, ..])
}

/// What a key is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Sign,
    Encrypt,
}

/// How long a key, or a part of one, can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lasts {
    Ever,
    Until(Timestamp),
    /// It has expired.
    Lapsed(Timestamp),
    Revoked,
    /// It has no part for this.
    Unfit,
}

impl Lasts {
    pub(crate) fn is_usable(self) -> bool {
        matches!(self, Self::Ever | Self::Until(_))
    }

    /// The better one of two that may be used in each other's place.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ever, _) | (_, Self::Ever) => Self::Ever,
            (Self::Until(one), Self::Until(two)) => Self::Until(one.max(two)),
            (until @ Self::Until(_), _) | (_, until @ Self::Until(_)) => until,
            (Self::Lapsed(one), Self::Lapsed(two)) => Self::Lapsed(one.max(two)),
            (lapsed @ Self::Lapsed(_), _) | (_, lapsed @ Self::Lapsed(_)) => lapsed,
            (Self::Revoked, _) | (_, Self::Revoked) => Self::Revoked,
            (Self::Unfit, Self::Unfit) => Self::Unfit,
        }
    }

    /// A part that lasts no longer than its whole.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unfit, _) | (_, Self::Unfit) => Self::Unfit,
            (Self::Revoked, _) | (_, Self::Revoked) => Self::Revoked,
            (Self::Lapsed(one), Self::Lapsed(two)) => Self::Lapsed(one.min(two)),
            (lapsed @ Self::Lapsed(_), _) | (_, lapsed @ Self::Lapsed(_)) => lapsed,
            (Self::Until(one), Self::Until(two)) => Self::Until(one.min(two)),
            (until @ Self::Until(_), Self::Ever) | (Self::Ever, until @ Self::Until(_)) => until,
            (Self::Ever, Self::Ever) => Self::Ever,
        }
    }

    fn of(created: u32, seconds: Option<u32>, now: Timestamp) -> Self {
        let Some(seconds) = seconds.filter(|seconds| *seconds > 0) else { return Self::Ever };
        let end = Timestamp::from_second(i64::from(created) + i64::from(seconds));
        match end {
            Ok(end) if end <= now => Self::Lapsed(end),
            Ok(end) => Self::Until(end),
            Err(_) => Self::Ever, // behind the end of the calendar
        }
    }
}

/// One key with its parts, as it is handed to others.
pub(crate) struct Certificate(SignedPublicKey);

/// A part that may sign, or be encrypted to.
#[derive(Clone, Copy)]
pub(super) enum Part<'k> {
    Primary(&'k PublicKey),
    Sub(&'k PublicSubkey),
}

impl Certificate {
    /// Its fingerprint, in capitals.
    pub(crate) fn name(&self) -> String {
        self.0.primary_key.fingerprint().to_string().to_uppercase()
    }

    /// How long it can be used for this, by whichever of its parts lasts longest.
    pub(crate) fn lasts(&self, purpose: Purpose, now: Timestamp) -> Lasts {
        self.parts(purpose, now).into_iter().fold(Lasts::Unfit, |lasts, (_, of_part)| lasts.or(of_part))
    }

    /// By which algorithm it, or the part that it would be used by, is that cannot be used here; none: that is not why it is unfit.
    pub(crate) fn unsupported(&self, purpose: Purpose) -> Option<String> {
        let mut subs = self.0.public_subkeys.iter().map(|sub| &sub.key);
        // What a key says of its parts is signed by it.
        unverifiable(&self.0.primary_key).or_else(|| match purpose {
            Purpose::Sign => subs.find_map(unverifiable),
            Purpose::Encrypt => subs.filter(|sub| !sub.algorithm().can_sign()).find_map(unsupported),
        })
    }

    /// All its parts, whatever they are for.
    pub(super) fn all_parts(&self) -> impl Iterator<Item = Part<'_>> {
        let subs = self.0.public_subkeys.iter().map(|sub| Part::Sub(&sub.key));
        std::iter::once(Part::Primary(&self.0.primary_key)).chain(subs)
    }

    /// Its parts for this, with how long each lasts.
    pub(super) fn parts(&self, purpose: Purpose, now: Timestamp) -> Vec<(Part<'_>, Lasts)> {
        let primary = &self.0.primary_key;
        let Some(own) = newest(self.own_signatures(), now) else { return Vec::new() };
        let mut whole = Lasts::of(
            primary.created_at().as_secs(),
            own.key_expiration_time().map(pgp::types::Duration::as_secs),
            now,
        );
        if self
            .0
            .details
            .revocation_signatures
            .iter()
            .any(|revocation| revocation.verify_key(primary).is_ok())
        {
            whole = Lasts::Revoked;
        }
        let mut parts = Vec::new();
        if may(own, purpose, primary, purpose == Purpose::Sign) {
            parts.push((Part::Primary(primary), whole));
        }
        for sub in &self.0.public_subkeys {
            if let Some(lasts) = lasts_of(primary, sub, purpose, now) {
                parts.push((Part::Sub(&sub.key), lasts.and(whole)));
            }
        }
        parts
    }

    fn own_signatures(&self) -> impl Iterator<Item = &Signature> {
        let (primary, details) = (&self.0.primary_key, &self.0.details);
        let direct = details.direct_signatures.iter();
        let direct = direct
            .filter(move |own| own.typ() == Some(SignatureType::Key) && own.verify_key(primary).is_ok());
        let users = details.users.iter().flat_map(move |user| {
            let verifies =
                move |own: &&Signature| own.verify_certification(primary, Tag::UserId, &user.id).is_ok();
            let revocation = |own: &&Signature| own.typ() == Some(SignatureType::CertRevocation);
            let is_revoked = user.signatures.iter().filter(revocation).any(|own| verifies(&own));
            let certified =
                |own: &&Signature| own.is_certification() && own.typ() != Some(SignatureType::CertRevocation);
            user.signatures.iter().filter(move |own| !is_revoked && certified(own) && verifies(own))
        });
        direct.chain(users)
    }
}

/// Until when a subkey lasts that may be used for this.
fn lasts_of(
    primary: &PublicKey,
    sub: &SignedPublicSubKey,
    purpose: Purpose,
    now: Timestamp,
) -> Option<Lasts> {
    let of_type = |wanted| {
        sub.signatures.iter().filter(move |own| {
            own.typ() == Some(wanted) && own.verify_subkey_binding(primary, &sub.key).is_ok()
        })
    };
    let binding = newest(of_type(SignatureType::SubkeyBinding), now)?;
    if !may(binding, purpose, &sub.key, false) {
        return None;
    }
    // Else somebody could take another's signing key for his own.
    let signs_back = |binding: &Signature| {
        let back = binding.embedded_signature().filter(|back| not_understood(back).is_none());
        back.is_some_and(|back| back.verify_primary_key_binding(&sub.key, primary).is_ok())
    };
    if purpose == Purpose::Sign && !signs_back(binding) {
        return None;
    }
    if of_type(SignatureType::SubkeyRevocation).next().is_some() {
        return Some(Lasts::Revoked);
    }
    let seconds = binding.key_expiration_time().map(pgp::types::Duration::as_secs);
    Some(Lasts::of(sub.key.created_at().as_secs(), seconds, now))
}

/// The last word of a key about itself, or about a part.
fn newest<'s>(signatures: impl Iterator<Item = &'s Signature>, now: Timestamp) -> Option<&'s Signature> {
    signatures
        .filter(|own| is_in_force(own, now) && not_understood(own).is_none())
        .max_by_key(|own| own.created().map(pgp::types::Timestamp::as_secs))
}

/// Whether a signature was made by now, and has not expired.
pub(super) fn is_in_force(signature: &Signature, now: Timestamp) -> bool {
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    let Some(created) = signature.created().map(|time| u64::from(time.as_secs())) else { return false };
    let lasts = signature.signature_expiration_time().map(|time| u64::from(time.as_secs()));
    let has_expired = lasts.is_some_and(|lasts| lasts > 0 && created + lasts <= now);
    created <= now + AHEAD_SECONDS && !has_expired
}

/// What a signature says that whoever does not know it must not pass over (RFC 9580, 5.2.3.7): no notation is known here. A revocation is
/// not asked for it: what could be meant to revoke a key is taken so.
pub(super) fn not_understood(signature: &Signature) -> Option<String> {
    let parts = signature.config()?.hashed_subpackets();
    parts.filter(|part| part.is_critical).find_map(|part| match (&part.data, part.typ()) {
        (SubpacketData::Notation(notation), _) => {
            let name = String::from_utf8_lossy(&notation.name);
            let name: String = name.chars().take(100).collect();
            Some(format!("notation `{}`", name.escape_debug()))
        }
        (_, SubpacketType::Experimental(kind) | SubpacketType::Other(kind)) => {
            Some(format!("subpacket of type {kind}"))
        }
        _ => None,
    })
}

/// Whether the flags of a key allow it; old keys have none.
fn may(own: &Signature, purpose: Purpose, key: &impl KeyDetails, signs_without_flags: bool) -> bool {
    let able = match purpose {
        Purpose::Sign => key.algorithm().can_sign() && unverifiable(key).is_none(),
        Purpose::Encrypt => unsupported(key).is_none(),
    };
    let has_flags = own.config().is_some_and(|config| {
        config.hashed_subpackets().any(|part| matches!(part.data, SubpacketData::KeyFlags(_)))
    });
    let flags = own.key_flags();
    able && match purpose {
        Purpose::Sign if has_flags => flags.sign(),
        Purpose::Sign => signs_without_flags,
        Purpose::Encrypt if has_flags => flags.encrypt_comms() || flags.encrypt_storage(),
        Purpose::Encrypt => true,
    }
}

/// What secret keys are good for here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unlocks {
    /// One of them at least can open messages.
    Some,
    /// Those that could are protected by another passphrase, or their secret parts are elsewhere.
    None,
    /// All that would are of an algorithm that cannot be used.
    Unsupported(String),
}

/// Secret keys of one file.
pub(crate) struct SecretKeys(Vec<SignedSecretKey>);

impl SecretKeys {
    /// Of a file that is armored or not; what is wrong with it, in words without any of it.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let keys = all_keys(bytes)?.into_iter().filter_map(|key| match key {
            PublicOrSecret::Secret(key) => Some(key),
            PublicOrSecret::Public(_) => None,
        });
        let keys: Vec<_> = keys.collect();
        if keys.is_empty() { Err("it holds no secret key of OpenPGP") } else { Ok(Self(keys)) }
    }

    /// What they are to others.
    pub(crate) fn certificates(&self) -> Vec<Certificate> {
        self.0.iter().map(|key| Certificate(key.to_public_key())).collect()
    }

    /// Whether any part that could open a message is in clear, or by this passphrase.
    pub(crate) fn unlocks(&self, passphrase: Option<&[u8]>) -> Unlocks {
        let passphrase = passphrase.map_or_else(Password::empty, Password::from);
        let mut best = Unlocks::Unsupported("an algorithm that only signs".to_owned());
        for key in &self.0 {
            let primary = &key.primary_key;
            if can_encrypt(primary.algorithm()) {
                if primary.unlock(&passphrase, |_, _| Ok(())).is_ok() {
                    return Unlocks::Some;
                }
                best = Unlocks::None;
            }
            for sub in key.secret_subkeys.iter().map(|sub| &sub.key) {
                match unsupported(sub.public_key()) {
                    Some(_) if sub.algorithm().can_sign() => {}
                    Some(algorithm) => {
                        if matches!(best, Unlocks::Unsupported(_)) {
                            best = Unlocks::Unsupported(algorithm);
                        }
                    }
                    None if sub.unlock(&passphrase, |_, _| Ok(())).is_ok() => return Unlocks::Some,
                    None => best = Unlocks::None,
                }
            }
        }
        best
    }

    /// Tries them on a message, whatever their flags say and however old they are: what was written to them is to be read.
    pub(crate) fn open(&self, locks: &Locks, passphrase: Option<&[u8]>) -> Tried {
        let passphrase = passphrase.map_or_else(Password::empty, Password::from);
        let mut best = Tried::NotForIt;
        let mut tries = 0;
        for lock in &locks.keys {
            let kind = match lock.version() {
                PkeskVersion::V3 => EskType::V3_4,
                PkeskVersion::V6 => EskType::V6,
                PkeskVersion::Other(_) => continue,
            };
            let Ok(values) = lock.values() else { continue };
            let is_named =
                lock.id().is_ok_and(|id| !id.is_wildcard()) || matches!(lock.fingerprint(), Ok(Some(_)));
            let mut attempt = |key: &dyn DecryptionKey, is_locked: bool, unsupported: Option<String>| {
                if let Some(algorithm) = unsupported {
                    // What is known of another key says more: it may be mended.
                    if matches!(best, Tried::NotForIt) {
                        best = Tried::Unsupported(algorithm);
                    }
                    return None;
                }
                tries += 1;
                if tries > TRIES_MAX {
                    return None;
                }
                match key.decrypt(&passphrase, values, kind) {
                    Ok(Ok(key)) if is_plausible(&key) => {
                        Some(Tried::Opened(SessionKey { key, is_of_passphrase: false }))
                    }
                    Err(_) if is_locked => {
                        best = Tried::Locked;
                        None
                    }
                    Ok(_) | Err(_) => {
                        if is_named && !matches!(best, Tried::Locked) {
                            best = Tried::Failed;
                        }
                        None
                    }
                }
            };
            for key in &self.0 {
                let primary = &key.primary_key;
                if lock.match_identity(primary.public_key())
                    && can_encrypt(primary.algorithm())
                    && let Some(opened) = attempt(primary, primary.secret_params().is_encrypted(), None)
                {
                    return opened;
                }
                for sub in key.secret_subkeys.iter().map(|sub| &sub.key) {
                    if lock.match_identity(sub.public_key())
                        && let Some(opened) =
                            attempt(sub, sub.secret_params().is_encrypted(), unsupported(sub.public_key()))
                    {
                        return opened;
                    }
                }
            }
        }
        best
    }
}

/// Whether there is any secret key in a file, whatever else is.
pub(crate) fn has_secret_key(bytes: &[u8]) -> bool {
    let is_secret = |key: &PublicOrSecret| matches!(key, PublicOrSecret::Secret(_));
    holds_secret_keys(bytes)
        || holds_keys(bytes) && all_keys(bytes).is_ok_and(|keys| keys.iter().any(is_secret))
}

/// All keys of a file, as others have them.
pub(crate) fn certificates(bytes: &[u8]) -> Result<Vec<Certificate>, &'static str> {
    let public = all_keys(bytes)?.into_iter().map(|key| match key {
        PublicOrSecret::Public(key) => Certificate(key),
        PublicOrSecret::Secret(key) => Certificate(key.to_public_key()),
    });
    let public: Vec<_> = public.collect();
    if public.is_empty() { Err("it holds no key of OpenPGP") } else { Ok(public) }
}

fn all_keys(bytes: &[u8]) -> Result<Vec<PublicOrSecret>, &'static str> {
    const DAMAGED: &str = "its OpenPGP keys are damaged, or of a kind that is not known";
    let mut keys = Vec::new();
    if memchr::memmem::find(bytes, ARMOR).is_none() {
        for key in PublicOrSecret::from_bytes_many(bytes).map_err(|_| DAMAGED)? {
            keys.push(key.map_err(|_| DAMAGED)?);
        }
        return Ok(keys);
    }
    // One block after another.
    let begins: Vec<usize> = memchr::memmem::find_iter(bytes, ARMOR).collect();
    for (number, begin) in begins.iter().enumerate() {
        let end = begins.get(number + 1).copied().unwrap_or(bytes.len());
        let block = bytes.get(*begin..end).unwrap_or_default();
        let (found, _) = PublicOrSecret::from_armor_many_buf(block).map_err(|_| DAMAGED)?;
        for key in found {
            keys.push(key.map_err(|_| DAMAGED)?);
        }
    }
    Ok(keys)
}
