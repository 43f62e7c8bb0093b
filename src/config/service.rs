//! `[service]`: what is one for all rules.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::api;
use super::at_rest;
use super::cluster;
use super::paths;
use super::raw::Variables;
use super::section::Section;
use super::traces;
use crate::confinement;
use crate::model::at_rest::{AtRest, Encrypt};
use crate::model::priority::Sharing;
use crate::model::rule::{FreeMin, Service};

/// Keys of this version.
pub(super) const KEYS: [&str; 21] = [
    "data_dir",
    "workers",
    "memory_max",
    "load_ahead",
    "scan_every",
    "stop_timeout",
    "free_min",
    "retention",
    "ledger_retention",
    "sharing",
    "timezone",
    "rules_dir",
    "listen",
    "tls",
    "socket",
    "socket_group",
    "traces",
    "at_rest",
    "cluster",
    "confine",
    "audit",
];

const SHARING: [(&str, Sharing); 2] = [("fair", Sharing::Fair), ("fifo", Sharing::Fifo)];

/// Where further rules lie.
pub(super) struct RulesDir {
    /// As it is shown.
    pub shown: PathBuf,
    /// Absolute.
    pub absolute: PathBuf,
    /// Whether somebody asked for another than the default: then it must be there.
    pub asked_for: bool,
}

/// Reads the table; [`rules_dir`] has been asked for.
pub(super) fn read(section: &Section<'_>, variables: &Variables) -> Service {
    let data_dir = section.path("data_dir").unwrap_or_else(|| default_data_dir(variables));
    let workers = section.integer("workers", 0..=1024).unwrap_or(0) as usize;
    let retention = section.duration("retention", Duration::ZERO).unwrap_or(Duration::from_hours(30 * 24));
    let service = Service {
        data_dir,
        workers: if workers == 0 { cores() } else { workers },
        memory_max: section.size("memory_max", 1 << 20..=1 << 50).unwrap_or(96 << 20),
        load_ahead: section.size("load_ahead", 0..=1 << 60).unwrap_or(1 << 30),
        scan_every: section
            .duration("scan_every", Duration::from_millis(10))
            .unwrap_or(Duration::from_secs(30)),
        stop_timeout: section.duration("stop_timeout", Duration::ZERO).unwrap_or(Duration::from_secs(30)),
        free_min: section.size("free_min", 0..=1 << 60).map_or(FreeMin::Default, FreeMin::Bytes),
        retention,
        ledger_retention: ledger_retention(section, retention),
        sharing: section.choice("sharing", &SHARING, &[]).unwrap_or_default(),
        timezone: timezone(section).unwrap_or_else(|| "UTC".to_owned()),
        api: api::read(section),
        traces: traces::read(section),
        at_rest: at_rest::read(section),
        cluster: cluster::read(section),
        confine: confine(section),
        audit: section.boolean("audit").unwrap_or(false),
    };
    section.finish(&[]);
    service
}

/// The keys that say something else and count only after a restart. Those that are not looked at count at once: `timezone` is the rules',
/// and `rules_dir` only says where they are.
pub(crate) fn needing_restart(started_with: &Service, now: &Service) -> Vec<&'static str> {
    // Spelled out, so that a further key is not forgotten.
    let Service {
        data_dir,
        workers,
        memory_max,
        load_ahead,
        scan_every,
        stop_timeout,
        retention,
        free_min,
        ledger_retention,
        sharing,
        timezone: _,
        api,
        traces,
        at_rest,
        cluster,
        confine,
        audit,
    } = started_with;
    let differs = [
        ("data_dir", *data_dir != now.data_dir),
        ("workers", *workers != now.workers),
        ("memory_max", *memory_max != now.memory_max),
        ("load_ahead", *load_ahead != now.load_ahead),
        ("scan_every", *scan_every != now.scan_every),
        ("stop_timeout", *stop_timeout != now.stop_timeout),
        ("retention", *retention != now.retention),
        ("free_min", *free_min != now.free_min),
        ("ledger_retention", *ledger_retention != now.ledger_retention),
        ("sharing", *sharing != now.sharing),
        ("listen", api.listen != now.api.listen),
        ("tls", api.tls != now.api.tls),
        ("socket", api.socket != now.api.socket),
        ("socket_group", api.socket_group != now.api.socket_group),
        ("traces", *traces != now.traces),
        ("cluster", *cluster != now.cluster),
        ("confine", *confine != now.confine),
        ("audit", *audit != now.audit),
        ("at_rest", needs_restart(at_rest, &now.at_rest)),
    ];
    differs.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}

fn confine(section: &Section<'_>) -> bool {
    let is_asked_for = section.boolean("confine").unwrap_or(false);
    if is_asked_for && !confinement::moves_are_known() {
        let hint = "take it out: it needs Landlock, of Linux 5.19 or later".to_owned();
        section.problem("confine", "this system cannot confine the service", Some(hint));
    }
    is_asked_for
}

/// What begins to be encrypted is at once.
fn needs_restart(started_with: &AtRest, now: &AtRest) -> bool {
    let ends = started_with.encrypt != Encrypt::No && now.encrypt == Encrypt::No;
    started_with.keys != now.keys || ends
}

/// A job that is listed has its ledger row.
fn ledger_retention(section: &Section<'_>, retention: Duration) -> Duration {
    const DEFAULT: Duration = Duration::from_hours(400 * 24);
    let Some(asked) = section.duration("ledger_retention", Duration::ZERO) else {
        return DEFAULT.max(retention);
    };
    if asked < retention {
        let hint = "keep the ledger at least as long as `service.retention`".to_owned();
        section.problem("ledger_retention", "the ledger would be shorter than the list of jobs", Some(hint));
    }
    asked
}

/// Where further rules lie; `main_shown` is the main file as the user named it.
pub(super) fn rules_dir(section: &Section<'_>, main_shown: &Path, main_folder: &Path) -> RulesDir {
    const DEFAULT: &str = "rules.d";
    let default = main_folder.join(DEFAULT);
    let absolute = section.path("rules_dir").unwrap_or_else(|| default.clone());
    // A default that is written down stays a default.
    let asked_for = absolute != default;
    // Shown beside the main file, as the user named that.
    let shown_folder = main_shown.parent().unwrap_or_else(|| Path::new(""));
    let shown =
        absolute.strip_prefix(main_folder).map_or_else(|_| absolute.clone(), |rest| shown_folder.join(rest));
    RulesDir { shown, absolute, asked_for }
}

fn timezone(section: &Section<'_>) -> Option<String> {
    let name = section.text("timezone")?;
    if jiff::tz::TimeZone::get(name).is_err() {
        let hint = "write an IANA name like \"UTC\" or \"Europe/Berlin\"".to_owned();
        section.problem("timezone", format!("unknown time zone \"{name}\""), Some(hint));
        return None;
    }
    Some(name.to_owned())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

#[cfg(not(windows))]
fn default_data_dir(_: &Variables) -> PathBuf {
    PathBuf::from("/var/lib/landfall")
}

#[cfg(windows)]
fn default_data_dir(variables: &Variables) -> PathBuf {
    program_data(variables).join("Landfall").join("data")
}

/// `%ProgramData%`.
#[cfg(windows)]
pub(super) fn program_data(variables: &Variables) -> PathBuf {
    let value =
        variables.iter().find(|(name, _)| name.eq_ignore_ascii_case("ProgramData")).map(|(_, value)| value);
    value.map_or_else(|| PathBuf::from(r"C:\ProgramData"), PathBuf::from)
}

impl Section<'_> {
    /// A path without variables, absolute.
    pub(super) fn path(&self, key: &'static str) -> Option<PathBuf> {
        let text = self.text(key)?;
        let folder = self.get(key)?.place.folder();
        paths::absolute_path(text, folder)
            .inspect_err(|bad| self.problem(key, bad.message, Some(bad.hint.to_owned())))
            .ok()
    }

    /// A path with variables, absolute.
    pub(super) fn template(&self, key: &'static str) -> Option<String> {
        let text = self.text(key)?;
        let folder = self.get(key)?.place.folder();
        paths::absolute(text, folder, paths::Kind::Template)
            .inspect_err(|bad| self.problem(key, bad.message, Some(bad.hint.to_owned())))
            .ok()
    }
}
