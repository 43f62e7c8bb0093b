//! `landfall service install`: user, configuration, unit and folders, each only where it is not there; then systemd is told.

use std::collections::BTreeSet;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};
use rustix::fs::Mode;

use super::InstallArgs;
use super::systemd::{DROP_IN, UNIT, UNITS, Unit, call, refusal, unit_of_package};
use super::unit::{self, Filling, MARK, STATE_FOLDER};
use crate::cli::exit::USAGE;
use crate::cli::say::{complain, lines, say};
use crate::config;
use crate::durable_fs::{self, parent_of, points_to_be};
use crate::engine::{folders_of, watched_folders};
use crate::model::rule::{Rule, Settings};
use crate::pipeline::Registry;
use crate::pipeline::steps::exec;

/// Where a service has its configuration, unless it is told otherwise.
const CONFIGURATION: &str = "/etc/landfall/landfall.toml";
/// What is written there: nothing is watched until it is edited.
const EXAMPLE: &str = include_str!("../../../config/service.toml");
/// The unit's own (`RuntimeDirectory`).
const RUNTIME_FOLDER: &str = "/run/landfall";
/// The user that the unit of a package names.
const OWN_USER: &str = "landfall";
/// The service has folders of its own in their place.
const TEMPORARY: &[&str] = &["/tmp", "/var/tmp"];

pub(super) fn install(
    args: &InstallArgs,
    config: Option<&Path>,
    registry: &Registry,
) -> anyhow::Result<ExitCode> {
    if !is_name(&args.user) {
        complain(
            &format!("`--user {}` is no name of a user", args.user),
            Some("letters, digits, `-`, `_` and `.`, and no number alone"),
        );
        return Ok(ExitCode::from(USAGE));
    }
    let binary = std::env::current_exe().context("cannot tell where this program lies")?;
    let configuration = std::path::absolute(config.unwrap_or(Path::new(CONFIGURATION)))
        .context("cannot tell the working folder")?;
    let filling =
        Filling { binary: &binary, configuration: &configuration, user: &args.user, standby: args.standby };
    let text = unit::unit(&filling)?;
    let settings = config::load_with_places(&configuration, registry).map(|(settings, _)| settings);
    let folders = settings.as_ref().map(folders).unwrap_or_default();
    let drop_in = unit::drop_in(&folders)?;
    if args.print {
        print(&text, drop_in.as_deref());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(refused) = refusal(true, "install") {
        return Ok(refused);
    }
    if let Some(why) = out_of_reach(&binary) {
        complain(&why, Some("install -m 755 landfall /usr/local/bin/landfall, and run it from there"));
        return Ok(ExitCode::from(USAGE));
    }
    // What is made is for the service, whatever its asker's files are for.
    rustix::process::umask(Mode::from_raw_mode(0o022));
    if let Some(packaged) = packaged().filter(|_| is_otherwise(args, &configuration)) {
        complain(
            &format!(
                "the unit is the package's, {}, which names its user, its configuration and how it is run",
                packaged.display()
            ),
            Some(
                "have it otherwise in a drop-in, `systemctl edit landfall`, and run this without those options",
            ),
        );
        return Ok(ExitCode::from(USAGE));
    }
    make_user(&args.user)?;
    let is_new = make_configuration(&configuration, config.is_some(), &args.user)?;
    // A standby takes what is there: one that is made where nothing is mounted would be another store.
    if let Some(settings) = settings.as_ref().ok().filter(|_| !args.standby) {
        make_data_folder(&settings.service.data_dir, &args.user)?;
    }
    write_unit(&text)?;
    write_drop_in(drop_in.as_deref())?;
    call("systemctl", &["daemon-reload"])?;
    call("systemctl", &["enable", UNIT])?;
    say!("enabled: it starts with the machine");
    if let (Err(problems), false) = (&settings, is_new) {
        say!(
            "\nthe configuration is wrong, so that nobody knows its folders: mend it, and run this again\n{problems}"
        );
        return Ok(ExitCode::from(USAGE));
    }
    say_next(&configuration, is_new, &args.user)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether all programs take it for a name: a number is another user's to some, and `-…` an option.
fn is_name(user: &str) -> bool {
    let is_one = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !user.starts_with('-') && user.chars().all(is_one) && user.chars().any(|c| !c.is_ascii_digit())
}

fn print(unit: &str, drop_in: Option<&str>) {
    lines(&format!("# {UNITS}/{UNIT}\n{unit}"));
    if let Some(drop_in) = drop_in {
        lines(&format!("\n# {DROP_IN}\n{drop_in}"));
    }
}

/// All that the configuration has the service write in, and its steps' programs.
fn folders(settings: &Settings) -> BTreeSet<PathBuf> {
    let service = &settings.service;
    let own = [Some(service.data_dir.as_path()), service.api.socket.as_deref().map(parent_of)];
    let of_steps = |rule: &Rule| {
        let paths = rule.pipeline.iter().flat_map(|step| exec::paths_of(step, "write", &rule.base_dir));
        paths.collect::<Vec<_>>()
    };
    let of_rules = settings.rules.iter().flat_map(|rule| {
        watched_folders(rule)
            .into_iter()
            .chain(folders_of(rule))
            .chain(claimed_within(rule))
            .chain(of_steps(rule))
    });
    let mounts: Vec<_> = settings.rules.iter().filter_map(|rule| rule.publish.mount.clone()).collect();
    let named = of_rules.chain(own.into_iter().flatten().map(Path::to_owned)).map(|folder| {
        let points = [points_to_be(&folder), mounts.clone()].concat();
        there(&unit::above_mounts(folder, &points))
    });
    unit::joined(named.filter(|folder| !folder.starts_with(RUNTIME_FOLDER)))
}

/// A claim renames files from where they were found: what it needs for that lies in one mount, and so in one folder of those that are named.
fn claimed_within(rule: &Rule) -> Option<PathBuf> {
    let source = &rule.source;
    let claims: Vec<_> = [&source.claim_dir, &source.quarantine_dir].into_iter().flatten().cloned().collect();
    (!claims.is_empty()).then(|| unit::common(&[watched_folders(rule), claims].concat())).flatten()
}

/// The folder, or the one above it that is there: the service makes what is missing, and may not where nothing is named. Not the root.
fn there(folder: &Path) -> PathBuf {
    let found = folder.ancestors().find(|above| above.is_dir()).filter(|above| above.parent().is_some());
    found.unwrap_or(folder).to_owned()
}

/// Why the service could not start this program, if it could not.
fn out_of_reach(binary: &Path) -> Option<String> {
    let shown = binary.display();
    if TEMPORARY.iter().any(|folder| binary.starts_with(folder)) {
        return Some(format!("{shown} lies in a folder for temporary files, which a service does not see"));
    }
    closed_to_others(binary)
}

fn closed_to_others(binary: &Path) -> Option<String> {
    let shown = binary.display();
    let is_closed =
        |path: &&Path| fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o001 == 0);
    let closed = binary.ancestors().find(is_closed)?;
    Some(format!("the service's user may not start {shown}: {} is closed to others", closed.display()))
}

fn make_user(user: &str) -> anyhow::Result<()> {
    let known = Command::new("id").args(["-u", user]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if known.context("cannot run `id`")?.success() {
        return Ok(());
    }
    let shell = "/usr/sbin/nologin";
    call(
        "useradd",
        &["--system", "--user-group", "--home-dir", STATE_FOLDER, "--no-create-home", "--shell", shell, user],
    )?;
    say!("made the user {user}");
    Ok(())
}

/// Whether it was written; one that is there stays as it is, and one that was named must be there.
fn make_configuration(file: &Path, is_named: bool, user: &str) -> anyhow::Result<bool> {
    if file.try_exists().with_context(|| format!("cannot look at {}", file.display()))? {
        return Ok(false);
    }
    if is_named {
        bail!("there is no {}", file.display());
    }
    let folder = crate::durable_fs::parent_of(file);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut options = fs::OpenOptions::new();
    let written = options.write(true).create_new(true).mode(0o640).open(file);
    let mut written = match written {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
        written => written.with_context(|| format!("cannot write {}", file.display()))?,
    };
    written.write_all(EXAMPLE.as_bytes()).with_context(|| format!("cannot write {}", file.display()))?;
    // It may get passwords of others: it is for root and the service.
    call("chgrp", &[&group_of(user)?, CONFIGURATION])?;
    say!("wrote {}: nothing is watched until you edit it", file.display());
    Ok(true)
}

/// That of the unit is made by systemd.
fn make_data_folder(folder: &Path, user: &str) -> anyhow::Result<()> {
    let is_away = |point: &PathBuf| !durable_fs::is_mount_point(point).unwrap_or(false);
    if let Some(point) = points_to_be(folder).into_iter().find(is_away) {
        say!("{} is not made: nothing is mounted at {}", folder.display(), point.display());
        return Ok(());
    }
    if folder.starts_with(STATE_FOLDER)
        || folder.try_exists().with_context(|| format!("cannot look at {}", folder.display()))?
    {
        return Ok(());
    }
    let shown = folder.to_str().with_context(|| format!("{} is no text", folder.display()))?;
    call("install", &["-d", "-m", "700", "-o", user, "-g", &group_of(user)?, "--", shown])?;
    say!("made {shown}, for {user} alone");
    Ok(())
}

/// The name of a user's first group.
fn group_of(user: &str) -> anyhow::Result<String> {
    let output =
        Command::new("id").args(["-gn", user]).stdin(Stdio::null()).output().context("cannot run `id`")?;
    if !output.status.success() {
        bail!("cannot tell the group of {user}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Whether something else is asked for than what a package's unit has.
fn is_otherwise(args: &InstallArgs, configuration: &Path) -> bool {
    args.standby || args.user != OWN_USER || configuration != Path::new(CONFIGURATION)
}

/// The unit of a package, if that is the one that counts: one that this command wrote before hides it.
fn packaged() -> Option<PathBuf> {
    let is_hidden = Path::new(UNITS).join(UNIT).is_file();
    unit_of_package().filter(|_| !is_hidden)
}

fn write_unit(text: &str) -> anyhow::Result<()> {
    if let Some(packaged) = packaged() {
        say!("the unit is the package's: {}", packaged.display());
        return Ok(());
    }
    let file = Path::new(UNITS).join(UNIT);
    write_ours(&file, text)?;
    say!("wrote {}", file.display());
    if let Some(packaged) = unit_of_package() {
        say!(
            "it hides the package's {}: to go by that, `landfall service uninstall`, then `install`",
            packaged.display()
        );
    }
    Ok(())
}

fn write_drop_in(text: Option<&str>) -> anyhow::Result<()> {
    let file = Path::new(DROP_IN);
    let Some(text) = text else { return super::uninstall::remove_ours(file).map(drop) };
    let folder = crate::durable_fs::parent_of(file);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    write_ours(file, text)?;
    say!("wrote {DROP_IN}: the folders that it may write in");
    Ok(())
}

/// In the place of what this command wrote before, whole or not at all; and of nothing else.
fn write_ours(file: &Path, text: &str) -> anyhow::Result<()> {
    match fs::read(file) {
        Ok(before) if before.starts_with(MARK.as_bytes()) => {}
        Ok(_) => bail!(
            "{} was not written by this command: remove it first, or keep it and do without this one",
            file.display()
        ),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
    durable_fs::write_file(file, text.as_bytes(), true, 0o644)
        .map(drop)
        .with_context(|| format!("cannot write {}", file.display()))
}

fn say_next(configuration: &Path, is_new: bool, user: &str) -> anyhow::Result<()> {
    let unit = Unit::now()?;
    // Root's alone, with whatever group root has.
    let is_closed = fs::metadata(configuration)
        .is_ok_and(|found| found.uid() == 0 && found.gid() == 0 && found.permissions().mode() & 0o004 == 0);
    if is_closed {
        say!("its user {user} cannot read {0}: `chgrp {user} {0} && chmod g+r {0}`", configuration.display());
    }
    if is_new {
        say!("next: edit {}, then `landfall service install` again for its folders", configuration.display());
        say!("      landfall service start");
    } else if unit.get("ActiveState") == "active" {
        say!("next: systemctl restart landfall, so that it runs by this unit");
    } else {
        say!("next: landfall service start");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_at_first_is_right_and_watches_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("landfall.toml");
        fs::write(&file, EXAMPLE).expect("writes");
        let registry = Registry::with_builtin_steps();
        let (settings, _) = config::load_with_places(&file, &registry).expect("is right");
        assert!(settings.rules.iter().all(|rule| rule.mode == crate::model::rule::Mode::Off));
        assert_eq!(settings.service.data_dir, Path::new(STATE_FOLDER));
    }

    #[test]
    fn a_user_has_a_name_that_is_no_number_and_no_option() {
        assert!(["landfall", "_l-1", "svc.in"].into_iter().all(is_name));
        assert!(!["", "0", "1234", "-x", "a b", "a\nb", "a%b"].into_iter().any(is_name));
    }

    #[test]
    fn a_program_that_the_services_user_cannot_start_is_refused_with_what_is_in_the_way() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).expect("sets");
        let binary = folder.path().join("landfall");
        fs::write(&binary, "").expect("writes");
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("sets");
        let why = closed_to_others(&binary).expect("the folder is closed");
        assert!(why.contains("is closed to others"), "{why}");
        assert!(out_of_reach(Path::new("/tmp/landfall")).is_some_and(|why| why.contains("temporary")));
        assert_eq!(out_of_reach(Path::new("/usr/bin/env")), None);
    }
}
