//! Keys derived from a passphrase: one at a time, since each takes up to a quarter of a gigabyte for a second, and once for each file,
//! whatever holds its job and however often that is tried again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use age::DecryptError;
use age::secrecy::ExposeSecret;
use age_core::format::{FileKey, Stanza};

use super::context::{Context, refused};
use crate::allowance::{Allowance, Permit, Refusal};

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
    pub(super) fn new(
        inner: age::scrypt::Identity,
        passphrase: &str,
        context: &Context,
        place: &str,
    ) -> Self {
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
    fn take_memory(&self, stanza: &Stanza) -> Result<Option<Permit>, Refusal> {
        let factor = stanza.args.last().and_then(|factor| factor.parse::<u32>().ok()).unwrap_or(0);
        let bytes = 1024_u64.checked_shl(factor).unwrap_or(u64::MAX);
        let is_counted = bytes <= self.allowance.bytes_max();
        is_counted.then(|| self.allowance.take("the key derivation", bytes)).transpose()
    }
}

/// Derives a key that takes so much memory, which is counted as far as it fits into the limit that all share.
fn one_at_a_time<T>(allowance: &Allowance, bytes: u64, derive: impl FnOnce() -> T) -> Result<T, Refusal> {
    let is_counted = bytes <= allowance.bytes_max();
    let _memory = is_counted.then(|| allowance.take("the key derivation", bytes)).transpose()?;
    let _one_at_a_time = allowance.resting(|| DERIVING.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(derive())
}

/// The same, of a passphrase that may be another than a message was encrypted with: it is not derived from again what did not open.
/// `header`: of the passphrase and all that it is tried on.
pub(super) fn once<T>(
    allowance: &Allowance,
    bytes: u64,
    header: [u8; 32],
    derive: impl FnOnce() -> Option<T>,
) -> Result<Option<T>, Refusal> {
    if matches!(remembered(&header), Some(None)) {
        return Ok(None);
    }
    let derived = if bytes == 0 { derive() } else { one_at_a_time(allowance, bytes, derive)? };
    if derived.is_none() {
        outcomes().get_or_insert_default().remember(header, None);
    }
    Ok(derived)
}

impl age::Identity for Derivation {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        let header = self.key_of(stanza);
        if let Some(outcome) = remembered(&header) {
            return Some(told(outcome));
        }
        // Before the lock: who waits for memory may wait for whoever waits for the lock, and has windows of its own.
        let _memory = match self.take_memory(stanza) {
            Ok(memory) => memory,
            Err(refusal) => return Some(Err(DecryptError::Io(refused(&self.place, refusal).into()))),
        };
        let _one_at_a_time =
            self.allowance.resting(|| DERIVING.lock().unwrap_or_else(PoisonError::into_inner));
        if let Some(outcome) = remembered(&header) {
            return Some(told(outcome)); // by another look at the same file
        }
        let derived = age::Identity::unwrap_stanza(&self.inner, stanza)?;
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::Duration;

    use age::secrecy::SecretString;
    use age::{Identity as _, Recipient as _};

    use super::*;
    use crate::allowance::{AtOnce, ReadingMemory};

    const MIB: u64 = 1 << 20;

    fn stanza(passphrase: &str) -> Stanza {
        let mut recipient = age::scrypt::Recipient::new(SecretString::from(passphrase));
        recipient.set_work_factor(14); // 16 MiB
        let (stanzas, _) = recipient.wrap_file_key(&FileKey::new(Box::new([7; 16]))).expect("wraps");
        stanzas.into_iter().next().expect("one")
    }

    /// Somebody may send again and again what takes long to try.
    #[test]
    fn a_passphrase_that_does_not_open_a_message_is_not_derived_from_again() {
        let allowance = Allowance::alone(MIB);
        let mut derived = 0;
        let mut open = |header, key: Option<u8>| {
            let derive = || {
                derived += 1;
                key
            };
            once(&allowance, 1, header, derive).expect("it fits")
        };
        let [wrong, right] = [[251; 32], [252; 32]];
        assert_eq!((open(wrong, None), open(wrong, None)), (None, None));
        assert_eq!((open(right, Some(7)), open(right, Some(7))), (Some(7), Some(7)));
        assert_eq!(derived, 3, "one for the first, and two for the second, whose key is not kept");
    }

    /// Each has a window already; beside both windows no key can be derived.
    #[test]
    fn of_two_that_cannot_both_derive_beside_their_windows_the_younger_gives_way() {
        let pool = ReadingMemory::new(24 * MIB);
        let begun = Arc::new(std::sync::Barrier::new(2));
        let (sender, outcomes) = sync_channel(2);
        for order in [1, 2] {
            let (pool, begun, sender) = (Arc::clone(&pool), Arc::clone(&begun), sender.clone());
            std::thread::spawn(move || {
                let allowance = Allowance::new(&pool, order, Box::new(AtOnce), Duration::MAX);
                let window = allowance.take("windows", 6 * MIB).expect("it fits");
                begun.wait();
                let derivation = Derivation {
                    inner: age::scrypt::Identity::new(SecretString::from("secret")),
                    passphrase: blake3::hash(b"secret"),
                    allowance,
                    place: String::new(),
                };
                let opened = derivation.unwrap_stanza(&stanza("secret")).expect("it is scrypt");
                drop(window);
                sender.send((order, opened.is_ok())).ok();
            });
        }
        let mut told: Vec<_> = (0..2)
            .map(|_| outcomes.recv_timeout(Duration::from_mins(1)).expect("neither waits for ever"))
            .collect();
        told.sort_unstable();
        assert_eq!(told, [(1, true), (2, false)]);
    }
}
