//! `debuginfo.v1alpha1.DebuginfoService`: the files of what Pyroscope's agents have sampled. They ask whether a
//! file is wanted, send it as the body of a request of its own, and say that they are done. Those before Pyroscope
//! 2.2 do all of it in one stream.

use crate::app::App;
use crate::debug_files::{broken_off, receive, symbolizer, with_store};
use crate::error::ApiError;
use crate::wire::debuginfo::v1alpha1::__buffa::oneof::upload_response;
use crate::wire::debuginfo::v1alpha1::__buffa::view::oneof::upload_request::Data;
use crate::wire::debuginfo::v1alpha1::file_metadata::Type;
use crate::wire::debuginfo::v1alpha1::object_metadata::State as ObjectState;
use crate::wire::debuginfo::v1alpha1::*;
use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use buffa_types::google::protobuf::Timestamp;
use connectrpc::{
    ConnectError, InboundStream, Limits, RequestContext, Response as RpcResponse, ServiceRequest,
    ServiceResult, ServiceStream, StreamMessage,
};
use everflame_profile::Nanos;
use everflame_symbols::{BuildId, FileKind, UploadRequest as Asked};
use futures::StreamExt;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// Where files are sent.
pub(crate) const UPLOAD: &str = "/debuginfo.v1alpha1.DebuginfoService/Upload/{gnu_build_id}";
/// The method that takes a file in a stream.
pub(crate) const UPLOAD_STREAM: &str = "debuginfo.v1alpha1.DebuginfoService/Upload";
/// Largest piece of a file in a stream; agents send much smaller ones.
const MAX_PIECE: usize = 64 << 20;
/// How long a sender may take until it asks.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most files that are listed.
const MAX_LISTED: usize = 10_000;

/// The bounds of [`UPLOAD_STREAM`]: a piece is in memory, the file is not.
pub(crate) fn stream_limits() -> Limits {
    Limits::default().with_max_message_size(MAX_PIECE)
}

pub(crate) struct Debuginfo(pub(crate) Arc<App>);

impl DebuginfoService for Debuginfo {
    async fn should_initiate_upload(
        &self,
        _context: RequestContext,
        request: ServiceRequest<'_, ShouldInitiateUploadRequest>,
    ) -> ServiceResult<ShouldInitiateUploadResponse> {
        let answer = match request.to_owned_message().file.into_option() {
            _ if symbolizer(&self.0).is_none() => DISABLED,
            None => return Err(ApiError::invalid("file is missing; say which it is").into()),
            Some(file)
                if [Type::TYPE_EXECUTABLE_FULL, Type::TYPE_EXECUTABLE_NO_TEXT]
                    .into_iter()
                    .any(|kind| file.r#type == kind) =>
            {
                begin(&self.0, BuildId::parse(&file.gnu_build_id).map_err(ApiError::from)?, file.name).await?
            }
            Some(_) => {
                return Err(ApiError::invalid(
                    "file.type is none; send TYPE_EXECUTABLE_FULL or TYPE_EXECUTABLE_NO_TEXT",
                )
                .into());
            }
        };
        RpcResponse::ok(told(answer))
    }

    async fn upload(
        &self,
        _context: RequestContext,
        requests: InboundStream<UploadRequest>,
    ) -> ServiceResult<ServiceStream<UploadResponse>> {
        let app = self.0.clone();
        let exchange = futures::stream::try_unfold(Exchange::Question(requests), move |exchange| {
            let app = app.clone();
            async move { exchange.go_on(&app).await.map_err(ConnectError::from) }
        });
        RpcResponse::ok(Box::pin(exchange))
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

/// Whether a file is wanted, and why.
type Answer = Result<&'static str, &'static str>;

const DISABLED: Answer = Err("DebugInfo upload disabled");

fn told(answer: Answer) -> ShouldInitiateUploadResponse {
    let (Ok(reason) | Err(reason)) = answer;
    ShouldInitiateUploadResponse {
        should_initiate_upload: answer.is_ok(),
        reason: reason.to_owned(),
        ..Default::default()
    }
}

/// A file in a stream: a question comes, the answer goes back, pieces come.
enum Exchange {
    Question(InboundStream<UploadRequest>),
    Pieces(InboundStream<UploadRequest>, BuildId),
    End,
}

impl Exchange {
    /// The next answer, and what follows it; nothing when the file is there, or not wanted.
    async fn go_on(self, app: &App) -> Result<Option<(UploadResponse, Self)>, ApiError> {
        match self {
            Self::Question(mut requests) => {
                let (answer, build) = asked(app, &mut requests).await?;
                let data = Some(upload_response::Data::Init(Box::new(told(answer))));
                let next =
                    build.filter(|_| answer.is_ok()).map_or(Self::End, |build| Self::Pieces(requests, build));
                Ok(Some((UploadResponse { data, ..Default::default() }, next)))
            }
            Self::Pieces(requests, build) => {
                let pieces = requests.map(|message| piece(&message.map_err(unreadable)?));
                receive(app, build.clone(), FileKind::Executable, None, pieces).await?;
                // Nobody says later that it was all.
                with_store(app, move |store| store.finish(&build, FileKind::Executable, None)).await?;
                Ok(None)
            }
            Self::End => Ok(None),
        }
    }
}

/// Reads the question, which comes first.
async fn asked(
    app: &App,
    requests: &mut InboundStream<UploadRequest>,
) -> Result<(Answer, Option<BuildId>), ApiError> {
    let no_question =
        || ApiError::invalid("the stream does not begin with init; ask whether the file is wanted");
    let first = tokio::time::timeout(PATIENCE, requests.next()).await.map_err(|_| {
        ApiError::deadline_exceeded(format_args!("no init came for {} s; send it first", PATIENCE.as_secs()))
    })?;
    let first = first.ok_or_else(no_question)?.map_err(unreadable)?;
    let Some(Data::Init(question)) = &first.view().data else { return Err(no_question()) };
    if symbolizer(app).is_none() {
        return Ok((DISABLED, None));
    }
    let file = question.file.as_option();
    let file = file.ok_or_else(|| ApiError::invalid("init.file is missing; say which it is"))?;
    let build = BuildId::parse(file.gnu_build_id)?;
    let answer = begin(app, build.clone(), file.name.to_owned()).await?;
    Ok((answer, Some(build)))
}

fn piece(message: &StreamMessage<UploadRequest>) -> Result<Bytes, ApiError> {
    match &message.view().data {
        Some(Data::Chunk(chunk)) => Ok(message.bytes().slice_ref(chunk.chunk)),
        Some(Data::Init(_)) => Err(ApiError::invalid("there is a second init; send chunks after the first")),
        None => Ok(Bytes::new()),
    }
}

fn unreadable(error: ConnectError) -> ApiError {
    ApiError::invalid(broken_off(error))
}

/// Begins the upload of a file that is wanted, and says why it is, or is not.
async fn begin(app: &App, build: BuildId, name: String) -> Result<Answer, ApiError> {
    let asked = Asked { name, checked: true, ..Asked::default() };
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
