//! Promise: the control API answers what the commands do, to those who may ask, and nobody's slowness holds up anybody.
#![cfg(unix)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{DEADLINE, Service, World, lines, wait_until};

const PORT: &str = "listen = '127.0.0.1:0'";
const SOCKET: &str = "listen = 'socket'";

/// A world whose service runs.
fn started(service: &str) -> (World, Service) {
    let world = World::with_service(service, "");
    let mut running = world.start();
    running.wait_until_it_watches();
    (world, running)
}

/// Where the port is, as the log tells.
fn url(service: &Service) -> String {
    let log = service.log();
    let url = log.lines().rev().find_map(|line| line.split_once("url=")).expect("it listens").1;
    url.split_whitespace().next().expect("a word").trim_matches('"').to_owned()
}

fn address(service: &Service) -> String {
    url(service).split_once("//").expect("a URL").1.to_owned()
}

struct Answer {
    status: u16,
    text: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// By curl, as an operator would.
fn curl(world: &World, arguments: &[&str]) -> Answer {
    world.wait_for_start();
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--max-time", "30", "-w", "\n%{http_code}"])
        .args(arguments)
        .current_dir(world.path(""));
    let output = command.stdin(Stdio::null()).output().expect("curl runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let (text, status) = said.rsplit_once('\n').expect("a status");
    let status = status.parse().expect("a number");
    assert!(status > 0, "{}", String::from_utf8_lossy(&output.stderr));
    Answer { status, text: text.to_owned() }
}

/// By the socket, where nobody need prove who they are.
fn ask(world: &World, path: &str) -> Answer {
    curl(world, &["--unix-socket", "data/api.sock", &format!("http://landfall{path}")])
}

fn post(world: &World, path: &str, body: &str) -> Answer {
    let url = format!("http://landfall{path}");
    curl(world, &["--unix-socket", "data/api.sock", "-X", "POST", "-d", body, &url])
}

fn token(world: &World) -> String {
    format!("Authorization: Bearer {}", world.text("data/api.token").trim())
}

#[track_caller]
fn assert_problem(answer: &Answer, status: u16, word: &str) {
    let problem = answer.json();
    assert_eq!(answer.status, status, "{problem:#}");
    assert_eq!(problem["status"], status, "{problem:#}");
    let kind = problem["type"].as_str().expect("a type");
    assert!(kind.ends_with(word), "{problem:#}");
    for key in ["title", "detail", "hint", "instance"] {
        assert!(problem[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {problem:#}");
    }
}

#[test]
fn what_is_asked_by_http_is_what_the_commands_print() {
    let rule = "pipeline = [{ step = 'exec', command = ['./refuse'], protocol = 'jsonl' }]\nerrors = { failed_max = '50%' }";
    let world = World::with_service(SOCKET, rule);
    world.write("refuse", "#!/usr/bin/env python3\nimport sys, json\nfor line in sys.stdin: print(json.dumps({'fail': 'no' } if 'line 2 ' in line else {'data': json.loads(line)['data']}), flush=True)\n");
    world.sh("chmod +x refuse");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/a.txt", lines(3));
    service.wait_until("the job is done", || {
        (ask(&world, "/v1/jobs?state=completed").json()["jobs"].as_array()?.len() == 1).then_some(())
    });
    let id = ask(&world, "/v1/jobs").json()["jobs"][0]["id"].as_str().expect("an id").to_owned();
    let printed = |arguments: &[&str]| -> Value {
        let mut all = arguments.to_vec();
        all.push("--json");
        serde_json::from_str(&world.landfall(&all).done().stdout).expect("JSON")
    };
    let short = &id[20..];
    assert_eq!(ask(&world, "/v1/jobs").json()["jobs"], printed(&["jobs"])["jobs"]);
    assert_eq!(ask(&world, &format!("/v1/jobs/{short}")).json(), printed(&["show", &id]));
    let records = ask(&world, &format!("/v1/jobs/{short}/records")).json();
    assert_eq!(records, printed(&["records", &id]));
    assert_eq!(records["records"].as_array().map(Vec::len), Some(1), "{records:#}");
    let record = ask(&world, &format!("/v1/jobs/{id}/records/1")).json();
    assert_eq!(record, printed(&["records", &id, "show", "1"]));
    assert_eq!(ask(&world, "/v1/rules").json()["rules"], printed(&["rules"])["rules"]);
    assert_eq!(ask(&world, "/v1/configuration").json(), printed(&["jobs"])["configuration"]);
    assert_eq!(post(&world, "/v1/reload", "").json(), printed(&["reload"]));
    assert_eq!(ask(&world, "/v1/jobs?rule=other").json()["jobs"], serde_json::json!([]));
    service.stop();
}

#[test]
fn acts_are_done_and_what_cannot_be_done_says_why() {
    let world = World::with_service(SOCKET, "ready = { stable_for = '1h' }");
    let mut service = world.start();
    service.wait_until_it_watches();
    let waiting = world.write("in/waits.txt", "a\n");
    let known = || ask(&world, &format!("/v1/file?path={}", waiting.display())).json();
    wait_until("it is seen", || known()["waiting"]["reason"].is_string().then_some(()));
    let adopted = post(&world, "/v1/adopt", &serde_json::json!({ "path": waiting }).to_string());
    assert_eq!((adopted.status, &known()["kept"]["rule"]), (200, &"payments".into()), "{}", adopted.text);
    let kept = world.write("elsewhere/a.txt", lines(3));
    let body = serde_json::json!({ "path": kept, "rule": "payments", "retire": false });
    let done = post(&world, "/v1/ingest", &body.to_string());
    assert_eq!(done.status, 200, "{}", done.text);
    let id = done.json()["id"].as_str().expect("an id").to_owned();
    let job = format!("/v1/jobs/{id}");
    wait_until("it is done", || (ask(&world, &job).json()["state"] == "completed").then_some(()));
    assert_problem(&post(&world, &format!("{job}/retry"), ""), 409, "refused");
    assert_problem(&post(&world, &format!("{job}/set"), "{\"priority\":0}"), 400, "bad-request");
    assert_problem(&post(&world, &format!("{job}/set"), "{\"priorty\":5}"), 400, "bad-request");
    assert_problem(&post(&world, &format!("{job}/set"), "{"), 400, "bad-request");
    assert_problem(&post(&world, &format!("{job}/set"), ""), 400, "bad-request");
    assert_problem(&post(&world, "/v1/jobs/zzzz/retry", ""), 404, "no-such-job");
    assert_problem(&ask(&world, "/v1/jobs/zzzz"), 404, "no-such-job");
    assert_problem(&ask(&world, &format!("{job}/records/1")), 404, "no-such-record");
    assert_problem(&ask(&world, "/v1/jobs?state=done"), 400, "bad-request");
    assert_problem(&ask(&world, "/v1/jobs?limit=-1"), 400, "bad-request");
    assert_problem(&ask(&world, "/v1/jobs?limit=1&limit=2"), 400, "bad-request");
    assert_problem(&ask(&world, "/v1/jobs/%ff"), 400, "bad-request");
    assert_problem(&ask(&world, "/v2"), 404, "no-such-path");
    assert_problem(&post(&world, "/v1/jobs", ""), 405, "no-such-method");
    let relative = body.to_string().replace(kept.to_str().expect("text"), "a.txt");
    assert_problem(&post(&world, "/v1/ingest", &relative), 400, "bad-request");
    let unknown = body.to_string().replace("payments", "paymnts");
    assert_problem(&post(&world, "/v1/ingest", &unknown), 409, "configuration");
    // By a file: no command line is so long.
    world.write("long", "x".repeat(5 << 20));
    assert_problem(&post(&world, "/v1/ingest", &format!("@{}", world.path("long").display())), 413, "body");
    let paused = post(&world, "/v1/pause", "{\"rule\":\"payments\"}");
    assert_eq!((paused.status, paused.json()["changed"].as_bool()), (200, Some(true)), "{}", paused.text);
    let pause = &ask(&world, "/v1/jobs").json()["halts"]["pauses"][0];
    assert_eq!(
        (&pause["rule"], &pause["by"]),
        (&"payments".into(), &"root".into()),
        "the socket tells who asks"
    );
    assert_problem(&post(&world, "/v1/resume", "{}"), 400, "bad-request");
    assert_eq!(post(&world, "/v1/resume", "{\"rule\":\"payments\"}").json()["changed"], true);
    service.stop();
}

#[test]
fn limits_of_rules_and_throttles_are_set_at_once_and_taken_back_as_the_command_does() {
    let world = World::with_service(SOCKET, "throttle = 'third'\nrecords_per_second = 1");
    let toml = world.text("landfall.toml");
    world.write("landfall.toml", format!("{toml}\n[throttle.third]\nworkers_max = 2\n"));
    let mut service = world.start();
    service.wait_until_it_watches();
    let set = |path: &str, body: &str| post(&world, path, body);
    let changed = |path: &str, body: &str| {
        let answer = set(path, body);
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json()["changed"].as_bool().expect("a word")
    };
    let (rule, throttle) = ("/v1/rules/payments/set", "/v1/throttles/third/set");
    assert!(changed(rule, "{\"workers_max\":1,\"records_per_second\":0}"));
    assert!(!changed(rule, "{\"workers_max\":1}"), "it is so");
    assert!(changed(throttle, "{\"records_per_second\":50000}"));
    let limits = ask(&world, "/v1/limits").json();
    assert_eq!(limits["limits"], ask(&world, "/v1/jobs").json()["limits"]);
    assert_eq!(limits["limits"][0]["of"]["rule"], "payments", "{limits:#}");
    assert_eq!(limits["limits"][0]["limits"], serde_json::json!({"workers_max": 1, "records_per_second": 0}));
    assert_eq!(limits["limits"][0]["by"], "root", "the socket tells who asks");
    let said = world.landfall(&["set", "--throttle", "third", "--records-per-second", "50000"]).done();
    assert!(said.stdout.contains("as it was"), "{}", said.stdout);
    // With what is configured it would take minutes.
    world.move_in("in/a.txt", lines(5000));
    service.wait_for(&world, "archive/a.txt");
    assert!(changed(rule, "{\"workers_max\":\"default\",\"records_per_second\":\"default\"}"));
    assert!(changed(throttle, "{\"records_per_second\":\"default\"}"));
    assert_eq!(ask(&world, "/v1/limits").json()["limits"], serde_json::json!([]));
    for wrong in [
        "",
        "{}",
        "{\"workers_max\":-1}",
        "{\"workers_max\":\"none\"}",
        "{\"workers_max\":null}",
        "{\"workers\":1}",
    ] {
        assert_problem(&set(rule, wrong), 400, "bad-request");
    }
    assert_problem(&set("/v1/rules/paymnets/set", "{\"workers_max\":1}"), 409, "configuration");
    assert_problem(&set("/v1/throttles/thrid/set", "{\"workers_max\":1}"), 409, "configuration");
    service.stop();
}

#[test]
fn by_the_port_nobody_is_told_anything_without_the_token_and_the_socket_is_the_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let (world, mut service) = started(PORT);
    let url = url(&service);
    for path in ["/v1/jobs", "/openapi.json", "/v1/rules", "/nothing"] {
        assert_problem(&curl(&world, &[&format!("{url}{path}")]), 401, "no-token");
        let wrong = curl(&world, &["-H", "Authorization: Bearer 0000", &format!("{url}{path}")]);
        assert_problem(&wrong, 401, "no-token");
    }
    // Whoever guesses is seen, and does not fill the log.
    service.wait_for_log_times("shown a wrong token", 1);
    for path in ["/healthz", "/readyz"] {
        let answer = curl(&world, &[&format!("{url}{path}")]);
        assert_eq!((answer.status, answer.json()["status"].as_str()), (200, Some("ok")), "{path}");
    }
    let token_before = token(&world);
    let answer = curl(&world, &["-H", &token_before, &format!("{url}/v1/jobs")]);
    assert_eq!((answer.status, &answer.json()["service"]), (200, &Value::from("running")));
    let for_metrics = format!("Authorization: Bearer {}", world.text("data/metrics.token").trim());
    for token in [&token_before, &for_metrics] {
        assert_eq!(curl(&world, &["-H", token, &format!("{url}/metrics")]).status, 200);
    }
    for path in ["/v1/jobs", "/v1/status", "/openapi.json", "/v1/events", "/nothing"] {
        assert_problem(&curl(&world, &["-H", &for_metrics, &format!("{url}{path}")]), 401, "no-token");
    }
    let post = curl(&world, &["-H", &for_metrics, "-d", "{\"all\":true}", &format!("{url}/v1/pause")]);
    assert_problem(&post, 401, "no-token");
    let mode = |name: &str| world.path(name).metadata().expect("is there").permissions().mode() & 0o777;
    for name in ["api.token", "metrics.token", "api.sock"] {
        assert_eq!(mode(&format!("data/{name}")), 0o600, "{name}");
    }
    service.kill();
    let mut service = world.start();
    service.wait_until_it_watches();
    assert_eq!(token(&world), token_before, "a restart keeps it");
    assert_eq!(ask(&world, "/v1/jobs").status, 200, "the socket of the killed one is no hindrance");
    service.stop();
    assert!(!world.has("data/api.sock"));
}

#[test]
fn the_group_that_is_named_may_ask_and_others_may_not() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let world = World::with_service("", "");
    let socket = world.path("run/api.sock");
    std::fs::create_dir(world.path("run")).expect("is made");
    world.configure(&format!("{SOCKET}\nsocket = '{}'\nsocket_group = '4242'", socket.display()), &[""]);
    world.sh("chmod 755 . run");
    let mut service = world.start();
    service.wait_until_it_watches();
    let found = socket.metadata().expect("is there");
    assert_eq!((found.permissions().mode() & 0o777, found.gid()), (0o660, 4242));
    let by = |group: &str| {
        let command =
            ["--reuid=4001", &format!("--regid={group}"), "--clear-groups", "curl", "-sS", "--unix-socket"]
                .map(str::to_owned);
        let mut curl = Command::new("setpriv");
        curl.args(command).arg(&socket).arg("http://landfall/v1/jobs");
        curl.output().expect("curl runs").status.success()
    };
    assert!(by("4242") && !by("4243"));
    service.stop();
}

#[test]
fn whoever_says_where_the_socket_lies_has_it_there_and_no_port() {
    let world = World::with_service("socket = 'run/api.sock'", "");
    world.sh("mkdir run");
    world.landfall(&["check"]).done();
    let mut service = world.start();
    service.wait_until_it_watches();
    let asked = curl(&world, &["--unix-socket", "run/api.sock", "http://landfall/v1/jobs"]);
    assert_eq!(asked.status, 200, "{}", asked.text);
    assert!(!service.log().contains("url=") && !world.has("data/api.token"), "{}", service.log());
    service.stop();
}

/// The service would not start.
#[test]
fn a_socket_that_cannot_be_made_is_warned_of_before_the_start() {
    let world = World::with_service("socket = \"none/api.sock\"\nsocket_group = \"no-such-group\"", "");
    world.landfall(&["check"]).done().says(&[
        "service.socket_group: there is no group `no-such-group`",
        "service.socket: the socket's folder",
        "is not there",
    ]);
}

#[test]
fn what_does_nothing_because_the_api_is_turned_off_is_warned_of_key_by_key() {
    let keys =
        "socket = 'run/api.sock'\nsocket_group = 'staff'\ntls = { certificate = 'a.pem', key = 'a.key' }";
    let world = World::with_service(&format!("listen = ''\n{keys}"), "");
    let mut told = world.landfall(&["check"]).done();
    for key in ["socket", "socket_group", "tls"] {
        told = told.says(&[&format!("service.{key}: it does nothing"), "leave `listen` out"]);
    }
    let mut service = world.start();
    service.wait_until_it_watches();
    assert!(!world.has("run/api.sock") && !world.has("data/api.sock"));
    service.stop();
}

/// Else a history would have room for nothing else, or be silent about why.
#[test]
fn a_reason_is_given_in_some_words_and_not_too_many_whoever_gives_it() {
    let world = World::with_service(SOCKET, "");
    let mut service = world.start();
    service.wait_until_it_watches();
    let long = "x".repeat(501);
    for (act, more) in [("abandon", ""), ("drop-records", "\"records\":\"all\",")] {
        for reason in ["", "   ", " \\n\\t", long.as_str()] {
            let body = format!("{{{more}\"reason\":\"{reason}\"}}");
            let refused = post(&world, &format!("/v1/jobs/abcd/{act}"), &body);
            assert_problem(&refused, 400, "bad-request");
            assert!(refused.text.contains("`reason`") && refused.text.contains("500"), "{}", refused.text);
        }
        let taken =
            post(&world, &format!("/v1/jobs/abcd/{act}"), &format!("{{{more}\"reason\":\" gone \"}}"));
        assert_problem(&taken, 404, "no-such-job");
    }
    for reason in ["", "  ", &long] {
        world.landfall(&["abandon", "abcd", "--reason", reason]).ends_with(2);
        world.landfall(&["records", "abcd", "drop", "--all", "--reason", reason]).ends_with(2);
    }
    let refused = post(&world, "/v1/pause", &format!("{{\"sender\":\"{}\"}}", "x".repeat(5000)));
    assert_problem(&refused, 400, "bad-request");
    service.stop();
}

#[test]
fn a_service_that_cannot_listen_as_it_was_told_does_not_start_and_says_what_to_do() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = format!("listen = '{}'", taken.local_addr().expect("an address"));
    for (service, words) in [
        ("listen = '0.0.0.0:0'", ["without TLS", "127.0.0.1:7431"]),
        ("listen = 'localhost'", ["no address with a port", "127.0.0.1:7431"]),
        ("listen = 'socket'\nsocket_group = 'staff'", ["cannot enter", "/run/landfall/api.sock"]),
        (
            "listen = '127.0.0.1:0'\ntls = { certificate = 'a.pem' }",
            ["a certificate and its key", "server.key"],
        ),
        ("listen = '127.0.0.1:0'\ntls = { certificate = 'a.pem', key = 'a.key' }", ["a.pem", "PEM"]),
        (&taken, ["another program has the port", "service.listen"]),
        ("socket_group = 'staff'", ["cannot enter", "/run/landfall/api.sock"]),
        ("tls = { certificate = 'a.pem', key = 'a.key' }", ["TLS is for a port", "127.0.0.1:7431"]),
        (
            "listen = 'socket'\ntls = { certificate = 'a.pem', key = 'a.key' }",
            ["TLS is for a port", "127.0.0.1:7431"],
        ),
    ] {
        let world = World::with_service(service, "");
        world.landfall(&["run"]).ends_with(2).says(&words);
    }
}

#[test]
fn with_tls_other_machines_may_ask_and_without_it_they_are_not_understood() {
    let world = World::with_service(
        "listen = '0.0.0.0:0'\ntls = { certificate = 'server.pem', key = 'server.key' }",
        "",
    );
    world.sh(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout server.key -out server.pem \
         -days 2 -subj /CN=landfall -addext subjectAltName=IP:127.0.0.1 2>/dev/null",
    );
    let mut service = world.start();
    service.wait_until_it_watches();
    let url = url(&service).replace("0.0.0.0", "127.0.0.1");
    assert!(url.starts_with("https://"), "{url}");
    let asked = |arguments: &[&str]| {
        let mut all = vec!["--cacert", "server.pem"];
        all.extend(arguments);
        curl(&world, &all)
    };
    assert_problem(&asked(&[&format!("{url}/v1/jobs")]), 401, "no-token");
    assert_eq!(asked(&["-H", &token(&world), &format!("{url}/v1/jobs")]).status, 200);
    let plain =
        Command::new("curl").args(["-sS", &url.replace("https", "http")]).output().expect("curl runs");
    assert!(!plain.status.success());
    service.stop();
}

/// Who listens; killed in the end.
struct Listener(Child);

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.0.kill());
        self.0.wait().ok();
    }
}

fn listen(world: &World, path: &str, into: &str) -> Listener {
    let into = std::fs::File::create(world.path(into)).expect("is made");
    let mut command = Command::new("curl");
    command.args(["-sSN", "--unix-socket", "data/api.sock", &format!("http://landfall{path}")]);
    Listener(command.current_dir(world.path("")).stdout(into).spawn().expect("curl runs"))
}

#[test]
fn whoever_listens_hears_of_each_change_of_a_job_and_of_the_stop() {
    let (world, service) = started(SOCKET);
    let mut all = listen(&world, "/v1/events", "all");
    let _others = listen(&world, "/v1/events?rule=other", "others");
    let heard = |name: &str, word: &str| world.text(name).contains(word);
    wait_until("both listen", || (heard("all", "read_anew") && heard("others", "read_anew")).then_some(()));
    world.move_in("in/a.txt", lines(3));
    wait_until("the end is told", || heard("all", "\"state\":\"completed\"").then_some(()));
    let told = world.text("all");
    let states: Vec<String> = told
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|json| serde_json::from_str::<Value>(json).ok())
        .filter_map(|change| change["state"].as_str().map(str::to_owned))
        .collect();
    let at =
        |state: &str| states.iter().position(|known| known == state).unwrap_or_else(|| panic!("{states:?}"));
    assert!(at("queued") < at("running") && at("running") < at("completed"), "{states:?}");
    let begun = Instant::now();
    service.stop();
    assert!(begun.elapsed() < Duration::from_secs(8), "a listener does not hold up a stop");
    wait_until("the listener is told", || all.0.try_wait().expect("is ours"));
    assert!(!heard("others", "event: job"));
}

#[test]
fn slow_and_silent_clients_hold_up_neither_others_nor_a_stop() {
    let (world, service) = started(PORT);
    let address = address(&service);
    let connect = || TcpStream::connect(&address).expect("connects");
    let token = token(&world);
    // Nothing said; half a head; a body that does not come; an answer that is not read.
    let silent: Vec<_> = (0..20).map(|_| connect()).collect();
    let halves: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = connect();
            stream.write_all(b"GET /v1/jobs HTTP/1.1\r\nHost: a\r\n").expect("is sent");
            stream
        })
        .collect();
    let bodies: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = connect();
            let head =
                format!("POST /v1/adopt HTTP/1.1\r\nHost: a\r\n{token}\r\nContent-Length: 100\r\n\r\n{{");
            stream.write_all(head.as_bytes()).expect("is sent");
            stream
        })
        .collect();
    let begun = Instant::now();
    let answer = curl(&world, &["-H", &token, &format!("http://{address}/v1/jobs")]);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert!(begun.elapsed() < Duration::from_secs(5));
    // One more than there is room for is closed at once, and not kept waiting.
    let more: Vec<_> = (0..30).map(|_| connect()).collect();
    let is_closed = |stream: &TcpStream| {
        stream.set_read_timeout(Some(Duration::from_millis(1))).expect("is set");
        matches!((&*stream).read(&mut [0]), Ok(0))
            || matches!((&*stream).read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
    };
    wait_until("some are turned away", || more.iter().any(is_closed).then_some(()));
    assert_eq!(ask(&world, "/healthz").status, 200, "the socket has room of its own");
    let begun = Instant::now();
    service.stop();
    assert!(begun.elapsed() < Duration::from_secs(8) && DEADLINE > Duration::from_secs(8));
    drop((silent, halves, bodies));
}

#[test]
fn the_document_names_every_path_and_they_answer() {
    let (world, service) = started(SOCKET);
    let document = ask(&world, "/openapi.json").json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() >= 15, "{:?}", paths.keys());
    for (path, item) in paths {
        if item.get("get").is_some()
            && !path.contains('{')
            && !["/v1/events", "/v1/explain", "/v1/file"].contains(&path.as_str())
        {
            assert_eq!(ask(&world, path).status, 200, "{path}");
        }
    }
    service.stop();
}

/// Goal: what is named wrongly is told with what there is, in the words of a query.
#[test]
fn what_an_output_or_a_source_has_not_is_not_found_and_what_there_is_is_told() {
    let rule = "paths = ['in/*.zip']\noutput = { main = { path = 'out/{stem}.{entry}' } }";
    let world = World::with_service(SOCKET, rule);
    let mut service = world.start();
    service.wait_until_it_watches();
    world.sh(
        "printf 'a\n' > one.csv; printf 'b\n' > two.csv; zip -q both.zip one.csv two.csv; mv both.zip in",
    );
    service.wait_for(&world, "archive/both.zip");
    let id = service.wait_until("it is done", || {
        let jobs = ask(&world, "/v1/jobs?state=completed").json();
        jobs["jobs"][0]["id"].as_str().map(str::to_owned)
    });
    let hint = |path: &str, status: u16, word: &str| {
        let answer = ask(&world, &format!("/v1/jobs/{id}/{path}"));
        assert_problem(&answer, status, word);
        let hint = answer.json()["hint"].as_str().expect("a hint").to_owned();
        assert!(!hint.contains("--"), "{hint}");
        hint
    };
    let category = hint("output?category=huge", 404, "no-such-output");
    assert!(category.contains("main"), "{category}");
    let entry = hint("output?entry=three.csv", 404, "no-such-output");
    assert!(entry.contains("one.csv, two.csv"), "{entry}");
    hint("output?entry=one.csv&first=2", 404, "no-such-record");
    hint("output?entry=one.csv&first=2&last=1", 400, "bad-request");
    hint("output", 409, "refused");
    let entry = hint("trace?record=1&entry=three.csv", 404, "no-such-entry");
    assert!(entry.contains("`entry`") && entry.contains("one.csv"), "{entry}");
    hint("trace?record=1", 404, "no-such-entry");
    hint("trace?record=2&entry=one.csv", 404, "no-such-record");
    world.sh("rm out/both.one.csv");
    hint("output?entry=one.csv", 409, "refused");
    service.stop();
}

/// By a parser of another make, which is strict: what it reads.
fn parsed(world: &World, text: &str) -> Vec<(String, String, f64)> {
    world.write("scraped", text);
    let read = world.sh(
        "/usr/bin/python3 -c \"
import json
from prometheus_client.openmetrics.parser import text_string_to_metric_families as families
print(json.dumps([(s.name, json.dumps(s.labels, sort_keys=True), s.value) for f in families(open('scraped').read()) for s in f.samples]))\"",
    );
    serde_json::from_str(&read).expect("JSON")
}

#[test]
fn what_prometheus_scrapes_is_well_formed_and_counts_what_was_done() {
    let rule = "pipeline = [{ step = 'filter', drop = { equals = 'b' } }, { step = 'exec', command = ['cat'] }]\nexpect_every = '24h'";
    let world = World::with_service(SOCKET, rule);
    let mut service = world.start();
    service.wait_until_it_watches();
    world.move_in("in/a.txt", "a\nb\nc\n");
    let scrape = || {
        let answer = ask(&world, "/metrics");
        assert_eq!(answer.status, 200, "{}", answer.text);
        parsed(&world, &answer.text)
    };
    let samples = service.wait_until("the job is counted, also among those that are listed", || {
        let samples = scrape();
        let completed = samples
            .iter()
            .find(|(name, labels, _)| name == "landfall_jobs" && labels.contains("completed"))?;
        (completed.2 > 0.0).then_some(samples)
    });
    let value = |name: &str, label: &str| {
        let found = samples.iter().find(|(known, labels, _)| known == name && labels.contains(label));
        found.unwrap_or_else(|| panic!("{name} {label} is not in {samples:#?}")).2
    };
    let all = [
        ("landfall_jobs_claimed_total", "payments", 1.0),
        ("landfall_jobs_ended_total", "completed", 1.0),
        ("landfall_records_read_total", "payments", 3.0),
        ("landfall_records_written_total", "payments", 2.0),
        ("landfall_records_dropped_total", "payments", 1.0),
        ("landfall_records_failed_total", "payments", 0.0),
        ("landfall_sources_read_bytes_total", "payments", 6.0),
        ("landfall_outputs_written_bytes_total", "payments", 4.0),
        ("landfall_job_wait_seconds_count", "payments", 1.0),
        ("landfall_job_duration_seconds_count", "payments", 1.0),
        ("landfall_slices_worked_total", "payments", 1.0),
        ("landfall_workers_busy", "", 0.0),
        ("landfall_files_waiting", "", 0.0),
        ("landfall_files_late", "", 0.0),
        ("landfall_files_unreadable", "", 0.0),
        ("landfall_senders_overdue", "payments", 0.0),
        ("landfall_configuration_problems", "", 0.0),
        ("landfall_watch_events_lost_total", "", 0.0),
        ("landfall_watch_folders", "", 1.0),
        ("landfall_rules_stopped", "", 0.0),
        ("landfall_sequences_stopped", "", 0.0),
        ("landfall_pauses", "", 0.0),
    ];
    for (name, label, expected) in all {
        assert!((value(name, label) - expected).abs() < 1e-9, "{name} is {}", value(name, label));
    }
    for (name, label) in [
        ("landfall_steps_seconds_total", "filter"),
        ("landfall_steps_seconds_total", "exec"),
        ("landfall_sync_duration_seconds_count", "\"file\""),
        ("landfall_sync_duration_seconds_count", "\"folder\""),
        ("landfall_sync_duration_seconds_count", "\"store\""),
        ("landfall_store_bytes", ""),
        ("landfall_disk_free_bytes", "mount"),
        ("landfall_disk_size_bytes", "mount"),
        ("landfall_workers", ""),
        ("landfall_build_info", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(value(name, label) > 0.0, "{name} {label}");
    }
    // What the dashboard asks for is there.
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let dashboard = std::fs::read_to_string(root.join("packaging/grafana-dashboard.json")).expect("is there");
    serde_json::from_str::<Value>(&dashboard).expect("is JSON");
    let asked_for = dashboard.split("landfall_").skip(1).map(|rest| {
        let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        format!("landfall_{name}")
    });
    let asked_for: Vec<_> = asked_for.collect();
    assert!(asked_for.len() > 10);
    // Where nothing waits, and there is no hook.
    let not_here = ["landfall_jobs_waiting", "landfall_hooks_total"];
    for name in asked_for.into_iter().filter(|name| !not_here.contains(&name.as_str())) {
        assert!(samples.iter().any(|(known, ..)| *known == name), "{name} is not there");
    }
    service.stop();
}

/// Whoever may ask acts as the service's user; but what the service stands on is taken away by nobody.
#[test]
fn a_file_of_the_data_folder_is_not_taken() {
    let (world, service) = started(SOCKET);
    world.sh("ln -s data link");
    for file in ["data/control.json", "link/landfall.lock"] {
        for retire in ["true", "false"] {
            let path = world.path(file);
            let body =
                format!("{{\"path\":\"{}\",\"rule\":\"payments\",\"retire\":{retire}}}", path.display());
            assert_problem(&post(&world, "/v1/ingest", &body), 409, "refused");
        }
    }
    assert!(world.jobs().is_empty() && world.has("data/control.json"));
    service.stop();
}

/// An answer may be lost, and who asks again must not publish all of it twice.
#[test]
fn a_rerun_that_is_asked_for_twice_is_made_once() {
    let (world, mut service) = started(SOCKET);
    world.move_in("in/a.txt", lines(3));
    service.wait_for(&world, "out/a.main");
    let id = service.wait_until("it is done", || {
        let job = world.jobs().pop()?;
        (job["state"] == "completed").then(|| job["id"].as_str().expect("an id").to_owned())
    });
    let rerun = |headers: &[&str]| {
        let url = format!("http://landfall/v1/jobs/{id}/rerun");
        let headers = headers.iter().flat_map(|header| ["-H", *header]);
        let asked = ["--unix-socket", "data/api.sock", "-X", "POST", &url].into_iter().chain(headers);
        curl(&world, &asked.collect::<Vec<_>>())
    };
    let key = "Idempotency-Key: 8e03978e-40d5-43dd-bc93-6894a57f9324";
    assert_problem(&rerun(&["Idempotency-Key: a b"]), 400, "bad-request");
    assert_problem(&rerun(&[key, key]), 400, "bad-request");
    assert_eq!(post(&world, "/v1/pause", "{\"all\":true}").status, 200);
    let made = rerun(&[key]);
    assert_eq!((made.status, rerun(&[key]).text), (200, made.text.clone()));
    assert_problem(&rerun(&[]), 409, "refused");
    assert_problem(&rerun(&["Idempotency-Key: another"]), 409, "refused");
    assert_eq!(post(&world, "/v1/resume", "{\"all\":true}").status, 200);
    service.wait_for(&world, "out/a-1.main");
    service.kill();
    let mut service = world.start();
    service.wait_until("it is done", || (world.jobs().pop()?["state"] == "completed").then_some(()));
    assert_eq!(rerun(&[key]).text, made.text, "also when it has ended, and over a kill");
    assert_eq!(world.jobs().len(), 2);
    service.stop();
}

/// Where `tests/run` could install it.
fn schemathesis() -> Option<std::path::PathBuf> {
    let own = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/schemathesis/bin/schemathesis");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("schemathesis"));
    std::iter::once(own).chain(on_path).find(|program| program.is_file())
}

/// Requests at random, right and wrong, made of the document; each answer must be one that the document knows.
#[test]
fn whatever_is_asked_the_service_has_no_error_and_answers_as_its_document_says() {
    let Some(schemathesis) = schemathesis() else {
        eprintln!("skipped: schemathesis is not installed (tests/run does it, where it can)");
        return;
    };
    let (world, mut service) = started(PORT);
    let url = url(&service);
    let document = curl(&world, &["-H", &token(&world), &format!("{url}/openapi.json")]);
    world.write("openapi.json", &document.text);
    world.write("in/a.txt", lines(3));
    let ran = Command::new(schemathesis)
        .args([
            "run",
            "openapi.json",
            "--url",
            &url,
            "--header",
            &token(&world),
            "--exclude-path",
            "/v1/events",
        ])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"])
        .args([
            "--checks",
            "response_schema_conformance,response_headers_conformance,ignored_auth,unsupported_method",
        ])
        .args([
            "--max-examples",
            "1",
            "--max-time",
            "5",
            "--seed",
            "1",
            "--request-timeout",
            "20",
            "--no-color",
        ])
        .current_dir(world.path(""))
        .output()
        .expect("it runs");
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
    assert!(service.exited().is_none(), "{}", service.log());
    assert!(!service.log().contains("panic"), "{}", service.log());
    service.stop();
}

/// Its answer is longer than what the system keeps for it.
#[test]
fn a_reader_that_stops_in_the_middle_of_a_long_list_holds_up_nobody() {
    let (world, service) = started(PORT);
    let (address, token) = (address(&service), token(&world));
    let names: Vec<String> =
        (0..400).map(|number| format!("elsewhere/{}-{number}.txt", "n".repeat(200))).collect();
    for name in &names {
        world.write(name, "a\n");
    }
    let ran = world.ingest(&names.iter().map(String::as_str).collect::<Vec<_>>());
    ran.done();
    // All answers at once are begun by readers who do not go on; then one more asks.
    let request = format!("GET /v1/jobs HTTP/1.1\r\nHost: a\r\n{token}\r\n\r\n");
    let stuck: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).expect("connects");
            stream.write_all(request.as_bytes()).expect("is sent");
            stream
        })
        .collect();
    let begun = Instant::now();
    let listed = ask(&world, "/v1/jobs").json();
    assert_eq!(listed["jobs"].as_array().map(Vec::len), Some(400));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let begun = Instant::now();
    service.stop();
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    drop(stuck);
}
