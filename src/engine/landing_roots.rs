//! Which folders belong to senders, and in which ones their names lead on: what lies below the fixed part of a pattern, or of a template, of
//! every rule that a job may still be worked under.

use std::collections::BTreeSet;

use super::file_systems::folders_of;
use super::trouble::Trouble;
use crate::durable_fs;
use crate::model::rule::Rule;
use crate::store::Store;

/// The folders of a rule.
pub(super) fn distrust(rule: &Rule) {
    for pattern in rule.paths.good() {
        durable_fs::add_landing_root(pattern.fixed_folder());
    }
    for folder in folders_of(rule).iter().filter(|folder| !folder.as_os_str().is_empty()) {
        durable_fs::add_target_root(folder);
    }
}

/// Those of the rule that a job was claimed under, which may have been changed or removed since.
pub(super) fn distrust_those_of(store: &Store, rule_hash: &str) -> Result<(), Trouble> {
    if let Some(rule) = store.rule(rule_hash)? {
        distrust(&rule);
    }
    Ok(())
}

/// Those of every job that goes on.
pub(super) fn distrust_those_of_unfinished(store: &Store) -> Result<(), Trouble> {
    let hashes: BTreeSet<String> = store.unfinished_jobs()?.into_iter().map(|job| job.rule_hash).collect();
    hashes.iter().try_for_each(|hash| distrust_those_of(store, hash))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::model::job::{Job, Source};
    use crate::model::job_id::JobId;
    use crate::pipeline::Registry;

    const CONFIGURATION: &str = r#"
config_version = 1
[service]
data_dir = "data"
[[rule]]
name = "removed"
paths = ["in/*/inbox/*"]
records = { format = "lines" }
output = { main = { path = "out/{stem}.main" } }
source = { on_success = "delete" }
"#;

    #[test]
    fn where_a_job_of_a_removed_rule_lies_no_link_is_followed_either() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        for name in ["data", "in/acme", "victim"] {
            std::fs::create_dir_all(path(name)).expect("makes");
        }
        std::fs::write(path("victim/pay"), "theirs\n").expect("writes");
        std::fs::write(path("landfall.toml"), CONFIGURATION).expect("writes");
        std::os::unix::fs::symlink(path("victim"), path("in/acme/inbox")).expect("links");
        let settings = crate::config::load(&path("landfall.toml"), &Registry::with_builtin_steps());
        let settings = settings.expect("is right");
        let rule = settings.rules.first().expect("one");
        let store = Store::in_memory();
        let file = path("in/acme/inbox/pay");
        let source = Source::found(
            file.as_path(),
            durable_fs::identity_at(&file).expect("links are followed").expect("it is there"),
        );
        let job = Job::queued(JobId::from_parts(1, 0), &rule.name, &rule.hash(), source, crate::clock::now());
        store.change().rule(rule).job(&job).apply().expect("stored");
        distrust_those_of_unfinished(&store).expect("the snapshot is there");
        let refused = durable_fs::identity_at(&file).expect_err("a link is on the way");
        assert!(refused.to_string().contains("symbolic link"), "{refused}");
    }
}
