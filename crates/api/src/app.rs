//! What every handler shares.

use crate::load::Load;
use crate::metrics::Metrics;
use everflame_ingest::Ingest;
use everflame_lake::Lake;
use everflame_profile::{Clock, Nanos};
use everflame_query::Engine;
use std::sync::Arc;

/// How the server is set up.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What `/api/v1/status/buildinfo` answers.
    pub build: BuildInfo,
    /// Connections that are open at once; more wait to be accepted.
    pub max_connections: usize,
    /// Requests that are worked on at once; more are answered with 503.
    pub max_requests: usize,
    /// Bytes of request bodies that are held at once; more are answered with 503.
    pub max_body_bytes: u64,
    /// How long a request that runs may go on when the server stops.
    pub shutdown_grace: std::time::Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            build: BuildInfo::default(),
            max_connections: 8192,
            max_requests: 1024,
            max_body_bytes: 512 << 20,
            shutdown_grace: std::time::Duration::from_secs(10),
        }
    }
}

/// Which build this is.
#[derive(Clone, Debug, Default)]
pub struct BuildInfo {
    /// Version of the program.
    pub version: String,
    /// Commit it was built from.
    pub revision: String,
    /// Branch of the commit.
    pub branch: String,
    /// When it was built.
    pub build_date: String,
}

pub(crate) struct App {
    pub(crate) config: ServerConfig,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) lake: Arc<Lake>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) load: Load,
    pub(crate) metrics: Metrics,
}

impl App {
    pub(crate) fn now(&self) -> Nanos {
        self.clock.now()
    }
}
