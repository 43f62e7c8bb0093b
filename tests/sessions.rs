//! Promise: the dashboard's page is there for everybody, and what it shows for those who logged in, from its own page alone; each act has a name.
#![cfg(unix)]

mod support;

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Service, World, lines, wait_until};

const PORT: &str = "listen = '127.0.0.1:0'\naudit = true";
const OWN: &str = "X-Landfall: dashboard";

struct Answer {
    status: u16,
    head: String,
    text: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    fn cookie(&self) -> String {
        let header = self.header("set-cookie").expect("a cookie");
        format!("Cookie: {}", header.split(';').next().expect("a pair"))
    }
}

fn url(service: &Service) -> String {
    let log = service.log();
    let url = log.lines().rev().find_map(|line| line.split_once("url=")).expect("it listens").1;
    url.split_whitespace().next().expect("a word").trim_matches('"').to_owned()
}

fn curl(arguments: &[&str]) -> Answer {
    let mut command = Command::new("curl");
    command.args(["-sS", "--max-time", "30", "-i"]).args(arguments);
    let output = command.stdin(Stdio::null()).output().expect("curl runs");
    let said = String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n");
    let (head, text) = said.split_once("\n\n").unwrap_or_else(|| panic!("no answer: {output:?}"));
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), text: text.to_owned() }
}

fn log_in(url: &str, user: &str, token: &str) -> Answer {
    let body = serde_json::json!({ "user": user, "token": token }).to_string();
    curl(&["-H", OWN, "-H", "Content-Type: application/json", "-d", &body, &format!("{url}/v1/login")])
}

fn started() -> (World, Service, String, String) {
    let world = World::with_service(PORT, "");
    let mut service = world.start();
    service.wait_until_it_watches();
    world.wait_for_start();
    let (url, token) = (url(&service), world.text("data/api.token").trim().to_owned());
    (world, service, url, token)
}

#[test]
fn the_page_is_there_for_everybody_and_says_nothing_of_the_service() {
    let (_world, service, url, _) = started();
    for path in ["/", "/dashboard/app.js", "/dashboard/style.css", "/dashboard/vendor/preact.js"] {
        let answer = curl(&[&format!("{url}{path}")]);
        assert_eq!(answer.status, 200, "{path}");
        let policy = answer.header("content-security-policy").expect("a policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{policy}");
        let tag = format!("If-None-Match: {}", answer.header("etag").expect("a tag"));
        assert_eq!(curl(&["-H", &tag, &format!("{url}{path}")]).status, 304, "{path}");
    }
    for path in ["/dashboard/other.js", "/dashboard/", "/dashboard/../api.token", "/index.html"] {
        assert_eq!(curl(&["--path-as-is", &format!("{url}{path}")]).status, 401, "{path}");
    }
    let answer = curl(&[&format!("{url}/v1/status")]);
    assert_eq!((answer.status, answer.header("cache-control")), (401, Some("no-store")));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    service.stop();
}

#[test]
fn who_shows_the_token_once_goes_by_a_cookie_until_he_logs_out() {
    let (_world, mut service, url, token) = started();
    let begun = Instant::now();
    let wrong = log_in(&url, "anna", &"0".repeat(64));
    assert_eq!(wrong.status, 401, "{}", wrong.text);
    assert!(
        wrong.header("set-cookie").is_none() && begun.elapsed() >= Duration::from_secs(1),
        "guessing is slow"
    );
    service.wait_for_log_times("shown a wrong token", 1);
    assert_eq!(log_in(&url, " ", &token).status, 400);
    assert_eq!(log_in(&url, &"x".repeat(65), &token).status, 400);
    assert_eq!(log_in(&url, "anna (proxy, 10.0.0.1)", &token).status, 400);
    let answer = log_in(&url, "anna", &token);
    assert_eq!((answer.status, &answer.json()["user"]), (200, &"anna".into()), "{}", answer.text);
    let header = answer.header("set-cookie").expect("a cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(header.contains(part), "{header}");
    }
    let cookie = answer.cookie();
    let ask = |path: &str| curl(&["-H", &cookie, &format!("{url}{path}")]);
    assert_eq!(ask("/v1/session").json()["user"], "anna");
    for path in ["/v1/status", "/v1/lines", "/v1/waiting", "/v1/rules", "/metrics"] {
        assert_eq!(ask(path).status, 200, "{path}");
    }
    // A token that is shown counts, whatever the cookie says.
    let both = curl(&["-H", &cookie, "-H", "Authorization: Bearer 0000", &format!("{url}/v1/status")]);
    assert_eq!(both.status, 401);
    let out = curl(&["-H", &cookie, "-H", OWN, "-X", "POST", &format!("{url}/v1/logout")]);
    assert!(
        out.status == 200 && out.header("set-cookie").expect("one").contains("Max-Age=0"),
        "{}",
        out.head
    );
    assert_eq!((ask("/v1/status").status, &ask("/v1/session").json()["is_known"]), (401, &false.into()));
    let again = log_in(&url, "anna", &token).cookie();
    service.stop();
    assert_ne!(again, cookie);
}

#[test]
fn what_another_page_has_a_browser_ask_is_refused_and_changes_nothing() {
    let (world, service, url, token) = started();
    let cookie = log_in(&url, "anna", &token).cookie();
    let host = url.split_once("//").expect("a URL").1;
    let pause = |headers: &[&str]| {
        let mut all = vec!["-d", "{\"all\":true}", "-H", cookie.as_str()];
        all.extend(headers.iter().flat_map(|header| ["-H", *header]));
        let to = format!("{url}/v1/pause");
        all.push(&to);
        curl(&all)
    };
    let (own_origin, other_port) =
        (format!("Origin: http://{host}"), "Origin: http://127.0.0.1:1".to_owned());
    for headers in [
        &[][..], // a form of any page
        &["Content-Type: text/plain", "Origin: https://evil.example"],
        &["Sec-Fetch-Site: cross-site", OWN],
        &["Sec-Fetch-Site: same-site", OWN],
        &["Sec-Fetch-Site: none", OWN],
        &["Origin: null", OWN],
        &[other_port.as_str(), OWN],
        &[own_origin.as_str()],
    ] {
        let answer = pause(headers);
        assert_eq!(
            (answer.status, answer.json()["type"].as_str()),
            (403, Some("urn:landfall:problem:foreign-page"))
        );
    }
    let read = format!("{url}/v1/jobs");
    assert_eq!(curl(&["-H", &cookie, "-H", "Sec-Fetch-Site: cross-site", &read]).status, 403);
    assert_eq!(
        curl(&["-H", &cookie, "-H", "Sec-Fetch-Site: none", &read]).status,
        200,
        "its address was typed"
    );
    // Nor does another page log anybody in, under a name of its own.
    let body = serde_json::json!({ "user": "eve", "token": token }).to_string();
    let login = format!("{url}/v1/login");
    assert_eq!(curl(&["-d", &body, &login]).status, 403);
    assert_eq!(curl(&["-d", &body, "-H", OWN, "-H", "Origin: https://evil.example", &login]).status, 403);
    let status = curl(&["-H", &cookie, &format!("{url}/v1/status")]).json();
    assert_eq!(status["paused"], serde_json::json!([]));
    // Nor where a proxy adds the token to all that comes.
    let (shown, to) = (format!("Authorization: Bearer {token}"), format!("{url}/v1/pause"));
    let by_token = |header: &str| curl(&["-H", &shown, "-H", header, "-d", "{\"all\":true}", &to]).status;
    assert_eq!(
        [by_token("Sec-Fetch-Site: cross-site"), by_token("Origin: https://evil.example")],
        [403, 403]
    );
    let done = pause(&["Sec-Fetch-Site: same-origin", OWN, &own_origin]);
    assert_eq!((done.status, done.json()["changed"].as_bool()), (200, Some(true)), "{}", done.text);
    let _ = world;
    service.stop();
}

#[test]
fn events_are_told_no_longer_than_the_session_lasts_that_asked_for_them() {
    let (_world, service, url, token) = started();
    let cookie = log_in(&url, "anna", &token).cookie();
    let to = format!("{url}/v1/events");
    let listener = Command::new("curl")
        .args(["-sSN", "--max-time", "60", "-H", &cookie, &to])
        .stdout(Stdio::piped())
        .spawn();
    let mut listener = listener.expect("curl runs");
    let mut first = [0];
    listener.stdout.as_mut().expect("is piped").read_exact(&mut first).expect("it begins");
    curl(&["-H", &cookie, "-H", OWN, "-X", "POST", &format!("{url}/v1/logout")]);
    let ended = listener.wait_with_output().expect("it ends");
    assert!(ended.status.success(), "it ended by itself, and not by the time: {:?}", ended.status);
    service.stop();
}

#[test]
fn who_did_something_stands_in_the_history_and_in_the_audit_trail() {
    let (world, service, url, token) = started();
    let cookie = log_in(&url, "anna", &token).cookie();
    let ask = |path: &str| curl(&["-H", &cookie, &format!("{url}{path}")]).json();
    let post = |path: &str, body: &str| {
        let answer = curl(&["-H", &cookie, "-H", OWN, "-d", body, &format!("{url}{path}")]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    };
    post("/v1/pause", "{\"rule\":\"payments\"}");
    let by = "anna (dashboard, 127.0.0.1)";
    assert_eq!(ask("/v1/status")["paused"][0]["by"], by);
    post("/v1/resume", "{\"rule\":\"payments\"}");
    world.configure(PORT, &["priority = 7"]);
    post("/v1/reload", "{}");
    world.move_in("in/a.txt", lines(3));
    let done = || Some(ask("/v1/lines?state=completed")["jobs"][0]["id"].as_str()?.to_owned());
    let id = wait_until("the job is done", done);
    post(&format!("/v1/jobs/{id}/rerun"), "{}");
    let trail = || {
        std::fs::read_dir(world.path("data/audit")).ok().map(|files| {
            files
                .map(|file| std::fs::read_to_string(file.expect("is read").path()).expect("is text"))
                .collect::<String>()
        })
    };
    // A proxy that knows its users shows the token for them.
    let (shown, name) = (format!("Authorization: Bearer {token}"), "X-Forwarded-User: berta");
    let to = format!("{url}/v1/pause");
    let by_proxy = |headers: &[&str]| {
        let mut all = vec!["-H", shown.as_str(), "-H", name, "-d", "{\"sender\":\"acme\"}"];
        all.extend(headers.iter().flat_map(|header| ["-H", *header]));
        all.push(&to);
        curl(&all).status
    };
    assert_eq!((by_proxy(&[]), by_proxy(&[OWN])), (403, 200));
    assert_eq!(by_proxy(&[OWN, "X-Forwarded-User: mallory"]), 400, "a proxy that adds a name");
    let session = curl(&["-H", &shown, "-H", name, &format!("{url}/v1/session")]).json();
    assert_eq!((&session["user"], &session["is_known"]), (&"berta".into(), &true.into()));
    assert_eq!(ask("/v1/status")["paused"][0]["by"], "berta (proxy, 127.0.0.1)");
    for event in ["pause", "resume", "reloaded", "rerun"] {
        wait_until(event, || {
            let trail = trail()?;
            let of_event =
                |line: &&str| line.contains(&format!("\"event\":\"{event}\"")) && line.contains(by);
            trail.lines().find(of_event).map(|_| ())
        });
    }
    service.stop();
}

/// Goal: of very many jobs a page is read, in the order and of those that are asked for, and it stays still while new ones come.
#[test]
fn lines_come_a_page_at_a_time_sorted_and_chosen_by_the_service() {
    let (world, service, url, token) = started();
    let token = format!("Authorization: Bearer {token}");
    let ask = |path: &str| {
        let answer = curl(&["-H", &token, &format!("{url}{path}")]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer.json()
    };
    let names = |path: &str| -> Vec<String> {
        let found = ask(path);
        let jobs = found["jobs"].as_array().expect("a list").iter();
        jobs.map(|job| job["source"].as_str().expect("a path").rsplit('/').next().expect("a name").to_owned())
            .collect()
    };
    let completed = |count: usize| {
        wait_until("they are done", || {
            (ask("/v1/lines?state=completed")["jobs"].as_array()?.len() == count).then_some(())
        });
    };
    for (name, records) in [("a.txt", 3), ("B.txt", 1), ("c.txt", 2)] {
        world.move_in(&format!("in/{name}"), lines(records));
        completed(names("/v1/lines?unfinished=false").len().max(1));
        wait_until("it is there", || names("/v1/lines").contains(&name.to_owned()).then_some(()));
    }
    completed(3);
    assert_eq!(names("/v1/lines"), ["c.txt", "B.txt", "a.txt"]);
    assert_eq!(names("/v1/lines?ascending=true"), ["a.txt", "B.txt", "c.txt"]);
    assert_eq!(names("/v1/lines?sort=records"), ["a.txt", "c.txt", "B.txt"]);
    assert_eq!(names("/v1/lines?sort=records&ascending=true&skip=1&count=1"), ["c.txt"]);
    assert_eq!(names("/v1/lines?text=b.TX"), ["B.txt"]);
    assert_eq!(names("/v1/lines?state=failed"), [""; 0]);
    let page = ask("/v1/lines?count=2");
    assert_eq!(
        (page["more"].as_bool(), &page["total"], &page["newer"]),
        (Some(true), &Value::Null, &0.into())
    );
    let top = page["jobs"][1]["id"].as_str().expect("an id").to_owned();
    let pinned = ask(&format!("/v1/lines?upto={top}&skip=1&count=1"));
    assert_eq!(
        (&pinned["newer"], &pinned["total"], pinned["more"].as_bool()),
        (&1.into(), &2.into(), Some(false))
    );
    assert!(pinned["jobs"][0]["source"].as_str().expect("a path").ends_with("a.txt"), "{pinned:#}");
    assert_eq!(names(&format!("/v1/lines?job={top}")), ["B.txt"]);
    for wrong in ["sort=colour", "count=0", "count=501", "upto=nothing", "skip=-1"] {
        assert_ne!(curl(&["-H", &token, &format!("{url}/v1/lines?{wrong}")]).status, 200, "{wrong}");
    }
    service.stop();
}

#[test]
fn files_that_wait_are_told_with_why_by_rule_and_any_path_is_explained() {
    let world = World::with_service(PORT, "ready = { stable_for = '1h', linger = '1h' }");
    let mut service = world.start();
    service.wait_until_it_watches();
    let (url, token) =
        (url(&service), format!("Authorization: Bearer {}", world.text("data/api.token").trim()));
    let ask = |path: &str| curl(&["-H", &token, &format!("{url}{path}")]).json();
    for name in ["a.txt", "b.txt", "c.txt"] {
        world.move_in(&format!("in/{name}"), lines(1));
    }
    wait_until("they wait", || (ask("/v1/waiting")["files"].as_array()?.len() == 3).then_some(()));
    let page = ask("/v1/waiting?rule=payments&skip=1&count=1");
    assert_eq!((page["files"].as_array().map(Vec::len), page["more"].as_bool()), (Some(1), Some(true)));
    let file = &page["files"][0];
    assert!(file["path"].as_str().expect("a path").ends_with("in/b.txt"), "{file:#}");
    assert_eq!(file["rule"], "payments");
    assert!(file["reason"].as_str().is_some_and(|reason| !reason.is_empty()));
    assert_eq!(ask("/v1/waiting?rule=other")["files"], serde_json::json!([]));
    let path = world.path("in/b.txt");
    let explained = ask(&format!("/v1/explain?path={}", path.display()));
    assert_eq!(
        (&explained["rule"], &explained["waits"]),
        (&"payments".into(), &file["reason"]),
        "{explained:#}"
    );
    let printed = world.landfall(&["explain", "--json", path.to_str().expect("text")]).done();
    let mut printed: Value = serde_json::from_str(&printed.stdout).expect("JSON");
    let mut explained = explained;
    // Since when is told by how long ago it is.
    for told in [&mut explained, &mut printed] {
        told["seen"] = told["seen"]["reason"].take();
    }
    assert_eq!(explained, printed);
    service.stop();
}
