//! JSON messages of the RPC wires are objects: the reader of a message would take an array, too, for its
//! fields in their order, and `[]` for a message without any.

use connectrpc::interceptor::{UnaryRequest, UnaryResponse};
use connectrpc::{CodecFormat, ConnectError, Interceptor, Next, async_trait};

/// Refuses JSON messages that are not objects.
pub(crate) struct JsonObjects;

#[async_trait]
impl Interceptor for JsonObjects {
    async fn intercept_unary(
        &self,
        request: UnaryRequest,
        next: Next<'_>,
    ) -> Result<UnaryResponse, ConnectError> {
        if request.payload.format() == CodecFormat::Json {
            check(request.payload.bytes())?;
        }
        next.run(request).await
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
