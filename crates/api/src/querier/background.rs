//! Queries that are answered later: `async` of `SelectMergeStacktraces`.
//!
//! A client asks, gets an id, and comes back until there is an answer, which is kept for half an hour. What is
//! running ends with the server, and ids are forgotten then: a client asks again.

use crate::app::App;
use crate::error::ApiError;
use crate::wire::querier::v1::{
    AsyncQueryRequest, AsyncQueryResponse, AsyncQueryStatus, SelectMergeStacktracesRequest,
    SelectMergeStacktracesResponse,
};
use buffa::Message;
use bytes::Bytes;
use connectrpc::{CodecFormat, Encodable};
use everflame_profile::Nanos;
use hashbrown::HashMap;
use parking_lot::Mutex;
use std::sync::Arc;
use uuid::Uuid;

/// Queries that run at once, as in Pyroscope.
const MOST_RUNNING: usize = 5;
/// Answers that are kept, and the bytes of all of them; of more the oldest go.
const MOST_KEPT: usize = 64;
const MOST_BYTES: usize = 128 << 20;
/// How long an answer is kept.
const KEPT_FOR: Nanos = 30 * 60 * 1_000_000_000;

/// Queries that were asked and not forgotten yet.
#[derive(Debug, Default)]
pub(crate) struct Background(Mutex<HashMap<Uuid, Query>>);

#[derive(Debug)]
struct Query {
    asked: Nanos,
    state: State,
}

#[derive(Debug)]
enum State {
    Running,
    /// The answer as protobuf.
    Done(Bytes),
    Failed(String),
}

impl Background {
    /// Takes the next query in; its id.
    fn begin(&self, now: Nanos) -> Result<Uuid, ApiError> {
        let mut queries = self.0.lock();
        queries.retain(|_, query| query.is_running() || now.saturating_sub(query.asked) < KEPT_FOR);
        if queries.values().filter(|query| query.is_running()).count() >= MOST_RUNNING {
            return Err(ApiError::busy(format_args!(
                "{MOST_RUNNING} queries run in the background already; ask again when one has ended, or leave async out"
            )));
        }
        let id = Uuid::new_v4();
        queries.insert(id, Query { asked: now, state: State::Running });
        Ok(id)
    }

    fn end(&self, id: Uuid, answer: Result<Bytes, String>) {
        let mut queries = self.0.lock();
        if let Some(query) = queries.get_mut(&id) {
            query.state = answer.map_or_else(State::Failed, State::Done);
        }
        loop {
            let ended = || queries.iter().filter(|(_, query)| !query.is_running());
            let bytes: usize = ended().map(|(_, query)| query.bytes()).sum();
            if ended().count() <= MOST_KEPT && bytes <= MOST_BYTES {
                return;
            }
            let Some(oldest) = ended().min_by_key(|(_, query)| query.asked).map(|(id, _)| *id) else {
                return;
            };
            queries.remove(&oldest);
        }
    }

    /// The answer so far to the query `id`.
    fn poll(&self, id: &str, now: Nanos) -> Result<SelectMergeStacktracesResponse, ApiError> {
        let queries = self.0.lock();
        let found = Uuid::try_parse(id).ok().and_then(|id| queries.get(&id));
        let known = found.filter(|query| query.is_running() || now.saturating_sub(query.asked) < KEPT_FOR);
        let query = known.ok_or_else(|| {
            ApiError::not_found(format_args!(
                "there is no query {id:?} in the background; answers are kept for 30 minutes and not over a restart, \
                 ask again"
            ))
        })?;
        let (mut answer, status, error_message) = match &query.state {
            State::Running => {
                (Default::default(), AsyncQueryStatus::ASYNC_QUERY_STATUS_IN_PROGRESS, String::new())
            }
            State::Failed(why) => {
                (Default::default(), AsyncQueryStatus::ASYNC_QUERY_STATUS_FAILURE, why.clone())
            }
            State::Done(bytes) => {
                let answer = SelectMergeStacktracesResponse::decode_from_slice(bytes);
                let answer = answer.map_err(|error| ApiError::internal(format_args!("{error:?}")))?;
                (answer, AsyncQueryStatus::ASYNC_QUERY_STATUS_SUCCESS, String::new())
            }
        };
        let request_id = id.to_owned();
        answer.r#async =
            AsyncQueryResponse { request_id, status: status.into(), error_message, ..Default::default() }
                .into();
        Ok(answer)
    }
}

impl Query {
    fn is_running(&self) -> bool {
        matches!(self.state, State::Running)
    }

    fn bytes(&self) -> usize {
        match &self.state {
            State::Done(bytes) => bytes.len(),
            State::Running | State::Failed(_) => 0,
        }
    }
}

/// Begins a query in the background, or says how it goes.
pub(crate) fn answer(
    app: &Arc<App>,
    asked: &AsyncQueryRequest,
    request: SelectMergeStacktracesRequest,
) -> Result<SelectMergeStacktracesResponse, ApiError> {
    if !asked.request_id.is_empty() {
        return app.background.poll(&asked.request_id, app.now());
    }
    // What cannot be answered is refused at once.
    super::stacks_of(&request)?;
    let id = app.background.begin(app.now())?;
    let running = app.clone();
    tokio::spawn(async move {
        let answer = super::merged_stacktraces(&running, request).await;
        let answer = answer.and_then(|(answer, _)| {
            let bytes = answer.encode(CodecFormat::Proto);
            bytes.map_err(|error| ApiError::internal(format_args!("{error:?}")))
        });
        running.background.end(id, answer.map_err(|error| error.to_string()));
    });
    app.background.poll(&id.to_string(), app.now())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(background: &Background, id: Uuid, now: Nanos) -> Option<i32> {
        let answer = background.poll(&id.to_string(), now).ok()?;
        answer.r#async.as_option().map(|answer| answer.status.to_i32())
    }

    #[test]
    fn queries_begin_end_and_are_forgotten() {
        let background = Background::default();
        let ids: Vec<Uuid> = (0..MOST_RUNNING).map(|_| background.begin(0).unwrap()).collect();
        assert_eq!(background.begin(0).unwrap_err().status(), 429);
        assert_eq!(status(&background, ids[0], 0), Some(1));
        let message = SelectMergeStacktracesResponse { dot: "graph".to_owned(), ..Default::default() };
        background.end(ids[0], Ok(message.encode_to_vec().into()));
        background.end(ids[1], Err("why".to_owned()));
        let done = background.poll(&ids[0].to_string(), 1).unwrap();
        assert_eq!((done.dot.as_str(), status(&background, ids[0], 1)), ("graph", Some(2)));
        let failed = background.poll(&ids[1].to_string(), 1).unwrap();
        let failed = failed.r#async.as_option().unwrap();
        assert_eq!((failed.status.to_i32(), failed.error_message.as_str()), (3, "why"));
        assert_eq!(background.poll("nonsense", 0).unwrap_err().status(), 404);
        assert_eq!(background.poll(&Uuid::new_v4().to_string(), 0).unwrap_err().status(), 404);
        assert_eq!(status(&background, ids[0], KEPT_FOR), None);
        // One that runs for long is not forgotten.
        assert_eq!(status(&background, ids[2], KEPT_FOR), Some(1));
    }

    #[test]
    fn answers_are_bounded() {
        let background = Background::default();
        let id = |at: usize, bytes: usize| {
            let id = background.begin(at as Nanos).unwrap();
            let message = SelectMergeStacktracesResponse { tree: vec![1; bytes], ..Default::default() };
            background.end(id, Ok(message.encode_to_vec().into()));
            id
        };
        let ids: Vec<Uuid> = (0..MOST_KEPT + 3).map(|at| id(at, 1)).collect();
        let known: Vec<bool> = ids.iter().map(|id| status(&background, *id, 0).is_some()).collect();
        assert_eq!(known.iter().filter(|known| **known).count(), MOST_KEPT);
        assert_eq!(known[..4], [false, false, false, true]);
        let (first, second) = (id(1_000, MOST_BYTES / 2), id(1_001, MOST_BYTES / 2));
        assert_eq!((status(&background, first, 0), status(&background, second, 0)), (None, Some(2)));
        assert_eq!(background.0.lock().len(), 1);
    }
}
