//! BLAKE3 over the decoded content, off the reading thread once there is much of it.
//!
//! ```text
//! a plain file   BLAKE3(bytes)
//! an archive     BLAKE3 derive_key(ARCHIVE_CONTEXT) over, for each entry in order: bytes | length of bytes | name | length of name
//! ```
//!
//! Lengths are u64, little-endian, and follow what they measure: bytes come as a stream. Read from the end they say where everything
//! begins, so that no two lists of entries are hashed alike; nor is a file like the archive that it could be taken for.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

const BLOCK_BYTES: usize = 256 << 10;
/// Sets archives apart from files; a change makes every archive new.
const ARCHIVE_CONTEXT: &str = "landfall 2026-11-22 entries of an archive";
/// Blocks under way to the helper: bounds memory and lets the reading thread run ahead a little.
const BLOCKS_UNDER_WAY: usize = 3;

/// Hashes the decoded bytes in order.
///
/// The first block is hashed where it is read, so that a small file costs no thread. A helper that is dropped early
/// ends by itself: its channel closes.
#[derive(Default)]
pub(super) struct ContentHasher {
    block: Vec<u8>,
    inline: blake3::Hasher,
    helper: Option<Helper>,
    is_archive: bool,
    /// Bytes of the entry being read.
    entry_bytes: u64,
}

struct Helper {
    blocks: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
    thread: JoinHandle<blake3::Hasher>,
}

impl ContentHasher {
    /// The source is an archive: entries are hashed with their names. Before anything is.
    pub(super) fn begin_archive(&mut self) {
        self.inline = blake3::Hasher::new_derive_key(ARCHIVE_CONTEXT);
        self.is_archive = true;
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.entry_bytes = self.entry_bytes.saturating_add(bytes.len() as u64);
        self.take_in(bytes);
    }

    /// An entry was read to its end.
    pub(super) fn end_entry(&mut self, name: &[u8]) {
        let length = std::mem::take(&mut self.entry_bytes);
        if self.is_archive {
            self.take_in(&length.to_le_bytes());
            self.take_in(name);
            self.take_in(&(name.len() as u64).to_le_bytes());
        }
    }

    fn take_in(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.block.capacity() == 0 {
                self.block.reserve_exact(if bytes.len() < BLOCK_BYTES / 8 {
                    bytes.len()
                } else {
                    BLOCK_BYTES
                });
            }
            let take = bytes.len().min(BLOCK_BYTES - self.block.len());
            self.block.extend_from_slice(&bytes[..take]);
            bytes = &bytes[take..];
            if self.block.len() == BLOCK_BYTES {
                self.hand_over();
            }
        }
    }

    fn hand_over(&mut self) {
        let block = std::mem::take(&mut self.block);
        if self.helper.is_none() {
            self.helper = Helper::start(self.inline.clone());
        }
        let Some(helper) = &self.helper else {
            // No thread to be had: here, then.
            self.inline.update(&block);
            return;
        };
        // It ends only when this sender does, so sending cannot fail.
        helper.blocks.send(block).ok();
        self.block = helper.spare.try_recv().unwrap_or_default();
    }

    /// `blake3:` and the hash.
    pub(super) fn finish(&mut self) -> String {
        let mut hasher = match self.helper.take() {
            Some(Helper { blocks, thread, .. }) => {
                drop(blocks);
                // Its panic is ours: it names the place, and the job breaks off with it.
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
            None => self.inline.clone(),
        };
        hasher.update(&self.block);
        self.block.clear();
        format!("blake3:{}", hasher.finalize().to_hex())
    }
}

impl Helper {
    fn start(mut hasher: blake3::Hasher) -> Option<Self> {
        let (blocks, taken) = sync_channel::<Vec<u8>>(BLOCKS_UNDER_WAY);
        let (done, spare) = sync_channel::<Vec<u8>>(BLOCKS_UNDER_WAY);
        let work = move || {
            while let Ok(mut block) = taken.recv() {
                hasher.update(&block);
                block.clear();
                // No room or nobody there: the block is simply freed.
                done.try_send(block).ok();
            }
            hasher
        };
        let thread = std::thread::Builder::new().name("content-hash".to_owned()).spawn(work).ok()?;
        Some(Self { blocks, spare, thread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_same_whatever_the_reads_are() {
        let data: Vec<u8> = (0..BLOCK_BYTES * 9 / 2).map(|i| (i * 7 % 251) as u8).collect();
        let expected = format!("blake3:{}", blake3::hash(&data).to_hex());
        for step in [1000, BLOCK_BYTES, data.len()] {
            let mut hasher = ContentHasher::default();
            data.chunks(step).for_each(|chunk| hasher.update(chunk));
            hasher.end_entry(b"");
            assert_eq!(hasher.finish(), expected);
        }
    }

    fn archive(entries: &[(&str, &str)]) -> String {
        let mut hasher = ContentHasher::default();
        hasher.begin_archive();
        for (name, bytes) in entries {
            hasher.update(bytes.as_bytes());
            hasher.end_entry(name.as_bytes());
        }
        hasher.finish()
    }

    #[test]
    fn an_archive_is_its_entries_with_their_names_in_their_order() {
        let whole = archive(&[("a", "one"), ("b", "two")]);
        assert_eq!(whole, archive(&[("a", "one"), ("b", "two")]));
        for other in [
            archive(&[("b", "two"), ("a", "one")]),
            archive(&[("a", "onetwo"), ("b", "")]),
            archive(&[("a", "one"), ("c", "two")]),
            archive(&[("a", "one")]),
        ] {
            assert_ne!(whole, other);
        }
        let mut plain = ContentHasher::default();
        plain.update(b"one");
        plain.end_entry(b"");
        assert_ne!(plain.finish(), archive(&[("a", "one")]));
    }
}
