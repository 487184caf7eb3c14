//! How JSON messages of the RPC wires are read: as objects, for the reader of a message would take an array, too,
//! for its fields in their order, and `[]` for a message without any. And names of enums that are not known are as
//! good as none, as to Connect's servers in Go: later clients have more of them.

use buffa::json::{JsonParseOptions, with_json_parse_options};
use connectrpc::interceptor::{UnaryRequest, UnaryResponse};
use connectrpc::{CodecFormat, ConnectError, Interceptor, Next, async_trait};
use std::future::{Future, poll_fn};
use std::pin::pin;

/// Refuses JSON messages that are not objects, and passes over unknown names of enums in the others.
pub(crate) struct JsonMessages;

#[async_trait]
impl Interceptor for JsonMessages {
    async fn intercept_unary(
        &self,
        request: UnaryRequest,
        next: Next<'_>,
    ) -> Result<UnaryResponse, ConnectError> {
        if request.payload.format() != CodecFormat::Json {
            return next.run(request).await;
        }
        check(request.payload.bytes())?;
        // The message is read when the call is polled, and the options are those of the thread that reads.
        let options = JsonParseOptions::new().ignore_unknown_enum_values(true);
        let mut call = pin!(next.run(request));
        poll_fn(|context| with_json_parse_options(&options, || call.as_mut().poll(context))).await
    }
}

fn check(body: &[u8]) -> Result<(), ConnectError> {
    match body.trim_ascii_start().first() {
        None | Some(b'{') => Ok(()),
        Some(_) => Err(ConnectError::invalid_argument(
            "the JSON message is not an object; send {\"field\": value, …}, or {} for none",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_objects_pass() {
        for (body, passes) in
            [("{}", true), (" \n{\"a\":1}", true), ("", true), ("[]", false), ("null", false), (" 7", false)]
        {
            assert_eq!(check(body.as_bytes()).is_ok(), passes, "{body}");
        }
    }
}
