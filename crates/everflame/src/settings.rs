//! How a value of the configuration is written: the same in the file, the environment and flags.

use everflame_query::Selector;
use std::path::PathBuf;
use std::time::Duration;

/// What is shown where a value must not be.
pub(crate) const HIDDEN: &str = "<hidden>";

/// A type that a key of the configuration can have.
pub(crate) trait Setting: Sized {
    /// Reads what a person wrote; the error says what would be right.
    fn parse(text: &str) -> Result<Self, String>;
    /// Writes it so that [`Setting::parse`] reads it again.
    fn show(&self) -> String;
}

/// A number of bytes, written as `64MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

/// How long something is kept, written as `7d` or `forever`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Age(pub(crate) Option<Duration>);

/// A number of bytes that something may take, written as `100GiB` or `unlimited`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room(pub(crate) Option<u64>);

/// A number of threads; one for each core, here 0, is written `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Threads(pub(crate) u64);

/// Names, written with commas in between; none as `none`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Names(pub(crate) Vec<String>);

/// Ages for some series, written as `{team="batch"} raw=30d 5m=90d; {team="web"} raw=1d`; none as `none`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Overrides(pub(crate) Vec<(Selector, Vec<(String, Age)>)>);

/// Addresses with ports, written with commas between them; `none` for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses(pub(crate) Vec<String>);

/// Addresses of web servers, written with commas between them; `none` for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Servers(pub(crate) Vec<url::Url>);

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For programs, one object a line.
    Json,
}

/// Where the tables are, as [`everflame_lake::StorageConfig::url`] says; may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StorageUrl(pub(crate) String);

impl Setting for StorageUrl {
    fn parse(text: &str) -> Result<Self, String> {
        everflame_lake::StorageConfig::check(text).map(|()| Self(text.to_owned()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}

impl Setting for String {
    fn parse(text: &str) -> Result<Self, String> {
        match text.is_empty() {
            true => Err("it is empty".to_owned()),
            false => Ok(text.to_owned()),
        }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Setting for Addresses {
    fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self::default());
        }
        let addresses: Vec<String> = text.split(',').map(|address| address.trim().to_owned()).collect();
        match addresses.iter().any(String::is_empty) {
            true => Err(format!("{text:?} has an empty address; write address:port,address:port, or none")),
            false => Ok(Self(addresses)),
        }
    }

    fn show(&self) -> String {
        show_list(&self.0, ",", String::clone)
    }
}

impl Setting for Servers {
    fn parse(text: &str) -> Result<Self, String> {
        if text.trim() == "none" {
            return Ok(Self::default());
        }
        let servers = text.split(',').map(|server| everflame_symbols::check_server(server.trim()));
        servers.collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> String {
        show_list(&self.0, ",", url::Url::to_string)
    }
}

impl Setting for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        String::parse(text).map(Self::from)
    }

    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Setting for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(format!("{text:?} is neither true nor false")),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for u64 {
    fn parse(text: &str) -> Result<Self, String> {
        match text.replace('_', "").parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{text:?} is not a whole number above zero")),
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

const SIZES: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl Setting for Size {
    fn parse(text: &str) -> Result<Self, String> {
        let unit = SIZES.iter().find(|(suffix, _)| text.ends_with(suffix));
        let (number, factor) = match unit {
            Some((suffix, factor)) => (text.strip_suffix(suffix).unwrap_or(text).trim(), *factor),
            None => (text, 1),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        match bytes {
            Some(bytes) if bytes > 0 => Ok(Self(bytes)),
            _ => Err(format!("{text:?} is not a size; write 64MiB, 2GB or a number of bytes")),
        }
    }

    fn show(&self) -> String {
        let unit = SIZES.iter().take(4).find(|(_, factor)| self.0.is_multiple_of(*factor));
        unit.map_or_else(|| self.0.to_string(), |(suffix, factor)| format!("{}{suffix}", self.0 / factor))
    }
}

const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)];

impl Setting for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        let millis = DURATIONS.iter().find_map(|(suffix, factor)| {
            let number: u64 = text.strip_suffix(suffix)?.trim().parse().ok()?;
            number.checked_mul(*factor)
        });
        match millis {
            Some(millis) if millis > 0 => Ok(Self::from_millis(millis)),
            _ => Err(format!("{text:?} is not a duration; write 500ms, 60s, 5m, 2h or 7d")),
        }
    }

    fn show(&self) -> String {
        let millis = self.as_millis() as u64;
        match DURATIONS.iter().skip(1).find(|(_, factor)| millis.is_multiple_of(*factor)) {
            Some((suffix, factor)) => format!("{}{suffix}", millis / factor),
            None => format!("{millis}ms"),
        }
    }
}

impl Setting for Age {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "forever" => Ok(Self(None)),
            _ => Duration::parse(text).map(|age| Self(Some(age))).map_err(|why| why + ", or forever"),
        }
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| "forever".to_owned(), |age| age.show())
    }
}

impl Setting for Room {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "unlimited" => Ok(Self(None)),
            _ => Size::parse(text).map(|size| Self(Some(size.0))).map_err(|why| why + ", or unlimited"),
        }
    }

    fn show(&self) -> String {
        self.0.map_or_else(|| "unlimited".to_owned(), |bytes| Size(bytes).show())
    }
}

impl Setting for Threads {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self(0)),
            _ => u64::parse(text).map(Self).map_err(|why| why + ", or auto"),
        }
    }

    fn show(&self) -> String {
        if self.0 == 0 { "auto".to_owned() } else { self.0.to_string() }
    }
}

impl Setting for Names {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self(Vec::new()));
        }
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match names.iter().any(String::is_empty) {
            true => Err(format!("{text:?} is not a list; write names with commas in between, or none")),
            false => Ok(Self(names)),
        }
    }

    fn show(&self) -> String {
        show_list(&self.0, ",", String::clone)
    }
}

/// Writes a list with `separator` between its items; one without items is `none`.
pub(crate) fn show_list<T>(items: &[T], separator: &str, show: impl Fn(&T) -> String) -> String {
    match items.is_empty() {
        true => "none".to_owned(),
        false => items.iter().map(show).collect::<Vec<_>>().join(separator),
    }
}

/// Splits `{a="b"} x=1; {c="d"} y=2` into selectors and what follows each; `none` has no part.
pub(crate) fn by_selector(text: &str, example: &str) -> Result<Vec<(Selector, String)>, String> {
    if text == "none" {
        return Ok(Vec::new());
    }
    // A semicolon may be in a label's value, too: a part ends where a selector begins.
    let mut all: Vec<String> = Vec::new();
    for part in text.split(';') {
        match all.last_mut() {
            Some(last) if !part.trim_start().starts_with('{') => *last = format!("{last};{part}"),
            _ => all.push(part.to_owned()),
        }
    }
    let split = |text: &String| {
        let (selector, rest) =
            text.trim().rsplit_once('}').ok_or_else(|| format!("{text:?} has no selector; {example}"))?;
        let selector = format!("{selector}}}").parse().map_err(|error| format!("{error}; {example}"))?;
        Ok((selector, rest.to_owned()))
    };
    all.iter().map(split).collect()
}

impl Setting for Overrides {
    fn parse(text: &str) -> Result<Self, String> {
        let example = r#"write {team="batch"} raw=30d 5m=90d; {team="web"} raw=1d"#;
        let one = |(selector, ages): (Selector, String)| {
            let ages = ages.split_whitespace().map(|age| match age.split_once('=') {
                Some((tier @ ("raw" | "5m" | "1h" | "1d"), age)) => Ok((tier.to_owned(), Age::parse(age)?)),
                _ => Err(format!("{age:?} is no age of raw, 5m, 1h or 1d; {example}")),
            });
            match ages.collect::<Result<Vec<_>, String>>()? {
                ages if ages.is_empty() => Err(format!("{selector} has no age; {example}")),
                ages => Ok((selector, ages)),
            }
        };
        by_selector(text, example)?.into_iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> String {
        show_list(&self.0, "; ", |(selector, ages)| {
            let ages = ages.iter().map(|(tier, age)| format!(" {tier}={}", age.show()));
            format!("{selector}{}", ages.collect::<String>())
        })
    }
}

impl Setting for LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(format!("{text:?} is neither text nor json")),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Json => "json".to_owned(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Expects `text` to be shown as `expect` once it was read, which then reads as the same; or to be `refused`.
    #[track_caller]
    pub(crate) fn check<T: Setting>(text: &str, expect: &str) {
        let shown = |text: &str| T::parse(text).map(|value| value.show());
        let actual = shown(text);
        assert_eq!(actual.as_deref().unwrap_or("refused"), expect, "{text:?}");
        if actual.is_ok() && !expect.contains(HIDDEN) {
            assert_eq!(shown(expect).as_deref(), Ok(expect), "{text:?}");
        }
    }

    #[test]
    fn values() {
        for (text, expect) in [
            ("64MiB", "64MiB"),
            ("65536 KiB", "64MiB"),
            ("1GB", "1000000000"),
            ("1000000001", "1000000001"),
            ("0", "refused"),
            ("-1", "refused"),
            ("99999999999TiB", "refused"),
            ("MiB", "refused"),
        ] {
            check::<Size>(text, expect);
        }
        for (text, expect) in [
            ("60s", "1m"),
            ("90s", "90s"),
            ("250ms", "250ms"),
            ("48h", "2d"),
            ("0s", "refused"),
            ("5", "refused"),
            ("s", "refused"),
        ] {
            check::<Duration>(text, expect);
        }
        for (text, expect) in [("7d", "7d"), ("forever", "forever"), ("never", "refused")] {
            check::<Age>(text, expect);
        }
        for (text, expect) in [("10GiB", "10GiB"), ("unlimited", "unlimited"), ("0", "refused")] {
            check::<Room>(text, expect);
        }
        for (text, expect) in [("pod, ip", "pod,ip"), ("none", "none"), ("pod,", "refused")] {
            check::<Names>(text, expect);
        }
        for (text, expect) in [
            ("none", "none"),
            (
                r#"{a="b;c"}  raw=24h 1d=forever;{d=~"e.*"} 5m=2d"#,
                r#"{a="b;c"} raw=1d 1d=forever; {d=~"e.*"} 5m=2d"#,
            ),
            ("{} raw=never", "refused"),
            ("{a=} raw=1d", "refused"),
            ("raw=1d", "refused"),
            ("{} 2h=1d", "refused"),
            ("{}", "refused"),
        ] {
            check::<Overrides>(text, expect);
        }
        for (text, expect) in [
            ("none", "none"),
            ("https://a.example, http://b/x", "https://a.example/,http://b/x"),
            ("https://user:secret@a.example", "refused"),
            ("ftp://a.example", "refused"),
            ("a.example", "refused"),
            ("", "refused"),
        ] {
            check::<Servers>(text, expect);
        }
        for (text, expect) in [("auto", "auto"), ("4", "4"), ("0", "refused")] {
            check::<Threads>(text, expect);
        }
        check::<u64>("1_000", "1000");
        check::<u64>("0", "refused");
        check::<bool>("yes", "refused");
        check::<LogFormat>("json", "json");
        check::<String>("", "refused");
        check::<StorageUrl>("", "");
        check::<StorageUrl>("s3://bucket/prefix", "s3://bucket/prefix");
        check::<StorageUrl>("s3://key:secret@bucket", "refused");
        check::<StorageUrl>("ftp://host", "refused");
    }
}
