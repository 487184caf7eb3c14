//! `parca.debuginfo.v1alpha1.DebuginfoService`: agents ask whether a debug file is wanted, send it, and say that
//! they are done.

use crate::app::App;
use crate::debug_files::{broken_off, receive, symbolizer, with_store};
use crate::error::ApiError;
use crate::wire::parca::debuginfo::v1alpha1::__buffa::view::oneof::upload_request::Data;
use crate::wire::parca::debuginfo::v1alpha1::*;
use bytes::Bytes;
use connectrpc::{
    ConnectError, InboundStream, Limits, RequestContext, Response, ServiceRequest, ServiceResult,
    StreamMessage,
};
use everflame_symbols::{BuildId, FileKind, UploadRequest as Asked};
use futures::StreamExt;
use std::sync::Arc;

/// The method that takes a file.
pub(super) const UPLOAD: &str = "parca.debuginfo.v1alpha1.DebuginfoService/Upload";
/// Largest piece of a file; Parca's agent may send so much at once, and sends a mebibyte.
const MAX_PIECE: usize = 64 << 20;

/// The bounds of [`UPLOAD`]: a piece is in memory, the file is not.
pub(super) fn upload_limits() -> Limits {
    Limits::default().with_max_message_size(MAX_PIECE)
}

pub(super) struct Debuginfo(pub(super) Arc<App>);

impl DebuginfoService for Debuginfo {
    async fn should_initiate_upload(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, ShouldInitiateUploadRequest>,
    ) -> ServiceResult<ShouldInitiateUploadResponse> {
        Response::ok(should_initiate_upload(&self.0, request.to_owned_message()).await?)
    }

    async fn initiate_upload(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, InitiateUploadRequest>,
    ) -> ServiceResult<InitiateUploadResponse> {
        Response::ok(initiate_upload(&self.0, request.to_owned_message()).await?)
    }

    async fn upload(
        &self,
        _context: RequestContext,
        requests: InboundStream<UploadRequest>,
    ) -> ServiceResult<UploadResponse> {
        Response::ok(upload(&self.0, requests).await?)
    }

    async fn mark_upload_finished(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, MarkUploadFinishedRequest>,
    ) -> ServiceResult<MarkUploadFinishedResponse> {
        Response::ok(mark_upload_finished(&self.0, request.to_owned_message()).await?)
    }
}

/// Whether the file is wanted, with the reason.
pub(super) async fn should_initiate_upload(
    app: &App,
    request: ShouldInitiateUploadRequest,
) -> Result<ShouldInitiateUploadResponse, ApiError> {
    let build = BuildId::parse(&request.build_id)?;
    let answer = |should_initiate_upload, reason: &str| {
        let reason = reason.to_owned();
        Ok(ShouldInitiateUploadResponse { should_initiate_upload, reason, ..Default::default() })
    };
    if symbolizer(app).is_none() {
        return answer(false, "Debug files are not kept by this server; stacks stay as they were sent.");
    }
    let Some(kind) = kind(request.r#type.to_i32()) else {
        return answer(false, "Sources are not kept by this server.");
    };
    let wanted = with_store(app, move |store| store.wanted(&build, kind, request.force)).await?;
    answer(wanted.is_wanted(), wanted.reason())
}

/// Where to send the file: here.
pub(super) async fn initiate_upload(
    app: &App,
    request: InitiateUploadRequest,
) -> Result<InitiateUploadResponse, ApiError> {
    let build = BuildId::parse(&request.build_id)?;
    let missing = [("hash", request.hash.is_empty()), ("size", request.size <= 0)];
    if let Some((field, _)) = missing.into_iter().find(|(_, missing)| *missing) {
        return Err(ApiError::invalid(format_args!("{field} is missing; send that of the file")));
    }
    let Some(kind) = kind(request.r#type.to_i32()) else {
        return Err(ApiError::failed_precondition(
            "sources are not kept by this server; send debug files alone",
        ));
    };
    // Ids of these kinds are in the file; agents make others for files that have none.
    let checked = [BuildIDType::BUILD_ID_TYPE_UNKNOWN_UNSPECIFIED, BuildIDType::BUILD_ID_TYPE_GNU]
        .into_iter()
        .any(|kind| request.build_id_type == kind);
    let asked = Asked {
        size: request.size.unsigned_abs(),
        hash: request.hash,
        name: String::new(),
        force: request.force,
        checked,
    };
    let upload_id = with_store(app, move |store| store.initiate(&build, kind, asked)).await?;
    let instructions = UploadInstructions {
        build_id: request.build_id,
        upload_id,
        upload_strategy: upload_instructions::UploadStrategy::UPLOAD_STRATEGY_GRPC.into(),
        r#type: request.r#type,
        ..Default::default()
    };
    Ok(InitiateUploadResponse { upload_instructions: instructions.into(), ..Default::default() })
}

async fn upload(app: &App, mut requests: InboundStream<UploadRequest>) -> Result<UploadResponse, ApiError> {
    let first = requests.next().await.ok_or_else(|| {
        ApiError::invalid("the stream ended before it said which file it is; send info, then chunk_data")
    })?;
    let first = first.map_err(unreadable)?;
    let Some(Data::Info(info)) = &first.view().data else {
        return Err(ApiError::invalid(
            "the first message does not say which file it is; send info, then chunk_data",
        ));
    };
    let (build_id, upload_id) = (info.build_id.to_owned(), info.upload_id.to_owned());
    let build = BuildId::parse(&build_id)?;
    let kind = kind(info.r#type.to_i32()).ok_or_else(|| {
        ApiError::failed_precondition("sources are not kept by this server; send debug files alone")
    })?;
    let pieces = requests.map(|message| piece(&message.map_err(unreadable)?));
    let size = receive(app, build, kind, Some(upload_id), pieces).await?;
    Ok(UploadResponse { build_id, size, ..Default::default() })
}

fn piece(message: &StreamMessage<UploadRequest>) -> Result<Bytes, ApiError> {
    match &message.view().data {
        Some(Data::ChunkData(bytes)) => Ok(message.bytes().slice_ref(bytes)),
        Some(Data::Info(_)) => {
            Err(ApiError::invalid("there is a second info; send chunk_data after the first"))
        }
        None => Ok(Bytes::new()),
    }
}

fn unreadable(error: ConnectError) -> ApiError {
    ApiError::invalid(broken_off(error))
}

/// The JSON gateway takes one message, which is no file.
pub(super) fn upload_as_json() -> ApiError {
    ApiError::failed_precondition("files do not come as JSON; send them over gRPC")
}

/// The file is there from now on.
pub(super) async fn mark_upload_finished(
    app: &App,
    request: MarkUploadFinishedRequest,
) -> Result<MarkUploadFinishedResponse, ApiError> {
    let build = BuildId::parse(&request.build_id)?;
    let not_found = || ApiError::not_found(format_args!("no upload of build {build} was initiated"));
    if symbolizer(app).is_none() {
        return Err(not_found());
    }
    let kind = kind(request.r#type.to_i32()).ok_or_else(not_found)?;
    with_store(app, move |store| store.finish(&build, kind, Some(&request.upload_id))).await?;
    Ok(MarkUploadFinishedResponse::default())
}

fn kind(number: i32) -> Option<FileKind> {
    match number {
        0 => Some(FileKind::Debuginfo),
        1 => Some(FileKind::Executable),
        _ => None,
    }
}
