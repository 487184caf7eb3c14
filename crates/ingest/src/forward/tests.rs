//! What other servers that forward send.

use super::*;
use crate::{Limits, OtlpEncoding, OtlpStored, PushSample, Rules};
use everflame_formats::{otlp::ExportWriter, pprof};
use everflame_forward::Select;
use everflame_lake::{Lake, LakeConfig, Retention};
use everflame_profile::{Clock, Frame, Location, Nanos, Profile, ValueType};
use http::{HeaderMap, HeaderName};
use std::time::Duration;

const NOW: Nanos = 1_700_000_000_000_000_000;

struct Then;

impl Clock for Then {
    fn now(&self) -> Nanos {
        NOW
    }
}

/// A server that forwards, and whose spool nobody empties.
pub(crate) struct Fixture {
    pub(crate) ingest: Ingest,
    /// Its id.
    own: String,
    _folder: tempfile::TempDir,
}

impl Fixture {
    /// The id of another server.
    pub(crate) const OTHER: &str = "00000000-0000-0000-0000-000000000001";

    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(Then);
        let config = LakeConfig {
            path: folder.path().join("lake"),
            tenant: "anonymous".into(),
            flush_interval: Duration::from_secs(3600),
            flush_bytes: 64 << 20,
            storage: Default::default(),
            retention: Retention::default(),
            retention_overrides: Vec::new(),
            instance_labels: Vec::new(),
        };
        let lake = Lake::open(config, clock.clone()).await.unwrap();
        let spool_folder = folder.path().join("forward");
        let spool = Spool::open(spool_folder.clone(), 1 << 20, Select::new(|_| true), clock.clone()).unwrap();
        let own = std::fs::read_to_string(spool_folder.join("server-id")).unwrap().trim().to_owned();
        let rules = Rules { forward: Some(Arc::new(spool)), ..Rules::default() };
        Self { ingest: Ingest::with_rules(lake, Limits::default(), rules, clock), own, _folder: folder }
    }

    async fn push(&self, others: usize, value: i64, ids: &[&str]) -> Result<crate::Stored, Error> {
        let pprof = pprof::write_uncompressed(&profile(value)).into();
        self.ingest.push(PushSample { labels: labels(others), pprof, id: None, via: through(ids) }).await
    }

    fn waiting(&self) -> u64 {
        self.ingest.forward_status().unwrap().spool_bytes
    }
}

/// The chain that a request names with `ids`.
pub(crate) fn through(ids: &[&str]) -> Via {
    let mut headers = HeaderMap::new();
    if !ids.is_empty() {
        headers.insert(HeaderName::from_static("everflame-via"), ids.join(",").parse().unwrap());
    }
    Via::of_request(&headers)
}

/// A snapshot with one stack.
pub(crate) fn profile(value: i64) -> Profile {
    let mut profile = Profile {
        sample_types: vec![ValueType::new("inuse_space", "bytes")],
        period_type: ValueType::new("space", "bytes"),
        time: NOW,
        locations: Arc::new(vec![Location { first: 0, count: 1 }]),
        ..Profile::default()
    };
    let symbols = profile.symbols_mut();
    let function = symbols.strings.push("main");
    symbols.frames.push(Frame { function, ..Frame::default() });
    profile.samples.push(&[0], &[value], &[]);
    profile
}

/// Kind of profile, service, and so many others.
pub(crate) fn labels(others: usize) -> Vec<(String, String)> {
    let own = [("__name__", "memory"), ("service_name", "shop")];
    let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
    own.into_iter().chain((0..others).map(|at| (format!("l{at:03}"), "v".to_owned()))).collect()
}

#[tokio::test]
async fn what_comes_back_ends_here() {
    let fixture = Fixture::new().await;
    let stored = fixture.push(1, 1, &[Fixture::OTHER, &fixture.own]).await.unwrap();
    assert!(stored.duplicate && stored.rows.is_empty());
    let mut writer = ExportWriter::default();
    writer.add([("service_name", "shop")].into_iter(), "memory", &[9; 16], &profile(1));
    let (export, back) = (writer.finish(), through(&[&fixture.own]));
    let stored = fixture.ingest.otlp(export.clone().into(), OtlpEncoding::Protobuf, back).await.unwrap();
    assert_eq!(stored, OtlpStored::default());
    assert_eq!((fixture.ingest.forward_status().unwrap().returned, fixture.waiting()), (2, 0));
    let counters = fixture.ingest.counters();
    assert_eq!((counters.received, counters.stored, counters.deduplicated), (2, 0, 2));

    // What comes from elsewhere is stored, and goes on until it came through too many.
    assert!(!fixture.push(1, 2, &[Fixture::OTHER; 15]).await.unwrap().duplicate);
    let before = fixture.waiting();
    assert!(before > 0);
    let other = through(&[Fixture::OTHER]);
    let stored = fixture.ingest.otlp(export.into(), OtlpEncoding::Protobuf, other).await.unwrap();
    assert_eq!((stored.profiles, stored.rejected), (1, 0));
    let after = fixture.waiting();
    assert!(after > before);
    assert!(!fixture.push(1, 3, &[Fixture::OTHER; 16]).await.unwrap().duplicate);
    assert_eq!((fixture.waiting(), fixture.ingest.counters().stored), (after, 3));
}

#[tokio::test]
async fn series_have_more_labels_than_clients_may_send() {
    let fixture = Fixture::new().await;
    for (others, of_client, of_server) in
        [(29, true, true), (30, false, true), (130, false, true), (131, false, false)]
    {
        let stored = fixture.push(others, 1, &[]).await;
        assert_eq!(stored.is_ok(), of_client, "{others}");
        let stored = fixture.push(others, 2, &[Fixture::OTHER]).await;
        assert_eq!(stored.is_ok(), of_server, "{others}");
        if let Ok(stored) = stored {
            assert_eq!(stored.rows[0].labels.iter().count(), others + 1);
        }
    }
}
