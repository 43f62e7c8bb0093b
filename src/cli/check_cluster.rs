//! What `landfall check` says of a cluster (`service.cluster`), as far as its brokers tell.

use super::check_about::{Finding, Level};
use crate::config::Places;
use crate::model::cluster::{Cluster, ClusterSeen};
use crate::model::fault::JobError;
use crate::model::rule::Settings;
use crate::store;

/// Batches that are taken whole or not at all are new in it.
const VERSION_MIN: (u64, u64) = (2, 12);

pub(super) fn find(settings: &Settings, places: &Places) -> Vec<Finding> {
    let Some(cluster) = &settings.service.cluster else { return Vec::new() };
    let found = |(level, message, hint): (Level, String, String)| Finding {
        level,
        problem: places.of_service("cluster", message, &hint),
    };
    let mut findings = vec![in_clear(cluster)];
    match store::look_at_cluster(cluster) {
        Ok(seen) => findings.extend(judged(cluster, &seen)),
        Err(error) => {
            let JobError { message, hint, .. } = JobError::from_fault(&error);
            // The service waits for them: they may come later.
            findings.push(Some((Level::Warning, message, hint.unwrap_or_default())));
        }
    }
    findings.push(Some(synced()));
    findings.into_iter().flatten().map(found).collect()
}

type Told = Option<(Level, String, String)>;

fn in_clear(cluster: &Cluster) -> Told {
    let is_near = |server: &str| ["127.", "localhost:", "[::1]"].iter().any(|near| server.starts_with(near));
    let far = cluster
        .servers
        .iter()
        .find(|server| server.strip_prefix("nats://").is_some_and(|rest| !is_near(rest)))?;
    let message = format!("what is stored goes to {far} in clear, credentials too");
    let hint =
        "write `tls://…`, and `ca` where the system does not trust who signed its certificate".to_owned();
    Some((Level::Warning, message, hint))
}

fn judged(cluster: &Cluster, seen: &ClusterSeen) -> [Told; 4] {
    [too_old(seen), other_replicas(cluster, seen), lacking(seen), full(seen)]
}

fn too_old(seen: &ClusterSeen) -> Told {
    let mut numbers = seen.version.split(['.', '-']).map(|part| part.parse::<u64>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let message = format!("the broker is nats-server {}, and 2.12 is needed", seen.version);
    let hint = "upgrade the brokers, one after the other".to_owned();
    (version < VERSION_MIN).then_some((Level::Problem, message, hint))
}

fn other_replicas(cluster: &Cluster, seen: &ClusterSeen) -> Told {
    let replicas = seen.replicas.filter(|replicas| *replicas != cluster.replicas)?;
    let message = format!("the rows lie on {replicas} brokers, and `replicas` says {}", cluster.replicas);
    let stream = format!("KV_landfall_{}", cluster.name);
    let hint = format!("`nats stream edit {stream} --replicas {}`, or write {replicas}", cluster.replicas);
    Some((Level::Warning, message, hint))
}

fn lacking(seen: &ClusterSeen) -> Told {
    if seen.lacking.is_empty() {
        return None;
    }
    let message = format!("these brokers are away, or behind the others: {}", seen.lacking.join(", "));
    let hint = "see that they run and reach each other: with one more away nothing is claimed".to_owned();
    Some((Level::Warning, message, hint))
}

fn full(seen: &ClusterSeen) -> Told {
    let (used, limit) = seen.storage.filter(|(used, limit)| *used >= limit / 5 * 4)?;
    let message = format!("the account's storage is {used} of {limit} bytes full");
    let hint = "raise its limit: when it is full nothing is claimed".to_owned();
    Some((Level::Warning, message, hint))
}

fn synced() -> (Level, String, String) {
    let message = "the brokers do not tell whether they sync each write: by default one is on the disk within 2 minutes";
    let hint = "set `sync_interval: always` in the `jetstream` block of each: what a majority has in memory alone is lost where they lose power \
                together, and with it the word on files that were claimed";
    (Level::Note, message.to_owned(), hint.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_brokers_lacking_ones_other_replicas_and_a_full_account_are_told() {
        let cluster = Cluster {
            servers: vec!["nats://10.0.0.1:4222".to_owned()],
            name: "landing".to_owned(),
            node: "a".to_owned(),
            credentials: None,
            ca: None,
            certificate: None,
            replicas: 3,
            lease: std::time::Duration::from_secs(3),
        };
        let well = ClusterSeen {
            version: "2.12.0".into(),
            replicas: Some(3),
            storage: Some((1, 10)),
            ..ClusterSeen::default()
        };
        assert_eq!(judged(&cluster, &well).iter().flatten().count(), 0);
        let ill = ClusterSeen {
            version: "2.11.9-beta".into(),
            replicas: Some(1),
            lacking: vec!["b2".into()],
            storage: Some((9, 10)),
            ..well
        };
        assert_eq!(judged(&cluster, &ill).iter().flatten().count(), 4);
        assert!(in_clear(&cluster).is_some());
        for near in
            ["nats://127.0.0.1:4222", "nats://localhost:4222", "nats://[::1]:4222", "tls://10.0.0.1:4222"]
        {
            assert!(
                in_clear(&Cluster { servers: vec![near.to_owned()], ..cluster.clone() }).is_none(),
                "{near}"
            );
        }
    }
}
