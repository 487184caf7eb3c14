//! Files that debuginfod servers have.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test that cannot go on has failed")]

use everflame_profile::{Clock, Nanos};
use everflame_symbols::{
    BuildId, FileKind, PATIENCE, Place, Store, StoreLimits, Symbolizer, SymbolizerStatus, Upload,
    UploadRequest, Wanted, Worker,
};
use object::Object;
use parking_lot::Mutex;
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[derive(Debug)]
struct Still;

impl Clock for Still {
    fn now(&self) -> Nanos {
        1
    }
}

/// A program of this machine without names, and its id.
fn shell() -> (BuildId, Vec<u8>) {
    let file = std::fs::read("/bin/sh").unwrap();
    let id = object::File::parse(&*file).unwrap().build_id().unwrap().unwrap_or(b"none").to_vec();
    let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    (BuildId::parse(&id).unwrap(), file)
}

/// A server that sends those who ask elsewhere `redirects` times, and then `file`. The other result has the paths
/// that it was asked for.
async fn server(redirects: usize, file: Vec<u8>) -> (url::Url, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (base, paths) = (url.clone(), asked.clone());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                request.push(stream.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let done = path.matches("/elsewhere").count();
            paths.lock().push(path.clone());
            let (status, body) = match done == redirects {
                true => ("200 OK".to_owned(), &file[..]),
                false => (format!("302 Found\r\nlocation: {base}/elsewhere{path}"), &b""[..]),
            };
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(body).await.unwrap();
        }
    });
    (url.parse().unwrap(), asked)
}

fn symbolizer(folder: &Path, server: url::Url) -> Arc<Symbolizer> {
    let store = Store::open(folder.to_owned(), StoreLimits::default(), Arc::new(Still)).unwrap();
    let worker = Worker { program: "/bin/false".into(), arguments: Vec::new() };
    Arc::new(Symbolizer::new(Arc::new(store), worker, vec![server]))
}

async fn ask(symbolizer: &Arc<Symbolizer>, build: &BuildId) {
    let wanted = Wanted::from([(build.clone(), std::iter::once(Place::Virtual(1)).collect())]);
    let symbolizer = symbolizer.clone();
    tokio::task::spawn_blocking(move || symbolizer.resolve(&wanted, &mut PATIENCE.clone())).await.unwrap();
}

/// What came of a fetch that is under way.
async fn fetched(symbolizer: &Arc<Symbolizer>) -> SymbolizerStatus {
    loop {
        let status = symbolizer.status();
        if status.fetched + status.fetch_missing + status.fetch_failed > 0 {
            return status;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn servers_may_send_us_elsewhere_three_times() {
    let (build, file) = shell();
    for (redirects, expect) in [(0, 1), (1, 1), (3, 1), (4, 0)] {
        let folder = tempfile::tempdir().unwrap();
        let (url, asked) = server(redirects, file.clone()).await;
        let symbolizer = symbolizer(folder.path(), url);
        ask(&symbolizer, &build).await;
        let status = fetched(&symbolizer).await;
        assert_eq!((status.fetched, status.fetch_failed), (expect, 1 - expect), "{redirects}");
        assert_eq!(asked.lock().len(), redirects.min(3) + 1, "{redirects}");
    }
}

fn put(store: &Arc<Store>, build: &BuildId, file: &[u8]) {
    let id = store.initiate(build, FileKind::Executable, UploadRequest::default()).unwrap();
    let mut upload = Upload::begin(store, build.clone(), FileKind::Executable, Some(&id)).unwrap();
    upload.write(file).unwrap();
    upload.end().unwrap();
    store.finish(build, FileKind::Executable, Some(&id)).unwrap();
}

#[tokio::test]
async fn servers_are_asked_when_agents_sent_no_names() {
    let folder = tempfile::tempdir().unwrap();
    let (build, file) = shell();
    let (url, asked) = server(0, file.clone()).await;
    let symbolizer = symbolizer(folder.path(), url);
    // This very program has all names.
    let named = BuildId::parse("c0ffee").unwrap();
    put(symbolizer.store(), &named, &std::fs::read(std::env::current_exe().unwrap()).unwrap());
    put(symbolizer.store(), &build, &file);
    ask(&symbolizer, &named).await;
    ask(&symbolizer, &build).await;
    assert_eq!(fetched(&symbolizer).await.fetched, 1);
    assert_eq!(*asked.lock(), [format!("/buildid/{build}/debuginfo")]);
    assert_eq!(symbolizer.store().status().files, 3);
    // Once is enough.
    ask(&symbolizer, &build).await;
    assert_eq!(asked.lock().len(), 1);
}
