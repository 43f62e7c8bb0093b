//! `[service.cluster]`: several nodes that stand in for each other, and where their store lies.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fit::ReadRule;
use super::section::Section;
use crate::model::at_rest::{Encrypt, KeysFrom};
use crate::model::cluster::Cluster;
use crate::model::rule::Service;

const SERVERS: &str = "write `servers = [\"tls://a:4222\", \"tls://b:4222\", \"tls://c:4222\"]`";
const NAME: &str = "write the same name on all nodes: up to 32 of a-z, 0-9, `_` and `-`";
const NODE: &str =
    "write `node = \"a\"`: up to 64 of letters, digits, `.`, `_` and `-`, another one on each node";
const NAME_MAX: usize = 32;
const NODE_MAX: usize = 64;
const LEASE_MIN: Duration = Duration::from_secs(1);
const LEASE_MAX: Duration = Duration::from_mins(1);

pub(super) fn read(service: &Section<'_>) -> Option<Cluster> {
    let is_there = service.has("cluster");
    let table = service.section("cluster");
    let (servers, name, node) = (servers(&table), name(&table), node(&table, is_there));
    let (credentials, ca) = (table.path("credentials"), table.path("ca"));
    let certificate = certificate(&table);
    let replicas = replicas(&table);
    let lease = lease(&table);
    table.finish(&[]);
    if !is_there {
        return None;
    }
    for (key, is_missing, hint) in
        [("servers", !table.has("servers"), SERVERS), ("name", !table.has("name"), NAME)]
    {
        if is_missing {
            table.missing(key, "a cluster", hint);
        }
    }
    let servers = servers?;
    let is_tls = servers.iter().any(|server| server.starts_with("tls://"));
    if let Some(key) = ["ca", "certificate"].into_iter().find(|key| table.has(key) && !is_tls) {
        let hint = "write `tls://` in front of the servers, or take this line out".to_owned();
        table.problem(key, "no server is asked for TLS", Some(hint));
    }
    Some(Cluster { servers, name: name?, node: node?, credentials, ca, certificate, replicas, lease })
}

/// What does not go together with a cluster, or not yet.
pub(super) fn check(section: &Section<'_>, service: &Service, rules: &[ReadRule]) {
    if service.cluster.is_none() {
        return;
    }
    if service.audit {
        let hint =
            "take this line out, or `cluster`: the trail would lie in pieces on several machines".to_owned();
        section.problem("audit", "the nodes of a cluster keep no audit trail yet", Some(hint));
    }
    let is_kept = |read: &&ReadRule| {
        read.rule.outputs.values().any(|output| Path::new(&output.path).starts_with(&service.data_dir))
    };
    if let Some(read) = rules.iter().find(is_kept) {
        let message = format!("rule \"{}\" has an output in the data folder of this node", read.rule.name);
        let hint = "give that output a `path` that all nodes reach".to_owned();
        section.problem("cluster", message, Some(hint));
    }
    if service.at_rest.encrypt == Encrypt::Yes && service.at_rest.keys == KeysFrom::DataFolder {
        let hint =
            "name it, on all nodes the same: `at_rest = { encrypt = true, key_file = \"at_rest.keys\" }`"
                .to_owned();
        section.problem(
            "at_rest",
            "a key in the data folder of this node the other ones do not have",
            Some(hint),
        );
    }
}

fn servers(table: &Section<'_>) -> Option<Vec<String>> {
    let items = table.texts("servers")?;
    if items.is_empty() {
        table.problem("servers", "no server is named", Some(SERVERS.to_owned()));
        return None;
    }
    let mut servers = Vec::new();
    for item in &items {
        match server(item.text) {
            Ok(server) => servers.push(server),
            Err(message) => table.item_problem(item, message, Some(SERVERS.to_owned())),
        }
    }
    (servers.len() == items.len()).then_some(servers)
}

/// With its port.
fn server(text: &str) -> Result<String, &'static str> {
    const PORT: u16 = 4222;
    let (scheme, rest) = text
        .split_once("://")
        .filter(|(scheme, _)| ["nats", "tls"].contains(scheme))
        .ok_or("it begins with neither `tls://` nor `nats://`")?;
    if rest.contains('@') {
        return Err("a user and a password have no place here: `credentials` names a file");
    }
    let (host, port) = match rest.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.contains(']') => {
            (host, port.parse().map_err(|_| "its port is no number up to 65535")?)
        }
        _ => (rest, PORT),
    };
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-_[]:".contains(c);
    if host.is_empty() || !host.chars().all(is_host) || (host.contains(':') && !host.starts_with('[')) {
        return Err("it names no host");
    }
    Ok(format!("{scheme}://{host}:{port}"))
}

fn name(table: &Section<'_>) -> Option<String> {
    let name = table.text("name")?;
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(is_fit) {
        table.problem("name", format!("\"{name}\" cannot be the name of a cluster"), Some(NAME.to_owned()));
        return None;
    }
    Some(name.to_owned())
}

fn node(table: &Section<'_>, is_there: bool) -> Option<String> {
    let is_fit = |name: &str| {
        let of_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        !name.is_empty() && name.len() <= NODE_MAX && name.chars().all(of_name)
    };
    if table.has("node") {
        let name = table.text("node")?;
        if !is_fit(name) {
            table.problem("node", format!("\"{name}\" cannot be the name of a node"), Some(NODE.to_owned()));
            return None;
        }
        return Some(name.to_owned());
    }
    let host = host_name().filter(|host| is_fit(host));
    if host.is_none() && is_there {
        table.problem("node", "this machine has no name that could stand for it", Some(NODE.to_owned()));
    }
    host
}

fn host_name() -> Option<String> {
    #[cfg(unix)]
    return rustix::system::uname().nodename().to_str().ok().map(str::to_owned);
    #[cfg(windows)]
    return std::env::var("COMPUTERNAME").ok();
}

fn certificate(table: &Section<'_>) -> Option<(PathBuf, PathBuf)> {
    let (certificate, key) = (table.path("certificate"), table.path("key"));
    if table.has("certificate") != table.has("key") {
        let key = if table.has("key") { "key" } else { "certificate" };
        let hint = "write `certificate` and `key`, or neither".to_owned();
        table.problem(key, "a certificate goes with its key", Some(hint));
    }
    certificate.zip(key)
}

fn replicas(table: &Section<'_>) -> usize {
    const DEFAULT: usize = 3;
    let Some(asked) = table.integer("replicas", 1..=5) else { return DEFAULT };
    if asked % 2 == 0 {
        let hint = "write 3; or 1 where one broker is enough, 5 where two may be away".to_owned();
        table.problem("replicas", format!("{asked} outlive no more than {} do", asked - 1), Some(hint));
    }
    usize::try_from(asked).unwrap_or(DEFAULT)
}

fn lease(table: &Section<'_>) -> Duration {
    const DEFAULT: Duration = Duration::from_secs(3);
    let Some(asked) = table.duration("lease", LEASE_MIN) else { return DEFAULT };
    if asked > LEASE_MAX {
        let hint = "write at most \"1m\": so long nothing is claimed where a node is gone".to_owned();
        table.problem("lease", "it is too long", Some(hint));
    }
    asked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_a_scheme_a_host_and_a_port_and_no_password() {
        let fit = [
            ("tls://a", "tls://a:4222"),
            ("nats://10.0.0.1:4300", "nats://10.0.0.1:4300"),
            ("tls://[::1]", "tls://[::1]:4222"),
            ("tls://[fe80::1]:4", "tls://[fe80::1]:4"),
        ];
        for (text, read) in fit {
            assert_eq!(server(text).as_deref(), Ok(read));
        }
        for unfit in [
            "a:4222",
            "http://a",
            "tls://",
            "tls://u:p@a",
            "tls://a:x",
            "tls://a:70000",
            "tls://a b",
            "tls://::1",
        ] {
            server(unfit).expect_err(unfit);
        }
    }
}
