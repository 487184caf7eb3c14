//! The older text format of metrics, for those who ask for no other.
//!
//! Source of the format: <https://prometheus.io/docs/instrumenting/exposition_formats/>. Values are written the same
//! way as in OpenMetrics; counters have their whole names in comments, and units and the end are not marked.

use http::HeaderMap;
use http::header::ACCEPT;
use std::collections::HashSet;

/// How it is called in `Content-Type`.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Whether the client takes this format, and does not take OpenMetrics.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let takes = |media: &str| {
        let values = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|range| {
            let name = range.split(';').next().unwrap_or_default();
            name.trim().eq_ignore_ascii_case(media)
        })
    };
    takes("text/plain") && !takes("application/openmetrics-text")
}

/// Rewrites OpenMetrics.
pub(crate) fn of_openmetrics(text: &str) -> String {
    let comments = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> = comments.filter_map(|comment| comment.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let comment = line.strip_prefix("# ").and_then(|comment| comment.split_once(' '));
        match comment {
            None if line == "# EOF" => {}
            Some(("UNIT", _)) => {}
            Some((kind @ ("TYPE" | "HELP"), rest)) => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let suffix = if counters.contains(name) { "_total" } else { "" };
                let rest = if kind == "TYPE" && rest == "unknown" { "untyped" } else { rest };
                out.extend(["# ", kind, " ", name, suffix, " ", rest, "\n"]);
            }
            _ => out.extend([line, "\n"]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn who_asks_for_it() {
        let check = |accept: &'static str, expect| {
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(is_wanted(&headers), expect, "{accept}");
        };
        check("text/plain;version=0.0.4", true);
        check("text/plain; version=0.0.4; q=0.5, */*;q=0.1", true);
        check("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", false);
        check("*/*", false);
        assert!(!is_wanted(&HeaderMap::new()));
    }

    #[test]
    fn counters_have_their_whole_names() {
        let text = "# HELP a Things.\n# TYPE a counter\na_total{x=\"# HELP a\"} 1\n# UNIT b seconds\n\
                    # HELP b Other things.\n# TYPE b gauge\nb 2.5\n# TYPE c unknown\nc 1\n# EOF\n";
        assert_eq!(
            of_openmetrics(text),
            "# HELP a_total Things.\n# TYPE a_total counter\na_total{x=\"# HELP a\"} 1\n\
             # HELP b Other things.\n# TYPE b gauge\nb 2.5\n# TYPE c untyped\nc 1\n"
        );
    }
}
