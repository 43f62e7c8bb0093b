//! What can be done by a request. Each [`Act`] has its line here, and nothing else: from it come its route, what is taken from the request,
//! and its part of the OpenAPI document. A test compares the lines with the acts that there are. One has none: `hand_over`, for a program
//! that has just written the file and knows its identity.

use serde_json::{Map, Value};

use super::params::{Asked, Kind, Param};
use super::problem::Problem;
use crate::engine::Act;

/// How an act is asked for: `POST /v1/jobs/{job}/NAME` where it is about a job, else `POST /v1/NAME`.
pub(super) struct ActLine {
    /// The act's own name, with `_`.
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) about: &'static str,
    /// Its fields, by their own names.
    pub(super) fields: &'static [Param],
}

pub(super) const JOB: Param =
    Param::path("job", Kind::Text, "a job's id, or at least four characters of its beginning or end");
const KEY: Param = Param::header(
    "idempotency_key",
    Kind::Key,
    "a text of your own, like a UUID: who asks again with the same one is answered the job that was made the first time",
);
const RECORDS: Param =
    Param::body("records", Kind::Records, "`all` that are left, or numbers of failed records like 3,5-9");
const FILE: Param = Param::body("path", Kind::FilePath, "a file's absolute path on the service's machine");

pub(super) const ACTS: &[ActLine] = &[
    ActLine {
        name: "retry",
        path: "/v1/jobs/{job}/retry",
        about: "Take a failed or refused job from its source again, under the current rule; one whose failed records were decided on by that, under the rule that it was claimed under",
        fields: &[
            JOB,
            Param::body(
                "forgets_decisions",
                Kind::Bool,
                "true: what was decided on its failed records does not count any more",
            )
            .optional(),
            Param::body(
                "same_rule",
                Kind::Bool,
                "true: not under the current rule, but under the one that it went by before",
            )
            .optional(),
        ],
    },
    ActLine {
        name: "accept_missing",
        path: "/v1/jobs/{job}/accept-missing",
        about: "Let a job go on publishing without hidden outputs that somebody removed",
        fields: &[JOB],
    },
    ActLine {
        name: "set",
        path: "/v1/jobs/{job}/set",
        about: "Have a job go before others, or behind them",
        fields: &[JOB, Param::body("priority", Kind::Integer(1, 100), "the lower goes first")],
    },
    ActLine {
        name: "set_workers",
        path: "/v1/jobs/{job}/set-workers",
        about: "Limit the workers that a job has at once",
        fields: &[JOB, Param::body("workers_max", Kind::Integer(0, 4_294_967_295), "0: no limit of its own")],
    },
    ActLine {
        name: "pause",
        path: "/v1/jobs/{job}/pause",
        about: "Stop a job until it is resumed",
        fields: &[JOB],
    },
    ActLine {
        name: "resume",
        path: "/v1/jobs/{job}/resume",
        about: "Let a paused job go on",
        fields: &[JOB],
    },
    ActLine {
        name: "abort",
        path: "/v1/jobs/{job}/abort",
        about: "End a job of which nothing is published; its source goes to quarantine",
        fields: &[JOB],
    },
    ActLine {
        name: "rerun",
        path: "/v1/jobs/{job}/rerun",
        about: "Take a completed job again from where its source is kept, as a new job, which is answered",
        fields: &[JOB, KEY],
    },
    ActLine {
        name: "abandon",
        path: "/v1/jobs/{job}/abandon",
        about: "End a job that waits for what never comes back, or that failed, as it stands",
        fields: &[JOB, Param::body("reason", Kind::Reason, "why, for the job's history")],
    },
    ActLine {
        name: "drop_records",
        path: "/v1/jobs/{job}/drop-records",
        about: "Give failed records up, of a job that is completed or waits for them",
        fields: &[JOB, RECORDS, Param::body("reason", Kind::Reason, "why, for the job's account")],
    },
    ActLine {
        name: "retry_records",
        path: "/v1/jobs/{job}/retry-records",
        about: "Have failed records taken again: by a new job, or with the one that waits for them; that is answered",
        fields: &[JOB, RECORDS],
    },
    ActLine {
        name: "edit_record",
        path: "/v1/jobs/{job}/edit-record",
        about: "Have one failed record taken again as it is given here: by a new job, or with the one that waits for it; that is answered",
        fields: &[
            JOB,
            Param::body("number", Kind::Integer(1, u64::MAX >> 1), "the record's place in the list"),
            Param::body("data_bytes", Kind::Bytes, "what it is to be, without a line end, in Base64"),
        ],
    },
    ActLine {
        name: "ingest",
        path: "/v1/ingest",
        about: "Take a file under a rule, now",
        fields: &[
            FILE,
            Param::body("rule", Kind::Text, "the rule's name"),
            Param::body(
                "retire",
                Kind::Bool,
                "true: it is claimed and ends as the rule says; else it stays as it is",
            ),
        ],
    },
    ActLine {
        name: "adopt",
        path: "/v1/adopt",
        about: "Have a file that lies there never taken, as long as it is the same",
        fields: &[FILE],
    },
    ActLine { name: "give_up", path: "/v1/give-up", about: "Take an adoption back", fields: &[FILE] },
];

impl ActLine {
    /// The act with what was asked.
    pub(super) fn act(&self, asked: &Asked) -> Result<Act, Problem> {
        let fields: Map<String, Value> =
            asked.all().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        let act = Value::from(Map::from_iter([(self.name.to_owned(), Value::from(fields))]));
        serde_json::from_value(act).map_err(|error| {
            Problem::bad_request(format!("it cannot be done so: {error}"), "see /openapi.json")
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::params::Place;
    use super::*;

    /// The names that the deserializer knows stand in its refusal of another one.
    fn names_of_acts() -> BTreeSet<String> {
        let error = serde_json::from_str::<Act>("{\"nothing\":{}}").expect_err("no act").to_string();
        error.split('`').skip(3).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn every_act_has_its_line_and_its_fields() {
        let lines: BTreeSet<String> = ACTS.iter().map(|line| line.name.to_owned()).collect();
        let mut acts = names_of_acts();
        assert!(acts.remove("hand_over"), "it is there, and for programs alone");
        assert_eq!(lines, acts, "give a new act its line in `ACTS`");
        for line in ACTS {
            let value = |field: &Param| match field.kind {
                Kind::Integer(min, _) => Value::from(min),
                Kind::Bool => Value::from(true),
                Kind::Word(words) => Value::from(words[0]),
                Kind::Records => Value::from("3-3,5-9"),
                Kind::Bytes => Value::from("MSxh"),
                Kind::FilePath if cfg!(windows) => Value::from("C:\\in\\a.csv"),
                _ => Value::from("/in/a.csv"),
            };
            let headers = line.fields.iter().filter(|field| field.place == Place::Header);
            let headers = headers
                .map(|field| (field.written().parse().expect("a name"), "a-1".parse().expect("a value")));
            let headers = headers.collect::<axum::http::HeaderMap>();
            let path = line.fields.iter().filter(|field| field.place == Place::Path);
            let path: Vec<_> = path.map(|field| (field.name, "01ab")).collect();
            let body = line.fields.iter().filter(|field| field.place == Place::Body);
            let body: Map<_, _> = body.map(|field| (field.name.to_owned(), value(field))).collect();
            let body = serde_json::to_vec(&body).expect("JSON");
            let asked = Asked::read(line.fields, path.iter().copied(), &[], &headers, &body).expect("fits");
            let act = line.act(&asked).unwrap_or_else(|problem| panic!("{}: {problem:?}", line.name));
            let told = serde_json::to_value(&act).expect("JSON");
            let fields: BTreeSet<_> = told[line.name].as_object().expect("an object").keys().collect();
            let lines: BTreeSet<_> = line.fields.iter().map(|field| field.name.to_owned()).collect();
            assert_eq!(fields, lines.iter().collect(), "{}", line.name);
        }
    }
}
