//! BLAKE3 over the decoded bytes, off the reading thread once there is much of it.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

const BLOCK_BYTES: usize = 256 << 10;
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
}

struct Helper {
    blocks: SyncSender<Vec<u8>>,
    spare: Receiver<Vec<u8>>,
    thread: JoinHandle<blake3::Hasher>,
}

impl ContentHasher {
    pub fn update(&mut self, mut bytes: &[u8]) {
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

    /// `blake3:` and the hash, or none if the helper broke.
    pub fn finish(&mut self) -> Option<String> {
        let mut hasher = match self.helper.take() {
            Some(Helper { blocks, thread, .. }) => {
                drop(blocks);
                thread.join().ok()?
            }
            None => self.inline.clone(),
        };
        hasher.update(&self.block);
        self.block.clear();
        Some(format!("blake3:{}", hasher.finalize().to_hex()))
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
            assert_eq!(hasher.finish().as_deref(), Some(expected.as_str()));
        }
    }
}
