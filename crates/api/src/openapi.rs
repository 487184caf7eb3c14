//! `GET /api/v1/openapi.json`: what Everflame's own API is. A change of a route belongs into the document, too;
//! a test compares the two.

use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

/// The document, OpenAPI 3.1.
const DOCUMENT: &str = include_str!("openapi.json");

pub(crate) async fn get() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn every_own_route_is_in_the_document() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        let routes = include_str!("server.rs");
        let paths: Vec<&str> = routes
            .split('"')
            .filter(|text| text.starts_with("/api/v1/") && !text.contains(char::is_whitespace))
            .collect();
        assert!(paths.len() > 10);
        for path in &paths {
            assert!(document["paths"].get(path).is_some(), "{path} is not in openapi.json");
        }
        for path in document["paths"].as_object().unwrap().keys() {
            assert!(paths.contains(&path.as_str()), "{path} of openapi.json is not served");
        }
    }
}
