//! Gzip in pieces that add up to one ordinary member (RFC 1952).
//!
//! ```text
//! header | blocks of chunk 1, sync-flushed | blocks of chunk 2 … | empty final block | CRC-32, length
//! ```
//!
//! A sync flush ends a chunk at a byte (RFC 1951, 3.2.4: an empty stored block), and no chunk refers back into the one before it, so
//! that workers compress chunks on their own. The CRC of the whole is combined from the CRCs of the parts.

use std::cell::RefCell;
use std::io;

use flate2::{Compress, Compression, FlushCompress};

/// No name, no time (equal content gives equal files), no operating system.
pub(super) const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// A final block of fixed codes that holds only its end.
const FINAL_BLOCK: [u8; 2] = [3, 0];
/// The usual one of `gzip`.
const LEVEL: u32 = 6;
/// What a sync flush adds, and a little room.
const SLACK_BYTES: usize = 64;
const LEAST_ROOM_BYTES: usize = 4 << 10;

thread_local! {
    /// Making one costs 256 KiB of memory each time.
    static COMPRESSOR: RefCell<Compress> = RefCell::new(Compress::new(Compression::new(LEVEL), false));
}

/// Raw deflate blocks of `raw` that end at a byte; nothing for nothing.
pub(super) fn deflate(raw: &[u8]) -> io::Result<Vec<u8>> {
    let mut blocks = Vec::with_capacity(raw.len() / 3 + SLACK_BYTES);
    if raw.is_empty() {
        return Ok(blocks);
    }
    COMPRESSOR.with_borrow_mut(|compressor| -> io::Result<()> {
        compressor.reset();
        loop {
            let done = usize::try_from(compressor.total_in()).map_err(io::Error::other)?;
            let rest = raw.get(done..).unwrap_or_default();
            compressor.compress_vec(rest, &mut blocks, FlushCompress::Sync).map_err(io::Error::other)?;
            // Room left over says that the flush is complete.
            if compressor.total_in() == raw.len() as u64 && blocks.len() < blocks.capacity() {
                return Ok(());
            }
            blocks.reserve(blocks.capacity().max(LEAST_ROOM_BYTES) / 2);
        }
    })?;
    Ok(blocks)
}

/// The end of a member whose content has this CRC.
pub(super) fn trailer(crc: u32, length: u64) -> Vec<u8> {
    let mut end = FINAL_BLOCK.to_vec();
    end.extend(crc.to_le_bytes());
    // The format counts modulo 2^32.
    end.extend((length as u32).to_le_bytes());
    end
}
