//! age, binary and armored: as a stream, or seekable where what lies below is.
//!
//! A chunk is given on only after its tag was verified. Where the source is seekable, its length is authenticated by the last
//! chunk before anything is read.

use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use age::armor::ArmoredReader;
use age::stream::StreamReader;
use age::{DecryptError, Decryptor};

use super::context::{Bytes, Context, ReadSeek, sought};
use super::error::{DecodeError, unwrap};
use super::keys;
use super::peek::{BUFFER_BYTES, PeekReader};
use super::tap::{Taken, Tap};

/// A header is read in memory: some hundred recipients fit.
const HEADER_BYTES_MAX: u64 = 64 << 10;
/// Less than a chunk: chunks pass it by.
const HEADER_BUFFER_BYTES: usize = 8 << 10;

struct State {
    taken: Arc<Taken>,
    /// The length was authenticated: an error is no early end.
    sealed: AtomicBool,
    /// An error here is a cut or tampered end, whatever was met.
    is_sealing: AtomicBool,
}

impl State {
    fn new() -> Arc<Self> {
        let taken = Arc::new(Taken::within(HEADER_BYTES_MAX));
        Arc::new(Self { taken, sealed: AtomicBool::new(false), is_sealing: AtomicBool::new(false) })
    }
}

/// Armor's lines are 64 characters; its reader holds whole lines in memory, however long.
const ARMOR_LINE_MAX: usize = 1 << 10;
/// To compare padding with: a hole of gigabytes is looked through.
static ZEROS: [u8; 4096] = [0; 4096];

/// Refuses armor with lines that are too long, and ends where NUL bytes pad its file.
struct ShortLines<R> {
    inner: R,
    /// Bytes since the last line end.
    length: usize,
    is_padding: bool,
}

impl<R> ShortLines<R> {
    fn new(inner: R) -> Self {
        Self { inner, length: 0, is_padding: false }
    }

    fn count(&mut self, text: &[u8]) -> io::Result<()> {
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            self.length += line.len();
            if self.length > ARMOR_LINE_MAX {
                return Err(bad_armor("a line of its armor is too long"));
            }
            if line.ends_with(b"\n") {
                self.length = 0;
            }
        }
        Ok(())
    }
}

impl<R: Read> Read for ShortLines<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let n = self.inner.read(buf)?;
            let read = buf.get(..n).unwrap_or_default();
            let text = if self.is_padding { 0 } else { memchr::memchr(0, read).unwrap_or(n) };
            let (text, padding) = read.split_at(text);
            self.is_padding |= !padding.is_empty();
            if padding.chunks(ZEROS.len()).any(|bytes| *bytes != ZEROS[..bytes.len()]) {
                return Err(bad_armor("other data behind NUL bytes in its armor"));
            }
            self.count(text)?;
            if !text.is_empty() || n == 0 {
                return Ok(text.len());
            }
        }
    }
}

fn bad_armor(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

struct Explained<R> {
    inner: R,
    state: Arc<State>,
    place: Arc<str>,
}

impl<R: Read> Read for Explained<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).map_err(|error| explain(error, &self.state, &self.place).into())
    }
}

impl<R: Seek> Seek for Explained<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to).map_err(|error| explain(error, &self.state, &self.place).into())
    }
}

fn explain(error: io::Error, state: &State, place: &str) -> DecodeError {
    let error = match unwrap(error) {
        Ok(inner) => return inner,
        Err(error) => error,
    };
    let (place, layer, offset) = (place.to_owned(), "age", state.taken.bytes());
    let sealed = state.sealed.load(Relaxed);
    if error.kind() == io::ErrorKind::UnexpectedEof && !sealed {
        return DecodeError::EndedEarly { place, layer, offset };
    }
    if (state.taken.is_at_end() || state.is_sealing.load(Relaxed)) && !sealed {
        // A last chunk that does not verify was cut, or changed, or has something behind it; all look alike.
        return DecodeError::Unsealed { place, layer, offset };
    }
    DecodeError::Corrupt { place, layer, offset, detail: error.to_string() }
}

pub(super) fn decrypt_stream<'a>(
    input: PeekReader<Bytes<'a>>,
    armored: bool,
    context: &Arc<Context>,
    place: &Arc<str>,
) -> Result<Bytes<'a>, DecodeError> {
    let state = State::new();
    if armored {
        // The armor's own buffer is small; the reader below has a large one.
        let below = Arc::new(Taken::default());
        let lines = ShortLines::new(Tap::new(input, &below));
        let stream = open(ArmoredReader::new(lines), &state, context, place)
            .map_err(|error| or_ended(error, &below, place))?;
        Ok(Box::new(ArmorEnd { inner: stream, below, place: Arc::clone(place) }))
    } else {
        Ok(Box::new(open(input, &state, context, place)?))
    }
}

/// Decrypts where one can read from anywhere. Armor is a stream: where its end is tells only its text.
pub(super) fn decrypt_seekable<'a>(
    input: Box<dyn ReadSeek + 'a>,
    context: &Arc<Context>,
    place: &Arc<str>,
) -> Result<Box<dyn ReadSeek + 'a>, DecodeError> {
    let state = State::new();
    let input = BufReader::with_capacity(BUFFER_BYTES, input);
    Ok(Box::new(seal(open(input, &state, context, place)?, &state)?))
}

/// Armor that stops without its end line is reported as corrupt by its reader: the end below tells.
struct ArmorEnd<R> {
    inner: R,
    below: Arc<Taken>,
    place: Arc<str>,
}

impl<R: Read> Read for ArmorEnd<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).map_err(|error| match unwrap(error) {
            Ok(inner) => or_ended(inner, &self.below, &self.place).into(),
            Err(other) => other,
        })
    }
}

fn or_ended(error: DecodeError, below: &Taken, place: &str) -> DecodeError {
    let said_garbage =
        matches!(&error, DecodeError::Corrupt { detail, .. } if detail.contains("after end marker"));
    match error {
        DecodeError::Corrupt { layer, .. } if below.is_at_end() && !said_garbage => {
            DecodeError::EndedEarly { place: place.to_owned(), layer, offset: below.bytes() }
        }
        other => other,
    }
}

type Opened<R> = Explained<StreamReader<BufReader<Tap<R>>>>;

fn open<R: Read>(
    inner: R,
    state: &Arc<State>,
    context: &Context,
    place: &Arc<str>,
) -> Result<Opened<R>, DecodeError> {
    let tap = Tap::new(inner, &state.taken);
    // Its header is read line by line: byte by byte each of them would have all before it parsed again.
    let decryptor = Decryptor::new_buffered(BufReader::with_capacity(HEADER_BUFFER_BYTES, tap))
        .map_err(|error| header_error(error, state, place))?;
    state.taken.has_header();
    let scrypt = decryptor.is_scrypt();
    let keys = keys::keys(context, scrypt, place)?;
    let identities = keys.identities.iter().map(|identity| &**identity as &dyn age::Identity);
    let stream = match decryptor.decrypt(identities) {
        Ok(stream) => stream,
        Err(error) => {
            let error = key_error(error, scrypt, context, state, place);
            let no_key = matches!(error, DecodeError::Key { .. });
            return Err(keys.unusable.filter(|_| no_key).unwrap_or(error));
        }
    };
    Ok(Explained { inner: stream, state: Arc::clone(state), place: Arc::clone(place) })
}

/// Authenticates the length, and keeps every later position within it.
fn seal<R: Read + Seek>(mut inner: Opened<R>, state: &State) -> Result<WithinLength<Opened<R>>, DecodeError> {
    state.is_sealing.store(true, Relaxed);
    let length =
        inner.seek(SeekFrom::End(0)).and_then(|length| inner.seek(SeekFrom::Start(0)).map(|_| length));
    let length = length.map_err(|error| explain(error, state, &inner.place))?;
    state.sealed.store(true, Relaxed);
    Ok(WithinLength { inner, length, position: 0, inner_position: 0 })
}

fn header_error(error: DecryptError, state: &State, place: &str) -> DecodeError {
    match error {
        DecryptError::Io(error) => explain(error, state, place),
        other => corrupt(state, place, other.to_string()),
    }
}

fn corrupt(state: &State, place: &str, detail: String) -> DecodeError {
    let offset = state.taken.bytes();
    DecodeError::Corrupt { place: place.to_owned(), layer: "age", offset, detail }
}

fn key_error(
    error: DecryptError,
    scrypt: bool,
    context: &Context,
    state: &State,
    place: &str,
) -> DecodeError {
    match error {
        DecryptError::ExcessiveWork { required, .. } => DecodeError::WorkFactor {
            place: place.to_owned(),
            factor: required,
            limit: context.decode.work_factor_max,
        },
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed | DecryptError::NoMatchingKeys
            if scrypt =>
        {
            let file = context.passphrase_file.clone().unwrap_or_default();
            let detail = format!("its passphrase does not open {place}");
            DecodeError::KeyFile { file, detail }
        }
        DecryptError::NoMatchingKeys | DecryptError::KeyDecryptionFailed => {
            DecodeError::Key { place: place.to_owned(), detail: "no configured identity can decrypt it" }
        }
        DecryptError::Io(error) => explain(error, state, place),
        other => corrupt(state, place, other.to_string()),
    }
}

/// A seekable reader that is never asked for anything past its end.
///
/// Positions come from archives, that is from outside; age's reader does not expect one past its last chunk.
pub(super) struct WithinLength<R> {
    inner: R,
    length: u64,
    position: u64,
    inner_position: u64,
}

impl<R: Read + Seek> Read for WithinLength<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(self.position);
        let wanted = buf.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        if self.position != self.inner_position {
            self.inner_position = self.inner.seek(SeekFrom::Start(self.position))?;
        }
        let n = self.inner.read(&mut buf[..wanted])?;
        self.position += n as u64;
        self.inner_position = self.position;
        Ok(n)
    }
}

impl<R> Seek for WithinLength<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = sought(to, self.position, self.length)?;
        Ok(self.position)
    }
}

/// A spool's decrypted content, written by this process a moment ago.
pub(super) fn open_spool<R: Read + Seek + Send + 'static>(
    file: R,
    identity: &age::x25519::Identity,
) -> io::Result<Box<dyn ReadSeek>> {
    let decryptor = Decryptor::new(file).map_err(io::Error::other)?;
    let mut inner =
        decryptor.decrypt(std::iter::once(identity as &dyn age::Identity)).map_err(io::Error::other)?;
    let length = inner.seek(SeekFrom::End(0))?;
    inner.seek(SeekFrom::Start(0))?;
    Ok(Box::new(WithinLength { inner, length, position: 0, inner_position: 0 }))
}
