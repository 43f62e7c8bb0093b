//! A message read as a stream: what lies in its packets, and at the end whether it was whole and whose it is.
//!
//! ```text
//! locks* encrypted( compressed( one-pass signature*  content  signature* ) )      each container at most once or a few times, in any order
//! ```

use std::io::{self, BufRead, Read};

use jiff::Timestamp;
use pgp::composed::{
    CompressedDataReader, LiteralDataReader, PacketBodyReader, SymEncryptedProtectedDataReader,
};
use pgp::packet::{
    GnupgAeadDataConfig, OnePassSignature, PacketHeader, ProtectedDataConfig, PublicKeyEncryptedSessionKey,
    Signature, SymEncryptedProtectedDataConfig, SymKeyEncryptedSessionKey,
};
use pgp::types::{PacketLength, PkeskVersion, Seipdv1ReadMode, SkeskVersion, Tag};

use super::error::Unread;
use super::signatures::{Pending, SIGNATURES_MAX, Signer};
use super::source::{Metered, Said, Source};
use super::unlock::{Locks, SessionKey};
use crate::allowance::Permit;

pub(crate) use super::source::Expanding;

/// Of a packet that is read as a whole: a signature may have that much, and all others have less.
const PACKET_BYTES_MAX: u64 = 64 << 10;
/// Packets that say nothing.
const SKIPPED_MAX: usize = 1000;
/// Of an encrypted packet whose chunks have tags, two are in memory.
const CHUNKS: u64 = 2;

/// What reading asks for, when it comes to it.
pub(crate) trait Reading {
    /// The key of an encrypted packet.
    fn unlock(&mut self, locks: &Locks) -> Result<SessionKey, Unread>;
    /// Whose signatures count; none: they are not looked at.
    fn signers(&mut self) -> Result<Option<Vec<Signer>>, Unread>;
    /// Memory for what has to be held at once.
    fn memory(&mut self, bytes: u64) -> Result<Permit, Unread>;
    /// How many more encrypted or compressed packets may lie in the first one of their kind.
    fn nested_max(&self) -> usize;
}

/// The content of a message.
pub(crate) struct Message<'a> {
    state: State<'a>,
    said: Said,
    pending: Vec<Pending>,
    signers: Option<Vec<Signer>>,
    is_encrypted: bool,
    is_signed: bool,
    _memory: Vec<Permit>,
    now: Timestamp,
}

enum State<'a> {
    Content(Box<LiteralDataReader<Source<'a>>>, usize),
    Ended,
    Failed,
}

impl<'a> Message<'a> {
    /// Reads up to the content.
    pub(crate) fn open(
        input: Box<dyn BufRead + Send + 'a>,
        expanding: Expanding<'a>,
        reading: &mut dyn Reading,
        now: Timestamp,
    ) -> Result<Self, Unread> {
        let said = Said::default();
        let source = Source::Raw(input, said.clone());
        let walk = Walk {
            said,
            expanding,
            reading,
            locks: Locks::default(),
            level: 0,
            encrypted: 0,
            compressed: 0,
            skipped: 0,
            pending: Vec::new(),
            signers: None,
            memory: Vec::new(),
            is_unproved: false,
            now,
        };
        walk.into_content(source)
    }

    /// Whether its content was encrypted, and is verified by what it was encrypted with.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.is_encrypted
    }

    /// Whether there are signatures, each of which is verified by the end. Meaningful where signers are known.
    pub(crate) fn is_signed(&self) -> bool {
        self.is_signed
    }

    fn fail(&mut self, error: impl Into<Unread>) -> io::Error {
        self.state = State::Failed;
        self.said.means(error).into()
    }

    /// Behind the content: signatures, then nothing but the ends of what it lies in.
    fn finish(&mut self) -> Result<(), Unread> {
        let State::Content(content, mut level) = std::mem::replace(&mut self.state, State::Failed) else {
            return Err(Unread::EndsEarly);
        };
        let mut source = content.into_inner().into_inner();
        loop {
            source = self.end_level(source, level)?;
            level = level.saturating_sub(1);
            let mut body = match source {
                Source::Raw(..) => break,
                Source::Encrypted(inner) => inner.into_inner(),
                Source::Compressed(inner, _) => inner.into_inner(),
            };
            // Some write a byte more than there is to unpack.
            io::copy(&mut body, &mut io::sink())?;
            source = body.into_inner();
        }
        if let Some(signers) = &self.signers {
            for pending in self.pending.drain(..) {
                pending.judge(signers, self.now)?;
            }
        }
        self.state = State::Ended;
        Ok(())
    }

    /// The signatures that belong here come in the reverse order of their announcements.
    fn end_level(&mut self, mut source: Source<'a>, level: usize) -> Result<Source<'a>, Unread> {
        let mut skipped = 0;
        while !source.is_at_end()? {
            let is_raw = matches!(source, Source::Raw(..));
            let header = match PacketHeader::try_from_reader(&mut source) {
                Err(_) if is_raw => return Err(Unread::Garbage),
                header => header?,
            };
            let awaited = self.pending.iter_mut().rev().find(|one| one.level == level && one.is_awaited());
            match (header.tag(), awaited) {
                (Tag::Signature, Some(awaited)) => {
                    let (bytes, rest) = whole(header, source)?;
                    awaited.has_come(Signature::try_from_reader(header, &bytes[..])?);
                    source = rest;
                }
                (tag, _) if says_nothing(tag) => source = skip(header, source, &mut skipped)?,
                (_, Some(_)) => return Err(Unread::Corrupt("its signature is missing".to_owned())),
                (_, None) if is_raw => return Err(Unread::Garbage),
                (_, None) => return Err(Unread::Corrupt("other packets follow its content".to_owned())),
            }
        }
        if self.pending.iter().any(|one| one.level == level && one.is_awaited()) {
            return Err(Unread::EndsEarly);
        }
        Ok(source)
    }
}

impl Read for Message<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let content = match &mut self.state {
            State::Content(content, _) => content,
            State::Ended => return Ok(0),
            State::Failed => return Err(io::Error::other("it was not read to its end")),
        };
        if buf.is_empty() {
            return Ok(0);
        }
        match content.read(buf) {
            Ok(0) => {
                let finished = self.finish();
                finished.map(|()| 0).map_err(|error| self.fail(error))
            }
            Ok(n) => {
                self.pending.iter_mut().for_each(|one| one.update(&buf[..n]));
                Ok(n)
            }
            Err(error) => Err(self.fail(error)),
        }
    }
}

/// From the first packet to the content.
struct Walk<'a, 'r> {
    said: Said,
    expanding: Expanding<'a>,
    reading: &'r mut dyn Reading,
    locks: Locks,
    /// Containers around what is read now.
    level: usize,
    encrypted: usize,
    compressed: usize,
    skipped: usize,
    pending: Vec<Pending>,
    signers: Option<Vec<Signer>>,
    memory: Vec<Permit>,
    /// The key came from a passphrase, and nothing has proved it yet.
    is_unproved: bool,
    now: Timestamp,
}

enum Step<'a> {
    On(Source<'a>),
    Content(LiteralDataReader<Source<'a>>),
}

impl<'a> Walk<'a, '_> {
    fn into_content(mut self, mut source: Source<'a>) -> Result<Message<'a>, Unread> {
        loop {
            match self.step(source) {
                Ok(Step::On(next)) => source = next,
                Ok(Step::Content(content)) => return Ok(self.message(content)),
                Err(error) => {
                    return Err(match self.said.means(error) {
                        Unread::Corrupt(_) | Unread::EndsEarly | Unread::Unsealed if self.is_unproved => {
                            Unread::Passphrase
                        }
                        other => other,
                    });
                }
            }
        }
    }

    fn message(self, content: LiteralDataReader<Source<'a>>) -> Message<'a> {
        Message {
            state: State::Content(Box::new(content), self.level),
            said: self.said,
            is_signed: !self.pending.is_empty(),
            pending: self.pending,
            signers: self.signers,
            is_encrypted: self.encrypted > 0,
            _memory: self.memory,
            now: self.now,
        }
    }

    fn step(&mut self, mut source: Source<'a>) -> Result<Step<'a>, Unread> {
        if self.is_signature_alone() && source.is_at_end()? {
            return Err(Unread::Refused(NO_MESSAGE));
        }
        let header = PacketHeader::try_from_reader(&mut source)?;
        let tag = header.tag();
        if says_nothing(tag) {
            return skip(header, source, &mut self.skipped).map(Step::On);
        }
        let opens = [
            Tag::PublicKeyEncryptedSessionKey,
            Tag::SymKeyEncryptedSessionKey,
            Tag::SymEncryptedProtectedData,
            Tag::GnupgAeadData,
            Tag::SymEncryptedData,
        ];
        if !self.locks.is_empty() && !opens.contains(&tag) {
            return Err(Unread::Corrupt("nothing encrypted follows its session keys".to_owned()));
        }
        match tag {
            Tag::PublicKeyEncryptedSessionKey | Tag::SymKeyEncryptedSessionKey => {
                let (bytes, rest) = whole(header, source)?;
                if tag == Tag::PublicKeyEncryptedSessionKey {
                    self.locks.add_key(PublicKeyEncryptedSessionKey::try_from_reader(header, &bytes[..])?)?;
                } else {
                    self.locks
                        .add_passphrase(SymKeyEncryptedSessionKey::try_from_reader(header, &bytes[..])?)?;
                }
                Ok(Step::On(rest))
            }
            Tag::SymEncryptedProtectedData | Tag::GnupgAeadData => self.decrypt(header, source).map(Step::On),
            Tag::SymEncryptedData => Err(Unread::Refused(UNPROTECTED)),
            Tag::CompressedData => self.decompress(header, source).map(Step::On),
            Tag::OnePassSignature | Tag::Signature => self.sign(header, source).map(Step::On),
            Tag::LiteralData => self.content(header, source).map(Step::Content),
            _ => {
                Err(Unread::Corrupt(format!("a packet of type {} has no place in a message", u8::from(tag))))
            }
        }
    }

    fn decrypt(&mut self, header: PacketHeader, source: Source<'a>) -> Result<Source<'a>, Unread> {
        self.encrypted += 1;
        self.check_depth(self.encrypted)?;
        let is_gnupg = header.tag() == Tag::GnupgAeadData;
        let mut body = PacketBodyReader::new(header, source)?;
        let begin: Vec<u8> = body.fill_buf()?.iter().take(BEGIN_BYTES).copied().collect();
        let mut reader = if is_gnupg {
            SymEncryptedProtectedDataReader::new_gnupg_aead(body)?
        } else {
            SymEncryptedProtectedDataReader::new(body)?
        };
        let locks = std::mem::take(&mut self.locks);
        let (locks, is_proved, chunk) = match reader.config() {
            ProtectedDataConfig::Seipd(SymEncryptedProtectedDataConfig::V1) => {
                (locks.of_versions(PkeskVersion::V3, &[SkeskVersion::V4]), true, 0)
            }
            ProtectedDataConfig::Seipd(SymEncryptedProtectedDataConfig::V2 { chunk_size, .. }) => {
                (locks.of_versions(PkeskVersion::V6, &[SkeskVersion::V6]), true, chunk_size.as_byte_size())
            }
            ProtectedDataConfig::GnupgAead(GnupgAeadDataConfig { chunk_size, .. }) => {
                let versions = [SkeskVersion::V4, SkeskVersion::V5];
                let is_proved = locks.passphrases.iter().all(|lock| lock.version() == SkeskVersion::V5);
                (locks.of_versions(PkeskVersion::V3, &versions), is_proved, chunk_size.as_byte_size())
            }
        };
        let prefix = (chunk == 0).then(|| begin.get(1..)).flatten().unwrap_or_default().to_vec();
        let locks = Locks { prefix, ..locks };
        if chunk > 0 {
            self.memory.push(self.reading.memory(CHUNKS * (u64::from(chunk) + TAG_BYTES))?);
        }
        let key = self.reading.unlock(&locks)?;
        self.is_unproved = !is_proved && key.is_of_passphrase;
        reader.decrypt(&key.key, Seipdv1ReadMode::Streaming)?;
        self.level += 1;
        Ok(Source::Encrypted(Box::new(reader)))
    }

    fn decompress(&mut self, header: PacketHeader, source: Source<'a>) -> Result<Source<'a>, Unread> {
        self.compressed += 1;
        self.check_depth(self.compressed)?;
        self.is_unproved = false;
        let reader = CompressedDataReader::new(PacketBodyReader::new(header, source)?, true)?;
        self.level += 1;
        let metered = Metered { expanding: self.expanding.clone(), said: self.said.clone(), taken: 0 };
        Ok(Source::Compressed(Box::new(reader), metered))
    }

    fn sign(&mut self, header: PacketHeader, source: Source<'a>) -> Result<Source<'a>, Unread> {
        if self.pending.is_empty() {
            self.signers = self.reading.signers()?;
        }
        if self.pending.len() >= SIGNATURES_MAX {
            return Err(Unread::Corrupt(format!("it has more than {SIGNATURES_MAX} signatures")));
        }
        self.is_unproved = false;
        let (bytes, rest) = whole(header, source)?;
        let is_checked = self.signers.is_some();
        self.pending.push(if header.tag() == Tag::Signature {
            Pending::whole(Signature::try_from_reader(header, &bytes[..])?, self.level, is_checked)
        } else {
            Pending::one_pass(OnePassSignature::try_from_reader(header, &bytes[..])?, self.level, is_checked)
        });
        Ok(rest)
    }

    fn content(
        &mut self,
        header: PacketHeader,
        source: Source<'a>,
    ) -> Result<LiteralDataReader<Source<'a>>, Unread> {
        let has_end = !matches!(header.packet_length(), PacketLength::Indeterminate);
        let is_proved = self.encrypted > 0 || self.pending.iter().any(Pending::is_awaited);
        if !has_end && !is_proved {
            return Err(Unread::Refused("an OpenPGP message that does not say where it ends"));
        }
        self.is_unproved = false;
        Ok(LiteralDataReader::new(PacketBodyReader::new(header, source)?)?)
    }

    /// What a signature in a file of its own begins with, and ends.
    fn is_signature_alone(&self) -> bool {
        self.level == 0 && !self.pending.is_empty() && !self.pending.iter().any(Pending::is_awaited)
    }

    /// The first of its kind is what a message usually has.
    fn check_depth(&self, of_kind: usize) -> Result<(), Unread> {
        if of_kind > self.reading.nested_max() + 1 { Err(Unread::TooDeep) } else { Ok(()) }
    }
}

/// A key, or a signature in a file of its own.
pub(crate) const NO_MESSAGE: &str = "an OpenPGP key or signature, and no message";
pub(crate) const UNPROTECTED: &str =
    "an OpenPGP message that nothing proves unchanged (without a modification detection code)";
/// The longest block of a cipher, twice its last two bytes, and the version before them.
const BEGIN_BYTES: usize = 1 + 16 + 2;
const TAG_BYTES: u64 = 16;

fn says_nothing(tag: Tag) -> bool {
    matches!(tag, Tag::Marker | Tag::Padding | Tag::UnassignedNonCritical(_) | Tag::Experimental(_))
}

/// A packet that is small enough to be held.
fn whole(header: PacketHeader, source: Source<'_>) -> Result<(Vec<u8>, Source<'_>), Unread> {
    let mut body = PacketBodyReader::new(header, source)?;
    let mut bytes = Vec::new();
    (&mut body).take(PACKET_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > PACKET_BYTES_MAX {
        return Err(Unread::Corrupt(format!("a packet has more than {} KiB", PACKET_BYTES_MAX >> 10)));
    }
    Ok((bytes, body.into_inner()))
}

fn skip<'a>(header: PacketHeader, source: Source<'a>, skipped: &mut usize) -> Result<Source<'a>, Unread> {
    *skipped += 1;
    if *skipped > SKIPPED_MAX {
        return Err(Unread::Corrupt(format!("it has more than {SKIPPED_MAX} packets that say nothing")));
    }
    let mut body = PacketBodyReader::new(header, source)?;
    io::copy(&mut body, &mut io::sink())?;
    Ok(body.into_inner())
}
