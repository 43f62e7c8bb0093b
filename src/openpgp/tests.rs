//! Messages that the crate wrote, whole and hostile: gpg of today writes no tags, and nobody writes the bombs.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use jiff::Timestamp;
use pgp::composed::{
    EncryptionCaps, KeyType, MessageBuilder, SecretKeyParamsBuilder, SignedSecretKey, SubkeyParamsBuilder,
};
use pgp::crypto::aead::{AeadAlgorithm, ChunkSize};
use pgp::crypto::ecc_curve::ECCCurve;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::ser::Serialize as _;
use pgp::types::{CompressionAlgorithm, Password};
use rand::rngs::OsRng;

use super::*;
use crate::allowance::{Allowance, Permit};

fn now() -> Timestamp {
    crate::clock::now()
}

/// A key that signs, with a part that is encrypted to.
fn key() -> SignedSecretKey {
    let mut params = SecretKeyParamsBuilder::default();
    let encrypts = SubkeyParamsBuilder::default()
        .key_type(KeyType::ECDH(ECCCurve::Curve25519Legacy))
        .can_encrypt(EncryptionCaps::All)
        .build()
        .expect("a part");
    params
        .key_type(KeyType::Ed25519Legacy)
        .can_certify(true)
        .can_sign(true)
        .primary_user_id("Somebody <some@body.org>".into())
        .subkeys(vec![encrypts]);
    params.build().expect("parameters").generate(OsRng).expect("a key")
}

fn bytes_of(key: &SignedSecretKey) -> Vec<u8> {
    key.to_bytes().expect("is written")
}

struct Rule {
    secret: Option<SecretKeys>,
    passphrase: &'static str,
    signers: Option<Vec<u8>>,
}

impl Reading for Rule {
    fn unlock(&mut self, locks: &Locks) -> Result<SessionKey, Unread> {
        if let Some(Tried::Opened(key)) = self.secret.as_ref().map(|keys| keys.open(locks, None)) {
            return Ok(key);
        }
        by_passphrase(locks, self.passphrase.as_bytes()).ok_or(Unread::Passphrase)
    }

    fn signers(&mut self) -> Result<Option<Vec<Signer>>, Unread> {
        let of = |certificate| Signer { certificate, file: "signers".into() };
        Ok(self
            .signers
            .as_ref()
            .map(|bytes| certificates(bytes).expect("keys").into_iter().map(of).collect()))
    }

    fn memory(&mut self, bytes: u64) -> Result<Permit, Unread> {
        Ok(Allowance::alone(96 << 20).take("a test", bytes).expect("is there"))
    }

    fn nested_max(&self) -> usize {
        2
    }
}

fn read_by(rule: &mut Rule, message: &[u8], expanded_max: u64) -> Result<Vec<u8>, io::Error> {
    let expanded = AtomicU64::new(0);
    let expanding: Expanding<'_> = Arc::new(move |bytes| {
        let sum = expanded.fetch_add(bytes, Relaxed) + bytes;
        if sum > expanded_max { Err(io::Error::other("too much")) } else { Ok(()) }
    });
    let mut opened = Message::open(Box::new(message), expanding, rule, now())?;
    let mut content = Vec::new();
    opened.read_to_end(&mut content)?;
    Ok(content)
}

fn read(rule: &mut Rule, message: &[u8]) -> Result<Vec<u8>, io::Error> {
    read_by(rule, message, 1 << 20)
}

fn content() -> Vec<u8> {
    (0..300).flat_map(|number| format!("payment {number}\n").into_bytes()).collect()
}

/// Goal: tags of each kind, to the last one.
#[test]
fn messages_with_tags_are_read_and_each_change_is_seen() {
    let key = key();
    let mut rule = Rule {
        secret: Some(SecretKeys::read(&bytes_of(&key)).expect("a key")),
        passphrase: "sesame",
        signers: Some(bytes_of(&key)),
    };
    for aead in [AeadAlgorithm::Ocb, AeadAlgorithm::Eax, AeadAlgorithm::Gcm] {
        let mut builder = MessageBuilder::from_bytes("", content()).seipd_v2(
            OsRng,
            SymmetricKeyAlgorithm::AES256,
            aead,
            ChunkSize::C512B,
        );
        builder.encrypt_to_key(OsRng, &key.secret_subkeys[0].public_key()).expect("encrypts");
        builder.sign(&key.primary_key, Password::empty(), pgp::crypto::hash::HashAlgorithm::Sha512);
        let message = builder.to_vec(OsRng).expect("is written");
        assert_eq!(read(&mut rule, &message).expect("is read"), content());
        for at in (0..message.len()).filter(|at| at % 29 == 0 || at + 40 > message.len()) {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert!(read(&mut rule, &changed).is_err(), "byte {at} was changed");
            assert!(read(&mut rule, &message[..at]).is_err(), "it was cut at {at}");
        }
        assert!(read(&mut rule, &[&message[..], b"x"].concat()).is_err(), "something follows it");
    }
}

#[test]
fn what_we_write_is_read_and_each_change_is_seen() {
    let key = key();
    let public = certificates(&bytes_of(&key)).expect("keys");
    let mut rule = Rule {
        secret: Some(SecretKeys::read(&bytes_of(&key)).expect("a key")),
        passphrase: "",
        signers: None,
    };
    for length in [0, 1, 65_529, 65_530, 65_531, 200_000] {
        let content: Vec<u8> = content().into_iter().cycle().take(length).collect();
        let mut sealer = Sealer::new(&public, false, Vec::new(), now()).expect("begins");
        for part in content.chunks(7_001) {
            sealer.write_all(part).expect("takes it");
        }
        let message = sealer.finish().expect("ends");
        assert_eq!(looks_like(&message), Some(Looks::Message));
        assert_eq!(read(&mut rule, &message).expect("is read"), content);
        for at in (0..message.len()).filter(|at| at % 7919 == 0 || at + 24 > message.len()) {
            let mut changed = message.clone();
            changed[at] ^= 1;
            assert!(read(&mut rule, &changed).is_err(), "of {length}, byte {at} was changed");
            assert!(read(&mut rule, &message[..at]).is_err(), "of {length}, it was cut at {at}");
        }
    }
}

/// Goal: what expands is stopped while it does, wherever it stands.
#[test]
fn bombs_are_stopped() {
    let mut rule = Rule { secret: None, passphrase: "", signers: None };
    let packed = |packets: &[u8]| {
        let mut deflate = flate2::write::DeflateEncoder::new(vec![0xa3, 1], flate2::Compression::best());
        deflate.write_all(packets).expect("packs");
        deflate.finish().expect("packs")
    };
    let literal = [&[0xcb, 8, b'b', 0, 0, 0, 0, 0][..], b"a\n"].concat();
    assert_eq!(read(&mut rule, &packed(&literal)).expect("is read"), b"a\n");
    // Nothing is said by a packet of padding: behind the content, and before it.
    let length = 64_u32 << 20;
    let mut padding = vec![0xd5, 0xff];
    padding.extend_from_slice(&length.to_be_bytes());
    padding.resize(padding.len() + length as usize, 0);
    for packets in [[&literal[..], &padding].concat(), [&padding[..], &literal].concat()] {
        let error = read(&mut rule, &packed(&packets)).expect_err("it expands");
        assert_eq!(error.to_string(), "too much");
    }
    // A hundred thousand signatures are announced.
    let announced = [&[0xc4, 13, 3, 0, 8, 22][..], &[7; 8], &[0]].concat().repeat(100_000);
    let error = read_by(&mut rule, &packed(&announced), u64::MAX).expect_err("there are too many");
    assert!(error.to_string().contains("signatures"), "{error}");
    let locks = [&[0xc3, 13, 4, 9, 3, 8][..], &[7; 8], &[255]].concat().repeat(1000);
    assert!(read(&mut rule, &locks).expect_err("there are too many").to_string().contains("passphrases"));
    // Within each other.
    let deep = (0..5).fold(literal, |inner, _| packed(&inner));
    let error = read(&mut rule, &deep).expect_err("it is too deep");
    assert!(error.to_string().contains("within each other"), "{error}");
}

/// Goal: input never panics, and what is damaged never ends well where something proves it.
#[test]
fn random_changes_panic_nowhere() {
    let key = key();
    let mut rule = Rule {
        secret: Some(SecretKeys::read(&bytes_of(&key)).expect("a key")),
        passphrase: "sesame",
        signers: Some(bytes_of(&key)),
    };
    let mut builder = MessageBuilder::from_bytes("", content());
    builder.sign(&key.primary_key, Password::empty(), pgp::crypto::hash::HashAlgorithm::Sha256);
    builder.compression(CompressionAlgorithm::ZLIB);
    let signed = builder.to_vec(OsRng).expect("is written");
    assert_eq!(read(&mut rule, &signed).expect("is read"), content());
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for _ in 0..3000 {
        let mut changed = signed.clone();
        for _ in 0..=next() % 3 {
            let at = next() % changed.len();
            changed[at] = next() as u8;
        }
        if let Ok(read) = read(&mut rule, &changed) {
            assert_eq!(read, content(), "it was signed");
        }
    }
}
