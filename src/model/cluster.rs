//! Several nodes that stand in for each other: where what they share lies.

use std::path::PathBuf;
use std::time::Duration;

/// `service.cluster`: the store lies on NATS JetStream, and one node at a time has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cluster {
    /// The brokers, each `nats://` or `tls://`, host and port.
    pub servers: Vec<String>,
    /// Which cluster: all its nodes say the same.
    pub name: String,
    /// This node.
    pub node: String,
    /// A user's credentials, or the seed of an NKEY.
    pub credentials: Option<PathBuf>,
    /// Certificates that are trusted; none: those of the system.
    pub ca: Option<PathBuf>,
    /// The client's certificate, and its key.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// On how many brokers the rows lie.
    pub replicas: usize,
    /// After this long without a word of the node that has the store another one takes it.
    pub lease: Duration,
}

/// What the brokers say of a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterSeen {
    /// Of the broker that was asked.
    pub version: String,
    /// The node that said last that it has the store, if it did not give it up.
    pub node: Option<String>,
    /// On how many brokers the rows are to lie; none: there are none yet.
    pub replicas: Option<usize>,
    /// Brokers with the rows that are away or behind.
    pub lacking: Vec<String>,
    /// Bytes that are stored, and how many may be.
    pub storage: Option<(u64, u64)>,
}
