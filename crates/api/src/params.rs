//! Parameters in the query string of a URL.

use crate::error::ApiError;
use axum::extract::Query;
use http::Uri;

/// Decoded pairs in their order. Of equal names the first counts.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Those of `uri`; unknown ones are kept and never asked for.
    pub(crate) fn of(uri: &Uri) -> Result<Self, ApiError> {
        Query::<Vec<(String, String)>>::try_from_uri(uri).map(|Query(pairs)| Self(pairs)).map_err(|error| {
            ApiError::invalid(format_args!(
                "the query string cannot be read: {error}; percent-encode the values"
            ))
        })
    }

    /// All pairs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value of `name`, "" included.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// The value of `name`, or "".
    pub(crate) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// The value of `name`, which must be there and not empty; `example` says what it may look like.
    pub(crate) fn required(&self, name: &str, example: &str) -> Result<&str, ApiError> {
        match self.get(name).map(str::trim) {
            None | Some("") => {
                Err(ApiError::invalid(format_args!("the parameter {name} is missing; send {name}={example}")))
            }
            Some(value) => Ok(value),
        }
    }

    /// All values of `name`, split at commas.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(other, _)| other == name).flat_map(|(_, value)| value.split(','));
        values.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pairs() {
        let uri = "/x?a=1%20b&c=d+e&a=2&flag&l=x,y&l=z".parse().unwrap();
        let params = Params::of(&uri).unwrap();
        assert_eq!((params.text("a"), params.text("c"), params.get("none")), ("1 b", "d e", None));
        assert_eq!(params.list("l"), ["x", "y", "z"]);
        assert!(params.required("flag", "1").is_err());
    }
}
