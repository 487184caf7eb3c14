//! What profiles and their services are called.

use super::profile::{Head, SERVICE};
use everflame_profile::{SERVICE_NAME, ValueType};
use std::borrow::Cow;

/// Attribute that names the program, for senders that name no service.
const EXECUTABLE: &str = "process.executable.name";
/// Service of a sender that names neither.
const UNKNOWN_SERVICE: &str = "unknown_service";

/// Adds `service_name`: the service that the samples name, else that of the resource, else a name made of
/// the program's.
pub(super) fn with_service(mut labels: Vec<(String, String)>, of_samples: &str) -> Vec<(String, String)> {
    let value = |key: &str| labels.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str());
    let service: Cow<'_, str> = match (of_samples, value(SERVICE), value(EXECUTABLE)) {
        ("", Some(service), _) => service.into(),
        ("", None, Some(program)) => format!("{UNKNOWN_SERVICE}:{program}").into(),
        ("", None, None) => UNKNOWN_SERVICE.into(),
        (service, ..) => service.into(),
    };
    let service = service.into_owned();
    labels.retain(|(key, _)| key != SERVICE && key != SERVICE_NAME);
    labels.push((SERVICE_NAME.to_owned(), service));
    labels
}

/// What a profile is called, what its values are, and what they are multiplied by.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) sample_type: ValueType,
    pub(super) factor: i64,
}

/// Nothing when neither type has a name.
pub(super) fn name(head: &Head<'_>) -> Option<Named> {
    let is =
        |value_type: &ValueType, kind: &str, unit: &str| value_type.kind == kind && value_type.unit == unit;
    let Head { sample_type, period_type, period, .. } = head;
    if is(sample_type, "samples", "count") && is(period_type, "cpu", "nanoseconds") && *period != 0 {
        return Some(Named {
            name: "process_cpu".to_owned(),
            sample_type: period_type.clone(),
            factor: *period,
        });
    }
    let name = [&period_type.kind, &sample_type.kind].into_iter().find(|kind| !kind.is_empty())?.clone();
    let mut sample_type = sample_type.clone();
    if sample_type.kind.is_empty() {
        sample_type.kind.clone_from(&name);
    }
    Some(Named { name, sample_type, factor: 1 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_without_a_name() {
        let labels = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect::<Vec<_>>()
        };
        for (given, of_samples, expect) in [
            (&[][..], "", "unknown_service"),
            (&[("process.executable.name", "sh")], "", "unknown_service:sh"),
            (&[("process.executable.name", "sh"), ("service.name", "a")], "", "a"),
            (&[("service.name", "a")], "b", "b"),
        ] {
            let labels = with_service(labels(given), of_samples);
            assert_eq!(labels.last().unwrap(), &("service_name".to_owned(), expect.to_owned()));
        }
    }
}
