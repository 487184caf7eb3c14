//! Clients that do not say what they are going to say, over real sockets.

use crate::fixture::Fixture;
use everflame_api::{Patience, ServerConfig};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SHORT: Duration = Duration::from_millis(200);
/// Longer than anything here may take.
const LONG: Duration = Duration::from_secs(60);
/// Nothing that is waited for counts as progress.
const NO_RATE: Patience =
    Patience { first_bytes: SHORT, head: LONG, body: SHORT, bytes_per_second: u32::MAX };

/// A server of two connections and one request.
async fn serve(patience: Patience) -> SocketAddr {
    let config = ServerConfig { patience, max_connections: 2, max_requests: 1, ..ServerConfig::default() };
    let fixture = Fixture::with(config).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { fixture.server.serve(listener, std::future::pending()).await });
    address
}

async fn connect(address: SocketAddr, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(first).await.unwrap();
    stream
}

/// All that comes until the server closes the connection.
async fn rest(mut stream: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    // A connection that is reset is closed, too.
    _ = tokio::time::timeout(LONG, stream.read_to_end(&mut bytes)).await.unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What comes until it has `expect` in it.
async fn until(mut stream: TcpStream, expect: &str) -> String {
    let mut bytes = Vec::new();
    while !String::from_utf8_lossy(&bytes).contains(expect) {
        let read = tokio::time::timeout(LONG, stream.read_buf(&mut bytes)).await.unwrap().unwrap();
        assert!(read > 0, "{:?}", String::from_utf8_lossy(&bytes));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn post(path: &str, headers: &str) -> Vec<u8> {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\n{headers}\r\n").into_bytes()
}

#[tokio::test]
async fn connections_that_say_nothing_make_room() {
    let address = serve(NO_RATE).await;
    let silent = [connect(address, b"").await, connect(address, b"PRI * HT").await];
    // It is accepted when one of the others is closed.
    let third = connect(address, b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await;
    assert!(rest(third).await.starts_with("HTTP/1.1 200 OK"));
    for silent in silent {
        assert_eq!(rest(silent).await, "");
    }
}

#[tokio::test]
async fn a_connection_that_has_spoken_may_be_idle() {
    let address = serve(NO_RATE).await;
    let request = b"GET /ready HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut stream = connect(address, request).await;
    let mut bytes = [0; 12];
    stream.read_exact(&mut bytes).await.unwrap();
    // The first bytes of two others are waited for in the meantime, one after the other.
    assert_eq!(rest(connect(address, b"").await).await, "");
    assert_eq!(rest(connect(address, b"").await).await, "");
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
    assert_eq!(rest(stream).await.matches("HTTP/1.1 200 OK").count(), 1);
}

#[tokio::test]
async fn bodies_that_do_not_come_are_given_up() {
    let address = serve(NO_RATE).await;
    for (path, content_type, status, expect) in [
        ("/ingest?name=a", "text/plain", "408", r#"{"code":"canceled","message":"the body"#),
        (
            "/push.v1.PusherService/Push",
            "application/json",
            "408",
            r#"{"code":"canceled","message":"the body"#,
        ),
        ("/v1development/profiles", "application/json", "408", r#"{"code":1,"message":"the body"#),
        ("/api/0/profiles?service=a&type=cpu", "", "408", r#"{"code":408,"error":"the body"#),
        ("/push.v1.PusherService/Push", "application/grpc", "200", "grpc-status: 1\r\n"),
    ] {
        let mut request = post(path, &format!("content-type: {content_type}\r\ncontent-length: 100000\r\n"));
        request.push(b'a');
        let answer = rest(connect(address, &request).await).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {content_type}: {answer}");
        assert!(answer.contains(expect), "{path} {content_type}: {answer}");
    }
}

#[tokio::test]
async fn a_body_in_drops_is_given_up_and_one_in_pieces_is_not() {
    // Each piece comes in time; the drops earn none.
    let drops = Patience { body: SHORT, ..NO_RATE };
    let pieces = Patience { bytes_per_second: 1, ..drops };
    for (patience, expect) in [(drops, "HTTP/1.1 408 "), (pieces, "HTTP/1.1 200 ")] {
        let address = serve(patience).await;
        let body = b"main;work 1\nmain;work 1\n";
        let headers = format!("content-length: {}\r\nconnection: close\r\n", body.len());
        let stream = connect(address, &post("/ingest?name=a&format=folded", &headers)).await;
        let (answer, mut stream) = stream.into_split();
        let answer = tokio::spawn(rest(answer));
        for byte in body {
            // Time passes here because it is what this is about.
            tokio::time::sleep(SHORT / 10).await;
            // The server may have closed the connection.
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
        }
        let answer = answer.await.unwrap();
        assert!(answer.starts_with(expect), "{answer}");
    }
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_before_it_comes() {
    let address = serve(Patience { first_bytes: LONG, head: LONG, body: LONG, bytes_per_second: 1 }).await;
    for (path, content_type, status, expect) in [
        ("/ingest?name=a", "text/plain", "413", "the body is larger than"),
        ("/push.v1.PusherService/Push", "application/json", "413", "resource_exhausted"),
        ("/v1development/profiles", "application/json", "413", r#"{"code":8,"#),
        ("/push.v1.PusherService/Push", "application/grpc", "200", "grpc-status: 8\r\n"),
    ] {
        for asks in ["expect: 100-continue\r\n", ""] {
            let headers = format!("content-type: {content_type}\r\ncontent-length: 1000000000\r\n{asks}");
            let answer = until(connect(address, &post(path, &headers)).await, expect).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {content_type}: {answer}");
        }
    }
}

#[tokio::test]
async fn too_many_requests_are_turned_away_in_the_form_of_their_wire() {
    let address = serve(Patience { body: LONG, ..NO_RATE }).await;
    let first = connect(address, &post("/ingest?name=a", "content-length: 10\r\n")).await;
    let question = "content-type: application/grpc\r\ncontent-length: 5\r\nconnection: close\r\n";
    let answer = loop {
        // Until the first is being worked on.
        let mut request = post("/push.v1.PusherService/Push", question);
        request.extend([0_u8; 5]);
        let answer = rest(connect(address, &request).await).await;
        if !answer.contains("grpc-status: 3") {
            break answer;
        }
    };
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("grpc-status: 14\r\n"), "{answer}");
    assert!(answer.contains("retry-after: 2\r\n"), "{answer}");
    drop(first);
}
