//! The body of an `.enc` file, as a stream: AES in CBC, in one GCM message, or in GCM frames.
//!
//! CBC has no tag: what was changed in it is decrypted as well as what was not. One GCM message is told from a changed one at its end alone:
//! until that is read nothing of it may be relied on, and nothing is published. A frame is given on after its tag was verified.

use std::io::{self, Read};

use aes::cipher::block_padding::{Pkcs7, RawPadding as _};
use aes::cipher::{
    Block, BlockCipher, BlockDecrypt, BlockDecryptMut, BlockEncrypt, BlockSizeUser, InnerIvInit as _,
    KeyInit, StreamCipher, StreamCipherCoreWrapper, consts,
};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::{AeadInPlace as _, AesGcm};
use ghash::GHash;
use ghash::universal_hash::UniversalHash as _;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

pub(super) const BLOCK_BYTES: usize = 16;
pub(super) const TAG_BYTES: usize = 16;
/// Of one GCM message.
pub(super) const NONCE_BYTES: usize = 12;
/// Of the nonces of frames: their number and whether it is the last one follow.
pub(super) const PREFIX_BYTES: usize = 7;
const BUFFER_BYTES: usize = 64 << 10;

pub(super) type Key = Zeroizing<Vec<u8>>;
type AesBlock = Block<Aes256>;
/// Counts in the last four bytes, as GCM does.
type Counted<C> = ctr::CtrCore<C, ctr::flavors::Ctr32BE>;

/// What is wrong with a body.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadBody {
    #[error("it ends within a block")]
    EndsEarly,
    /// Nothing of it opens: another key, or it was changed.
    #[error("it was not encrypted with this key, or was changed")]
    NotOpened,
    /// What was before it opened.
    #[error("it was changed")]
    Changed,
    /// Another key, a changed byte, or an end that is not there; which of these cannot be told.
    #[error("its end is not the one that was encrypted")]
    ChangedEnd,
    #[error("it is longer than its cipher allows")]
    TooLong,
}

impl From<BadBody> for io::Error {
    fn from(bad: BadBody) -> Self {
        Self::new(io::ErrorKind::InvalidData, bad)
    }
}

/// How a body is encrypted.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    Cbc { iv: [u8; BLOCK_BYTES] },
    Gcm { nonce: [u8; NONCE_BYTES], tag: [u8; TAG_BYTES] },
    Frames { prefix: [u8; PREFIX_BYTES], frame_bytes: usize },
}

/// The decrypted body. The key has a length of AES.
pub(super) fn open<'a>(
    inner: impl Read + Send + 'a,
    key: &Key,
    mode: Mode,
    associated: Vec<u8>,
) -> Result<Box<dyn Read + Send + 'a>, BadBody> {
    match key.len() {
        16 => open_with::<Aes128>(inner, key, mode, associated),
        24 => open_with::<Aes192>(inner, key, mode, associated),
        _ => open_with::<Aes256>(inner, key, mode, associated),
    }
}

fn open_with<'a, C>(
    inner: impl Read + Send + 'a,
    key: &Key,
    mode: Mode,
    associated: Vec<u8>,
) -> Result<Box<dyn Read + Send + 'a>, BadBody>
where
    C: BlockCipher
        + BlockSizeUser<BlockSize = consts::U16>
        + BlockEncrypt
        + BlockDecrypt
        + KeyInit
        + Send
        + 'static,
{
    let cipher = C::new_from_slice(key).map_err(|_| BadBody::NotOpened)?;
    Ok(match mode {
        Mode::Cbc { iv } => {
            let cipher = cbc::Decryptor::<C>::inner_iv_init(cipher, &iv.into());
            Box::new(Buffered::new(Cbc { inner, cipher, kept: Vec::new(), has_ended: false }))
        }
        Mode::Gcm { nonce, tag } => Box::new(Gcm::new(inner, cipher, nonce, tag, &associated)),
        Mode::Frames { prefix, frame_bytes } => {
            let cipher = AesGcm::<C, consts::U12>::from(cipher);
            Box::new(Buffered::new(Frames {
                inner,
                cipher,
                prefix,
                frame_bytes,
                associated,
                next: 0,
                kept: Vec::new(),
                has_ended: false,
            }))
        }
    })
}

/// What gives its bytes piece by piece.
trait Pieces {
    /// The next bytes, in the buffer; none at the end.
    fn next_piece(&mut self, buffer: &mut Vec<u8>) -> io::Result<()>;
}

struct Buffered<P> {
    pieces: P,
    piece: Vec<u8>,
    taken: usize,
    has_failed: bool,
}

impl<P> Buffered<P> {
    fn new(pieces: P) -> Self {
        Self { pieces, piece: Vec::new(), taken: 0, has_failed: false }
    }
}

impl<P: Pieces> Read for Buffered<P> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            self.taken = 0;
            self.piece.clear();
            if self.has_failed {
                return Err(io::Error::other("nothing follows what could not be decrypted"));
            }
            if let Err(error) = self.pieces.next_piece(&mut self.piece) {
                self.has_failed = true;
                self.piece.clear(); // nothing of it is given on
                return Err(error);
            }
        }
        let left = self.piece.get(self.taken..).unwrap_or_default();
        let n = left.len().min(buf.len());
        buf[..n].copy_from_slice(&left[..n]);
        self.taken += n;
        Ok(n)
    }
}

/// Reads on until the buffer has so many bytes; fewer at the end.
fn fill(inner: &mut impl Read, buffer: &mut Vec<u8>, upto: usize) -> io::Result<()> {
    let missing = upto.saturating_sub(buffer.len());
    buffer.reserve_exact(missing);
    inner.take(missing as u64).read_to_end(buffer).map(drop)
}

struct Cbc<R, C: BlockCipher + BlockDecryptMut> {
    inner: R,
    cipher: cbc::Decryptor<C>,
    /// The block that may be the last: its padding is no content.
    kept: Vec<u8>,
    has_ended: bool,
}

impl<R: Read, C> Pieces for Cbc<R, C>
where
    C: BlockCipher + BlockSizeUser<BlockSize = consts::U16> + BlockDecryptMut,
{
    fn next_piece(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        if self.has_ended {
            return Ok(());
        }
        piece.append(&mut self.kept);
        fill(&mut self.inner, piece, BUFFER_BYTES)?;
        self.has_ended = piece.len() < BUFFER_BYTES;
        if !piece.len().is_multiple_of(BLOCK_BYTES) || piece.is_empty() {
            return Err(BadBody::EndsEarly.into());
        }
        if !self.has_ended {
            self.kept = piece.split_off(piece.len() - BLOCK_BYTES);
        }
        for block in piece.chunks_exact_mut(BLOCK_BYTES) {
            self.cipher.decrypt_block_mut(AesBlock::from_mut_slice(block));
        }
        if self.has_ended {
            let last = piece.len() - BLOCK_BYTES;
            let content = Pkcs7::raw_unpad(&piece[last..]).map_err(|_| BadBody::ChangedEnd)?.len();
            piece.truncate(last + content);
        }
        Ok(())
    }
}

struct Gcm<R> {
    inner: R,
    cipher: Box<dyn KeyStream>,
    hash: Hashed,
    associated_bytes: u64,
    /// What the hash is masked with.
    mask: AesBlock,
    tag: [u8; TAG_BYTES],
    has_ended: bool,
}

trait KeyStream: Send {
    /// Whether there was enough of it.
    fn apply(&mut self, bytes: &mut [u8]) -> bool;
}

impl<C: StreamCipher + Send> KeyStream for C {
    fn apply(&mut self, bytes: &mut [u8]) -> bool {
        self.try_apply_keystream(bytes).is_ok()
    }
}

impl<R: Read> Gcm<R> {
    fn new<C>(inner: R, cipher: C, nonce: [u8; NONCE_BYTES], tag: [u8; TAG_BYTES], associated: &[u8]) -> Self
    where
        C: BlockCipher + BlockSizeUser<BlockSize = consts::U16> + BlockEncrypt + Send + 'static,
    {
        let counter = |number: u8| {
            let mut block = AesBlock::default();
            block[..NONCE_BYTES].copy_from_slice(&nonce);
            block[BLOCK_BYTES - 1] = number;
            block
        };
        let (mut key, mut mask) = (AesBlock::default(), counter(1));
        cipher.encrypt_block(&mut key);
        cipher.encrypt_block(&mut mask);
        let mut hash = GHash::new(&key);
        hash.update_padded(associated);
        Self {
            inner,
            cipher: Box::new(StreamCipherCoreWrapper::from_core(Counted::<C>::inner_iv_init(
                cipher,
                &counter(2),
            ))),
            hash: Hashed { hash, rest: Vec::new(), bytes: 0 },
            associated_bytes: associated.len() as u64,
            mask,
            tag,
            has_ended: false,
        }
    }

    fn verify(&mut self) -> Result<(), BadBody> {
        self.hash.hash.update_padded(&self.hash.rest);
        let mut lengths = AesBlock::default();
        lengths[..8].copy_from_slice(&(self.associated_bytes * 8).to_be_bytes());
        lengths[8..].copy_from_slice(&(self.hash.bytes * 8).to_be_bytes());
        self.hash.hash.update(&[lengths]);
        let mut tag = self.hash.hash.clone().finalize();
        for (byte, mask) in tag.iter_mut().zip(self.mask) {
            *byte ^= mask;
        }
        if bool::from(tag.as_slice().ct_eq(&self.tag)) { Ok(()) } else { Err(BadBody::ChangedEnd) }
    }
}

impl<R: Read> Read for Gcm<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.has_ended || buf.is_empty() {
            return Ok(0);
        }
        let n = self.inner.read(buf)?;
        if n == 0 {
            self.verify()?;
            self.has_ended = true;
            return Ok(0);
        }
        self.hash.update(&buf[..n]);
        if self.cipher.apply(&mut buf[..n]) { Ok(n) } else { Err(BadBody::TooLong.into()) }
    }
}

/// Takes bytes in any pieces.
struct Hashed {
    hash: GHash,
    rest: Vec<u8>,
    bytes: u64,
}

impl Hashed {
    fn update(&mut self, mut bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if !self.rest.is_empty() {
            let (first, others) = bytes.split_at(bytes.len().min(BLOCK_BYTES - self.rest.len()));
            self.rest.extend_from_slice(first);
            bytes = others;
            if self.rest.len() < BLOCK_BYTES {
                return;
            }
            self.hash.update_padded(&self.rest);
            self.rest.clear();
        }
        let (whole, others) = bytes.split_at(bytes.len() / BLOCK_BYTES * BLOCK_BYTES);
        self.hash.update_padded(whole);
        self.rest.extend_from_slice(others);
    }
}

struct Frames<R, C> {
    inner: R,
    cipher: AesGcm<C, consts::U12>,
    prefix: [u8; PREFIX_BYTES],
    /// Of its content: a tag follows.
    frame_bytes: usize,
    associated: Vec<u8>,
    next: u32,
    /// The first byte of the next frame: so this one is not the last.
    kept: Vec<u8>,
    has_ended: bool,
}

impl<R: Read, C> Pieces for Frames<R, C>
where
    C: BlockCipher + BlockSizeUser<BlockSize = consts::U16> + BlockEncrypt,
{
    fn next_piece(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        while piece.is_empty() && !self.has_ended {
            let whole = self.frame_bytes + TAG_BYTES;
            piece.append(&mut self.kept);
            fill(&mut self.inner, piece, whole + 1)?;
            self.has_ended = piece.len() <= whole;
            if !self.has_ended {
                self.kept = piece.split_off(whole);
            }
            let content = piece.len().checked_sub(TAG_BYTES).ok_or(BadBody::ChangedEnd)?;
            let tag = AesBlock::clone_from_slice(&piece[content..]);
            piece.truncate(content);
            let mut nonce = [0; NONCE_BYTES];
            nonce[..PREFIX_BYTES].copy_from_slice(&self.prefix);
            nonce[PREFIX_BYTES..NONCE_BYTES - 1].copy_from_slice(&self.next.to_be_bytes());
            nonce[NONCE_BYTES - 1] = u8::from(self.has_ended);
            let opened = self.cipher.decrypt_in_place_detached(&nonce.into(), &self.associated, piece, &tag);
            if opened.is_err() {
                return Err(io::Error::from(match self.next {
                    _ if self.has_ended => BadBody::ChangedEnd,
                    0 => BadBody::NotOpened,
                    _ => BadBody::Changed,
                }));
            }
            if !self.has_ended {
                self.next = self.next.checked_add(1).ok_or(BadBody::TooLong)?;
            }
        }
        Ok(())
    }
}
