//! An entry's text in memory: one block at a time, of which slices are zero-copy parts.
//!
//! A block is filled to its end before anything is cut from it, and never written to again. What is left of it when
//! more text is needed is copied to the front of the next one, so that what is held is always one piece.
//! Buffers of the ordinary size go round: the last slice of a block gives its buffer back for the next block, which
//! then needs neither fresh pages nor zeroing.

use std::io::{self, ErrorKind, Read};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::allowance::{Allowance, Permit, Refusal};

use super::separator::Separator;

/// Bytes of a block, unless a longer record needs more.
pub(super) const BLOCK_BYTES: usize = 256 << 10;
/// What long blocks are for.
const LONG_RECORDS: &str = "its longest records";
/// What a source takes at once for records that are longer than a block: for those of 8 MiB that is all they need.
const RESERVED_MAX: u64 = (16 << 20) + (512 << 10);
/// And no more than this part of the memory of all sources.
const RESERVED_SHARE: u64 = 4;
/// Idle buffers kept for the whole process.
const FREE_BUFFERS_MAX: usize = 16;

static FREE_BUFFERS: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// The part of an entry's text that is held, and the reader that brings more.
pub(super) struct Text<R> {
    reader: R,
    block: Bytes,
    start: usize,
    offset: u64,
    ended: bool,
    pub(super) block_bytes: usize,
    /// Longer blocks are asked for, and none is longer than this.
    limit: Option<(Arc<Allowance>, usize)>,
    /// Of the block, if it is longer than ordinary ones.
    memory: Option<Memory>,
}

/// Memory of long blocks, until the last slice that was cut from them is worked.
type Memory = Arc<Mutex<Vec<Permit>>>;

fn is_shared(memory: &Memory) -> bool {
    Arc::strong_count(memory) > 1
}

impl<R: Read> Text<R> {
    /// Nothing is read yet.
    pub(super) fn new(reader: R) -> Self {
        Self {
            reader,
            block: Bytes::new(),
            start: 0,
            offset: 0,
            ended: false,
            block_bytes: BLOCK_BYTES,
            limit: None,
            memory: None,
        }
    }

    /// Memory for long records is asked for; none is longer than `record_max`.
    pub(super) fn limit(&mut self, allowance: Arc<Allowance>, record_max: usize) {
        self.limit = Some((allowance, record_max));
    }

    /// Memory for the next block and what is carried into it, in place of that of the last one.
    ///
    /// All that a record may need is taken at once, before it grows: of many sources that grow together none waits for another with its
    /// hands full. Behind a long block of which slices are still at work only their end is waited for.
    fn memory_for(&mut self, bytes: usize, carried: usize) -> Result<Option<Memory>, Refusal> {
        let held = self.memory.take();
        let Some((allowance, record_max)) = self.limit.as_ref().filter(|_| bytes > self.block_bytes) else {
            return Ok(None);
        };
        let need = (bytes + carried) as u64;
        let reserved = RESERVED_MAX.min(allowance.bytes_max() / RESERVED_SHARE);
        let most = need.max(reserved.min(*record_max as u64 * 2 + self.block_bytes as u64));
        let fresh = |permit| Arc::new(Mutex::new(vec![permit]));
        let memory = match held {
            None => fresh(allowance.take_passing(LONG_RECORDS, most)?),
            Some(held) => {
                let other = if is_shared(&held) { allowance.take_at_once(LONG_RECORDS, most)? } else { None };
                if let Some(other) = other {
                    fresh(other)
                } else {
                    allowance.wait_until(|| !is_shared(&held))?;
                    top_up(allowance, &held, need)?;
                    held
                }
            }
        };
        self.memory = Some(Arc::clone(&memory));
        Ok(Some(memory))
    }

    /// What was read and neither taken nor skipped.
    pub(super) fn held(&self) -> &[u8] {
        self.block.get(self.start..).unwrap_or_default()
    }

    /// Where the held text begins within the entry.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Whether nothing comes after the held text.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Takes the first `bytes` of the held text, without copying.
    pub(super) fn take(&mut self, bytes: usize) -> Bytes {
        let end = (self.start + bytes).min(self.block.len());
        let taken = self.block.slice(self.start..end);
        self.skip(bytes);
        taken
    }

    pub(super) fn skip(&mut self, bytes: usize) {
        let bytes = bytes.min(self.held().len());
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Reads on behind the held text: a block full, or up to the end.
    pub(super) fn more(&mut self) -> io::Result<()> {
        if self.ended {
            return Ok(());
        }
        let carried = self.held().len();
        // Doubling keeps the copying of a long record linear.
        let wanted = if carried > self.block_bytes / 2 { carried * 2 } else { self.block_bytes };
        let most = self.limit.as_ref().map_or(usize::MAX, |(_, record_max)| record_max + self.block_bytes);
        let wanted = wanted.min(most.max(carried + self.block_bytes)).max(carried + 1);
        let mut buffer = Buffer::with_length(wanted);
        if let Some(front) = buffer.bytes.get_mut(..carried) {
            front.copy_from_slice(self.held());
        }
        buffer.filled = carried;
        // The block goes before the next one is waited for: the work on what was cut from it gives its memory back. What is carried on
        // is all that is held meanwhile; pages of the new buffer come as they are written.
        (self.block, self.start) = (Bytes::new(), 0);
        match self.memory_for(wanted, carried) {
            Ok(memory) => buffer.memory = memory,
            Err(error) => {
                self.block = buffer.freeze();
                return Err(io::Error::other(error));
            }
        }
        let read = buffer.fill_from(&mut self.reader);
        self.block = buffer.freeze();
        self.ended = read?;
        Ok(())
    }

    /// Leaves out everything up to and including the next separator that lies wholly at or behind `from`, but keeps the
    /// beginning.
    ///
    /// Bounded memory whatever the line's length.
    pub(super) fn skip_line(
        &mut self,
        separator: &Separator,
        from: usize,
        keep_bytes: usize,
    ) -> io::Result<SkippedLine> {
        let mut line = SkippedLine { beginning: Vec::new(), length: 0, ended: false };
        let mut from = from;
        loop {
            let held = self.held();
            let found = separator.find(held, from, held.len());
            let content = match found {
                Some(end) => separator.content(held.get(..end).unwrap_or_default()).len(),
                None if self.ended => held.len(),
                // What may be the beginning of a separator stays.
                None => (held.len() + 1).saturating_sub(separator.bytes_max()),
            };
            let keep = content.min(keep_bytes - line.beginning.len());
            line.beginning.extend_from_slice(held.get(..keep).unwrap_or_default());
            line.length += content as u64;
            from = from.saturating_sub(content);
            if let Some(end) = found {
                self.skip(end + 1);
                line.ended = true;
                return Ok(line);
            }
            self.skip(content);
            if self.ended {
                return Ok(line);
            }
            self.more()?;
        }
    }
}

fn top_up(allowance: &Allowance, memory: &Memory, need: u64) -> Result<(), Refusal> {
    let mut permits = memory.lock().unwrap_or_else(PoisonError::into_inner);
    let held: u64 = permits.iter().map(Permit::bytes).sum();
    if held < need {
        permits.push(allowance.take(LONG_RECORDS, need - held)?);
    }
    Ok(())
}

/// A line that was left out.
pub(super) struct SkippedLine {
    /// Its first bytes, as many as were to be kept.
    pub(super) beginning: Vec<u8>,
    /// Bytes without its line end.
    pub(super) length: u64,
    /// It had a line end.
    pub(super) ended: bool,
}

/// A buffer on its way to become a block.
struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
    /// Of one that is longer than ordinary ones.
    memory: Option<Memory>,
}

impl Buffer {
    fn with_length(length: usize) -> Self {
        let free = if length == BLOCK_BYTES { free_buffers().pop() } else { None };
        Self { bytes: free.unwrap_or_else(|| vec![0; length]), filled: 0, memory: None }
    }

    /// Whether the reader has ended.
    fn fill_from(&mut self, reader: &mut impl Read) -> io::Result<bool> {
        while let Some(room) = self.bytes.get_mut(self.filled..).filter(|room| !room.is_empty()) {
            match reader.read(room) {
                Ok(0) => return Ok(true),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    fn freeze(mut self) -> Bytes {
        if self.memory.is_some() {
            self.bytes.truncate(self.filled);
            self.bytes.shrink_to_fit();
            return Bytes::from_owner(self);
        }
        // A slice of a small file must not hold a big buffer: the memory limit counts the slice's own bytes.
        if self.filled <= self.bytes.len() / 2 {
            return Bytes::copy_from_slice(self.as_ref());
        }
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.bytes.len() == BLOCK_BYTES {
            let mut free = free_buffers();
            if free.len() < FREE_BUFFERS_MAX {
                free.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

fn free_buffers() -> std::sync::MutexGuard<'static, Vec<Vec<u8>>> {
    // A list of idle buffers is whole whatever panicked while it was locked.
    FREE_BUFFERS.lock().unwrap_or_else(PoisonError::into_inner)
}
