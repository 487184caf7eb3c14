//! The files of the web UI, which are part of the binary.

use crate::not_found;
use axum::response::{IntoResponse, Redirect, Response};
use http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri};

/// Path and content, sorted by path.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/ui_files.rs"));

/// Pages that the UI draws itself.
const PAGES: [&str; 13] = [
    "/",
    "/services",
    "/explore",
    "/compare",
    "/comparison",
    "/comparison-diff",
    "/labels",
    "/heatmap",
    "/function",
    "/adhoc",
    "/sql",
    "/status",
    "/setup",
];

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Answers GET with a page, a file, or where things are; browsers get a page that says it.
pub(crate) async fn get(request: HeaderMap, uri: Uri) -> Response {
    let path = uri.path();
    let page = path.trim_end_matches('/');
    if page != path && PAGES.contains(&page) {
        let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
        return Redirect::permanent(&format!("{page}{query}")).into_response();
    }
    let name = if PAGES.contains(&path) { "index.html" } else { path.trim_start_matches('/') };
    match file(name) {
        Some(found) => found,
        None if wants_page(&request) => match file("index.html") {
            Some(page) => (StatusCode::NOT_FOUND, page).into_response(),
            None => not_found::path(uri).await.into_response(),
        },
        None => not_found::path(uri).await.into_response(),
    }
}

fn file(name: &str) -> Option<Response> {
    let at = FILES.binary_search_by(|(other, _)| (*other).cmp(name)).ok()?;
    FILES.get(at).map(|(name, content)| (headers(name), *content).into_response())
}

/// Whether somebody has opened an address in a browser.
fn wants_page(request: &HeaderMap) -> bool {
    let accepts = request.get(ACCEPT).and_then(|accepts| accepts.to_str().ok()).unwrap_or_default();
    accepts.contains("text/html")
}

fn headers(name: &str) -> HeaderMap {
    let pairs = [
        (CONTENT_TYPE, content_type(name)),
        (CACHE_CONTROL, if is_hashed(name) { "public, max-age=31536000, immutable" } else { "no-cache" }),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    pairs.into_iter().map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
}

/// Whether the name changes with the content: `assets/index-D1sju9hi.css`.
fn is_hashed(name: &str) -> bool {
    let stem = name.strip_prefix("assets/").and_then(|file| file.rsplit_once('.')).map(|(stem, _)| stem);
    stem.and_then(|stem| stem.rsplit_once('-')).is_some_and(|(_, hash)| hash.len() >= 8)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("webmanifest") => "application/manifest+json",
        Some("txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_a_hash_are_kept_by_browsers() {
        assert!(is_hashed("assets/index-D1sju9hi.css"));
        assert!(!is_hashed("assets/everflame.svg"));
        assert!(!is_hashed("index-12345678.html"));
    }

    #[tokio::test]
    async fn slashes_at_the_end_and_unknown_pages() {
        let answer = async |path: &'static str, accept: &'static str| {
            let request = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            let answer = get(request, Uri::from_static(path)).await;
            let text = |name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            (answer.status().as_u16(), text(http::header::LOCATION).or(text(CONTENT_TYPE)).unwrap())
        };
        let (html, json) = ("text/html; charset=utf-8".to_owned(), "application/json".to_owned());
        assert_eq!(answer("/explore/?v=1&a=b", "*/*").await, (308, "/explore?v=1&a=b".to_owned()));
        assert_eq!(answer("/", "*/*").await, (200, html.clone()));
        assert_eq!(answer("/nosuch", "text/html,*/*;q=0.8").await, (404, html));
        assert_eq!(answer("/nosuch", "*/*").await, (404, json));
    }

    #[test]
    fn files_are_sorted_and_have_a_first_page() {
        assert!(FILES.is_sorted_by_key(|(name, _)| *name));
        assert!(FILES.iter().any(|(name, _)| *name == "index.html"));
    }
}
