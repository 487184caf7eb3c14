//! What every handler shares.

use crate::error::ApiError;
use crate::load::Load;
use crate::metrics::Metrics;
use everflame_ingest::Ingest;
use everflame_lake::Lake;
use everflame_profile::{Clock, Nanos};
use everflame_query::TimeSeriesAnswer;
use everflame_query::{Engine, Merged, ProfileList, ProfileQuery, SeriesQuery, SqlLimits, StackQuery};
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
    /// How much one SQL statement may cost.
    pub sql: SqlLimits,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            build: BuildInfo::default(),
            max_connections: 8192,
            max_requests: 1024,
            max_body_bytes: 512 << 20,
            shutdown_grace: std::time::Duration::from_secs(10),
            sql: SqlLimits::default(),
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
    #[cfg(feature = "sql")]
    pub(crate) sql: everflame_query::Sql,
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

/// Questions to the engine, counted.
impl App {
    pub(crate) async fn stacks(&self, query: &StackQuery) -> Result<Merged, ApiError> {
        let merged = self.engine.stacks(query).await?;
        self.metrics.scan(&merged.stats, merged.warnings.len());
        Ok(merged)
    }

    pub(crate) async fn time_series(&self, query: &SeriesQuery) -> Result<TimeSeriesAnswer, ApiError> {
        let answer = self.engine.time_series_answer(query).await?;
        self.metrics.scan(&answer.stats, answer.warnings.len());
        Ok(answer)
    }

    pub(crate) async fn profiles(&self, query: &ProfileQuery) -> Result<ProfileList, ApiError> {
        let list = self.engine.profile_list(query).await?;
        self.metrics.scan(&list.stats, list.warnings.len());
        Ok(list)
    }

    /// Asks the engine for what there is, on a thread for blocking work.
    pub(crate) async fn catalogue<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Engine) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let engine = self.engine.clone();
        blocking(move || ask(&engine)).await
    }
}

/// Runs work that takes milliseconds beside the threads that serve connections.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        ApiError::internal(format_args!("the answer could not be made: {error}; please report it"))
    })
}
