//! `parca.profilestore.v1alpha1.ProfileStoreService`: profiles from agents and scrapers.

use super::agents::Agents;
use super::records::{self, Pending};
use crate::app::App;
use crate::error::ApiError;
use crate::wire::parca::profilestore::v1alpha1::*;
use bytes::Bytes;
use connectrpc::{
    ConnectError, InboundStream, RequestContext, Response, ServiceRequest, ServiceResult, ServiceStream,
};
use everflame_formats::Part;
use everflame_ingest::ParcaSeries;
use futures::StreamExt;
use std::sync::Arc;
use std::time::Duration;

/// Profiles that one message may hold.
const MAX_PROFILES: usize = 16_384;

pub(super) struct Store {
    pub(super) app: Arc<App>,
    pub(super) agents: Arc<Agents>,
}

impl ProfileStoreService for Store {
    async fn write_raw(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, WriteRawRequest>,
    ) -> ServiceResult<WriteRawResponse> {
        let body = request.bytes().clone();
        let series = request.view().series.iter().map(|series| {
            let labels = series.labels.as_option().map_or(&[][..], |labels| &labels.labels);
            ParcaSeries {
                labels: labels.iter().map(|label| (label.name.to_owned(), label.value.to_owned())).collect(),
                profiles: series.samples.iter().map(|sample| body.slice_ref(sample.raw_profile)).collect(),
            }
        });
        let series = series.collect();
        write_raw(&self.app, &self.agents, body, series).await?;
        Response::ok(WriteRawResponse::default())
    }

    async fn write(
        &self,
        _context: RequestContext,
        requests: InboundStream<WriteRequest>,
    ) -> ServiceResult<ServiceStream<WriteResponse>> {
        let app = self.app.clone();
        let exchange = futures::stream::try_unfold(Exchange::Samples(requests), move |exchange| {
            let app = app.clone();
            async move { exchange.go_on(&app).await.map_err(ConnectError::from) }
        });
        Response::ok(Box::pin(exchange))
    }

    async fn write_arrow(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, WriteArrowRequest>,
    ) -> ServiceResult<WriteArrowResponse> {
        let stream = request.bytes().slice_ref(request.view().ipc_buffer);
        write_arrow(&self.app, stream).await?;
        Response::ok(WriteArrowResponse::default())
    }
}

/// How long the other side of a Write may take for its next message.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Write: samples come, ids of stacks go back, their locations come.
enum Exchange {
    Samples(InboundStream<WriteRequest>),
    Locations { requests: InboundStream<WriteRequest>, pending: Box<Pending>, samples: Bytes },
}

impl Exchange {
    /// The next answer, and what follows it; nothing when all is stored.
    async fn go_on(self, app: &App) -> Result<Option<(WriteResponse, Self)>, ApiError> {
        match self {
            Self::Samples(mut requests) => {
                let samples = next(&mut requests, "samples").await?;
                let pending = Box::new(Pending::samples(samples.clone()).await?);
                match pending.wanted()? {
                    Some(record) => {
                        let answer = WriteResponse { record, ..Default::default() };
                        Ok(Some((answer, Self::Locations { requests, pending, samples })))
                    }
                    None => {
                        store(app, samples, pending.into_parts()?).await?;
                        Ok(None)
                    }
                }
            }
            Self::Locations { mut requests, pending, samples } => {
                let locations = next(&mut requests, "locations").await?;
                store(app, samples, pending.locations(locations).await?).await?;
                // An answer that asks for nothing more would be read as one that does.
                Ok(None)
            }
        }
    }
}

async fn next(requests: &mut InboundStream<WriteRequest>, what: &str) -> Result<Bytes, ApiError> {
    match tokio::time::timeout(PATIENCE, requests.next()).await {
        Ok(Some(Ok(message))) => Ok(message.bytes().slice_ref(message.view().record)),
        Ok(Some(Err(error))) => Err(ApiError::invalid(format_args!("the {what} did not arrive: {error}"))),
        Ok(None) => {
            Err(ApiError::invalid(format_args!("the stream ended before the {what}; nothing was stored")))
        }
        Err(_) => Err(ApiError::deadline_exceeded(format_args!(
            "the {what} did not come within {} s; nothing was stored",
            PATIENCE.as_secs()
        ))),
    }
}

/// `WriteArrow`: all of it or none.
pub(super) async fn write_arrow(app: &App, stream: Bytes) -> Result<(), ApiError> {
    let parts = records::profiles(stream.clone()).await?;
    store(app, stream, parts).await
}

async fn store(app: &App, body: Bytes, parts: Vec<Part>) -> Result<(), ApiError> {
    if parts.is_empty() {
        return Ok(());
    }
    app.ingest.parca_parts(body, parts).await.map_err(refusal)
}

/// `WriteRaw`: all of it or none.
pub(super) async fn write_raw(
    app: &App,
    agents: &Agents,
    body: Bytes,
    series: Vec<ParcaSeries>,
) -> Result<(), ApiError> {
    let profiles: usize = series.iter().map(|series| series.profiles.len()).sum();
    if profiles > MAX_PROFILES {
        return Err(ApiError::invalid(format_args!(
            "{profiles} profiles in one message, at most {MAX_PROFILES} are taken; send it in parts"
        )));
    }
    let begin = app.now();
    let first = series.iter().flat_map(|series| series.labels.clone()).collect::<Vec<_>>();
    let result = app.ingest.parca_raw(body, series).await.map_err(refusal);
    let labels = first.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    agents.note(labels, (begin, app.now()), result.as_ref().map(|_| ()));
    result
}

/// What a profile is refused for is a fault of the message, and trying again does not help.
fn refusal(error: everflame_ingest::Error) -> ApiError {
    use everflame_ingest::ErrorKind;
    match error.kind() {
        ErrorKind::Unprocessable | ErrorKind::TooLarge => ApiError::invalid(error),
        _ => error.into(),
    }
}
