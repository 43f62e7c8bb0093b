//! What the page is made of: files that are part of the program.

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};

use super::super::problem::Problem;

/// Nothing but what this service serves is loaded, run or asked.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      frame-ancestors 'none'; base-uri 'none'; form-action 'self'";
const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

struct Asset {
    path: &'static str,
    content: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($path:literal, $content:expr, $file:literal) => {
        Asset { path: $path, content: $content, bytes: include_bytes!(concat!("assets/", $file)) }
    };
}

const ASSETS: &[Asset] = &[
    asset!("/", HTML, "index.html"),
    asset!("/dashboard/style.css", CSS, "style.css"),
    asset!("/dashboard/icon.svg", "image/svg+xml", "icon.svg"),
    // Preact with htm, as published (licences beside it).
    asset!("/dashboard/vendor/preact.js", SCRIPT, "vendor/preact.js"),
    asset!("/dashboard/app.js", SCRIPT, "app.js"),
    asset!("/dashboard/api.js", SCRIPT, "api.js"),
    asset!("/dashboard/parts.js", SCRIPT, "parts.js"),
    asset!("/dashboard/words.js", SCRIPT, "words.js"),
    asset!("/dashboard/overview.js", SCRIPT, "overview.js"),
    asset!("/dashboard/rules.js", SCRIPT, "rules.js"),
    asset!("/dashboard/jobs.js", SCRIPT, "jobs.js"),
    asset!("/dashboard/job.js", SCRIPT, "job.js"),
    asset!("/dashboard/records.js", SCRIPT, "records.js"),
    asset!("/dashboard/explain.js", SCRIPT, "explain.js"),
];

pub(in crate::api) fn paths() -> impl Iterator<Item = &'static str> {
    ASSETS.iter().map(|asset| asset.path)
}

/// The file of this path. Nobody need prove who he is: it holds nothing of the service's.
pub(in crate::api) fn answer(path: &str, request: &Request<Body>) -> Result<Response<Body>, Problem> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return Err(Problem::no_such_method(request.method().as_str(), "GET, HEAD"));
    }
    let asset = ASSETS.iter().find(|asset| asset.path == path).ok_or_else(|| Problem::no_such_path(path))?;
    let tag = format!("\"{}\"", &blake3::hash(asset.bytes).to_hex()[..32]);
    let knows_it =
        request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = Response::new(if knows_it { Body::empty() } else { Body::from(asset.bytes) });
    if knows_it {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers: [(HeaderName, &'static str); 6] = [
        (CONTENT_TYPE, asset.content),
        // Kept, and asked for by its tag each time: a new version counts at once.
        (CACHE_CONTROL, "no-cache"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(ETAG, tag);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Write as _;

    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::model::hex::hex_bytes;

    /// All scripts of the page together, packed.
    const SCRIPT_BYTES_MAX: usize = 60 << 10;
    const PREACT: &str = "/dashboard/vendor/preact.js";
    /// Of `preact/standalone.module.js` of htm 3.1.1: what was taken over is what its makers published.
    const PREACT_SHA256: &str = "72284e8e9079c87817145df1110f74e8a2aa040b2fc384922e18dfcb46fc1fd7";

    fn asked(method: Method, path: &str, tag: Option<&HeaderValue>) -> Result<Response<Body>, Problem> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        answer(path, &request.body(Body::empty()).expect("a request"))
    }

    fn text(path: &str) -> &'static str {
        let asset = ASSETS.iter().find(|asset| asset.path == path).expect("is there");
        std::str::from_utf8(asset.bytes).expect("is UTF-8")
    }

    fn scripts() -> impl Iterator<Item = &'static Asset> {
        ASSETS.iter().filter(|asset| asset.content == SCRIPT)
    }

    #[test]
    fn every_file_is_served_with_its_policy_and_a_tag_by_which_it_is_not_sent_twice() {
        for path in paths() {
            let first = asked(Method::GET, path, None).expect("is there");
            assert_eq!(first.status(), StatusCode::OK);
            let policy = first.headers()[CONTENT_SECURITY_POLICY].to_str().expect("a text");
            for part in
                ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"]
            {
                assert!(policy.contains(part), "{policy}");
            }
            assert!(!policy.contains("unsafe"), "{policy}");
            assert_eq!(first.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(first.headers()[REFERRER_POLICY], "no-referrer");
            assert_eq!(first.headers()[CACHE_CONTROL], "no-cache");
            let again = asked(Method::GET, path, Some(&first.headers()[ETAG])).expect("is there");
            assert_eq!(
                (again.status(), &again.headers()[ETAG]),
                (StatusCode::NOT_MODIFIED, &first.headers()[ETAG])
            );
            let other = asked(Method::GET, path, Some(&HeaderValue::from_static("\"0\""))).expect("is there");
            assert_eq!(other.status(), StatusCode::OK);
            let refused = asked(Method::POST, path, None).expect_err("nothing is to be changed");
            assert_eq!(refused.into_response().status(), StatusCode::METHOD_NOT_ALLOWED);
        }
        assert!(asked(Method::GET, "/dashboard/other.js", None).is_err());
        let tags: BTreeSet<_> = paths()
            .map(|path| {
                asked(Method::GET, path, None).expect("is there").headers()[ETAG].clone().as_bytes().to_vec()
            })
            .collect();
        assert_eq!(tags.len(), ASSETS.len());
    }

    #[test]
    fn all_scripts_packed_are_small() {
        let packed = |bytes: &[u8]| {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes).expect("packs");
            encoder.finish().expect("packs").len()
        };
        let sum: usize = scripts().map(|asset| packed(asset.bytes)).sum();
        assert!(sum <= SCRIPT_BYTES_MAX, "{sum} bytes of script are more than {SCRIPT_BYTES_MAX}");
    }

    #[test]
    fn what_was_taken_over_is_what_its_makers_published() {
        assert_eq!(Some(Sha256::digest(text(PREACT)).to_vec()), hex_bytes(PREACT_SHA256));
    }

    /// Goal: a file that is written, and not served, is seen here and not in a browser.
    #[test]
    fn the_page_names_files_that_are_there_and_every_script_is_fetched_at_once() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api/dashboard/assets");
        let files =
            std::fs::read_dir(folder).expect("is there").map(|file| file.expect("is read").file_name());
        let files: BTreeSet<_> = files.map(|name| name.to_string_lossy().into_owned()).collect();
        let served: BTreeSet<_> = paths()
            .map(|path| path.strip_prefix("/dashboard/").unwrap_or("index.html").to_owned())
            .map(|path| path.split('/').next().expect("a name").to_owned())
            .collect();
        assert_eq!(files, served);
        let page = text("/");
        for asset in ASSETS.iter().filter(|asset| asset.path != "/") {
            assert!(page.contains(&format!("\"{}\"", asset.path)), "{} is not in the page", asset.path);
        }
        for script in scripts().filter(|script| script.path != PREACT) {
            for named in text(script.path).split(" from \"./").skip(1) {
                let path = format!("/dashboard/{}", named.split('"').next().expect("a path"));
                assert!(paths().any(|path_there| path_there == path), "{}: {path}", script.path);
            }
        }
    }

    /// Names of files and records are hostile: they go into the page as text alone.
    #[test]
    fn no_script_writes_markup_or_asks_another_host() {
        let banned =
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "://"];
        for script in scripts().filter(|script| script.path != PREACT) {
            for word in banned {
                assert!(!text(script.path).contains(word), "{} has `{word}`", script.path);
            }
        }
        let page = text("/");
        assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"), "{page}");
        assert_eq!(page.matches("<script").count(), page.matches("<script type=\"module\" src=").count());
        assert!(
            !text("/dashboard/style.css").contains("://")
                && !text("/dashboard/style.css").contains("@import")
        );
    }
}
