//! Why there is no answer, in one shape (RFC 9457): what, where, and what to do.

use axum::body::Body;
use axum::http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::engine::Refusal;
use crate::model::fault::{Fault, FaultKind};
use crate::model::shown_json;

#[derive(Clone, Debug)]
pub(super) struct Problem {
    told: Box<Told>,
    /// The methods that the path has.
    allowed: Option<&'static str>,
}

#[derive(Clone, Debug, Serialize)]
struct Told {
    /// One word for each kind, in a URI's clothes.
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    /// What is wrong.
    detail: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// The path that was asked for.
    instance: String,
}

impl Problem {
    pub(super) fn new(kind: &str, status: StatusCode, detail: impl Into<String>, hint: &str) -> Self {
        let told = Told {
            kind: format!("urn:landfall:problem:{kind}"),
            title: status.canonical_reason().unwrap_or("Error"),
            status: status.as_u16(),
            detail: detail.into(),
            hint: Some(hint.to_owned()),
            instance: String::new(),
        };
        Self { told: Box::new(told), allowed: None }
    }

    /// What was asked is not what this asks for.
    pub(super) fn bad_request(detail: impl Into<String>, hint: &str) -> Self {
        Self::new("bad-request", StatusCode::BAD_REQUEST, detail, hint)
    }

    pub(super) fn no_such_path(path: &str) -> Self {
        let detail = format!("there is nothing at {path}");
        Self::new("no-such-path", StatusCode::NOT_FOUND, detail, "/openapi.json lists what there is")
    }

    pub(super) fn no_such_method(method: &str, allowed: &'static str) -> Self {
        let detail = format!("{method} is not for this path");
        let problem =
            Self::new("no-such-method", StatusCode::METHOD_NOT_ALLOWED, detail, "see /openapi.json");
        Self { allowed: Some(allowed), ..problem }
    }

    pub(super) fn no_token() -> Self {
        let hint = "send `Authorization: Bearer TOKEN`; the token stands in `api.token` of the data folder; `metrics.token` opens `/metrics` alone";
        Self::new("no-token", StatusCode::UNAUTHORIZED, "the token is missing, or another one", hint)
    }

    pub(super) fn wrong_token() -> Self {
        let hint = "it stands in `api.token` of the data folder";
        Self::new("no-token", StatusCode::UNAUTHORIZED, "that is not the token", hint)
    }

    /// A page of somebody else has a browser ask.
    pub(super) fn foreign_page() -> Self {
        let hint = "open the dashboard at the address that the service listens on; a program that goes by the token alone is asked nothing of the kind";
        Self::new(
            "foreign-page",
            StatusCode::FORBIDDEN,
            "this was not asked by the dashboard's own page",
            hint,
        )
    }

    pub(super) fn busy(detail: &str) -> Self {
        Self::new("busy", StatusCode::SERVICE_UNAVAILABLE, detail, "try again in a moment")
    }

    pub(super) fn no_answer_in_time() -> Self {
        let detail = "the answer did not come in time: a file system may not answer";
        let hint = "what was asked for may still be done; `landfall jobs` names folders that do not answer";
        Self::new("no-answer", StatusCode::GATEWAY_TIMEOUT, detail, hint)
    }

    /// The thread that answered is gone.
    pub(super) fn broken() -> Self {
        let hint = "the service's log says why; please report it";
        Self::new("broken", StatusCode::INTERNAL_SERVER_ERROR, "the answer broke off", hint)
    }

    pub(super) fn refused(refusal: &Refusal) -> Self {
        use StatusCode as S;
        let (kind, status) = match refusal {
            Refusal::NoSuchJob { .. } => ("no-such-job", S::NOT_FOUND),
            Refusal::NoSuchRecord { .. } | Refusal::SourceHasNoRecord { .. } => {
                ("no-such-record", S::NOT_FOUND)
            }
            Refusal::NoSuchEntry { .. } => ("no-such-entry", S::NOT_FOUND),
            Refusal::Ambiguous { .. } => ("ambiguous", S::CONFLICT),
            Refusal::NotRunning => ("not-running", S::SERVICE_UNAVAILABLE),
            Refusal::Fault(error) => match error.kind {
                // What was asked for does not go with how things are.
                FaultKind::Input => ("refused", S::CONFLICT),
                FaultKind::Config => ("configuration", S::CONFLICT),
                FaultKind::Transient => ("not-now", S::CONFLICT),
                FaultKind::Storage => ("storage", S::INTERNAL_SERVER_ERROR),
                FaultKind::Bug => ("bug", S::INTERNAL_SERVER_ERROR),
            },
        };
        let mut problem = Self::new(kind, status, refusal.to_string(), "");
        problem.told.hint = match refusal {
            Refusal::NoSuchEntry { there, .. } => {
                Some(format!("say which one by `entry`: {}", there.join(", ")))
            }
            _ => refusal.hint(),
        };
        problem
    }

    /// What is asked for is not there; the error says what is.
    pub(super) fn not_there(kind: &str, error: &dyn Fault) -> Self {
        let mut problem = Self::new(kind, StatusCode::NOT_FOUND, error.to_string(), "");
        problem.told.hint = error.hint();
        problem
    }

    pub(super) fn at(mut self, path: &str) -> Self {
        path.clone_into(&mut self.told.instance);
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let json = shown_json::to_string(&self.told).unwrap_or_default(); // plain data serializes
        let mut response = Response::new(Body::from(json + "\n"));
        *response.status_mut() =
            StatusCode::from_u16(self.told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match response.status() {
            StatusCode::UNAUTHORIZED => {
                let headers = response.headers_mut();
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"landfall\""));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if let Some(allowed) = self.allowed {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
        }
        response
    }
}
