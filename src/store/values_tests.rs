//! Every kind of value comes back as it was; those that an earlier version wrote stay readable.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::tests::{at, checkpoint, completed, failed, id, identity, job, ledger_row, rule, slice};
use super::*;
use crate::model::account::FailedRecord;
use crate::model::category::Category;
use crate::model::fault::{FaultKind, JobError, WaitsFor};
use crate::model::identity::FolderIdentity;
use crate::model::job::{Companion, Job, PublishedOutput, Waiting};
use crate::model::job_id::JobId;
use crate::model::os_text::OsText;
use crate::model::rule::Rule;
use crate::output::{EntryName, FinishedOutput, HeaderState, Hidden, Intent};

fn encoded<T: Serialize>(row: &T) -> Vec<Vec<u8>> {
    value::encode("row", row).expect("encodes").into_iter().map(Vec::from).collect()
}

fn decoded<T: DeserializeOwned>(values: &[Vec<u8>]) -> Result<T, StoreError> {
    let head = value::read_head("row", values.first().expect("a head"))?;
    value::decode("row", &head, |index| Ok(values.get(index as usize)))
}

fn comes_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(row: &T) {
    let values = encoded(row);
    assert!(values.iter().all(|value| value.len() <= backend::VALUE_BYTES_MAX));
    assert_eq!(&decoded::<T>(&values).expect("decodes"), row);
}

/// A job with something in every field.
fn full_job(text: &str, number: u64) -> Job {
    let mut job = completed(number);
    job.vars.insert("sender".into(), OsText::from(text));
    job.source.claimed = Some(OsText::from(text));
    job.source.claim_folder = Some(folder_identity());
    job.source.companions =
        vec![Companion { is_of_folder: true, ..Companion::found(text, identity(number)) }];
    job.waiting =
        Some(Waiting { behind: None, waits_for: WaitsFor::Disk, until: Some(at(3)), detail: text.into() });
    job.content_hash = Some(format!("blake3:{number:064x}"));
    job.account.records_out.insert(Category::main(), number);
    job.account.reasons.insert(text.to_owned(), number);
    job.account.dropped_by.insert("pipeline[0] filter".into(), 1);
    job.entries = checkpoint(2).entries;
    job.outputs = vec![output(text)];
    job.retired_to = Some(OsText::from(text));
    job.error = Some(JobError { kind: FaultKind::Storage, message: text.into(), hint: Some("look".into()) });
    job
}

fn output(text: &str) -> PublishedOutput {
    PublishedOutput {
        category: Category::new("invalid"),
        entry: Some(text.to_owned()),
        path: text.into(),
        records: 3,
        bytes: 40,
        sha256: Some("00".repeat(32)),
    }
}

fn folder_identity() -> FolderIdentity {
    serde_json::from_str("{\"device\":1,\"inode\":2,\"created_ns\":3}").expect("the fields of a folder")
}

fn full_checkpoint(text: &str) -> Checkpoint {
    let entry = EntryName { position: 1, name: text.into() };
    let partial = PartialState {
        category: Category::main(),
        entry: Some(entry.clone()),
        hidden: Hidden { path: text.into(), folder: folder_identity(), identity: None },
        length: 10,
        records: 2,
        crc: 77,
        raw_length: 20,
        header: Some(HeaderState { entry, hash: "ab".into() }),
        ended: true,
    };
    Checkpoint { partials: vec![partial], ..checkpoint(2) }
}

fn archived(text: &str) -> ArchivedRow {
    let file =
        |path: &str| ArchivedFile { path: path.into(), identity: identity(4), folder: folder_identity() };
    ArchivedRow { job: id(5), rule: text.into(), at: at(3), files: vec![file(text), file("/archive/a.done")] }
}

fn full_intent(text: &str) -> Intent {
    let finished = FinishedOutput {
        hidden: Hidden { path: text.into(), folder: folder_identity(), identity: Some(identity(4)) },
        wanted: "/out/a".into(),
        output: output(text),
        number: 1,
        renaming: crate::output::Renaming::NotYet,
    };
    Intent {
        outputs: vec![finished],
        manifest: Some("/out/m".into()),
        marker: Some(text.into()),
        ..Intent::default()
    }
}

fn failed_with(bytes: Vec<u8>, text: &str) -> FailedRecord {
    FailedRecord { bytes, entry_name: text.into(), error: text.into(), ..failed(7, 0) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn jobs_and_what_belongs_to_them_come_back_as_they_were(text in ".*", number in 0..1u64 << 40) {
        comes_back(&full_job(&text, number));
        comes_back(&full_checkpoint(&text));
        comes_back(&full_intent(&text));
        comes_back(&archived(&text));
        comes_back(&LedgerRow { path: text.as_str().into(), content_hash: Some(text.clone()), ..ledger_row(number) });
        comes_back(&Mark { store: text, starts: number });
        comes_back(&id(number));
    }

    #[test]
    fn failed_records_of_any_bytes_come_back_as_they_were(
        bytes in prop::collection::vec(any::<u8>(), 0..70_000), text in ".{0,40}",
    ) {
        comes_back(&vec![failed_with(bytes, &text), failed(2, 10)]);
    }

    #[test]
    fn slices_come_back_as_they_were_and_damaged_ones_never_panic(
        number in any::<u32>(), length in 0..70_000usize, at in any::<prop::sample::Index>(), bit in 0..8u8,
    ) {
        let slice = slice(number.into(), length);
        let mut packed = slice_value::pack(&slice).expect("packs");
        prop_assert_eq!(slice_value::unpack(&packed).expect("unpacks"), slice);
        let at = at.index(packed.len());
        packed[at] ^= 1 << bit;
        if at >= 4 { // the length that LZ4 is told: see `a_damaged_length_asks_for_no_memory`
            slice_value::unpack(&packed).ok();
        }
        slice_value::unpack(&packed[..at]).ok();
    }

    #[test]
    fn damaged_values_are_errors(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        decoded::<Job>(std::slice::from_ref(&bytes)).expect_err("no job");
        decoded::<Rule>(&[bytes]).expect_err("no rule");
    }
}

/// What version 1 wrote, one value a line: its kind, then its bytes. `STORE_WRITE_GOLDEN=1 cargo test golden` makes it anew, which only a
/// new version may call for: a field that comes later must have a default.
const GOLDEN: &str = include_str!("testdata/values-v1.txt");

fn golden_rows() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    let mut long = full_job("long", 6);
    long.account.reasons.insert("z".repeat(80_000), 9);
    vec![
        ("job", encoded(&full_job("päy.csv", 5))),
        ("job", encoded(&long)),
        ("queued", encoded(&job(1))),
        ("ledger", encoded(&ledger_row(5))),
        ("kept", encoded(&id(5))),
        ("checkpoint", encoded(&full_checkpoint("/out/.p"))),
        ("intent", encoded(&full_intent("/out/b"))),
        ("failed", encoded(&vec![failed_with(b"1,\xff".to_vec(), "a.csv")])),
        ("rule", encoded(&rule())),
        ("mark", encoded(&Mark { store: "0a".into(), starts: 3 })),
        ("archived", encoded(&archived("/archive/päy.csv"))),
        ("slice", vec![slice_value::pack(&slice(9, 40)).expect("packs")]),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all");
        text
    })
}

fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("digits"), 16).expect("hex"))
        .collect()
}

#[test]
fn golden_values_of_the_first_version_stay_readable() {
    if std::env::var_os("STORE_WRITE_GOLDEN").is_some() {
        let line = |(kind, values): (&str, Vec<Vec<u8>>)| format!("{kind} {}\n", hex(&values.concat()));
        let text: String = golden_rows().into_iter().map(line).collect();
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/store/testdata/values-v1.txt"), text)
            .expect("written");
    }
    let mut kinds = Vec::new();
    for line in GOLDEN.lines() {
        let (kind, bytes) = line.split_once(' ').expect("kind and bytes");
        let values = [from_hex(bytes)];
        match kind {
            "job" => {
                let job = decoded::<Job>(&values).expect("a job");
                assert!(job.source.claimed.is_some() && job.retired_to.is_some() && job.error.is_some());
                assert_eq!(job.state, crate::model::job_state::JobState::Completed);
                assert_eq!((job.entries.len(), job.outputs.len(), job.timeline.len()), (2, 1, 5));
            }
            "queued" => assert_eq!(decoded::<Job>(&values).expect("a job").id, id(1)),
            "ledger" => {
                assert_eq!(decoded::<LedgerRow>(&values).expect("a row").outcome, LedgerOutcome::Claimed);
            }
            "kept" => assert_eq!(decoded::<JobId>(&values).expect("an id"), id(5)),
            "checkpoint" => {
                let found = decoded::<Checkpoint>(&values).expect("a checkpoint");
                assert_eq!((found.framing_version, found.next_slice, found.failed_records), (1, 2, 3));
                assert_eq!((found.partials[0].length, found.partials[0].crc), (10, 77));
            }
            "intent" => assert_eq!(decoded::<Intent>(&values).expect("an intent").outputs[0].number, 1),
            "failed" => {
                let found = decoded::<Vec<FailedRecord>>(&values).expect("records");
                assert_eq!((found[0].record, found[0].bytes.as_slice()), (7, &b"1,\xff"[..]));
            }
            "rule" => assert_eq!(decoded::<Rule>(&values).expect("a rule").name, "payments"),
            "mark" => assert_eq!(decoded::<Mark>(&values).expect("a mark").starts, 3),
            "archived" => {
                assert_eq!(decoded::<ArchivedRow>(&values).expect("a row"), archived("/archive/päy.csv"));
            }
            "slice" => assert_eq!(slice_value::unpack(&values[0]).expect("a slice"), slice(9, 40)),
            other => panic!("no kind of value: {other}"),
        }
        kinds.push(kind);
    }
    let known: Vec<_> = golden_rows().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, known, "every kind of value has its line");
}

#[test]
fn a_damaged_length_asks_for_no_memory() {
    let mut packed = slice_value::pack(&slice(1, 100)).expect("packs");
    packed[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    slice_value::unpack(&packed).expect_err("refused");
    let mut head = encoded(&vec!["z".repeat(80_000)]).remove(0);
    head[6..10].copy_from_slice(&u32::MAX.to_le_bytes());
    decoded::<Vec<String>>(&[head]).expect_err("refused");
}
