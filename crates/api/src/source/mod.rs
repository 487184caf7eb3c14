//! `/api/v1/source`: the source code of a service, where the configuration says where it is. It is read only,
//! a file at a time, and never larger than [`MAX_FILE`].

mod commit;
mod git;
mod http;
mod place;

use crate::app::App;
use crate::error::ApiError;
use crate::params::Params;
use ::http::Uri;
use ::http::header::CACHE_CONTROL;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
pub(crate) use commit::Commit;
pub use place::{CodePlace, CodeSource, check_revision};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Largest file.
const MAX_FILE: usize = 2 << 20;
/// Files that are looked for at once; more wait.
const AT_ONCE: usize = 4;
/// So many addresses are asked for one file.
const MAX_ADDRESSES: usize = 12;
/// Bytes in which a file that is no text has a zero.
const TELLING_BYTES: usize = 8_000;

/// The places that are configured.
pub(crate) struct Sources {
    places: Vec<CodePlace>,
    client: Option<reqwest_tls::Client>,
    turns: Semaphore,
}

/// A source file.
pub(crate) struct SourceFile {
    /// Its path in the repository.
    pub(crate) path: String,
    /// The commit, or the name under which a server of files has it.
    pub(crate) revision: String,
    /// Whether that is the revision that was asked for.
    pub(crate) is_exact: bool,
    /// Its text.
    pub(crate) content: String,
    /// Where people can look at it; empty when that is not known.
    pub(crate) url: String,
}

/// What is looked for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// The file, as a profile names it.
    pub(crate) file: &'a str,
    /// A function of the file; may be empty.
    pub(crate) function: &'a str,
    /// The commit, tag or branch; may be empty.
    pub(crate) revision: &'a str,
}

impl Sources {
    pub(crate) fn new(places: Vec<CodePlace>) -> Self {
        let is_remote = |place: &CodePlace| matches!(place.from, CodeSource::Http { .. });
        let client = places.iter().any(is_remote).then(http::client);
        let client = client.and_then(|client| {
            client.inspect_err(|error| tracing::warn!(%error, "source code cannot be fetched over HTTP")).ok()
        });
        Self { places, client, turns: Semaphore::new(AT_ONCE) }
    }

    /// The place of a service's code.
    pub(crate) fn of_service(&self, service: &str) -> Option<&CodePlace> {
        self.places.iter().find(|place| place.is_of(service))
    }

    /// The place of a repository's code.
    pub(crate) fn of_repository(&self, address: &str) -> Option<&CodePlace> {
        let name = bare_address(address);
        self.places.iter().find(|place| !name.is_empty() && bare_address(&place.repository) == name)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Finds a file in `place`.
    pub(crate) async fn file(&self, place: &CodePlace, wanted: Wanted<'_>) -> Result<SourceFile, ApiError> {
        let candidates = place.candidates(wanted.file)?;
        let revisions = place.revisions(wanted.revision)?;
        // Only a semaphore that is closed gives none, and this one never is.
        let _turn = self.turns.acquire().await.map_err(ApiError::internal)?;
        match &place.from {
            CodeSource::Git(_) => git_file(place, wanted, &candidates, &revisions).await,
            CodeSource::Http { .. } => self.http_file(place, wanted, &candidates, &revisions).await,
        }
    }

    async fn http_file(
        &self,
        place: &CodePlace,
        wanted: Wanted<'_>,
        candidates: &[String],
        revisions: &[String],
    ) -> Result<SourceFile, ApiError> {
        let CodeSource::Http { template, token_variable } = &place.from else { return Err(missing(wanted)) };
        let client = self.client.as_ref().ok_or_else(|| {
            ApiError::failed_precondition(
                "source code cannot be fetched over HTTP; the server's log says why",
            )
        })?;
        for (rank, at) in http::order(revisions.len(), candidates.len(), MAX_ADDRESSES) {
            let (Some(revision), Some(path)) = (revisions.get(rank), candidates.get(at)) else { continue };
            let address = http::address(template, revision, path);
            let Some(content) = http::get(client, &address, token_variable, MAX_FILE).await? else {
                continue;
            };
            let content = text(content, path)?;
            if at > 0 && !names(&content, wanted.function) {
                continue;
            }
            let is_exact = wanted.revision.is_empty() || rank + 1 < revisions.len();
            return Ok(SourceFile {
                path: path.clone(),
                revision: revision.clone(),
                is_exact,
                content,
                url: address,
            });
        }
        Err(missing(wanted))
    }
}

async fn git_file(
    place: &CodePlace,
    wanted: Wanted<'_>,
    candidates: &[String],
    revisions: &[String],
) -> Result<SourceFile, ApiError> {
    let CodeSource::Git(folder) = &place.from else { return Err(missing(wanted)) };
    let (rank, revision) = git::commit(folder, revisions).await?.ok_or_else(|| {
        ApiError::not_found(format_args!(
            "none of {} is a commit of the repository of this service; is it up to date?",
            revisions.join(", ")
        ))
    })?;
    for blob in git::files(folder, &revision, candidates).await? {
        if blob.bytes > MAX_FILE as u64 {
            return Err(too_large(&blob.path));
        }
        let content = text(git::content(folder, &blob).await?, &blob.path)?;
        if blob.at > 0 && !names(&content, wanted.function) {
            continue;
        }
        let is_exact = wanted.revision.is_empty() || rank + 1 < revisions.len();
        let url = page_of(&place.repository, &revision, &blob.path);
        return Ok(SourceFile { path: blob.path, revision, is_exact, content, url });
    }
    Err(missing(wanted))
}

/// A file that was found by an end of its path alone is the one that is meant if it names the function.
fn names(content: &str, function: &str) -> bool {
    place::identifier(function).is_none_or(|word| content.contains(word))
}

fn text(content: Vec<u8>, path: &str) -> Result<String, ApiError> {
    if content.iter().take(TELLING_BYTES).any(|byte| *byte == 0) {
        return Err(ApiError::not_found(format_args!("{path:?} is no text")));
    }
    Ok(String::from_utf8(content)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}

fn missing(wanted: Wanted<'_>) -> ApiError {
    ApiError::not_found(format_args!(
        "the repository of the service has no file {:?}; strip and root of source-code in the configuration say how \
         paths in profiles become paths in the repository",
        wanted.file
    ))
}

fn too_large(path: &str) -> ApiError {
    ApiError::not_found(format_args!("{path:?} is larger than {} MiB, and is not shown", MAX_FILE >> 20))
}

/// A repository's address without what people write or leave out.
fn bare_address(address: &str) -> &str {
    let address = address.trim_end_matches('/');
    let address = address.strip_suffix(".git").unwrap_or(address);
    address.split_once("://").map_or(address, |(_, rest)| rest)
}

/// The page of a repository, where its address says how that is called.
fn web_page(repository: &str) -> Option<String> {
    let name = bare_address(repository);
    name.starts_with("github.com/").then(|| format!("https://{name}"))
}

/// The page of a file; empty where there is none.
fn page_of(repository: &str, commit: &str, path: &str) -> String {
    let page = web_page(repository);
    page.map(|page| http::address(&format!("{page}/blob/{{ref}}/{{path}}"), commit, path)).unwrap_or_default()
}

/// `GET /api/v1/source`: whether the code of a service can be shown.
pub(crate) async fn available(State(app): State<Arc<App>>, uri: Uri) -> Result<Json<Value>, ApiError> {
    let params = Params::of(&uri)?;
    let place = app.sources.of_service(params.required("service", "api")?);
    Ok(Json(json!({ "available": place.is_some() })))
}

/// `GET /api/v1/source/file`: a file of a service, as a profile names it, at a revision.
pub(crate) async fn file(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let params = Params::of(&uri)?;
    let service = params.required("service", "api")?;
    let wanted = Wanted {
        file: params.required("file", "/app/main.go")?,
        function: params.text("function"),
        revision: params.text("revision"),
    };
    let place = app.sources.of_service(service).ok_or_else(|| {
        ApiError::not_found(format_args!(
            "where the code of {service:?} is has not been configured; see source-code in the configuration"
        ))
    })?;
    let found = app.sources.file(place, wanted).await?;
    let answer = json!({
        "path": found.path,
        "revision": found.revision,
        "exact": found.is_exact,
        "content": found.content,
        "url": found.url,
    });
    Ok(([(CACHE_CONTROL, "private, max-age=60")], Json(answer)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_known_under_all_their_names() {
        for address in [
            "https://github.com/example/shop",
            "http://github.com/example/shop.git",
            "github.com/example/shop/",
        ] {
            assert_eq!(bare_address(address), "github.com/example/shop");
        }
        assert_eq!(
            page_of("https://github.com/example/shop.git", "abc", "a b.go"),
            "https://github.com/example/shop/blob/abc/a%20b.go"
        );
        assert_eq!(page_of("/srv/shop", "abc", "a.go"), "");
    }
}
