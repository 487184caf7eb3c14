//! `parca.profilestore.v1alpha1.ProfileStoreService`: profiles from agents and scrapers.

use super::agents::Agents;
use crate::app::App;
use crate::error::ApiError;
use crate::wire::parca::profilestore::v1alpha1::*;
use bytes::Bytes;
use connectrpc::{ConnectError, InboundStream, RequestContext, Response, ServiceRequest, ServiceResult, ServiceStream};
use everflame_ingest::ParcaSeries;
use std::sync::Arc;

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
        _requests: InboundStream<WriteRequest>,
    ) -> ServiceResult<ServiceStream<WriteResponse>> {
        Err(ConnectError::unimplemented("Write is not there yet; use WriteArrow"))
    }

    async fn write_arrow(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, WriteArrowRequest>,
    ) -> ServiceResult<WriteArrowResponse> {
        Err(ConnectError::unimplemented("WriteArrow is not there yet; use WriteRaw"))
    }
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
