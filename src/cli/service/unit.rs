//! The texts that systemd is given: the unit of `packaging/systemd` with this machine's paths, and the drop-in with the folders of rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// The same that packages bring.
const UNIT: &str = include_str!("../../../packaging/systemd/landfall.service");
/// What stands in it for the machine's own.
const BINARY: &str = "/usr/bin/landfall";
const CONFIGURATION: &str = "/etc/landfall/landfall.toml";
const USER: &str = "User=landfall\n";
const RUN: &str = " run --config ";
/// The folder that the unit has for itself.
pub(super) const STATE_FOLDER: &str = "/var/lib/landfall";
/// Ours, so that it may be written anew and removed.
pub(super) const MARK: &str = "# Written by `landfall service install`";

/// What fills the unit in.
pub(super) struct Filling<'a> {
    pub(super) binary: &'a Path,
    pub(super) configuration: &'a Path,
    pub(super) user: &'a str,
    pub(super) standby: bool,
}

/// The unit of this machine.
pub(super) fn unit(filling: &Filling<'_>) -> anyhow::Result<String> {
    let Filling { binary, configuration, user, standby } = filling;
    let is_name =
        |user: &str| !user.is_empty() && user.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if !is_name(user) {
        bail!("{user:?} is no name of a user");
    }
    let (binary, configuration) = (word(binary, Place::Command)?, word(configuration, Place::Command)?);
    let filled: Vec<String> = UNIT
        .split_inclusive('\n')
        .map(|line| match line {
            USER => format!("User={user}\n"),
            comment if comment.starts_with('#') => comment.to_owned(),
            line => {
                let line = line.replace(CONFIGURATION, &configuration).replace(BINARY, &binary);
                if *standby { line.replace(RUN, " run --standby --config ") } else { line }
            }
        })
        .collect();
    Ok(format!("{MARK}, which writes it anew; changes belong into drop-ins.\n{}", filled.concat()))
}

/// The drop-in that lets the service write in these folders; none where it needs none.
pub(super) fn drop_in(folders: &BTreeSet<PathBuf>) -> anyhow::Result<Option<String>> {
    let own = Path::new(STATE_FOLDER);
    let folders: Vec<&PathBuf> = folders.iter().filter(|folder| !folder.starts_with(own)).collect();
    if folders.is_empty() {
        return Ok(None);
    }
    // One that is away when the service starts keeps it from nothing.
    let line = |folder: &&PathBuf| Ok(format!("ReadWritePaths=-{}\n", word(folder, Place::Path)?));
    let lines = folders.iter().map(line).collect::<anyhow::Result<String>>()?;
    let text = format!(
        "{MARK}, which writes it anew: the folders of the rules, as the configuration has them.\n[Service]\n{lines}"
    );
    Ok(Some(text))
}

/// Where data lies, so that the folder below may be the service's as a whole.
const DATA: &[&str] = &["/srv", "/data", "/mnt", "/media"];

/// Each `ReadWritePaths` is a mount, and between two of them a file is copied, not renamed: folders that lie in one folder of data are named
/// as that, and those within others not at all.
pub(super) fn joined(folders: impl IntoIterator<Item = PathBuf>) -> BTreeSet<PathBuf> {
    let mut joined = BTreeSet::<PathBuf>::new();
    // Those above come first.
    for folder in folders.into_iter().collect::<BTreeSet<_>>() {
        let with = joined.iter().find_map(|known| Some((known.clone(), common_of_data(known, &folder)?)));
        let (gone, folder) = with.map_or((None, folder), |(known, common)| (Some(known), common));
        gone.map(|known| joined.remove(&known));
        joined.insert(folder);
    }
    joined
}

/// The folder that has all of these in it, where that is not the root: between those of one rule files are renamed.
pub(super) fn common(folders: &[PathBuf]) -> Option<PathBuf> {
    let (first, others) = folders.split_first()?;
    let common = first.ancestors().find(|above| others.iter().all(|other| other.starts_with(above)))?;
    common.parent().is_some().then(|| common.to_owned())
}

/// The folder above a place where something is to be mounted: the place itself would be a mount at once, whether that is there or not.
pub(super) fn above_mounts(folder: PathBuf, points: &[PathBuf]) -> PathBuf {
    let point =
        points.iter().filter(|point| folder.starts_with(point)).min_by_key(|point| point.as_os_str().len());
    let above = point.and_then(|point| point.parent()).filter(|above| above.parent().is_some());
    above.map_or(folder, Path::to_owned)
}

/// The folder that both lie in, or one is: of data, or one of them itself.
fn common_of_data(one: &Path, other: &Path) -> Option<PathBuf> {
    let common = one.ancestors().find(|above| other.starts_with(above))?;
    let is_within_data = DATA.iter().any(|data| common.starts_with(data) && common != Path::new(data));
    (is_within_data || common == one || common == other).then(|| common.to_owned())
}

/// Where a path stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Variables are replaced there, too.
    Command,
    Path,
}

/// A path as systemd reads it back.
fn word(path: &Path, place: Place) -> anyhow::Result<String> {
    let text =
        path.to_str().with_context(|| format!("{} is no text: systemd cannot be told", path.display()))?;
    if text.contains(char::is_control) {
        bail!("{text:?} has a new line or another sign of control in it: systemd cannot be told");
    }
    let text = text.replace('%', "%%");
    let text = if place == Place::Command { text.replace('$', "$$") } else { text };
    let is_plain = text.chars().all(|c| c.is_alphanumeric() || "/._-+=@:,%$".contains(c));
    if is_plain {
        return Ok(text);
    }
    if place == Place::Path {
        // Before the quote `-` would be part of the path.
        return Ok(text.replace('\\', "\\\\").replace(' ', "\\ ").replace('"', "\\\"").replace('\'', "\\'"));
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(binary: &str, configuration: &str, standby: bool) -> String {
        let (binary, configuration) = (Path::new(binary), Path::new(configuration));
        unit(&Filling { binary, configuration, user: "ingest", standby }).expect("can be told")
    }

    #[test]
    fn the_unit_is_that_of_the_packages_with_this_machines_paths_and_user() {
        let text = filled("/opt/lf/landfall", "/srv/lf/landfall.toml", false);
        assert!(text.starts_with(MARK));
        for line in [
            "ExecStartPre=-/usr/bin/timeout -s KILL 60 /opt/lf/landfall check --config /srv/lf/landfall.toml",
            "ExecStart=/opt/lf/landfall run --config /srv/lf/landfall.toml",
            "ExecReload=/opt/lf/landfall reload --config /srv/lf/landfall.toml",
            "User=ingest",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        let settings = |text: &str| text.lines().filter(|line| line.contains('=')).count();
        assert_eq!(settings(&text), settings(UNIT), "nothing is lost");
    }

    #[test]
    fn a_standby_runs_as_one() {
        let text = filled("/usr/bin/landfall", "/etc/landfall/landfall.toml", true);
        assert!(text.contains("ExecStart=/usr/bin/landfall run --standby --config /etc/"), "{text}");
    }

    #[test]
    fn what_systemd_would_replace_or_split_stays_as_it_is() {
        let text = filled("/opt/l f/land%fall", "/etc/$x.toml", false);
        assert!(text.contains("ExecStart=\"/opt/l f/land%%fall\" run --config /etc/$$x.toml\n"), "{text}");
    }

    #[test]
    fn a_user_is_a_name() {
        for user in ["", "a b", "x\nExecStart=/bin/sh"] {
            let path = Path::new("/x");
            unit(&Filling { binary: path, configuration: path, user, standby: false }).expect_err(user);
        }
    }

    #[test]
    fn the_folders_of_rules_can_be_written_and_those_within_others_are_named_once() {
        let folders = ["/srv/in", "/srv/in/a", "/data/o ut", "/var/lib/landfall/spare"].map(PathBuf::from);
        let text = drop_in(&joined(folders)).expect("can be told").expect("there are some");
        let paths: Vec<_> = text.lines().filter_map(|line| line.strip_prefix("ReadWritePaths=-")).collect();
        assert_eq!(paths, ["/data/o\\ ut", "/srv/in"]);
        assert_eq!(drop_in(&joined([PathBuf::from("/var/lib/landfall")])).expect("can be told"), None);
    }

    #[test]
    fn what_is_to_be_mounted_is_named_by_the_folder_above_it_and_the_folders_of_a_claim_by_what_they_share() {
        let above = |folder: &str| {
            above_mounts(folder.into(), &["/mnt/out".into(), "/mnt/out/deep".into(), "/in".into()])
        };
        assert_eq!(above("/mnt/out/deep/a"), Path::new("/mnt"));
        assert_eq!(above("/mnt/out"), Path::new("/mnt"));
        assert_eq!(above("/mnt/output"), Path::new("/mnt/output"));
        assert_eq!(above("/in/a"), Path::new("/in/a"), "all is nobody's");
        let of = |folders: &[&str]| common(&folders.iter().map(PathBuf::from).collect::<Vec<_>>());
        assert_eq!(of(&["/srv/sftp/acme/in", "/srv/landfall/claims"]), Some("/srv".into()));
        assert_eq!(of(&["/srv/in", "/var/claims"]), None);
    }

    #[test]
    fn folders_in_one_folder_of_data_are_one_so_that_files_are_renamed_between_them() {
        let of = |folders: &[&str]| -> Vec<String> {
            let joined = joined(folders.iter().map(PathBuf::from));
            joined.iter().map(|folder| folder.display().to_string()).collect()
        };
        assert_eq!(of(&["/srv/lf/inbox", "/srv/lf/out", "/srv/lf/archive"]), ["/srv/lf"]);
        assert_eq!(of(&["/srv/a", "/srv/b"]), ["/srv/a", "/srv/b"], "all data is not ours");
        assert_eq!(of(&["/var/a/x", "/var/a/y", "/var/b/in", "/var/b/out"]).len(), 4);
    }
}
