//! One test's world: a temporary folder with a configuration, samples made by the real tools, and the real binary.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use toml::Table;

#[cfg(target_os = "linux")]
pub mod disk;
#[cfg(target_os = "linux")]
pub mod habits;
#[cfg(target_os = "linux")]
pub mod mounts;
pub mod random;
pub mod receiver;
pub mod rules;
mod service;
#[cfg(target_os = "linux")]
pub mod sftp;
#[cfg(target_os = "linux")]
pub mod systemd;

pub use service::Service;

/// How long anything may take before a test gives up on it; generous, since it is reached by failures only.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The rule's name in every world.
pub const RULE: &str = "payments";

/// What a rule has where a test does not say otherwise.
const RULE_DEFAULTS: &str = r#"
name = "payments"
paths = ["in/*"]
ready = { stable_for = "300ms", linger = "0s" }
records = { format = "lines" }
output = { main = { path = "out/{stem}.main" } }
source = { on_success = "archive", archive_dir = "archive" }
"#;

const SERVICE_DEFAULTS: &str = r#"
data_dir = "data"
scan_every = "300ms"
stop_timeout = "10s"
free_min = "0"
"#;

/// A temporary folder with `landfall.toml`, `in/`, and whatever a test makes of them.
pub struct World {
    folder: TempDir,
    /// The service that was started last, until it is seen to answer.
    starting: Mutex<Option<service::Starting>>,
}

impl World {
    /// A world with one rule. `rule` is the TOML of the rule's own table (`[records]`, not `[rule.records]`); what it leaves
    /// out is lines from `in/` to `out/{stem}.main`, archived to `archive/`.
    pub fn new(rule: &str) -> Self {
        Self::with_service("", rule)
    }

    /// Likewise, with keys of `[service]`.
    pub fn with_service(service: &str, rule: &str) -> Self {
        let world = Self::bare();
        world.configure(service, &[rule]);
        fs::create_dir(world.path("in")).expect("the folder is new");
        world
    }

    /// A world with this configuration file, as it stands.
    pub fn with_config(toml: &str) -> Self {
        let world = Self::bare();
        world.write("landfall.toml", toml);
        world
    }

    /// An empty folder.
    pub fn bare() -> Self {
        let folder = TempDir::with_prefix("landfall-test-").expect("a temporary folder can be made");
        Self { folder, starting: Mutex::default() }
    }

    /// Writes `landfall.toml` anew, with these rules.
    pub fn configure(&self, service: &str, rules: &[&str]) {
        let mut config = Table::new();
        config.insert("config_version".into(), 1.into());
        config.insert("service".into(), merged(SERVICE_DEFAULTS, service).into());
        let rules: Vec<toml::Value> = rules.iter().map(|rule| merged(RULE_DEFAULTS, rule).into()).collect();
        config.insert("rule".into(), rules.into());
        self.write("landfall.toml", toml::to_string(&config).expect("a table is TOML"));
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a name of this world lies.
    pub fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file and the folders above it.
    pub fn write(&self, name: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it lies in the world")).expect("its folder can be made");
        fs::write(&path, bytes).expect("it can be written");
        path
    }

    /// Makes the command `gate` for an `exec` step: at line 1500 of `lines` it makes the file `reached`, and waits for the file `go`.
    pub fn write_gate(&self) {
        self.write_gate_at("line 1500 ");
    }

    /// The same at a line that begins so.
    pub fn write_gate_at(&self, beginning: &str) {
        let (go, reached) =
            (self.path("go").display().to_string(), self.path("reached").display().to_string());
        self.write(
            "gate",
            format!(
                "#!/usr/bin/env python3
import os, sys, time
for line in sys.stdin:
    if line.startswith('{beginning}'):
        open('{reached}', 'w').close()
        while not os.path.exists('{go}'): time.sleep(0.02)
    print(line, end='', flush=True)
"
            ),
        );
        self.sh("chmod +x gate");
    }

    /// Makes a file appear whole, as senders that rename do.
    pub fn move_in(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let staged = self.write("staged", bytes);
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it lies in the world")).expect("its folder can be made");
        rename(&staged, &path);
    }

    /// A file's text.
    #[track_caller]
    pub fn text(&self, name: impl AsRef<Path>) -> String {
        String::from_utf8(self.bytes(name)).expect("it is UTF-8")
    }

    /// A file's bytes.
    #[track_caller]
    pub fn bytes(&self, name: impl AsRef<Path>) -> Vec<u8> {
        let path = self.path(name);
        fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; there are {:#?}", path.display(), self.files(".")))
    }

    /// Whether something lies there.
    pub fn has(&self, name: impl AsRef<Path>) -> bool {
        self.path(name).symlink_metadata().is_ok()
    }

    /// Every file at or below a folder, hidden ones too, relative to it and sorted; none if it is not there. Without the lock
    /// and the mark of a claim folder, which stay.
    pub fn files(&self, folder: &str) -> Vec<String> {
        let root = self.path(folder);
        let mut found = Vec::new();
        collect_files(&root, &root, &mut found);
        found.retain(|name| {
            !name.ends_with(".landfall/landfall.lock") && !name.ends_with(".landfall/landfall.store")
        });
        found.sort();
        found
    }

    /// Runs a script of real tools in the world's folder and returns what it printed.
    #[track_caller]
    pub fn sh(&self, script: &str) -> String {
        if [env!("CARGO_BIN_EXE_landfall"), "api.sock"].iter().any(|asked| script.contains(asked)) {
            self.wait_for_start();
        }
        let mut bash = Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", script]).current_dir(self.folder.path()).stdin(Stdio::null());
        without_our_variables(&mut bash);
        let output = bash.output().expect("bash runs");
        assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Makes an age key in `key.txt` and returns its recipient.
    pub fn age_key(&self) -> String {
        self.age_key_in("key.txt")
    }

    /// Makes an age key and returns its recipient.
    pub fn age_key_in(&self, file: &str) -> String {
        self.sh(&format!("age-keygen -o {file} 2>/dev/null; age-keygen -y {file}")).trim().to_owned()
    }

    /// Until the service that a test has started answers, or has ended. Who asks before has the store opened beside it, is refused, or is
    /// told what counts without a service: another answer each time.
    pub fn wait_for_start(&self) {
        let mut starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(starting) = starting.take() {
            starting.wait();
        }
    }

    /// A command line that runs the binary in the world's folder, beside a service only once that answers.
    pub fn command(&self) -> Command {
        self.wait_for_start();
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        without_our_variables(&mut command);
        command
    }

    /// Runs `landfall ARGUMENTS` to its end, which it must come to.
    #[track_caller]
    pub fn landfall<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Ran {
        self.wait_for_start();
        let mut command = Command::new("timeout");
        command
            .args(["--kill-after=5", "60", env!("CARGO_BIN_EXE_landfall")])
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        without_our_variables(&mut command);
        Ran::new(&command.output().expect("the binary runs"))
    }

    /// Runs `landfall ingest FILES`.
    #[track_caller]
    pub fn ingest(&self, files: &[&str]) -> Ran {
        let mut arguments = vec!["ingest", "--rule", RULE];
        arguments.extend(files);
        self.landfall(&arguments)
    }

    /// Runs `landfall ingest --retire FILE`.
    #[track_caller]
    pub fn ingest_and_retire(&self, file: &str) -> Ran {
        self.landfall(&["ingest", "--rule", RULE, "--retire", file])
    }

    /// Ingests a file whose content must be refused: the job fails, nothing is published, the error and its hint say all these words.
    #[track_caller]
    pub fn refuses(&self, file: &str, words: &[&str]) -> Value {
        let ran = self.ingest(&[file]);
        assert_eq!(ran.code, Some(1), "{file} should fail: {ran:#?}");
        let job = self.job();
        assert_eq!(job["state"], "failed", "{job:#}");
        assert_eq!(job["error"]["kind"], "input", "{job:#}");
        let said = format!("{} ({})", job["error"]["message"], job["error"]["hint"]).to_lowercase();
        for word in words {
            assert!(said.contains(&word.to_lowercase()), "`{word}` is not in: {said}");
        }
        assert_eq!(self.files("out"), [""; 0], "something was published or left over");
        job
    }

    /// All jobs, oldest first, by `landfall jobs --json`.
    #[track_caller]
    pub fn jobs(&self) -> Vec<Value> {
        let listed: Value = self.json(&["jobs", "--json"]);
        assert_eq!(listed["version"], 1, "{listed:#}");
        let mut jobs = listed["jobs"].as_array().expect("`jobs` is a list").clone();
        jobs.sort_by_key(|job| job["id"].as_str().map(str::to_owned));
        jobs
    }

    /// The newest job.
    #[track_caller]
    pub fn job(&self) -> Value {
        self.jobs().pop().expect("there is a job")
    }

    /// The newest job, which must be completed.
    #[track_caller]
    pub fn completed(&self) -> Value {
        // Its source lies in the archive a moment before its row says so.
        let job = wait_until("the job's end", || Some(self.job()).filter(|job| job["state"] != "retiring"));
        assert_eq!(job["state"], "completed", "{job:#}");
        assert_balanced(&job);
        job
    }

    /// The failed records of a job, by `landfall records JOB list --json`.
    #[track_caller]
    pub fn failed_records(&self, job: &Value) -> Vec<Value> {
        let id = job["id"].as_str().expect("an id is text");
        let listed = self.json(&["records", id, "list", "--json"]);
        listed["records"].as_array().expect("`records` is a list").clone()
    }

    /// What a command prints as JSON.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.landfall(arguments);
        assert_eq!(ran.code, Some(0), "{arguments:?}: {ran:#?}");
        serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {}", ran.stdout))
    }

    /// The binary once more, in the world's folder: a build folder may be closed to other users.
    pub fn copied_binary(&self) -> PathBuf {
        // By another process: a child of another thread would have the file open for writing, and it could not be run meanwhile.
        self.sh(&format!("[ -e landfall ] || cp '{}' landfall", env!("CARGO_BIN_EXE_landfall")));
        self.path("landfall")
    }

    /// Starts `landfall run`.
    pub fn start(&self) -> Service {
        Service::start(self)
    }

    /// Starts the service as another user.
    pub fn start_as(&self, user: u32) -> Service {
        Service::start_as(self, user)
    }

    /// Starts `landfall run` as `nohup` does.
    pub fn start_ignoring_hang_up(&self) -> Service {
        Service::start_ignoring_hang_up(self)
    }

    /// Starts `landfall run` where a limit of the kernel (`max_inotify_watches`) is so low.
    pub fn start_with_limit(&self, limit: &str, max: u32) -> Service {
        Service::start_with_limit(self, limit, max)
    }

    /// Starts `landfall run` with at most so many open files.
    pub fn start_with_open_files(&self, max: u32) -> Service {
        Service::start_with_open_files(self, max)
    }
}

/// What steers the tests is nothing to the service, which refuses variables that it does not know.
pub fn without_our_variables(command: &mut Command) {
    let names = [
        "RUST_LOG",
        "LANDFALL_TEST_SEED",
        "LANDFALL_TEST_STEPS",
        "LANDFALL_TEST_TRIES",
        "LANDFALL_TEST_MINUTES",
    ];
    for name in names {
        command.env_remove(name);
    }
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn new(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It must have ended well.
    #[track_caller]
    pub fn done(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:#?}");
        self
    }

    /// It must have ended with this exit code.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// It must have said this, on either stream.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        let said = format!("{}\n{}", self.stdout, self.stderr);
        for word in words {
            assert!(said.contains(word), "`{word}` is not in:\n{said}");
        }
        self
    }
}

/// The promise: every record has exactly one place.
#[track_caller]
pub fn assert_balanced(job: &Value) {
    let written: u64 =
        job["records_out"].as_object().expect("a table").values().filter_map(Value::as_u64).sum();
    let count = |key: &str| job[key].as_u64().unwrap_or_else(|| panic!("`{key}` is no count: {job:#}"));
    let settled = count("records_dropped") + count("records_failed") + count("records_retried");
    assert_eq!(count("records_in"), written + settled, "{job:#}");
}

/// Polls until there is an answer; fails with `what` at the deadline.
#[track_caller]
pub fn wait_until<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Renames a file, as a sender or consumer would.
#[allow(clippy::disallowed_methods, reason = "a test plays the sender, who has no durable_fs")]
pub fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).expect("it can be renamed");
}

/// Removes a file, as a consumer would.
#[allow(clippy::disallowed_methods, reason = "a test plays the consumer, who has no durable_fs")]
pub fn remove(path: &Path) {
    fs::remove_file(path).expect("it can be removed");
}

/// `count` lines that all differ.
pub fn lines(count: usize) -> String {
    use std::fmt::Write as _;
    (1..=count).fold(String::new(), |mut text, number| {
        writeln!(text, "line {number} of the sample, {:08x}", number.wrapping_mul(2_654_435_761))
            .expect("a string takes all");
        text
    })
}

fn merged(defaults: &str, given: &str) -> Table {
    let mut table: Table = toml::from_str(defaults).expect("the defaults are TOML");
    let given: Table = toml::from_str(given).unwrap_or_else(|error| panic!("{error}\n{given}"));
    merge(&mut table, given);
    table
}

fn merge(table: &mut Table, given: Table) {
    for (key, value) in given {
        match (table.get_mut(&key), value) {
            // Another end of the source has no use for an archive.
            (Some(toml::Value::Table(_)), value @ toml::Value::Table(_)) if key == "source" => {
                table.insert(key, value);
            }
            (Some(toml::Value::Table(there)), toml::Value::Table(given)) => merge(there, given),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

fn collect_files(root: &Path, folder: &Path, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            collect_files(root, &path, found);
        } else {
            found.push(path.strip_prefix(root).expect("it was listed there").display().to_string());
        }
    }
}
