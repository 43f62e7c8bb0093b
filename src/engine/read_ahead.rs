//! Rows of a long list, read by a thread of their own while who asked is sent those before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{IntoIter, Receiver, sync_channel};
use std::thread::{Builder, JoinHandle};

/// Items that are handed over at once: to wake somebody for each would cost more than to read it. So few are not read ahead.
pub(super) const BATCH_ITEMS: usize = 64;
/// Batches that wait to be taken.
const BATCHES_MAX: usize = 4;

/// Whether somebody still takes what is read: who looks through much that he does not hand over asks this for each.
#[derive(Clone, Default)]
pub(super) struct Wanted {
    no_more: Arc<AtomicBool>,
}

impl Wanted {
    pub(super) fn no_more(&self) -> bool {
        self.no_more.load(Ordering::Relaxed)
    }
}

/// What an iterator gives, in its order. No thread is left when this is dropped.
pub(super) struct ReadAhead<T> {
    batch: std::vec::IntoIter<T>,
    batches: Option<IntoIter<Vec<T>>>,
    wanted: Wanted,
    reader: Option<JoinHandle<()>>,
}

/// Reads ahead of who takes them; where there is no thread for that, as they are taken.
pub(super) fn read_ahead<T, I>(
    items: impl FnOnce(Wanted) -> I + Clone + Send + 'static,
) -> Box<dyn Iterator<Item = T>>
where
    T: Send + 'static,
    I: Iterator<Item = T> + 'static,
{
    let (give, batches) = sync_channel(BATCHES_MAX);
    let wanted = Wanted::default();
    let (read, asked) = (items.clone(), wanted.clone());
    let read = move || {
        let mut items = read(asked);
        loop {
            let mut batch = Vec::with_capacity(BATCH_ITEMS); // they are large, and would be moved each time it grows
            batch.extend(items.by_ref().take(BATCH_ITEMS));
            if batch.is_empty() || give.send(batch).is_err() {
                return;
            }
        }
    };
    match Builder::new().name("read-ahead".into()).spawn(read) {
        Ok(reader) => Box::new(ReadAhead::of(batches, wanted, reader)),
        Err(_) => Box::new(items(wanted)),
    }
}

impl<T> ReadAhead<T> {
    fn of(batches: Receiver<Vec<T>>, wanted: Wanted, reader: JoinHandle<()>) -> Self {
        let batches = Some(batches.into_iter());
        Self { batch: Vec::new().into_iter(), batches, wanted, reader: Some(reader) }
    }
}

impl<T> Iterator for ReadAhead<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(item) = self.batch.next() {
                return Some(item);
            }
            if let Some(batch) = self.batches.as_mut()?.next() {
                self.batch = batch.into_iter();
                continue;
            }
            self.batches = None;
            // What it had read would pass for the whole.
            if let Some(Err(panic)) = self.reader.take().map(JoinHandle::join) {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

impl<T> Drop for ReadAhead<T> {
    fn drop(&mut self) {
        self.wanted.no_more.store(true, Ordering::Relaxed);
        self.batches = None; // a reader that waits to hand over a batch hears of it
        if let Some(reader) = self.reader.take() {
            reader.join().ok(); // a panic was told by the panic hook
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn all_items_come_in_their_order_however_many_there_are() {
        for count in [0, 1, BATCH_ITEMS, BATCH_ITEMS + 1, 10 * BATCH_ITEMS] {
            let read: Vec<_> = read_ahead(move |_| 0..count).collect();
            assert_eq!(read, (0..count).collect::<Vec<_>>());
        }
    }

    #[test]
    fn nobody_reads_on_once_nobody_takes() {
        let kept = Arc::new(());
        let held = Arc::clone(&kept);
        let mut read = read_ahead(move |_| (0u64..).map(move |number| (number, Arc::clone(&held))));
        assert_eq!(read.next().map(|(number, _)| number), Some(0));
        drop(read);
        assert_eq!(Arc::strong_count(&kept), 1, "its thread is there no more");
    }

    #[test]
    fn who_finds_nothing_to_hand_over_hears_that_nobody_takes_it() {
        let found =
            |wanted: Wanted| (0u64..).take_while(move |_| !wanted.no_more()).filter(|&number| number < 1);
        drop(read_ahead(found)); // returns
    }

    #[test]
    #[should_panic(expected = "a row that cannot be")]
    fn a_reader_that_panics_is_no_end_of_the_list() {
        let items = |_| (0..200).inspect(|number| assert!(*number < 150, "a row that cannot be"));
        assert_eq!(read_ahead(items).count(), 200);
    }
}
