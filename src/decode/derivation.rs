//! Keys derived from a passphrase: one at a time, since each takes up to a quarter of a gigabyte for a second, and once for each file,
//! whatever holds its job and however often that is tried again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use age::DecryptError;
use age::secrecy::ExposeSecret;
use age_core::format::{FileKey, Stanza};

use super::context::{Context, refused};
use crate::allowance::Allowance;

/// Files whose outcome is remembered, each in some hundred bytes; the oldest is forgotten first.
const REMEMBERED_MAX: usize = 10_000;

static DERIVING: Mutex<()> = Mutex::new(());
static OUTCOMES: Mutex<Option<Outcomes>> = Mutex::new(None);

/// Of a derivation from one header by one passphrase; none: the passphrase does not open it.
type Outcome = Option<Arc<FileKey>>;

#[derive(Default)]
struct Outcomes {
    known: HashMap<[u8; 32], Outcome>,
    order: VecDeque<[u8; 32]>,
}

impl Outcomes {
    fn remember(&mut self, header: [u8; 32], outcome: Outcome) {
        if self.known.insert(header, outcome).is_none() {
            self.order.push_back(header);
        }
        if self.order.len() > REMEMBERED_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

/// A passphrase that derives a file's key no more than once.
pub(super) struct Derivation {
    inner: age::scrypt::Identity,
    passphrase: blake3::Hash,
    allowance: Arc<Allowance>,
    place: String,
}

impl Derivation {
    pub fn new(inner: age::scrypt::Identity, passphrase: &str, context: &Context, place: &str) -> Self {
        let passphrase = blake3::hash(passphrase.as_bytes());
        Self { inner, passphrase, allowance: Arc::clone(&context.allowance), place: place.to_owned() }
    }

    fn key_of(&self, stanza: &Stanza) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.passphrase.as_bytes());
        for part in stanza.args.iter().map(String::as_bytes).chain([stanza.body.as_slice()]) {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().into()
    }

    /// Takes what memory it can from the limit that all share; what is past it is bounded by the work factor, one file at a time.
    fn derive(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        let factor = stanza.args.last().and_then(|factor| factor.parse::<u32>().ok()).unwrap_or(0);
        let bytes = 1024_u64.checked_shl(factor).unwrap_or(u64::MAX);
        let counted = bytes <= self.allowance.bytes_max();
        let memory = counted.then(|| self.allowance.take("the key derivation", bytes)).transpose();
        let _memory = match memory {
            Ok(memory) => memory,
            Err(refusal) => return Some(Err(DecryptError::Io(refused(&self.place, refusal).into()))),
        };
        age::Identity::unwrap_stanza(&self.inner, stanza)
    }
}

impl age::Identity for Derivation {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        let header = self.key_of(stanza);
        if let Some(outcome) = remembered(&header) {
            return Some(told(outcome));
        }
        let _one_at_a_time =
            self.allowance.resting(|| DERIVING.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(outcome) = remembered(&header) {
            return Some(told(outcome)); // by another look at the same file
        }
        let derived = self.derive(stanza)?;
        let outcome = match derived {
            Ok(key) => Some(Arc::new(key)),
            Err(DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed) => None,
            Err(other) => return Some(Err(other)),
        };
        outcomes().get_or_insert_default().remember(header, outcome.clone());
        Some(told(outcome))
    }
}

fn outcomes() -> MutexGuard<'static, Option<Outcomes>> {
    OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remembered(header: &[u8; 32]) -> Option<Outcome> {
    outcomes().as_ref()?.known.get(header).cloned()
}

fn told(outcome: Outcome) -> Result<FileKey, DecryptError> {
    let key = outcome.ok_or(DecryptError::DecryptionFailed)?;
    Ok(FileKey::new(Box::new(*key.expose_secret())))
}
