//! Keys: a prefix byte, then big-endian numbers, so that bytes sort as the things do. See the table in [`super`].

use crate::model::identity::FileIdentity;
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;

/// Rows of which the store has one each: what a key is called, its bytes, and the place that it stands for. There is no other way to
/// name one, so that none is without a place.
macro_rules! single_rows {
    ($($(#[$doc:meta])* $name:ident = $key:literal => $place:ident;)*) => {
        $($(#[$doc])* pub(super) const $name: &[u8] = $key;)*

        fn single_row(key: &[u8]) -> Option<Place<'_>> {
            match key {
                $($key => Some(Place::$place),)*
                _ => None,
            }
        }

        #[cfg(test)]
        const SINGLE_ROWS: &[(&[u8], Place<'_>)] = &[$(($key, Place::$place)),*];
    };
}

/// Rows of which there are many: the byte that their keys begin with, how many follow, and the place of such a key. The same holds.
macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal, $bytes:expr => $place:expr;)*) => {
        $($(#[$doc])* pub(super) const $name: u8 = $prefix;)*

        fn row_of_kind(key: &[u8]) -> Option<Place<'_>> {
            let (prefix, rest) = key.split_first()?;
            match *prefix {
                $($prefix if rest.len() == $bytes => {
                    let place: fn(&[u8]) -> Option<Place<'_>> = $place;
                    place(key)
                })*
                _ => None,
            }
        }
    };
}

single_rows! {
    /// The store's own format mark.
    FORMAT = b"mformat" => Format;
    /// By which keys the store is encrypted, where it is.
    SEALS = b"mseals" => Seals;
    /// Which store it is, and how often it was started.
    MARK = b"mmark" => Mark;
    /// The configuration that a service went by last.
    CONFIGURATION = b"mconfiguration" => Configuration;
    /// What does not go on until an operator says so.
    HALTS = b"mhalts" => Halts;
    /// What an operator set of how fast rules may work.
    PACES = b"mpaces" => Paces;
    /// When files came last of whom they are expected.
    EXPECTED = b"mexpected" => Expected;
    /// Where the wall clock stepped.
    CLOCK_STEPS = b"mclock" => ClockSteps;
    /// Whether an audit trail is kept.
    AUDITING = b"mauditing" => Auditing;
    /// Where it ends.
    AUDIT_HEAD = b"maudit" => AuditHead;
    /// Where the data folder lay, and lies.
    HOMES = b"mhomes" => Homes;
    /// On which mounts the folders of rules lay.
    PLACES = b"mplaces" => Places;
}

/// Where a store moved to, which then opens for nobody. In clear: it is read before the store is opened.
pub(super) const MOVED: &[u8] = b"mmoved";

kinds! {
    JOB = b'j', JOB_ID_BYTES => |key| job_of(key).map(Place::Job);
    UNFINISHED = b'u', JOB_ID_BYTES => |key| job_of(key).map(Place::Unfinished);
    LEDGER = b'l', JOB_ID_BYTES => |key| job_of(key).map(Place::Ledger);
    KEPT = b'w', KEPT_BYTES => |_| Some(Place::Kept);
    KEPT_AT = b'K', KEPT_AT_BYTES => |_| Some(Place::KeptAt);
    OTHER_NAMES = b'n', OTHER_NAMES_BYTES => |_| Some(Place::OtherNames);
    MARKED = b'M', MARKED_BYTES => |_| Some(Place::Marked);
    CHECKPOINT = b'p', JOB_ID_BYTES => |key| job_of(key).map(Place::Checkpoint);
    INTENT = b'i', JOB_ID_BYTES => |key| job_of(key).map(Place::Intent);
    FAILED = b'f', JOB_ID_BYTES + 8 => |key| job_of(key).map(Place::Failed);
    SETTLED = b's', JOB_ID_BYTES + 8 => |key| job_of(key).map(Place::Settled);
    SHAPE = b'e', JOB_ID_BYTES + 4 => |key| job_of(key).map(Place::Shape);
    RULE = b'r', blake3::OUT_LEN => |_| Some(Place::Rule);
    CONTENT = b'h', blake3::OUT_LEN + JOB_ID_BYTES => |key| content_job_of(key).map(Place::Content);
    DELIVERY = b'd', NUMBERED_BYTES => |key| Some(Place::Delivery(revision_and_job_of(key)?.1));
    /// A time stands where a delivery has its revision.
    ARCHIVED = b'a', NUMBERED_BYTES => |key| Some(Place::Archived(revision_and_job_of(key)?.1));
    HOOK = b'g', EVENT_BYTES => |_| Some(Place::Event);
    AUDIT = b't', 8 => |_| Some(Place::Audited);
    DESTROY = b'x', JOB_ID_BYTES => |key| job_of(key).map(Place::Destroy);
}

/// Chunks of long values lie apart, so that walking over rows does not step over them.
const CONTINUED: u8 = b'c';

const JOB_ID_BYTES: usize = 16;
/// Inode, size, mtime, ctime, device.
const KEPT_BYTES: usize = 3 * 8 + 2 * 16;
/// Inode, size, mtime.
const OTHER_NAMES_BYTES: usize = 2 * 8 + 16;
/// A digest of the path, size, mtime, ctime.
const KEPT_AT_BYTES: usize = blake3::OUT_LEN + 8 + 2 * 16;
/// A digest of the path, size, mtime.
const MARKED_BYTES: usize = blake3::OUT_LEN + 8 + 16;
/// A digest, then a number.
const EVENT_BYTES: usize = blake3::OUT_LEN + 8;
/// A digest, then a number and a job.
const NUMBERED_BYTES: usize = blake3::OUT_LEN + 8 + JOB_ID_BYTES;

pub(super) type Key = Vec<u8>;

/// The one row of a kind that a job has.
pub(super) fn of_job(prefix: u8, job: JobId) -> Key {
    [&[prefix][..], &job.to_bytes()].concat()
}

/// The group of failed records that begins at this position.
pub(super) fn failed_group(job: JobId, first: u64) -> Key {
    [&of_job(FAILED, job)[..], &first.to_be_bytes()].concat()
}

/// An act on failed records, counted from 0.
pub(super) fn settlement(job: JobId, act: u64) -> Key {
    [&of_job(SETTLED, job)[..], &act.to_be_bytes()].concat()
}

/// What the records of an entry look like, of which some failed.
pub(super) fn shape(job: JobId, entry: u32) -> Key {
    [&of_job(SHAPE, job)[..], &entry.to_be_bytes()].concat()
}

/// Rules lie under the hash of their hash's text, which makes the key's length fixed whatever was asked for.
pub(super) fn rule(hash: &str) -> Key {
    [&[RULE][..], blake3::hash(hash.as_bytes()).as_bytes()].concat()
}

/// The numbers of devices are not for good: what does not count for all stands last.
pub(super) fn kept(identity: &FileIdentity) -> Key {
    let FileIdentity { device, inode, size, mtime_ns, ctime_ns } = *identity;
    let place = [inode, size].map(u64::to_be_bytes);
    let times = [mtime_ns, ctime_ns].map(i128::to_be_bytes);
    [&[KEPT][..], place.as_flattened(), times.as_flattened(), &device.to_be_bytes()].concat()
}

/// What the keys of a kept file begin with, whenever anything about it was changed last, and whatever number its device had.
pub(super) fn kept_whatever_ctime(identity: &FileIdentity) -> Key {
    without(kept(identity), size_of::<i128>() + size_of::<u64>())
}

/// The same by where it lies.
pub(super) fn kept_at_whatever_ctime(path: &OsText, identity: &FileIdentity) -> Key {
    without(kept_at(path, identity), size_of::<i128>())
}

fn without(mut key: Key, last: usize) -> Key {
    key.truncate(key.len().saturating_sub(last));
    key
}

/// The same file by where it lies: the numbers of devices, and of files on some, are not for good.
pub(super) fn kept_at(path: &OsText, identity: &FileIdentity) -> Key {
    let path = blake3::hash(path.as_os_str().as_encoded_bytes());
    let times = [identity.mtime_ns, identity.ctime_ns].map(i128::to_be_bytes);
    [&[KEPT_AT][..], path.as_bytes(), &identity.size.to_be_bytes(), times.as_flattened()].concat()
}

/// A file that a job took while it had other names. The number of its device is not for good.
pub(super) fn other_names(identity: &FileIdentity) -> Key {
    let place = [identity.inode, identity.size].map(u64::to_be_bytes);
    [&[OTHER_NAMES][..], place.as_flattened(), &identity.mtime_ns.to_be_bytes()].concat()
}

/// A file that the marker of its folder stood for, where it lies: a rename and back, and other names of it, leave its key as it is.
pub(super) fn marked(path: &OsText, identity: &FileIdentity) -> Key {
    let path = blake3::hash(path.as_os_str().as_encoded_bytes());
    let FileIdentity { size, mtime_ns, .. } = identity;
    [&[MARKED][..], path.as_bytes(), &size.to_be_bytes(), &mtime_ns.to_be_bytes()].concat()
}

/// All jobs of a rule that published this content; see [`published_content`].
pub(super) fn content(rule: &str, content_hash: &str) -> Key {
    digest_of(CONTENT, rule, content_hash.as_bytes())
}

/// That a job published this content; oldest first.
pub(super) fn published_content(rule: &str, content_hash: &str, job: JobId) -> Key {
    [&content(rule, content_hash)[..], &job.to_bytes()].concat()
}

/// All deliveries of a key of a rule; see [`published_delivery`].
pub(super) fn delivery(rule: &str, delivery_key: &OsText) -> Key {
    digest_of(DELIVERY, rule, delivery_key.as_os_str().as_encoded_bytes())
}

/// A job's delivery; the last revision sorts last.
pub(super) fn published_delivery(rule: &str, delivery_key: &OsText, revision: u64, job: JobId) -> Key {
    [&delivery(rule, delivery_key)[..], &revision.to_be_bytes(), &job.to_bytes()].concat()
}

/// The revision and the job of a key made by [`published_delivery`].
pub(super) fn revision_and_job_of(key: &[u8]) -> Option<(u64, JobId)> {
    let revision: [u8; 8] = key.get(33..41)?.try_into().ok()?;
    let job: [u8; 16] = key.get(41..57)?.try_into().ok()?;
    Some((u64::from_be_bytes(revision), JobId::from_bytes(job)))
}

/// The job of a key made by [`published_content`].
pub(super) fn content_job_of(key: &[u8]) -> Option<JobId> {
    let job: [u8; 16] = key.get(33..49)?.try_into().ok()?;
    Some(JobId::from_bytes(job))
}

/// The archived sources of a rule.
pub(super) fn archived_by(rule: &str) -> Key {
    digest_of(ARCHIVED, rule, b"")
}

/// The sources of a rule that were archived from this moment on, by time.
pub(super) fn archived_from(rule: &str, unix_ms: u64) -> Key {
    [&archived_by(rule)[..], &unix_ms.to_be_bytes()].concat()
}

pub(super) fn archived(rule: &str, unix_ms: u64, job: JobId) -> Key {
    [&archived_from(rule, unix_ms)[..], &job.to_bytes()].concat()
}

/// What a hook is to be told; see [`event`].
pub(super) fn events_of(hook: &str) -> Key {
    digest_of(HOOK, hook, b"")
}

/// An event that a hook is to be told; the oldest first.
pub(super) fn event(hook: &str, number: u64) -> Key {
    [&events_of(hook)[..], &number.to_be_bytes()].concat()
}

/// The number of a key made by [`event`].
pub(super) fn event_of(key: &[u8]) -> Option<u64> {
    let bytes: [u8; 8] = key.get(33..41)?.try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

/// An event that is not in the audit trail yet; the oldest first.
pub(super) fn audited(number: u64) -> Key {
    [&[AUDIT][..], &number.to_be_bytes()].concat()
}

/// The number of a key made by [`audited`].
pub(super) fn audited_of(key: &[u8]) -> Option<u64> {
    let bytes: [u8; 8] = key.get(1..)?.try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

/// Under a hash, which makes the key's length fixed whatever the text is. A rule's name holds no NUL.
fn digest_of(prefix: u8, rule: &str, text: &[u8]) -> Key {
    let mut hasher = blake3::Hasher::new();
    hasher.update(rule.as_bytes()).update(&[0]).update(text);
    [&[prefix][..], hasher.finalize().as_bytes()].concat()
}

/// The chunk of a long value after its first; `index` from 1.
pub(super) fn continued(head: &[u8], index: u32) -> Key {
    [&[CONTINUED][..], head, &index.to_be_bytes()].concat()
}

/// The job of a key made by [`of_job`] or longer ones that begin like it.
pub(super) fn job_of(key: &[u8]) -> Option<JobId> {
    let bytes: [u8; 16] = key.get(1..17)?.try_into().ok()?;
    Some(JobId::from_bytes(bytes))
}

/// The position of a key made by [`failed_group`], or the act of one made by [`settlement`].
pub(super) fn position_of(key: &[u8]) -> Option<u64> {
    let bytes: [u8; 8] = key.get(17..25)?.try_into().ok()?;
    Some(u64::from_be_bytes(bytes))
}

/// What a key of the table `meta` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    Format,
    Seals,
    Mark,
    Configuration,
    Halts,
    Paces,
    Expected,
    ClockSteps,
    Places,
    Homes,
    Auditing,
    AuditHead,
    Job(JobId),
    Unfinished(JobId),
    Destroy(JobId),
    Ledger(JobId),
    Kept,
    KeptAt,
    OtherNames,
    Marked,
    Checkpoint(JobId),
    Intent(JobId),
    Failed(JobId),
    Settled(JobId),
    Shape(JobId),
    Rule,
    Content(JobId),
    Delivery(JobId),
    Archived(JobId),
    Event,
    Audited,
    Continued { head: &'a [u8], index: u32 },
}

/// The kind of a key, if it is one that this version writes.
pub(super) fn place_of(key: &[u8]) -> Option<Place<'_>> {
    single_row(key).or_else(|| row_of_kind(key)).or_else(|| {
        let (head, index) = key.strip_prefix(&[CONTINUED])?.split_last_chunk::<4>()?;
        // What goes on must itself be a row.
        place_of(head)?;
        Some(Place::Continued { head, index: u32::from_be_bytes(*index) })
    })
}

/// What lies under a key, in a word.
pub(super) fn name_of(key: &[u8]) -> &'static str {
    match key.first() {
        Some(&JOB) => "job",
        Some(&LEDGER) => "ledger row",
        Some(&CHECKPOINT) => "checkpoint",
        Some(&INTENT) => "intent",
        Some(&FAILED) => "group of failed records",
        Some(&SETTLED) => "act on failed records",
        Some(&CONTINUED) => "part of a long value",
        _ => "value",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_that_is_written_is_known_and_no_other() {
        let id = JobId::from_parts(1, 2);
        let identity = FileIdentity { device: 1, inode: 2, size: 3, mtime_ns: -4, ctime_ns: 5 };
        let job = of_job(JOB, id);
        let single = SINGLE_ROWS.iter().map(|(key, place)| (key.to_vec(), *place));
        let of_kinds = [
            (job.clone(), Place::Job(id)),
            (of_job(UNFINISHED, id), Place::Unfinished(id)),
            (of_job(DESTROY, id), Place::Destroy(id)),
            (of_job(LEDGER, id), Place::Ledger(id)),
            (of_job(CHECKPOINT, id), Place::Checkpoint(id)),
            (of_job(INTENT, id), Place::Intent(id)),
            (failed_group(id, 7), Place::Failed(id)),
            (settlement(id, 7), Place::Settled(id)),
            (shape(id, 7), Place::Shape(id)),
            (rule("blake3:00"), Place::Rule),
            (published_content("payments", "blake3:00", id), Place::Content(id)),
            (published_delivery("payments", &OsText::from("acme"), 2, id), Place::Delivery(id)),
            (archived("payments", 7, id), Place::Archived(id)),
            (event("operators", 7), Place::Event),
            (audited(7), Place::Audited),
            (kept(&identity), Place::Kept),
            (kept_at(&OsText::from("/in/a"), &identity), Place::KeptAt),
            (other_names(&identity), Place::OtherNames),
            (marked(&OsText::from("/in/a"), &identity), Place::Marked),
            (continued(&job, 3), Place::Continued { head: &job, index: 3 }),
        ];
        for (key, place) in single.chain(of_kinds) {
            assert_eq!(place_of(&key), Some(place));
            assert_eq!(place_of(&key[..key.len() - 1]), None, "cut: {key:?}");
            assert_eq!(place_of(&[&key[..], &[0]].concat()), None, "longer: {key:?}");
        }
        assert_eq!((place_of(b""), place_of(b"zebra")), (None, None));
    }
}
