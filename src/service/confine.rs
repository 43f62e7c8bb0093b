//! `service.confine`: the service keeps itself to what its configuration names (Landlock). Entered once, at the start, before the store is
//! opened: whatever thread begins after that is in, and so is each program that it starts.
//!
//! What other rules name later and what was not allowed then is refused when they are read: it would fail at the first file.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use super::ServiceError;
use crate::config::{Problem, Problems};
use crate::confinement::{Allowed, Fence, SYSTEM, moves_are_known, real_of};
use crate::durable_fs::{self, OpenTo, parent_of, points_to_be};
use crate::engine::{archive_opens_to, keys_of, watched_folders};
use crate::model::at_rest::KeysFrom;
use crate::model::hook::{Hook, HookTarget};
use crate::model::os_text::escaped_path;
use crate::model::rule::{Rule, Service, Settings};
use crate::model::template::fixed_folder;
use crate::output::folders_open_to;
use crate::pipeline::steps::exec;

/// A path that does not answer within this is left out: its file system hangs, and a start waits for none.
const ANSWERS_WITHIN: Duration = Duration::from_millis(500);
/// A folder is made, and its name synced: a disk that is busy takes its time for that.
const MADE_WITHIN: Duration = Duration::from_secs(30);

/// What the service kept itself to.
#[derive(Debug)]
pub(super) struct Confinement {
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
    /// What it was to allow and could not, as the start told: no reload is refused for that.
    left_out: BTreeSet<PathBuf>,
}

/// What the configuration names, and under which key.
struct Named {
    key: String,
    path: PathBuf,
    /// Else it is read alone.
    is_written: bool,
    /// Where it is the service's to make, to whom it is open then: as whoever else would make it has it.
    made: Option<OpenTo>,
}

impl Named {
    fn read(key: impl Into<String>, path: PathBuf) -> Self {
        Self { key: key.into(), path, is_written: false, made: None }
    }

    /// It lies there, or is out of reach.
    fn written(key: impl Into<String>, path: PathBuf) -> Self {
        Self { is_written: true, ..Self::read(key, path) }
    }

    fn made(key: impl Into<String>, path: PathBuf, open_to: OpenTo) -> Self {
        Self { made: Some(open_to), ..Self::written(key, path) }
    }
}

/// Keeps this thread, and all that begins after it, to what the settings name. None where they do not ask for it.
pub(super) fn enter(
    settings: &Settings,
    rules_dir: Option<&Path>,
) -> Result<Option<Confinement>, ServiceError> {
    if !settings.service.confine {
        return Ok(None);
    }
    let refused = |why: String| ServiceError::Config(problem(&settings.file, "service.confine", why, MEND));
    if !moves_are_known() {
        return Err(refused(
            "this kernel cannot confine the service: it needs Landlock of Linux 5.19".into(),
        ));
    }
    let confinement = Confinement::of(settings, rules_dir);
    let fence = Fence::around(&confinement.allowed()).map_err(|error| refused(error.to_string()))?;
    fence.enter().map_err(|error| refused(format!("the kernel does not confine the service: {error}")))?;
    durable_fs::note_confined();
    tracing::info!(
        read = confinement.read.len(),
        written = confinement.write.len(),
        "confined to the paths that the configuration names"
    );
    Ok(Some(confinement))
}

const MEND: &str = "take it out, or see to it that the kernel has Landlock (`lsm=` on its command line)";

fn problem(file: &Path, key: &str, message: String, hint: &str) -> Problems {
    Problems(vec![Problem {
        key: key.to_owned(),
        message,
        hint: Some(hint.to_owned()),
        file: Some(file.to_owned()),
        ..Problem::default()
    }])
}

impl Confinement {
    fn of(settings: &Settings, rules_dir: Option<&Path>) -> Self {
        let mut confinement =
            Self { read: BTreeSet::new(), write: BTreeSet::new(), left_out: BTreeSet::new() };
        let own = of_service(&settings.service).into_iter().chain(of_configuration(settings, rules_dir));
        let named =
            own.chain(settings.rules.iter().flat_map(of_rule)).chain(settings.hooks.iter().flat_map(of_hook));
        for named in named {
            confinement.allow(&named);
        }
        confinement.read.extend(SYSTEM.iter().map(PathBuf::from));
        confinement
    }

    /// A folder that is the service's to make is made now: what is not there cannot be allowed.
    fn allow(&mut self, named: &Named) {
        let to = if named.is_written { &mut self.write } else { &mut self.read };
        if to.contains(&named.path) {
            return;
        }
        let shown = escaped_path(&named.path);
        let ask = |made, within| {
            let path = named.path.clone();
            within_time(within, move || there(&path, made))
        };
        let found = match ask(None, ANSWERS_WITHIN) {
            Some(Err(_)) if named.made.is_some() => ask(named.made, MADE_WITHIN),
            found => found,
        };
        if !matches!(found, Some(Ok(()))) {
            self.left_out.insert(named.path.clone());
        }
        match found {
            Some(Ok(())) if named.is_written && named.path.parent().is_none() => {
                tracing::warn!(
                    key = named.key,
                    "its fixed part is the root: the service is confined to nothing less, and writes wherever its user may"
                );
                to.insert(named.path.clone());
            }
            Some(Ok(())) => drop(to.insert(named.path.clone())),
            Some(Err(why)) => tracing::warn!(
                key = named.key,
                path = shown,
                why,
                "not there, and out of the service's reach before a restart"
            ),
            None => tracing::warn!(
                key = named.key,
                path = shown,
                "its file system does not answer: it is out of the service's reach before a restart"
            ),
        }
    }

    fn allowed(&self) -> Allowed {
        Allowed {
            read_if_there: self.read.iter().cloned().collect(),
            write_if_there: self.write.iter().cloned().collect(),
            signals_others: true,
            ..Allowed::default()
        }
    }

    /// What these settings name outside of it. Its folders are known by their names: no file system of theirs is asked.
    pub(super) fn lacks(&self, settings: &Settings) -> Option<Problems> {
        let rules = settings
            .rules
            .iter()
            .flat_map(|rule| of_rule(rule).into_iter().map(move |named| (Some(rule), named)));
        let hooks = settings.hooks.iter().flat_map(of_hook).map(|named| (None, named));
        let mut seen = BTreeSet::new();
        let mut problems = Vec::new();
        for (rule, named) in rules.chain(hooks) {
            let is_known = self.reaches(&named) || self.left_out.contains(&named.path);
            if is_known || !seen.insert((named.key.clone(), named.path.clone())) {
                continue;
            }
            let key = rule.map_or(named.key.clone(), |rule| format!("rule \"{}\": {}", rule.name, named.key));
            let path = escaped_path(&named.path);
            let message = format!("{path} is outside of what the service confined itself to when it started");
            problems.extend(
                problem(&settings.file, &key, message, "restart the service: it confines itself anew").0,
            );
        }
        (!problems.is_empty()).then_some(Problems(problems))
    }

    fn reaches(&self, named: &Named) -> bool {
        let lies_in =
            |folders: &BTreeSet<PathBuf>| named.path.ancestors().any(|folder| folders.contains(folder));
        lies_in(&self.write) || !named.is_written && lies_in(&self.read)
    }
}

/// What is asked of a file system that may hang.
fn within_time<T: Send + 'static>(time: Duration, ask: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let (tell, told) = sync_channel(1);
    std::thread::Builder::new().name("confine".to_owned()).spawn(move || tell.send(ask()).ok()).ok()?;
    told.recv_timeout(time).ok()
}

/// Whether something lies there, made if that is for us to do and nothing is to be mounted in its place.
fn there(path: &Path, made: Option<OpenTo>) -> Result<(), String> {
    let open_to = match (durable_fs::real_path(path), made) {
        (Ok(_), _) => return Ok(()),
        (Err(error), Some(open_to)) if error.kind() == std::io::ErrorKind::NotFound => open_to,
        (Err(error), _) => return Err(error.to_string()),
    };
    let is_away = |point: &PathBuf| !durable_fs::is_mount_point(point).unwrap_or(false);
    if let Some(point) = points_to_be(path).into_iter().find(is_away) {
        return Err(format!("nothing is mounted at {}", escaped_path(&point)));
    }
    durable_fs::make_folder(path, open_to).map_err(|error| error.to_string())
}

fn of_service(service: &Service) -> Vec<Named> {
    let mut named = vec![
        Named::made("service.data_dir", service.data_dir.clone(), OpenTo::Owner),
        // How likely the kernel is to end a child.
        Named::written("/proc", PathBuf::from("/proc")),
    ];
    let socket = service.api.socket.as_deref().map(parent_of);
    named.extend(socket.map(|folder| Named::made("service.socket", folder.to_owned(), OpenTo::Group)));
    let tls = service.api.tls.iter().flat_map(|tls| [&tls.certificate, &tls.key]);
    named.extend(tls.map(|file| Named::read("service.tls", parent_of(file).to_owned())));
    let bearer = service.traces.iter().filter_map(|collector| collector.bearer_file.as_deref());
    named.extend(bearer.map(|file| Named::read("service.traces", parent_of(file).to_owned())));
    match &service.at_rest.keys {
        KeysFrom::File(file) => named.push(Named::read("service.at_rest", parent_of(file).to_owned())),
        KeysFrom::Command { command, folder } => {
            named.push(Named::read("service.at_rest", folder.clone()));
            named.extend(of_command("service.at_rest", command, folder));
        }
        KeysFrom::DataFolder | KeysFrom::Credential(_) => {}
    }
    let cluster = service.cluster.iter().flat_map(|cluster| {
        let certificate = cluster.certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        certificate.chain(&cluster.credentials).chain(&cluster.ca)
    });
    named.extend(cluster.map(|file| Named::read("service.cluster", parent_of(file).to_owned())));
    let variables = ["CREDENTIALS_DIRECTORY", "SSL_CERT_DIR", "SSL_CERT_FILE"];
    let given = variables.iter().filter_map(|name| Some(Named::read(*name, std::env::var_os(name)?.into())));
    named.extend(given);
    named
}

fn of_configuration(settings: &Settings, rules_dir: Option<&Path>) -> Vec<Named> {
    let folder = Named::read("--config", parent_of(&settings.file).to_owned());
    // A link may lead to the file that is read, and be exchanged for one to another beside that.
    let real = real_of(&settings.file).map(|file| Named::read("--config", parent_of(&file).to_owned()));
    let rules = rules_dir.map(|folder| Named::read("service.rules_dir", folder.to_owned()));
    let rules = rules.filter(|named| named.path.is_dir());
    [Some(folder), real, rules].into_iter().flatten().collect()
}

fn of_rule(rule: &Rule) -> Vec<Named> {
    let watched = watched_folders(rule).into_iter();
    let mut named: Vec<_> = watched.map(|path| Named::written("paths", path)).collect();
    let outputs = folders_open_to(rule);
    for (category, output) in &rule.outputs {
        named.push(Named::made(format!("output.{category}.path"), fixed_folder(&output.path), outputs));
        let recipients = output.recipients_file.as_deref().map(parent_of);
        let key = format!("output.{category}.recipients_file");
        named.extend(recipients.map(|folder| Named::read(key, folder.to_owned())));
    }
    let signals = [("publish.marker", &rule.publish.marker), ("publish.manifest", &rule.publish.manifest)];
    named.extend(
        signals
            .into_iter()
            .filter_map(|(key, text)| Some(Named::made(key, fixed_folder(text.as_ref()?), outputs))),
    );
    let archive = rule.source.archive_dir.as_ref().map(|folder| fixed_folder(&format!("{folder}/")));
    named.extend(archive.map(|folder| {
        Named::made("source.archive_dir", folder, archive_opens_to(rule.source.archive_owner))
    }));
    named.extend(rule.compare.iter().map(|folder| Named::read("compare", folder.clone())));
    let own = [
        ("source.claim_dir", &rule.source.claim_dir),
        ("source.quarantine_dir", &rule.source.quarantine_dir),
    ];
    named.extend(
        own.into_iter().filter_map(|(key, folder)| Some(Named::made(key, folder.clone()?, OpenTo::Owner))),
    );
    // A file may be exchanged for another.
    let keys =
        keys_of(rule).map(|key| if key.is_folder { key.path } else { parent_of(&key.path).to_owned() });
    named.extend(keys.map(|folder| Named::read("decode", folder)));
    for (position, step) in rule.pipeline.iter().enumerate() {
        let key = |of: &str| format!("pipeline.{position}.{of}");
        let Some(program) = exec::program_of(step, &rule.base_dir) else { continue };
        named.extend(of_program(&key("command"), &program));
        let allowed = |of: &'static str| exec::paths_of(step, of, &rule.base_dir);
        named.extend(allowed("read").into_iter().map(|path| Named::read(key("read"), path)));
        let written = allowed("write").into_iter();
        named.extend(written.map(|path| Named::written(key("write"), path)));
        named.push(Named::read(key("command"), rule.base_dir.clone()));
    }
    named
}

fn of_hook(hook: &Hook) -> Vec<Named> {
    let key = format!("hook \"{}\"", hook.name);
    match &hook.target {
        HookTarget::Command { command, folder } => {
            let folder = Named::read(key.clone(), folder.clone());
            of_command(&key, command, &folder.path).into_iter().chain([folder]).collect()
        }
        HookTarget::Url { bearer_file, .. } => {
            let file = bearer_file.as_deref().map(parent_of);
            file.map(|folder| Named::read(key, folder.to_owned())).into_iter().collect()
        }
    }
}

fn of_command(key: &str, command: &[String], folder: &Path) -> Vec<Named> {
    let program = command.first().map(|program| exec::resolved(program, folder));
    program.map(|program| of_program(key, &program)).unwrap_or_default()
}

/// The folders that the program lies in, and what it leads to. What is named without one is looked for in those of `PATH`, as far as they are there.
fn of_program(key: &str, program: &Path) -> Vec<Named> {
    let places = exec::places_of(program).into_iter().filter(|place| place.is_absolute());
    let is_looked_for = program.components().nth(1).is_none();
    let there = places.filter(|place| !is_looked_for || place.is_file());
    let led_to = |place: PathBuf| [real_of(&place).filter(|real| *real != place), Some(place)];
    let around = there.flat_map(led_to).flatten().flat_map(|place| exec::around_of(&place));
    around.map(|folder| Named::read(key, folder)).collect()
}
