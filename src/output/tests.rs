//! The outputs of a job from the first record to the published file.

#![allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests play the consumers")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;

use super::*;
use crate::durable_fs::FolderRound;
use crate::model::category::Category;
use crate::model::fault::{Fault as _, FaultKind, WaitsFor};
use crate::model::identity::FileIdentity;
use crate::model::job::{Job, Source};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::rule::{
    Decode, Errors, Format, Limit, LineEnd, Mode, OnBadEncoding, OnExists, OnRecordError, OnSuccess, Order,
    Output, Publish, Ready, ReadyStrategy, Records, Rule, SourceEnd, TrustClose,
};

mod faults;
mod signals;

fn rule(outputs: &[(&str, PathBuf)]) -> Rule {
    let output = |path: &Path| Output {
        path: path.to_str().expect("UTF-8").into(),
        on_exists: OnExists::Number,
        is_in_store: false,
        is_sealed: false,
        write_empty: false,
        max: None,
        header: true,
        line_end: LineEnd::Lf,
        annotate: false,
        recipients: vec![],
        recipients_file: None,
        sha256: false,
        mode: 0o640,
    };
    Rule {
        name: "payments".into(),
        mode: Mode::Live,
        paths: vec![if cfg!(windows) { "C:/in/{sender}/*.csv" } else { "/in/{sender}/*.csv" }.into()].into(),
        exclude: vec![].into(),
        priority: crate::model::priority::Priority::default(),
        order: Order::Arrival,
        follow_links: false,
        encrypt_at_rest: false,
        priority_when: Vec::new(),
        window: None,
        deadline: None,
        expect: None,
        sequence: crate::model::rule::Sequence::None,
        ready: Ready {
            strategy: ReadyStrategy::Auto,
            trust_close: TrustClose::Framed,
            stable_for: std::time::Duration::ZERO,
            linger: std::time::Duration::ZERO,
            marker: None,
            totals: None,
            marker_for: crate::model::rule::MarkerFor::File,
            last_line: crate::model::rule::LastLine::Any,
            events: true,
            checksum: None,
            empty: crate::model::rule::EmptyFile::Take,
            late_after: None,
        },
        decode: Decode {
            layers: vec![],
            require_encrypted: false,
            require_signed: false,
            signers: Vec::new(),
            identities: vec![],
            passphrase_file: None,
            symmetric_encryption: vec![],
            entries: vec![],
            entries_max: 1,
            depth_max: 1,
            expanded_max: 1,
            ratio_max: 1,
            time_max: std::time::Duration::MAX,
            work_factor_max: 18,
            encoding: "utf-8".into(),
            on_bad_encoding: OnBadEncoding::Fail,
        },
        records: Records {
            format: Format::Lines,
            skip_lines: 0,
            record_max: 1,
            slice_records: 1,
            separator: None,
        },
        pipeline: vec![],
        outputs: outputs.iter().map(|(name, path)| (Category::new(name), output(path))).collect(),
        publish: Publish::default(),
        errors: Errors {
            on_record_error: OnRecordError::SetAside,
            failed_max: Limit::Count(0),
            attempts: 1,
            stop_after: None,
        },
        source: SourceEnd {
            on_success: OnSuccess::Delete,
            archive_dir: None,
            archive_keep: None,
            archive_owner: crate::model::rule::ArchiveOwner::Service,
            on_complete: crate::model::rule::OnComplete::Keep,
            claim_dir: None,
            quarantine_dir: None,
        },
        delivery: None,
        base_dir: "/".into(),
        timezone: "UTC".into(),
        overriding: None,
        stands_for: None,
        compare: None,
        pace: crate::model::pace::Pace::default(),
    }
}

fn job() -> Job {
    let identity = FileIdentity { device: 0, inode: 0, size: 0, mtime_ns: 0, ctime_ns: 0 };
    let source = Source::found("/in/acme/pay.csv.gz", identity);
    let mut job = Job::queued(JobId::from_parts(1, 1), "payments", "", source, Timestamp::UNIX_EPOCH);
    job.vars = BTreeMap::from([("sender".to_owned(), "acme".into())]);
    job.state = JobState::Running.into();
    job
}

/// One rule, one job, one folder.
struct World {
    folder: tempfile::TempDir,
    rule: Arc<Rule>,
    plan: Arc<OutputPlan>,
    job: Job,
}

impl World {
    fn new(outputs: &[(&str, &str)], change: impl FnOnce(&mut Rule, &Path)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let outputs: Vec<_> = outputs.iter().map(|(name, path)| (*name, folder.path().join(path))).collect();
        let mut rule = rule(&outputs);
        change(&mut rule, folder.path());
        let categories: Vec<_> = rule.outputs.keys().cloned().collect();
        let plan = Arc::new(OutputPlan::build(&rule, &categories).expect("a plan"));
        Self { folder, rule: Arc::new(rule), plan, job: job() }
    }

    fn one(path: &str) -> Self {
        Self::new(&[("main", path)], |_, _| {})
    }

    fn start(&self) -> Partials {
        Partials::start(Arc::clone(&self.plan), Arc::clone(&self.rule), &self.job)
    }

    fn resume(&self, states: &[PartialState]) -> Result<Partials, OutputError> {
        Partials::resume(Arc::clone(&self.plan), Arc::clone(&self.rule), &self.job, states)
    }

    fn append(&self, partials: &mut Partials, category: usize, text: &str) {
        let chunk = self.plan.encode(category, text.as_bytes().to_vec(), text.lines().count() as u64);
        partials.append(category, chunk).expect("appends");
    }

    fn publish(&self, mut partials: Partials) -> Intent {
        let finished = finish(&mut partials).expect("finishes");
        let mut intent = Intent::choose(&self.rule, &self.job, finished, &|_| false).expect("chooses");
        assert_eq!(roll_forward(self, &mut intent).expect("rolls"), RolledForward::Done);
        intent
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.folder.path())
            .expect("lists")
            .map(|e| e.expect("entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn entry(position: u32, name: &str) -> EntryName {
    EntryName { position, name: name.into() }
}

fn text(slice: usize) -> String {
    let lines: Vec<_> = (0..500)
        .map(|record| format!("{slice};{record};{}\n", (slice * 7919 + record * 104_729) % 10_007))
        .collect();
    lines.concat()
}

fn decoded(path: &Path) -> String {
    use async_compression::futures::bufread::{BzDecoder, XzDecoder, ZstdDecoder};
    let bytes = fs::read(path).expect("reads");
    let mut text = String::new();
    match path.extension().and_then(|e| e.to_str()) {
        Some("gz") => {
            // The single-member decoder, on purpose: it must find everything in the first member.
            let mut decoder = flate2::bufread::GzDecoder::new(bytes.as_slice());
            decoder.read_to_string(&mut text).expect("gzip");
            assert!(decoder.into_inner().is_empty(), "more than one member");
        }
        Some("zst") => text = read_all(ZstdDecoder::new(bytes.as_slice()), |d| d.multiple_members(true)),
        Some("bz2") => text = read_all(BzDecoder::new(bytes.as_slice()), |d| d.multiple_members(true)),
        Some("xz") => text = read_all(XzDecoder::new(bytes.as_slice()), |d| d.multiple_members(true)),
        _ => text = String::from_utf8(bytes).expect("UTF-8"),
    }
    text
}

fn read_all<D: futures_io::AsyncRead + Unpin>(mut decoder: D, all_members: impl FnOnce(&mut D)) -> String {
    all_members(&mut decoder);
    let (mut all, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        match std::pin::Pin::new(&mut decoder).poll_read(&mut context, &mut buffer) {
            std::task::Poll::Ready(Ok(0)) => return String::from_utf8(all).expect("UTF-8"),
            std::task::Poll::Ready(Ok(count)) => all.extend_from_slice(&buffer[..count]),
            other => panic!("{other:?}"),
        }
    }
}

const CODECS: [&str; 5] = ["out.csv", "out.csv.gz", "out.csv.zst", "out.csv.bz2", "out.csv.xz"];

#[test]
fn every_codec_gives_back_header_and_records_in_order() {
    for name in CODECS {
        let world = World::one(name);
        let mut partials = world.start();
        partials.begin_entry(&entry(0, ""), &[Some(b"a;b;c\n".to_vec())]).expect("begins");
        let mut expected = "a;b;c\n".to_owned();
        for slice in 0..40 {
            world.append(&mut partials, 0, &text(slice));
            expected.push_str(&text(slice));
        }
        let intent = world.publish(partials);
        assert!(decoded(&world.path(name)) == expected, "{name}");
        assert_eq!(world.names(), [name]);
        let output = &intent.outputs[0].output;
        assert_eq!(
            (output.records, output.bytes),
            (20_000, fs::metadata(world.path(name)).expect("there").len())
        );
    }
}

/// Goal: what is written after a crash is what would have been written without it.
/// Method: checkpoints on the way, records after the last one, then a second run from that checkpoint.
#[test]
fn a_resumed_output_holds_each_record_once() {
    for name in CODECS {
        let world = World::one(name);
        let header = [Some(b"a;b;c\n".to_vec())];
        let mut partials = world.start();
        partials.begin_entry(&entry(0, ""), &header).expect("begins");
        let mut states = vec![];
        for slice in 0..10 {
            world.append(&mut partials, 0, &text(slice));
            if slice % 3 == 0 {
                let (state, pending) = partials.checkpoint().expect("checkpoints");
                pending.sync().expect("syncs");
                states = state;
            }
        }
        // What a crash may leave: more bytes than the checkpoint says, and a partial that it does not know.
        for slice in 10..40 {
            world.append(&mut partials, 0, &text(slice));
        }
        drop(partials);
        let stray = world.path(&format!(".landfall-{}-7.partial", world.job.id));
        fs::write(&stray, "stray").expect("writes");
        let json = serde_json::to_string(&states).expect("serializes");
        let states: Vec<PartialState> = serde_json::from_str(&json).expect("reads back");
        let mut partials = world.resume(&states).expect("resumes");
        partials.begin_entry(&entry(0, ""), &header).expect("begins again");
        for slice in 10..20 {
            world.append(&mut partials, 0, &text(slice));
        }
        let intent = world.publish(partials);
        let expected: String = ["a;b;c\n".to_owned()].into_iter().chain((0..20).map(text)).collect();
        assert!(decoded(&world.path(name)) == expected, "{name}");
        assert_eq!(intent.outputs[0].output.records, 10_000);
        assert_eq!(world.names(), [name], "the stray partial is gone");
    }
}

#[test]
fn a_partial_shorter_than_its_checkpoint_is_a_storage_error() {
    let world = World::one("out.csv");
    let mut partials = world.start();
    partials.begin_entry(&entry(0, ""), &[None]).expect("begins");
    world.append(&mut partials, 0, "1\n2\n");
    let (states, pending) = partials.checkpoint().expect("checkpoints");
    pending.sync().expect("syncs");
    drop(partials);
    fs::write(states[0].hidden.path.as_path(), "1").expect("cuts");
    let error = world.resume(&states).err().expect("refuses");
    assert_eq!(error.kind(), FaultKind::Storage);
    assert!(error.to_string().contains("has 1 bytes, but its checkpoint says 4"), "{error}");
}

#[test]
fn an_empty_output_is_skipped_or_written_as_a_valid_file() {
    for name in CODECS {
        let world = World::new(&[("main", name), ("other", "other.csv")], |rule, _| {
            rule.outputs.get_mut("main").expect("main").write_empty = true;
        });
        let intent = world.publish(world.start());
        assert_eq!((decoded(&world.path(name)).as_str(), intent.outputs.len()), ("", 1), "{name}");
        assert_eq!(world.names(), [name]);
    }
    let world = World::new(&[("main", "out.csv.gz")], |rule, _| {
        rule.outputs.get_mut("main").expect("main").write_empty = true;
    });
    let mut partials = world.start();
    partials.begin_entry(&entry(0, ""), &[Some(b"a,b\n".to_vec())]).expect("begins");
    world.publish(partials);
    assert_eq!(decoded(&world.path("out.csv.gz")), "a,b\n");
}

#[test]
fn entries_share_an_output_and_its_header_or_have_their_own() {
    let headers = [Some(b"h\n".to_vec()), Some(b"h\n".to_vec())];
    let world = World::new(&[("main", "{entry}"), ("rest", "rest.csv")], |_, _| {});
    let mut partials = world.start();
    for (position, name) in ["one.csv", "dir/two.csv"].into_iter().enumerate() {
        partials.begin_entry(&entry(position as u32, name), &headers).expect("begins");
        world.append(&mut partials, 0, &format!("{name}\n"));
        world.append(&mut partials, 1, &format!("{name}\n"));
    }
    world.publish(partials);
    assert_eq!(world.names(), ["dir_two.csv", "one.csv", "rest.csv"]);
    assert_eq!(decoded(&world.path("one.csv")), "h\none.csv\n");
    assert_eq!(decoded(&world.path("rest.csv")), "h\none.csv\ndir/two.csv\n");
}

#[test]
fn entry_outputs_are_resumed_too() {
    let world = World::one("{entry}.gz");
    let headers = [Some(b"h\n".to_vec())];
    let mut partials = world.start();
    partials.begin_entry(&entry(0, "one"), &headers).expect("begins");
    world.append(&mut partials, 0, "1\n");
    partials.begin_entry(&entry(1, "two"), &headers).expect("begins");
    world.append(&mut partials, 0, "2\n");
    let (states, pending) = partials.checkpoint().expect("checkpoints");
    pending.sync().expect("syncs");
    assert_eq!(states.iter().map(|s| s.ended).collect::<Vec<_>>(), [true, false]);
    drop(partials);
    let mut partials = world.resume(&states).expect("resumes");
    partials.begin_entry(&entry(1, "two"), &headers).expect("begins again");
    world.append(&mut partials, 0, "3\n");
    partials.begin_entry(&entry(2, "three"), &headers).expect("begins");
    world.append(&mut partials, 0, "4\n");
    world.publish(partials);
    assert_eq!(world.names(), ["one.gz", "three.gz", "two.gz"]);
    assert_eq!(decoded(&world.path("one.gz")), "h\n1\n");
    assert_eq!(decoded(&world.path("two.gz")), "h\n2\n3\n");
    assert_eq!(decoded(&world.path("three.gz")), "h\n4\n");
}

#[test]
fn a_differing_header_and_meeting_paths_are_input_errors_that_name_both_entries() {
    let world = World::one("out.csv");
    let mut partials = world.start();
    partials.begin_entry(&entry(0, "one"), &[Some(b"a\n".to_vec())]).expect("begins");
    partials.begin_entry(&entry(1, "empty"), &[None]).expect("an entry without a header has none to differ");
    let error = partials.begin_entry(&entry(2, "two"), &[Some(b"b\n".to_vec())]).expect_err("refuses");
    assert_eq!(error.kind(), FaultKind::Input);
    assert!(error.to_string().contains("`two`") && error.to_string().contains("`one`"), "{error}");

    let world = World::one("{entry_stem}.txt");
    let mut partials = world.start();
    partials.begin_entry(&entry(0, "a.csv"), &[None]).expect("begins");
    world.append(&mut partials, 0, "1\n");
    partials.begin_entry(&entry(1, "a.txt"), &[None]).expect("begins");
    let error = partials.append(0, world.plan.encode(0, b"2\n".to_vec(), 1)).expect_err("refuses");
    assert_eq!(error.kind(), FaultKind::Input);
    partials.discard().expect("discards");
    assert_eq!(world.names(), Vec::<String>::new());
}

#[test]
fn two_categories_in_one_path_are_an_error_never_numbered() {
    let world = World::new(&[("main", "{stem}.csv"), ("other", "pay.csv")], |_, _| {});
    let mut partials = world.start();
    partials.begin_entry(&entry(0, ""), &[None, None]).expect("begins");
    world.append(&mut partials, 0, "1\n");
    let error = partials.append(1, world.plan.encode(1, b"2\n".to_vec(), 1)).expect_err("refuses");
    assert_eq!(error.kind(), FaultKind::Config);
}

/// The steps of the engine, one after another.
fn finish(partials: &mut Partials) -> Result<Vec<FinishedOutput>, OutputError> {
    partials.end()?;
    partials.sync_files()?;
    partials.sync_folders(&mut FolderRound::default())?;
    partials.finished()
}

fn roll_forward(world: &World, intent: &mut Intent) -> Result<RolledForward, OutputError> {
    let renamed = intent.rename_outputs(&world.rule, &world.job, &|_| false)?;
    if renamed == RolledForward::Done {
        intent.sync_folders(&mut FolderRound::default())?;
    }
    Ok(renamed)
}

fn finished(world: &World) -> Vec<FinishedOutput> {
    let mut partials = world.start();
    partials.begin_entry(&entry(0, ""), &vec![None; world.plan.outputs().len()]).expect("begins");
    for category in 0..world.plan.outputs().len() {
        world.append(&mut partials, category, &format!("{category}\n"));
    }
    finish(&mut partials).expect("finishes")
}

#[test]
fn a_taken_name_is_numbered_refused_or_replaced_as_the_rule_says() {
    for (on_exists, names) in [
        (OnExists::Number, vec!["pay-1.csv", "pay-2.csv", "pay.csv"]),
        (OnExists::Replace, vec!["pay-1.csv", "pay.csv"]),
        (OnExists::Fail, vec![]),
    ] {
        let world = World::new(&[("main", "{name}")], |rule, _| {
            rule.outputs.get_mut("main").expect("main").on_exists = on_exists;
        });
        fs::write(world.path("pay.csv"), "old").expect("writes");
        fs::write(world.path("pay-1.csv"), "old").expect("writes");
        let chosen = Intent::choose(&world.rule, &world.job, finished(&world), &|_| false);
        if on_exists == OnExists::Fail {
            assert_eq!(chosen.expect_err("refuses").kind(), FaultKind::Input);
            assert_eq!(fs::read(world.path("pay.csv")).expect("reads"), b"old");
            continue;
        }
        let mut intent = chosen.expect("chooses");
        assert_eq!(roll_forward(&world, &mut intent).expect("rolls"), RolledForward::Done);
        assert_eq!(world.names(), names);
        assert_eq!(fs::read(intent.outputs[0].output.path.as_path()).expect("reads"), b"0\n");
    }
}

/// Goal: a crash at any step of publishing ends in each output published once.
/// Method: with three outputs, do the first n renames as a run that is killed would, then roll forward; consumers may have taken outputs.
#[test]
fn rolling_forward_finishes_what_any_crash_began() {
    for done in 0..=3 {
        for consumed in [false, true] {
            let world = World::new(&[("a", "a.csv"), ("b", "sub/b.csv"), ("c", "c.csv")], |_, _| {});
            let mut intent =
                Intent::choose(&world.rule, &world.job, finished(&world), &|_| false).expect("chooses");
            intent = intent.begun().into_owned(); // as the next start reads it
            for output in &intent.outputs[..done] {
                fs::rename(output.hidden.path.as_path(), output.output.path.as_path()).expect("renames");
                if consumed {
                    fs::remove_file(output.output.path.as_path()).expect("consumes");
                }
            }
            for _ in 0..2 {
                assert_eq!(roll_forward(&world, &mut intent).expect("rolls"), RolledForward::Done);
            }
            for (position, output) in intent.outputs.iter().enumerate() {
                let there = fs::read_to_string(output.output.path.as_path()).ok();
                let expected = (position >= done || !consumed).then(|| format!("{position}\n"));
                assert_eq!(there, expected, "{done} renamed, consumed: {consumed}");
                assert!(fs::metadata(output.hidden.path.as_path()).is_err(), "no partial is left");
            }
        }
    }
}

#[test]
fn a_name_taken_after_the_intent_is_chosen_anew_and_never_overwritten() {
    let world = World::new(&[("a", "a.csv"), ("b", "b.csv.gz")], |_, _| {});
    let mut intent = Intent::choose(&world.rule, &world.job, finished(&world), &|_| false).expect("chooses");
    for round in 0..2 {
        fs::write(intent.outputs[1].output.path.as_path(), "theirs").expect("writes");
        assert_eq!(roll_forward(&world, &mut intent).expect("rolls"), RolledForward::ChoseAgain, "{round}");
    }
    assert_eq!(roll_forward(&world, &mut intent).expect("rolls"), RolledForward::Done);
    assert_eq!(world.names(), ["a.csv", "b-1.csv.gz", "b-2.csv.gz", "b.csv.gz"]);
    assert_eq!(decoded(&world.path("b-2.csv.gz")), "1\n");
    assert_eq!(fs::read(world.path("b-1.csv.gz")).expect("reads"), b"theirs");
}

#[test]
fn a_folder_that_is_gone_is_an_error_and_does_not_count_as_published() {
    let world = World::one("sub/a.csv");
    let mut intent = Intent::choose(&world.rule, &world.job, finished(&world), &|_| false).expect("chooses");
    fs::rename(world.path("sub"), world.path("unmounted")).expect("renames");
    assert_eq!(roll_forward(&world, &mut intent).expect_err("refuses").kind(), FaultKind::Storage);
    fs::rename(world.path("unmounted"), world.path("sub")).expect("renames");
    assert_eq!(roll_forward(&world, &mut intent).expect("rolls"), RolledForward::Done);
}

#[test]
fn an_encrypted_output_is_read_by_its_key_and_cannot_be_continued() {
    let key = age::x25519::Identity::generate();
    let world = World::new(&[("main", "out.csv.gz.age")], |rule, _| {
        let output = rule.outputs.get_mut("main").expect("main");
        output.recipients = vec![key.to_public().to_string()];
        output.sha256 = true;
    });
    assert!(!world.plan.resumable());
    let mut partials = world.start();
    partials.begin_entry(&entry(0, ""), &[None]).expect("begins");
    let expected: String = (0..30).map(text).collect();
    (0..30).for_each(|slice| world.append(&mut partials, 0, &text(slice)));
    assert_eq!(partials.checkpoint().err().expect("refuses").kind(), FaultKind::Bug);
    let intent = world.publish(partials);
    let sealed = fs::read(world.path("out.csv.gz.age")).expect("reads");
    assert_eq!(intent.outputs[0].output.sha256.as_deref().map(str::len), Some(64));
    let gzip = age::decrypt(&key, &sealed).expect("decrypts");
    let mut read = String::new();
    flate2::bufread::GzDecoder::new(gzip.as_slice()).read_to_string(&mut read).expect("gzip");
    assert!(read == expected);
}

#[test]
fn recipients_and_suffix_must_agree() {
    let refused = |path: &str, recipients: &[&str]| {
        let mut rule = rule(&[("main", path.into())]);
        let output = rule.outputs.get_mut("main").expect("main");
        output.recipients = recipients.iter().map(|r| (*r).to_owned()).collect();
        let error = OutputPlan::build(&rule, &[Category::main()]).err().expect("refuses");
        assert_eq!(error.kind(), FaultKind::Config);
        assert!(error.hint().is_some());
        error.to_string()
    };
    let key = age::x25519::Identity::generate().to_public().to_string();
    assert!(refused("/o/out.csv.age", &[]).contains("no recipients"));
    assert!(refused("/o/out.csv", &[&key]).contains("does not end in `.age`"));
    assert!(refused("/o/out.csv.age", &["age1nonsense"]).contains("`age1nonsense` is no age recipient"));
    assert!(!refused("/o/out.csv.age", &["AGE-SECRET-KEY-1QQQ"]).contains("QQQ"));
    let unknown = OutputPlan::build(&rule(&[]), &[Category::main()]).err().expect("refuses");
    assert!(unknown.to_string().contains("category `main` has no output"));
}

#[cfg(unix)]
#[test]
fn outputs_have_the_mode_of_the_rule_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new(&[("main", "out.csv")], |rule, _| {
        rule.outputs.get_mut("main").expect("main").mode = 0o666;
    });
    let mut intent = Intent::choose(&world.rule, &world.job, finished(&world), &|_| false).expect("chooses");
    roll_forward(&world, &mut intent).expect("rolls");
    assert_eq!(fs::metadata(world.path("out.csv")).expect("there").permissions().mode() & 0o777, 0o666);
}

#[test]
fn a_run_after_a_crash_without_a_checkpoint_leaves_nothing_behind() {
    let mut world = World::new(&[("main", "out.csv"), ("other", "other.csv")], |_, _| {});
    drop(finished(&world));
    world.job.attempts = 2;
    remove_partials(&world.rule, &world.job, &[]).expect("clears");
    let mut partials = world.start();
    partials.begin_entry(&entry(0, ""), &[None, None]).expect("begins");
    world.append(&mut partials, 0, "1\n");
    world.publish(partials);
    assert_eq!(world.names(), ["out.csv"]);
    assert_eq!(decoded(&world.path("out.csv")), "1\n");
}

#[test]
fn the_path_that_is_shown_is_the_path_that_is_used() {
    let world = World::one("{sender}/{entry_stem}.csv.gz");
    let shown =
        final_path(&world.rule, &world.job, &Category::main(), Some(&"x/y.csv".into())).expect("renders");
    assert_eq!(shown, world.path("acme/x_y.csv.gz"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(32))]
    #[test]
    fn any_chunks_make_one_gzip_member(chunks in proptest::collection::vec(proptest::collection::vec(0..4u8, 0..9000), 0..8)) {
        let world = World::new(&[("main", "out.gz")], |rule, _| {
            rule.outputs.get_mut("main").expect("main").write_empty = true;
        });
        let mut partials = world.start();
        partials.begin_entry(&entry(0, ""), &[None]).expect("begins");
        for chunk in &chunks {
            partials.append(0, world.plan.encode(0, chunk.clone(), 1)).expect("appends");
        }
        world.publish(partials);
        proptest::prop_assert!(decoded(&world.path("out.gz")).into_bytes() == chunks.concat());
    }
}
