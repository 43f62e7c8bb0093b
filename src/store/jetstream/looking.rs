//! What the brokers say of a cluster, for who only looks.

use super::bucket::{Bucket, Trouble};
use super::taking;
use crate::model::cluster::{Cluster, ClusterSeen};
use crate::store::error::StoreError;

/// Asks once, and takes nothing.
pub(crate) fn look(cluster: &Cluster) -> Result<ClusterSeen, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|source| StoreError::Engine { action: "ask the brokers", source: source.into() })?;
    let asked = runtime.block_on(async { Bucket::connect(cluster).await?.seen().await });
    asked.map_err(|trouble: Trouble| taking::failed(cluster, "be reached", &trouble))
}
