//! What the pipeline promises, through its public interface.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Pipeline, PipelineProblem, PipelineWorker, Registry, SliceResult};
use crate::model::category::Category;
use crate::model::job_id::JobId;
use crate::model::rule::{
    Csv, Decode, Errors, Fixed, FixedField, Format, Limit, LineEnd, Mode, OnBadEncoding, OnExists, OnMisfit,
    OnRecordError, OnSuccess, Order, Output, Publish, Ready, ReadyStrategy, Records, Rule, SourceEnd,
    StepSpec, TrustClose,
};
use crate::model::slice::{EntryShape, Slice, Span};

mod exec;
mod runner;
mod shapes;
mod steps;
mod trace;
mod written;

fn csv() -> Format {
    Format::Csv(Csv {
        header: true,
        columns: Vec::new(),
        delimiter: b',',
        quote: Some(b'"'),
        escape: None,
        columns_max: 10_000,
    })
}

fn fixed(fields: &[(&str, u32)]) -> Format {
    let fields =
        fields.iter().map(|(name, width)| FixedField { name: (*name).to_owned(), width: *width }).collect();
    Format::Fixed(Fixed { fields, record_length: None, on_misfit: OnMisfit::default() })
}

fn output() -> Output {
    Output {
        path: "/out/{category}".into(),
        on_exists: OnExists::Number,
        is_in_store: false,
        is_sealed: false,
        write_empty: true,
        max: None,
        header: true,
        line_end: LineEnd::Lf,
        annotate: false,
        recipients: Vec::new(),
        recipients_file: None,
        sha256: false,
        mode: 0o640,
    }
}

fn rule(format: Format, outputs: &[&str], steps: &[Value]) -> Rule {
    let spec = |step: &Value| {
        let mut params = step.as_object().expect("a table").clone();
        let name = params.remove("step").expect("a step");
        let on = params.remove("on").unwrap_or_else(|| json!(["main"]));
        StepSpec {
            step: name.as_str().expect("a name").to_owned(),
            on: serde_json::from_value(on).expect("categories"),
            params,
        }
    };
    Rule {
        name: "test".into(),
        mode: Mode::Live,
        paths: Vec::new().into(),
        exclude: Vec::new().into(),
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
            stable_for: Duration::from_secs(1),
            linger: Duration::ZERO,
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
            layers: Vec::new(),
            require_encrypted: false,
            require_signed: false,
            signers: Vec::new(),
            identities: Vec::new(),
            passphrase_file: None,
            symmetric_encryption: Vec::new(),
            entries: Vec::new(),
            entries_max: 1,
            depth_max: 1,
            expanded_max: 1,
            ratio_max: 1,
            time_max: std::time::Duration::MAX,
            work_factor_max: 18,
            encoding: "utf-8".into(),
            on_bad_encoding: OnBadEncoding::Fail,
        },
        records: Records { format, skip_lines: 0, record_max: 8 << 20, slice_records: 1000, separator: None },
        pipeline: steps.iter().map(spec).collect(),
        outputs: outputs.iter().map(|name| (Category::new(name), output())).collect::<BTreeMap<_, _>>(),
        publish: Publish::default(),
        errors: Errors {
            on_record_error: OnRecordError::SetAside,
            failed_max: Limit::Percent(1.0),
            attempts: 3,
            stop_after: None,
        },
        source: SourceEnd {
            on_success: OnSuccess::Keep,
            archive_dir: None,
            archive_keep: None,
            archive_owner: crate::model::rule::ArchiveOwner::Service,
            on_complete: crate::model::rule::OnComplete::Keep,
            claim_dir: None,
            quarantine_dir: None,
        },
        delivery: None,
        base_dir: std::env::temp_dir(),
        timezone: "UTC".into(),
        overriding: None,
        stands_for: None,
        compare: None,
        pace: crate::model::pace::Pace::default(),
    }
}

fn shape(columns: &[&str]) -> Arc<EntryShape> {
    let names = columns.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    Arc::new(EntryShape {
        columns: (!columns.is_empty()).then(|| Arc::new(names)),
        header: (!columns.is_empty()).then(|| Arc::new(columns.join(",").into_bytes())),
        ..EntryShape::default()
    })
}

/// A slice of these lines, each ended by `\n`.
fn slice(lines: &[&str]) -> Slice {
    let (mut bytes, mut records) = (Vec::new(), Vec::new());
    for line in lines {
        let start = bytes.len() as u32;
        bytes.extend_from_slice(line.as_bytes());
        records.push(Span { start, end: bytes.len() as u32 });
        bytes.push(b'\n');
    }
    Slice {
        number: 0,
        entry: 0,
        first_record: 1,
        offset: 0,
        first_line: 1,
        bytes: bytes.into(),
        records,
        skipped: 0,
        oversized: None,
        places: Vec::new(),
    }
}

fn built(rule: &Rule) -> Arc<Pipeline> {
    match Pipeline::build(rule, &Registry::with_builtin_steps()) {
        Ok(pipeline) => Arc::new(pipeline),
        Err(problems) => panic!("{problems:#?}"),
    }
}

fn problems(rule: &Rule) -> Vec<PipelineProblem> {
    Pipeline::build(rule, &Registry::with_builtin_steps()).err().unwrap_or_default()
}

/// Problems as `key: message (hint)`.
fn shown(rule: &Rule) -> Vec<String> {
    let show = |problem: PipelineProblem| match problem.hint {
        Some(hint) => format!("{}: {} ({hint})", problem.key.join("."), problem.message),
        None => format!("{}: {}", problem.key.join("."), problem.message),
    };
    problems(rule).into_iter().map(show).collect()
}

fn worker(rule: &Rule) -> PipelineWorker {
    built(rule).worker(JobId::from_parts(1, 1))
}

fn run(rule: &Rule, columns: &[&str], lines: &[&str]) -> SliceResult {
    let result = worker(rule).run(&slice(lines), &shape(columns)).expect("a result");
    assert_eq!(result.account.balance(), Ok(()));
    result
}

/// What came out in each category.
fn texts(rule: &Rule, result: &SliceResult) -> BTreeMap<String, String> {
    let names = rule.outputs.keys().map(ToString::to_string);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    names
        .zip(result.chunks.iter().map(|chunk| text(&chunk.bytes)))
        .filter(|(_, text)| !text.is_empty())
        .collect()
}

fn outcome(rule: &Rule, columns: &[&str], lines: &[&str]) -> BTreeMap<String, String> {
    texts(rule, &run(rule, columns, lines))
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}
