//! What the engine does not check when it opens its log, and would pay for with rows written later.
//!
//! sled 0.34 goes on writing where its newest snapshot ends: in the segment with that position, behind what is there. It does not see
//! whether that segment's header can still be read (`pagecache/snapshot.rs`, "no recovery progress"); if not, the next opening finds
//! nothing of what was written since, however durable it was. The header was synced before the snapshot was, so that its loss is
//! damage, never a crash. Where the log has a later segment, the engine goes on behind that one, and the snapshot's own may have been used
//! anew by then: all that it held was written again elsewhere.
//!
//! ```text
//! segment header: crc32 u32, inverted | lsn i64 | max_stable_lsn i64      little-endian, the numbers XOR i64::MAX; crc of the 16 bytes
//! snapshot name:  snap.XXXXXXXXXXXXXXXX                                  the position behind its last message, hexadecimal
//! ```

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use super::leftovers::{LOG, SNAPSHOT};
use super::opening::SEGMENT_BYTES;
use crate::store::error::StoreError;
use crate::store::folder::failed;

const HEADER_BYTES: usize = 20;

/// Refuses a log that lost the beginning of what its newest snapshot goes on from; called before the engine is opened.
pub(super) fn refuse_lost_log(folder: &Path) -> Result<(), StoreError> {
    let Some(end) = newest_snapshot(folder)? else { return Ok(()) };
    let damaged = |detail: String| StoreError::Damaged { path: folder.to_owned(), detail };
    let path = folder.join(LOG);
    let mut log = match File::open(&path) {
        Ok(log) => log,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(damaged("its log `db` is missing, but a snapshot of it is there".to_owned()));
        }
        Err(error) => return Err(failed("open", &path, error)),
    };
    let segment = SEGMENT_BYTES as u64;
    let wanted = end - end % segment;
    // The engine begins another segment where the rest of one is too short, and then reads none of it.
    if end == wanted {
        return Ok(());
    }
    let length = log.metadata().map_err(|error| failed("look at", &path, error))?.len();
    for at in (0..length).step_by(SEGMENT_BYTES) {
        let mut header = [0; HEADER_BYTES];
        log.seek(SeekFrom::Start(at)).map_err(|error| failed("read", &path, error))?;
        match log.read_exact(&mut header) {
            Ok(()) if position_of(header) >= Some(wanted) => return Ok(()),
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(failed("read", &path, error)),
        }
    }
    Err(damaged(format!("its log `db` lost the part that the snapshot of position {end} goes on from")))
}

/// Where the newest snapshot ends. One whose name is no position is left to the engine.
fn newest_snapshot(folder: &Path) -> Result<Option<u64>, StoreError> {
    let mut newest = None;
    for entry in fs::read_dir(folder).map_err(|error| failed("list", folder, error))? {
        let name = entry.map_err(|error| failed("list", folder, error))?.file_name();
        let position = name.to_str().and_then(|name| name.strip_prefix(SNAPSHOT));
        newest = newest.max(position.and_then(|digits| u64::from_str_radix(digits, 16).ok()));
    }
    Ok(newest)
}

/// The position at which a segment begins; none where its header is damaged, or was never written.
fn position_of(header: [u8; HEADER_BYTES]) -> Option<u64> {
    let (crc, rest) = header.split_first_chunk::<4>()?;
    let position = i64::from_le_bytes(*rest.first_chunk::<8>()?) ^ i64::MAX;
    let is_sound = crc32fast::hash(rest) == u32::from_le_bytes(*crc) ^ u32::MAX;
    if is_sound { u64::try_from(position).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use crate::store::tests::{failed, folder, id, open};

    #[test]
    fn a_log_in_which_the_snapshots_segment_was_used_anew_is_no_damage() {
        let folder = folder();
        drop(open(folder.path()));
        let store = open(folder.path()); // from here on there is a snapshot
        for number in 0..400 {
            let record = failed(number, 60 << 10);
            store.change().failed_records(id(number % 3), 0, &[record]).apply().expect("applied");
        }
        drop(store);
        let store = open(folder.path());
        let found = store.failed_record(id(0), 0).expect("read");
        assert_eq!(found, Some(failed(399, 60 << 10)));
    }
}
