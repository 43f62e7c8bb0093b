//! Messages written as streams: encrypted to public keys, with a modification detection code, which each `OpenPGP` program reads.
//!
//! ```text
//! a session key for each recipient | encrypted in chunks( random prefix | content in chunks | modification detection code )
//! ```

use std::io::{self, Write};

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cfb_mode::BufEncryptor;
use cfb_mode::cipher::KeyIvInit as _;
use jiff::Timestamp;
use pgp::composed::RawSessionKey;
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{PacketTrait as _, PublicKeyEncryptedSessionKey};
use pgp::types::KeyDetails as _;
use rand::RngCore as _;
use rand::rngs::OsRng;
use sha1::{Digest as _, Sha1};
use zeroize::Zeroizing;

use super::armor::{BEGIN, END};
use super::keys::{Certificate, Part, Purpose};

/// Chunks say their length as a power of two.
const CHUNK_POWER: u8 = 16;
const CHUNK_BYTES: usize = 1 << CHUNK_POWER;
const BLOCK_BYTES: usize = 16;
const CIPHER: SymmetricKeyAlgorithm = SymmetricKeyAlgorithm::AES256;
/// The first byte of a packet is this and its kind.
const NEW_FORMAT: u8 = 0xc0;
const ENCRYPTED: u8 = NEW_FORMAT + 18;
const CONTENT: u8 = NEW_FORMAT + 11;
/// Binary, without a name or a time.
const CONTENT_HEADER: [u8; 6] = [b'b', 0, 0, 0, 0, 0];
/// The header of the modification detection code, which it is made over, too.
const CODE_HEADER: [u8; 2] = [NEW_FORMAT + 19, 20];
/// Of these a line of armor is made.
const LINE_BYTES: usize = 48;

/// A message that is being written. Without `finish` it has no end, and nobody takes it for whole.
pub(crate) struct Sealer<W> {
    cipher: BufEncryptor<Aes256>,
    code: Sha1,
    content: Chunks,
    encrypted: Chunks,
    out: Out<W>,
}

impl<W: Write> Sealer<W> {
    /// Begins a message to these keys: to the newest part of each that may be encrypted to.
    pub(crate) fn new(keys: &[Certificate], is_armored: bool, inner: W, now: Timestamp) -> io::Result<Self> {
        let mut out = Out { inner, is_armored, line: Vec::new() };
        if is_armored {
            out.inner.write_all(&[BEGIN, b"\n\n"].concat())?;
        }
        let mut bytes = Zeroizing::new([0; 32]);
        OsRng.try_fill_bytes(&mut *bytes).map_err(io::Error::other)?;
        let session = RawSessionKey::from(&bytes[..]);
        for key in keys {
            let lock = lock_for(key, &session, now)?;
            let mut packet = Vec::new();
            lock.to_writer_with_header(&mut packet).map_err(io::Error::other)?;
            out.write(&packet)?;
        }
        let cipher = BufEncryptor::new_from_slices(&*bytes, &[0; BLOCK_BYTES]).map_err(io::Error::other)?;
        let mut sealer = Self {
            cipher,
            code: Sha1::new(),
            content: Chunks::of(CONTENT),
            encrypted: Chunks::of(ENCRYPTED),
            out,
        };
        sealer.encrypted.add(&[1], &mut |chunk| sealer.out.write(chunk))?;
        // Random, and its end once more.
        let mut prefix = [0; BLOCK_BYTES + 2];
        OsRng.try_fill_bytes(&mut prefix[..BLOCK_BYTES]).map_err(io::Error::other)?;
        prefix.copy_within(BLOCK_BYTES - 2..BLOCK_BYTES, BLOCK_BYTES);
        sealer.encrypt(prefix.to_vec())?;
        sealer.add(&CONTENT_HEADER)?;
        Ok(sealer)
    }

    /// Ends the message, and gives back what it was written to.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        let rest = self.content.end();
        self.encrypt(rest)?;
        self.code.update(CODE_HEADER);
        let code = self.code.clone().finalize();
        let mut last = [&CODE_HEADER[..], &code].concat();
        self.cipher.encrypt(&mut last);
        let Self { mut encrypted, mut out, .. } = self;
        encrypted.add(&last, &mut |chunk| out.write(chunk))?;
        out.write(&encrypted.end())?;
        out.finish()
    }

    fn add(&mut self, content: &[u8]) -> io::Result<()> {
        let mut full = Vec::new();
        self.content.add(content, &mut |chunk| {
            full.extend_from_slice(chunk);
            Ok(())
        })?;
        self.encrypt(full)
    }

    fn encrypt(&mut self, mut packets: Vec<u8>) -> io::Result<()> {
        self.code.update(&packets);
        self.cipher.encrypt(&mut packets);
        let out = &mut self.out;
        self.encrypted.add(&packets, &mut |chunk| out.write(chunk))
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let content = content.get(..CHUNK_BYTES).unwrap_or(content);
        self.add(content)?;
        Ok(content.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn lock_for(
    key: &Certificate,
    session: &RawSessionKey,
    now: Timestamp,
) -> io::Result<PublicKeyEncryptedSessionKey> {
    let parts = key.parts(Purpose::Encrypt, now).into_iter().filter(|(_, lasts)| lasts.is_usable());
    let newest = parts.map(|(part, _)| part).max_by_key(|part| match part {
        Part::Primary(key) => key.created_at().as_secs(),
        Part::Sub(key) => key.created_at().as_secs(),
    });
    let lock = match newest {
        Some(Part::Primary(key)) => {
            PublicKeyEncryptedSessionKey::from_session_key_v3(OsRng, session, CIPHER, key)
        }
        Some(Part::Sub(key)) => {
            PublicKeyEncryptedSessionKey::from_session_key_v3(OsRng, session, CIPHER, key)
        }
        None => return Err(io::Error::other(format!("nothing can be encrypted to the key {}", key.name()))),
    };
    lock.map_err(io::Error::other)
}

/// The body of a packet whose length nobody knows at its beginning: full chunks, and a last one with its length.
struct Chunks {
    /// The packet's tag, until it is written.
    tag: Option<u8>,
    buffer: Vec<u8>,
}

impl Chunks {
    fn of(tag: u8) -> Self {
        Self { tag: Some(tag), buffer: Vec::with_capacity(CHUNK_BYTES) }
    }

    fn add(&mut self, mut bytes: &[u8], out: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        while !bytes.is_empty() {
            let (taken, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.buffer.len()));
            self.buffer.extend_from_slice(taken);
            bytes = rest;
            if self.buffer.len() == CHUNK_BYTES {
                let begin: Vec<u8> = self.tag.take().into_iter().chain([0xe0 | CHUNK_POWER]).collect();
                out(&begin)?;
                out(&self.buffer)?;
                self.buffer.clear();
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Vec<u8> {
        let mut last: Vec<u8> = self.tag.take().into_iter().collect();
        last.push(0xff);
        last.extend_from_slice(&(self.buffer.len() as u32).to_be_bytes());
        last.append(&mut self.buffer);
        last
    }
}

/// Below the packets: bytes, or lines of armor.
struct Out<W> {
    inner: W,
    is_armored: bool,
    line: Vec<u8>,
}

impl<W: Write> Out<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.is_armored {
            return self.inner.write_all(bytes);
        }
        self.line.extend_from_slice(bytes);
        let whole = self.line.len() / LINE_BYTES * LINE_BYTES;
        let rest = self.line.split_off(whole);
        let lines = std::mem::replace(&mut self.line, rest);
        self.write_lines(&lines)
    }

    fn write_lines(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut text = String::with_capacity(bytes.len() / 3 * 4 + bytes.len() / LINE_BYTES + 8);
        for line in bytes.chunks(LINE_BYTES) {
            STANDARD.encode_string(line, &mut text);
            text.push('\n');
        }
        self.inner.write_all(text.as_bytes())
    }

    fn finish(mut self) -> io::Result<W> {
        if self.is_armored {
            let rest = std::mem::take(&mut self.line);
            self.write_lines(&rest)?;
            self.inner.write_all(&[END, b"\n"].concat())?;
        }
        Ok(self.inner)
    }
}
