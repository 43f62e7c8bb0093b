//! What can be asked for, as one table: the server and the OpenAPI document are made of it.

use std::collections::BTreeSet;
use std::io::Write;

use super::acts::{ACTS, ActLine, JOB};
use super::params::{Asked, Kind, Param};
use super::pipe::Giver;
use crate::engine::{Door, Engine, JobFilter, Sought, TraceAsked};
use crate::listing::trace::Traced;
use crate::listing::{self, Stop};
use crate::model::halts::{Halting, Scope};
use crate::model::job_id::JobId;
use crate::model::job_state::JobState;
use crate::model::job_view::{VIEW_VERSION, job_json};
use crate::model::pace::Paced;
use crate::model::shown_json;

/// How a request is answered.
pub(super) enum Work {
    /// By the engine, in a thread that may wait for a disk.
    Ask(fn(&dyn Door, &Asked, &mut dyn Write) -> Result<(), Stop>),
    Act(&'static ActLine),
    /// Pauses what is asked for, or lets it go on.
    Halt(fn(Scope) -> Halting),
    /// Limits a rule or a throttle, whose name is this parameter.
    Pace(&'static str, fn(String) -> Paced),
    /// The bytes of an output, and not JSON.
    Output,
    /// Where one record of a job went.
    Trace,
    /// Reads the configuration anew.
    Reload,
    /// Sessions of the dashboard.
    Login,
    Session,
    Logout,
    Events,
    /// Whether the process answers; whether it takes files. Nobody need prove who they are.
    Health,
    Ready,
    Document,
    /// For Prometheus.
    Metrics,
}

pub(super) struct Route {
    /// `GET`, which stands for `HEAD` too, or `POST`.
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) about: &'static str,
    pub(super) params: &'static [Param],
    /// The schema of the answer (`schemas.json`).
    pub(super) answer: &'static str,
    pub(super) work: Work,
}

impl Route {
    pub(super) fn content(&self) -> &'static str {
        match self.work {
            Work::Events => "text/event-stream",
            Work::Metrics => super::metrics::CONTENT,
            Work::Output => "application/octet-stream",
            _ => "application/json",
        }
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.work, Work::Health | Work::Ready | Work::Login | Work::Session)
    }
}

const STATES: &[&str] = &[
    "queued",
    "running",
    "held",
    "publishing",
    "retiring",
    "completed",
    "paused",
    "failed",
    "aborted",
    "refused",
];
/// The schema of what is no JSON.
const OUTPUT: &str = "OutputBytes";
const ENTRY: Param = Param::query("entry", Kind::Text, "the entry of an archive, where there are several");
const OF_OUTPUT: &[Param] = &[
    JOB,
    Param::query("category", Kind::Text, "the output of this category, where there are several"),
    ENTRY,
    Param::query(
        "first",
        Kind::Integer(1, u64::MAX >> 1),
        "only the records from this one on: the first one is 1; a header comes before them",
    ),
    Param::query("last", Kind::Integer(1, u64::MAX >> 1), "only the records up to this one"),
];
const OF_TRACE: &[Param] = &[
    JOB,
    Param {
        required: true,
        ..Param::query("record", Kind::Integer(1, u64::MAX >> 1), "its number within its entry")
    },
    ENTRY,
];
const RULE: Param = Param::query("rule", Kind::Text, "only jobs of this rule");
const NUMBER: Param =
    Param::path("number", Kind::Integer(1, u64::MAX >> 1), "a failed record's place in the list");

const SINCE: Param = Param::query("since", Kind::Time, "jobs that failed before need no attention");
const JOBS: &[Param] = &[
    Param::query("state", Kind::Word(STATES), "only jobs in this state"),
    RULE,
    Param::query(
        "sender",
        Kind::Text,
        "only jobs of this sender: `{sender}` of the rule's pattern, or a folder",
    ),
    Param::query("since", Kind::Time, "only jobs that were claimed then or later"),
    Param::query("limit", Kind::Integer(0, 1 << 32), "only so many: the newest"),
    Param::query("unfinished", Kind::Bool, "only those that have not ended"),
    Param::query("newest_first", Kind::Bool, "the newest first, not last"),
];
const SKIP: Param = Param::query("skip", Kind::Integer(0, 10_000_000), "so many are passed over");
const COUNT: Param = Param::query("count", Kind::Integer(1, 500), "so many at most; 50 if nothing is said");
const COUNT_UNSAID: u64 = 50;
const LINES: &[Param] = &[
    JOBS[0],
    JOBS[1],
    JOBS[2],
    JOBS[3],
    JOBS[5],
    Param::query("text", Kind::Text, "only those whose source or id has this in it, in letters of any case"),
    Param::query("waiting", Kind::Bool, "only those that wait for something"),
    Param::query("job", Kind::Text, "only this job"),
    Param::query("upto", Kind::Text, "none that is newer than this job: so that pages stay as they are"),
    Param::query(
        "sort",
        Kind::Word(listing::lines::SORTS),
        "by what they are sorted; by when they were claimed if nothing is said",
    ),
    Param::query("ascending", Kind::Bool, "the least, or the oldest, first"),
    SKIP,
    COUNT,
];
const WAITING: &[Param] = &[Param::query("rule", Kind::Text, "only files of this rule"), SKIP, COUNT];
const LOGIN: &[Param] = &[
    Param::body("user", Kind::Text, "who it is, for histories and the audit trail: 64 characters at most"),
    Param::body("token", Kind::Text, "what stands in `api.token` of the data folder"),
];
const SCOPE: &[Param] = &[
    Param::body("rule", Kind::Text, "what this rule takes").optional(),
    Param::body("sender", Kind::Text, "what comes from this sender").optional(),
    Param::body("all", Kind::Bool, "true: everything").optional(),
];
/// As `landfall set` takes them.
const LIMITS: [Param; 2] = [
    Param::body(
        "workers_max",
        Kind::Limit(0xFFFF_FFFF),
        "workers at once; 0: no limit; default: as configured",
    )
    .optional(),
    Param::body(
        "records_per_second",
        Kind::Limit(1_000_000_000_000),
        "records a second; 0: no limit; default: as configured",
    )
    .optional(),
];
const OF_RULE: &[Param] = &[Param::path("rule", Kind::Text, "the rule's name"), LIMITS[0], LIMITS[1]];
const OF_THROTTLE: &[Param] =
    &[Param::path("throttle", Kind::Text, "the throttle's name"), LIMITS[0], LIMITS[1]];
const FILE: &[Param] =
    &[Param { required: true, ..Param::query("path", Kind::FilePath, "its absolute path") }];
const SOUGHT: &[Param] = &[
    Param::query(
        "source",
        Kind::Text,
        "a path, or a file's name: where a source lay, or lies; `*` and `?` are wildcards",
    ),
    Param::query("output", Kind::Text, "the same, of an output"),
    Param::query("hash", Kind::Hash, "the beginning of the hash of a source's content, or of an output"),
    RULE,
    Param::query("since", Kind::Time, "only those that were claimed then or later"),
    Param::query("until", Kind::Time, "only those that were claimed before then"),
];
const SETTLED: Param = Param::query("settled", Kind::Bool, "those too that were dropped or retried");
const OF_RECORDS: &[Param] = &[
    JOB,
    SETTLED,
    Param::query("first", Kind::Integer(1, u64::MAX >> 1), "only those from this number on"),
    Param::query("count", Kind::Integer(1, 500), "only so many"),
];
const EVENTS: &[Param] = &[RULE, Param::query("job", Kind::Text, "only this job, by its whole id")];

fn get(
    path: &'static str,
    about: &'static str,
    params: &'static [Param],
    answer: &'static str,
    work: Work,
) -> Route {
    Route { method: "GET", path, about, params, answer, work }
}

/// What can be read of one job.
fn of_job() -> [Route; 5] {
    [
        get("/v1/jobs/{job}", "One job, as `landfall show --json`", &[JOB], "Job", Work::Ask(job)),
        get(
            "/v1/jobs/{job}/records",
            "A job's failed records, as `landfall records --json`",
            OF_RECORDS,
            "Records",
            Work::Ask(records),
        ),
        get(
            "/v1/jobs/{job}/records/{number}",
            "One failed record",
            &[JOB, NUMBER],
            "Record",
            Work::Ask(record),
        ),
        get(
            "/v1/jobs/{job}/output",
            "What a job published, unpacked, as `landfall output`: one output of it, or some of its records",
            OF_OUTPUT,
            OUTPUT,
            Work::Output,
        ),
        get(
            "/v1/jobs/{job}/trace",
            "Where one record of a job went, as `landfall trace --json`: its source is read again",
            OF_TRACE,
            "Trace",
            Work::Trace,
        ),
    ]
}

fn post(
    path: &'static str,
    about: &'static str,
    params: &'static [Param],
    answer: &'static str,
    work: Work,
) -> Route {
    Route { method: "POST", path, about, params, answer, work }
}

/// What the dashboard asks for besides; pages of long lists are for everybody.
fn of_dashboard() -> [Route; 5] {
    [
        get(
            "/v1/lines",
            "A page of the jobs, each with what a table has of it; the newest first, unless asked otherwise",
            LINES,
            "Lines",
            Work::Ask(lines),
        ),
        get(
            "/v1/waiting",
            "A page of the files that wait to become jobs, by path, each with why; and what is told of folders",
            WAITING,
            "FilesWaiting",
            Work::Ask(waiting),
        ),
        post(
            "/v1/login",
            "Begin a session of the dashboard, which a cookie stands for. Taken from the dashboard's own page alone",
            LOGIN,
            "Session",
            Work::Login,
        ),
        get(
            "/v1/session",
            "Whether whoever asks may, and whose session of the dashboard it is",
            &[],
            "Session",
            Work::Session,
        ),
        post("/v1/logout", "End this session of the dashboard", &[], "Session", Work::Logout),
    ]
}

pub(super) fn routes() -> Vec<Route> {
    let mut routes = vec![
        get("/healthz", "Whether the service answers", &[], "Status", Work::Health),
        get("/readyz", "Whether the service takes files", &[], "Status", Work::Ready),
        get("/metrics", "What Prometheus scrapes, as OpenMetrics", &[], "Metrics", Work::Metrics),
        get("/openapi.json", "This document", &[], "Document", Work::Document),
        get(
            "/v1/jobs",
            "The jobs, oldest first, as `landfall jobs --json`; with all of them the files that wait to become one",
            JOBS,
            "Jobs",
            Work::Ask(jobs),
        ),
        get("/v1/rules", "The rules, as `landfall rules --json`", &[], "Rules", Work::Ask(rules)),
        get("/v1/configuration", "What the service goes by", &[], "Configuration", Work::Ask(configuration)),
        get(
            "/v1/events",
            "Each change of a job, as server-sent events: `read_anew` first, and whenever some were missed, then `job`",
            EVENTS,
            "Events",
            Work::Events,
        ),
        get(
            "/v1/file",
            "What the service knows of a file: how it waits to be taken, or why it is not taken again",
            FILE,
            "File",
            Work::Ask(file),
        ),
        get(
            "/v1/explain",
            "Which rule takes a file, what it waits for, and what it became, as `landfall explain --json`; without what a shadow knows",
            FILE,
            "Explained",
            Work::Ask(explain),
        ),
        get(
            "/v1/find",
            "Sources that were ever claimed, as `landfall find --json`: all that is named must fit",
            SOUGHT,
            "Found",
            Work::Ask(find),
        ),
        get(
            "/v1/status",
            "How the service is, and what needs attention, as `landfall status --json`",
            &[SINCE],
            "Overview",
            Work::Ask(status),
        ),
        post(
            "/v1/reload",
            "Read the configuration anew; what became of it, as `landfall reload --json`",
            &[],
            "Reloaded",
            Work::Reload,
        ),
    ];
    routes.extend(of_job());
    routes.extend(of_dashboard());
    let halts = [
        (
            "/v1/pause",
            "Let nothing go on of a rule, a sender, or everything, and claim no file of it",
            Halting::Pause as fn(Scope) -> Halting,
        ),
        (
            "/v1/resume",
            "Let what was paused in these words go on; a rule that stopped by itself, too",
            Halting::Resume,
        ),
    ];
    routes.extend(halts.map(|(path, about, halt)| post(path, about, SCOPE, "Changed", Work::Halt(halt))));
    routes.extend([
        get("/v1/limits", "What is set in place of configured limits", &[], "Limits", Work::Ask(limits)),
        post(
            "/v1/rules/{rule}/set",
            "Limit all jobs of a rule together, until `default` takes it back",
            OF_RULE,
            "Changed",
            Work::Pace("rule", Paced::Rule),
        ),
        post(
            "/v1/throttles/{throttle}/set",
            "Limit the rules that name a throttle together, until `default` takes it back",
            OF_THROTTLE,
            "Changed",
            Work::Pace("throttle", Paced::Throttle),
        ),
    ]);
    routes.extend(ACTS.iter().map(|line| post(line.path, line.about, line.fields, "Done", Work::Act(line))));
    routes
}

fn jobs(door: &dyn Door, asked: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    let filter = JobFilter {
        state: asked.get::<JobState>("state"),
        rule: asked.text("rule").map(str::to_owned),
        sender: asked.text("sender").map(str::to_owned),
        since: asked.get("since"),
        unfinished: asked.is_set("unfinished"),
        limit: asked.get("limit"),
        newest_first: asked.is_set("newest_first"),
        jobs: BTreeSet::new(),
    };
    listing::jobs::print_json(out, Some(door), &filter)
}

fn lines(door: &dyn Door, asked: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    let filter = JobFilter {
        state: asked.get::<JobState>("state"),
        rule: asked.text("rule").map(str::to_owned),
        sender: asked.text("sender").map(str::to_owned),
        since: asked.get("since"),
        unfinished: asked.is_set("unfinished"),
        jobs: asked.text("job").map(|job| id(door, job)).transpose()?.into_iter().collect(),
        ..JobFilter::default()
    };
    let page = listing::lines::Page {
        skip: usize::try_from(asked.number("skip").unwrap_or(0)).unwrap_or(usize::MAX),
        count: usize::try_from(asked.number("count").unwrap_or(COUNT_UNSAID)).unwrap_or(usize::MAX),
        sort: asked.text("sort").map(str::to_owned),
        ascending: asked.is_set("ascending"),
        text: asked.text("text").map(str::to_owned),
        waiting: asked.is_set("waiting"),
        upto: asked.text("upto").map(|job| id(door, job)).transpose()?,
    };
    listing::lines::print_json(out, door, &filter, &page)
}

/// Of a job that is listed, or of another one: its whole id is enough.
fn id(door: &dyn Door, text: &str) -> Result<JobId, Stop> {
    match text.parse() {
        Ok(id) => Ok(id),
        Err(_) => Ok(door.show(text)?.id),
    }
}

fn waiting(door: &dyn Door, asked: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    let number = |name, unsaid| usize::try_from(asked.number(name).unwrap_or(unsaid)).unwrap_or(usize::MAX);
    listing::waiting::print_json(
        out,
        door,
        asked.text("rule"),
        (number("skip", 0), number("count", COUNT_UNSAID)),
    )
}

fn job(door: &dyn Door, asked: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    let job = door.show(asked.text("job").unwrap_or_default())?;
    Ok(writeln!(out, "{}", shown_json::to_string(&job_json(&job))?)?)
}

fn records(door: &dyn Door, asked: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    let wanted = listing::records::Wanted {
        settled: asked.is_set("settled"),
        first: asked.number("first").unwrap_or(1),
        count: asked.number("count").and_then(|count| usize::try_from(count).ok()),
    };
    listing::records::list_json(out, door, asked.text("job").unwrap_or_default(), wanted)
}

fn record(door: &dyn Door, asked: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    let number = asked.number("number").unwrap_or_default();
    listing::records::show_json(out, door, asked.text("job").unwrap_or_default(), number)
}

/// As JSON.
pub(super) fn trace(engine: &Engine, asked: &Asked, out: &mut Giver) -> Result<(), Stop> {
    let wanted = TraceAsked {
        record: asked.number("record").unwrap_or_default(),
        entry: asked.text("entry").map(str::to_owned),
    };
    let job = asked.text("job").unwrap_or_default();
    let (job, trace) = engine.trace(job, &wanted, &|| !out.is_unread())?;
    let traced = Traced::new(engine, &job, &trace)?;
    Ok(writeln!(out, "{}", shown_json::to_string(&traced.view())?)?)
}

fn rules(door: &dyn Door, _: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    listing::rules::json_of_service(out, door)
}

fn configuration(door: &dyn Door, _: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    let state = door.configuration()?.as_ref().map(listing::jobs::configuration_json);
    Ok(writeln!(out, "{}", shown_json::to_string(&state)?)?)
}

fn file(door: &dyn Door, asked: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    let known = door.file_known(&asked.text("path").unwrap_or_default().into())?;
    Ok(writeln!(out, "{}", shown_json::to_string(&known)?)?)
}

fn explain(door: &dyn Door, asked: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    listing::explain::json_of_service(out, door, std::path::Path::new(asked.text("path").unwrap_or_default()))
}

fn find(door: &dyn Door, asked: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    let text = |name: &str| asked.text(name).map(str::to_owned);
    let sought = Sought {
        source: text("source").map(Into::into),
        output: text("output").map(Into::into),
        hash: asked.get("hash"),
        rule: text("rule"),
        since: asked.get("since"),
        until: asked.get("until"),
    };
    listing::find::print_json(out, door.find(&sought))
}

fn status(door: &dyn Door, asked: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    let status = listing::status::of_service(door, asked.get("since"))?;
    Ok(writeln!(out, "{}", shown_json::to_string(&status)?)?)
}

fn limits(door: &dyn Door, _: &Asked, out: &mut dyn Write) -> Result<(), Stop> {
    let limits = serde_json::json!({ "version": VIEW_VERSION, "limits": door.paces()?.0 });
    Ok(writeln!(out, "{}", shown_json::to_string(&limits)?)?)
}

pub(super) fn reload(door: &dyn Door, by: &str, out: &mut dyn Write) -> Result<(), Stop> {
    let reloaded = door.reload_for(by)?;
    Ok(writeln!(out, "{}", shown_json::to_string(&listing::reload::json(&reloaded))?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_a_job_can_be_asked_for() {
        assert!(JobState::ALL.iter().all(|state| STATES.contains(&state.as_str())), "{STATES:?}");
        assert!(STATES.iter().all(|word| serde_json::from_value::<JobState>((*word).into()).is_ok()));
    }
}
