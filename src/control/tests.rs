//! The service and its commands, over the real wire.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::model::account::FailedRecord;
use crate::model::fault::{FaultKind, JobError};
use crate::model::job_id::JobId;
use crate::model::job_view::tests::sample_job;
use crate::model::os_text::OsText;
use crate::store::Store;

fn failed(number: u64) -> FailedRecord {
    FailedRecord {
        entry: 0,
        entry_name: String::new(),
        record: number,
        offset: 0,
        line: number,
        step: "pipeline[0] validate".into(),
        error: "no".into(),
        bytes: b"x".to_vec(),
        length: 1,
    }
}

fn service(folder: &Path) -> Server {
    let store = Store::open(folder).expect("opens");
    let job = sample_job();
    store.change().job(&job).failed_records(job.id, 0, &[failed(1), failed(2)]).apply().expect("applied");
    Server::start(folder, Arc::new(StoreHandler::running(store, Running))).expect("starts")
}

/// An engine that knows the sample.
struct Running;

impl Acts for Running {
    fn retry(&self, job: JobId) -> Result<(), JobError> {
        assert_eq!(job, sample_job().id);
        Ok(())
    }

    fn accept_missing(&self, _: JobId) -> Result<(), JobError> {
        unreachable!("nobody asks for it here")
    }

    fn ingest(&self, path: &Path, rule: &str, retire: bool) -> Result<JobId, JobError> {
        if rule != "payments" {
            let hint = Some("the configuration has: payments".to_owned());
            return Err(JobError { kind: FaultKind::Config, message: "no such rule".into(), hint });
        }
        assert_eq!((OsText::from(path), retire), (odd_path(), true));
        Ok(sample_job().id)
    }
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

#[test]
fn a_file_is_handed_to_the_service_by_any_name_and_a_refusal_comes_back_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = service(folder.path());
    let client = Client::connect(folder.path()).expect("a service runs");
    assert_eq!(client.ingest(&odd_path(), "payments", true), Ok(sample_job().id));
    match client.ingest(&odd_path(), "paymnts", true) {
        Err(Refusal::Fault(error)) => {
            assert_eq!((error.kind, error.hint.is_some()), (FaultKind::Config, true));
        }
        other => panic!("{other:?}"),
    }
    server.stop().expect("stops");
    let store = open(folder.path()).expect("no service runs");
    assert_eq!(store.ingest(&odd_path(), "payments", true), Err(Refusal::NotRunning));
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
    let ask = |handler: &dyn Handler| {
        let id = sample_job().id.to_string();
        let filter = JobFilter { rule: Some("other".into()), ..JobFilter::default() };
        (
            collect(handler.jobs(&JobFilter::default())).expect("answers"),
            collect(handler.jobs(&filter)).expect("answers"),
            handler.show(&id[20..]),
            handler.show("zzzz"),
            collect(handler.records(&id)),
            collect(handler.records("zzzz")),
            handler.record(&id, 2),
            handler.record(&id, 3),
        )
    };
    let client = Client::connect(folder.path()).expect("a service runs");
    let by_service = ask(&client);
    assert_eq!(by_service.0, [sample_job()]);
    assert_eq!(by_service.1, []);
    assert_eq!(by_service.4.as_ref().map(Vec::len), Ok(2));
    assert_eq!(by_service.6, Ok(failed(2)));
    assert_eq!(client.retry(&sample_job().id.to_string()), Ok(sample_job().id));
    server.stop().expect("stops");
    let store = open(folder.path()).expect("no service runs");
    assert_eq!(ask(store.as_ref()), by_service);
    assert_eq!(store.retry(&sample_job().id.to_string()), Err(Refusal::NotRunning));
}

#[test]
fn after_a_stop_nothing_says_that_a_service_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    service(folder.path()).stop().expect("stops");
    assert!(!folder.path().join("control.json").try_exists().expect("can be looked at"));
    assert!(Client::connect(folder.path()).is_none());
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
    let jobs = "{\"version\":2,\"command\":\"jobs\"}\n";
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
        let store = open(folder.path()).expect("no service runs");
        assert_eq!(store.retry(&sample_job().id.to_string()), Err(Refusal::NotRunning));
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
        // The greeting and the answer to the first, once more for the third.
        if let (2, Some((greeting, answer))) = (number, kept.lock().expect("is free").first()) {
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
    assert_eq!(client.retry(&sample_job().id.to_string()), Ok(sample_job().id));
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
        match collect(client.records(&sample_job().id.to_string())) {
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
