//! The server: its routes, and the loop that accepts connections.

use crate::adhoc::AdHoc;
use crate::app::{App, ServerConfig};
use crate::body::{BoundedGzip, MAX_BODY_BYTES};
use crate::capabilities::Capabilities;
use crate::debug_files::Turns;
use crate::debuginfo::{self, Debuginfo};
use crate::guard;
use crate::health::Serving;
use crate::json_messages::JsonMessages;
use crate::kept::Kept;
use crate::links::Links;
use crate::load::Load;
use crate::metrics::{self, Metrics};
use crate::patience::{FirstBytes, Patience};
use crate::profefe::{Bounds, Traces};
use crate::push::Pusher;
use crate::querier::Querier;
use crate::querier::background::Background;
use crate::recording::Rules;
use crate::settings::Settings;
use crate::source::{self, Sources};
use crate::vcs::SourceCode;
use crate::watch::Watch;
use crate::{
    deletion, dropped, grpc_web_text, ingest, lake, links, not_found, openapi, otlp, parca, pprof, profefe,
    reflection, render, singles, sql, status, ui, watch,
};
use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, any, get, post};
use connectrpc::{CompressionRegistry, ConnectRpcService, Limits};
use everflame_forward::RemoteWriter;
use everflame_ingest::Ingest;
use everflame_lake::Lake;
use everflame_profile::Clock;
use everflame_query::Engine;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower::ServiceExt;
use tower::util::MapRequest;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};

/// Bytes that may be under way to a request over HTTP/2, and to all of a connection. Half of the latter is also what
/// small frames that are not read yet may cost together, 256 bytes each, before the connection is closed as an attack:
/// some senders write a frame for each line.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Pause after the operating system refused a connection, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Requests of one HTTP/2 connection that are worked on at once.
const MAX_STREAMS: u32 = 256;
/// How often what is too old is looked for.
const TIDY_INTERVAL: Duration = Duration::from_secs(600);
/// Memory that the elements of one RPC message may take.
const MAX_ELEMENT_BYTES: usize = 256 << 20;

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The listener has no address.
    #[error("the listener is not usable: {0}")]
    Listener(#[from] std::io::Error),
    /// The server did not answer what it asked itself.
    #[error("the first question, {method}, was not answered: {why}")]
    FirstQuestion {
        /// The method that was called.
        method: &'static str,
        /// What came instead of an answer.
        why: String,
    },
}

/// All wires, ready to be served.
pub struct Server {
    app: Arc<App>,
}

impl Server {
    /// A server that stores through `ingest` and answers from `engine`.
    pub fn new(
        config: ServerConfig,
        ingest: Arc<Ingest>,
        engine: Arc<Engine>,
        lake: Arc<Lake>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let load = Load::new(config.max_requests, config.max_body_bytes);
        let links = Links::new(config.data.as_deref());
        let watch = Watch::default();
        let traces = Traces::new(
            Kept::new(config.data.as_deref(), lake.tenant(), "traces"),
            Bounds { bytes: config.trace_bytes, age: config.trace_age },
            clock.clone(),
        );
        let rules = Rules::new(Kept::new(config.data.as_deref(), lake.tenant(), "recording"));
        let sources = Sources::new(config.source_code.clone());
        let app = App {
            #[cfg(feature = "sql")]
            sql: everflame_query::Sql::new(engine.clone(), config.sql.clone()),
            config,
            links,
            watch,
            sources,
            serving: Arc::new(Serving::default()),
            ingest,
            engine,
            lake,
            clock,
            load,
            metrics: Metrics::default(),
            uploads: Turns::default(),
            background: Background::default(),
            traces,
            rules,
        };
        Self { app: Arc::new(app) }
    }

    /// The routes, for tests that need no socket.
    pub fn router(&self) -> Router {
        let agents = Arc::new(parca::Agents::default());
        let rest = Router::new()
            .route("/ingest", post(ingest::post))
            .route("/pyroscope/ingest", post(ingest::post))
            .route(otlp::PATH, post(otlp::post))
            .route("/pyroscope/render", get(render::get))
            .route("/pyroscope/render-diff", get(render::diff))
            .route("/pyroscope/label-values", get(render::label_values))
            .nest("/api/0", profefe::routes())
            .route("/api/0/", any(async || profefe::nothing_found()))
            .route("/api/v1/lake/compact", post(lake::compact))
            .route("/api/v1/openapi.json", get(openapi::get))
            .route("/api/v1/pprof", get(pprof::get))
            .route("/api/v1/flamegraph", get(singles::flame_graph))
            .route("/api/v1/heatmap", get(singles::heatmap))
            .route("/api/v1/profiles", get(singles::profiles).delete(deletion::delete))
            .route("/api/v1/spans", get(singles::spans))
            .route("/api/v1/source", get(source::available))
            .route("/api/v1/source/file", get(source::file))
            .route("/api/v1/sql", post(sql::post))
            .route("/api/v1/sql/schema", get(sql::schema))
            .route("/api/v1/symbolz", get(pprof::symbolz).post(pprof::symbolz))
            .route("/api/v1/status", get(status::status))
            .route("/api/v1/status/buildinfo", get(status::build_info))
            .route("/api/v1/status/config", get(status::config))
            .route("/api/v1/status/config/default", get(status::config_default))
            .route("/api/v1/status/config/diff", get(status::config_diff))
            .route("/api/v1/tenant_limits", get(status::tenant_limits))
            .route("/api/v1/status/dropped", get(dropped::get))
            .route("/api/v1/status/clients", get(watch::clients))
            .route("/api/v1/status/storage", get(status::storage))
            .route("/api/v1/status/queries", get(watch::queries))
            .route("/api/v1/links", post(links::post))
            .route("/l/{id}", get(links::get))
            .route("/ready", get(status::ready))
            .route("/-/ready", get(status::ready))
            .route("/-/healthy", get(status::healthy))
            .route("/metrics", get(metrics::get))
            .route(debuginfo::UPLOAD, post(debuginfo::upload).layer(DefaultBodyLimit::disable()))
            .merge(parca::routes(&self.app, &agents))
            .fallback_service(get(ui::get).fallback(not_found::path))
            .method_not_allowed_fallback(not_found::method)
            .with_state(self.app.clone())
            .layer(compression());
        let routes = self.rpc_routes(rest, &agents);
        Router::new()
            .fallback_service(MapRequest::new(routes, guard::tidy))
            .layer(axum::middleware::from_fn(not_found::settle))
            .layer(axum::middleware::from_fn_with_state(self.app.clone(), guard::guard))
    }

    fn rpc_routes(&self, rest: Router, agents: &Arc<parca::Agents>) -> Router {
        let capabilities = Arc::new(Capabilities);
        let services = connectrpc::Router::new()
            .add_service(Arc::new(Pusher(self.app.clone())))
            .add_service(Arc::new(Querier(self.app.clone())))
            .add_service(Arc::new(self.settings()))
            .add_service(Arc::new(self.app.rules.clone()))
            .add_service(Arc::new(self.ad_hoc()))
            .add_service(Arc::new(Debuginfo(self.app.clone())))
            .add_service(Arc::new(SourceCode(self.app.clone())))
            .add_service(Arc::new(otlp::Exports(self.app.clone())))
            .with_route_limits(debuginfo::UPLOAD_STREAM, debuginfo::stream_limits());
        let services = parca::register(&self.app, agents, services);
        let services = {
            use crate::wire::capabilities::v1::FeatureFlagsServiceExt;
            use crate::wire::grpc::health::v1::HealthExt;
            use crate::wire::version::v1::VersionExt;
            let services = VersionExt::register(capabilities.clone(), services);
            let services = FeatureFlagsServiceExt::register(capabilities, services);
            HealthExt::register(self.app.serving.clone(), services)
        };
        let services = reflection::register(services);
        let limits = Limits::default()
            .with_max_request_body_size(MAX_BODY_BYTES)
            .with_max_message_size(MAX_BODY_BYTES)
            .with_element_memory_limit(MAX_ELEMENT_BYTES);
        let service = ConnectRpcService::new(services)
            .with_limits(limits)
            .with_compression(
                CompressionRegistry::new().register(BoundedGzip(self.app.load.budget().clone())),
            )
            .with_interceptor(JsonMessages);
        let routes = [
            "/push.v1.PusherService/{method}",
            "/querier.v1.QuerierService/{method}",
            "/settings.v1.RecordingRulesService/{method}",
            "/settings.v1.SettingsService/{method}",
            "/adhocprofiles.v1.AdHocProfileService/{method}",
            "/vcs.v1.VCSService/{method}",
            "/debuginfo.v1alpha1.DebuginfoService/{method}",
            "/version.v1.Version/{method}",
            "/capabilities.v1.FeatureFlagsService/{method}",
            "/grpc.health.v1.Health/{method}",
        ]
        .into_iter()
        .fold(Router::new(), |routes, path| routes.route_service(path, service.clone()));
        let routes = reflection::SERVICES
            .into_iter()
            .fold(routes, |routes, path| routes.route_service(path, service.clone()));
        let routes = parca::SERVICES.into_iter().fold(routes, |routes, path| {
            routes
                .route_service(path, service.clone())
                .route(&format!("{}{path}", parca::PREFIX), parca::below_prefix(service.clone()))
        });
        // Some senders speak OTLP over plain HTTP on the path of the gRPC method.
        let export = self.otlp_on_grpc_path(service);
        let routes = routes.route(otlp::GRPC_PATH, export);
        let routes = routes
            .layer(axum::middleware::from_fn(not_found::explain_rpc))
            .layer(axum::middleware::from_fn(grpc_web_text::translate));
        rest.merge(routes)
    }

    fn kept(&self, name: &str) -> Kept {
        Kept::new(self.app.config.data.as_deref(), self.app.lake.tenant(), name)
    }

    fn settings(&self) -> Settings {
        Settings::new(self.kept("settings"), self.app.clock.clone())
    }

    fn ad_hoc(&self) -> AdHoc {
        AdHoc::new(self.kept("adhoc"), self.app.clock.clone())
    }

    fn otlp_on_grpc_path(&self, grpc: ConnectRpcService) -> MethodRouter {
        let app = self.app.clone();
        any(async move |request: Request| match otlp::encoding(request.headers()) {
            Some(_) if request.method() == http::Method::POST => otlp::post(State(app), request).await,
            _ => match grpc.oneshot(request).await {
                Ok(response) => response.into_response(),
                Err(never) => match never {},
            },
        })
    }

    /// Forgets from time to time what is kept beside the tables and is too old, for as long as it is awaited.
    pub async fn tidy(&self) {
        loop {
            if let Err(error) = self.app.traces.sweep().await {
                tracing::warn!(%error, "execution traces that are too old could not be deleted");
            }
            tokio::time::sleep(TIDY_INTERVAL).await;
        }
    }

    /// Writes what recording rules make with `writer`, for ever.
    pub async fn write_recordings(&self, writer: Option<RemoteWriter>) {
        match writer {
            Some(writer) => self.app.rules.write_remotely(&self.app, writer).await,
            None => std::future::pending().await,
        }
    }

    /// Serves HTTP/1.1 and HTTP/2 on `listener` until `shutdown` is ready, then lets running requests end.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), ServerError> {
        let address = listener.local_addr()?;
        tracing::info!(%address, "listening");
        let service = TowerToHyperService::new(self.router());
        let patience = self.app.config.patience;
        let builder = connections(patience);
        let connections = Arc::new(Semaphore::new(self.app.config.max_connections));
        let graceful = GracefulShutdown::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accept = async {
                let permit = connections.clone().acquire_owned().await;
                (permit, listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                accepted = accept => accepted,
                () = &mut shutdown => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "TCP_NODELAY could not be set");
            }
            let stream = TokioIo::new(FirstBytes::new(stream, patience));
            let connection = builder.serve_connection(stream, service.clone()).into_owned();
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection ended with a fault");
                }
                drop(permit);
            });
        }
        drop(listener);
        self.app.serving.stop();
        if tokio::time::timeout(self.app.config.shutdown_grace, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still running at the end of the grace period");
        }
        Ok(())
    }
}

/// How connections are served.
pub(crate) fn connections(patience: Patience) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.head);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// Answers of RPC services are compressed by themselves, pprof is gzip already.
fn compression() -> CompressionLayer<impl Predicate> {
    let predicate = DefaultPredicate::new().and(NotForContentType::const_new("application/octet-stream"));
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(predicate)
}
