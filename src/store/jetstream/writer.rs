//! The thread that has the connection: it reads the rows when they are taken, and writes what is queued.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::bucket::{Bucket, Expected, Message, Trouble};
use super::lease::Word;
use super::redo::{self, Changed};
use super::taking::{self, Taken};
use super::{Table, WhileTaken};
use crate::model::cluster::Cluster;
use crate::store::backend::Value;
use crate::store::error::StoreError;
use crate::store::keys::Key;

/// Rows of one batch at the brokers, which take a thousand messages: with room for the word, and for what else a later version says.
pub(super) const ROWS_MAX: usize = 900;
/// Bytes that are written together.
const PORTION_BYTES_MAX: usize = 8 << 20;
/// Bytes that wait to be written; who would add to them waits.
const QUEUE_BYTES_MAX: usize = 64 << 20;
/// In one lease the word is said so often.
const WORDS_IN_A_LEASE: u32 = 4;
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Brokers that choose a new leader need not be told of.
const TELL_AFTER: Duration = Duration::from_secs(3);

/// Batches that the brokers do not have yet.
#[derive(Default)]
pub(super) struct Queue {
    state: Mutex<Queued>,
    /// Room, what was written, or the end.
    changed: Condvar,
    work: Notify,
    #[cfg(test)]
    pub(super) trip: super::trip::Trip,
}

#[derive(Default)]
pub(super) struct Queued {
    batches: VecDeque<Changed>,
    bytes: usize,
    /// Batches so far.
    pub(super) applied: u64,
    written: u64,
    is_closed: bool,
    /// Why nothing is written any more, and that it was told.
    lost: Option<(String, Option<String>)>,
}

/// What is written next, together.
struct Portion {
    rows: Changed,
    /// How many batches are written with it.
    upto: u64,
    bytes: usize,
}

impl Queued {
    pub(super) fn put(&mut self, rows: Changed) {
        self.bytes += bytes_of(&rows);
        self.batches.push_back(rows);
        self.applied += 1;
    }

    fn take(&mut self) -> Option<Portion> {
        let mut rows = self.batches.pop_front()?;
        let mut bytes = bytes_of(&rows);
        let mut count = 1;
        while let Some(next) = self.batches.front() {
            let more = bytes_of(next);
            if rows.len() + next.len() > ROWS_MAX || bytes + more > PORTION_BYTES_MAX {
                break;
            }
            rows.extend(self.batches.pop_front().unwrap_or_default());
            (bytes, count) = (bytes + more, count + 1);
        }
        Some(Portion { rows, upto: self.written + count, bytes })
    }
}

fn bytes_of(rows: &Changed) -> usize {
    rows.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Value::len)).sum()
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, Queued> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn applied(&self) -> u64 {
        self.state().applied
    }

    pub(super) fn has_unwritten(&self) -> bool {
        let state = self.state();
        state.applied != state.written
    }

    /// Once there is room; none: nothing is written any more.
    pub(super) fn with_room(&self) -> Option<MutexGuard<'_, Queued>> {
        let is_full = |state: &mut Queued| state.bytes > QUEUE_BYTES_MAX && state.lost.is_none();
        let state = self.changed.wait_while(self.state(), is_full).unwrap_or_else(PoisonError::into_inner);
        state.lost.is_none().then_some(state)
    }

    pub(super) fn wake_writer(&self) {
        self.work.notify_one();
    }

    /// Waits until the brokers have what was applied by now.
    pub(super) fn wait_until_written(&self) -> Result<(), StoreError> {
        let state = self.state();
        let upto = state.applied;
        let is_open = |state: &mut Queued| state.written < upto && state.lost.is_none();
        let state = self.changed.wait_while(state, is_open).unwrap_or_else(PoisonError::into_inner);
        match &state.lost {
            Some((cluster, node)) => {
                Err(StoreError::TakenOver { cluster: cluster.clone(), node: node.clone() })
            }
            None => Ok(()),
        }
    }

    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.wake_writer();
    }

    fn is_closed(&self) -> bool {
        self.state().is_closed
    }

    fn written(&self, portion: &Portion) {
        let mut state = self.state();
        state.written = portion.upto;
        state.bytes -= portion.bytes;
        drop(state);
        self.changed.notify_all();
    }

    fn end(&self, cluster: &str, node: Option<String>) {
        self.state().lost = Some((cluster.to_owned(), node));
        self.changed.notify_all();
    }
}

/// Starts the thread, and returns once the rows are ours and read: with the epoch.
pub(super) fn start(
    cluster: &Cluster,
    taken: WhileTaken,
    rows: &Arc<Table>,
    queue: &Arc<Queue>,
) -> Result<(JoinHandle<()>, u64), StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|source| StoreError::Engine { action: "start its thread", source: source.into() })?;
    let (opened, is_open) = oneshot::channel();
    let (cluster, rows, queue) = (cluster.clone(), Arc::clone(rows), Arc::clone(queue));
    let work = move || {
        runtime.block_on(async {
            match opening(cluster, taken, &rows, queue).await {
                Ok(writer) => {
                    let _nobody_may_wait = opened.send(Ok(writer.word.epoch));
                    writer.run().await;
                }
                Err(error) => drop(opened.send(Err(error))),
            }
        });
    };
    let thread = std::thread::Builder::new().name("cluster".to_owned()).spawn(work);
    let thread =
        thread.map_err(|source| StoreError::Engine { action: "start its thread", source: source.into() })?;
    let failed = || StoreError::Engine { action: "start its thread", source: "it ended".into() };
    let epoch = is_open.blocking_recv().map_err(|_| failed())??;
    Ok((thread, epoch))
}

async fn opening(
    cluster: Cluster,
    taken: WhileTaken,
    rows: &Table,
    queue: Arc<Queue>,
) -> Result<Writer, StoreError> {
    let began = Instant::now();
    let Taken { bucket, word, number } = taking::take(&cluster, taken).await?;
    let reader = bucket.clone();
    let mut writer = Writer { cluster, bucket, word, last: number, queue };
    let found = {
        let reading = reader.rows(number);
        tokio::pin!(reading);
        loop {
            tokio::select! {
                found = &mut reading => break found,
                () = tokio::time::sleep(writer.interval()) => writer.say(Vec::new()).await.map_err(|lost| writer.told(lost))?,
            }
        }
    };
    let failed = |trouble: Trouble| taking::failed(&writer.cluster, "be read", &trouble);
    let mut found = found.map_err(failed)?;
    if let Some((pieces, changed)) = found.redo().map_err(failed)? {
        writer.carry_out(&changed, pieces).await.map_err(|lost| writer.told(lost))?;
        found.rows.extend(changed);
    }
    let found = found.rows.into_iter().filter_map(|(key, value)| Some((key, value?)));
    let count = {
        let mut rows = rows.write().unwrap_or_else(PoisonError::into_inner);
        rows.extend(found);
        rows.len()
    };
    let (name, epoch) = (writer.cluster.name.as_str(), writer.word.epoch);
    tracing::info!(cluster = name, epoch, rows = count, after = ?began.elapsed(), "this node has the cluster");
    Ok(writer)
}

/// Another node has the rows.
struct Lost(Option<String>);

struct Writer {
    cluster: Cluster,
    bucket: Bucket,
    word: Word,
    /// The number of our last message, which is the last of all.
    last: u64,
    queue: Arc<Queue>,
}

impl Writer {
    fn interval(&self) -> Duration {
        self.cluster.lease / WORDS_IN_A_LEASE
    }

    fn told(&self, Lost(node): Lost) -> StoreError {
        StoreError::TakenOver { cluster: self.cluster.name.clone(), node }
    }

    async fn run(mut self) {
        if let Err(Lost(node)) = self.write_all().await {
            tracing::error!(
                cluster = self.cluster.name,
                node,
                hint = "this node had been silent for longer than its lease; it starts again as one that stands by",
                "another node has taken the cluster"
            );
            self.queue.end(&self.cluster.name, node);
        }
    }

    async fn write_all(&mut self) -> Result<(), Lost> {
        loop {
            let portion = self.queue.state().take();
            match portion {
                Some(portion) => {
                    self.write(&portion.rows).await?;
                    self.queue.written(&portion);
                }
                None if self.queue.is_closed() => {
                    self.word.is_given_up = true;
                    return self.say(Vec::new()).await;
                }
                None => {
                    let queue = Arc::clone(&self.queue);
                    if tokio::time::timeout(self.interval(), queue.work.notified()).await.is_err() {
                        self.say(Vec::new()).await?;
                    }
                }
            }
        }
    }

    async fn write(&mut self, rows: &Changed) -> Result<(), Lost> {
        if rows.len() <= ROWS_MAX {
            return self.say(self.messages(rows)).await;
        }
        let pieces = redo::pieces_of(rows);
        let count = pieces.len();
        let subject = |piece| self.bucket.subjects.redo(piece);
        let pieces = pieces.into_iter().enumerate();
        let written =
            pieces.map(|(piece, text)| Message { subject: subject(piece), value: Some(text) }).collect();
        self.say(written).await?;
        self.carry_out(rows, count).await
    }

    /// What is written down in so many pieces is done.
    async fn carry_out(&mut self, rows: &Changed, pieces: usize) -> Result<(), Lost> {
        let messages = self.messages(rows);
        for some in messages.chunks(ROWS_MAX) {
            self.say(some.to_vec()).await?;
        }
        let gone = |piece| Message { subject: self.bucket.subjects.redo(piece), value: None };
        let gone = (0..pieces).map(gone).collect();
        self.say(gone).await
    }

    fn messages(&self, rows: &Changed) -> Vec<Message> {
        let of = |(key, value): (&Key, &Option<Value>)| Message {
            subject: self.bucket.subjects.row(key),
            value: value.clone(),
        };
        rows.iter().map(of).collect()
    }

    /// Says that this node has the rows, with these messages: all or nothing, and until it is known.
    async fn say(&mut self, mut messages: Vec<Message>) -> Result<(), Lost> {
        #[cfg(test)]
        self.queue.trip.before_a_word().await;
        let began = Instant::now();
        let (mut pause, mut is_told) = (PAUSE_MIN, false);
        self.word.count += 1;
        let count = messages.len() as u64;
        if let Ok(word) = taking::message(&self.bucket, &self.word) {
            messages.insert(0, word);
        }
        loop {
            let trouble = match self.bucket.publish(&messages, Expected::Last(self.last)).await {
                Ok(number) => {
                    self.last = number;
                    break;
                }
                Err(trouble) => trouble,
            };
            match self.bucket.word().await {
                // It was taken, and the answer was lost.
                Ok(Some((number, word))) if word == self.word => {
                    self.last = number + count;
                    break;
                }
                Ok(Some((_, word))) if word.process != self.word.process => {
                    return Err(Lost(Some(word.node)));
                }
                Ok(None) => return Err(Lost(None)),
                Ok(Some(_)) | Err(_) => {}
            }
            if began.elapsed() > TELL_AFTER && !std::mem::replace(&mut is_told, true) {
                self.tell_away(&trouble);
            }
            tokio::time::sleep(pause).await;
            pause = PAUSE_MAX.min(pause * 2);
        }
        if is_told {
            tracing::info!(cluster = self.cluster.name, after = ?began.elapsed(), "the brokers answer again");
        }
        Ok(())
    }

    fn tell_away(&self, trouble: &Trouble) {
        tracing::warn!(
            cluster = self.cluster.name,
            servers = self.cluster.servers.join(", "),
            error = %trouble,
            hint = "nothing is claimed or published until a majority of them answers; then all goes on, and nothing is lost",
            "the brokers do not answer"
        );
    }
}
