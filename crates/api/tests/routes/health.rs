//! Health, listened to until the server stops, over real sockets.

use crate::fixture::Fixture;
use everflame_api::ServerConfig;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Longer than anything here may take.
const LONG: Duration = Duration::from_secs(60);

struct Watch {
    stream: TcpStream,
    said: Vec<u8>,
}

impl Watch {
    /// Listens for `service` by Connect's streams.
    async fn of(address: SocketAddr, service: &str) -> Self {
        let message = format!("{{\"service\":\"{service}\"}}");
        let head = format!(
            "POST /grpc.health.v1.Health/Watch HTTP/1.1\r\nhost: a\r\ncontent-type: application/connect+json\r\n\
             content-length: {}\r\n\r\n\0\0\0\0",
            message.len() + 5
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[message.len() as u8]).await.unwrap();
        stream.write_all(message.as_bytes()).await.unwrap();
        Self { stream, said: Vec::new() }
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&self.said).into_owned()
    }

    async fn until(&mut self, expect: &str) {
        while !self.said().contains(expect) {
            let read =
                tokio::time::timeout(LONG, self.stream.read_buf(&mut self.said)).await.unwrap().unwrap();
            assert!(read > 0, "{expect} does not come after {:?}", self.said());
        }
    }
}

#[tokio::test]
async fn watchers_hear_that_the_server_stops_and_do_not_keep_it() {
    let config = ServerConfig { max_requests: 1, shutdown_grace: LONG * 2, ..ServerConfig::default() };
    let fixture = Fixture::with(config).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        fixture.server.serve(listener, async { drop(stopped.await) }).await.unwrap();
    });
    // They are more than the requests that are worked on at once.
    let mut known = Watch::of(address, "push.v1.PusherService").await;
    known.until("\"SERVING\"").await;
    let mut unknown = Watch::of(address, "no.Service").await;
    unknown.until("\"SERVICE_UNKNOWN\"").await;
    stop.send(()).unwrap();
    known.until("\"NOT_SERVING\"").await;
    // The last chunk.
    known.until("\r\n0\r\n\r\n").await;
    unknown.until("\r\n0\r\n\r\n").await;
    assert!(!unknown.said().contains("\"NOT_SERVING\""), "{:?}", unknown.said());
    tokio::time::timeout(LONG, server).await.unwrap().unwrap();
}
