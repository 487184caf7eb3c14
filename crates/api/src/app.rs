//! What every handler shares.

use crate::debug_files::Turns;
use crate::error::ApiError;
use crate::health::Serving;
use crate::links::Links;
use crate::load::Load;
use crate::metrics::Metrics;
use crate::patience::Patience;
use crate::profefe::Traces;
use crate::querier::background::Background;
use crate::recording::Rules;
use crate::source::{CodePlace, Sources};
use crate::watch::Watch;
use everflame_ingest::Ingest;
use everflame_lake::Lake;
use everflame_profile::{Clock, Nanos, ProfileType};
use everflame_query::{Engine, Heatmap, HeatmapQuery, Merged, ProfileList, ProfileQuery};
use everflame_query::{
    ScanStats, Selector, SeriesQuery, SpanList, SpanQuery, SqlLimits, StackQuery, TimeRange, TimeSeriesAnswer,
};
use std::path::PathBuf;
use std::sync::Arc;

/// How the server is set up.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// Where the server keeps what is not profiles: settings, files that are looked at ad hoc, short links.
    /// Without it they are refused.
    pub data: Option<PathBuf>,
    /// The effective configuration and the default one, as `/api/v1/status/config` answers them, a line a key.
    pub configuration: [String; 2],
    /// What `/api/v1/status/buildinfo` answers.
    pub build: BuildInfo,
    /// Connections that are open at once; more wait to be accepted.
    pub max_connections: usize,
    /// Requests that are worked on at once; more are answered with 503.
    pub max_requests: usize,
    /// Bytes of request bodies that are held at once; more are answered with 503.
    pub max_body_bytes: u64,
    /// How long clients that say nothing are waited for.
    pub patience: Patience,
    /// How long a request that runs may go on when the server stops.
    pub shutdown_grace: std::time::Duration,
    /// How much one SQL statement may cost.
    pub sql: SqlLimits,
    /// What execution traces may take on disk; the oldest go first.
    pub trace_bytes: u64,
    /// How long execution traces are kept; none for ever.
    pub trace_age: Option<std::time::Duration>,
    /// Where the source code of services is.
    pub source_code: Vec<CodePlace>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            data: None,
            configuration: Default::default(),
            build: BuildInfo::default(),
            max_connections: 8192,
            max_requests: 1024,
            max_body_bytes: 512 << 20,
            patience: Patience::default(),
            shutdown_grace: std::time::Duration::from_secs(10),
            sql: SqlLimits::default(),
            trace_bytes: 1 << 30,
            trace_age: None,
            source_code: Vec::new(),
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
    pub(crate) watch: Watch,
    pub(crate) links: Links,
    pub(crate) uploads: Turns,
    pub(crate) background: Background,
    pub(crate) traces: Traces,
    pub(crate) rules: Rules,
    pub(crate) sources: Sources,
    pub(crate) serving: Arc<Serving>,
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
        self.scanned(
            "stacks",
            Some(&query.profile_type),
            &query.selector,
            query.range,
            &merged.stats,
            merged.warnings.len(),
        );
        Ok(merged)
    }

    pub(crate) async fn time_series(&self, query: &SeriesQuery) -> Result<TimeSeriesAnswer, ApiError> {
        let answer = self.engine.time_series_answer(query).await?;
        self.scanned(
            "series",
            Some(&query.profile_type),
            &query.selector,
            query.range,
            &answer.stats,
            answer.warnings.len(),
        );
        Ok(answer)
    }

    pub(crate) async fn profiles(&self, query: &ProfileQuery) -> Result<ProfileList, ApiError> {
        let list = self.engine.profile_list(query).await?;
        self.scanned(
            "profiles",
            query.profile_type.as_ref(),
            &query.selector,
            query.range,
            &list.stats,
            list.warnings.len(),
        );
        Ok(list)
    }

    pub(crate) async fn spans(&self, query: &SpanQuery) -> Result<SpanList, ApiError> {
        let list = self.engine.span_list(query).await?;
        self.scanned(
            "spans",
            Some(&query.profile_type),
            &query.selector,
            query.range,
            &list.stats,
            list.warnings.len(),
        );
        Ok(list)
    }

    pub(crate) async fn heatmap(&self, query: &HeatmapQuery) -> Result<Heatmap, ApiError> {
        let heatmap = self.engine.heatmap(query).await?;
        self.scanned(
            "heatmap",
            Some(&query.profile_type),
            &query.selector,
            query.range,
            &heatmap.stats,
            heatmap.warnings.len(),
        );
        Ok(heatmap)
    }

    /// Counts what a query read, and remembers it when it was slow.
    fn scanned(
        &self,
        kind: &'static str,
        profile_type: Option<&ProfileType>,
        selector: &Selector,
        range: TimeRange,
        stats: &ScanStats,
        warnings: usize,
    ) {
        self.metrics.scan(stats, warnings);
        let profile_type = profile_type.map(ProfileType::to_string).unwrap_or_default();
        self.watch.query(self.now(), kind, &format!("{profile_type}{selector}"), range, stats);
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
