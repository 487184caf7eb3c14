//! Requests to a server, and what a person is told when they fail.

use anyhow::{Context, bail};
use reqwest::{RequestBuilder, Response, StatusCode};
use std::time::Duration;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// How long work may take that a server does while somebody waits.
const LONG_TIMEOUT: Duration = Duration::from_secs(6 * 3600);

/// Which server to talk to.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// Base address of the server; user:password@ before the host is sent as Basic authentication.
    #[arg(long, env = "EVERFLAME_URL", default_value = "http://127.0.0.1:4040")]
    url: String,
}

/// A server.
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

/// Runs a command that mostly waits for a server.
pub(crate) fn block_on(command: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(command)
}

impl Client {
    pub(crate) fn new(args: &ServerArgs) -> anyhow::Result<Self> {
        Self::with_timeout("--url", &args.url, TIMEOUT)
    }

    /// For requests that are answered when long work is done.
    pub(crate) fn patient(url: &str) -> anyhow::Result<Self> {
        Self::with_timeout("--url", url, LONG_TIMEOUT)
    }

    /// A client of the server at `url`, which the flag `flag` names.
    pub(crate) fn with_timeout(flag: &str, url: &str, timeout: Duration) -> anyhow::Result<Self> {
        if !url.starts_with("http://") {
            bail!("{flag}: {url:?} does not begin with http://; write it as http://127.0.0.1:4040");
        }
        let http = reqwest::Client::builder().timeout(timeout).build().context("HTTP client")?;
        Ok(Self { http, base: url.trim_end_matches('/').to_owned() })
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(format!("{}{path}", self.base))
    }

    pub(crate) fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(format!("{}{path}", self.base))
    }

    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        self.http.delete(format!("{}{path}", self.base))
    }

    /// Sends `request` and returns the answer if it is a success; otherwise what the server says is wrong.
    pub(crate) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                return Err(anyhow::Error::new(error).context(format!(
                    "{} cannot be reached; start a server with `everflame serve`, or name another with --url",
                    self.base
                )));
            }
            Err(error) => {
                return Err(anyhow::Error::new(error).context(format!("{} does not answer", self.base)));
            }
        };
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.text().await.unwrap_or_default();
        bail!("{} says {}", self.base, refusal(status, &body));
    }
}

/// Status and message of a refusal, whichever wire's JSON the message is in.
fn refusal(status: StatusCode, body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let field = |name: &str| json.as_ref().and_then(|json| json.get(name)?.as_str().map(str::to_owned));
    let message = field("message").or_else(|| field("error")).unwrap_or_else(|| body.trim().to_owned());
    match message.is_empty() {
        true => status.to_string(),
        false => format!("{status}: {message}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_show_the_message() {
        for (body, expect) in [
            (r#"{"code":"invalid_argument","message":"labels: no"}"#, "400 Bad Request: labels: no"),
            (r#"{"code":404,"error":"nothing found"}"#, "400 Bad Request: nothing found"),
            ("plain\n", "400 Bad Request: plain"),
            ("", "400 Bad Request"),
        ] {
            assert_eq!(refusal(StatusCode::BAD_REQUEST, body), expect);
        }
    }
}
