//! What a checkpoint was made from, so that a resume builds on it only where the source still gives the same slices.
//!
//! Workers hash their slices, the collector chains the hashes in slice order, and a checkpoint keeps the chain. On the way back to it
//! the same is done with the slices that are passed over, on a thread of its own: the reading thread only decodes and cuts.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::model::slice::Slice;

/// Slices on their way to the hashing thread.
const SLICES_UNDER_WAY: usize = 64;

/// A slice, with all that tells it from another: its bytes, and where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SliceHash([u8; 32]);

impl SliceHash {
    pub(super) fn of(slice: &Slice) -> Self {
        let mut hasher = blake3::Hasher::new();
        // First, so that it is hashed in pieces as large as can be; what follows is told from it by its own length, which comes last.
        hasher.update(&slice.bytes);
        let place = [
            slice.number,
            u64::from(slice.entry),
            slice.first_record,
            slice.offset,
            slice.records.len() as u64,
            slice.bytes.len() as u64,
        ];
        let places = slice.places.iter().flat_map(|place| [place.record, place.offset, place.line]);
        for number in places.chain(place) {
            hasher.update(&number.to_be_bytes());
        }
        Self(*hasher.finalize().as_bytes())
    }
}

/// All slices up to some slice, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ContentHash([u8; 32]);

impl ContentHash {
    pub(super) fn add(&mut self, slice: SliceHash) {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.0).update(&slice.0);
        self.0 = *hasher.finalize().as_bytes();
    }

    /// As a checkpoint keeps it.
    pub(super) fn to_text(&self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }

    /// None: it is none of ours.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text).ok().map(|hash| Self(*hash.as_bytes()))
    }
}

/// The way back to a checkpoint: takes the slices that are passed over.
pub(super) struct Retrace {
    slices: SyncSender<Slice>,
    thread: JoinHandle<ContentHash>,
}

impl Retrace {
    pub(super) fn start() -> std::io::Result<Self> {
        let (slices, taken) = sync_channel(SLICES_UNDER_WAY);
        let thread = std::thread::Builder::new().name("retrace".to_owned()).spawn(move || chain(&taken))?;
        Ok(Self { slices, thread })
    }

    pub(super) fn pass_over(&self, slice: Slice) {
        // It ends only when this sender does, so sending cannot fail.
        self.slices.send(slice).ok();
    }

    /// Whether the slices passed over are those that `expected` was made from.
    pub(super) fn meets(self, expected: &ContentHash) -> bool {
        drop(self.slices);
        self.thread.join().is_ok_and(|found| found == *expected)
    }
}

fn chain(slices: &Receiver<Slice>) -> ContentHash {
    let mut content = ContentHash::default();
    while let Ok(slice) = slices.recv() {
        content.add(SliceHash::of(&slice));
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(number: u64, text: &'static str) -> Slice {
        Slice {
            number,
            entry: 0,
            first_record: number + 1,
            offset: 0,
            first_line: 0,
            bytes: text.as_bytes().into(),
            records: Vec::new(),
            skipped: 0,
            oversized: None,
            places: Vec::new(),
        }
    }

    fn content(slices: &[Slice]) -> ContentHash {
        let mut content = ContentHash::default();
        for slice in slices {
            content.add(SliceHash::of(slice));
        }
        content
    }

    fn retraced(slices: &[Slice], expected: &ContentHash) -> bool {
        let retrace = Retrace::start().expect("a thread");
        for slice in slices {
            retrace.pass_over(slice.clone());
        }
        retrace.meets(expected)
    }

    #[test]
    fn the_way_back_meets_the_checkpoint_only_over_the_same_slices() {
        let slices = [slice(0, "a\nb\n"), slice(1, "c\n")];
        let kept = ContentHash::from_text(&content(&slices).to_text()).expect("is one");
        assert!(retraced(&slices, &kept));
        assert!(!retraced(&slices[..1], &kept), "fewer");
        assert!(!retraced(&[slice(0, "a\nb\n"), slice(1, "d\n")], &kept), "other bytes");
        assert!(!retraced(&[slice(0, "a\n"), slice(1, "b\nc\n")], &kept), "cut elsewhere");
        let place = crate::model::slice::RecordPlace { record: 1, offset: 0, line: 1 };
        let mut placed = slices.clone();
        placed[0].places = vec![place, place];
        assert!(!retraced(&placed, &kept), "from elsewhere");
    }

    #[test]
    fn what_is_no_hash_is_none() {
        assert_eq!(ContentHash::from_text("blake3"), None);
    }
}
