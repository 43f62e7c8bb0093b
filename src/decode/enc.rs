//! `.enc` files of the Symmetric Encryption library: a header that says which of the configured keys opens what follows.
//!
//! ```text
//! @EnC | version u8 | flags u8 | [IV] [key] [cipher's name] [exponent u8] [tag]      each with its length before it, u16 little-endian, but the exponent
//! ```
//!
//! The version is that of a configured key. A key in the header is the body's own; it is encrypted with the configured one.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::context::{Bytes, Context};
use super::enc_body::{self, BLOCK_BYTES, BadBody, Key, Mode, NONCE_BYTES, PREFIX_BYTES, TAG_BYTES};
use super::error::{DecodeError, unwrap};
use super::peek::PeekReader;
use super::tap::{Taken, Tap};
use crate::allowance::Permit;
use crate::key_file;
use crate::model::hex::hex_bytes;
use crate::model::rule::SymmetricKey;

pub(super) const MAGIC: &[u8] = b"@EnC";
const LAYER: &str = "enc";

const COMPRESSED: u8 = 0x80;
const IV: u8 = 0x40;
const KEY: u8 = 0x20;
const CIPHER: u8 = 0x10;
const TAG: u8 = 0x08;
const FRAMES: u8 = 0x04;
const KNOWN: u8 = COMPRESSED | IV | KEY | CIPHER | TAG | FRAMES;

/// Of each part of the header: the longest is a key that is an `.enc` value itself.
const PART_BYTES_MAX: usize = 4 << 10;
/// The largest frame, as a power of two: a frame is held in memory.
const EXPONENT_MAX: u8 = 26;
const KEY_FILE_BYTES_MAX: usize = 64 << 10;
const GZIP: &[u8] = b"\x1f\x8b";

#[derive(Debug, Default, PartialEq, Eq)]
struct Header {
    version: u8,
    is_compressed: bool,
    iv: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    cipher: Option<String>,
    exponent: Option<u8>,
    tag: Option<[u8; TAG_BYTES]>,
    /// All of it before the tag.
    associated: Vec<u8>,
}

/// What a header says wrong.
#[derive(Debug, thiserror::Error)]
enum BadHeader {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("{0}")]
    Wrong(String),
    /// Another version of the format, or another format.
    #[error("its header has flags that are not known ({0:#04x})")]
    Unknown(u8),
}

fn wrong(what: impl Into<String>) -> BadHeader {
    BadHeader::Wrong(what.into())
}

impl Header {
    fn read(from: &mut impl Read) -> Result<Self, BadHeader> {
        let mut bytes = Reading { from, read: Vec::new() };
        if bytes.take(MAGIC.len())? != MAGIC {
            return Err(wrong("it does not begin with @EnC"));
        }
        let version = bytes.byte()?;
        let flags = bytes.byte()?;
        if flags & !KNOWN != 0 {
            return Err(BadHeader::Unknown(flags));
        }
        let mut header = Self { version, is_compressed: flags & COMPRESSED != 0, ..Self::default() };
        if flags & IV != 0 {
            header.iv = Some(bytes.part()?);
        }
        if flags & KEY != 0 {
            header.key = Some(bytes.part()?);
        }
        if flags & CIPHER != 0 {
            let name =
                String::from_utf8(bytes.part()?).map_err(|_| wrong("the name of its cipher is no text"))?;
            header.cipher = Some(name.to_ascii_lowercase());
        }
        if flags & FRAMES != 0 {
            header.exponent = Some(bytes.byte()?);
        }
        header.associated.clone_from(&bytes.read);
        if flags & TAG != 0 {
            let tag = bytes.part()?;
            header.tag = Some(tag.try_into().map_err(|_| wrong("its tag does not have 16 bytes"))?);
        }
        Ok(header)
    }

    /// How its body is encrypted, and with a key of how many bytes where it says so.
    fn mode(&self, configured_iv: Option<[u8; BLOCK_BYTES]>) -> Result<(Mode, Option<usize>), BadHeader> {
        let (bits, mode) = match self.cipher.as_deref() {
            None => (None, "cbc"),
            Some(name) => {
                let parts = name.strip_prefix("aes-").and_then(|rest| rest.split_once('-'));
                let bits = parts.and_then(|(bits, _)| bits.parse::<usize>().ok());
                match (bits.filter(|bits| matches!(bits, 128 | 192 | 256)), parts) {
                    (Some(bits), Some((_, mode @ ("cbc" | "gcm")))) => (Some(bits / 8), mode),
                    _ => return Err(wrong(format!("its cipher \"{name}\" is not supported"))),
                }
            }
        };
        if mode == "cbc" {
            if self.tag.is_some() || self.exponent.is_some() {
                return Err(wrong("it has a tag or frames, and names no cipher that has them"));
            }
            let iv = match &self.iv {
                Some(iv) => iv.as_slice().try_into().map_err(|_| wrong("its IV does not have 16 bytes"))?,
                None => configured_iv
                    .ok_or_else(|| wrong("it has no IV of its own, and its key's `iv` is not configured"))?,
            };
            return Ok((Mode::Cbc { iv }, bits));
        }
        let iv = self.iv.as_deref().unwrap_or_default();
        let mode = match (self.exponent, self.tag) {
            (Some(exponent), None) => {
                if exponent > EXPONENT_MAX {
                    return Err(wrong(format!(
                        "its frames have 2^{exponent} bytes, more than 2^{EXPONENT_MAX}"
                    )));
                }
                // Written with the whole nonce, or with what is the same in each of them.
                let prefix =
                    iv.get(..PREFIX_BYTES).filter(|_| matches!(iv.len(), PREFIX_BYTES | NONCE_BYTES));
                let prefix = prefix.and_then(|prefix| prefix.try_into().ok());
                let prefix = prefix.ok_or_else(|| wrong("the nonce of its frames does not have 7 bytes"))?;
                Mode::Frames { prefix, frame_bytes: 1 << exponent }
            }
            (None, Some(tag)) => {
                let nonce = iv.try_into().map_err(|_| wrong("its nonce does not have 12 bytes"))?;
                Mode::Gcm { nonce, tag }
            }
            (Some(_), Some(_)) => return Err(wrong("it has a tag of its own beside those of its frames")),
            (None, None) => return Err(wrong("it has no tag")),
        };
        Ok((mode, bits))
    }
}

/// A header that is being read, and what was read of it.
struct Reading<'r, R> {
    from: &'r mut R,
    read: Vec<u8>,
}

impl<R: Read> Reading<'_, R> {
    fn take(&mut self, count: usize) -> io::Result<&[u8]> {
        let before = self.read.len();
        self.read.resize(before + count, 0);
        self.from.read_exact(&mut self.read[before..])?;
        Ok(&self.read[before..])
    }

    fn byte(&mut self) -> io::Result<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn part(&mut self) -> Result<Vec<u8>, BadHeader> {
        let length = self.take(2).map(|bytes| usize::from(u16::from_le_bytes([bytes[0], bytes[1]])))?;
        if length > PART_BYTES_MAX {
            return Err(wrong(format!(
                "a part of its header has {length} bytes, more than {PART_BYTES_MAX}"
            )));
        }
        Ok(self.take(length)?.to_vec())
    }
}

/// Decrypts a file; what is not whole, or not what was encrypted, ends in an error.
pub(super) fn decrypt<'a>(
    mut input: PeekReader<Bytes<'a>>,
    context: &Arc<Context>,
    place: &Arc<str>,
) -> Result<PeekReader<Bytes<'a>>, DecodeError> {
    let header = Header::read(&mut input).map_err(|bad| bad.told(place))?;
    let opened = Opening { keys: &context.decode.symmetric_encryption, place }.body_of(&header)?;
    let Opened { key, mode, configured } = opened;
    let memory = match mode {
        Mode::Frames { frame_bytes, .. } => {
            Some(context.take_memory("a frame of its data", frame_bytes as u64, place)?)
        }
        Mode::Cbc { .. } | Mode::Gcm { .. } => None,
    };
    let read = Arc::new(Taken::default());
    let inner = enc_body::open(Tap::new(input, &read), &key, mode, header.associated);
    let inner = inner.map_err(|bad| corrupt(place, bad.to_string()))?;
    let (explained_place, key_file) = (Arc::clone(place), configured.clone());
    let explained = Explained { inner, read, place: explained_place, key_file, _memory: memory };
    let mut stream: PeekReader<Bytes<'a>> = PeekReader::new(Box::new(explained));
    let head = stream.peek(GZIP.len()).map_err(|error| context.to_decode(error))?;
    if header.is_compressed && !head.starts_with(GZIP) {
        return Err(match configured.filter(|_| !head.is_empty()) {
            Some(file) => not_opened(file, place),
            None => corrupt(place, "its header says that it is compressed, and no gzip data is in it"),
        });
    }
    Ok(stream)
}

/// A key that opens nothing of a file. Which of the two is wrong cannot be told: the job waits for who can tell.
fn not_opened(file: PathBuf, place: &str) -> DecodeError {
    DecodeError::KeyFile {
        file,
        detail: format!("it does not open {place}, unless that was changed on its way"),
    }
}

fn corrupt(place: &str, detail: impl Into<String>) -> DecodeError {
    DecodeError::Corrupt { place: place.to_owned(), layer: LAYER, offset: 0, detail: detail.into() }
}

/// Whether a head is that of such a file: its version and flags are no text; or they could be one, and then a length follows, whose upper byte
/// is none. Where the flags are not known, or not there, its version is one that no text has.
pub(super) fn is_header(head: &[u8]) -> bool {
    const UPPER_BYTE_MAX: u8 = 3; // of lengths up to 1 KiB
    let is_text = |byte: u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    let is_control = |byte: u8| byte.is_ascii_control() && !byte.is_ascii_whitespace() && byte != 0x0b;
    match head.strip_prefix(MAGIC) {
        Some([version]) => is_control(*version),
        Some([version, flags, ..]) if flags & !KNOWN != 0 => is_control(*version),
        Some([version, flags, rest @ ..]) if is_text(*version) && is_text(*flags) => {
            matches!(rest, [_, upper, ..] if *upper <= UPPER_BYTE_MAX)
        }
        Some([_, _, ..]) => true,
        Some(_) | None => false,
    }
}

/// Whether a rule that decrypts takes this for such a file, damaged, cut or of a kind that is not known. `Err`: it is neither one, nor may a
/// text begin so there.
pub(super) fn claims_to_be_one(head: &[u8], place: &str) -> Result<bool, DecodeError> {
    match head.strip_prefix(MAGIC) {
        None => Ok(false),
        Some([] | [_]) => Ok(true),
        Some([_, flags, ..]) if flags & !KNOWN != 0 => Ok(true),
        Some(_) => {
            let detail = "what follows is no header of one".to_owned();
            Err(DecodeError::NoEncHeader { place: place.to_owned(), detail })
        }
    }
}

/// Whether what follows is proved by a tag.
pub(super) fn is_proved(head: &[u8]) -> bool {
    let is_of_known = |flags: &u8| flags & !KNOWN == 0 && flags & (TAG | FRAMES) != 0;
    is_header(head) && head.get(MAGIC.len() + 1).is_some_and(is_of_known)
}

impl BadHeader {
    fn told(self, place: &str) -> DecodeError {
        let place = place.to_owned();
        match self {
            Self::Read(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                DecodeError::EndedEarly { place, layer: LAYER, offset: 0 }
            }
            Self::Read(error) => unwrap(error).unwrap_or_else(|error| corrupt(&place, error.to_string())),
            Self::Wrong(detail) => corrupt(&place, detail),
            unknown @ Self::Unknown(_) => DecodeError::NoEncHeader { place, detail: unknown.to_string() },
        }
    }

    /// Of a header that came whole, within another one.
    fn told_within(self, place: &str) -> DecodeError {
        match self {
            Self::Read(error) => corrupt(place, format!("the key in its header: {error}")),
            wrong @ (Self::Wrong(_) | Self::Unknown(_)) => wrong.told(place),
        }
    }
}

struct Opening<'k> {
    keys: &'k [SymmetricKey],
    place: &'k str,
}

struct Opened {
    key: Key,
    mode: Mode,
    /// The file of the configured key, where the body is encrypted with that one itself.
    configured: Option<PathBuf>,
}

impl Opening<'_> {
    fn body_of(&self, header: &Header) -> Result<Opened, DecodeError> {
        let configured = self.keys.iter().find(|key| key.version == header.version);
        let Some(configured) = configured else {
            return Err(DecodeError::NoSymmetricKey {
                place: self.place.to_owned(),
                version: header.version,
            });
        };
        let own = read_key(&configured.key_file)?;
        let (key, key_file) = match &header.key {
            None => (own, Some(configured.key_file.clone())),
            Some(wrapped) => (self.key_in_header(wrapped, &own, configured)?, None),
        };
        let (mode, key_bytes) = header.mode(configured.iv).map_err(|bad| bad.told(self.place))?;
        if let Some(wanted) = key_bytes.filter(|wanted| *wanted != key.len()) {
            let detail = format!("it needs a key of {} bits, and its key has {}", wanted * 8, key.len() * 8);
            return Err(wrong_key(configured, detail));
        }
        Ok(Opened { key, mode, configured: key_file })
    }

    /// A key that came with the file: encrypted with the configured one.
    fn key_in_header(
        &self,
        wrapped: &[u8],
        own: &Key,
        configured: &SymmetricKey,
    ) -> Result<Key, DecodeError> {
        let (mode, associated, body) = if wrapped.starts_with(MAGIC) {
            let mut rest = wrapped;
            let header = Header::read(&mut rest).map_err(|bad| bad.told_within(self.place))?;
            if header.key.is_some() {
                return Err(
                    wrong("the key in its header is encrypted with a key of its own").told(self.place)
                );
            }
            if header.version != configured.version {
                let found = self.keys.iter().find(|key| key.version == header.version);
                let Some(other) = found else {
                    return Err(DecodeError::NoSymmetricKey {
                        place: self.place.to_owned(),
                        version: header.version,
                    });
                };
                return self.key_in_header(wrapped, &read_key(&other.key_file)?, other);
            }
            let (mode, _) = header.mode(configured.iv).map_err(|bad| bad.told(self.place))?;
            (mode, header.associated, rest)
        } else {
            let iv = configured.iv.ok_or_else(|| {
                wrong_key(
                    configured,
                    "a key that came with a file is encrypted with it, and its `iv` is not configured",
                )
            })?;
            (Mode::Cbc { iv }, Vec::new(), wrapped)
        };
        let mut key = Zeroizing::new(Vec::with_capacity(PART_BYTES_MAX));
        let opened = enc_body::open(body, own, mode, associated);
        let is_read = opened.is_ok_and(|mut opened| opened.read_to_end(&mut key).is_ok());
        if !is_read || !is_key(&key) {
            return Err(wrong_key(configured, format!("it does not open the key of {}", self.place)));
        }
        Ok(key)
    }
}

fn wrong_key(configured: &SymmetricKey, detail: impl Into<String>) -> DecodeError {
    DecodeError::KeyFile { file: configured.key_file.clone(), detail: detail.into() }
}

fn is_key(bytes: &[u8]) -> bool {
    matches!(bytes.len(), 16 | 24 | 32)
}

/// A key as bytes, or as text in hexadecimal digits or Base64; what may be two of these says by a word in front which it is.
pub(super) fn read_key(file: &Path) -> Result<Key, DecodeError> {
    let unusable = |detail: String| DecodeError::KeyFile { file: file.to_owned(), detail };
    let bytes = key_file::bytes(file, KEY_FILE_BYTES_MAX).map_err(|error| unusable(error.to_string()))?;
    key_of(&bytes).map_err(|detail| unusable(detail.to_owned()))
}

fn key_of(bytes: &[u8]) -> Result<Key, &'static str> {
    use base64::Engine as _;
    let text = bytes.trim_ascii_end();
    let as_it_is = |bytes: &[u8]| is_key(bytes).then(|| Zeroizing::new(bytes.to_vec()));
    let as_text = |decoded: Option<Vec<u8>>| decoded.map(Zeroizing::new).filter(|key| is_key(key));
    let digits = |text: &[u8]| as_text(str::from_utf8(text).ok().and_then(hex_bytes));
    let base64 = |text: &[u8]| as_text(base64::engine::general_purpose::STANDARD.decode(text).ok());
    let none = "it holds no key of 16, 24 or 32 bytes, as they are, in hexadecimal digits or in Base64";
    if let Some(text) = text.strip_prefix(b"hex:") {
        return digits(text.trim_ascii()).ok_or(none);
    }
    if let Some(text) = text.strip_prefix(b"base64:") {
        return base64(text.trim_ascii()).ok_or(none);
    }
    if let Some(text) = text.strip_prefix(b"raw:") {
        return as_it_is(text).ok_or(none);
    }
    let raw = as_it_is(bytes).or_else(|| as_it_is(text));
    match (raw, digits(text).or_else(|| base64(text))) {
        (Some(_), Some(_)) => Err(
            "it may be a key as it is, or one in hexadecimal digits or Base64: write `raw:`, `hex:` or `base64:` before it",
        ),
        (one, other) => one.or(other).ok_or(none),
    }
}

struct Explained<R> {
    inner: R,
    read: Arc<Taken>,
    place: Arc<str>,
    key_file: Option<PathBuf>,
    _memory: Option<Permit>,
}

impl<R: Read> Read for Explained<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).map_err(|error| self.explain(error).into())
    }
}

impl<R> Explained<R> {
    fn explain(&self, error: io::Error) -> DecodeError {
        let error = match unwrap(error) {
            Ok(inner) => return inner,
            Err(error) => error,
        };
        let (place, layer, offset) = (self.place.to_string(), LAYER, self.read.bytes());
        let bad = error.get_ref().and_then(|inner| inner.downcast_ref::<BadBody>());
        match (bad, &self.key_file) {
            (Some(BadBody::EndsEarly), _) => DecodeError::EndedEarly { place, layer, offset },
            (Some(BadBody::ChangedEnd), _) => DecodeError::Unsealed { place, layer, offset },
            (Some(BadBody::NotOpened), Some(file)) => not_opened(file.clone(), &place),
            _ => DecodeError::Corrupt { place, layer, offset, detail: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a key of any number opens its files; a text that begins alike stays one.
    #[test]
    fn a_header_is_known_whatever_its_version_and_a_text_that_begins_alike_is_none() {
        let iv = [16, 0];
        for version in 0..=u8::MAX {
            for flags in [0x40, 0x40 | 0x20, 0x20, 0x40 | 0x10 | 0x08, 0x40 | 0x10 | 0x04, 0x80, 0x80 | 0x40]
            {
                let head = [MAGIC, &[version, flags], &iv, &[0; 16]].concat();
                assert!(is_header(&head), "version {version}, flags {flags:#x}");
            }
        }
        for text in ["@EnCoding: none\n", "@EnC\n\nof text", "@EnC@@", "@EnC"] {
            assert!(!is_header(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_key_is_read_in_each_form_and_one_that_may_be_two_is_asked_for_which() {
        let of = |text: &[u8]| key_of(text).map(|key| key.to_vec());
        assert_eq!(of(&[0x80; 24]), Ok(vec![0x80; 24]));
        assert_eq!(of("1f".repeat(32).as_bytes()), Ok(vec![0x1f; 32]));
        assert_eq!(of(b"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n"), Ok(vec![0; 32]));
        let two = b"1234567890ABCDEF1234567890ABCDEF\n";
        assert!(of(two).is_err_and(|said| said.contains("`raw:`")));
        assert_eq!(of(&[b"raw:", &two[..]].concat()), Ok(two[..32].to_vec()));
        assert_eq!(of(&[b"hex:", &two[..]].concat()).map(|key| key.len()), Ok(16));
        assert_eq!(of(b"base64: AAAAAAAAAAAAAAAAAAAAAA=="), Ok(vec![0; 16]));
        for none in [&b""[..], b"short", b"hex:00", b"raw:", &[7; 33]] {
            assert!(of(none).is_err(), "{none:?}");
        }
    }
}
