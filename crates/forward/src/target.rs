//! Where to, and how: what an operator writes, checked.

use crate::via::VIA_HEADER;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;

/// How the other end wants it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// `push.v1.PusherService/Push` of Pyroscope, over Connect.
    #[default]
    Push,
    /// OTLP profiles over HTTP, protobuf.
    OtlpHttp,
    /// OTLP profiles over gRPC.
    OtlpGrpc,
}

impl Protocol {
    /// All protocols.
    pub const ALL: [Self; 3] = [Self::Push, Self::OtlpHttp, Self::OtlpGrpc];

    /// `push`, `otlp-http` or `otlp-grpc`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::OtlpHttp => "otlp-http",
            Self::OtlpGrpc => "otlp-grpc",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Self::Push => "/push.v1.PusherService/Push",
            Self::OtlpHttp => "/v1development/profiles",
            Self::OtlpGrpc => "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
        }
    }
}

/// Headers that the wire sets itself.
const OWN: [HeaderName; 7] = [
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::CONNECTION,
    header::TE,
    header::TRANSFER_ENCODING,
    VIA_HEADER,
];

/// What an operator wrote is not where something can be sent.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The URL is not one, or not one of HTTP.
    #[error("{0}; write it as https://profiles.example.com or http://127.0.0.1:4040")]
    Url(String),
    /// A header is not one.
    #[error("the header {name:?} {why}; write name=value")]
    Header {
        /// Its name. Its value may be a secret and is never shown.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Where to send, and how. Values of headers are never shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub(crate) url: Url,
    pub(crate) protocol: Protocol,
    pub(crate) headers: HeaderMap,
}

impl Target {
    /// Sends to the service at `url`, with `headers` beside the wire's own.
    pub fn new(url: &str, protocol: Protocol, headers: &[(String, String)]) -> Result<Self, TargetError> {
        Ok(Self { url: endpoint(url, protocol)?, protocol, headers: header_map(headers)? })
    }

    /// Where requests go, for people.
    pub fn endpoint(&self) -> &str {
        self.url.as_str()
    }
}

fn endpoint(text: &str, protocol: Protocol) -> Result<Url, TargetError> {
    let mut url = checked_url(text)?;
    let path = url.path().trim_end_matches('/').to_owned();
    if !path.ends_with(protocol.path()) {
        url.set_path(&(path + protocol.path()));
    }
    Ok(url)
}

/// A URL of HTTP without secrets.
pub(crate) fn checked_url(text: &str) -> Result<Url, TargetError> {
    let url: Url = text.parse().map_err(|error| TargetError::Url(format!("it is not a URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(TargetError::Url("it is not a URL of http or https".to_owned()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(TargetError::Url("it has a user or a password, which belong into a header".to_owned()));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(TargetError::Url("it has a query".to_owned()));
    }
    Ok(url)
}

/// Headers that are not the wire's own.
pub(crate) fn header_map(headers: &[(String, String)]) -> Result<HeaderMap, TargetError> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        let fault = |why| TargetError::Header { name: name.clone(), why };
        let header = HeaderName::try_from(name).map_err(|_| fault("is not a name of a header"))?;
        if OWN.contains(&header) || header.as_str().starts_with("grpc-") {
            return Err(fault("is set by the wire"));
        }
        let mut value =
            HeaderValue::try_from(value).map_err(|_| fault("has a value that no header can have"))?;
        value.set_sensitive(true);
        map.append(header, value);
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let of = |text, protocol| Target::new(text, protocol, &[]).map(|target| target.endpoint().to_owned());
        for (text, protocol, expect) in [
            ("http://h:4040", Protocol::Push, "http://h:4040/push.v1.PusherService/Push"),
            ("https://h/a//", Protocol::OtlpHttp, "https://h/a/v1development/profiles"),
            ("https://h/v1development/profiles", Protocol::OtlpHttp, "https://h/v1development/profiles"),
            (
                "http://h",
                Protocol::OtlpGrpc,
                "http://h/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export",
            ),
        ] {
            assert_eq!(of(text, protocol).unwrap(), expect);
        }
        for text in ["", "h:4040", "ftp://h", "http://user:secret@h", "http://h/?a=b", "http://h/#x"] {
            let fault = of(text, Protocol::Push).unwrap_err().to_string();
            assert!(!fault.contains("secret"), "{fault}");
        }
    }

    #[test]
    fn headers_are_not_shown() {
        let headers = [("Authorization".to_owned(), "Bearer secret".to_owned())];
        let target = Target::new("http://h", Protocol::Push, &headers).unwrap();
        assert_eq!(target.headers["authorization"], "Bearer secret");
        assert!(!format!("{target:?}").contains("secret"));
        for (name, value) in [
            ("a b", "secret"),
            ("content-type", "secret"),
            ("grpc-x", "secret"),
            ("Everflame-Via", "secret"),
            ("a", "sec\nret"),
        ] {
            let fault = Target::new("http://h", Protocol::Push, &[(name.to_owned(), value.to_owned())]);
            let fault = format!("{:?} {}", fault.as_ref().unwrap_err(), fault.as_ref().unwrap_err());
            assert!(!fault.contains("sec"), "{fault}");
        }
    }
}
