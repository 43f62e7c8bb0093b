//! What is asked of the brokers.

use std::path::Path;
use std::time::Duration;

use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, LastRawMessageErrorKind, StorageType};
use async_nats::jetstream::{self, Context, context::GetStreamErrorKind};
use async_nats::{Client, ConnectOptions, HeaderMap, Request, ServerAddr};
use bytes::Bytes;
use futures_util::StreamExt as _;
use serde::Deserialize;

use super::lease::Word;
use super::redo::{self, Changed};
use super::subjects::{Place, Subjects};
use crate::model::cluster::{Cluster, ClusterSeen};

/// An answer takes milliseconds, and a new leader a second or two.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// So long no row may come while they are read.
const ROW_WITHIN: Duration = Duration::from_secs(20);
/// What goes is marked as such, for whoever reads on from before, and then forgotten.
const MARK_FOR: &str = "1h";
const KEY_FILE_BYTES_MAX: usize = 64 << 10;
/// Of the brokers' answer: another message came in between.
const WRONG_LAST: [u32; 2] = [10_071, 10_164];

/// Why something that was asked of the brokers was not done, as far as is known.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Another message came before.
    #[error("the brokers took another message before")]
    Behind,
    /// It may have been done, or be done yet.
    #[error("{0}")]
    Unsure(String),
    /// It will not be done, however often it is asked.
    #[error("{0}")]
    Never(String),
}

fn unsure(error: impl std::error::Error) -> Trouble {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let next = source.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = source.source();
    }
    Trouble::Unsure(text)
}

/// What must have been the last message.
#[derive(Clone, Copy, Debug)]
pub(super) enum Expected {
    /// Of all.
    Last(u64),
    /// Of its subject.
    LastOfSubject(u64),
}

#[derive(Clone, Debug)]
pub(super) struct Message {
    pub subject: String,
    /// None: what lies there goes.
    pub value: Option<Bytes>,
}

/// How the brokers answer a message.
#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    seq: u64,
    error: Option<Refused>,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    err_code: u32,
    #[serde(default)]
    description: String,
}

/// One cluster's rows, at the brokers.
#[derive(Clone)]
pub(super) struct Bucket {
    client: Client,
    context: Context,
    pub(super) subjects: Subjects,
}

impl Bucket {
    pub(super) async fn connect(cluster: &Cluster) -> Result<Self, Trouble> {
        let mut addresses = Vec::new();
        for server in &cluster.servers {
            let address = server.parse::<ServerAddr>();
            addresses.push(address.map_err(|error| Trouble::Never(format!("{server}: {error}")))?);
        }
        let client = options(cluster)?.connect(addresses).await.map_err(unsure)?;
        let mut context = jetstream::new(client.clone());
        context.set_timeout(ANSWER_WITHIN);
        Ok(Self { client, context, subjects: Subjects::of(&cluster.name) })
    }

    /// What the brokers say of the cluster; nothing is made.
    pub(super) async fn seen(&self) -> Result<ClusterSeen, Trouble> {
        let account = self.context.query_account().await.map_err(unsure)?;
        let may_store = account.limits.max_storage.and_then(|limit| u64::try_from(limit).ok());
        let mut seen = ClusterSeen {
            version: self.client.server_info().version,
            storage: may_store.map(|limit| (account.storage, limit)),
            ..ClusterSeen::default()
        };
        let stream = match self.context.get_stream(self.subjects.stream()).await {
            Ok(stream) => stream,
            Err(error) if matches!(error.kind(), GetStreamErrorKind::JetStream(_)) => return Ok(seen),
            Err(error) => return Err(unsure(error)),
        };
        let info = stream.cached_info();
        seen.replicas = Some(info.config.num_replicas);
        let replicas = info.cluster.iter().flat_map(|cluster| &cluster.replicas);
        seen.lacking =
            replicas.filter(|peer| peer.offline || !peer.current).map(|peer| peer.name.clone()).collect();
        seen.node = self.word().await?.filter(|(_, word)| !word.is_given_up).map(|(_, word)| word.node);
        Ok(seen)
    }

    /// Makes the bucket if need be; one that is there must be fit.
    pub(super) async fn make(&self, replicas: usize) -> Result<(), Trouble> {
        let name = self.subjects.stream();
        let found = match self.context.get_stream(&name).await {
            Ok(stream) => stream.cached_info().config.clone(),
            Err(error) if matches!(error.kind(), GetStreamErrorKind::JetStream(_)) => {
                let made = self.context.create_stream(self.config(replicas)).await.map_err(unsure)?;
                made.cached_info().config.clone()
            }
            Err(error) => return Err(unsure(error)),
        };
        if !found.allow_atomic_publish || !found.allow_message_ttl || found.max_messages_per_subject != 1 {
            let why = format!(
                "the stream {name} is there and was not made by landfall: give the cluster another name"
            );
            return Err(Trouble::Never(why));
        }
        Ok(())
    }

    fn config(&self, replicas: usize) -> Config {
        Config {
            name: self.subjects.stream(),
            subjects: vec![self.subjects.all()],
            description: Some("the store of a cluster of landfall".to_owned()),
            max_messages_per_subject: 1,
            max_messages: -1,
            max_bytes: -1,
            discard: DiscardPolicy::New,
            storage: StorageType::File,
            num_replicas: replicas,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            allow_message_ttl: true,
            allow_atomic_publish: true,
            ..Config::default()
        }
    }

    /// The last word on who has the rows, and its number.
    pub(super) async fn word(&self) -> Result<Option<(u64, Word)>, Trouble> {
        let stream = self.context.get_stream_no_info(self.subjects.stream()).await.map_err(unsure)?;
        let message = match stream.get_last_raw_message_by_subject(&self.subjects.lease()).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
            Err(error) => return Err(unsure(error)),
        };
        let word = serde_json::from_slice(&message.payload);
        let word =
            word.map_err(|error| Trouble::Never(format!("the word of the node that has the rows: {error}")))?;
        Ok(Some((message.sequence, word)))
    }

    /// Writes these together or not at all: the number of the last.
    pub(super) async fn publish(&self, messages: &[Message], expected: Expected) -> Result<u64, Trouble> {
        let batch = format!("{:032x}", rand::random::<u128>());
        let count = messages.len();
        for (position, message) in (1..).zip(messages) {
            let mut headers = HeaderMap::new();
            if position == 1 {
                let (name, number) = match expected {
                    Expected::Last(number) => ("Nats-Expected-Last-Sequence", number),
                    Expected::LastOfSubject(number) => ("Nats-Expected-Last-Subject-Sequence", number),
                };
                headers.insert(name, number.to_string().as_str());
            }
            if message.value.is_none() {
                headers.insert("KV-Operation", "DEL");
                headers.insert("Nats-TTL", MARK_FOR);
            }
            if count > 1 {
                headers.insert("Nats-Batch-Id", batch.as_str());
                headers.insert("Nats-Batch-Sequence", position.to_string().as_str());
            }
            let (subject, value) = (message.subject.clone(), message.value.clone().unwrap_or_default());
            if position < count {
                self.client.publish_with_headers(subject, headers, value).await.map_err(unsure)?;
                continue;
            }
            if count > 1 {
                headers.insert("Nats-Batch-Commit", "1");
            }
            let request = Request::new().headers(headers).payload(value).timeout(Some(ANSWER_WITHIN));
            let answer = self.client.send_request(subject, request).await.map_err(unsure)?;
            return answered(&answer.payload);
        }
        Err(Trouble::Never("there is nothing to write".to_owned()))
    }

    /// The number of the last message.
    pub(super) async fn last(&self) -> Result<u64, Trouble> {
        let stream = self.context.get_stream(self.subjects.stream()).await.map_err(unsure)?;
        Ok(stream.cached_info().state.last_sequence)
    }

    /// All rows as they were behind the message of this number.
    pub(super) async fn rows(&self, upto: u64) -> Result<Found, Trouble> {
        let stream = self.context.get_stream_no_info(self.subjects.stream()).await.map_err(unsure)?;
        let config = pull::OrderedConfig {
            deliver_policy: DeliverPolicy::LastPerSubject,
            filter_subject: self.subjects.all(),
            ..pull::OrderedConfig::default()
        };
        let consumer = stream.create_consumer(config).await.map_err(unsure)?;
        let mut messages = consumer.messages().await.map_err(unsure)?;
        let mut found = Found::default();
        if upto == 0 {
            return Ok(found);
        }
        loop {
            let next = tokio::time::timeout(ROW_WITHIN, messages.next()).await;
            let next = next.map_err(|_| Trouble::Unsure("the brokers stopped giving rows".to_owned()))?;
            let next =
                next.ok_or_else(|| Trouble::Unsure("the brokers ended the list of rows".to_owned()))?;
            let message = next.map_err(unsure)?;
            let number = message.info().map_err(|error| Trouble::Unsure(error.to_string()))?.stream_sequence;
            let is_gone =
                message.headers.as_ref().is_some_and(|headers| headers.get("KV-Operation").is_some());
            let value = (!is_gone).then(|| message.payload.clone());
            match self.subjects.read(&message.subject) {
                Some(place) => found.take(place, value),
                None => return Err(Trouble::Never(format!("{} is none of landfall's", message.subject))),
            }
            if number >= upto {
                return Ok(found);
            }
        }
    }
}

/// What lies at the brokers.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub rows: Changed,
    redo: std::collections::BTreeMap<usize, Bytes>,
}

impl Found {
    fn take(&mut self, place: Place, value: Option<Bytes>) {
        match (place, value) {
            (Place::Row(key), value) => drop(self.rows.insert(key, value)),
            (Place::Redo(piece), Some(value)) => drop(self.redo.insert(piece, value)),
            (Place::Redo(piece), None) => drop(self.redo.remove(&piece)),
            (Place::Lease, _) => {}
        }
    }

    /// How many pieces a batch has that was written down and may not be carried out, and what it changes.
    pub(super) fn redo(&self) -> Result<Option<(usize, Changed)>, Trouble> {
        let pieces: Vec<Bytes> = self.redo.values().cloned().collect();
        let changed = redo::changed_by(&pieces)
            .ok_or_else(|| Trouble::Never("a batch that was written down cannot be read".to_owned()))?;
        Ok((!pieces.is_empty()).then_some((pieces.len(), changed)))
    }
}

fn answered(payload: &[u8]) -> Result<u64, Trouble> {
    let ack = serde_json::from_slice::<Ack>(payload).map_err(unsure)?;
    match ack.error {
        None => Ok(ack.seq),
        Some(refused) if WRONG_LAST.contains(&refused.err_code) => Err(Trouble::Behind),
        Some(refused) => Err(Trouble::Unsure(refused.description)),
    }
}

fn options(cluster: &Cluster) -> Result<ConnectOptions, Trouble> {
    let is_tls = cluster.servers.iter().any(|server| server.starts_with("tls://"));
    let mut options = ConnectOptions::new()
        .name(format!("landfall {}", cluster.node))
        .connection_timeout(ANSWER_WITHIN)
        .request_timeout(Some(ANSWER_WITHIN))
        .reconnect_delay_callback(|attempts| Duration::from_millis(100 * (attempts as u64).min(10)))
        .require_tls(is_tls);
    if let Some(path) = &cluster.ca {
        options = options.add_root_certificates(path.clone());
    }
    if let Some((certificate, key)) = &cluster.certificate {
        options = options.add_client_certificate(certificate.clone(), key.clone());
    }
    match &cluster.credentials {
        Some(path) => with_credentials(options, path),
        None => Ok(options),
    }
}

fn with_credentials(options: ConnectOptions, path: &Path) -> Result<ConnectOptions, Trouble> {
    let failed = |error: std::io::Error| Trouble::Never(format!("{}: {error}", path.display()));
    let text = crate::key_file::text(path, KEY_FILE_BYTES_MAX).map_err(failed)?;
    match text.lines().map(str::trim).find(|line| line.starts_with("SU")) {
        Some(seed) if !text.contains("BEGIN NATS USER JWT") => Ok(options.nkey(seed.to_owned())),
        _ => options.credentials(&text).map_err(failed),
    }
}
