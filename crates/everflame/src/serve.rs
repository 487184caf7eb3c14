//! `everflame serve`: opens the lake, listens, and stops in order.

use crate::clock::SystemClock;
use crate::config::{Config, ConfigError};
use crate::settings::Age;
use crate::{forward, logging, print, self_profiling};
use anyhow::Context;
use everflame_api::{BuildInfo, Patience, Server, ServerConfig};
use everflame_ingest::{Ingest, Rates, Rules};
use everflame_lake::{Lake, LakeConfig, Retention, RetentionOverride, StorageConfig};
use everflame_profile::Clock;
use everflame_query::{Engine, Selector, SqlLimits};
use everflame_symbols::{Store, StoreLimits, Symbolizer, Worker};
use futures::{FutureExt, future};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The tenant of a server without tenants.
pub(crate) const TENANT: &str = "anonymous";

/// Runs the server until it is told to stop.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    logging::start(&config.log_level, config.log_format)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the threads of the server cannot be started")?.block_on(serve(config))
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut stop = StopSignal::new()?;
    let listener = listen("listen", &config.listen, config.allow_insecure_listen).await?;
    let address = listener.local_addr()?;
    let mut listeners = vec![listener];
    for address in &config.extra_listen.0 {
        listeners.push(listen("extra-listen", address, config.allow_insecure_listen).await?);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let lake = Lake::open(lake_config(config), clock.clone()).await?;
    let forward = forward::Forward::open(config, clock.clone())?;
    let rules = Rules { forward: forward.spool(), ..ingest_rules(config) };
    let ingest = Arc::new(Ingest::with_rules(lake.clone(), ingest_limits(config), rules, clock.clone()));
    let forwarding = forward.start(&ingest, clock.clone())?;
    let remote_writer = forward::remote_writer(config)?;
    let engine = Engine::new(lake.clone(), query_limits(config));
    let engine = Arc::new(match symbolizer(config, clock.clone())? {
        Some(symbolizer) => engine.with_symbolizer(symbolizer),
        None => engine,
    });
    if config.storage.0.is_empty() {
        let engine = engine.clone();
        tokio::spawn(async move { engine.warm_up().await });
    }
    let new_server =
        || Server::new(server_config(config), ingest.clone(), engine.clone(), lake.clone(), clock.clone());
    let server = new_server();
    // On a server of its own, so that what it asks is not counted as anybody's.
    if let Err(error) = new_server().warm_up().await {
        tracing::warn!(%error, "the first answers may take longer than later ones");
    }
    let profiling = config.self_profiling.then(|| tokio::spawn(self_profiling::run(ingest, clock)));

    // The one line on standard output: connections are queued by now, and accepted at once.
    print(&format!("http://{address}\n"))?;
    let symbolizer = engine.symbolizer().cloned();
    let stopping = async move {
        stop.wait().await;
        tracing::info!("stopping; a second signal stops at once");
        // Names can be looked up again, and may take longer than anybody waits for the end.
        if let Some(symbolizer) = symbolizer {
            symbolizer.close();
        }
        // Everything acknowledged is in the log: nothing is lost by leaving now.
        tokio::spawn(async move {
            stop.wait().await;
            std::process::exit(1);
        });
    };
    let stopping = stopping.boxed().shared();
    let served =
        future::try_join_all(listeners.into_iter().map(|listener| server.serve(listener, stopping.clone())));
    let served = tokio::select! {
        served = served => served,
        () = server.tidy() => Ok(Vec::new()),
        () = server.write_recordings(remote_writer) => Ok(Vec::new()),
    };
    for task in [profiling, forwarding].into_iter().flatten() {
        task.abort();
    }
    forward.sync();
    lake.close().await.context("the last profiles stay in the log, and are stored at the next start")?;
    served?;
    tracing::info!("stopped");
    Ok(())
}

/// Listens on `address`, which stands under `key` of the configuration.
async fn listen(key: &str, address: &str, allow_insecure: bool) -> anyhow::Result<TcpListener> {
    let addresses = tokio::net::lookup_host(address).await;
    let addresses: Vec<_> = addresses
        .map_err(|error| ConfigError::Value {
            place: key.to_owned(),
            why: format!("{address:?}: {error}; write address:port, as in 127.0.0.1:4040"),
        })?
        .collect();
    if !allow_insecure && addresses.iter().any(|address| !address.ip().is_loopback()) {
        return Err(ConfigError::InsecureListen(address.to_owned()).into());
    }
    let listener = TcpListener::bind(addresses.as_slice()).await;
    listener.with_context(|| {
        format!("cannot listen on {address}; is something else there? choose another with --{key}")
    })
}

/// SIGTERM or SIGINT.
struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be received");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// A count that memory is bounded by.
fn count(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// Where the tables are.
pub(crate) fn storage(config: &Config) -> StorageConfig {
    StorageConfig {
        url: config.storage.0.clone(),
        cache_bytes: config.storage_cache.0,
        timeout: config.storage_timeout,
        // Another number in each process.
        seed: RandomState::new().hash_one(std::process::id()),
    }
}

/// How the server opens its lake.
pub(crate) fn lake_config(config: &Config) -> LakeConfig {
    LakeConfig {
        path: config.data.clone(),
        tenant: TENANT.to_owned(),
        flush_interval: config.flush_interval,
        flush_bytes: count(config.flush_size.0),
        storage: storage(config),
        retention: lake_retention(config),
        retention_overrides: config
            .retention_overrides
            .0
            .iter()
            .map(|other| retention_override(config, other))
            .collect(),
        instance_labels: config.instance_labels.0.clone(),
    }
}

fn lake_retention(config: &Config) -> Retention {
    Retention {
        raw: config.retention_raw.0,
        five_minutes: config.retention_5m.0,
        hour: config.retention_1h.0,
        day: config.retention_1d.0,
        bytes: config.retention_size.0,
    }
}

/// The ages of some series: those that it names, and the others' otherwise.
fn retention_override(
    config: &Config,
    (selector, ages): &(Selector, Vec<(String, Age)>),
) -> RetentionOverride {
    let mut retention = lake_retention(config);
    for (tier, age) in ages {
        match tier.as_str() {
            "raw" => retention.raw = age.0,
            "5m" => retention.five_minutes = age.0,
            "1h" => retention.hour = age.0,
            _ => retention.day = age.0,
        }
    }
    let selector = selector.clone();
    RetentionOverride { select: Arc::new(move |series| selector.matches(series)), retention }
}

/// Debug files, in a folder of the data folder whose name no tenant has: they do not begin with a dot.
const DEBUG_FILES: &str = ".debug-files";

fn symbolizer(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Option<Arc<Symbolizer>>> {
    if !config.debug_files {
        return Ok(None);
    }
    let store = Store::open(config.data.join(DEBUG_FILES), debug_file_limits(config), clock)?;
    let program = std::env::current_exe().context("the path of this program is not known")?;
    let worker = Worker { program, arguments: vec!["read-debug-files".to_owned()] };
    Ok(Some(Arc::new(Symbolizer::new(Arc::new(store), worker, config.debuginfod.0.clone()))))
}

fn debug_file_limits(config: &Config) -> StoreLimits {
    StoreLimits { file_bytes: config.max_debug_file_size.0, total_bytes: config.debug_files_size.0 }
}

fn ingest_limits(config: &Config) -> everflame_ingest::Limits {
    everflame_ingest::Limits {
        decode: everflame_formats::Limits {
            inflated_bytes: count(config.max_profile_size.0),
            samples: count(config.max_samples),
            depth: count(config.max_stack_depth),
            ..everflame_formats::Limits::default()
        },
        labels: count(config.max_labels),
        label_sets_per_upload: count(config.max_label_sets_per_upload),
        label_sets_per_service: count(config.max_label_sets_per_service),
        tenant: Rates { profiles: config.max_profiles_per_second.0, bytes: config.max_bytes_per_second.0 },
        service: Rates {
            profiles: config.max_service_profiles_per_second.0,
            bytes: config.max_service_bytes_per_second.0,
        },
        burst: i64::try_from(config.rate_burst.as_nanos()).unwrap_or(i64::MAX),
        ..everflame_ingest::Limits::default()
    }
}

fn ingest_rules(config: &Config) -> Rules {
    Rules {
        relabel: config.relabel.compiled(),
        overrides: config.limit_overrides.to_rules(),
        ..Rules::default()
    }
}

fn query_limits(config: &Config) -> everflame_query::Limits {
    let defaults = everflame_query::Limits::default();
    everflame_query::Limits {
        rows: config.query_max_rows,
        bytes: config.query_max_read.0,
        memory: config.query_max_memory.0,
        time: config.query_timeout,
        concurrency: count(config.query_concurrency),
        threads: match config.query_threads.0 {
            0 => defaults.threads,
            threads => count(threads),
        },
        ..defaults
    }
}

fn server_config(config: &Config) -> ServerConfig {
    ServerConfig {
        data: Some(config.data.clone()),
        configuration: [config.to_yaml(), Config::default().to_yaml()],
        build: BuildInfo { version: env!("CARGO_PKG_VERSION").to_owned(), ..BuildInfo::default() },
        max_connections: count(config.max_connections),
        max_requests: count(config.max_requests),
        max_body_bytes: config.max_request_memory.0,
        patience: Patience::default(),
        shutdown_grace: config.shutdown_grace,
        sql: SqlLimits {
            rows: count(config.sql_max_rows),
            memory: count(config.sql_max_memory.0),
            concurrency: count(config.sql_concurrency),
            ..SqlLimits::default()
        },
        trace_bytes: config.traces_size.0,
        trace_age: config.retention_raw.0,
        source_code: config.source_code.0.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A default of a key that differs from the library's own would be a surprise.
    #[test]
    fn defaults_are_the_libraries() {
        let config = Config::default();
        assert_eq!(ingest_limits(&config), everflame_ingest::Limits::default());
        assert_eq!(query_limits(&config), everflame_query::Limits::default());
        assert_eq!(debug_file_limits(&config), StoreLimits::default());
        assert_eq!(server_config(&config).sql, SqlLimits::default());
    }

    #[tokio::test]
    async fn no_open_door_without_a_word() {
        let error = listen("listen", "0.0.0.0:0", false).await.unwrap_err();
        assert!(
            error.is::<ConfigError>() && error.to_string().contains("--allow-insecure-listen"),
            "{error}"
        );
        assert!(listen("listen", "0.0.0.0:0", true).await.is_ok());
        let error = listen("extra-listen", "nonsense", true).await.unwrap_err();
        assert!(error.to_string().starts_with("extra-listen: \"nonsense\""));
    }
}
