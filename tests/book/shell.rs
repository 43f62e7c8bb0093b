//! What the book says to type, typed: each line by itself, in a world that has one of everything that it may name.

use std::sync::OnceLock;

use crate::pages::Sample;
use crate::samples::of_language;
use crate::support::{Service, World};

/// Samples of this kind that are not run, with their reasons. One more is to be thought about.
const EXCUSED_MAX: usize = 15;

const CONFIG: &str = r#"
config_version = 1

[service]
data_dir = "data"
free_min = "0"
scan_every = "300ms"
listen = "127.0.0.1:PORT"

[[rule]]
name = "payments"
paths = ["srv/sftp/{sender}/inbox/payments-*.csv*"]
errors = { failed_max = "90%" }
ready = { stable_for = "1h", trust_close = "never" }
records = { format = "csv" }
pipeline = [{ step = "exec", command = ["./check"], protocol = "jsonl" }]
output.main.path = "out/{sender}/{stem}.csv"
source = { on_success = "archive", archive_dir = "archive/{sender}" }

[[rule]]
name = "strict"
paths = ["strict/*"]
errors = { failed_max = "0" }
records = { format = "csv" }
pipeline = [{ step = "exec", command = ["./check"], protocol = "jsonl" }]
output.main.path = "out/strict/{stem}.csv"
source = { on_success = "archive", archive_dir = "archive" }

[[rule]]
name = "slow"
paths = ["slow/*"]
ready = { stable_for = "100ms", linger = "0s" }
records = { format = "lines" }
pipeline = [{ step = "exec", command = ["./sleep"], protocol = "line", timeout = "1h", confine = false }]
output.main.path = "out/slow/{stem}"
source = { on_success = "archive", archive_dir = "archive" }

[[rule]]
name = "shadowed"
mode = "shadow"
paths = ["shadowed/*"]
records = { format = "lines" }
output.main.path = "out/shadowed/{stem}"
source = { on_success = "keep" }

[[rule.test]]
name = "lines pass"
path = "shadowed/a"
input = "one\n"
output.main = "one\n"
"#;

/// Fails records whose amount is `bad`.
const CHECK: &str = r#"#!/usr/bin/env python3
import json, sys
for line in sys.stdin:
    data = json.loads(line)["data"]
    print(json.dumps({"fail": "bad"} if data["amount"] == "bad" else {"data": data}), flush=True)
"#;

#[test]
fn every_line_that_the_book_says_to_type_does_what_it_is_for() {
    let samples = of_language("sh");
    assert!(samples.len() > 15, "only {} samples", samples.len());
    let excused: Vec<_> = samples.iter().filter(|sample| sample.excuse.is_some()).collect();
    assert!(excused.len() <= EXCUSED_MAX, "{} samples are not run: {excused:#?}", excused.len());
    let mut machine = Machine::new();
    let mut wrong = Vec::new();
    for sample in samples.iter().filter(|sample| sample.excuse.is_none()) {
        for script in scripts(sample) {
            if let Err(told) = machine.run(&script) {
                wrong.push(format!("{}: {script}\n{told}", sample.place));
            }
        }
    }
    machine.service.stop();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Its lines, each by itself; all together where one goes by what another did.
fn scripts(sample: &Sample) -> Vec<String> {
    let is_one = sample.code.lines().any(|line| {
        line.starts_with("cd ") || line.split_once('=').is_some_and(|(name, _)| is_variable(name))
    });
    if is_one || sample.code.contains("age-keygen") {
        return vec![sample.code.clone()];
    }
    sample.code.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

fn is_variable(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// A service, and what its operator may have before him.
struct Machine {
    world: World,
    service: Service,
    port: u16,
    made: u32,
}

impl Machine {
    fn new() -> Self {
        let world = World::bare();
        let port = port();
        world.write("landfall.toml", CONFIG.replace("PORT", &port.to_string()));
        world.write("check", CHECK);
        world.write("sleep", "#!/bin/sh\nsleep 600\n");
        world.sh("chmod +x check sleep; mkdir -p srv/sftp/acme/inbox strict slow shadowed out samples keys");
        let mut service = world.start();
        service.wait_until_it_watches();
        Self { world, service, port, made: 0 }
    }

    fn run(&mut self, script: &str) -> Result<(), String> {
        let script = self.filled(script);
        let folder = self.world.path(format!("typed-{}", self.made));
        let landfall = env!("CARGO_BIN_EXE_landfall");
        // `run` and `top` go on until they are told to stop.
        let prelude = format!(
            "landfall() {{ case $1 in \
               run) code=0; timeout -s INT 4 {landfall} \"$@\" 2>run.log || code=$?; test $code = 124 || {{ cat run.log; return 1; }};; \
               top) echo 'tests/top.rs has it in a terminal';; \
               *) {landfall} \"$@\" || {{ code=$?; case $1 in status) test $code = 1;; *) return $code;; esac; }};; \
             esac; }}\nexport EDITOR=true\n"
        );
        let is_elsewhere =
            ["landfall init", "landfall run", "age-keygen"].iter().any(|word| script.contains(word));
        let place = if is_elsewhere { folder } else { self.world.folder().to_owned() };
        std::fs::create_dir_all(&place).expect("the folder can be made");
        if script.starts_with("landfall run") {
            self.world.sh(&format!("cd {} && {landfall} init .", place.display()));
        }
        if script.contains("age-keygen") {
            std::fs::copy(self.world.path("landfall.toml"), place.join("landfall.toml"))
                .expect("it is copied");
        }
        let mut bash = std::process::Command::new("bash");
        bash.args(["-euo", "pipefail", "-c", &(prelude + &script)])
            .current_dir(place)
            .stdin(std::process::Stdio::null());
        let output = bash.output().expect("bash runs");
        let told = || {
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        };
        let ended = output.status.success().then_some(()).ok_or_else(told);
        // What was said of all rules is taken back.
        self.world.landfall(&["resume", "--all"]);
        self.world.landfall(&["resume", "--rule", "payments"]);
        ended
    }

    /// The script with what its words in capitals stand for.
    fn filled(&mut self, script: &str) -> String {
        self.made += 1;
        let code = |line: &str| line.split("  #").next().unwrap_or_default().trim_end().to_owned();
        let mut script = script.lines().map(code).collect::<Vec<_>>().join("\n").replace('…', "");
        if script.contains("JOB") || script.contains("st0n") {
            let words: Vec<&str> = script.split_whitespace().collect();
            let job = match words.get(1).copied().unwrap_or_default() {
                "pause" | "abort" | "resume" | "set" => self.running(),
                "retry" | "abandon" => self.failed(),
                _ if script.contains("st0n") => self.failed(),
                _ => self.completed(),
            };
            script = script.replace("JOB", &job).replace("st0n", &job[job.len() - 4..]);
        }
        if script.contains("FILE") {
            let name = format!("srv/sftp/acme/inbox/payments-w{}.csv", self.made);
            let file = if script.contains("--output") {
                self.completed();
                format!("out/acme/payments-{}.csv", self.made)
            } else {
                self.world.write(&name, "id,amount\n1,1\n");
                name
            };
            script = script.replace("FILE", &file);
        }
        script
            .replace(" N", " 3")
            .replace("127.0.0.1:7431", &format!("127.0.0.1:{}", self.port))
            .replace("/var/lib/landfall", "data")
            .replace("curl ", "curl --fail-with-body --silent --show-error ")
            .replace(" -N http", " -N --max-time 1 -o /dev/null -w '' http")
            .replace("landfall/v1/events", "landfall/v1/events || test $? = 28")
            .replace("RULE", "shadowed")
    }

    /// One of ten records, of which the third to the ninth failed.
    fn completed(&mut self) -> String {
        self.ingested("payments", &format!("srv/sftp/acme/inbox/payments-{}.csv", self.made), 0)
    }

    fn failed(&mut self) -> String {
        self.ingested("strict", &format!("strict/{}", self.made), 1)
    }

    fn ingested(&self, rule: &str, file: &str, code: i32) -> String {
        let row = |number: u32| format!("{number},{}\n", if number < 10 { "bad" } else { "1.50" });
        let rows: String = (1..13).map(row).collect();
        self.world.write(file, format!("id,amount\n{rows}"));
        self.world.landfall(&["ingest", file, "--rule", rule, "--retire"]).ends_with(code);
        self.newest(rule)
    }

    /// One whose step does not answer.
    fn running(&mut self) -> String {
        let name = format!("slow/{}", self.made);
        self.world.move_in(&name, "one\n");
        let world = &self.world;
        self.service.wait_until("it runs", || {
            let jobs = world.json(&["jobs", "--rule", "slow", "--json"]);
            let job = jobs["jobs"].as_array()?.last()?.clone();
            (job["source"].as_str()?.ends_with(&name) && job["state"] == "running").then_some(())
        });
        self.newest("slow")
    }

    fn newest(&self, rule: &str) -> String {
        let jobs = self.world.json(&["jobs", "--rule", rule, "--json"]);
        jobs["jobs"].as_array().and_then(|jobs| jobs.last()?["id"].as_str()).expect("a job").to_owned()
    }
}

/// A port that nobody has.
fn port() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").port()
    })
}
