#![no_main]
//! Arrow records of Parca's agents: whatever is read holds together, within the limits.
//!
//! Their reader belongs to the server, of which nothing else is needed here: its own files are compiled into this
//! program, and the little that they use of the server stands in for it.

use bytes::Bytes;
use everflame_fuzz::use_up;
use libfuzzer_sys::fuzz_target;
use std::pin::pin;
use std::sync::Once;
use std::task::{Context, Poll, Waker};

mod app {
    use super::error::ApiError;

    /// The server does it on a thread of its own.
    pub(crate) async fn blocking<T>(work: impl FnOnce() -> T) -> Result<T, ApiError> {
        Ok(work())
    }
}

mod error {
    use std::fmt::Display;

    /// Why something was refused.
    #[derive(Debug)]
    pub(crate) struct ApiError;

    impl ApiError {
        pub(crate) fn invalid(message: impl Display) -> Self {
            Self::internal(message)
        }

        pub(crate) fn internal(message: impl Display) -> Self {
            assert!(!message.to_string().is_empty());
            Self
        }
    }
}

#[path = "../../crates/api/src/parca/records/mod.rs"]
mod records;

/// What a future that waits for nothing gives.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(ready) => ready,
        Poll::Pending => panic!("it waits"),
    }
}

static HOOK: Once = Once::new();

fuzz_target!(|bytes: &[u8]| {
    // Where Arrow's own reader panics, the server catches it and refuses: the fuzzer's hook would end the program
    // before. A panic that nobody catches still ends it.
    HOOK.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let stream = Bytes::copy_from_slice(bytes);
    for part in now(records::profiles(stream.clone())).into_iter().flatten() {
        use_up(&part.profile);
    }
    if let Ok(pending) = now(records::Pending::samples(stream.clone())) {
        match pending.wanted() {
            Ok(None) => _ = pending.into_parts(),
            // One stream has samples and locations only where the fuzzer finds one.
            _ => now(pending.locations(stream)).into_iter().flatten().for_each(|part| use_up(&part.profile)),
        }
    }
});
