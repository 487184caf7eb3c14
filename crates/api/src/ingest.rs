//! `POST /ingest` and `/pyroscope/ingest`: the wire of older SDKs.

use crate::app::App;
use crate::body;
use crate::error::ApiError;
use crate::multipart::{self, Parts};
use crate::params::Params;
use crate::times;
use axum::extract::{Request, State};
use bytes::Bytes;
use everflame_formats::Format as FileFormat;
use everflame_ingest::{FoldedFormat, IngestFile, IngestFolded, IngestPprof};
use everflame_profile::Nanos;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use std::sync::Arc;

/// Hz, when the sender does not say.
const DEFAULT_SAMPLE_RATE: u32 = 100;

/// What the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Pprof,
    MultipartPprof,
    Folded(FoldedFormat),
    File(FileFormat),
}

impl Format {
    /// The first rule that fits counts, as in Pyroscope; but multipart is looked for under `pprof` too.
    fn of(params: &Params, headers: &HeaderMap) -> Self {
        let content_type =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let multipart = multipart::is_multipart(headers);
        match (params.text("format"), content_type) {
            ("trie", _) | (_, "binary/octet-stream+trie") => Self::Folded(FoldedFormat::Trie),
            ("tree", _) | (_, "binary/octet-stream+tree") => Self::Folded(FoldedFormat::Tree),
            ("lines", _) => Self::Folded(FoldedFormat::Lines),
            (name, _) => match FileFormat::from_name(name) {
                Some(format) => Self::File(format),
                None if multipart => Self::MultipartPprof,
                None if name == "pprof" => Self::Pprof,
                None => Self::Folded(FoldedFormat::Folded),
            },
        }
    }
}

/// Stores the profile in the body.
pub(crate) async fn post(State(app): State<Arc<App>>, request: Request) -> Result<(), ApiError> {
    let (head, body) = request.into_parts();
    let params = Params::of(&head.uri)?;
    let now = app.now();
    let name = params.required("name", "service or name=service{region=eu}")?.to_owned();
    let (from, until) = (time(&params, "from", now)?, time(&params, "until", now)?);
    let spy_name = params.get("spyName").filter(|name| !name.is_empty()).unwrap_or("unknown").to_owned();
    let sample_rate = params.text("sampleRate").parse().unwrap_or(DEFAULT_SAMPLE_RATE);
    let format = Format::of(&params, &head.headers);
    let service = name.split('{').next().unwrap_or_default();
    let body = body::read_upload(&head.headers, body, &app, service).await?;
    match format {
        Format::Folded(format) => {
            app.ingest
                .ingest_folded(IngestFolded { name, from, until, sample_rate, spy_name, body, format })
                .await?;
        }
        Format::File(format) => {
            let (mut body, mut labels) = (body, None);
            if multipart::is_multipart(&head.headers) {
                let parts = Parts::read(&head.headers, &body::inflate_by_magic(body, app.load.budget())?)?;
                body = file_part(&parts, format)?;
                labels = parts.get("labels").filter(|labels| !labels.is_empty());
            }
            let sample_rate = params.text("sampleRate").parse().ok();
            app.ingest
                .ingest_file(IngestFile { name, from, until, sample_rate, spy_name, body, labels, format })
                .await?;
        }
        Format::Pprof => {
            let upload = IngestPprof { name, from, until, spy_name, profile: body, ..Default::default() };
            app.ingest.ingest_pprof(upload).await?;
        }
        Format::MultipartPprof => {
            // Some senders compress the multipart body without saying so.
            let parts = Parts::read(&head.headers, &body::inflate_by_magic(body, app.load.budget())?)?;
            let profile = parts.get("profile").ok_or_else(|| missing_part("profile", &parts))?;
            let (prev_profile, sample_type_config) =
                (parts.get("prev_profile"), parts.get("sample_type_config"));
            let upload =
                IngestPprof { name, from, until, spy_name, profile, prev_profile, sample_type_config };
            app.ingest.ingest_pprof(upload).await?;
        }
    }
    Ok(())
}

/// The part of a multipart body that holds the file: called like its format, or `profile`.
fn file_part(parts: &Parts, format: FileFormat) -> Result<Bytes, ApiError> {
    let found = [format.as_str(), "profile"].iter().find_map(|name| parts.get(name));
    found.ok_or_else(|| missing_part(format.as_str(), parts))
}

fn missing_part(name: &str, parts: &Parts) -> ApiError {
    ApiError::unprocessable(format_args!(
        "multipart body: no part is called {name} (there are {:?}); send the profile as {name}",
        parts.names()
    ))
}

/// The time called `name`, 0 when it is absent.
fn time(params: &Params, name: &str, now: Nanos) -> Result<Nanos, ApiError> {
    match params.get(name).map(str::trim) {
        None | Some("") => Ok(0),
        Some(text) => times::parse(name, text, now),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats() {
        let check = |query: &str, content_type: &'static str, expect: Format| {
            let params = Params::of(&format!("/ingest?{query}").parse().unwrap()).unwrap();
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(content_type))]);
            assert_eq!(Format::of(&params, &headers), expect, "{query} {content_type}");
        };
        let multipart = "multipart/form-data; boundary=x";
        check("", "", Format::Folded(FoldedFormat::Folded));
        check("format=groups", "text/plain", Format::Folded(FoldedFormat::Folded));
        check("format=nonsense", "", Format::Folded(FoldedFormat::Folded));
        check("format=lines", multipart, Format::Folded(FoldedFormat::Lines));
        check("format=pprof", "", Format::Pprof);
        check("format=pprof", multipart, Format::MultipartPprof);
        check("", multipart, Format::MultipartPprof);
        check("format=speedscope", multipart, Format::File(FileFormat::Speedscope));
        check("format=jfr", multipart, Format::File(FileFormat::Jfr));
        check("", "binary/octet-stream+trie", Format::Folded(FoldedFormat::Trie));
        check("format=tree", "text/plain", Format::Folded(FoldedFormat::Tree));
    }
}
