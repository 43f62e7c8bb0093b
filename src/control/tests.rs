//! The service and its commands, over the real wire.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::model::fault::FaultKind;
use crate::model::job_view::tests::sample_job;

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
    let handler = StoreHandler::new(store).with_retry(move |id| {
        assert_eq!(id, sample_job().id);
        Ok(())
    });
    let handler = handler.with_progress(|job| job).with_ingest(|path, rule, retire| {
        if rule != "payments" {
            let hint = Some("the configuration has: payments".to_owned());
            return Err(JobError { kind: FaultKind::Config, message: "no such rule".into(), hint });
        }
        assert_eq!((OsText::from(path), retire), (odd_path(), true));
        Ok(sample_job().id)
    });
    Server::start(folder, Arc::new(handler)).expect("starts")
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

#[test]
fn a_stranger_learns_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = service(folder.path());
    let long = format!("{{\"version\":1,\"token\":\"{}\",\"command\":\"jobs\"}}\n", "x".repeat(100_000));
    for request in
        ["{\"version\":1,\"token\":\"guess\",\"command\":\"jobs\"}\n", "GET / HTTP/1.1\r\n\r\n", &long]
    {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port(folder.path()))).expect("connects");
        stream.write_all(request.as_bytes()).expect("is sent");
        let mut answer = Vec::new();
        // A reset instead of an end is as good.
        stream.read_to_end(&mut answer).ok();
        assert_eq!(answer, b"");
    }
    server.stop().expect("stops");
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
