//! `parca.scrape.v1alpha1.ScrapeService`: Parca's pages list what its server scrapes. This one scrapes
//! nothing: profiles are sent to it.

use crate::wire::parca::scrape::v1alpha1::{ScrapeService, TargetsRequest, TargetsResponse};
use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};

pub(super) struct Scrape;

impl ScrapeService for Scrape {
    async fn targets(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, TargetsRequest>,
    ) -> ServiceResult<TargetsResponse> {
        Response::ok(TargetsResponse::default())
    }
}
