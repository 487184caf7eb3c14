//! Multipart bodies of `/ingest`: parts by name, with or without a file name.

use crate::error::ApiError;
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use memchr::memmem;

/// More parts than this are no profile.
const MAX_PARTS: usize = 64;

/// The parts of a body, in its order. A name may occur twice: the first counts.
pub(crate) struct Parts(Vec<(String, Bytes)>);

/// Whether the request says that its body is multipart.
pub(crate) fn is_multipart(headers: &HeaderMap) -> bool {
    content_type(headers).to_ascii_lowercase().contains("multipart/form-data")
}

fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

impl Parts {
    /// Splits `body` without copying it.
    pub(crate) fn read(headers: &HeaderMap, body: &Bytes) -> Result<Self, ApiError> {
        let boundary = parameter(content_type(headers), "boundary")
            .ok_or_else(|| fault("the Content-Type has no boundary"))?;
        let delimiter = format!("--{boundary}");
        let finder = memmem::Finder::new(delimiter.as_bytes());
        let mut parts = Vec::new();
        let mut at = finder.find(body).ok_or_else(|| fault("its boundary does not occur in the body"))?;
        loop {
            at += delimiter.len();
            let rest = body.get(at..).unwrap_or_default();
            if rest.starts_with(b"--") {
                return Ok(Self(parts));
            }
            let line_end = memchr::memchr(b'\n', rest).ok_or_else(cut_off)?;
            let begin = at + line_end + 1;
            let tail = body.get(begin..).unwrap_or_default();
            let end = find_delimiter(&finder, tail).ok_or_else(cut_off)?;
            let part = tail.get(..end).unwrap_or_default();
            if parts.len() == MAX_PARTS {
                return Err(fault("it has more than 64 parts"));
            }
            if let Some((name, content)) = split_part(part) {
                parts.push((name, body.slice_ref(content)));
            }
            at = begin + end;
            // Past the line break that belongs to the delimiter.
            at += body
                .get(at..)
                .map_or(0, |rest| rest.iter().take_while(|&&byte| byte == b'\r' || byte == b'\n').count());
        }
    }

    /// The part called `name`.
    pub(crate) fn get(&self, name: &str) -> Option<Bytes> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, content)| content.clone())
    }

    /// The names of all parts, for messages.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}

/// Where the line break before the next delimiter stands.
fn find_delimiter(finder: &memmem::Finder<'_>, bytes: &[u8]) -> Option<usize> {
    finder.find_iter(bytes).find_map(|at| {
        let before = bytes.get(..at).unwrap_or_default();
        match before {
            [] => Some(at),
            [.., b'\r', b'\n'] => Some(at - 2),
            [.., b'\n'] => Some(at - 1),
            _ => None,
        }
    })
}

/// Name and content of a part, when it has a name.
fn split_part(part: &[u8]) -> Option<(String, &[u8])> {
    let (head, content) = match memmem::find(part, b"\r\n\r\n") {
        Some(at) => (part.get(..at)?, part.get(at + 4..)?),
        None => memmem::find(part, b"\n\n").and_then(|at| Some((part.get(..at)?, part.get(at + 2..)?)))?,
    };
    let head = String::from_utf8_lossy(head);
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.trim().eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    Some((parameter(disposition, "name")?, content))
}

/// The value of `key` in `a; key=value; other="value"`.
fn parameter(header: &str, key: &str) -> Option<String> {
    header.split(';').skip(1).find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case(key) && !value.is_empty()).then(|| value.to_owned())
    })
}

fn cut_off() -> ApiError {
    fault("it ends before its last boundary")
}

fn fault(what: &str) -> ApiError {
    ApiError::unprocessable(format_args!(
        "multipart body: {what}; was it cut off? Send it whole and unchanged"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn parts(content_type: &'static str, body: &'static [u8]) -> Result<Parts, ApiError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Parts::read(&headers, &Bytes::from_static(body))
    }

    #[test]
    fn finds_parts_with_and_without_file_names() {
        let body = b"--x\r\nContent-Disposition: form-data; name=\"profile\"; filename=\"p.pprof\"\r\n\
            Content-Type: application/octet-stream\r\n\r\na\r\n--y\r\n\r\n--x\r\ncontent-disposition: form-data; name=sample_type_config\r\n\r\n{}\r\n--x--\r\n";
        let parts = parts("multipart/form-data; boundary=x", body).unwrap();
        assert_eq!(parts.names(), ["profile", "sample_type_config"]);
        assert_eq!(parts.get("profile").unwrap(), "a\r\n--y\r\n".as_bytes());
        assert_eq!(parts.get("sample_type_config").unwrap(), "{}".as_bytes());
        assert!(parts.get("other").is_none());
    }

    #[test]
    fn empty_parts_and_quoted_boundaries() {
        let body = b"--a b\r\nContent-Disposition: form-data; name=\"profile\"\r\n\r\n\r\n--a b--";
        let parts = parts("multipart/form-data; boundary=\"a b\"", body).unwrap();
        assert_eq!(parts.get("profile").unwrap(), Bytes::new());
    }

    #[test]
    fn damage_is_refused() {
        let table: &[(&str, &[u8])] = &[
            ("multipart/form-data", b"--x\r\n"),
            ("multipart/form-data; boundary=x", b"no boundary"),
            ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\nabc"),
            ("multipart/form-data; boundary=x", b"--x"),
        ];
        for (content_type, body) in table {
            assert_eq!(parts(content_type, body).err().unwrap().status(), 422, "{content_type} {body:?}");
        }
    }
}
