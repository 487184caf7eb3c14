//! Labels of a request: what is valid, what is left out, and the service that is always there.

use crate::error::Error;
use crate::limits::Limits;
use crate::name::AppName;
use everflame_profile::{Labels, PROFILE_NAME, SERVICE_NAME};

/// Service of uploads that name none.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Label that the application's name goes to when `service_name` was given beside it.
const APP_NAME: &str = "app_name";

/// Label that names the profiler of an upload through `/ingest`.
const SPY: &str = "pyroscope_spy";

/// Checks the labels of a Push and splits them into the profile name and the series' own labels.
/// Labels that begin with `__` are the wires' own (`__delta__`, `__session_id__`, …) and not stored.
pub(crate) fn from_push(pairs: Vec<(String, String)>, limits: &Limits) -> Result<(String, Labels), Error> {
    let labels = checked(pairs, limits)?;
    let name = labels.get(PROFILE_NAME).to_owned();
    if name.is_empty() {
        return Err(Error::invalid(
            "labels: __name__ is missing; send the kind of profile in it, as in process_cpu or memory",
        ));
    }
    Ok((name, public(labels)))
}

/// The labels of an upload through `/ingest`. `service` is the application's name, without the suffix where
/// the format has one.
pub(crate) fn from_name(
    name: AppName,
    service: &str,
    spy_name: &str,
    limits: &Limits,
) -> Result<Labels, Error> {
    let mut labels = checked(name.labels, limits)?;
    let given = if labels.get(SERVICE_NAME).is_empty() { SERVICE_NAME } else { APP_NAME };
    if labels.get(given).is_empty() {
        labels.set(given, service);
    }
    if labels.get(SPY).is_empty() {
        labels.set(SPY, if spy_name.is_empty() { "unknown" } else { spy_name });
    }
    Ok(public(checked(
        labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        limits,
    )?))
}

/// The labels of a profile of `service`, from pairs of any wire.
pub(crate) fn of_service(
    service: &str,
    mut pairs: Vec<(String, String)>,
    limits: &Limits,
) -> Result<Labels, Error> {
    pairs.retain(|(name, _)| name != SERVICE_NAME);
    pairs.push((SERVICE_NAME.to_owned(), service.to_owned()));
    Ok(public(checked(pairs, limits)?))
}

/// Whether a label is a wire's own and never stored.
pub(crate) fn is_private(name: &str) -> bool {
    name.starts_with("__")
}

fn public(labels: Labels) -> Labels {
    with_service(Labels::from_pairs(labels.iter().filter(|(name, _)| !is_private(name))))
}

/// The labels with a service, which every series has.
pub(crate) fn with_service(mut labels: Labels) -> Labels {
    if labels.get(SERVICE_NAME).is_empty() {
        labels.set(SERVICE_NAME, UNKNOWN_SERVICE);
    }
    labels
}

fn checked(pairs: Vec<(String, String)>, limits: &Limits) -> Result<Labels, Error> {
    // Pyroscope's wire has the kind of a profile among its labels, others have it elsewhere.
    let count = pairs.iter().filter(|(name, _)| name != PROFILE_NAME).count();
    if count > limits.labels {
        return Err(Error::invalid(format!(
            "labels: {count} of them, at most {} are taken; send fewer, those with many values first",
            limits.labels
        )));
    }
    for (name, value) in &pairs {
        if name.len() > limits.label_name_bytes {
            return Err(Error::invalid(format!(
                "labels: the name {:?}… has {} bytes, at most {} are taken; shorten it",
                start(name),
                name.len(),
                limits.label_name_bytes
            )));
        }
        if value.len() > limits.label_value_bytes {
            return Err(Error::invalid(format!(
                "labels: the value of {:?} has {} bytes, at most {} are taken; shorten it",
                start(name),
                value.len(),
                limits.label_value_bytes
            )));
        }
    }
    Labels::try_from_pairs(pairs).map_err(|error| Error::invalid(format!("labels: {error}")))
}

/// The first characters of a text, for a message.
fn start(text: &str) -> &str {
    let end = text.floor_char_boundary(64);
    text.get(..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::parse_name;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
    }

    #[test]
    fn push_labels() {
        for (given, expect) in [
            (
                &[("__name__", "memory"), ("service_name", "a"), ("__delta__", "false"), ("pod", "x")][..],
                r#"memory {pod="x", service_name="a"}"#,
            ),
            (
                &[("__name__", "wall"), ("process.runtime.name", "cpython"), ("__session_id__", "1")],
                r#"wall {process.runtime.name="cpython", service_name="unknown_service"}"#,
            ),
            (&[("service_name", "a")], "labels: __name__ is missing"),
            (&[("__name__", "a"), ("b", "1"), ("b", "2")], "labels: label \"b\" occurs twice"),
            (&[("__name__", "a"), ("", "1")], "labels: a label has an empty name"),
        ] {
            let actual = match from_push(pairs(given), &Limits::default()) {
                Ok((name, labels)) => format!("{name} {labels}"),
                Err(error) => error.to_string(),
            };
            assert!(actual.starts_with(expect), "{actual}");
        }
    }

    #[test]
    fn ingest_labels() {
        for (name, service, spy, expect) in [
            ("shop.cpu{a=1}", "shop", "gospy", r#"{a="1", pyroscope_spy="gospy", service_name="shop"}"#),
            ("shop{__session_id__=77}", "shop", "", r#"{pyroscope_spy="unknown", service_name="shop"}"#),
            (
                "shop{service_name=cart}",
                "shop",
                "x",
                r#"{app_name="shop", pyroscope_spy="x", service_name="cart"}"#,
            ),
            (
                "shop{service_name=cart,app_name=y}",
                "shop",
                "x",
                r#"{app_name="y", pyroscope_spy="x", service_name="cart"}"#,
            ),
        ] {
            let labels = from_name(parse_name(name).unwrap(), service, spy, &Limits::default()).unwrap();
            assert_eq!(labels.to_string(), expect);
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let limits = Limits { labels: 2, label_name_bytes: 8, label_value_bytes: 4, ..Limits::default() };
        let refuse = |given: &[(&str, &str)]| from_push(pairs(given), &limits).unwrap_err().to_string();
        assert!(refuse(&[("__name__", "a"), ("b", "1"), ("c", "1"), ("d", "1")]).contains("at most 2"));
        assert!(from_push(pairs(&[("__name__", "a"), ("b", "1"), ("c", "1")]), &limits).is_ok());
        assert!(refuse(&[("abcdefghi", "a")]).contains("9 bytes, at most 8"));
        assert!(refuse(&[("a", "12345")]).contains("5 bytes, at most 4"));
    }
}
