//! What `landfall check` says of a configuration that is right in itself: of this machine's folders and files, and of what is hardly meant.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::check_about::{About, Finding, Level};
use super::check_at_rest;
use super::check_folders::Landing;
use super::check_keys;
use super::check_leases::Leases;
use super::check_rights::{self, Rights};
use crate::clock;
use crate::config::Places;
use crate::durable_fs::{self, Need};
use crate::key_file;
use crate::listing::keys;
use crate::model::api::Listen;
use crate::model::os_text::escaped_path;
use crate::model::pattern::Pattern;
use crate::model::rule::{Mode, OnComplete, ReadyStrategy, Settings};
use crate::model::template::{fixed_folder, known_part};
use crate::service::shadow::step_not_run;

/// Everything that is to be said, rule by rule. Rules that are off are left alone.
pub(super) fn find(settings: &Settings, places: &Places) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(data_dir_in_the_way(settings, places));
    findings.extend(check_rights::lack_of_data_dir(&settings.service.data_dir).map(|(lack, hint)| Finding {
        level: Level::Warning,
        problem: places.of_service("data_dir", lack, &hint),
    }));
    findings.extend(api_turned_off(settings, places));
    findings.extend(check_at_rest::find(settings, places));
    findings.extend(check_keys::of_api(settings, places));
    let rights = Rights::of(settings);
    #[cfg(unix)]
    findings.extend(super::check_socket::find(settings, places, rights));
    findings.extend(not_tried(rights, settings, places));
    let mut first_with: BTreeMap<&str, usize> = BTreeMap::new();
    let mut leases = Leases::of(&settings.service.data_dir);
    for (position, rule) in settings.rules.iter().enumerate().filter(|(_, rule)| rule.mode != Mode::Off) {
        let mut about = About { settings, rule, rights, places, position, findings: Vec::new() };
        if rule.mode == Mode::Shadow {
            about.shadow();
            about.seen_by_shadow();
            about.targets(&[]);
            about.keys_that_open_nothing();
            findings.append(&mut about.findings);
            continue;
        }
        // Those of its overrides are the same.
        let landing = if rule.is_base() { about.patterns(&mut first_with, &mut leases) } else { Vec::new() };
        about.outputs();
        about.targets(&landing);
        about.key_files();
        about.keys_that_open_nothing();
        let refused = about.recipients_refused();
        about.keys_that_expire(&refused);
        about.programs();
        about.wide();
        about.backslashes();
        about.mount();
        about.linger();
        about.shared_companions();
        about.destroyed();
        if rule.is_base() {
            about.pace();
        }
        findings.append(&mut about.findings);
    }
    // What a rule and its overrides have in common is told once.
    let mut told = HashSet::new();
    findings.retain(|finding| told.insert(finding.clone()));
    findings
}

/// Why the service could not read a file, and what to do. `is_us`: it runs as this user.
pub(super) fn lack_of_file(file: &Path, is_us: bool) -> Option<(String, String)> {
    let found = fs::metadata(file).and_then(|found| {
        // Of another user's rights to read it nothing is known here.
        if found.is_file() && is_us { fs::File::open(file).map(drop) } else { Ok(()) }
    });
    let error = found.err()?;
    Some(match error.kind() {
        io::ErrorKind::NotFound => {
            let hint = "put it there and let the service's user read it, or correct the path, before files come that need it";
            (format!("{} does not exist", escaped_path(file)), hint.to_owned())
        }
        _ => (
            format!("{} cannot be read: {error}", escaped_path(file)),
            durable_fs::hint_at(file, Need::Read, &error),
        ),
    })
}

/// The data folder is made where it is not there; something else in its place stays in the way.
fn data_dir_in_the_way(settings: &Settings, places: &Places) -> Option<Finding> {
    let data_dir = &settings.service.data_dir;
    let in_the_way = fs::metadata(data_dir).is_ok_and(|found| !found.is_dir());
    let message = || format!("{} is no folder", escaped_path(data_dir));
    in_the_way.then(|| Finding {
        level: Level::Problem,
        problem: places.of_service("data_dir", message(), "name a folder, or take the file away"),
    })
}

/// Where the control API is turned off in so many words, what is said of it does nothing.
fn api_turned_off(settings: &Settings, places: &Places) -> Vec<Finding> {
    let api = &settings.service.api;
    let said = [
        ("socket", api.socket.is_some()),
        ("socket_group", api.socket_group.is_some()),
        ("tls", api.tls.is_some()),
    ];
    let idle = said.into_iter().filter(|(_, is_said)| *is_said && api.listen == Listen::Off);
    idle.map(|(key, _)| {
        let message = "it does nothing: `service.listen = \"\"` turns the control API off".to_owned();
        let hint = "leave `listen` out for the socket alone, or set it to an address and a port like \"127.0.0.1:7431\"";
        Finding { level: Level::Warning, problem: places.of_service(key, message, hint) }
    })
    .collect()
}

/// Why nothing is tried, where it is not.
fn not_tried(rights: Rights, settings: &Settings, places: &Places) -> Option<Finding> {
    let data_dir = &settings.service.data_dir;
    let (message, hint) = match rights {
        Rights::Tried => return None,
        Rights::Asked => (
            "a service runs by this: what its user may is asked of the system, and nothing is tried in its folders".to_owned(),
            "`landfall jobs` says of each file why it waits".to_owned(),
        ),
        Rights::Others => {
            let user = check_rights::user_word(check_rights::service_user(data_dir));
            let message = format!("nothing is tried in the rules' folders: the service's user is {user}, by the data folder");
            (message, format!("`sudo -u {} landfall check` tries there what the service will do", check_rights::sudo_word(&user)))
        }
    };
    Some(Finding { level: Level::Note, problem: places.of_service("data_dir", message, &hint) })
}

impl<'a> About<'a> {
    /// It writes nothing, and needs no right but to read.
    fn shadow(&mut self) {
        if let Some((number, step)) = step_not_run(self.rule) {
            let message = format!("a shadow touches nothing: step {number}, {step}, is not run");
            let hint = "its report has what comes up to there; what would be in the outputs is not known";
            self.warn(&["pipeline", &(number - 1).to_string(), "step"], message, hint);
        }
        if let Some(compare) = self.rule.compare.clone().filter(|folder| !folder.is_dir()) {
            let message = format!("{} is no folder", escaped_path(&compare));
            self.warn(&["compare"], message, "name the folder where the old system writes its outputs");
        }
    }

    /// A shadow reads what others take.
    fn seen_by_shadow(&mut self) {
        for (position, text) in self.rule.paths.iter().enumerate().filter(|_| self.rule.is_base()) {
            if let Ok(pattern) = Pattern::parse(text) {
                let position = position.to_string();
                self.landing(&["paths", &position], &pattern, text, &Landing::of(&pattern));
            }
        }
    }

    /// The folders where its files land, as far as they are there.
    fn patterns(&mut self, first_with: &mut BTreeMap<&'a str, usize>, leases: &mut Leases) -> Vec<PathBuf> {
        let (mut seen, mut landed_in) = (HashSet::new(), BTreeSet::new());
        for (position, text) in self.rule.paths.iter().enumerate() {
            let position = position.to_string();
            let key = ["paths", position.as_str()];
            self.same_pattern(&key, text, first_with);
            // What is no pattern was a problem of the configuration.
            let Ok(pattern) = Pattern::parse(text) else { continue };
            if let Some(folder) = pattern.only_file().filter(|folder| folder.is_dir()) {
                let message = format!("{} is a folder: this pattern takes no file", escaped_path(&folder));
                let hint = "add `/*` for the files in it, or `/**` for those in its folders too";
                let problem = self.places.of_rule(self.position, &key, message, hint);
                self.findings.push(Finding { level: Level::Problem, problem });
                continue;
            }
            self.data_dir_within(&key, &pattern);
            // What patterns have in common is told once.
            if seen.insert(pattern.fixed_folder().to_owned()) {
                self.watched_folder(&key, pattern.fixed_folder());
            }
            // Of one that files land in more is needed, and all of it told together.
            if !pattern.could_match_in(pattern.fixed_folder()) && !self.may_list(&key, pattern.fixed_folder())
            {
                continue;
            }
            let mut landing = Landing::of(&pattern);
            // A link may lead to one.
            if landing.is_empty() && !self.rule.follow_links && pattern.fixed_folder().is_dir() {
                let message =
                    format!("no folder below {} fits this pattern now", escaped_path(pattern.fixed_folder()));
                self.warn(
                    &key,
                    message,
                    "make one for each sender, or correct the pattern; files are taken once there is one",
                );
            }
            landing.folders.retain(|folder| landed_in.insert(folder.clone()));
            self.landing(&key, &pattern, text, &landing);
            self.unseen_writers(&key, &landing.folders, leases);
            self.without_events(&key, &landing.folders);
            self.shared_by_senders(&key, &landing.folders);
        }
        let source = &self.rule.source;
        for (key, folder) in [("claim_dir", &source.claim_dir), ("quarantine_dir", &source.quarantine_dir)] {
            if let Some(folder) = folder {
                self.own_folder(&["source", key], folder);
            }
        }
        landed_in.into_iter().collect()
    }

    fn same_pattern(&mut self, key: &[&str], text: &'a str, first_with: &mut BTreeMap<&'a str, usize>) {
        let Some(first) = first_with.get(text).copied() else {
            first_with.insert(text, self.position);
            return;
        };
        if first == self.position {
            self.warn(key, "this pattern stands here twice".into(), "take one of them out");
            return;
        }
        let Some(other) = self.settings.rules.get(first) else { return };
        // What the first leaves out comes here.
        if other.exclude.is_empty() {
            let message =
                format!("rule \"{}\" has this pattern too and stands first: it takes every file", other.name);
            self.warn(
                key,
                message,
                "give each rule patterns of its own, or `exclude` in the first what is for this one",
            );
        }
    }

    /// Who may write into the folder could rename the store away.
    fn data_dir_within(&mut self, key: &[&str], pattern: &Pattern) {
        let data_dir = &self.settings.service.data_dir;
        if let Some(folder) = data_dir.ancestors().find(|folder| pattern.could_match_in(folder)) {
            let message = format!(
                "the data folder {} lies in the watched folder {}",
                escaped_path(data_dir),
                escaped_path(folder)
            );
            self.warn(key, message, "put `service.data_dir` where no sender may write");
        }
    }

    fn watched_folder(&mut self, key: &[&str], folder: &Path) {
        let shown = escaped_path(folder);
        match fs::metadata(folder) {
            Ok(found) if !found.is_dir() => {
                self.warn(key, format!("{shown} is no folder"), "name the folder that files land in");
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let hint = "make it, or correct the path; files are taken once it is there";
                self.warn(key, format!("the watched folder {shown} does not exist"), hint);
            }
            // Told with what is needed there.
            Err(_) if self.rights != Rights::Others && durable_fs::refusal(folder, Need::List).is_some() => {}
            Err(error) => {
                let hint = durable_fs::hint_at(folder, Need::List, &error);
                self.warn(key, format!("the watched folder {shown} cannot be looked at: {error}"), &hint);
            }
        }
    }

    fn unseen_writers(&mut self, key: &[&str], folders: &[PathBuf], leases: &mut Leases) {
        if let Some((message, hint)) = leases.lack(&self.rule.ready, folders) {
            self.warn(key, message, hint);
        }
    }

    /// Files that come over a network, or through a program, are seen by scans alone.
    fn without_events(&mut self, key: &[&str], folders: &[PathBuf]) {
        if !self.rule.ready.events {
            return;
        }
        let far = |folder: &PathBuf| durable_fs::far_file_system(folder).ok().flatten();
        let Some((folder, kind)) = folders.iter().find_map(|folder| Some((folder, far(folder)?))) else {
            return;
        };
        let every = self.settings.service.scan_every.as_secs_f64();
        let message = format!(
            "{} is on {kind}, where files come without events: only the scans see them, every {every} s",
            escaped_path(folder)
        );
        self.warn(key, message, "set `service.scan_every` to less if that is too late for these files");
    }

    fn outputs(&mut self) {
        let archive = self.rule.source.archive_dir.as_deref();
        let products = self.products();
        let kept = archive.map(|text| (vec!["source", "archive_dir"], text));
        for (key, text) in products.iter().cloned().chain(kept) {
            if fixed_folder(text).starts_with(&self.settings.service.data_dir) {
                let message =
                    format!("this lies in the data folder {}", escaped_path(&self.settings.service.data_dir));
                let hint = "put it elsewhere: the data folder is the service's own, and may be restored or removed as a whole";
                self.warn(&key, message, hint);
            }
        }
        let Some(archive) = archive else { return };
        let mut outputs = products.iter().filter(|(key, _)| key.first() == Some(&"output"));
        if let Some((key, _)) = outputs.find(|(_, text)| Path::new(text).parent() == Some(Path::new(archive)))
        {
            let message = format!("sources are archived into the folder of {}", key.join("."));
            let hint = "name another folder: who reads the outputs would take sources for them";
            self.warn(&["source", "archive_dir"], message, hint);
        }
    }

    fn key_files(&mut self) {
        let decode = &self.rule.decode;
        for (position, text) in decode.identities.iter().enumerate() {
            let place = ["decode", "identities", &position.to_string()];
            self.key_file(&place, &known_part(text));
            self.exposed_keys(&place, &keys::files_of(text));
        }
        for (position, text) in decode.signers.iter().enumerate() {
            self.key_file(&["decode", "signers", &position.to_string()], &known_part(text));
        }
        if let Some(text) = &decode.passphrase_file {
            self.key_file(&["decode", "passphrase_file"], &known_part(text));
            self.exposed_keys(&["decode", "passphrase_file"], &keys::files_of(text));
        }
        for (position, key) in decode.symmetric_encryption.iter().enumerate() {
            let place = ["decode", "symmetric_encryption", "keys", &position.to_string(), "key_file"];
            self.key_file(&place, &key.key_file);
            self.exposed_keys(&place, std::slice::from_ref(&key.key_file));
        }
        for (category, output) in &self.rule.outputs {
            if let Some(file) = &output.recipients_file {
                self.key_file(&["output", category.as_str(), "recipients_file"], file);
            }
        }
    }

    /// While its owner can still renew it. What is refused already is told as that.
    fn keys_that_expire(&mut self, refused: &BTreeSet<Vec<String>>) {
        let expiring = keys::expiring_of(self.rule, clock::now()).into_iter();
        for expiring in expiring.filter(|expiring| !refused.contains(&expiring.place)) {
            let place: Vec<&str> = expiring.place.iter().map(String::as_str).collect();
            self.warn(&place, expiring.message, &expiring.hint);
        }
    }

    fn key_file(&mut self, key: &[&str], fixed: &Path) {
        let is_us = check_rights::are_the_services(&self.settings.service.data_dir);
        if let Some((message, hint)) = lack_of_file(fixed, is_us) {
            self.warn(key, message, &hint);
        }
    }

    /// What they open has been sent by then, so that none is refused.
    fn exposed_keys(&mut self, key: &[&str], files: &[PathBuf]) {
        let service_user = key_file::service_user(&self.settings.service.data_dir);
        for file in files {
            if let Some(exposed) = key_file::exposed(file, service_user) {
                let path = escaped_path(file);
                let hint = format!(
                    "`chmod 600 {path}`: it is for the service's user alone, who owns it (`chown`), or root does (its group may read it)"
                );
                self.warn(key, format!("the key file {path} {exposed}"), &hint);
            }
        }
    }

    /// A path of Windows on another system; what parts folders there is a letter of a name here.
    fn backslashes(&mut self) {
        if std::path::is_separator('\\') {
            return;
        }
        let patterns = if self.rule.is_base() { self.rule.paths.len() } else { 0 };
        let positions: Vec<String> = (0..patterns).map(|position| position.to_string()).collect();
        let mut keys: Vec<Vec<&str>> =
            positions.iter().map(|position| vec!["paths", position.as_str()]).collect();
        keys.extend(self.products().into_iter().map(|(key, _)| key));
        let identities: Vec<String> = (0..self.rule.decode.identities.len()).map(|i| i.to_string()).collect();
        keys.extend(identities.iter().map(|position| vec!["decode", "identities", position.as_str()]));
        let signers: Vec<String> = (0..self.rule.decode.signers.len()).map(|i| i.to_string()).collect();
        keys.extend(signers.iter().map(|position| vec!["decode", "signers", position.as_str()]));
        keys.push(vec!["decode", "passphrase_file"]);
        keys.extend(["archive_dir", "claim_dir", "quarantine_dir"].map(|key| vec!["source", key]));
        for key in keys {
            if self.places.text(self.position, &key).is_some_and(|text| text.contains('\\')) {
                let message = "`\\` is part of a name here, and parts no folders".to_owned();
                self.warn(&key, message, "write `/` between folders; a `\\` in names can be matched by `?`");
            }
        }
    }

    fn mount(&mut self) {
        let prefix = format!("rule \"{}\": ", self.rule.name);
        for told in crate::engine::mounts_away(std::slice::from_ref(self.rule)) {
            let message = told.strip_prefix(&prefix).unwrap_or(&told).to_owned();
            self.warn(&["publish", "mount"], message, "mount it, or correct the path");
        }
        self.mounts_to_be();
    }

    /// Before the first job of a rule nobody knows on which mounts its folders lie.
    fn mounts_to_be(&mut self) {
        let rule = self.rule;
        let archive = rule.source.archive_dir.as_ref().map(|folder| fixed_folder(&format!("{folder}/")));
        let outputs = rule.outputs.iter().map(|(category, output)| {
            (vec!["output", category.as_str(), "path"], fixed_folder(&output.path))
        });
        let own = [("claim_dir", &rule.source.claim_dir), ("quarantine_dir", &rule.source.quarantine_dir)];
        let own = own.into_iter().filter_map(|(key, folder)| Some((vec!["source", key], folder.clone()?)));
        let archive = archive.map(|folder| (vec!["source", "archive_dir"], folder));
        for (key, folder) in outputs.chain(archive).chain(own).collect::<Vec<_>>() {
            let points = durable_fs::points_to_be(&folder);
            let is_away = |point: &PathBuf| !durable_fs::is_mount_point(point).unwrap_or(false);
            if let Some(point) = points.into_iter().find(is_away) {
                let message =
                    format!("nothing is mounted at {} now, as /etc/fstab has it", escaped_path(&point));
                self.warn(
                    &key,
                    message,
                    "mount it before the service starts: files may go into the bare folder",
                );
            }
        }
    }
}

impl About<'_> {
    /// A slice is taken at once: what is more than a second's records goes in a burst, and nothing for long behind it.
    fn pace(&mut self) {
        let slice = u64::from(self.rule.records.slice_records);
        let pace = &self.rule.pace;
        let of_throttle = pace.throttle.as_ref().and_then(|throttle| throttle.limits.records_per_second);
        let of = [("records_per_second", pace.limits.records_per_second), ("throttle", of_throttle)];
        for (key, rate) in of {
            let Some(rate) = rate.filter(|rate| (1..slice).contains(rate)) else { continue };
            let message = format!(
                "{rate} records a second, and up to {slice} are taken at once (`records.slice_records`): then none for {} s",
                slice / rate
            );
            self.warn(&[key], message, &format!("`slice_records = {rate}`, or less, spreads them"));
        }
    }

    /// It counts after what proves an end, and no longer than a file stands still anyway.
    fn linger(&mut self) {
        const KEY: [&str; 2] = ["ready", "linger"];
        let ready = &self.rule.ready;
        if ready.strategy == ReadyStrategy::Marker || !self.places.is_own(self.position, &KEY) {
            return;
        }
        let waits_for_others = ready.totals.is_some() || ready.checksum.is_some();
        if ready.strategy == ReadyStrategy::Stable && !waits_for_others {
            let message =
                "with `strategy = \"stable\"` nothing proves an end, and no file lingers".to_owned();
            self.warn(&KEY, message, "take it out; `ready.stable_for` says how long a file stands still");
        } else if ready.linger > ready.stable_for {
            let message =
                "this is longer than `ready.stable_for`, after which a file is taken anyway".to_owned();
            self.warn(&KEY, message, "raise `ready.stable_for` to as long at least, or lower this");
        }
    }
}

impl About<'_> {
    /// Nobody but a program is in time to read them.
    fn destroyed(&mut self) {
        let rule = self.rule;
        if rule.source.on_complete == OnComplete::Destroy
            && rule.outputs.values().any(|output| output.is_in_store)
        {
            let message =
                "outputs in the store are destroyed too, within half a minute of their job's end".to_owned();
            let hint = "a program that hands files over reads them meanwhile; for anybody else give the output a `path`";
            self.note(&["source", "on_complete"], message, hint);
        }
    }

    /// `a.csv` and `a.txt` have one `{stem}.done`: it goes with the first of them.
    fn shared_companions(&mut self) {
        let ready = &self.rule.ready;
        let named = [("marker", &ready.marker), ("totals", &ready.totals), ("checksum", &ready.checksum)];
        let texts: Vec<_> = self.rule.paths.iter().map(String::as_str).collect();
        for (key, template) in named {
            let Some(template) = template else { continue };
            if template.contains("{stem}") && !template.contains("{name}") && have_several_endings(&texts) {
                let message = format!(
                    "files that differ only in their extension share one `{template}`, and it goes with the first of them"
                );
                let hint =
                    "write `{name}` in place of `{stem}`, or let the rule take one extension (`*.csv`)";
                self.warn(&["ready", key], message, hint);
            }
        }
    }
}

/// Whether names that fit one of these patterns may differ in their extension alone.
fn have_several_endings(patterns: &[&str]) -> bool {
    let ending = |pattern: &str| {
        let name = pattern.rsplit('/').next().unwrap_or_default();
        let literal = name.rsplit(['*', '?', ']', '}']).next().unwrap_or_default();
        literal.starts_with('.').then(|| literal.to_owned())
    };
    let endings: BTreeSet<_> = patterns.iter().map(|pattern| ending(pattern)).collect();
    endings.contains(&None) || endings.len() > 1
}

/// Why a program cannot be started; a name alone is looked up in `path`.
pub(super) fn lack_of_program(program: &Path, path: Option<&std::ffi::OsStr>) -> Option<String> {
    let shown = escaped_path(program);
    if program.is_absolute() {
        return match fs::metadata(program) {
            Ok(found) if found.is_file() && is_executable(&found) => None,
            Ok(_) => Some(format!("{shown} is no program that can be started")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Some(format!("{shown} does not exist")),
            Err(error) => Some(format!("{shown} cannot be looked at: {error}")),
        };
    }
    let mut folders = path.map(std::env::split_paths).into_iter().flatten();
    let is_there = |folder: PathBuf| {
        let names = [program.to_owned(), program.with_extension("exe")];
        names.iter().any(|name| {
            fs::metadata(folder.join(name)).is_ok_and(|found| found.is_file() && is_executable(&found))
        })
    };
    (!folders.any(is_there)).then(|| format!("there is no program {shown} in PATH"))
}

fn is_executable(found: &fs::Metadata) -> bool {
    check_rights::access(found).is_none_or(|(mode, ..)| mode & 0o111 != 0)
}

#[cfg(all(test, unix))]
#[path = "check_warnings_tests.rs"]
mod tests;
