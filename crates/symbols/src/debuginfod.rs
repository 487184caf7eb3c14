//! Debug files from debuginfod servers, which answer `GET <server>/buildid/<id>/debuginfo`.

use crate::build_id::BuildId;
use crate::error::Error;
use crate::store::Store;
use crate::upload::Upload;
use everflame_profile::Nanos;
use hashbrown::HashMap;
use parking_lot::Mutex;
use reqwest::StatusCode;
use reqwest::redirect::{Action, Attempt, Policy};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may be silent.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a file may take.
const TIMEOUT: Duration = Duration::from_secs(900);
/// How often a server may send us elsewhere for a file.
const MAX_REDIRECTS: usize = 3;
/// After so long a file that no server has is asked for again.
const MISSING: Nanos = 3_600_000_000_000;
/// After so long a file that could not be had is asked for again.
const FAILED: Nanos = 300_000_000_000;
/// Builds that are remembered as missing.
const MAX_MISSING: usize = 10_000;

/// The servers, and what they do not have.
pub(crate) struct Debuginfod {
    servers: Vec<Url>,
    client: reqwest::Client,
    /// When to ask again.
    missing: Mutex<HashMap<BuildId, Nanos>>,
}

/// How asking ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// The file is in the store.
    Stored,
    /// No server has it.
    Missing,
    /// A server could not be asked, or what it sent was not kept.
    Failed,
}

/// Whether `text` is the address of a server.
pub fn check_server(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{text:?}: {error}; write https://host/path"))?;
    if !url.username().is_empty() || url.password().is_some() {
        // The configuration is shown to whoever asks for it.
        return Err("an address with a name and password; write one without".to_owned());
    }
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(format!("{text:?} is no address of a web server; write https://host/path")),
    }
}

/// Follows a server that keeps its files elsewhere, but not away from an encrypted connection.
fn redirected(attempt: Attempt<'_>) -> Action {
    let is_encrypted = |url: &Url| url.scheme() == "https";
    let was_encrypted = attempt.previous().last().is_some_and(is_encrypted);
    let is_web = matches!(attempt.url().scheme(), "http" | "https");
    if attempt.previous().len() > MAX_REDIRECTS || !is_web || was_encrypted && !is_encrypted(attempt.url()) {
        // Then its answer is the one that counts, and no file.
        return attempt.stop();
    }
    attempt.follow()
}

impl Debuginfod {
    pub(crate) fn new(servers: Vec<Url>) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(TIMEOUT)
            .redirect(Policy::custom(redirected))
            .user_agent(concat!("everflame/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Self { servers, client, missing: Mutex::default() })
    }

    /// Whether asking for a build makes sense now.
    pub(crate) fn may_have(&self, build: &BuildId, now: Nanos) -> bool {
        self.missing.lock().get(build).is_none_or(|&until| now >= until)
    }

    /// Fetches the file of a build from the first server that has it.
    pub(crate) async fn fetch(&self, store: &Arc<Store>, build: &BuildId) -> Fetched {
        let mut outcome = Fetched::Missing;
        for server in &self.servers {
            match self.fetch_from(server, store, build).await {
                Ok(Some(bytes)) => {
                    tracing::info!(%build, bytes, host = server.host_str(), "a debug file was fetched");
                    return Fetched::Stored;
                }
                Ok(None) => {}
                Err(why) => {
                    tracing::warn!(%build, host = server.host_str(), why, "a debug file cannot be fetched");
                    outcome = Fetched::Failed;
                }
            }
        }
        let pause = if outcome == Fetched::Missing { MISSING } else { FAILED };
        let mut missing = self.missing.lock();
        if missing.len() >= MAX_MISSING {
            missing.clear();
        }
        missing.insert(build.clone(), store.clock.now().saturating_add(pause));
        outcome
    }

    async fn fetch_from(
        &self,
        server: &Url,
        store: &Arc<Store>,
        build: &BuildId,
    ) -> Result<Option<u64>, String> {
        let url = format!("{}/buildid/{build}/debuginfo", server.as_str().trim_end_matches('/'));
        // Errors of the client have the whole address in them, which may hold a secret.
        let plain = |error: reqwest::Error| error.without_url().to_string();
        let mut answer = self.client.get(url).send().await.map_err(plain)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            other => return Err(format!("it answered {other}")),
        }
        let most = store.limits().file_bytes;
        if let Some(bytes) = answer.content_length().filter(|&bytes| bytes > most) {
            return Err(store.too_large(bytes).to_string());
        }
        let (store, build) = (store.clone(), build.clone());
        let mut upload = blocking(move || Upload::fetch(&store, build)).await?;
        while let Some(chunk) = answer.chunk().await.map_err(plain)? {
            upload = blocking(move || {
                upload.write(&chunk)?;
                Ok(upload)
            })
            .await?;
        }
        blocking(move || upload.end_fetched()).await.map(Some)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}
