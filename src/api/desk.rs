//! One request: who asks, what for, and the answer. Whatever may wait for a disk is done by a thread of its own; this only waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts as _, Query, RawPathParams};
use axum::http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use axum::routing::any;

use super::acts::ActLine;
use super::metrics::Scrapes;
use super::outputs::Outputs;
use super::params::Asked;
use super::pipe::{Giver, Piece, pipe};
use super::problem::Problem;
use super::routes::{Route, Work, routes, trace};
use super::token::{Refusals, Tokens};
use super::turns::Turns;
use super::{events, openapi};
use crate::engine::{Door as _, Engine};
use crate::listing::Stop;
use crate::model::halts::{Halting, Scope};
use crate::model::job_view::VIEW_VERSION;
use crate::model::pace::{PaceSetting, Paced};
use crate::model::shown_json;

/// A request's body is shorter: a path that is not text cannot be sent.
const BODY_BYTES_MAX: usize = 64 << 10;
/// It is there within this after the head.
const BODY_TAKES: Duration = Duration::from_secs(10);
/// An answer begins within this: the engine has deadlines of its own, the longest of 30 s.
const ANSWER_TAKES: Duration = Duration::from_secs(40);
/// Questions that threads work at, at once.
const ANSWERS_MAX: usize = 16;
/// Records that are traced, at once: each may take as much memory as the service.
const TRACES_MAX: usize = 1;
/// Those who listen to events, at once.
const LISTENERS_MAX: usize = 16;

const JSON: &str = "application/json";

/// Who sent a request.
#[derive(Clone, Debug)]
pub(super) struct By {
    /// For the history of jobs.
    pub(super) name: Arc<str>,
    /// By the socket: whoever can open it may ask.
    pub(super) is_known: bool,
}

pub(super) struct Desk {
    engine: Engine,
    data_dir: PathBuf,
    scrapes: Scrapes,
    /// None: nobody asks by the port.
    tokens: Option<Tokens>,
    refusals: Refusals,
    document: String,
    answers: Arc<Turns>,
    outputs: Outputs,
    traces: Arc<Turns>,
    listeners: Arc<Turns>,
    pub(super) stops: AtomicBool,
}

impl Desk {
    pub(super) fn new(engine: Engine, data_dir: &Path, tokens: Option<Tokens>) -> Self {
        Self {
            engine,
            data_dir: data_dir.to_owned(),
            scrapes: Scrapes::default(),
            tokens,
            refusals: Refusals::default(),
            document: openapi::document(&routes()),
            answers: Turns::new(ANSWERS_MAX),
            outputs: Outputs::new(),
            traces: Turns::new(TRACES_MAX),
            listeners: Turns::new(LISTENERS_MAX),
            stops: AtomicBool::new(false),
        }
    }

    /// Whether nobody is being answered, or listens.
    pub(super) fn is_idle(&self) -> bool {
        [&self.answers, &self.traces, &self.listeners].iter().all(|turns| turns.are_all_back())
            && self.outputs.are_all_back()
    }

    /// Every path that there is.
    pub(super) fn router(self: &Arc<Self>) -> Router {
        let mut router = Router::new();
        for route in routes() {
            let (path, route, desk) = (route.path, Arc::new(route), Arc::clone(self));
            let answer = move |request: Request<Body>| {
                let (route, desk) = (Arc::clone(&route), Arc::clone(&desk));
                async move {
                    let path = request.uri().path().to_owned();
                    let answer = desk.answer(&route, request).await;
                    answer.unwrap_or_else(|problem| problem.at(&path).into_response())
                }
            };
            router = router.route(path, any(answer));
        }
        let desk = Arc::clone(self);
        router.fallback(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let known = desk.know(&request, false);
            async move {
                let problem = known.err().unwrap_or_else(|| Problem::no_such_path(&path));
                problem.at(&path).into_response()
            }
        })
    }

    /// Whether whoever asks may.
    fn know(&self, request: &Request<Body>, asks_for_metrics: bool) -> Result<(), Problem> {
        if request.extensions().get::<By>().is_some_and(|by| by.is_known) {
            return Ok(());
        }
        let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let told = header.and_then(|header| header.split_once(' '));
        let told = told.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let known = told.zip(self.tokens.as_ref());
        let may = known.is_some_and(|((_, token), tokens)| tokens.know(token.trim(), asks_for_metrics));
        if may {
            return Ok(());
        }
        if known.is_some() {
            self.refusals.note(request.extensions().get::<By>().map_or("", |by| &by.name));
        }
        Err(Problem::no_token())
    }

    async fn answer(
        self: &Arc<Self>,
        route: &Arc<Route>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Problem> {
        if !route.is_open() {
            self.know(&request, matches!(route.work, Work::Metrics))?;
        }
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        if if route.method == "GET" { !is_get } else { request.method() != Method::POST } {
            let allowed = if route.method == "GET" { "GET, HEAD" } else { "POST" };
            return Err(Problem::no_such_method(request.method().as_str(), allowed));
        }
        let by = request.extensions().get::<By>().map(|by| Arc::clone(&by.name)).unwrap_or_default();
        let asked = read(route, request).await?;
        match &route.work {
            Work::Health => Ok(json(StatusCode::OK, "{\"status\":\"ok\"}\n".to_owned())),
            Work::Ready => Ok(self.ready()),
            Work::Document => Ok(json(StatusCode::OK, self.document.clone())),
            Work::Events => self.tell_events(asked),
            Work::Ask(_)
            | Work::Output
            | Work::Trace
            | Work::Act(_)
            | Work::Halt(_)
            | Work::Pace(..)
            | Work::Metrics => {
                let turn = match &route.work {
                    Work::Trace => self.traces.take(),
                    Work::Output => self.outputs.take(),
                    _ => self.answers.take(),
                };
                let Some(turn) = turn else {
                    return Err(Problem::busy("so many questions of this kind are being answered already"));
                };
                let (desk, route) = (Arc::clone(self), Arc::clone(route));
                let content = route.content();
                let (mut out, taker) = match &route.work {
                    Work::Output => self.outputs.pipe(),
                    _ => pipe(),
                };
                let work = move || {
                    match desk.work(&route, &asked, &by, &mut out) {
                        Ok(()) => out.end(),
                        Err(problem) => out.refuse(problem),
                    }
                    drop(turn);
                };
                spawn("api-answer", work)?;
                match tokio::time::timeout(ANSWER_TAKES, taker.next()).await {
                    Err(_) => Err(Problem::no_answer_in_time()),
                    Ok(None) => Err(Problem::broken()),
                    Ok(Some(Piece::Refused(problem))) => Err(problem),
                    Ok(Some(Piece::Last(bytes))) => Ok(response(content, bytes.into())),
                    Ok(Some(Piece::More(bytes))) => Ok(response(content, taker.into_body(bytes))),
                }
            }
        }
    }

    fn work(&self, route: &Route, asked: &Asked, by: &str, out: &mut Giver) -> Result<(), Problem> {
        match &route.work {
            Work::Ask(ask) => ask(&self.engine, asked, out).map_err(|stop| problem_of(&stop)),
            Work::Output => self.outputs.print(&self.engine, asked, out),
            Work::Trace => trace(&self.engine, asked, out).map_err(|stop| problem_of(&stop)),
            Work::Act(line) => self.act(line, asked, by, out),
            Work::Metrics => {
                let told = self.scrapes.write(&self.engine, &self.data_dir);
                let told = told.map_err(|stop| problem_of(&stop))?;
                std::io::Write::write_all(out, told.as_bytes()).map_err(|error| problem_of(&error.into()))
            }
            Work::Halt(halt) => self.halt(*halt, asked, by, out),
            Work::Pace(name, of) => {
                self.set_pace(of(asked.text(name).unwrap_or_default().to_owned()), asked, by, out)
            }
            Work::Events | Work::Health | Work::Ready | Work::Document => Ok(()),
        }
    }

    fn act(&self, line: &ActLine, asked: &Asked, by: &str, out: &mut Giver) -> Result<(), Problem> {
        let act = line.act(asked)?;
        let id = self.engine.act_for(&act, by).map_err(|refusal| Problem::refused(&refusal))?;
        write(out, &serde_json::json!({ "version": VIEW_VERSION, "id": id }))
    }

    fn halt(
        &self,
        halt: fn(Scope) -> Halting,
        asked: &Asked,
        by: &str,
        out: &mut Giver,
    ) -> Result<(), Problem> {
        let scope = Scope {
            rule: asked.text("rule").map(str::to_owned),
            sender: asked.text("sender").map(str::to_owned),
        };
        let is_all = scope == Scope::default();
        if is_all != asked.is_set("all") {
            let hint = "give `rule`, `sender` or both, or `\"all\": true` for everything";
            return Err(Problem::bad_request("it is not clear what is meant", hint));
        }
        let changed = self.engine.halt_for(&halt(scope), by).map_err(|refusal| Problem::refused(&refusal))?;
        write(out, &serde_json::json!({ "version": VIEW_VERSION, "changed": changed }))
    }

    fn set_pace(&self, of: Paced, asked: &Asked, by: &str, out: &mut Giver) -> Result<(), Problem> {
        let (workers_max, records_per_second) =
            (asked.limit("workers_max"), asked.limit("records_per_second"));
        if workers_max.is_none() && records_per_second.is_none() {
            let hint =
                "give `workers_max`, `records_per_second` or both: a number, 0 for no limit, or \"default\"";
            return Err(Problem::bad_request("nothing is to be set", hint));
        }
        let setting = PaceSetting { of, workers_max, records_per_second };
        let changed = self.engine.set_pace_for(&setting, by).map_err(|refusal| Problem::refused(&refusal))?;
        write(out, &serde_json::json!({ "version": VIEW_VERSION, "changed": changed }))
    }

    fn tell_events(self: &Arc<Self>, asked: Asked) -> Result<Response<Body>, Problem> {
        let Some(turn) = self.listeners.take() else {
            return Err(Problem::busy("so many listen to events already"));
        };
        let desk = Arc::clone(self);
        let (mut out, taker) = pipe();
        spawn("api-events", move || {
            events::tell(&desk.engine, &asked, &mut out, || desk.stops.load(Ordering::Acquire));
            out.end();
            drop(turn);
        })?;
        let mut response = response("text/event-stream", taker.into_body(b":\n\n".as_slice().into()));
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        Ok(response)
    }

    fn ready(&self) -> Response<Body> {
        let (status, word, why) = match self.engine.not_ready() {
            _ if self.stops.load(Ordering::Acquire) => {
                (StatusCode::SERVICE_UNAVAILABLE, "stopping", Some("the service stops".to_owned()))
            }
            Some(why) => (StatusCode::SERVICE_UNAVAILABLE, "not_ready", Some(why)),
            None => (StatusCode::OK, "ok", None),
        };
        let told = serde_json::json!({ "status": word, "detail": why });
        json(status, shown_json::to_string(&told).unwrap_or_default() + "\n")
    }
}

async fn read(route: &Route, request: Request<Body>) -> Result<Asked, Problem> {
    let (mut parts, body) = request.into_parts();
    let Ok(path) = RawPathParams::from_request_parts(&mut parts, &()).await else {
        return Err(Problem::bad_request("the path is no text", "give it in UTF-8"));
    };
    let Ok(Query(query)) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri) else {
        return Err(Problem::bad_request("the query is no text", "give it in UTF-8, percent-encoded"));
    };
    let body = match tokio::time::timeout(BODY_TAKES, to_bytes(body, BODY_BYTES_MAX)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let detail = format!("the body broke off, or is longer than {BODY_BYTES_MAX} bytes");
            return Err(Problem::new("body", StatusCode::PAYLOAD_TOO_LARGE, detail, "send a shorter one"));
        }
        Err(_) => {
            let detail = "the body did not come in time";
            return Err(Problem::new("slow", StatusCode::REQUEST_TIMEOUT, detail, "send it at once"));
        }
    };
    Asked::read(route.params, path.iter(), &query, &parts.headers, &body)
}

fn write(out: &mut Giver, value: &serde_json::Value) -> Result<(), Problem> {
    let json = shown_json::to_string(value).map_err(|error| problem_of(&error.into()))?;
    std::io::Write::write_all(out, format!("{json}\n").as_bytes()).map_err(|error| problem_of(&error.into()))
}

fn problem_of(stop: &Stop) -> Problem {
    match stop {
        Stop::Refused(refusal) => Problem::refused(refusal),
        Stop::Output(_) => Problem::broken(),
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Problem> {
    let spawned = Builder::new().name(name.to_owned()).spawn(work);
    spawned.map(drop).map_err(|_| Problem::busy("no thread could be started for the answer"))
}

fn response(content: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content));
    response
}

fn json(status: StatusCode, text: String) -> Response<Body> {
    let mut response = response(JSON, text.into());
    *response.status_mut() = status;
    response
}
