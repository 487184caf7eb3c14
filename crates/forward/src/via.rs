//! The servers that something came through. Each that forwards has an id, and adds it to the chain of what it sends;
//! what comes back to it then has its id, and ends there.

use http::{HeaderMap, HeaderName};
use std::fmt;
use std::sync::Arc;
use uuid::Uuid;

/// The header of HTTP, and metadata of gRPC, that has the ids of a chain, separated by commas.
pub(crate) const VIA_HEADER: HeaderName = HeaderName::from_static("everflame-via");
/// Ids of the longest chain that is sent.
const MOST_IDS: usize = 16;
const ID_BYTES: usize = 16;

/// The ids of the servers that something came through, the first of them first; none when a client sent it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Via(Arc<[Uuid]>);

impl Via {
    /// The chain that the headers of a request name. One that cannot be read is none, and of one that is too long
    /// the start is kept.
    pub fn of_request(headers: &HeaderMap) -> Self {
        let texts = headers.get_all(VIA_HEADER).iter();
        let ids = texts.flat_map(|text| text.to_str().unwrap_or_default().split(',')).take(MOST_IDS);
        let ids: Result<Arc<[Uuid]>, _> = ids.map(|id| Uuid::try_parse(id.trim())).collect();
        Self(ids.unwrap_or_default())
    }

    /// Whether it came from a client.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no id can be added.
    pub(crate) fn is_full(&self) -> bool {
        self.0.len() >= MOST_IDS
    }

    pub(crate) fn contains(&self, id: Uuid) -> bool {
        self.0.contains(&id)
    }

    /// The chain of what the server `id` sends on.
    pub(crate) fn then(&self, id: Uuid) -> Self {
        Self(self.0.iter().copied().chain([id]).collect())
    }

    /// How many ids, and the ids.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let ids = self.0.iter().flat_map(Uuid::as_bytes).copied();
        [u8::try_from(self.0.len()).unwrap_or(u8::MAX)].into_iter().chain(ids).collect()
    }

    /// What [`Self::to_bytes`] wrote at the start of `bytes`, and what is behind it.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (&count, rest) = bytes.split_first()?;
        let (ids, rest) = rest.split_at_checked(usize::from(count) * ID_BYTES)?;
        let ids = ids.chunks_exact(ID_BYTES).filter_map(|id| Uuid::from_slice(id).ok()).collect();
        Some((Self(ids), rest))
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(at, id)| match at {
            0 => write!(f, "{id}"),
            _ => write!(f, ",{id}"),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use http::HeaderValue;

    /// A chain of so many servers.
    pub(crate) fn chain(ids: u128) -> Via {
        (1..=ids).fold(Via::default(), |via, id| via.then(Uuid::from_u128(id)))
    }

    fn of(values: &[&'static [u8]]) -> Via {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(VIA_HEADER, HeaderValue::from_bytes(value).unwrap());
        }
        Via::of_request(&headers)
    }

    #[test]
    fn chains_are_sent_and_received() {
        assert_eq!(of(&[]), Via::default());
        let first = b"00000000-0000-0000-0000-000000000001";
        let both = b"00000000-0000-0000-0000-000000000001, 00000000000000000000000000000002";
        assert_eq!(of(&[first]), chain(1));
        assert_eq!(of(&[both]), chain(2));
        assert_eq!(of(&[first, b"00000000-0000-0000-0000-000000000002"]), chain(2));
        for nonsense in [&b""[..], b"1.1 proxy", b",", b"00000000-0000-0000-0000-000000000001,x", b"\xff"] {
            assert!(of(&[nonsense]).is_empty());
        }
        for via in [chain(0), chain(1), chain(3)] {
            let headers = HeaderMap::from_iter([(VIA_HEADER, via.to_string().parse().unwrap())]);
            assert!(via.is_empty() || Via::of_request(&headers) == via);
            let bytes = [via.to_bytes(), b"rest".to_vec()].concat();
            assert_eq!(Via::from_bytes(&bytes), Some((via, &b"rest"[..])));
        }
        assert_eq!(Via::from_bytes(&[1, 2, 3]), None);
    }

    #[test]
    fn chains_end() {
        let headers = HeaderMap::from_iter([(VIA_HEADER, chain(200).to_string().parse().unwrap())]);
        let via = Via::of_request(&headers);
        assert!(via == chain(MOST_IDS as u128) && via.is_full());
        assert!(!chain(MOST_IDS as u128 - 1).is_full());
        assert!(via.contains(Uuid::from_u128(3)) && !via.contains(Uuid::from_u128(99)));
    }
}
