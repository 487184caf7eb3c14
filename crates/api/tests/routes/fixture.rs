//! A store with two profiles of a fixed time, and requests to its routes.

use axum::Router;
use axum::body::Body;
use everflame_api::{Server, ServerConfig};
use everflame_ingest::Ingest;
use everflame_lake::{Lake, LakeConfig, Retention};
use everflame_profile::{Clock, Nanos};
use everflame_query::Engine;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tower::ServiceExt;

pub(super) const NOW: Nanos = 1_700_000_100_000_000_000;
pub(super) const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

pub(super) struct FixedClock;

impl Clock for FixedClock {
    fn now(&self) -> Nanos {
        NOW
    }
}

pub(super) struct Fixture {
    pub(super) router: Router,
    pub(super) server: Server,
    _folder: tempfile::TempDir,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("{:?}", String::from_utf8_lossy(&self.body)))
    }
}

impl Fixture {
    pub(super) async fn new() -> Self {
        Self::with(ServerConfig::default()).await
    }

    pub(super) async fn with(config: ServerConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let lake = LakeConfig {
            path: folder.path().into(),
            tenant: "anonymous".into(),
            flush_interval: Duration::from_secs(3600),
            flush_bytes: 64 << 20,
            storage: Default::default(),
            retention: Retention::default(),
            retention_overrides: Vec::new(),
            instance_labels: vec!["pod".into()],
        };
        let clock: Arc<dyn Clock> = Arc::new(FixedClock);
        let lake = Lake::open(lake, clock.clone()).await.unwrap();
        let ingest = Arc::new(Ingest::new(lake.clone(), Default::default(), clock.clone()));
        let engine = Arc::new(Engine::new(lake.clone(), Default::default()));
        let server = Server::new(config, ingest, engine, lake, clock);
        Self { router: server.router(), server, _folder: folder }
    }

    /// A store with one profile: main;work 3 and main;idle 1, 10 ms each, at 1700000000.
    pub(super) async fn filled() -> Self {
        let fixture = Self::new().await;
        let path = "/ingest?name=shop.cpu{region=eu}&format=folded&from=1700000000&until=1700000010";
        let answer = fixture.post(path, "", "main;work 3\nmain;idle 1\n").await;
        assert_eq!(answer.status, 200, "{:?}", String::from_utf8_lossy(&answer.body));
        fixture
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes().to_vec(),
        }
    }

    pub(super) async fn get(&self, path: &str) -> Answer {
        let path = path.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
        self.send(Request::get(path).body(Body::empty()).unwrap()).await
    }

    pub(super) async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Answer {
        let path = path.replace('{', "%7B").replace('}', "%7D");
        self.send(Request::post(path).header("content-type", content_type).body(body.into()).unwrap()).await
    }

    pub(super) async fn ask(&self, method: &str, body: Value) -> Answer {
        let path = format!("/querier.v1.QuerierService/{method}");
        self.post(&path, "application/json; charset=utf-8", body.to_string()).await
    }
}

/// A request on the query wire for the profile of [`Fixture::filled`], with `changes`.
pub(super) fn select(changes: Value) -> Value {
    let mut request = json!({
        "profileTypeID": CPU,
        "labelSelector": "{service_name=\"shop\"}",
        "start": "1699999990000",
        "end": 1_700_000_020_000_i64,
    });
    for (key, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => request.as_object_mut().unwrap().remove(key),
            value => request.as_object_mut().unwrap().insert(key.clone(), value.clone()),
        };
    }
    request
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word =
            chunk.iter().fold(0u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            match digit <= chunk.len() {
                true => out.push(DIGITS[(word >> (18 - 6 * digit) & 63) as usize] as char),
                false => out.push('='),
            }
        }
    }
    out
}
