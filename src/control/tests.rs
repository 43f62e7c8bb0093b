//! The service and its commands, over the real wire.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::engine::{Act, Answers, Door, Engine, JobFilter, Purpose, Refusal};
use crate::model::account::FailedRecord;
use crate::model::fault::FaultKind;
use crate::model::job_state::{JobEvent, JobState};
use crate::model::job_view::tests::sample_job;
use crate::model::notice::Notice;
use crate::model::os_text::OsText;
use crate::pipeline::Registry;
use crate::store::Store;

fn failed(number: u64) -> FailedRecord {
    FailedRecord {
        entry: 0,
        entry_name: String::new(),
        record: number,
        offset: 0,
        line: number,
        step: "step 1, validate".into(),
        error: "no".into(),
        bytes: b"x".to_vec(),
        length: 1,
    }
}

/// A store with the sample.
fn store(folder: &Path) -> Store {
    let store = Store::open(folder).expect("opens");
    let job = sample_job();
    store.change().job(&job).failed_records(job.id, 0, &[failed(1), failed(2)]).apply().expect("applied");
    store
}

/// An engine without its stages.
fn engine(folder: &Path) -> Engine {
    Engine::over(store(folder), &[])
}

fn service(folder: &Path) -> Server {
    Server::start(folder, Arc::new(engine(folder))).expect("starts")
}

/// The same where no service runs.
fn open_here(folder: &Path) -> Engine {
    Engine::over(Store::open(folder).expect("no service runs"), &[])
}

fn retry_of(job: &str) -> Act {
    Act::retry(job.to_owned())
}

/// A name that JSON has no text for, and as long as any.
#[cfg(unix)]
fn odd_path() -> OsText {
    let bytes = b"/\xff".iter().copied().chain([0xfe; 4094]).collect::<Vec<u8>>();
    OsText::new(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes))
}

#[cfg(windows)]
fn odd_path() -> OsText {
    OsText::from("C:\\in\\a.csv")
}

fn ingest_as(rule: &str) -> Act {
    Act::Ingest { path: odd_path(), rule: rule.into(), retire: true }
}

const CONFIGURATION: &str = r#"
config_version = 1
[service]
data_dir = "data"
[[rule]]
name = "payments"
paths = ["in/*"]
records = { format = "lines" }
output = { main = { path = "out/{stem}.main" } }
source = { on_success = "keep" }
"#;

#[test]
fn a_file_is_handed_to_the_service_by_any_name_and_a_refusal_comes_back_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("landfall.toml");
    std::fs::write(&config, CONFIGURATION).expect("writes");
    let registry = Registry::with_builtin_steps();
    let settings = crate::config::load(&config, &registry).expect("is right");
    let data_dir = settings.service.data_dir.clone();
    let engine = Engine::open(&settings).expect("opens");
    let running = engine.start(settings, registry, Purpose::Ingest).expect("starts");
    let server = Server::start(&data_dir, Arc::new(engine.clone())).expect("starts");
    let client = Client::connect(&data_dir).expect("a service runs");
    for (rule, kind) in [("payments", FaultKind::Input), ("paymnts", FaultKind::Config)] {
        let refusal = client.act(&ingest_as(rule)).expect_err("there is no such file or rule");
        assert_eq!(Err(refusal.clone()), engine.act(&ingest_as(rule)));
        assert!(matches!(refusal, Refusal::Fault(error) if error.kind == kind), "{rule}");
    }
    server.stop().expect("stops");
    running.stop().expect("stops");
}

#[test]
fn more_askers_than_are_answered_at_once_are_all_answered_and_one_that_finds_no_place_waits_for_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = service(folder.path());
    let client = Client::connect(folder.path()).expect("a service runs");
    let job = sample_job().id.to_string();
    std::thread::scope(|scope| {
        let asked: Vec<_> = (0..48).map(|_| scope.spawn(|| client.show(&job).map(|job| job.id))).collect();
        for answer in asked {
            assert_eq!(answer.join().expect("no panic"), Ok(sample_job().id));
        }
        // As many listeners as there are places.
        let mut listeners: Vec<_> = (0..16).map(|_| client.subscribe()).collect();
        for listener in &mut listeners {
            assert_eq!(listener.next(), Some(Ok(Notice::ReadAnew)));
        }
        let waits = scope.spawn(|| client.show(&job).map(|job| job.id));
        listeners.pop();
        assert_eq!(waits.join().expect("no panic"), Ok(sample_job().id));
    });
    server.stop().expect("stops");
}

#[test]
fn without_a_service_no_file_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    assert_eq!(engine(folder.path()).act(&ingest_as("payments")), Err(Refusal::NotRunning));
}

/// The whole life of a job, changed by another thread; and a stop that does not wait for who listens.
#[test]
fn a_subscriber_hears_from_the_service_what_it_would_hear_from_the_engine() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(folder.path());
    let engine = Engine::over(store.clone(), &[]);
    let server = Server::start(folder.path(), Arc::new(engine.clone())).expect("starts");
    let client = Client::connect(folder.path()).expect("a service runs");
    let (mut here, mut there) = (engine.subscribe(), client.subscribe());
    let mut job = sample_job();
    job.state = JobState::Queued.into();
    for event in [JobEvent::Started, JobEvent::AccountBalanced, JobEvent::Published, JobEvent::Retired] {
        job.take(event, job.created_at, "").expect("a legal life");
        store.change().job(&job).apply().expect("applied");
    }
    let told = |notices: &mut Answers<'_, Notice>| -> Vec<Notice> {
        notices
            .map(|notice| notice.expect("is told"))
            .filter(|notice| *notice != Notice::Quiet)
            .take(5)
            .collect()
    };
    let (by_engine, by_service) = (told(&mut here), told(&mut there));
    assert_eq!(by_engine, by_service);
    assert_eq!(by_service[0], Notice::ReadAnew);
    assert!(matches!(&by_service[4], Notice::Changed(change) if change.state == Some(JobState::Completed)));
    server.stop().expect("stops");
    assert!(there.any(|notice| notice.is_err()), "it does not end as if all had been told");
}

fn port(folder: &Path) -> u16 {
    let text = std::fs::read_to_string(folder.join("control.json")).expect("is there");
    let json: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
    u16::try_from(json["port"].as_u64().expect("a port")).expect("a port")
}

fn collect<T>(answers: Answers<'_, T>) -> Result<Vec<T>, Refusal> {
    answers.collect()
}

#[test]
fn a_command_gets_the_same_answers_from_the_service_as_from_the_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = service(folder.path());
    let ask = |door: &dyn Door| {
        let id = sample_job().id.to_string();
        let filter = JobFilter { rule: Some("other".into()), ..JobFilter::default() };
        (
            collect(door.list(&JobFilter::default())).expect("answers"),
            collect(door.list(&filter)).expect("answers"),
            door.show(&id[20..]),
            door.show("zzzz"),
            collect(door.records(&id, false)),
            collect(door.records("zzzz", true)),
            door.record(&id, 2),
            door.record(&id, 3),
            door.act(&retry_of(&id)),
            door.act(&retry_of("zzzz")),
        )
    };
    let client = Client::connect(folder.path()).expect("a service runs");
    let by_service = ask(&client);
    assert_eq!(by_service.0, [sample_job()]);
    assert_eq!(by_service.1, []);
    assert_eq!(by_service.4.as_ref().map(Vec::len), Ok(2));
    assert_eq!(by_service.6.as_ref().map(|found| found.record.clone()), Ok(failed(2)));
    server.stop().expect("stops");
    assert_eq!(ask(&open_here(folder.path())), by_service);
}

#[test]
fn after_a_stop_nothing_says_that_a_service_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    service(folder.path()).stop().expect("stops");
    assert!(!folder.path().join("control.json").try_exists().expect("can be looked at"));
    assert!(Client::connect(folder.path()).is_none());
}

#[test]
fn a_service_that_ended_between_two_questions_is_told_as_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = service(folder.path());
    let client = Client::connect(folder.path()).expect("answers");
    drop(server);
    let Err(Refusal::Fault(error)) = client.show("any") else { panic!("nobody is there to answer") };
    assert!(error.hint.as_deref().is_some_and(|hint| hint.contains("go on at its next start")), "{error:?}");
}

/// What comes back after the greeting.
fn answer_to(folder: &Path, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port(folder))).expect("connects");
    stream.write_all(request).expect("is sent");
    let mut lines = BufReader::new(stream);
    let mut greeting = String::new();
    lines.read_line(&mut greeting).expect("is greeted");
    assert!(greeting.starts_with("{\"nonce\":\""), "{greeting}");
    let mut answer = Vec::new();
    // A reset instead of an end is as good.
    lines.read_to_end(&mut answer).ok();
    answer
}

#[test]
fn a_stranger_learns_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = service(folder.path());
    let jobs = "{\"version\":5,\"command\":\"jobs\"}\n";
    let guess = format!("{}{}{jobs}", "0".repeat(64), "f".repeat(64));
    for request in [jobs, &guess, "GET / HTTP/1.1\r\n\r\n", &format!("{guess}\n{guess}")] {
        assert_eq!(answer_to(folder.path(), request.as_bytes()), b"");
    }
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port(folder.path()))).expect("connects");
    stream.write_all("x".repeat(100_000).as_bytes()).expect("is sent");
    server.stop().expect("stops");
}

/// Has the port that the address file names. What it does with each connection is told with the connection's number.
fn impostor(folder: &Path, answer: impl Fn(usize, &mut TcpStream) + Send + 'static) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listens");
    let file = folder.join("control.json");
    let text = std::fs::read_to_string(&file).expect("is there");
    let mut address: serde_json::Value = serde_json::from_str(&text).expect("is JSON");
    address["port"] = listener.local_addr().expect("has a port").port().into();
    std::fs::write(&file, address.to_string()).expect("is written");
    // It ends with the test's process.
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            answer(number, &mut stream.expect("is accepted"));
        }
    });
}

fn line_of(stream: &TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok();
    line
}

#[test]
fn another_program_on_the_port_is_not_believed_whatever_it_answers() {
    let greeting = format!("{{\"nonce\":\"{}\"}}\n", "a".repeat(64));
    let done = "{\"item\":null}\n\"end\"\n";
    let answers: [fn(&str) -> String; 5] = [
        |_| "{\"item\":null}\n\"end\"\n".to_owned(),
        |_| format!("{}{{\"item\":null}}\n", "0".repeat(64)),
        // What the asker sent is no answer: its own proof, and its nonce as one.
        str::to_owned,
        |request| request[64..].to_owned(),
        |request| format!("{}{{\"item\":null}}\n", &request[64..128]),
    ];
    for (greeting, answer) in
        answers.map(|answer| (greeting.clone(), answer)).into_iter().chain([(done.to_owned(), answers[0])])
    {
        let folder = tempfile::tempdir().expect("a folder");
        let server = service(folder.path());
        impostor(folder.path(), move |_, stream| {
            stream.write_all(greeting.as_bytes()).ok();
            let request = line_of(stream);
            stream.write_all(answer(&request).as_bytes()).ok();
        });
        assert!(Client::connect(folder.path()).is_none());
        let address = std::fs::read(folder.path().join("control.json")).expect("is there");
        server.stop().expect("stops");
        // As a killed service leaves it.
        std::fs::write(folder.path().join("control.json"), address).expect("is written");
        assert_eq!(open_here(folder.path()).act(&ingest_as("payments")), Err(Refusal::NotRunning));
    }
}

/// The impostor stands between the two: it hears all, and can say it all again.
#[test]
fn what_was_overheard_is_good_for_nothing_a_second_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = service(folder.path());
    let real = std::fs::read(folder.path().join("control.json")).expect("is there");
    let at = port(folder.path());
    let (heard, requests) = std::sync::mpsc::sync_channel(16);
    let kept = std::sync::Mutex::new(Vec::new());
    impostor(folder.path(), move |number, stream| {
        // The greeting and the answer to the first, once more for the third, and should that be broken off (Windows resets what is closed
        // before it was read) for those after it.
        if let (2.., Some((greeting, answer))) = (number, kept.lock().expect("is free").first()) {
            let greeting: &String = greeting;
            let answer: &Vec<u8> = answer;
            stream.write_all(greeting.as_bytes()).ok();
            line_of(stream);
            stream.write_all(answer).ok();
            return;
        }
        let mut service = TcpStream::connect((Ipv4Addr::LOCALHOST, at)).expect("connects");
        let greeting = line_of(&service);
        stream.write_all(greeting.as_bytes()).expect("is sent");
        let request = line_of(stream);
        service.write_all(request.as_bytes()).expect("is sent");
        let mut answer = Vec::new();
        service.read_to_end(&mut answer).expect("is answered");
        stream.write_all(&answer).ok();
        heard.send(request).ok();
        kept.lock().expect("is free").push((greeting, answer));
    });
    let client = Client::connect(folder.path()).expect("what is passed on unchanged is the service's");
    assert_eq!(client.show(&sample_job().id.to_string()), Ok(sample_job()));
    assert!(Client::connect(folder.path()).is_none(), "an answer to an earlier question is none");

    let requests = requests.iter().take(2).collect::<Vec<_>>();
    let token = serde_json::from_slice::<serde_json::Value>(&real).expect("is JSON")["token"].clone();
    let token = token.as_str().expect("a token");
    std::fs::write(folder.path().join("control.json"), &real).expect("is written");
    for request in requests {
        assert!(!request.contains(token));
        assert_eq!(answer_to(folder.path(), request.as_bytes()), b"");
    }
    assert!(Client::connect(folder.path()).is_some(), "the service itself is believed");
    server.stop().expect("stops");
}

/// Lines of a list that are changed, dropped, doubled or reordered on the way.
#[test]
fn an_answer_is_taken_whole_and_in_its_order_or_not_at_all() {
    type Lines = Vec<Vec<u8>>;
    let changes: [fn(&mut Lines); 5] = [
        |lines| {
            let byte = lines[0].len() - 10;
            lines[0][byte] ^= 1;
        },
        |lines| drop(lines.remove(0)),
        |lines| lines.insert(1, lines[0].clone()),
        |lines| lines.swap(0, 1),
        |lines| drop(lines.pop()),
    ];
    for change in changes {
        let folder = tempfile::tempdir().expect("a folder");
        let server = service(folder.path());
        let at = port(folder.path());
        impostor(folder.path(), move |number, stream| {
            let mut service = TcpStream::connect((Ipv4Addr::LOCALHOST, at)).expect("connects");
            stream.write_all(line_of(&service).as_bytes()).expect("is sent");
            service.write_all(line_of(stream).as_bytes()).expect("is sent");
            let mut answer = Vec::new();
            service.read_to_end(&mut answer).expect("is answered");
            let mut lines = answer.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
            if number > 0 {
                change(&mut lines);
            }
            stream.write_all(&lines.concat()).ok();
        });
        let client = Client::connect(folder.path()).expect("a service runs");
        match collect(client.records(&sample_job().id.to_string(), false)) {
            Err(Refusal::Fault(error)) => assert!(error.message.contains("no whole answer"), "{error:?}"),
            other => panic!("{other:?}"),
        }
        server.stop().expect("stops");
    }
}

#[test]
fn a_silent_connection_does_not_keep_the_service_from_stopping() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = service(folder.path());
    let _silent = TcpStream::connect((Ipv4Addr::LOCALHOST, port(folder.path()))).expect("connects");
    assert!(Client::connect(folder.path()).is_some(), "others are answered meanwhile");
    server.stop().expect("stops");
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_token() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().expect("a folder");
    let server = service(folder.path());
    let mode = std::fs::metadata(folder.path().join("control.json")).expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    server.stop().expect("stops");
}
