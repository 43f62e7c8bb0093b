//! A job as spans: OTLP in its JSON encoding (ids in hexadecimal, moments as texts of nanoseconds).

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::model::job::{Job, Moment};
use crate::model::job_state::JobState;
use crate::model::os_text::OsText;

const KIND_INTERNAL: u32 = 1;
const STATUS_OK: u32 = 1;
const STATUS_ERROR: u32 = 2;

/// A whole request of the spans of some jobs.
pub(super) fn request(jobs: &[Value]) -> Value {
    let spans: Vec<&Value> = jobs.iter().filter_map(Value::as_array).flatten().collect();
    let version = env!("CARGO_PKG_VERSION");
    json!({ "resourceSpans": [{
        "resource": { "attributes": [text("service.name", "landfall"), text("service.version", version)] },
        "scopeSpans": [{ "scope": { "name": "landfall", "version": version }, "spans": spans }],
    }] })
}

/// The trace of a job that ended: one span for all of it, and one for each state that it was in since it was last begun anew. The id of the
/// trace is the job's, so that one that is retried stays one trace.
pub(super) fn of_job(job: &Job) -> Vec<Value> {
    let moments = since_begun(&job.timeline);
    let begun = moments.first().map_or(job.created_at, |first| first.at);
    let ended = job.finished_at.unwrap_or(begun).max(begun);
    let ids = Ids { job, ended };
    let root = ids.span(0);
    let state = job.state.get();
    let status = match &job.error {
        _ if state == JobState::Completed => json!({ "code": STATUS_OK }),
        Some(error) => json!({ "code": STATUS_ERROR, "message": error.message }),
        None => {
            let why =
                job.timeline.last().map(|last| last.detail.as_str()).filter(|detail| !detail.is_empty());
            json!({ "code": STATUS_ERROR, "message": why.unwrap_or(state.as_str()) })
        }
    };
    let mut spans = vec![json!({
        "traceId": ids.trace(), "spanId": root, "name": format!("job {}", job.rule), "kind": KIND_INTERNAL,
        "startTimeUnixNano": nanoseconds(begun), "endTimeUnixNano": nanoseconds(ended),
        "attributes": attributes(job), "status": status,
    })];
    for (number, (from, until)) in (1..).zip(stays(moments, ended)) {
        let mut span = json!({
            "traceId": ids.trace(), "spanId": ids.span(number), "parentSpanId": root,
            "name": from.state.to_string(), "kind": KIND_INTERNAL,
            "startTimeUnixNano": nanoseconds(from.at), "endTimeUnixNano": nanoseconds(until),
        });
        if !from.detail.is_empty() {
            span["attributes"] = json!([text("landfall.detail", &from.detail)]);
        }
        spans.push(span);
    }
    spans
}

/// Those behind the end before the last one.
fn since_begun(timeline: &[Moment]) -> &[Moment] {
    let last = timeline.len().saturating_sub(1);
    let before = timeline.get(..last).unwrap_or_default();
    let begin = before.iter().rposition(|moment| moment.state.is_final()).map_or(0, |at| at + 1);
    timeline.get(begin..).unwrap_or_default()
}

/// Each state that a job stayed in, with the moment that began it, and until when.
fn stays(moments: &[Moment], ended: Timestamp) -> impl Iterator<Item = (&Moment, Timestamp)> {
    let begins = (0..moments.len()).filter(|at| {
        let before = at.checked_sub(1).and_then(|before| moments.get(before));
        before.map(|moment| moment.state) != moments.get(*at).map(|moment| moment.state)
    });
    let begins: Vec<_> = begins.filter_map(|at| moments.get(at)).collect();
    let ends: Vec<_> = begins.iter().skip(1).map(|next| next.at).chain([ended]).collect();
    // A clock that was set back makes none end before it began.
    let stays = begins.into_iter().zip(ends).filter(|(from, _)| !from.state.is_final());
    stays.map(|(from, until)| (from, until.max(from.at)))
}

struct Ids<'a> {
    job: &'a Job,
    ended: Timestamp,
}

impl Ids<'_> {
    fn trace(&self) -> String {
        hexadecimal(&self.job.id.to_bytes())
    }

    /// Others where the job ends once more.
    fn span(&self, number: u32) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.job.id.to_bytes()).update(&self.ended.as_nanosecond().to_be_bytes());
        hasher.update(&number.to_be_bytes());
        hexadecimal(hasher.finalize().as_bytes().get(..8).unwrap_or_default())
    }
}

fn attributes(job: &Job) -> Vec<Value> {
    let account = &job.account;
    let mut attributes = vec![
        text("landfall.job", &job.id.to_string()),
        text("landfall.rule", &job.rule),
        text("landfall.state", &job.state.to_string()),
        text("landfall.source", &job.source.path.to_string()),
        count("landfall.source.bytes", job.source.identity.size),
        count("landfall.bytes.decoded", job.bytes_decoded),
        count("landfall.records.in", account.records_in),
        count("landfall.records.written", account.records_written()),
        count("landfall.records.dropped", account.records_dropped()),
        count("landfall.records.failed", account.records_failed),
        count("landfall.outputs", job.outputs.len() as u64),
        count("landfall.attempts", job.attempts.into()),
    ];
    let sender = job.vars.get("sender").map(OsText::to_string);
    attributes.extend(sender.map(|sender| text("landfall.sender", &sender)));
    attributes.extend(job.parent.map(|parent| text("landfall.parent", &parent.to_string())));
    attributes
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Integers of 64 bits are texts there.
fn count(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn nanoseconds(at: Timestamp) -> String {
    at.as_nanosecond().max(0).to_string()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        write!(text, "{byte:02x}").ok(); // writing to a string cannot fail
        text
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::model::job_view::tests::sample_job;

    fn moment(second: i64, state: JobState) -> Moment {
        Moment { at: Timestamp::from_second(second).expect("is one"), state, detail: String::new() }
    }

    fn names(spans: &[Value]) -> Vec<(&str, u64)> {
        let second = |span: &Value, key: &str| {
            span[key].as_str().expect("a text").parse::<u64>().expect("a number") / 1_000_000_000
        };
        spans
            .iter()
            .map(|span| {
                let took = second(span, "endTimeUnixNano") - second(span, "startTimeUnixNano");
                (span["name"].as_str().expect("has one"), took)
            })
            .collect()
    }

    #[test]
    fn a_job_is_one_span_with_one_below_it_for_each_state_that_it_was_in() {
        let mut job = sample_job();
        job.timeline = vec![
            moment(10, JobState::Queued),
            moment(13, JobState::Running),
            moment(14, JobState::Running),
            moment(20, JobState::Publishing),
            moment(21, JobState::Retiring),
            moment(22, JobState::Completed),
        ];
        job.finished_at = job.timeline.last().map(|last| last.at);
        let spans = of_job(&job);
        let root = format!("job {}", job.rule);
        let expected =
            [(root.as_str(), 12), ("queued", 3), ("running", 7), ("publishing", 1), ("retiring", 1)];
        assert_eq!(names(&spans), expected);
        let ids: BTreeSet<_> = spans.iter().map(|span| span["spanId"].as_str().expect("has one")).collect();
        assert!(ids.len() == spans.len() && ids.iter().all(|id| id.len() == 16), "{ids:?}");
        assert!(spans[1..].iter().all(|span| span["parentSpanId"] == spans[0]["spanId"]));
        assert!(spans.iter().all(|span| span["traceId"] == spans[0]["traceId"]));
        assert_eq!(spans[0]["traceId"].as_str().map(str::len), Some(32));
    }

    #[test]
    fn a_job_that_was_retried_is_told_from_its_last_beginning_under_ids_of_its_own() {
        let mut job = sample_job();
        job.timeline = vec![moment(10, JobState::Queued), moment(12, JobState::Failed)];
        job.finished_at = job.timeline.last().map(|last| last.at);
        let first = of_job(&job);
        job.timeline.extend([moment(50, JobState::Queued), moment(57, JobState::Completed)]);
        job.finished_at = job.timeline.last().map(|last| last.at);
        let second = of_job(&job);
        assert_eq!((names(&first)[0].1, names(&second)[0].1), (2, 7));
        assert_eq!(first[0]["traceId"], second[0]["traceId"]);
        assert_ne!(first[0]["spanId"], second[0]["spanId"]);
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_span_end_before_it_began() {
        let mut job = sample_job();
        job.timeline = vec![moment(50, JobState::Queued), moment(20, JobState::Running)];
        job.finished_at = Some(Timestamp::from_second(30).expect("is one"));
        assert!(of_job(&job).iter().all(|span| {
            let nanoseconds = |key: &str| span[key].as_str().and_then(|text| text.parse::<u64>().ok());
            nanoseconds("startTimeUnixNano") <= nanoseconds("endTimeUnixNano")
        }));
    }
}
