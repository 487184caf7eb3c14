//! `debuginfo.v1alpha1.DebuginfoService`: the files of what Pyroscope's agents have sampled. They ask whether a
//! file is wanted, send it as the body of a request of its own, and say that they are done.

use crate::app::App;
use crate::debug_files::{broken_off, receive, symbolizer, with_store};
use crate::error::ApiError;
use crate::wire::debuginfo::v1alpha1::file_metadata::Type;
use crate::wire::debuginfo::v1alpha1::object_metadata::State as ObjectState;
use crate::wire::debuginfo::v1alpha1::*;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use buffa_types::google::protobuf::Timestamp;
use connectrpc::{RequestContext, Response as RpcResponse, ServiceRequest, ServiceResult};
use everflame_profile::Nanos;
use everflame_symbols::{BuildId, FileKind, UploadRequest};
use futures::StreamExt;
use http::StatusCode;
use std::sync::Arc;

/// Where files are sent.
pub(crate) const UPLOAD: &str = "/debuginfo.v1alpha1.DebuginfoService/Upload/{gnu_build_id}";
/// Most files that are listed.
const MAX_LISTED: usize = 10_000;

pub(crate) struct Debuginfo(pub(crate) Arc<App>);

impl DebuginfoService for Debuginfo {
    async fn should_initiate_upload(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, ShouldInitiateUploadRequest>,
    ) -> ServiceResult<ShouldInitiateUploadResponse> {
        let answer = match request.to_owned_message().file.into_option() {
            _ if symbolizer(&self.0).is_none() => Err("DebugInfo upload disabled"),
            None => return Err(ApiError::invalid("file is missing; say which it is").into()),
            Some(file) => begin(&self.0, file).await?,
        };
        let (Ok(reason) | Err(reason)) = answer;
        RpcResponse::ok(ShouldInitiateUploadResponse {
            should_initiate_upload: answer.is_ok(),
            reason: reason.to_owned(),
            ..Default::default()
        })
    }

    async fn upload_finished(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, UploadFinishedRequest>,
    ) -> ServiceResult<UploadFinishedResponse> {
        let build = BuildId::parse(request.view().gnu_build_id).map_err(ApiError::from)?;
        with_store(&self.0, move |store| store.finish(&build, FileKind::Executable, None)).await?;
        RpcResponse::ok(UploadFinishedResponse::default())
    }

    async fn list_debuginfo(
        &self,
        _context: RequestContext,
        _request: ServiceRequest<'_, ListDebuginfoRequest>,
    ) -> ServiceResult<ListDebuginfoResponse> {
        let files = with_store(&self.0, |store| store.list(MAX_LISTED)).await?;
        let object = files.into_iter().map(|(build, kind, state)| {
            let is_whole = kind == FileKind::Executable;
            let kind = if is_whole { Type::TYPE_EXECUTABLE_FULL } else { Type::TYPE_EXECUTABLE_NO_TEXT };
            let file = FileMetadata {
                gnu_build_id: build.to_string(),
                name: state.name,
                r#type: kind.into(),
                ..Default::default()
            };
            let is_finished = state.finished > 0;
            ObjectMetadata {
                file: file.into(),
                state: if is_finished { ObjectState::STATE_UPLOADED } else { ObjectState::STATE_UPLOADING }
                    .into(),
                started_at: timestamp(state.started).into(),
                finished_at: is_finished.then(|| timestamp(state.finished)).into(),
                size_bytes: if is_finished { state.size.cast_signed() } else { 0 },
                ..Default::default()
            }
        });
        RpcResponse::ok(ListDebuginfoResponse { object: object.collect(), ..Default::default() })
    }

    async fn delete_debuginfo(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, DeleteDebuginfoRequest>,
    ) -> ServiceResult<DeleteDebuginfoResponse> {
        let build = BuildId::parse(request.view().gnu_build_id).map_err(ApiError::from)?;
        with_store(&self.0, move |store| store.remove(&build)).await?;
        RpcResponse::ok(DeleteDebuginfoResponse::default())
    }
}

/// Begins the upload of a file that is wanted, and says why it is, or is not.
async fn begin(app: &App, file: FileMetadata) -> Result<Result<&'static str, &'static str>, ApiError> {
    if ![Type::TYPE_EXECUTABLE_FULL, Type::TYPE_EXECUTABLE_NO_TEXT]
        .into_iter()
        .any(|kind| file.r#type == kind)
    {
        return Err(ApiError::invalid(
            "file.type is none; send TYPE_EXECUTABLE_FULL or TYPE_EXECUTABLE_NO_TEXT",
        ));
    }
    let build = BuildId::parse(&file.gnu_build_id)?;
    let asked = UploadRequest { name: file.name, checked: true, ..UploadRequest::default() };
    with_store(app, move |store| {
        let wanted = store.wanted(&build, FileKind::Executable, false)?;
        if !wanted.is_wanted() {
            return Ok(Err(wanted.reason()));
        }
        store.initiate(&build, FileKind::Executable, asked)?;
        Ok(Ok(wanted.reason()))
    })
    .await
}

/// `POST …/Upload/{gnu_build_id}`: the file.
pub(crate) async fn upload(
    State(app): State<Arc<App>>,
    Path(build): Path<String>,
    request: Request,
) -> Response {
    match take(&app, &build, request).await {
        Ok(()) => StatusCode::OK.into_response(),
        // The peer's own number for a file that nobody asked for.
        Err(error) if error.is_failed_precondition() => {
            (StatusCode::PRECONDITION_FAILED, error.into_response().into_body()).into_response()
        }
        Err(error) => error.into_response(),
    }
}

async fn take(app: &App, build: &str, request: Request) -> Result<(), ApiError> {
    let build = BuildId::parse(build)?;
    let pieces = request.into_body().into_data_stream();
    let pieces = pieces.map(|piece| piece.map_err(|error| ApiError::unreadable(broken_off(error))));
    receive(app, build, FileKind::Executable, None, pieces).await?;
    Ok(())
}

fn timestamp(nanos: Nanos) -> Timestamp {
    Timestamp {
        seconds: nanos.div_euclid(1_000_000_000),
        nanos: nanos.rem_euclid(1_000_000_000) as i32,
        ..Default::default()
    }
}
