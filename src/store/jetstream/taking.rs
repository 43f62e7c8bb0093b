//! Taking the rows of a cluster: from nobody, from a node that gave them up, or from one that says nothing any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::WhileTaken;
use super::bucket::{Bucket, Expected, Message, Trouble};
use super::lease::Word;
use crate::model::cluster::Cluster;
use crate::store::error::StoreError;

/// How often who stands by looks for the other's word: a small part of the shortest lease.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Brokers that do not answer are asked again after this long.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether this process waits for the rows of a cluster.
static STANDS_BY: AtomicBool = AtomicBool::new(false);

pub(in crate::store) fn stands_by() -> bool {
    STANDS_BY.load(Ordering::Relaxed)
}

/// The rows are ours: by this word, which has this number.
pub(super) struct Taken {
    pub bucket: Bucket,
    pub word: Word,
    pub number: u64,
}

/// Takes the rows once no other node has them.
pub(super) async fn take(cluster: &Cluster, taken: WhileTaken) -> Result<Taken, StoreError> {
    STANDS_BY.store(taken == WhileTaken::Wait, Ordering::Relaxed);
    let done = wait_and_take(cluster, taken).await;
    STANDS_BY.store(false, Ordering::Relaxed);
    done
}

async fn wait_and_take(cluster: &Cluster, taken: WhileTaken) -> Result<Taken, StoreError> {
    let bucket = reach(cluster, taken).await?;
    let process = format!("{:032x}", rand::random::<u128>());
    let mut other = Other::default();
    let mut is_away = false;
    loop {
        match try_to_take(&bucket, cluster, &process, &mut other).await {
            Ok(Some((word, number))) => return Ok(Taken { bucket, word, number }),
            Ok(None) => is_away = false,
            Err(trouble) if taken == WhileTaken::Wait && matches!(trouble, Trouble::Unsure(_)) => {
                other.could_not_speak();
                tell_away(cluster, &trouble, &mut is_away);
                tokio::time::sleep(PAUSE).await;
            }
            Err(trouble) => return Err(failed(cluster, "be taken", &trouble)),
        }
        if let Some(word) = other.said_twice().filter(|_| taken == WhileTaken::Refuse) {
            return Err(StoreError::Taken { cluster: cluster.name.clone(), node: word.node.clone() });
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The last word of the node that has the rows.
#[derive(Default)]
struct Other {
    seen: Option<(u64, Word, Instant)>,
    /// It said another one while we looked: it lives.
    lives: bool,
}

impl Other {
    fn see(&mut self, number: u64, word: Word) {
        match &self.seen {
            Some((seen, ..)) if *seen == number => {}
            before => {
                self.lives = before.is_some();
                if before.as_ref().is_none_or(|(_, before, _)| before.process != word.process)
                    && !word.is_given_up
                {
                    tracing::info!(node = word.node, "another node has the cluster: this one stands by");
                }
                self.seen = Some((number, word, Instant::now()));
            }
        }
    }

    /// Brokers that do not answer us may not answer it either: its silence counts from now on.
    fn could_not_speak(&mut self) {
        if let Some((.., since)) = &mut self.seen {
            *since = Instant::now();
        }
    }

    fn said_twice(&self) -> Option<&Word> {
        self.seen.as_ref().filter(|(_, word, _)| self.lives && !word.is_given_up).map(|(_, word, _)| word)
    }
}

async fn try_to_take(
    bucket: &Bucket,
    cluster: &Cluster,
    process: &str,
    other: &mut Other,
) -> Result<Option<(Word, u64)>, Trouble> {
    let last = bucket.word().await?;
    if let Some((number, word)) = &last {
        // Taken before, by a question of which the answer was lost.
        if word.process == process {
            return Ok(Some((word.clone(), *number)));
        }
        other.see(*number, word.clone());
        let silent_for = other.seen.as_ref().map_or(Duration::ZERO, |(_, _, since)| since.elapsed());
        if !word.is_given_up && silent_for < word.lease() {
            return Ok(None);
        }
    }
    let word = Word::of_taker(last.as_ref().map(|(_, word)| word), &cluster.node, process, cluster.lease);
    let message = message(bucket, &word)?;
    let before = last.map_or(0, |(number, _)| number);
    match bucket.publish(&[message], Expected::LastOfSubject(before)).await {
        Ok(number) => Ok(Some((word, number))),
        Err(Trouble::Behind) => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

/// A word, as it is written.
pub(super) fn message(bucket: &Bucket, word: &Word) -> Result<Message, Trouble> {
    let text = serde_json::to_vec(word).map_err(|error| Trouble::Never(error.to_string()))?;
    Ok(Message { subject: bucket.subjects.lease(), value: Some(text.into()) })
}

async fn reach(cluster: &Cluster, taken: WhileTaken) -> Result<Bucket, StoreError> {
    let mut is_away = false;
    loop {
        let reached = async {
            let bucket = Bucket::connect(cluster).await?;
            bucket.make(cluster.replicas).await?;
            Ok(bucket)
        };
        match reached.await {
            Ok(bucket) => return Ok(bucket),
            Err(trouble) if taken == WhileTaken::Wait && matches!(trouble, Trouble::Unsure(_)) => {
                tell_away(cluster, &trouble, &mut is_away);
                tokio::time::sleep(PAUSE).await;
            }
            Err(trouble) => return Err(failed(cluster, "be reached", &trouble)),
        }
    }
}

fn tell_away(cluster: &Cluster, trouble: &Trouble, is_told: &mut bool) {
    if !std::mem::replace(is_told, true) {
        let hint = "nothing is claimed until a majority of them answers; see that they run and that this node may connect";
        let servers = cluster.servers.join(", ");
        tracing::warn!(cluster = cluster.name, servers, error = %trouble, hint, "the brokers do not answer");
    }
}

pub(super) fn failed(cluster: &Cluster, action: &'static str, trouble: &Trouble) -> StoreError {
    StoreError::Brokers { action, servers: cluster.servers.join(", "), detail: trouble.to_string() }
}
