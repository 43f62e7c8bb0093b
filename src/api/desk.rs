//! One request: who asks, what for, and the answer. Whatever may wait for a disk is done by a thread of its own; this only waits for it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Builder;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts as _, Query, RawPathParams};
use axum::http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, SET_COOKIE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Method, Request, Response, StatusCode};
use axum::routing::any;

use super::acts::ActLine;
use super::dashboard::{self, Session, Sessions};
use super::metrics::Scrapes;
use super::outputs::Outputs;
use super::params::Asked;
use super::pipe::{Giver, Piece, pipe};
use super::problem::Problem;
use super::routes::{Route, Work, reload, routes, trace};
use super::token::{Refusals, Tokens};
use super::turns::Turns;
use super::{events, openapi};
use crate::engine::{Door as _, Engine};
use crate::listing::Stop;
use crate::model::halts::{Halting, Scope};
use crate::model::job_view::VIEW_VERSION;
use crate::model::pace::{PaceSetting, Paced};
use crate::model::shown_json;

/// A request's body is shorter. The longest has a failed record that was edited.
const BODY_BYTES_MAX: usize = 4 << 20;
/// Of those who need not be known.
const OPEN_BODY_BYTES_MAX: usize = 64 << 10;
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
/// Those who log in with a wrong token, at once: they are kept waiting.
const GUESSES_MAX: usize = 4;
/// So long.
const WRONG_TOKEN_TAKES: Duration = Duration::from_secs(1);

const JSON: &str = "application/json";

/// Who sent a request.
#[derive(Clone, Debug)]
pub(super) struct By {
    /// For the history of jobs.
    pub(super) name: Arc<str>,
    /// By the socket: whoever can open it may ask.
    pub(super) is_known: bool,
    /// The other machine's address; none by the socket.
    pub(super) from: Option<IpAddr>,
}

/// Who asks, as far as is known.
struct Asker {
    /// For the history of jobs.
    name: Arc<str>,
    /// Whom a proxy let in.
    user: Option<Arc<str>>,
    /// Whose session of the dashboard it is, where it is one.
    session: Option<Session>,
}

pub(super) struct Desk {
    engine: Engine,
    data_dir: PathBuf,
    scrapes: Scrapes,
    /// None: nobody asks by the port.
    tokens: Option<Tokens>,
    refusals: Refusals,
    sessions: Sessions,
    /// Over TLS: a cookie goes no other way.
    with_tls: bool,
    document: String,
    answers: Arc<Turns>,
    outputs: Outputs,
    traces: Arc<Turns>,
    listeners: Arc<Turns>,
    guesses: Arc<Turns>,
    pub(super) stops: AtomicBool,
}

impl Desk {
    pub(super) fn new(engine: Engine, data_dir: &Path, tokens: Option<Tokens>, with_tls: bool) -> Self {
        Self {
            engine,
            data_dir: data_dir.to_owned(),
            scrapes: Scrapes::default(),
            tokens,
            refusals: Refusals::default(),
            sessions: Sessions::of(data_dir),
            with_tls,
            document: openapi::document(&routes()),
            answers: Turns::new(ANSWERS_MAX),
            outputs: Outputs::new(),
            traces: Turns::new(TRACES_MAX),
            listeners: Turns::new(LISTENERS_MAX),
            guesses: Turns::new(GUESSES_MAX),
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
                    guarded(answer.unwrap_or_else(|problem| problem.at(&path).into_response()))
                }
            };
            router = router.route(path, any(answer));
        }
        for path in dashboard::paths() {
            let answer = move |request: Request<Body>| async move {
                dashboard::answer(path, &request)
                    .unwrap_or_else(|problem| guarded(problem.at(path).into_response()))
            };
            router = router.route(path, any(answer));
        }
        let desk = Arc::clone(self);
        router.fallback(move |request: Request<Body>| {
            let path = request.uri().path().to_owned();
            let known = desk.know(&request, false);
            async move {
                let problem = known.err().unwrap_or_else(|| Problem::no_such_path(&path));
                guarded(problem.at(&path).into_response())
            }
        })
    }

    /// Who asks, if he may.
    fn know(&self, request: &Request<Body>, asks_for_metrics: bool) -> Result<Asker, Problem> {
        let by = request.extensions().get::<By>();
        let name = by.map(|by| Arc::clone(&by.name)).unwrap_or_default();
        if by.is_some_and(|by| by.is_known) {
            return Ok(Asker { name, user: None, session: None });
        }
        let header = request.headers().get(AUTHORIZATION).and_then(|header| header.to_str().ok());
        let Some(header) = header else {
            let session = self.sessions.of_request(request)?.ok_or_else(Problem::no_token)?;
            return Ok(Asker { name: Arc::clone(&session.by), user: None, session: Some(session) });
        };
        let told = header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        let known = told.zip(self.tokens.as_ref());
        let may = known.is_some_and(|((_, token), tokens)| tokens.know(token.trim(), asks_for_metrics));
        if may {
            // A proxy may send the token with whatever a browser asks.
            dashboard::check_no_foreign_page(request.method(), request.headers())?;
            let by_proxy = dashboard::user_of_proxy(request, by.and_then(|by| by.from))?;
            let (user, name) = by_proxy.map_or((None, name), |user| (Some(user.name), user.by));
            return Ok(Asker { name, user, session: None });
        }
        if known.is_some() {
            self.refusals.note(&name);
        }
        Err(Problem::no_token())
    }

    async fn answer(
        self: &Arc<Self>,
        route: &Arc<Route>,
        request: Request<Body>,
    ) -> Result<Response<Body>, Problem> {
        let who = match &route.work {
            Work::Session => self.know(&request, false).ok(),
            _ if route.is_open() => None,
            work => Some(self.know(&request, matches!(work, Work::Metrics))?),
        };
        let is_get = matches!(*request.method(), Method::GET | Method::HEAD);
        if if route.method == "GET" { !is_get } else { request.method() != Method::POST } {
            let allowed = if route.method == "GET" { "GET, HEAD" } else { "POST" };
            return Err(Problem::no_such_method(request.method().as_str(), allowed));
        }
        if matches!(route.work, Work::Login) {
            dashboard::check_own_page(request.method(), request.headers())?;
        }
        let from = request.extensions().get::<By>().and_then(|by| by.from);
        let by = who.as_ref().map(|who| Arc::clone(&who.name)).unwrap_or_default();
        let asked = read(route, request).await?;
        match &route.work {
            Work::Login => self.log_in(&asked, from).await,
            Work::Session => {
                let user = who.as_ref().and_then(|who| who.user.as_deref());
                let session = who.as_ref().and_then(|who| who.session.as_ref());
                Ok(json(StatusCode::OK, dashboard::told(who.is_some(), user, session)))
            }
            Work::Logout => Ok(self.log_out(who.and_then(|who| who.session).as_ref())),
            Work::Health => Ok(json(StatusCode::OK, "{\"status\":\"ok\"}\n".to_owned())),
            Work::Ready => Ok(self.ready()),
            Work::Document => Ok(json(StatusCode::OK, self.document.clone())),
            Work::Events => self.tell_events(asked, who.and_then(|who| who.session)),
            Work::Ask(_)
            | Work::Reload
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
            Work::Reload => reload(&self.engine, by, out).map_err(|stop| problem_of(&stop)),
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
            Work::Events
            | Work::Health
            | Work::Ready
            | Work::Document
            | Work::Login
            | Work::Session
            | Work::Logout => Ok(()),
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

    /// A session, for who shows the token. Whoever guesses has few guesses.
    async fn log_in(&self, asked: &Asked, from: Option<IpAddr>) -> Result<Response<Body>, Problem> {
        let token = asked.text("token").unwrap_or_default().trim();
        if !self.tokens.as_ref().is_some_and(|tokens| tokens.know(token, false)) {
            let place = from.map(|from| format!(", {from}")).unwrap_or_default();
            self.refusals.note(&format!("the dashboard's login{place}"));
            // Whoever guesses is in nobody's way who knows.
            let Some(turn) = self.guesses.take() else {
                return Err(Problem::busy("so many show a wrong token already"));
            };
            tokio::time::sleep(WRONG_TOKEN_TAKES).await;
            drop(turn);
            return Err(Problem::wrong_token());
        }
        let user = asked.text("user").unwrap_or_default();
        let (session, cookie) = self.sessions.begin(user, from, self.with_tls)?;
        let mut response = json(StatusCode::OK, dashboard::told(true, None, Some(&session)));
        response.headers_mut().insert(SET_COOKIE, cookie);
        Ok(response)
    }

    fn log_out(&self, session: Option<&Session>) -> Response<Body> {
        let mut response = json(StatusCode::OK, dashboard::told(false, None, None));
        if let Some(session) = session {
            self.sessions.end(session);
        }
        response.headers_mut().insert(SET_COOKIE, self.sessions.no_cookie(self.with_tls));
        response
    }

    /// As long as the session is open that it was asked by.
    fn tell_events(
        self: &Arc<Self>,
        asked: Asked,
        session: Option<Session>,
    ) -> Result<Response<Body>, Problem> {
        let Some(turn) = self.listeners.take() else {
            return Err(Problem::busy("so many listen to events already"));
        };
        let desk = Arc::clone(self);
        let (mut out, taker) = pipe();
        spawn("api-events", move || {
            let is_over = || {
                let is_ended = session.as_ref().is_some_and(|session| !desk.sessions.is_open(session));
                is_ended || desk.stops.load(Ordering::Acquire)
            };
            events::tell(&desk.engine, &asked, &mut out, is_over);
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
    let most = if route.is_open() { OPEN_BODY_BYTES_MAX } else { BODY_BYTES_MAX };
    let body = match tokio::time::timeout(BODY_TAKES, to_bytes(body, most)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => {
            let detail = format!("the body broke off, or is longer than {most} bytes");
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

/// Nobody keeps an answer, and no browser takes it for a page.
fn guarded(mut response: Response<Body>) -> Response<Body> {
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; sandbox"),
    );
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
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
