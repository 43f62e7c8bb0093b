//! What the brokers say of a cluster, for who only looks.

use std::collections::BTreeMap;

use super::bucket::{Bucket, Trouble};
use super::taking;
use crate::model::cluster::{Cluster, ClusterSeen};
use crate::store::backend::Value;
use crate::store::error::StoreError;
use crate::store::keys::Key;

/// All rows as the brokers have them now, without taking them: for who has them, and compares.
pub(in crate::store) fn read(cluster: &Cluster) -> Result<BTreeMap<Key, Value>, StoreError> {
    let reading = async {
        let bucket = Bucket::connect(cluster).await?;
        let rows = bucket.rows(bucket.last().await?).await?.rows.into_iter();
        Ok(rows.filter_map(|(key, value)| Some((key, value?))).collect())
    };
    let read: Result<_, Trouble> = runtime()?.block_on(reading);
    read.map_err(|trouble| taking::failed(cluster, "be read", &trouble))
}

fn runtime() -> Result<tokio::runtime::Runtime, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|source| StoreError::Engine { action: "ask the brokers", source: source.into() })
}

/// Asks once, and takes nothing.
pub(crate) fn look(cluster: &Cluster) -> Result<ClusterSeen, StoreError> {
    let asked = runtime()?.block_on(async { Bucket::connect(cluster).await?.seen().await });
    asked.map_err(|trouble: Trouble| taking::failed(cluster, "be reached", &trouble))
}
