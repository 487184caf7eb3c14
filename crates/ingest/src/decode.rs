//! What the readers of `everflame-formats` say, as errors of this crate.

use crate::error::{Error, ErrorKind};

impl From<everflame_formats::Error> for Error {
    fn from(error: everflame_formats::Error) -> Self {
        use everflame_formats::ErrorKind as Kind;
        let kind = match error.kind() {
            Kind::TooLarge => ErrorKind::TooLarge,
            Kind::Malformed | Kind::Unsupported | Kind::UnnamedType => ErrorKind::Unprocessable,
        };
        Self::new(kind, error.to_string())
    }
}
