//! Values that lie encrypted on the disk, and the keys by which they do.
//!
//! ```text
//! sealed value:  version u8 = 2 | key u64 | nonce 24 bytes | what was sealed, encrypted | tag 16 bytes
//! ```
//!
//! XChaCha20-Poly1305: nonces are random, and long enough that none comes twice, whatever is killed or restored. A value is bound to its place
//! (the row's key) as associated data: under another one it does not open. A key is an age identity; what encrypts is derived from it by
//! BLAKE3, and it is known by the first bytes of a hash of its public key.
//!
//! Keys are never shown: what is told of one is its public key.

mod command;
mod error;
mod keys;
mod process;

use std::fmt;
use std::io::{self, BufReader, Read as _, Seek as _};
use std::path::Path;
use std::sync::Arc;

use age::secrecy::ExposeSecret as _;
use chacha20poly1305::aead::rand_core::RngCore as _;
use chacha20poly1305::aead::{AeadInPlace as _, KeyInit as _, OsRng};
use chacha20poly1305::{Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use crate::durable_fs;

pub(crate) use error::{KeysError, Unopened};
pub(crate) use keys::{load, load_if_made, load_or_make};

/// The first byte of a sealed value; others have other versions.
const VERSION: u8 = 2;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + ID_BYTES + NONCE_BYTES;
/// By so many bytes a value becomes longer.
pub(crate) const SEAL_BYTES: usize = HEAD_BYTES + TAG_BYTES;
/// How a file begins that age encrypted.
const AGE: &[u8] = b"age-encryption.org/";
const ROWS: &str = "landfall 2026-11-30 at rest: rows";

type KeyId = [u8; ID_BYTES];

/// The keys of a data folder: the first encrypts, each decrypts.
pub(crate) struct KeyRing {
    first: Key,
    others: Vec<Key>,
    /// Where they came from, in words.
    from: String,
}

struct Key {
    id: KeyId,
    public: String,
    identity: age::x25519::Identity,
    rows: XChaCha20Poly1305,
}

impl Key {
    fn new(identity: age::x25519::Identity) -> Self {
        let public = identity.to_public().to_string();
        let secret = identity.to_string();
        let rows = Zeroizing::new(blake3::derive_key(ROWS, secret.expose_secret().as_bytes()));
        Self { id: id_of(&public), rows: XChaCha20Poly1305::new((&*rows).into()), public, identity }
    }
}

fn id_of(public: &str) -> KeyId {
    let mut id = KeyId::default();
    id.copy_from_slice(&blake3::hash(public.as_bytes()).as_bytes()[..ID_BYTES]);
    id
}

impl KeyRing {
    /// `from`: where they came from. None: there is no key among them.
    fn new(identities: Vec<age::x25519::Identity>, from: String) -> Option<Self> {
        let mut keys = identities.into_iter().map(Key::new);
        let first = keys.next()?;
        process::keep_out_of_dumps();
        Some(Self { first, others: keys.collect(), from })
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// Where they came from, in words.
    pub(crate) fn from(&self) -> &str {
        &self.from
    }

    /// The public key of the one that encrypts: files are encrypted to it as to any age recipient.
    pub(crate) fn recipient(&self) -> &str {
        &self.first.public
    }

    /// Whether a key of this public one is among them.
    pub(crate) fn has(&self, public: &str) -> bool {
        self.keys().any(|key| key.public == public)
    }

    /// Those that decrypt files, with their public keys.
    pub(crate) fn identities(&self) -> impl Iterator<Item = (&str, &age::x25519::Identity)> {
        self.keys().map(|key| (key.public.as_str(), &key.identity))
    }

    /// The public key of the one that decrypts a file; none: it is not encrypted.
    pub(crate) fn key_of_file(&self, path: &Path) -> io::Result<Option<&str>> {
        let mut file = durable_fs::open_source(path)?;
        let mut head = Vec::new();
        (&file).take(AGE.len() as u64).read_to_end(&mut head)?;
        if head != AGE {
            return Ok(None);
        }
        for (public, identity) in self.identities() {
            file.rewind()?;
            let decryptor = age::Decryptor::new_buffered(BufReader::new(&file)).map_err(io::Error::other)?;
            if decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).is_ok() {
                return Ok(Some(public));
            }
        }
        Err(io::Error::other("none of the keys decrypts it"))
    }

    /// Whether a value is sealed by the key that encrypts.
    pub(crate) fn is_by_first(&self, value: &[u8]) -> bool {
        is_sealed(value) && value.get(1..=ID_BYTES) == Some(&self.first.id[..])
    }

    /// Encrypts a value for its place.
    pub(crate) fn seal(&self, place: &[u8], clear: &[u8]) -> Result<Vec<u8>, Unopened> {
        let nonce = nonce()?;
        let mut sealed = Vec::with_capacity(clear.len() + SEAL_BYTES);
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.first.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(clear);
        let text = sealed.get_mut(HEAD_BYTES..).unwrap_or_default();
        let tag = self.first.rows.encrypt_in_place_detached(&nonce, place, text);
        sealed.extend_from_slice(&tag.map_err(|_| Unopened::TooLong)?);
        Ok(sealed)
    }

    /// Decrypts a value that lies in this place.
    pub(crate) fn open(&self, place: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        let (head, rest) = sealed.split_at_checked(HEAD_BYTES).ok_or(Unopened::Changed)?;
        let (text, tag) = rest.split_last_chunk::<TAG_BYTES>().ok_or(Unopened::Changed)?;
        let (id, nonce) = head.get(1..).unwrap_or_default().split_at(ID_BYTES);
        let key = self.keys().find(|key| key.id == id);
        let key = key.ok_or_else(|| Unopened::NoKey { from: self.from.clone() })?;
        let mut clear = text.to_vec();
        let opened = key.rows.decrypt_in_place_detached(
            XNonce::from_slice(nonce),
            place,
            &mut clear,
            Tag::from_slice(tag),
        );
        opened.map(|()| clear).map_err(|_| Unopened::Changed)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys().map(|key| &key.public)).finish()
    }
}

/// Whether a value is encrypted.
pub(crate) fn is_sealed(value: &[u8]) -> bool {
    value.first() == Some(&VERSION)
}

fn nonce() -> Result<XNonce, Unopened> {
    let mut nonce = XNonce::default();
    OsRng.try_fill_bytes(&mut nonce).map_err(|error| Unopened::NoRandom { detail: error.to_string() })?;
    Ok(nonce)
}

/// For what this process writes and reads again, and nobody after it: a key that it has in memory alone.
pub(crate) struct PassingKey(XChaCha20Poly1305);

/// What is known of a value that was sealed by a [`PassingKey`], and never lies on the disk.
pub(crate) struct PassingSeal {
    nonce: XNonce,
    tag: Tag,
}

impl PassingKey {
    pub(crate) fn new() -> Result<Arc<Self>, Unopened> {
        let mut key = Zeroizing::new([0; 32]);
        let random = OsRng.try_fill_bytes(&mut *key);
        random.map_err(|error| Unopened::NoRandom { detail: error.to_string() })?;
        process::keep_out_of_dumps();
        Ok(Arc::new(Self(XChaCha20Poly1305::new((&*key).into()))))
    }

    /// Encrypts where it lies.
    pub(crate) fn seal(&self, place: &[u8], value: &mut [u8]) -> Result<PassingSeal, Unopened> {
        let nonce = nonce()?;
        let tag = self.0.encrypt_in_place_detached(&nonce, place, value);
        Ok(PassingSeal { nonce, tag: tag.map_err(|_| Unopened::TooLong)? })
    }

    /// Decrypts where it lies.
    pub(crate) fn open(&self, place: &[u8], seal: &PassingSeal, value: &mut [u8]) -> Result<(), Unopened> {
        let opened = self.0.decrypt_in_place_detached(&seal.nonce, place, value, &seal.tag);
        opened.map_err(|_| Unopened::Changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl KeyRing {
        /// Of a random key that nobody else knows.
        pub(crate) fn random(keys: usize) -> Self {
            let identities = std::iter::repeat_with(age::x25519::Identity::generate).take(keys).collect();
            Self::new(identities, "a test".to_owned()).expect("there is one")
        }

        /// The same keys, the one at this position first.
        pub(crate) fn with_first(&self, position: usize) -> Self {
            let mut identities: Vec<_> = self.keys().map(|key| key.identity.clone()).collect();
            let first = identities.remove(position);
            identities.insert(0, first);
            Self::new(identities, "a test".to_owned()).expect("there is one")
        }

        /// Only the first of them.
        pub(crate) fn first_alone(&self) -> Self {
            Self::new(vec![self.first.identity.clone()], "a test".to_owned()).expect("there is one")
        }
    }

    #[test]
    fn a_value_opens_in_its_place_and_in_no_other() {
        let ring = KeyRing::random(1);
        let sealed = ring.seal(b"f job 1", b"a record").expect("seals");
        assert_eq!(ring.open(b"f job 1", &sealed).expect("opens"), b"a record");
        assert!(!sealed.windows(8).any(|bytes| bytes == b"a record"));
        for other in [&b"f job 2"[..], b"f jab 1", b""] {
            assert!(matches!(ring.open(other, &sealed), Err(Unopened::Changed)));
        }
        let again = ring.seal(b"f job 1", b"a record").expect("seals");
        assert_ne!(sealed, again, "no nonce comes twice");
    }

    #[test]
    fn a_value_that_was_cut_or_changed_does_not_open() {
        let ring = KeyRing::random(1);
        let sealed = ring.seal(b"place", b"a record").expect("seals");
        for length in 0..sealed.len() {
            ring.open(b"place", &sealed[..length]).expect_err("it was cut");
        }
        for at in 1..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            ring.open(b"place", &changed).expect_err("it was changed");
        }
    }

    #[test]
    fn each_key_opens_and_the_first_one_seals() {
        let old = KeyRing::random(2);
        let by_old = old.seal(b"place", b"x").expect("seals");
        let new = old.with_first(1);
        assert_eq!(new.open(b"place", &by_old).expect("opens"), b"x");
        assert!(old.is_by_first(&by_old) && !new.is_by_first(&by_old));
        let by_new = new.seal(b"place", b"x").expect("seals");
        assert!(matches!(old.first_alone().open(b"place", &by_new), Err(Unopened::NoKey { .. })));
        assert_eq!(old.open(b"place", &by_new).expect("opens"), b"x");
    }

    #[test]
    fn what_is_shown_of_keys_is_public() {
        let ring = KeyRing::random(2);
        let shown = format!("{ring:?}");
        assert!(shown.contains(ring.recipient()) && !shown.contains("SECRET"), "{shown}");
    }

    #[test]
    fn what_passes_opens_by_its_own_seal_alone() {
        let key = PassingKey::new().expect("there is randomness");
        let (mut one, mut other) = (b"one".to_vec(), b"two".to_vec());
        let seals = [&mut one, &mut other].map(|value| key.seal(b"file 1", value).expect("seals"));
        key.open(b"file 1", &seals[1], &mut one.clone()).expect_err("it is another's seal");
        key.open(b"file 2", &seals[0], &mut one.clone()).expect_err("it is another place");
        key.open(b"file 1", &seals[0], &mut one).expect("opens");
        assert_eq!(one, b"one");
    }
}
