//! `OpenPGP` messages, binary and armored, as a stream: with the keys and the signers that the rule names.
//!
//! The content of a message without tags (as most are) is known to be whole and unchanged at its end, not before, and who signed it
//! always so: then its last read ends in an error, and nothing of the source is published.

use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;

use super::context::{Bytes, Context, refused};
use super::derivation;
use super::error::{DecodeError, unwrap};
use super::keys;
use super::peek::PeekReader;
use super::tap::{Taken, Tap};
use crate::allowance::Permit;
use crate::clock;
use crate::openpgp::{
    self, Dearmored, Expanding, Locks, Message, Reading, SecretKeys, SessionKey, Signer, Tried, Unread,
};

const LAYER: &str = "pgp";
const BUFFER_BYTES: usize = 64 << 10;

/// A message whose content is to be read.
pub(super) struct Opened<'a> {
    pub content: Bytes<'a>,
    pub is_encrypted: bool,
    /// Each signature is held against the rule's signers, and there are some.
    pub is_signed: bool,
}

/// Opens a message, up to its content; so many layers were taken off with this one.
pub(super) fn open<'a>(
    input: PeekReader<Bytes<'a>>,
    armored: bool,
    depth: u32,
    context: &Arc<Context>,
    place: &Arc<str>,
) -> Result<Opened<'a>, DecodeError> {
    let taken = Arc::new(Taken::default());
    let input = BufReader::with_capacity(BUFFER_BYTES, Tap::new(input, &taken));
    let input: Box<dyn BufRead + Send + 'a> =
        if armored { Box::new(Dearmored::new(input)) } else { Box::new(input) };
    let told = Told { context: Arc::clone(context), taken, place: Arc::clone(place) };
    let mut reading = FromRule { context, place, nested_max: context.depth_limit().saturating_sub(depth) };
    let expanding = expanding(context, depth, place);
    let message =
        Message::open(input, expanding, &mut reading, clock::now()).map_err(|unread| told.explain(unread))?;
    Ok(Opened {
        is_encrypted: message.is_encrypted(),
        is_signed: message.is_signed() && !context.signers.is_empty(),
        content: Box::new(Explained { inner: message, told }),
    })
}

fn expanding(context: &Arc<Context>, depth: u32, place: &Arc<str>) -> Expanding<'static> {
    let (context, place) = (Arc::clone(context), Arc::clone(place));
    Arc::new(move |bytes| Ok(context.count_expanded(depth, bytes, &place)?))
}

/// What the rule has for a message.
struct FromRule<'c> {
    context: &'c Context,
    place: &'c str,
    nested_max: u32,
}

impl Reading for FromRule<'_> {
    fn unlock(&mut self, locks: &Locks) -> Result<SessionKey, Unread> {
        self.session_key(locks).map_err(said)
    }

    fn signers(&mut self) -> Result<Option<Vec<Signer>>, Unread> {
        let files = &self.context.signers;
        if files.is_empty() {
            return Ok(None);
        }
        let mut signers = Vec::new();
        for file in files {
            let certificates = keys::certificates(file).map_err(said)?;
            let of_file = |certificate| Signer { certificate, file: file.clone() };
            signers.extend(certificates.into_iter().map(of_file));
        }
        Ok(Some(signers))
    }

    fn memory(&mut self, bytes: u64) -> Result<Permit, Unread> {
        self.context.take_memory("a chunk of its data", bytes, self.place).map_err(said)
    }

    fn nested_max(&self) -> usize {
        self.nested_max as usize
    }
}

impl FromRule<'_> {
    fn session_key(&self, locks: &Locks) -> Result<SessionKey, DecodeError> {
        let mut first_trouble = None;
        if locks.takes_key() {
            match self.by_key(locks) {
                Ok(key) => return Ok(key),
                Err(error) => first_trouble = Some(error),
            }
        }
        if locks.takes_passphrase() {
            return match self.by_passphrase(locks) {
                Ok(key) => Ok(key),
                Err(error) if self.context.passphrase_file.is_some() => Err(error),
                Err(error) => Err(first_trouble.unwrap_or(error)),
            };
        }
        let place = self.place.to_owned();
        let detail = "it is encrypted, and has nothing that a key or passphrase could open";
        Err(first_trouble.unwrap_or(DecodeError::Corrupt {
            place,
            layer: LAYER,
            offset: 0,
            detail: detail.to_owned(),
        }))
    }

    fn by_key(&self, locks: &Locks) -> Result<SessionKey, DecodeError> {
        let place = || self.place.to_owned();
        let passphrase = keys::passphrase_line(self.context);
        let line = passphrase.as_ref().ok().and_then(Option::as_ref).map(|line| line.as_bytes());
        let mut trouble: Option<DecodeError> = None;
        let mut unsupported: Option<String> = None;
        for file in &self.context.identities {
            let bytes = match keys::read(file) {
                Ok(bytes) if openpgp::holds_secret_keys(&bytes) => bytes,
                Ok(_) => continue,
                Err(error) => {
                    trouble.get_or_insert(error);
                    continue;
                }
            };
            let tried = SecretKeys::read(&bytes).map(|keys| keys.open(locks, line));
            match tried {
                Ok(Tried::Opened(key)) => return Ok(key),
                Ok(Tried::NotForIt) => {}
                Ok(Tried::Unsupported(algorithm)) => unsupported = unsupported.or(Some(algorithm)),
                Ok(Tried::Failed) => {
                    let detail = "its session key is damaged: it is encrypted to a key that is there, which does not open it";
                    return Err(DecodeError::Corrupt {
                        place: place(),
                        layer: LAYER,
                        offset: 0,
                        detail: detail.to_owned(),
                    });
                }
                Ok(Tried::Locked) => {
                    trouble = Some(match &passphrase {
                        Err(DecodeError::KeyFile { file, detail }) => key_file(file, detail),
                        _ => key_file(file, keys::locked(self.context.passphrase_file.is_some())),
                    });
                }
                Err(detail) => trouble = trouble.or(Some(key_file(file, detail))),
            }
        }
        Err(trouble.unwrap_or_else(|| self.no_key(locks, unsupported)))
    }

    /// No key opens it, and none is there that only has to be mended. `of_ours`: the algorithm of one that it is for.
    fn no_key(&self, locks: &Locks, of_ours: Option<String>) -> DecodeError {
        let place = self.place.to_owned();
        let of_all = locks.unsupported();
        let is_hopeless = !locks.takes_passphrase() && of_all.is_some() || locks.has_one();
        match of_ours.or(of_all) {
            Some(algorithm) => DecodeError::Unsupported { place, algorithm, is_hopeless },
            None => DecodeError::NoPgpKey { place, wanted: locks.recipients() },
        }
    }

    fn by_passphrase(&self, locks: &Locks) -> Result<SessionKey, DecodeError> {
        let line = keys::passphrase_line(self.context)?.ok_or_else(|| keys::no_passphrase(self.place))?;
        let limit = self.context.decode.work_factor_max;
        let bytes = openpgp::memory_bytes(locks, limit).map_err(|unread| match unread {
            Unread::WorkFactor { factor } => {
                DecodeError::WorkFactor { place: self.place.to_owned(), factor, limit }
            }
            other => DecodeError::Corrupt {
                place: self.place.to_owned(),
                layer: LAYER,
                offset: 0,
                detail: other.to_string(),
            },
        })?;
        let allowance = &self.context.allowance;
        let mut header = blake3::Hasher::new();
        header.update(blake3::hash(line.as_bytes()).as_bytes()).update(&locks.of_passphrases());
        let derive = || openpgp::by_passphrase(locks, line.as_bytes());
        let key = derivation::once(allowance, bytes, header.finalize().into(), derive)
            .map_err(|refusal| refused(self.place, refusal))?;
        key.ok_or_else(|| {
            let file = self.context.passphrase_file.clone().unwrap_or_default();
            key_file(&file, &format!("its passphrase does not open {}", self.place))
        })
    }
}

fn key_file(file: &std::path::Path, detail: &str) -> DecodeError {
    DecodeError::KeyFile { file: PathBuf::from(file), detail: detail.to_owned() }
}

fn said(error: DecodeError) -> Unread {
    Unread::Io(error.into())
}

/// Where a message lies, for its errors.
struct Told {
    context: Arc<Context>,
    taken: Arc<Taken>,
    place: Arc<str>,
}

impl Told {
    fn explain(&self, unread: Unread) -> DecodeError {
        let (place, layer, offset) = (self.place.to_string(), LAYER, self.taken.bytes());
        match unread {
            Unread::Io(error) => self.explain_io(error),
            Unread::EndsEarly => DecodeError::EndedEarly { place, layer, offset },
            Unread::Unsealed => DecodeError::Unsealed { place, layer, offset },
            Unread::Garbage => DecodeError::Garbage { place, layer, offset },
            Unread::Corrupt(detail) => DecodeError::Corrupt { place, layer, offset, detail },
            Unread::Refused(what) => DecodeError::Refused { place, what },
            Unread::TooDeep => DecodeError::TooDeep { place, limit: self.context.depth_limit() },
            Unread::WorkFactor { factor } => {
                DecodeError::WorkFactor { place, factor, limit: self.context.decode.work_factor_max }
            }
            Unread::Signature { detail, hint } => DecodeError::Signature { place, detail, hint },
            Unread::SignerLapsed { file, detail } => DecodeError::KeyFile { file, detail },
            Unread::Passphrase => {
                let file = self.context.passphrase_file.clone().unwrap_or_default();
                key_file(&file, &format!("its passphrase does not open {place}"))
            }
        }
    }

    fn explain_io(&self, error: io::Error) -> DecodeError {
        let error = match unwrap(error) {
            Ok(inner) => return inner,
            Err(error) => error,
        };
        match error.downcast::<Unread>() {
            Ok(unread) => self.explain(unread),
            Err(error) => {
                let (place, offset) = (self.place.to_string(), self.taken.bytes());
                DecodeError::Corrupt { place, layer: LAYER, offset, detail: error.to_string() }
            }
        }
    }
}

struct Explained<'a> {
    inner: Message<'a>,
    told: Told,
}

impl Read for Explained<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buf).map_err(|error| self.told.explain_io(error).into())
    }
}
