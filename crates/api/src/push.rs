//! `push.v1.PusherService/Push`: how SDKs and agents send profiles.

use crate::app::App;
use crate::error::ApiError;
use crate::wire::push::v1::{PushRequest, PushResponse, PusherService};
use connectrpc::{ConnectError, RequestContext, Response, ServiceRequest, ServiceResult};
use everflame_forward::Via;
use everflame_ingest::{ErrorKind, PushSample};
use futures::StreamExt;
use std::sync::Arc;
use uuid::Uuid;

/// Profiles of one message that are stored at the same time, so that they share a sync.
const AT_ONCE: usize = 64;

pub(crate) struct Pusher(pub(crate) Arc<App>);

impl PusherService for Pusher {
    async fn push(
        &self,
        context: RequestContext,
        request: ServiceRequest<'_, PushRequest>,
    ) -> ServiceResult<PushResponse> {
        let samples = samples(&request, &Via::of_request(context.headers()))?;
        let all = samples.len();
        let ingest = &self.0.ingest;
        let mut stored = futures::stream::iter(samples)
            .map(|(place, sample)| async move { ingest.push(sample).await.map_err(|error| (place, error)) })
            .buffered(AT_ONCE);
        let (mut refused, mut told) = (0, None);
        while let Some(result) = stored.next().await {
            if let Err(fault) = result {
                refused += 1;
                told = Some(match told.take() {
                    Some(first) if passes_later(&first) || !passes_later(&fault) => first,
                    _ => fault,
                });
            }
        }
        match told {
            None => Response::ok(PushResponse::default()),
            Some(((series, sample), error)) if all > 1 => {
                let place =
                    format!("{refused} of {all} profiles were not stored; series {series}, sample {sample}");
                Err(refusal(error).at(place).into())
            }
            Some((_, error)) => Err(refusal(error).into()),
        }
    }
}

/// Whether a profile that was not stored is when it comes again. If one is, the sender must hear of that: it sends
/// the message again, of which what was stored is recognised.
fn passes_later((_, error): &(Place, everflame_ingest::Error)) -> bool {
    match error.kind() {
        ErrorKind::RateLimited | ErrorKind::Unavailable | ErrorKind::Internal => true,
        ErrorKind::InvalidArgument | ErrorKind::Unprocessable | ErrorKind::TooLarge => false,
    }
}

/// Agents try again on `resource_exhausted`, which does not help a profile that is too large.
fn refusal(error: everflame_ingest::Error) -> ApiError {
    match error.kind() {
        ErrorKind::TooLarge => ApiError::invalid(error),
        _ => error.into(),
    }
}

/// Where an upload stands in its message: number of the series, number of the sample.
type Place = (usize, usize);

/// The uploads of a message that came through `via`, with their places.
fn samples(
    request: &ServiceRequest<'_, PushRequest>,
    via: &Via,
) -> Result<Vec<(Place, PushSample)>, ConnectError> {
    let body = request.bytes();
    let mut samples = Vec::new();
    for (series_at, series) in request.view().series.iter().enumerate() {
        if series.samples.is_empty() {
            return Err(ConnectError::invalid_argument(format!(
                "series {series_at} has no samples; send each series with at least one profile"
            )));
        }
        for (at, sample) in series.samples.iter().enumerate() {
            let labels =
                series.labels.iter().map(|label| (label.name.to_owned(), label.value.to_owned())).collect();
            let id = Uuid::try_parse(sample.ID).ok().filter(|id| !id.is_nil()).map(|id| id.as_u128());
            samples.push((
                (series_at, at),
                PushSample { labels, pprof: body.slice_ref(sample.raw_profile), id, via: via.clone() },
            ));
        }
    }
    if samples.is_empty() {
        return Err(ConnectError::invalid_argument(
            "the message has no series; send at least one with a profile",
        ));
    }
    Ok(samples)
}
