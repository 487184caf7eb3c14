//! The text form of gRPC-Web, in which Parca's pages speak: base64 around the bytes of the binary form, which
//! may be several pieces behind one another, each with its padding
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>).

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use base64::engine::general_purpose::STANDARD;
use base64::{DecodeError, Engine};
use futures::{Stream, StreamExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};

const TEXT: &str = "application/grpc-web-text";
const TEXT_OF_PROTOBUF: HeaderValue = HeaderValue::from_static("application/grpc-web-text+proto");
const BINARY: HeaderValue = HeaderValue::from_static("application/grpc-web+proto");

/// Hands on a request in text form as one in binary form, and answers in text form.
pub(crate) async fn translate(mut request: Request, next: Next) -> Response {
    if !is(TEXT, request.headers()) {
        return next.run(request).await;
    }
    head(request.headers_mut(), BINARY);
    let response = next.run(request.map(|body| Body::from_stream(decoded(body.into_data_stream())))).await;
    // A refusal before the service has a form of its own.
    if !is("application/grpc-web", response.headers()) {
        return response;
    }
    let mut response = response.map(|body| {
        Body::from_stream(body.into_data_stream().map_ok(|bytes| STANDARD.encode(bytes).into_bytes()))
    });
    head(response.headers_mut(), TEXT_OF_PROTOBUF);
    response
}

fn is(content_type: &str, headers: &HeaderMap) -> bool {
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    sent.get(..content_type.len()).is_some_and(|start| start.eq_ignore_ascii_case(content_type))
}

fn head(headers: &mut HeaderMap, content_type: HeaderValue) {
    headers.insert(CONTENT_TYPE, content_type);
    headers.remove(CONTENT_LENGTH);
}

/// What is wrong with a body in text form.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Body(#[from] axum::Error),
    #[error("the body is no base64, as gRPC-Web's text form wants it: {0}")]
    Base64(#[from] DecodeError),
}

/// The bytes of `body`, which comes in pieces of any length.
fn decoded(body: BodyDataStream) -> impl Stream<Item = Result<Vec<u8>, Fault>> {
    let mut rest = Vec::new();
    body.map(move |piece| {
        rest.extend_from_slice(&piece?);
        let text = rest.drain(..rest.len() - rest.len() % 4).collect::<Vec<u8>>();
        Ok(decode(&text)?)
    })
}

/// The bytes of pieces of base64, each of which may end in padding.
fn decode(mut text: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    while !text.is_empty() {
        let end = text.iter().position(|&byte| byte == b'=').map_or(text.len(), |at| (at / 4 + 1) * 4);
        let (piece, after) = text.split_at_checked(end).unwrap_or((text, &[]));
        STANDARD.decode_vec(piece, &mut bytes)?;
        text = after;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_with_padding() {
        let text = ["a", "bc", "", "def", "g"].map(|piece| STANDARD.encode(piece)).concat();
        assert_eq!(decode(text.as_bytes()).unwrap(), b"abcdefg");
        assert!(decode(b"a=bc").is_err());
        assert!(decode(b"====").is_err());
        assert!(decode("äöü".as_bytes()).is_err());
    }

    #[tokio::test]
    async fn pieces_of_any_length() {
        let text = STANDARD.encode("everflame") + &STANDARD.encode("!");
        for length in 1..=text.len() {
            let pieces = text.as_bytes().chunks(length).map(|piece| Ok::<_, axum::Error>(piece.to_vec()));
            let body = Body::from_stream(futures::stream::iter(pieces.collect::<Vec<_>>()));
            let bytes: Vec<Vec<u8>> = decoded(body.into_data_stream()).try_collect().await.unwrap();
            assert_eq!(bytes.concat(), b"everflame!", "{length}");
        }
    }

    #[test]
    fn content_types() {
        for (content_type, expect) in [
            ("application/grpc-web-text", true),
            ("Application/gRPC-Web-Text+proto", true),
            ("application/grpc-web+proto", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            assert_eq!(is(TEXT, &headers), expect, "{content_type}");
        }
    }
}
