//! Parca's wire: profiles from its agents and scrapers in, its questions answered. One module a service, the
//! paths of its JSON gateway in `rest`.
//!
//! The same services are below `/api/`, where Parca's pages look for them.

mod agents;
mod debuginfo;
mod defaults;
mod query;
mod records;
mod rest;
mod scrape;
mod store;
mod telemetry;

use crate::app::App;
use crate::wire::parca::debuginfo::v1alpha1::DebuginfoServiceExt;
use crate::wire::parca::profilestore::v1alpha1::{AgentsServiceExt, ProfileStoreServiceExt};
use crate::wire::parca::query::v1alpha1::QueryServiceExt;
use crate::wire::parca::scrape::v1alpha1::ScrapeServiceExt;
use crate::wire::parca::telemetry::v1alpha1::TelemetryServiceExt;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use connectrpc::ConnectRpcService;
use http::Uri;
use http::uri::PathAndQuery;
use std::sync::Arc;
use tower::ServiceExt;

pub(crate) use agents::Agents;
pub(crate) use rest::{is_gateway, refused, routes};

/// The services, as they are in paths.
pub(crate) const SERVICES: [&str; 6] = [
    "/parca.profilestore.v1alpha1.ProfileStoreService/{method}",
    "/parca.profilestore.v1alpha1.AgentsService/{method}",
    "/parca.query.v1alpha1.QueryService/{method}",
    "/parca.debuginfo.v1alpha1.DebuginfoService/{method}",
    "/parca.scrape.v1alpha1.ScrapeService/{method}",
    "/parca.telemetry.v1alpha1.TelemetryService/{method}",
];

/// The method whose clients keep a stream open.
pub(crate) const WRITE: &str = "/parca.profilestore.v1alpha1.ProfileStoreService/Write";

/// Below which Parca's pages find the services.
pub(crate) const PREFIX: &str = "/api";

/// Adds the services to `router`.
pub(crate) fn register(
    app: &Arc<App>,
    agents: &Arc<Agents>,
    router: connectrpc::Router,
) -> connectrpc::Router {
    let store = Arc::new(store::Store { app: app.clone(), agents: agents.clone() });
    let router = ProfileStoreServiceExt::register(store, router);
    let router = AgentsServiceExt::register(
        Arc::new(agents::AgentList { agents: agents.clone(), clock: app.clock.clone() }),
        router,
    );
    let router = QueryServiceExt::register(Arc::new(query::Queries(app.clone())), router);
    let router = DebuginfoServiceExt::register(Arc::new(debuginfo::Debuginfo(app.clone())), router)
        .with_route_limits(debuginfo::UPLOAD, debuginfo::upload_limits());
    let router = ScrapeServiceExt::register(Arc::new(scrape::Scrape), router);
    TelemetryServiceExt::register(Arc::new(telemetry::Telemetry), router)
}

/// `service` for a path below [`PREFIX`].
pub(crate) fn below_prefix(service: ConnectRpcService) -> MethodRouter {
    axum::routing::any(async move |request: Request| -> Response {
        match service.oneshot(without_prefix(request)).await {
            Ok(response) => response.into_response(),
            Err(never) => match never {},
        }
    })
}

fn without_prefix(mut request: Request) -> Request {
    let path = request.uri().path().strip_prefix(PREFIX).map(str::to_owned);
    let mut parts = request.uri().clone().into_parts();
    if let Some(Ok(path)) = path.map(PathAndQuery::try_from) {
        parts.path_and_query = Some(path);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    request
}
