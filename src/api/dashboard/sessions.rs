//! Sessions of the dashboard: whoever showed the token once goes by a cookie from then on.
//!
//! A browser sends a cookie with whatever request a page makes, whosever page it is. So a request that goes by one must come from the
//! dashboard's own page: the browser says so (`Sec-Fetch-Site`, `Origin`), and who changes something sends a header that no other page may.
//! They are kept in memory: a restart ends them all.

use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::header::{COOKIE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, Request};
use blake3::Hash;
use jiff::Timestamp;
use serde_json::json;

use super::super::problem::Problem;
use crate::clock;
use crate::control::new_secret;
use crate::model::job_view::VIEW_VERSION;
use crate::model::os_text::is_shown_raw;
use crate::model::shown_json;

/// A shift, and what comes before and after it.
const LASTS: Duration = Duration::from_hours(12);
/// One more ends the oldest.
const SESSIONS_MAX: usize = 64;
const USER_CHARS_MAX: usize = 64;
/// No form, and no page of another origin, can send it.
const OWN_HEADER: &str = "x-landfall";
const OWN_WORD: &str = "dashboard";
/// Whom a proxy let in.
const PROXY_USER: &str = "x-forwarded-user";
const FETCH_SITE: &str = "sec-fetch-site";

#[derive(Clone, Debug)]
pub(in crate::api) struct Session {
    /// Of what the cookie holds.
    key: Hash,
    pub(in crate::api) user: Arc<str>,
    /// For histories and the audit trail.
    pub(in crate::api) by: Arc<str>,
    ends: Instant,
    ends_at: Timestamp,
}

pub(in crate::api) struct Sessions {
    /// Another service of this machine, at another port, has another one.
    cookie: String,
    /// The oldest first.
    open: Mutex<Vec<Session>>,
}

impl Sessions {
    pub(in crate::api) fn of(data_dir: &Path) -> Self {
        let place = blake3::hash(data_dir.as_os_str().as_encoded_bytes()).to_hex();
        Self { cookie: format!("landfall_{}", &place[..8]), open: Mutex::default() }
    }

    /// A new one, with the cookie that stands for it.
    pub(in crate::api) fn begin(
        &self,
        user: &str,
        from: Option<IpAddr>,
        with_tls: bool,
    ) -> Result<(Session, HeaderValue), Problem> {
        let user = checked_name(user)?;
        let secret = new_secret().to_hex();
        let session = Session {
            key: blake3::hash(secret.as_bytes()),
            user: user.into(),
            by: told_as(user, "dashboard", from),
            ends: Instant::now() + LASTS,
            ends_at: clock::now() + LASTS,
        };
        let cookie = self.cookie(&secret, LASTS, with_tls);
        let mut open = self.lock();
        open.retain(|session| session.ends > Instant::now());
        if open.len() >= SESSIONS_MAX {
            open.remove(0);
        }
        open.push(session.clone());
        drop(open);
        Ok((session, cookie))
    }

    /// The session that a request goes by, if it goes by one that is open, and comes from the dashboard's own page.
    pub(in crate::api) fn of_request(&self, request: &Request<Body>) -> Result<Option<Session>, Problem> {
        let Some(secret) = self.secret(request.headers()) else { return Ok(None) };
        let key = blake3::hash(secret.as_bytes());
        let now = Instant::now();
        let found = self.lock().iter().find(|session| session.key == key && session.ends > now).cloned();
        if found.is_some() {
            check_own_page(request.method(), request.headers())?;
        }
        Ok(found)
    }

    /// Whether it was not ended, by its user or by time.
    pub(in crate::api) fn is_open(&self, session: &Session) -> bool {
        session.ends > Instant::now() && self.lock().iter().any(|open| open.key == session.key)
    }

    pub(in crate::api) fn end(&self, session: &Session) {
        self.lock().retain(|open| open.key != session.key);
    }

    /// What has a browser forget the cookie.
    pub(in crate::api) fn no_cookie(&self, with_tls: bool) -> HeaderValue {
        self.cookie("", Duration::ZERO, with_tls)
    }

    fn cookie(&self, secret: &str, lasts: Duration, with_tls: bool) -> HeaderValue {
        let (name, lasts) = (&self.cookie, lasts.as_secs());
        let secure = if with_tls { "; Secure" } else { "" };
        let text = format!("{name}={secret}; Path=/; Max-Age={lasts}; HttpOnly; SameSite=Strict{secure}");
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("")) // letters and digits are a value
    }

    fn secret<'h>(&self, headers: &'h HeaderMap) -> Option<&'h str> {
        let cookies = headers.get_all(COOKIE).iter().filter_map(|header| header.to_str().ok());
        let mut pairs =
            cookies.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == self.cookie).map(|(_, secret)| secret)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom a proxy let in.
pub(in crate::api) struct ProxyUser {
    pub(in crate::api) name: Arc<str>,
    /// For histories and the audit trail.
    pub(in crate::api) by: Arc<str>,
}

/// Whom a proxy that shows the token lets in by his name. It asks for a browser, so that this must be the dashboard's own page, too.
pub(in crate::api) fn user_of_proxy(
    request: &Request<Body>,
    from: Option<IpAddr>,
) -> Result<Option<ProxyUser>, Problem> {
    let mut names = request.headers().get_all(PROXY_USER).iter();
    let Some(user) = names.next() else { return Ok(None) };
    if names.next().is_some() {
        let hint = "have the proxy put the user's name in place of one that a client sent";
        return Err(Problem::bad_request("two users are named (`X-Forwarded-User`)", hint));
    }
    let user = checked_name(std::str::from_utf8(user.as_bytes()).unwrap_or_default())?;
    check_own_page(request.method(), request.headers())?;
    Ok(Some(ProxyUser { name: user.into(), by: told_as(user, "proxy", from) }))
}

fn checked_name(user: &str) -> Result<&str, Problem> {
    let user = user.trim();
    // Behind the name stands in parentheses how he came.
    let is_name = |c: char| !c.is_control() && is_shown_raw(c) && !matches!(c, '(' | ')');
    if user.is_empty() || user.chars().count() > USER_CHARS_MAX || !user.chars().all(is_name) {
        let hint = format!("give 1 to {USER_CHARS_MAX} characters that can be seen, without parentheses");
        return Err(Problem::bad_request("the user's name is none", &hint));
    }
    Ok(user)
}

/// In histories and the audit trail.
fn told_as(user: &str, by: &str, from: Option<IpAddr>) -> Arc<str> {
    let place = from.map(|from| format!(", {from}")).unwrap_or_default();
    format!("{user} ({by}{place})").into()
}

/// Whether the page that asks is the dashboard's own, as the browser says; who changes something proves it besides.
pub(in crate::api) fn check_own_page(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let has_word = text(headers, OWN_HEADER) == Some(OWN_WORD);
    if has_word || !changes(method) {
        check_no_foreign_page(method, headers)
    } else {
        Err(Problem::foreign_page())
    }
}

/// Whether no browser says that another page asks. A program says nothing of the kind.
pub(in crate::api) fn check_no_foreign_page(method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
    let is_ours = match text(headers, FETCH_SITE) {
        Some("same-origin") => true,
        // The user typed the address.
        Some("none") => !changes(method),
        Some(_) => false,
        // A browser that says nothing of it, as of pages without TLS; a proxy may have changed `Host`, but then there is TLS before it.
        None => text(headers, ORIGIN.as_str()).is_none_or(|origin| {
            origin.split_once("://").is_some_and(|(_, place)| text(headers, HOST.as_str()) == Some(place))
        }),
    };
    if is_ours { Ok(()) } else { Err(Problem::foreign_page()) }
}

fn changes(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

/// As JSON: whether whoever asks may, and as whom he acts; without a session he goes by the token, a proxy, or the socket.
pub(in crate::api) fn told(is_known: bool, user: Option<&str>, session: Option<&Session>) -> String {
    let told = json!({
        "version": VIEW_VERSION,
        "is_known": is_known,
        "user": user.or(session.map(|session| &*session.user)),
        "ends_at": session.map(|session| session.ends_at),
        "program": env!("CARGO_PKG_VERSION"),
    });
    shown_json::to_string(&told).unwrap_or_default() + "\n"
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    fn request(method: Method, headers: &[(&str, &str)]) -> Request<Body> {
        let mut request = Request::builder().method(method).uri("/v1/pause");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).expect("a request")
    }

    fn sent(cookie: &HeaderValue) -> String {
        let text = cookie.to_str().expect("a text");
        text.split(';').next().expect("a pair").to_owned()
    }

    #[test]
    fn a_session_is_good_for_its_own_page_alone_and_until_it_is_ended() {
        let sessions = Sessions::of(Path::new("/data"));
        let (session, cookie) = sessions.begin(" anna ", None, false).expect("begins");
        assert_eq!((&*session.user, &*session.by), ("anna", "anna (dashboard)"));
        let pair = sent(&cookie);
        let refused = |method: &Method, headers: &[(&str, &str)]| {
            let mut all = vec![("cookie", pair.as_str()), ("host", "a:1")];
            all.extend(headers);
            match sessions.of_request(&request(method.clone(), &all)) {
                Ok(found) => {
                    assert_eq!(&*found.expect("is open").user, "anna");
                    false
                }
                Err(problem) => {
                    assert_eq!(problem.into_response().status(), StatusCode::FORBIDDEN);
                    true
                }
            }
        };
        let own = ("x-landfall", "dashboard");
        for (headers, get, post) in [
            (&[][..], false, true),
            (&[own][..], false, false),
            (&[own, ("sec-fetch-site", "same-origin"), ("origin", "http://a:1")][..], false, false),
            (&[own, ("sec-fetch-site", "none")][..], false, true),
            (&[own, ("sec-fetch-site", "same-site")][..], true, true),
            (&[own, ("sec-fetch-site", "cross-site")][..], true, true),
            (&[own, ("origin", "http://b:1")][..], true, true),
            // Before a proxy, which asks by another `Host`.
            (&[own, ("sec-fetch-site", "same-origin"), ("origin", "https://b")][..], false, false),
            (&[own, ("origin", "http://a:2")][..], true, true),
            (&[own, ("origin", "null")][..], true, true),
        ] {
            assert_eq!(refused(&Method::GET, headers), get, "{headers:?}");
            assert_eq!(refused(&Method::POST, headers), post, "{headers:?}");
        }
        let other = [("cookie", "landfall_00000000=00"), ("cookie", "x=1; y")];
        assert!(sessions.of_request(&request(Method::GET, &other)).expect("no refusal").is_none());
        sessions.end(&session);
        let again = request(Method::GET, &[("cookie", pair.as_str())]);
        assert!(sessions.of_request(&again).expect("no refusal").is_none());
    }

    #[test]
    fn there_are_so_many_sessions_at_most_and_the_oldest_ends_for_a_new_one() {
        let sessions = Sessions::of(Path::new("/data"));
        let of = |cookie: &HeaderValue| {
            let pair = sent(cookie);
            sessions
                .of_request(&request(Method::GET, &[("cookie", pair.as_str())]))
                .expect("no refusal")
                .is_some()
        };
        let begin = || sessions.begin("anna", None, false).expect("begins").1;
        let (first, second) = (begin(), begin());
        for _ in 2..SESSIONS_MAX {
            begin();
        }
        assert!(of(&first) && of(&second));
        begin();
        assert!(!of(&first) && of(&second));
    }

    #[test]
    fn a_cookie_is_for_no_script_and_no_other_site_and_over_tls_for_nothing_in_clear() {
        let sessions = Sessions::of(Path::new("/data"));
        let cookie = |with_tls| {
            let cookie = sessions.begin("anna", None, with_tls).expect("begins").1;
            cookie.to_str().expect("a text").to_owned()
        };
        let (clear, over_tls) = (cookie(false), cookie(true));
        assert!(clear.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{clear}");
        assert!(over_tls.ends_with("; SameSite=Strict; Secure"), "{over_tls}");
        let value = |cookie: &str| cookie.split_once('=').expect("a pair").1.len();
        assert!(value(&clear) > 64);
        assert_ne!(clear, cookie(false));
        let elsewhere = Sessions::of(Path::new("/other"));
        assert_ne!(sessions.cookie, elsewhere.cookie, "two services of one machine do not end each other's");
    }

    #[test]
    fn a_proxy_names_who_asks_and_what_it_asks_for_a_browser_comes_from_the_dashboards_own_page() {
        let asked = |method: Method, headers: &[(&str, &str)]| user_of_proxy(&request(method, headers), None);
        let name = ("x-forwarded-user", "anna");
        assert!(asked(Method::POST, &[]).expect("a program asks").is_none());
        let user = asked(Method::GET, &[name]).expect("may").expect("a name");
        assert_eq!((&*user.name, &*user.by), ("anna", "anna (proxy)"));
        assert!(asked(Method::POST, &[name]).is_err());
        assert!(asked(Method::GET, &[name, ("sec-fetch-site", "cross-site")]).is_err());
        assert!(asked(Method::POST, &[name, ("x-landfall", "dashboard")]).expect("may").is_some());
        assert!(asked(Method::GET, &[("x-forwarded-user", " ")]).is_err());
    }

    #[test]
    fn a_user_has_a_name_that_can_be_read_in_a_history() {
        let sessions = Sessions::of(Path::new("/data"));
        let long = "x".repeat(65);
        for wrong in ["", "  ", long.as_str(), "a\nb", "a\u{202e}b", "a\u{0}"] {
            assert!(sessions.begin(wrong, None, false).is_err(), "{wrong:?}");
        }
        let from = Some("::1".parse().expect("an address"));
        let (session, _) = sessions.begin("Jörg Müller", from, false).expect("begins");
        assert_eq!(&*session.by, "Jörg Müller (dashboard, ::1)");
    }
}
