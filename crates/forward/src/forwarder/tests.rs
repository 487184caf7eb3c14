//! What is sent to an end that does not take everything, over a real socket.

use super::*;
use crate::outgoing::tests::batch;
use crate::select::Select;
use crate::status::ForwardStatus;
use crate::via::Via;
use crate::via::tests::chain;
use everflame_formats::{Limits, gzip};
use everflame_profile::Nanos;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request that arrived: its chain, and the numbers of the services in it.
#[derive(Clone, Debug, PartialEq)]
struct Received {
    via: String,
    services: Vec<usize>,
}

/// What the other end answers to a request, of which it has had so many before: status line, headers
/// and body.
type Answer = fn(usize, &[usize]) -> &'static str;

struct Always;

impl Clock for Always {
    fn now(&self) -> Nanos {
        1_700_000_000_000_000_000
    }
}

async fn serve(listener: TcpListener, answer: Answer, received: Arc<Mutex<Vec<Received>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer_all(stream, answer, received.clone()));
    }
}

async fn answer_all(mut stream: TcpStream, answer: Answer, received: Arc<Mutex<Vec<Received>>>) {
    let mut bytes = Vec::new();
    loop {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        let head = String::from_utf8_lossy(&bytes[..end.unwrap_or_default()]).to_ascii_lowercase();
        let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let length: usize =
            header("content-length:").and_then(|length| length.parse().ok()).unwrap_or_default();
        let end = match end {
            Some(end) if bytes.len() >= end + length => end,
            _ => match stream.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => return,
                Ok(_) => continue,
            },
        };
        let message = gzip::inflate(&bytes[end..end + length], &Limits::default()).unwrap();
        let text = String::from_utf8_lossy(&message);
        let services: Vec<usize> =
            text.split("service-").skip(1).map(|rest| rest[..2].parse().unwrap()).collect();
        let before = received.lock().len();
        let reply = format!("HTTP/1.1 {}", answer(before, &services));
        let via = header("everflame-via:").unwrap_or_default().to_owned();
        received.lock().push(Received { via, services });
        bytes.drain(..end + length);
        if stream.write_all(reply.as_bytes()).await.is_err() {
            return;
        }
    }
}

const OK: &str = "200 OK\r\ncontent-length: 0\r\n\r\n";

/// What becomes of entries that came through these chains, one of each service.
struct Outcome {
    own: String,
    received: Vec<Received>,
    unsent: Vec<Unsent>,
    status: ForwardStatus,
}

async fn forward(chains: &[Via], answer: Answer) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let select = Select::new(|_| true);
    let spool = Arc::new(Spool::open(folder.path().to_owned(), 1 << 20, select, Arc::new(Always)).unwrap());
    for (at, via) in chains.iter().enumerate() {
        let frame = spool.frame(&batch(&format!("service-{at:02}"), &["a"]), via).unwrap();
        assert_eq!(spool.write(&frame), []);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let received: Arc<Mutex<Vec<Received>>> = Arc::default();
    let _server = Stop(tokio::spawn(serve(listener, answer, received.clone())));
    let target = Target::new(&url, Protocol::Push, &[]).unwrap();
    let unsent: Arc<Mutex<Vec<Unsent>>> = Arc::default();
    let heard = unsent.clone();
    let note = move |unsent| heard.lock().push(unsent);
    let forwarder = Forwarder::new(spool.clone(), target, Arc::new(Always), Jitter::new(|| 0), note).unwrap();
    let _forwarder = Stop(tokio::spawn(forwarder.run()));
    while spool.status().spool_bytes > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (received, unsent) = (received.lock().clone(), unsent.lock().clone());
    Outcome { own: spool.id.to_string(), received, unsent, status: spool.status() }
}

#[tokio::test]
async fn one_at_fault_takes_no_others_along() {
    let outcome = forward(&vec![chain(0); 8], |_, services| match services.contains(&5) {
        true => "400 Bad Request\r\ncontent-length: 2\r\n\r\nno",
        false => OK,
    })
    .await;
    let requests: Vec<_> = outcome.received.into_iter().map(|request| request.services).collect();
    let expect = [&[0, 1, 2, 3, 4, 5, 6, 7][..], &[0, 1, 2, 3], &[4, 5, 6, 7], &[4, 5], &[4], &[5], &[6, 7]];
    assert_eq!(requests, expect);
    let unsent: Vec<_> =
        outcome.unsent.iter().map(|unsent| (unsent.service.as_str(), unsent.profiles)).collect();
    assert_eq!(unsent, [("service-05", 1)]);
    assert_eq!((outcome.status.sent, outcome.status.dropped), (7, [0, 1, 0]));
}

#[tokio::test]
async fn what_is_refused_altogether_is_not_asked_again() {
    let outcome = forward(&vec![chain(0); 4], |_, _| "401 Unauthorized\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!((outcome.received.len(), outcome.status.dropped), (1, [0, 4, 0]));
}

#[tokio::test]
async fn a_request_has_one_chain() {
    let outcome = forward(&[chain(0), chain(0), chain(1), chain(2), chain(0)], |_, _| OK).await;
    let (first, second) = ("00000000-0000-0000-0000-000000000001", "00000000-0000-0000-0000-000000000002");
    let own = outcome.own;
    let expect = [
        (own.clone(), vec![0, 1]),
        (format!("{first},{own}"), vec![2]),
        (format!("{first},{second},{own}"), vec![3]),
        (own, vec![4]),
    ];
    assert_eq!(outcome.received, expect.map(|(via, services)| Received { via, services }));
    assert_eq!(outcome.status.sent, 5);
}

#[tokio::test]
async fn less_is_sent_where_more_is_always_too_fast() {
    let outcome = forward(&vec![chain(0); 2], |_, services| match services.len() {
        1 => OK,
        _ => "429 Too Many Requests\r\ncontent-length: 0\r\n\r\n",
    })
    .await;
    let requests: Vec<_> = outcome.received.into_iter().map(|request| request.services).collect();
    assert_eq!(requests, [&[0, 1][..], &[0, 1], &[0], &[1]]);
    assert_eq!((outcome.status.sent, outcome.status.retries, outcome.unsent), (2, 2, vec![]));
}

#[tokio::test]
async fn pages_and_redirects_take_nothing() {
    let outcome = forward(&[chain(0)], |before, _| match before {
        0 => "200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\nlog in",
        1 => "302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n",
        _ => OK,
    })
    .await;
    assert_eq!((outcome.received.len(), outcome.status.sent, outcome.unsent), (3, 1, vec![]));
}
