//! What a source is called while it is ours, and the folder that it lies in then.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::durable_fs::CLAIM_FOLDER;
use crate::model::job_id::JobId;
use crate::model::rule::Rule;

/// Stands for a name that would not fit behind a job id.
const LONG_NAME: &str = "long-name";

/// What the reason beside a quarantined source is called after it.
pub(super) const REASON_SUFFIX: &str = ".error.json";

/// Bytes of a file name at most, on the file systems we know.
pub(super) const FILE_NAME_MAX: usize = 255;

/// Where the sources of this rule lie while they are ours.
pub(super) fn claim_folder(rule: &Rule, source: &Path) -> PathBuf {
    match &rule.source.claim_dir {
        Some(folder) => folder.clone(),
        None => source.parent().unwrap_or(Path::new(".")).join(CLAIM_FOLDER),
    }
}

/// The claimed name: job id and original name, so that a claim folder explains itself without the store.
pub(super) fn claimed_path(rule: &Rule, source: &Path, id: JobId) -> PathBuf {
    named(rule, source, id, LONG_NAME.to_owned())
}

/// The claimed name of what lies beside a source, the how manieth of it; several long names of one job do not meet.
pub(super) fn claimed_path_beside(rule: &Rule, companion: &Path, id: JobId, number: usize) -> PathBuf {
    named(rule, companion, id, format!("{LONG_NAME}-{}", number + 1))
}

/// Whether a claimed name tells nothing of the original one.
pub(super) fn stands_for_a_long_name(name: &OsStr) -> bool {
    let behind = name.to_str().and_then(|name| name.strip_prefix(LONG_NAME));
    behind.is_some_and(|behind| {
        behind.is_empty() || behind.strip_prefix('-').is_some_and(|number| number.parse::<usize>().is_ok())
    })
}

/// The ledger row has the original where that does not fit.
fn named(rule: &Rule, original: &Path, id: JobId, if_long: String) -> PathBuf {
    let mut name = OsString::from(format!("{id}."));
    let given = original.file_name().unwrap_or_default();
    if name.len() + given.len() <= FILE_NAME_MAX {
        name.push(given);
    } else {
        name.push(if_long);
    }
    claim_folder(rule, original).join(name)
}

/// The file that says why a source was refused.
pub(super) fn reason_of(source: &Path) -> PathBuf {
    let mut path = source.as_os_str().to_owned();
    path.push(REASON_SUFFIX);
    path.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Registry;

    fn rule(source: &str) -> Rule {
        let folder = tempfile::tempdir().expect("a folder");
        let configuration = format!(
            r#"
config_version = 1
[service]
data_dir = "data"
[[rule]]
name = "payments"
paths = ["in/*"]
records = {{ format = "lines" }}
output = {{ main = {{ path = "out/{{stem}}" }} }}
source = {{ on_success = "delete"{source} }}
"#
        );
        let path = folder.path().join("landfall.toml");
        std::fs::write(&path, configuration).expect("writes");
        let settings = crate::config::load(&path, &Registry::with_builtin_steps());
        settings.expect("is right").rules.remove(0)
    }

    #[test]
    fn a_claimed_name_has_its_job_before_the_original_and_fits_every_file_system() {
        let (rule, id) = (rule(""), JobId::from_parts(1, 1));
        let folder = Path::new("in").join(CLAIM_FOLDER);
        assert_eq!(claimed_path(&rule, Path::new("in/pay.txt"), id), folder.join(format!("{id}.pay.txt")));
        let longest = "n".repeat(FILE_NAME_MAX);
        let claimed = claimed_path(&rule, &Path::new("in").join(longest), id);
        assert_eq!(claimed, folder.join(format!("{id}.{LONG_NAME}")), "the row has the original");
        let marker = Path::new("in").join("m".repeat(FILE_NAME_MAX));
        let beside = [0, 1].map(|number| claimed_path_beside(&rule, &marker, id, number));
        assert!(beside[0] != beside[1] && !beside.contains(&claimed), "{beside:?}");
        for name in beside.iter().chain([&claimed]).filter_map(|path| path.file_name()?.to_str()) {
            assert!(stands_for_a_long_name(name.split_once('.').expect("behind its job").1.as_ref()));
        }
        assert!(!stands_for_a_long_name("long-name.csv".as_ref()));
    }

    #[test]
    fn a_rule_with_a_claim_folder_of_its_own_has_all_its_sources_there() {
        let rule = rule(", claim_dir = \"claims\"");
        let folders = ["in/pay.txt", "elsewhere/pay.txt"].map(|path| claim_folder(&rule, Path::new(path)));
        assert_eq!(folders[0], folders[1]);
        assert!(folders[0].ends_with("claims"), "{folders:?}");
    }
}
