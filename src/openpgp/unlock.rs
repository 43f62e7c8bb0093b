//! What opens an encrypted packet: session keys, and the packets that give them to who has the right key or passphrase.

use pgp::composed::PlainSessionKey;
use pgp::packet::{PublicKeyEncryptedSessionKey, SymKeyEncryptedSessionKey};
use pgp::ser::Serialize as _;
use pgp::types::{PkeskVersion, SkeskVersion, StringToKey};

use super::algorithms::unsupported_lock;
use super::error::Unread;

/// So many stand before what they open.
const LOCKS_MAX: usize = 256;
/// All that stands before one packet: each is of a few hundred bytes, and what nobody knows could be of any length.
const LOCKS_BYTES_MAX: usize = 512 << 10;
/// Each takes up to a quarter of a second.
const PASSPHRASES_MAX: usize = 16;
/// Passes of Argon2, of all that stand before one packet together, each over as much as one may take: its authors recommend 1 or 3.
const PASSES_MAX: u64 = 4;

/// The key of an encrypted packet's content; wiped when it is dropped.
pub(crate) struct SessionKey {
    pub(super) key: PlainSessionKey,
    pub(super) is_of_passphrase: bool,
}

/// What a key says to a message.
pub(crate) enum Tried {
    Opened(SessionKey),
    /// It is for another key.
    NotForIt,
    /// It is for this one, which is itself protected by a passphrase that is not known.
    Locked,
    /// It is for this one, by an algorithm that cannot be used.
    Unsupported(String),
    /// It is for this one, and does not open all the same.
    Failed,
}

/// The packets before an encrypted one.
#[derive(Default)]
pub(crate) struct Locks {
    pub(super) keys: Vec<PublicKeyEncryptedSessionKey>,
    pub(super) passphrases: Vec<SymKeyEncryptedSessionKey>,
    /// What the encrypted packet begins with, where a key can be tried on it; else empty.
    pub(super) prefix: Vec<u8>,
    pub(super) bytes: usize,
}

impl Locks {
    pub(super) fn add_key(&mut self, lock: PublicKeyEncryptedSessionKey) -> Result<(), Unread> {
        self.bytes = self.bytes.saturating_add(lock.write_len());
        self.keys.push(lock);
        self.check_sum()
    }

    pub(super) fn add_passphrase(&mut self, lock: SymKeyEncryptedSessionKey) -> Result<(), Unread> {
        self.bytes = self.bytes.saturating_add(lock.write_len());
        self.passphrases.push(lock);
        self.check_sum()
    }

    fn check_sum(&self) -> Result<(), Unread> {
        let are_too_many = self.keys.len() > LOCKS_MAX || self.passphrases.len() > PASSPHRASES_MAX;
        if are_too_many || self.bytes > LOCKS_BYTES_MAX {
            return Err(Unread::Corrupt("it is encrypted to too many keys or passphrases".to_owned()));
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.passphrases.is_empty()
    }

    /// Those of versions that may stand before such a packet.
    pub(super) fn of_versions(mut self, keys: PkeskVersion, passphrases: &[SkeskVersion]) -> Self {
        self.keys.retain(|lock| lock.version() == keys);
        self.passphrases.retain(|lock| passphrases.contains(&lock.version()));
        self
    }

    /// Whether a passphrase may open it.
    pub(crate) fn takes_passphrase(&self) -> bool {
        !self.passphrases.is_empty()
    }

    /// All that a passphrase is tried on, in bytes.
    pub(crate) fn of_passphrases(&self) -> Vec<u8> {
        let mut bytes = vec![self.prefix.len() as u8]; // less than two blocks
        bytes.extend_from_slice(&self.prefix);
        for lock in &self.passphrases {
            bytes.push(lock.version().into());
            lock.to_writer(&mut bytes).ok(); // a vector takes all
        }
        bytes
    }

    /// Whether a key may open it.
    pub(crate) fn takes_key(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Whether one key alone may open it.
    pub(crate) fn has_one(&self) -> bool {
        self.keys.len() == 1 && self.passphrases.is_empty()
    }

    /// The algorithm that all keys which it is encrypted to are of, where it cannot be used.
    pub(crate) fn unsupported(&self) -> Option<String> {
        let mut of_each = self.keys.iter().map(unsupported_lock);
        let first = of_each.next()??;
        of_each.all(|other| other.is_some()).then_some(first)
    }

    /// The keys that it is encrypted to, as messages name them.
    pub(crate) fn recipients(&self) -> String {
        let mut names: Vec<String> = Vec::new();
        for lock in &self.keys {
            let name = match (lock.id(), lock.fingerprint()) {
                (Ok(id), _) if !id.is_wildcard() => id.to_string().to_uppercase(),
                (_, Ok(Some(fingerprint))) => fingerprint.to_string().to_uppercase(),
                _ => "a key that it does not name".to_owned(),
            };
            if !names.contains(&name) && names.len() < 8 {
                names.push(name);
            }
        }
        names.join(", ")
    }
}

/// Memory that deriving keys from a passphrase takes at most, as Argon2 says it; refused where it is 2^n KiB of more than `factor_max`.
pub(crate) fn memory_bytes(locks: &Locks, factor_max: u8) -> Result<u64, Unread> {
    let (mut bytes, mut work) = (0_u64, 0_u64);
    for lock in &locks.passphrases {
        let Some(StringToKey::Argon2 { t, m_enc, .. }) = lock.s2k() else { continue };
        if *m_enc > factor_max {
            return Err(Unread::WorkFactor { factor: *m_enc });
        }
        let memory = 1024_u64.checked_shl(u32::from(*m_enc)).unwrap_or(u64::MAX);
        bytes = bytes.max(memory);
        work = work.saturating_add(memory.saturating_mul(u64::from(*t)));
    }
    let most = 1024_u64.checked_shl(u32::from(factor_max)).unwrap_or(u64::MAX).saturating_mul(PASSES_MAX);
    if work > most {
        let what = "its passphrases ask for more work than `decode.work_factor_max` allows one file";
        return Err(Unread::Corrupt(what.to_owned()));
    }
    Ok(bytes)
}

/// What a passphrase gives; none where it is another than the message was encrypted with.
pub(crate) fn by_passphrase(locks: &Locks, passphrase: &[u8]) -> Option<SessionKey> {
    let passphrase = pgp::types::Password::from(passphrase);
    let opened = |lock| {
        let key = pgp::composed::decrypt_session_key_with_password(lock, &passphrase).ok()?;
        let fits = is_plausible(&key) && fits_prefix(&key, &locks.prefix);
        fits.then_some(SessionKey { key, is_of_passphrase: true })
    };
    locks.passphrases.iter().find_map(opened)
}

/// The last two bytes of the first block stand there twice. Never asked of keys that were encrypted to somebody: who may send changed
/// messages and see what becomes of them could learn from it what is in another.
fn fits_prefix(key: &PlainSessionKey, prefix: &[u8]) -> bool {
    let PlainSessionKey::V3_4 { sym_alg, key } = key else { return true };
    let block = sym_alg.block_size();
    let Some(begin) = prefix.get(..block + 2).filter(|_| block >= 2) else { return true };
    let mut begin = begin.to_vec();
    let is_decrypted = sym_alg.decrypt_with_iv_regular(key.as_ref(), &vec![0; block], &mut begin).is_ok();
    is_decrypted && begin[block - 2..block] == begin[block..]
}

/// The crate takes keys of any length for the cipher that they name.
pub(super) fn is_plausible(key: &PlainSessionKey) -> bool {
    match key {
        PlainSessionKey::V3_4 { sym_alg, key } => sym_alg.key_size() > 0 && sym_alg.key_size() == key.len(),
        PlainSessionKey::V5 { key } | PlainSessionKey::V6 { key } => !key.is_empty(),
    }
}
