//! `parca.debuginfo.v1alpha1.DebuginfoService`: agents ask whether a debug file is wanted before they send
//! it. None is: stacks are kept with the addresses and build ids that they came with.

use crate::error::ApiError;
use crate::wire::parca::debuginfo::v1alpha1::*;
use connectrpc::{InboundStream, RequestContext, Response, ServiceRequest, ServiceResult};

/// Shortest build id: the files of stores lie in folders of their first two digits.
const MIN_BUILD_ID: usize = 3;

pub(super) struct Debuginfo;

impl DebuginfoService for Debuginfo {
    async fn should_initiate_upload(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, ShouldInitiateUploadRequest>,
    ) -> ServiceResult<ShouldInitiateUploadResponse> {
        Response::ok(should_initiate_upload(&request.to_owned_message())?)
    }

    async fn initiate_upload(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, InitiateUploadRequest>,
    ) -> ServiceResult<InitiateUploadResponse> {
        Err(initiate_upload(&request.to_owned_message()).into())
    }

    async fn upload(
        &self,
        _context: RequestContext,
        _requests: InboundStream<UploadRequest>,
    ) -> ServiceResult<UploadResponse> {
        Err(upload().into())
    }

    async fn mark_upload_finished(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, MarkUploadFinishedRequest>,
    ) -> ServiceResult<MarkUploadFinishedResponse> {
        Err(mark_upload_finished(&request.to_owned_message()).into())
    }
}

/// No, with the reason.
pub(super) fn should_initiate_upload(
    request: &ShouldInitiateUploadRequest,
) -> Result<ShouldInitiateUploadResponse, ApiError> {
    check(&request.build_id)?;
    let reason = "Debug files are not kept by this server; stacks stay as they were sent.".to_owned();
    Ok(ShouldInitiateUploadResponse { should_initiate_upload: false, reason, ..Default::default() })
}

/// Nobody should have asked.
pub(super) fn initiate_upload(request: &InitiateUploadRequest) -> ApiError {
    let missing = [("hash", request.hash.is_empty()), ("size", request.size <= 0)];
    if let Err(error) = check(&request.build_id) {
        return error;
    }
    match missing.into_iter().find(|(_, missing)| *missing) {
        Some((field, _)) => ApiError::invalid(format_args!("{field} is missing; send that of the file")),
        None => ApiError::failed_precondition(
            "debug files are not kept by this server; ask ShouldInitiateUpload first, and send none",
        ),
    }
}

pub(super) fn upload() -> ApiError {
    ApiError::failed_precondition("no upload was initiated; debug files are not kept by this server")
}

pub(super) fn mark_upload_finished(request: &MarkUploadFinishedRequest) -> ApiError {
    match check(&request.build_id) {
        Err(error) => error,
        Ok(()) => ApiError::not_found(format_args!(
            "no upload of build {:?} was initiated; debug files are not kept by this server",
            request.build_id
        )),
    }
}

fn check(build_id: &str) -> Result<(), ApiError> {
    if build_id.len() < MIN_BUILD_ID {
        return Err(ApiError::invalid(format_args!(
            "build_id {build_id:?} is too short; send at least {MIN_BUILD_ID} characters"
        )));
    }
    Ok(())
}
