//! How forwarding is written in the configuration.

use crate::settings::{HIDDEN, Setting, show_list};
use everflame_forward::{Protocol, RemoteWrite, Target};
use everflame_query::Selector;

/// Where to send; empty for nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ForwardUrl(pub(crate) String);

/// Where samples are written; empty for nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RemoteWriteUrl(pub(crate) String);

/// Headers of requests, written as `name=value; name=value`. Values may be secrets, and are not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct ForwardHeaders(pub(crate) Vec<(String, String)>);

impl Setting for ForwardUrl {
    fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() {
            Target::new(text, Protocol::default(), &[]).map_err(|error| error.to_string())?;
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Setting for RemoteWriteUrl {
    fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() {
            RemoteWrite::new(text, &[]).map_err(|error| error.to_string())?;
        }
        Ok(Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Setting for Protocol {
    fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|protocol| protocol.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is none of push, otlp-http and otlp-grpc"))
    }

    fn show(&self) -> String {
        self.as_str().to_owned()
    }
}

impl Setting for ForwardHeaders {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::default());
        }
        let mut headers = Vec::new();
        for (at, header) in
            text.split(['\n', ';']).map(str::trim).filter(|header| !header.is_empty()).enumerate()
        {
            // What stands there may be a secret: it is not repeated.
            let fault =
                |why: &str| format!("header {}: {why}; write authorization=Bearer …; x-other=value", at + 1);
            let (name, value) = header.split_once('=').ok_or_else(|| fault("it has no ="))?;
            if value.trim() == HIDDEN {
                return Err(fault("its value was left out where this was printed"));
            }
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        let check = Target::new("http://localhost", Protocol::default(), &headers);
        check.map(|_| Self(headers)).map_err(|error| error.to_string())
    }

    fn show(&self) -> String {
        show_list(&self.0, "; ", |(name, _)| format!("{name}={HIDDEN}"))
    }
}

impl std::fmt::Debug for ForwardHeaders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.show())
    }
}

impl Setting for Selector {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|error| format!("{error}"))
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::check;

    #[test]
    fn values() {
        for (text, expect) in [
            ("", ""),
            ("https://h/a", "https://h/a"),
            ("h:1", "refused"),
            ("http://user:secret@h", "refused"),
        ] {
            check::<ForwardUrl>(text, expect);
            check::<RemoteWriteUrl>(text, expect);
        }
        for (text, expect) in [("push", "push"), ("otlp-grpc", "otlp-grpc"), ("http", "refused")] {
            check::<Protocol>(text, expect);
        }
        for (text, expect) in [
            ("none", "none"),
            ("authorization=Bearer a=b", "authorization=<hidden>"),
            ("a=1; b=2;", "a=<hidden>; b=<hidden>"),
            ("a=1\nb=2\n", "a=<hidden>; b=<hidden>"),
            ("a", "refused"),
            ("a=<hidden>", "refused"),
            ("content-type=a", "refused"),
        ] {
            check::<ForwardHeaders>(text, expect);
        }
        for (text, expect) in [("{}", "{}"), ("{a=\"b\"}", "{a=\"b\"}"), ("{a=", "refused")] {
            check::<Selector>(text, expect);
        }
        let headers = ForwardHeaders::parse("authorization=Bearer secret").unwrap();
        assert!(!format!("{headers:?} {}", headers.show()).contains("secret"));
        assert!(!ForwardHeaders::parse("secret").err().unwrap().contains("secret"));
    }
}
