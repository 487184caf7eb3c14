//! A file of a commit, from a server of single files. The server is the one in the configuration and no other:
//! redirects are not followed, and what a client sends fills the places of `{ref}` and `{path}` alone.

use crate::error::ApiError;
use futures::StreamExt;
use reqwest_tls::StatusCode;
use reqwest_tls::redirect::Policy;
use std::fmt::Write;
use std::time::Duration;

/// How long the server may take for one file.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The client for all sources.
pub(super) fn client() -> Result<reqwest_tls::Client, reqwest_tls::Error> {
    reqwest_tls::Client::builder().redirect(Policy::none()).timeout(TIMEOUT).user_agent("everflame").build()
}

/// The address of `path` at `revision`.
pub(super) fn address(template: &str, revision: &str, path: &str) -> String {
    template.replace("{ref}", &encoded(revision)).replace("{path}", &encoded(path))
}

/// Positions of revisions and candidates, in the order in which they are asked for.
pub(super) fn order(revisions: usize, candidates: usize, most: usize) -> Vec<(usize, usize)> {
    (0..revisions).flat_map(|revision| (0..candidates).map(move |at| (revision, at))).take(most).collect()
}

/// The file at `address`; `None` when there is none.
pub(super) async fn get(
    client: &reqwest_tls::Client,
    address: &str,
    token_variable: &str,
    most: usize,
) -> Result<Option<Vec<u8>>, ApiError> {
    let fault = |error: reqwest_tls::Error| {
        ApiError::unavailable(format_args!(
            "{address}: {}; see source-code in the configuration",
            error.without_url()
        ))
    };
    let mut request = client.get(address);
    if let Some(token) = std::env::var(token_variable).ok().filter(|_| !token_variable.is_empty()) {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.map_err(fault)?;
    match answer.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Ok(None),
        status => {
            return Err(ApiError::unavailable(format_args!(
                "{address} answered {status}; see source-code in the configuration"
            )));
        }
    }
    let mut content = Vec::new();
    let mut body = answer.bytes_stream();
    while let Some(part) = body.next().await {
        content.extend_from_slice(&part.map_err(fault)?);
        if content.len() > most {
            return Err(super::too_large(address));
        }
    }
    Ok(Some(content))
}

/// Percent-encodes all but letters, digits, `-._~` and the slashes between the parts.
fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for &byte in path.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                text.push(byte.into())
            }
            // Writing to a string does not fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_asked_for_stays_in_its_place() {
        let template = "https://git.example/shop/raw/{ref}/{path}?plain=1";
        assert_eq!(
            super::address(template, "v1+2", "a b/ü?x=#{ref}.go"),
            "https://git.example/shop/raw/v1%2B2/a%20b/%C3%BC%3Fx%3D%23%7Bref%7D.go?plain=1"
        );
    }
}
