//! The service under systemd: asked, started and stopped by `systemctl`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, bail};

use crate::cli::exit::{FAILED, USAGE};
use crate::cli::say::{complain, lines, say};
use crate::cli::view::printable;

/// Its name.
pub(super) const UNIT: &str = "landfall.service";
/// Where machines have their own units.
pub(super) const UNITS: &str = "/etc/systemd/system";
/// The folders of rules, for the unit.
pub(super) const DROP_IN: &str = "/etc/systemd/system/landfall.service.d/folders.conf";
/// Where packages have theirs.
const PACKAGED: &[&str] = &["/usr/lib/systemd/system", "/lib/systemd/system"];
/// There while systemd runs the machine: `sd_booted(3)`.
const BOOTED: &str = "/run/systemd/system";
/// Lines of the journal that are shown where a start failed.
const JOURNAL_LINES: &str = "-n15";

/// That of a package, if one brought it.
pub(super) fn unit_of_package() -> Option<PathBuf> {
    PACKAGED.iter().map(|folder| Path::new(folder).join(UNIT)).find(|unit| unit.is_file())
}

/// Why nothing can be done about a service here, said.
pub(super) fn refusal(needs_root: bool, command: &str) -> Option<ExitCode> {
    if !Path::new(BOOTED).is_dir() {
        complain(
            "systemd does not run this machine",
            Some(
                "have `landfall run` started by what starts services here; `landfall service install --print` shows a unit",
            ),
        );
        return Some(ExitCode::from(USAGE));
    }
    if needs_root && !rustix::process::geteuid().is_root() {
        complain("this needs root", Some(&format!("sudo landfall service {command}")));
        return Some(ExitCode::from(USAGE));
    }
    None
}

/// Runs a program of the system; what it says is said where it fails.
pub(super) fn call(program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    let shown = || format!("{program} {}", arguments.join(" "));
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = ran.with_context(|| format!("cannot run `{}`", shown()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("`{}` failed ({}): {}", shown(), output.status, said.trim());
}

/// What systemd says of the unit, by the names of its properties.
pub(super) struct Unit(HashMap<String, String>);

impl Unit {
    pub(super) fn now() -> anyhow::Result<Self> {
        let properties = "LoadState,ActiveState,SubState,StatusText,MainPID,UnitFileState,NRestarts,Result,FragmentPath,ExecStart";
        let mut systemctl = Command::new("systemctl");
        systemctl.args(["show", UNIT, "-p", properties]).stdin(Stdio::null());
        let output = systemctl.output().context("cannot run `systemctl`")?;
        if !output.status.success() {
            bail!("`systemctl show` failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(Self::read(&String::from_utf8_lossy(&output.stdout)))
    }

    fn read(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        Self(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
    }

    pub(super) fn get(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Whether systemd knows it.
    pub(super) fn is_known(&self) -> bool {
        self.get("LoadState") == "loaded"
    }

    fn is_active(&self) -> bool {
        matches!(self.get("ActiveState"), "active" | "reloading")
    }

    fn stands_by(&self) -> bool {
        self.get("ExecStart").contains("--standby")
    }

    /// For people, a line for each.
    fn told(&self) -> String {
        let some = |name| Some(self.get(name)).filter(|value| !matches!(*value, "" | "0"));
        let (active, sub) = (self.get("ActiveState"), self.get("SubState"));
        let by = if active == "failed" { format!(", by {}", self.get("Result")) } else { String::new() };
        let starts = match self.get("UnitFileState") {
            "enabled" => "with the machine",
            "" => "not known",
            _ => "not with the machine",
        };
        let told = [
            Some(format!("service    {active} ({sub}){by}\n")),
            // These are the words of its user, and for no terminal to obey.
            some("StatusText")
                .map(|status| format!("it says    {}\n", printable(status.as_bytes(), usize::MAX))),
            some("MainPID").map(|process| format!("process    {process}\n")),
            some("NRestarts").map(|restarts| format!("restarts   {restarts} by systemd\n")),
            Some(format!("starts     {starts}\nunit       {}\n", self.get("FragmentPath"))),
        ];
        told.into_iter().flatten().collect()
    }
}

fn not_installed() -> ExitCode {
    complain("no service is installed", Some("sudo landfall service install"));
    ExitCode::from(FAILED)
}

pub(super) fn start() -> anyhow::Result<ExitCode> {
    if let Some(refused) = refusal(true, "start") {
        return Ok(refused);
    }
    let unit = Unit::now()?;
    if !unit.is_known() {
        return Ok(not_installed());
    }
    if unit.stands_by() {
        // It is ready when the other one is gone, which may be never.
        call("systemctl", &["start", "--no-block", UNIT])?;
        say!("started: it stands by, and takes over when nobody else has the data folder");
        return Ok(ExitCode::SUCCESS);
    }
    if let Err(error) = call("systemctl", &["start", UNIT]) {
        show_journal();
        complain(&format!("{error:#}"), Some("its log: journalctl -u landfall"));
        return Ok(ExitCode::from(FAILED));
    }
    lines(&Unit::now()?.told());
    Ok(ExitCode::SUCCESS)
}

fn show_journal() {
    let mut journal = Command::new("journalctl");
    journal.args(["-u", UNIT, "--no-pager", "-ocat", JOURNAL_LINES]).stdin(Stdio::null());
    if let Ok(output) = journal.output() {
        lines(&String::from_utf8_lossy(&output.stdout));
    }
}

pub(super) fn stop() -> anyhow::Result<ExitCode> {
    if let Some(refused) = refusal(true, "stop") {
        return Ok(refused);
    }
    if !Unit::now()?.is_known() {
        return Ok(not_installed());
    }
    call("systemctl", &["stop", UNIT])?;
    let unit = Unit::now()?;
    if unit.get("Result") == "success" {
        say!("stopped; it starts again with the machine, or by `landfall service start`");
        return Ok(ExitCode::SUCCESS);
    }
    complain(
        &format!("it stopped, and not cleanly: {}", unit.get("Result")),
        Some("its log: journalctl -u landfall"),
    );
    Ok(ExitCode::from(FAILED))
}

pub(super) fn status() -> anyhow::Result<ExitCode> {
    if let Some(refused) = refusal(false, "status") {
        return Ok(refused);
    }
    let unit = Unit::now()?;
    if !unit.is_known() {
        return Ok(not_installed());
    }
    lines(&unit.told());
    Ok(if unit.is_active() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_service_is_told_with_what_it_says_of_itself() {
        let unit = Unit::read(
            "LoadState=loaded\nActiveState=active\nSubState=running\nStatusText=no \u{1b}jobs, no files waiting\nMainPID=12\n\
             UnitFileState=enabled\nNRestarts=1\nFragmentPath=/etc/systemd/system/landfall.service\nExecStart={ path=/x ; argv[]=/x run }",
        );
        assert!(unit.is_known() && unit.is_active() && !unit.stands_by());
        assert_eq!(
            unit.told(),
            "service    active (running)\nit says    no \\u{1b}jobs, no files waiting\nprocess    12\nrestarts   1 by systemd\n\
             starts     with the machine\nunit       /etc/systemd/system/landfall.service\n"
        );
    }

    #[test]
    fn what_is_not_installed_or_failed_is_not_active() {
        assert!(!Unit::read("LoadState=not-found\nActiveState=inactive").is_known());
        let failed = Unit::read("LoadState=loaded\nActiveState=failed\nSubState=failed\nResult=watchdog");
        assert!(
            !failed.is_active() && failed.told().starts_with("service    failed (failed), by watchdog\n")
        );
    }
}
