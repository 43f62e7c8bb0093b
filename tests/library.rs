//! Promise: a program that has Landfall within it hands over files, streams and records, and reads what came of them as records: whether it
//! does the work itself or a service does, and after a kill.
#![cfg(unix)]

mod support;

use std::io::{Cursor, Read};
use std::process::{Command, Stdio};

use landfall::Registry;
use landfall::job::JobState;
use landfall::{Input, Landfall, LandfallError, OutputFile};
use support::{RULE, World, lines, wait_until};

fn open(world: &World) -> Landfall {
    Landfall::open(Some(&world.path("landfall.toml")), Registry::with_builtin_steps()).expect("opens")
}

fn only(landfall: &Landfall, id: landfall::job::JobId) -> OutputFile {
    let mut outputs = landfall.ingestion(id).outputs().expect("are published");
    let output = outputs.next().expect("there is one");
    assert!(outputs.next().is_none(), "there is one alone");
    output
}

#[test]
fn records_come_out_as_they_were_handed_over_and_are_counted() {
    let world = World::new(
        "records = { format = \"csv\", header = true }
         output = { main = { path = \"out/{stem}.csv.gz\" } }",
    );
    let landfall = open(&world);
    let records = ["1,\"a\n\"\"b\"\"\"", "2,", "3,12.50\r"];
    let input = Input::records(world.path("in/today.csv"), records).with_header("id,amount");
    let ingestion = landfall.ingest(input, RULE).expect("is taken");
    let job = ingestion.wait().expect("ends");
    assert_eq!(job.state(), JobState::Completed, "{:?}", job.error);
    let account = ingestion.account().expect("is there");
    assert_eq!((account.records_in, account.records_written(), account.records_failed), (3, 3, 0));
    let found: Vec<_> = only(&landfall, job.id).records().collect::<Result<_, _>>().expect("is read");
    assert_eq!(found, records.map(str::as_bytes));
    let progress = ingestion.progress().expect("is there");
    assert_eq!((progress.bytes_worked, progress.records_in), (progress.bytes, 3));
    assert!(world.has("archive/today.csv"), "it ends as its rule says");
    landfall.close().expect("stops");
}

/// A step may leave a record of a csv without a byte; one of a source would be no record.
#[test]
fn a_record_that_a_step_left_empty_is_one_of_its_output() {
    let world = World::new(
        "records = { format = \"csv\", header = true }
         pipeline = [{ step = \"exec\", command = [\"sed\", \"-u\", \"s/^2.*//\"] }]
         output = { main = { path = \"out/{stem}.csv\" } }",
    );
    let landfall = open(&world);
    let input = Input::records(world.path("in/a.csv"), ["1,a", "2,b", "3,c"]).with_header("id,name");
    let job = landfall.ingest(input, RULE).expect("is taken").wait().expect("ends");
    let output = only(&landfall, job.id);
    let found: Vec<_> = output.records().collect::<Result<_, _>>().expect("is read");
    assert_eq!((found, output.published().records), (["1,a", "", "3,c"].map(Vec::from).into(), 3));
}

#[test]
fn failed_records_are_given_with_their_errors_and_the_others_come_out() {
    let world = World::new(
        "records = { format = \"jsonl\" }
         pipeline = [{ step = \"filter\", drop = { column = \"kind\", equals = \"old\" } }]
         errors = { failed_max = \"100%\" }",
    );
    let landfall = open(&world);
    let records = [r#"{"kind":"new"}"#, "this is no JSON", r#"{"kind":"old"}"#];
    let ingestion =
        landfall.ingest(Input::records(world.path("in/a.jsonl"), records), RULE).expect("is taken");
    let job = ingestion.wait().expect("ends");
    assert_eq!((job.account.records_failed, job.account.records_dropped()), (1, 1), "{:?}", job.error);
    let failed: Vec<_> = ingestion.failed_records().collect::<Result<_, _>>().expect("are read");
    assert_eq!((failed.len(), failed[0].record, failed[0].bytes.as_slice()), (1, 2, records[1].as_bytes()));
    assert!(failed[0].error.contains("JSON"), "{}", failed[0].error);
    let found: Vec<_> = only(&landfall, job.id).records().collect::<Result<_, _>>().expect("is read");
    assert_eq!(found, [records[0].as_bytes()]);
}

#[test]
fn a_stream_may_be_packed_and_is_read_again_slice_by_slice() {
    let world = World::new("records = { slice_records = 100 }");
    let text = lines(1000);
    world.write("staged", &text);
    world.sh("gzip staged");
    let packed = world.bytes("staged.gz");
    let landfall = open(&world);
    let input = Input::reader(world.path("in/lines.gz"), Cursor::new(packed));
    let job = landfall.ingest(input, RULE).expect("is taken").wait().expect("ends");
    let output = only(&landfall, job.id);
    let (mut next, mut found) = (1, String::new());
    for slice in output.slices() {
        let slice = slice.expect("is read");
        assert_eq!(slice.first_record(), next);
        next += slice.len() as u64;
        for record in slice.records() {
            found += &String::from_utf8_lossy(record);
            found.push('\n');
        }
    }
    assert_eq!((next, found == text), (1001, true));
    let mut copied = Vec::new();
    output.copy_to(&mut copied).expect("is read");
    assert_eq!(copied, text.as_bytes());
    drop(output.records()); // whoever breaks off leaves no thread that waits for them
}

#[test]
fn a_file_stays_as_it_is_unless_it_is_to_be_retired() {
    let world = World::new("");
    let stays = world.write("elsewhere/stays.txt", "one\ntwo\n");
    let goes = world.write("elsewhere/goes.txt", "three\n");
    let landfall = open(&world);
    for input in [Input::file(&stays), Input::file(&goes).retired()] {
        let job = landfall.ingest(input, RULE).expect("is taken").wait().expect("ends");
        assert_eq!(job.state(), JobState::Completed);
    }
    assert_eq!((stays.is_file(), goes.is_file(), world.has("archive/goes.txt")), (true, false, true));
}

#[test]
fn an_output_that_is_kept_in_the_store_is_read_as_others_are_and_goes_with_its_job() {
    let world = World::with_config(
        "config_version = 1
         [service]
         data_dir = \"data\"
         free_min = \"0\"
         retention = \"1s\"
         [[rule]]
         name = \"payments\"
         paths = [\"in/*\"]
         records = { format = \"lines\" }
         output = { main = { keep_output = \"store\" } }
         source = { on_success = \"delete\" }
        ",
    );
    std::fs::create_dir(world.path("in")).expect("the folder is new");
    let landfall = open(&world);
    let records = ["one", "two"];
    let job = landfall.ingest(Input::records(world.path("in/a.txt"), records), RULE).expect("is taken");
    let job = job.wait().expect("ends");
    let output = only(&landfall, job.id);
    let found: Vec<_> = output.records().collect::<Result<_, _>>().expect("is read");
    assert_eq!(found, records.map(str::as_bytes));
    let path = output.published().path.as_path().to_owned();
    assert!(path.starts_with(world.path("data/outputs")), "{}", path.display());
    landfall.close().expect("stops");
    let id = job.id.to_string();
    world.landfall(&["output", &id, "--records", "2"]).done().says(&["two"]);
    // Each command looks for what is old when it begins.
    world.write("b.txt", "three\n");
    wait_until("its job is forgotten, and its output with it", || {
        world.ingest(&["b.txt"]).done();
        (!path.try_exists().expect("looks")).then_some(())
    });
    let told = world.landfall(&["output", &id]).ends_with(1);
    assert!(told.stderr.contains("there is no job"), "{}", told.stderr);
}

const DESTROYS: &str = "config_version = 1
    [service]
    data_dir = \"data\"
    free_min = \"0\"
    retention = \"2s\"
    [[rule]]
    name = \"payments\"
    paths = [\"in/*\"]
    ready = { stable_for = \"1ms\" }
    records = { format = \"lines\" }
    output = { main = { keep_output = \"store\" } }
    source = { on_success = \"delete\", on_complete = \"destroy\" }
";

/// Goal: what is destroyed once it is done stays as long as a program reads it, in this process and beside a service.
#[test]
fn what_is_destroyed_when_done_stays_as_long_as_a_program_reads_it() {
    for beside in [false, true] {
        let world = World::with_config(DESTROYS);
        std::fs::create_dir(world.path("in")).expect("the folder is new");
        let service = beside.then(|| {
            let mut service = world.start();
            service.wait_until_it_watches();
            service
        });
        let landfall = open(&world);
        let records = ["one", "two"];
        let input = Input::records(world.path("in/read.txt"), records);
        let read = landfall.ingest(input, RULE).expect("is taken").wait().expect("ends").id;
        let output = only(&landfall, read);
        // One that nobody reads goes meanwhile: it ended later.
        let input = Input::records(world.path("in/other.txt"), ["three"]);
        let other = landfall.ingest(input, RULE).expect("is taken").wait().expect("ends").id;
        let path = only(&landfall, other).published().path.as_path().to_owned();
        let is_listed = |id| landfall.ingestion(id).job().is_ok();
        wait_until("the other one is destroyed", || (!path.try_exists().expect("looks")).then_some(()));
        assert!(!is_listed(other) && is_listed(read));
        let found: Vec<_> = output.records().collect::<Result<_, _>>().expect("is read");
        assert_eq!(found, records.map(str::as_bytes));
        let path = output.published().path.as_path().to_owned();
        drop(output);
        match service {
            Some(service) => {
                wait_until("it is destroyed too", || (!path.try_exists().expect("looks")).then_some(()));
                landfall.close().expect("the service goes on");
                service.stop();
            }
            None => landfall.close().expect("stops"),
        }
        assert!(!path.try_exists().expect("looks"));
        assert_eq!(world.jobs(), Vec::<serde_json::Value>::new());
        world.landfall(&["find", "--source", "in/read.txt"]).done().says(&["in/read.txt"]);
    }
}

/// A stream that breaks off.
struct Broken;
impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("the line is cut"))
    }
}

#[test]
fn what_cannot_be_handed_over_is_told_and_leaves_nothing() {
    let world = World::new("");
    let landfall = open(&world);
    let path = world.path("in/pay.txt");
    let refused = |input: Input<'_>, rule: &str| match landfall.ingest(input, rule) {
        Ok(ingestion) => panic!("job {} was made", ingestion.id()),
        Err(error) => (error.hint().is_some_and(|hint| !hint.is_empty()), error),
    };
    let record = refused(Input::records(&path, ["one", "t\nwo"]), RULE);
    assert!(matches!(record, (true, LandfallError::Record { number: 2, .. })), "{record:?}");
    let header = refused(Input::records(&path, ["one"]).with_header("h"), RULE);
    assert!(matches!(header, (true, LandfallError::Rule { .. })), "{header:?}");
    let rule = refused(Input::records(&path, ["one"]), "payroll");
    assert!(rule.0 && rule.1.to_string().contains("payroll"), "{rule:?}");
    let broken = refused(Input::reader(&path, Broken), RULE);
    assert!(broken.1.to_string().contains("the line is cut"), "{broken:?}");
    let folder = refused(Input::records(world.path("nowhere/pay.txt"), ["one"]), RULE);
    assert!(matches!(folder, (true, LandfallError::Input { .. })), "{folder:?}");
    assert_eq!(world.files("in"), Vec::<String>::new());
    world.write("in/pay.txt", "two\n");
    let taken = refused(Input::records(&path, ["one"]), RULE);
    assert!(matches!(taken, (true, LandfallError::Taken { .. })), "{taken:?}");
    assert_eq!(world.text("in/pay.txt"), "two\n");
    assert_eq!(landfall.unfinished().expect("is read"), []);
}

#[test]
fn beside_a_service_it_does_the_work_and_its_watch_may_be_faster() {
    let world = World::new("ready = { stable_for = \"1ms\" }");
    let mut service = world.start();
    service.wait_until_it_watches();
    let landfall = open(&world);
    for number in 0..20 {
        let record = format!("record {number}");
        let input = Input::records(world.path(format!("in/{number}.txt")), [&record]);
        let ingestion = landfall.ingest(input, RULE).expect("is taken");
        let job = ingestion.wait().expect("ends");
        assert_eq!(job.state(), JobState::Completed, "{:?}", job.error);
        let found: Vec<_> = only(&landfall, job.id).records().collect::<Result<_, _>>().expect("is read");
        assert_eq!(found, [record.as_bytes()]);
    }
    assert_eq!(world.jobs().len(), 20, "each is one job");
    landfall.close().expect("the service goes on");
    service.stop();
}

#[test]
fn beside_a_service_that_keeps_its_files_each_is_one_job_too() {
    let world =
        World::new("ready = { stable_for = \"0s\", linger = \"0s\" }\nsource = { on_success = \"keep\" }");
    let mut service = world.start();
    service.wait_until_it_watches();
    let landfall = open(&world);
    for number in 0..30 {
        let input = Input::records(world.path(format!("in/{number}.txt")), [format!("record {number}")]);
        let job = landfall.ingest(input, RULE).expect("is taken").wait().expect("ends");
        assert_eq!(job.state(), JobState::Completed, "{:?}", job.error);
    }
    assert_eq!((world.jobs().len(), world.files("out").len()), (30, 30));
    landfall.close().expect("the service goes on");
    service.stop();
}

#[test]
fn what_is_not_taken_is_told_with_where_it_lies_or_is_not_left_there() {
    let world = World::new("");
    let landfall = open(&world);
    landfall.close().expect("stops");
    world.landfall(&["pause", "--rule", RULE]).done();
    let landfall = open(&world);
    let refused = landfall.ingest(Input::records(world.path("in/a.txt"), ["one"]), RULE).map(|it| it.id());
    assert!(refused.expect_err("it is paused").to_string().contains("pause"));
    assert_eq!(world.files("in"), Vec::<String>::new(), "nobody else could have taken it");
    landfall.close().expect("stops");
    let mut service = world.start();
    service.wait_until_it_watches();
    let landfall = open(&world);
    let refused = landfall.ingest(Input::records(world.path("in/a.txt"), ["one"]), RULE).map(|it| it.id());
    let refused = refused.expect_err("it is paused");
    assert!(matches!(&refused, LandfallError::NotTaken { path, .. } if path.is_file()), "{refused:?}");
    service.stop();
}

#[test]
fn who_waits_for_a_job_beside_a_service_outlives_a_restart_of_it() {
    let world = World::new("pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]");
    world.write_gate();
    let mut service = world.start();
    service.wait_until_it_watches();
    let landfall = open(&world);
    let text = lines(2000);
    let records: Vec<_> = text.lines().collect();
    let ingestion =
        landfall.ingest(Input::records(world.path("in/lines.txt"), records), RULE).expect("is taken");
    wait_until("its job is at work", || world.has("reached").then_some(()));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ingestion.wait());
        service.kill();
        world.write("go", "");
        let mut service = world.start();
        let job = waiting.join().expect("no panic").expect("ends");
        assert_eq!(job.state(), JobState::Completed, "{:?}", job.error);
        service.wait_until_it_watches();
        assert_eq!(only(&landfall, job.id).published().records, 2000, "it asks the one that is there now");
        service.stop();
    });
}

#[test]
fn a_rule_that_takes_no_file_is_refused_before_anything_is_written() {
    for mode in ["off", "shadow"] {
        let world = World::new(&format!("mode = \"{mode}\""));
        let landfall = open(&world);
        let refused =
            landfall.ingest(Input::records(world.path("in/a.txt"), ["one"]), RULE).map(|it| it.id());
        let refused = refused.expect_err("it takes none");
        assert!(matches!(refused, LandfallError::NotLive { .. }), "{refused:?}");
        assert!(refused.to_string().contains(mode) && refused.hint().is_some(), "{refused}");
        assert_eq!(world.files("in"), Vec::<String>::new());
    }
}

#[test]
fn what_a_killed_program_handed_over_goes_on_when_it_is_opened_again() {
    let world = World::new("pipeline = [{ step = \"exec\", confine = false, command = [\"./gate\"] }]");
    world.write_gate();
    let program = std::path::PathBuf::from(env!("CARGO_BIN_EXE_landfall"));
    let program = program.with_file_name("examples").join("ingest");
    let mut child = Command::new(program)
        .current_dir(world.folder())
        .args(["landfall.toml", RULE, "in/lines.txt"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the example runs");
    let text = lines(2000);
    std::io::Write::write_all(&mut child.stdin.take().expect("is piped"), text.as_bytes()).expect("reads");
    wait_until("its job is at work", || world.has("reached").then_some(()));
    child.kill().expect("it runs");
    child.wait().expect("it is our child");
    world.write("go", "");
    let landfall = open(&world);
    let unfinished = landfall.unfinished().expect("is read");
    assert_eq!(unfinished.len(), 1);
    let job = landfall.ingestion(unfinished[0].id).wait().expect("ends");
    assert_eq!(job.state(), JobState::Completed, "{:?}", job.error);
    assert_eq!(world.text("out/lines.main"), text);
}
