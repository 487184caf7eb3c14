//! `parca.telemetry.v1alpha1.TelemetryService`: an agent that starts again says what ended it before. It
//! goes to the log.

use crate::wire::parca::telemetry::v1alpha1::{ReportPanicRequest, ReportPanicResponse, TelemetryService};
use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};

/// Bytes of a report that are logged: the end, where the reason is.
const MAX_LOGGED: usize = 4_096;

pub(super) struct Telemetry;

impl TelemetryService for Telemetry {
    async fn report_panic(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, ReportPanicRequest>,
    ) -> ServiceResult<ReportPanicResponse> {
        Response::ok(report_panic(&request.to_owned_message()))
    }
}

pub(super) fn report_panic(request: &ReportPanicRequest) -> ReportPanicResponse {
    tracing::warn!(stderr = ?end(&request.stderr), "an agent of Parca reports that it crashed");
    ReportPanicResponse::default()
}

fn end(text: &str) -> &str {
    let start = text.ceil_char_boundary(text.len().saturating_sub(MAX_LOGGED));
    text.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_report() {
        assert_eq!((end("short"), end("")), ("short", ""));
        let long = format!("{}panic: ä", "ü".repeat(MAX_LOGGED));
        assert!(end(&long).ends_with("panic: ä") && end(&long).len() <= MAX_LOGGED);
    }
}
