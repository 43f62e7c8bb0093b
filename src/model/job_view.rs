//! A job as it is shown in JSON: to scripts, in manifests and beside quarantined sources.
//!
//! The names, their order and their meaning are a promise to users; fields may be added at the end. What is stored is
//! [`Job`] itself, which may change with the store's format.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::category::Category;
use super::complete_by::CompleteBy;
use super::deadline::DeadlineReport;
use super::fault::JobError;
use super::job::{Entry, Job, Moment, PublishedOutput, Slices, Waiting};
use super::job_id::JobId;
use super::job_state::JobState;
use super::os_text::OsText;
use super::priority::Priority;
use super::throughput::Reached;

/// Of the JSON around lists of jobs and records.
pub(crate) const VIEW_VERSION: u32 = 1;

/// A job's JSON: serialize it. A view and no `serde_json::Value`, which would sort the fields by name.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct JobView<'a> {
    id: JobId,
    rule: &'a str,
    rule_hash: &'a str,
    vars: BTreeMap<&'a str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    vars_bytes: BTreeMap<&'a str, String>,
    parent: Option<JobId>,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    source_bytes: Option<String>,
    state: JobState,
    waiting: Option<&'a Waiting>,
    priority: Priority,
    workers_max: u32,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    bytes_read: u64,
    bytes_decoded: u64,
    content_hash: Option<&'a str>,
    records_in: u64,
    #[serde(serialize_with = "main_first")]
    records_out: &'a BTreeMap<Category, u64>,
    records_dropped: u64,
    records_failed: u64,
    records_skipped: u64,
    dropped_by: &'a BTreeMap<String, u64>,
    reasons: &'a BTreeMap<String, u64>,
    entries: &'a [Entry],
    slices: Slices,
    attempts: u32,
    outputs: Vec<OutputView<'a>>,
    retired_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retired_to_bytes: Option<String>,
    error: Option<&'a JobError>,
    resumable: bool,
    resumed_at_slice: u64,
    characters_replaced: u64,
    timeline: &'a [Moment],
    resumed_at_record: u64,
    records_again: u64,
    deaths: u32,
    bytes_worked: u64,
    delivery_key: Option<String>,
    revision: Option<u64>,
    duplicate_of: Option<JobId>,
    corrects: Option<JobId>,
    unterminated: bool,
    complete_by: Option<CompleteBy>,
    records_retried: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<&'a DeadlineReport>,
    #[serde(skip_serializing_if = "<[Reached]>::is_empty")]
    throughput: &'a [Reached],
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct OutputView<'a> {
    category: &'a Category,
    entry: Option<&'a str>,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    records: u64,
    bytes: u64,
    sha256: Option<&'a str>,
}

/// The view of a job. `shown_json::to_string_pretty(&job_json(&job))` is what goes into a manifest.
pub(crate) fn job_json(job: &Job) -> JobView<'_> {
    let raw_vars = job.vars.iter().filter_map(|(name, value)| Some((name.as_str(), raw(value)?)));
    JobView {
        id: job.id,
        rule: &job.rule,
        rule_hash: &job.rule_hash,
        vars: job.vars.iter().map(|(name, value)| (name.as_str(), text(value))).collect(),
        vars_bytes: raw_vars.collect(),
        parent: job.parent,
        source: text(&job.source.path),
        source_bytes: raw(&job.source.path),
        state: job.state.get(),
        waiting: job.waiting.as_ref(),
        priority: job.priority,
        workers_max: job.workers_max,
        created_at: job.created_at,
        started_at: job.started_at,
        finished_at: job.finished_at,
        bytes_read: job.bytes_read,
        bytes_decoded: job.bytes_decoded,
        content_hash: job.content_hash.as_deref(),
        records_in: job.account.records_in,
        records_out: &job.account.records_out,
        records_dropped: job.account.records_dropped(),
        records_failed: job.account.records_failed,
        records_skipped: job.account.records_skipped,
        dropped_by: &job.account.dropped_by,
        reasons: &job.account.reasons,
        entries: &job.entries,
        slices: job.slices,
        attempts: job.attempts,
        outputs: job.outputs.iter().map(output_view).collect(),
        retired_to: job.retired_to.as_ref().map(text),
        retired_to_bytes: job.retired_to.as_ref().and_then(raw),
        error: job.error.as_ref(),
        resumable: job.resumable,
        resumed_at_slice: job.resumed_at_slice,
        characters_replaced: job.characters_replaced,
        timeline: &job.timeline,
        resumed_at_record: job.resumed_at_record,
        records_again: job.records_again,
        deaths: job.state.deaths().unwrap_or(0),
        bytes_worked: job.bytes_worked,
        delivery_key: job.delivery.key.as_ref().map(text),
        revision: job.delivery.key.as_ref().map(|_| job.delivery.revision),
        duplicate_of: job.delivery.duplicate_of,
        corrects: job.delivery.corrects,
        unterminated: job.unterminated,
        complete_by: job.source.complete_by,
        records_retried: job.account.records_retried,
        deadline: job.deadline.as_ref(),
        throughput: if job.throughput.is_trivial() { &[] } else { job.throughput.moments() },
    }
}

pub(crate) fn output_view(output: &PublishedOutput) -> OutputView<'_> {
    OutputView {
        category: &output.category,
        entry: output.entry.as_deref(),
        path: text(&output.path),
        path_bytes: raw(&output.path),
        records: output.records,
        bytes: output.bytes,
        sha256: output.sha256.as_deref(),
    }
}

/// A Unicode name as it is: JSON escapes what must be; any other with `\xHH`.
/// A path in JSON: as it is, or, where it is not Unicode, escaped, with its bytes (Base64) beside it.
pub(crate) fn path_json(path: &OsText) -> (String, Option<String>) {
    (text(path), raw(path))
}

fn text(name: &OsText) -> String {
    name.to_str().map_or_else(|| name.to_string(), str::to_owned)
}

/// The JSON of a file that waits to be taken.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FileWaitingView<'a> {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<String>,
    reason: &'a str,
}

/// The JSON of a file that waits to be taken, with the reason.
pub(crate) fn file_waiting_json<'a>(path: &OsText, reason: &'a str) -> FileWaitingView<'a> {
    FileWaitingView { path: text(path), path_bytes: raw(path), reason }
}

/// The bytes of a name that is not Unicode.
fn raw(name: &OsText) -> Option<String> {
    match name.to_str() {
        Some(_) => None,
        None => Some(STANDARD.encode(name.as_os_str().as_encoded_bytes())),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands the field by reference")]
fn main_first<S: Serializer>(counts: &&BTreeMap<Category, u64>, serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(counts.len()))?;
    if let Some(count) = counts.get(Category::MAIN) {
        map.serialize_entry(Category::MAIN, count)?;
    }
    for (category, count) in counts.iter().filter(|(category, _)| category.as_str() != Category::MAIN) {
        map.serialize_entry(category, count)?;
    }
    map.end()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::account::Account;
    use crate::model::deadline::DeadlineState;
    use crate::model::delivery::Delivery;
    use crate::model::fault::{FaultKind, WaitsFor};
    use crate::model::identity::FileIdentity;
    use crate::model::job::{HeldRecords, Source};
    use crate::model::throughput::Throughput;

    /// A job with something in every field.
    pub(crate) fn sample_job() -> Job {
        let at = Timestamp::from_second(1_796_000_000).expect("a time");
        let mut account = Account { records_in: 10, ..Account::default() };
        account.records_out.insert(Category::main(), 8);
        account.records_out.insert(Category::new("invalid"), 2);
        account.reasons.insert("amount: not a decimal".into(), 2);
        let mut throughput = Throughput::default();
        throughput.begin(0, None, at);
        throughput.note(10, at + jiff::SignedDuration::from_secs(1));
        let output = PublishedOutput {
            category: Category::main(),
            entry: None,
            path: OsText::from("/data/out/payments-1.csv"),
            records: 8,
            bytes: 120,
            sha256: None,
        };
        Job {
            id: JobId::from_parts(1_796_000_000_000, 7),
            rule: "payments".into(),
            rule_hash: "blake3:aa".into(),
            vars: BTreeMap::from([("sender".to_owned(), OsText::from("acme"))]),
            source: Source::found(
                OsText::from("/srv/inbox/payments-1.csv.gz"),
                FileIdentity { device: 1, inode: 2, size: 3, mtime_ns: 4, ctime_ns: 5 },
            ),
            state: JobState::Completed.into(),
            priority: Priority::default(),
            workers_max: 0,
            waiting: Some(Waiting {
                behind: None,
                waits_for: WaitsFor::Key,
                until: None,
                detail: "no identity fits".into(),
            }),
            created_at: at,
            due_at: None, // as it is told of another process
            deadline: Some(DeadlineReport {
                at,
                state: DeadlineState::Met,
                expected_at: None,
                detail: String::new(),
            }),
            throughput,
            started_at: Some(at),
            finished_at: None,
            bytes_read: 1,
            bytes_worked: 1,
            bytes_decoded: 2,
            content_hash: Some("blake3:bb".into()),
            characters_replaced: 0,
            unterminated: true,
            account,
            entries: vec![Entry { records: 10, ..Entry::default() }],
            slices: Slices { total: 1, done: 1, failed: 0 },
            epoch: 0,
            attempts: 1,
            resumable: true,
            resumed_at_slice: 0,
            resumed_at_record: 0,
            records_again: 0,
            outputs: vec![output],
            retired_to: Some(OsText::from("/data/archive/payments-1.csv.gz")),
            error: Some(JobError {
                kind: FaultKind::Input,
                message: "cut short".into(),
                hint: Some("send it again".into()),
            }),
            timeline: vec![Moment { at, state: JobState::Queued, detail: "claimed".into() }],
            is_gone: false,
            parent: None,
            reruns: Vec::new(),
            retries: None,
            privacy: crate::model::privacy::Privacy::default(),
            held_records: HeldRecords::default(),
            abandoned: None,
            shadow: None,
            delivery: Delivery {
                key: Some(OsText::from("acme/payments-1")),
                revision: 2,
                corrects: Some(JobId::from_parts(1_795_000_000_000, 1)),
                ..Delivery::default()
            },
        }
    }

    #[test]
    fn the_json_has_the_promised_fields_in_the_promised_order() {
        let id = sample_job().id;
        let expected = format!(
            concat!(
                r#"{{"id":"{id}","rule":"payments","rule_hash":"blake3:aa","vars":{{"sender":"acme"}},"parent":null,"#,
                r#""source":"/srv/inbox/payments-1.csv.gz","state":"completed","#,
                r#""waiting":{{"for":"key","until":null,"detail":"no identity fits"}},"#,
                r#""priority":50,"workers_max":0,"created_at":"{at}","started_at":"{at}","finished_at":null,"#,
                r#""bytes_read":1,"bytes_decoded":2,"content_hash":"blake3:bb","#,
                r#""records_in":10,"records_out":{{"main":8,"invalid":2}},"records_dropped":0,"records_failed":0,"records_skipped":0,"#,
                r#""dropped_by":{{}},"reasons":{{"amount: not a decimal":2}},"entries":[{{"name":"","records":10}}],"#,
                r#""slices":{{"total":1,"done":1,"failed":0}},"attempts":1,"#,
                r#""outputs":[{{"category":"main","entry":null,"path":"/data/out/payments-1.csv","records":8,"bytes":120,"sha256":null}}],"#,
                r#""retired_to":"/data/archive/payments-1.csv.gz","#,
                r#""error":{{"kind":"input","message":"cut short","hint":"send it again"}},"#,
                r#""resumable":true,"resumed_at_slice":0,"characters_replaced":0,"#,
                r#""timeline":[{{"at":"{at}","state":"queued","detail":"claimed"}}],"#,
                r#""resumed_at_record":0,"records_again":0,"deaths":0,"bytes_worked":1,"#,
                r#""delivery_key":"acme/payments-1","revision":2,"duplicate_of":null,"corrects":"{earlier}","unterminated":true,"complete_by":null,"records_retried":0,"#,
                r#""deadline":{{"at":"{at}","state":"met","expected_at":null,"detail":""}},"#,
                r#""throughput":[{{"at":"{at}","records":0}},{{"at":"2026-11-30T00:53:21Z","records":10}}]}}"#,
            ),
            id = id,
            earlier = JobId::from_parts(1_795_000_000_000, 1),
            at = "2026-11-30T00:53:20Z",
        );
        assert_eq!(serde_json::to_string(&job_json(&sample_job())).expect("serializes"), expected);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf8_has_its_bytes_beside_it() {
        use std::os::unix::ffi::OsStringExt as _;
        let name = OsText::new(std::ffi::OsString::from_vec(b"/in/a\xff".to_vec()));
        let mut job = sample_job();
        job.source.path = name.clone();
        job.outputs[0].path = name;
        let json = serde_json::to_value(job_json(&job)).expect("serializes");
        assert_eq!(
            (json["source"].as_str(), json["source_bytes"].as_str()),
            (Some(r"/in/a\xff"), Some("L2luL2H/"))
        );
        assert_eq!(json["outputs"][0]["path_bytes"], "L2luL2H/");
    }
}
