//! An export of 1.7 in protobuf and in JSON, and what it becomes.

use super::*;
use crate::{folded, otlp};
use serde_json::json;

fn message(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::default();
    write(&mut out);
    out.0
}

fn packed(out: &mut Writer, field: u32, numbers: &[u64]) {
    out.packed(field, numbers.iter().copied(), &mut Writer::default());
}

const STRINGS: [&str; 9] = ["", "samples", "count", "cpu", "nanoseconds", "main", "work", "idle", "bytes"];

/// Samples of two types; the second sample has an attribute, a link and a mapping, all of them entry 0.
fn example(second_length: u64) -> Vec<u8> {
    let value_type = |kind, unit| {
        message(|out| {
            out.number(1, kind);
            out.number(2, unit);
        })
    };
    let profile = message(|out| {
        out.bytes(1, &value_type(1, 2));
        out.bytes(1, &value_type(3, 4));
        out.bytes(
            2,
            &message(|out| {
                out.number(2, 2);
                packed(out, 3, &[5, 50]);
            }),
        );
        out.bytes(
            2,
            &message(|out| {
                out.number(1, 2);
                out.number(2, second_length);
                packed(out, 3, &[1, 10]);
                out.bytes(4, &[0]);
                out.0.extend_from_slice(&[5 << 3, 0]);
                packed(out, 6, &[1_700_000_000_000_000_001]);
            }),
        );
        packed(out, 3, &[1, 0, 2, 0]);
        out.number(4, 1_700_000_000_000_000_000);
        out.number(5, 5_000_000_000);
        out.bytes(6, &value_type(3, 4));
        out.number(7, 10);
        packed(out, 8, &[7]);
        out.bytes(10, &[7; 16]);
    });
    let attribute = |key: &str, value: &str| {
        message(|out| {
            out.bytes(1, key.as_bytes());
            out.bytes(2, &message(|out| out.bytes(1, value.as_bytes())));
        })
    };
    let location = |function| {
        message(|out| {
            out.0.extend_from_slice(&[1 << 3, 0]);
            out.bytes(3, &message(|out| out.number(1, function)));
            out.bytes(5, &[1]);
        })
    };
    let dictionary = message(|out| {
        out.bytes(1, &message(|out| out.number(4, 8)));
        (0..3).for_each(|function| out.bytes(2, &location(function)));
        [5, 6, 7].into_iter().for_each(|name| out.bytes(3, &message(|out| out.number(1, name))));
        out.bytes(
            4,
            &message(|out| {
                out.bytes(1, &[1; 16]);
                out.bytes(2, &[2; 8]);
            }),
        );
        STRINGS.iter().for_each(|text| out.bytes(5, text.as_bytes()));
        out.bytes(6, &attribute("thread.name", "w1"));
        out.bytes(6, &attribute("profile.frame.type", "jvm"));
        out.bytes(7, &message(|out| out.number(1, 3)));
    });
    let resource = message(|out| out.bytes(1, &attribute("service.name", "shop")));
    message(|out| {
        out.bytes(
            1,
            &message(|out| {
                out.bytes(1, &resource);
                out.bytes(2, &message(|out| out.bytes(2, &profile)));
            }),
        );
        out.bytes(2, &dictionary);
    })
}

/// The same in JSON.
fn example_json() -> String {
    let location = |function: u32| json!({"mappingIndex": 0, "line": [{"functionIndex": function}], "attributeIndices": [1]});
    let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
    json!({
        "resourceProfiles": [{
            "resource": {"attributes": [attribute("service.name", "shop")]},
            "scopeProfiles": [{"profiles": [{
                "sampleType": [{"typeStrindex": 1, "unitStrindex": 2}, {"typeStrindex": 3, "unitStrindex": 4}],
                "sample": [
                    {"locationsLength": 2, "value": ["5", "50"]},
                    {"locationsStartIndex": 2, "locationsLength": 2, "value": ["1", "10"],
                     "attributeIndices": [0], "linkIndex": 0, "timestampsUnixNano": ["1700000000000000001"]},
                ],
                "locationIndices": [1, 0, 2, 0],
                "timeNanos": "1700000000000000000",
                "durationNanos": "5000000000",
                "periodType": {"typeStrindex": 3, "unitStrindex": 4},
                "period": "10",
                "profileId": "BwcHBwcHBwcHBwcHBwcHBw==",
            }]}],
        }],
        "dictionary": {
            "mappingTable": [{"filenameStrindex": 8}],
            "locationTable": [location(0), location(1), location(2)],
            "functionTable": [{"nameStrindex": 5}, {"nameStrindex": 6}, {"nameStrindex": 7}],
            "linkTable": [{"traceId": "01".repeat(16), "spanId": "02".repeat(8)}],
            "stringTable": STRINGS,
            "attributeTable": [attribute("thread.name", "w1"), attribute("profile.frame.type", "jvm")],
            "attributeUnits": [{"attributeKeyStrindex": 3}],
        },
    })
    .to_string()
}

fn shown(export: &otlp::Export) -> Vec<String> {
    let part = |part: &crate::Part| {
        let types = &part.profile.sample_types[0];
        format!("{} {}:{} {}", part.name, types.kind, types.unit, folded::write(&part.profile, 0).trim_end())
    };
    export.parts.iter().map(part).collect()
}

#[test]
fn every_sample_type_becomes_a_profile() {
    for export in [
        otlp::read(&example(2), &Limits::default()).unwrap(),
        otlp::read_json(example_json().as_bytes(), &Limits::default()).unwrap(),
    ] {
        assert_eq!(export.rejected, None);
        assert_eq!(
            shown(&export),
            [
                "process_cpu cpu:nanoseconds main;idle 10\nmain;work 50",
                "cpu cpu:nanoseconds main;idle 10\nmain;work 50",
            ]
        );
        let profile = &export.parts[1].profile;
        assert_eq!((profile.time, profile.duration), (1_700_000_000_000_000_000, 5_000_000_000));
        assert_eq!(export.parts[1].moments.times, [0, 1_700_000_000_000_000_001]);
        let strings = &profile.symbols.strings;
        let labels: Vec<_> = profile
            .samples
            .labels(1)
            .iter()
            .map(|label| (strings.get(label.key), strings.get(label.value)))
            .collect();
        assert_eq!(labels[0], ("thread.name", "w1"));
        assert_eq!(labels[1], ("span_id", "0202020202020202"));
        let frame =
            &profile.symbols.frames.iter().find(|frame| profile.symbols.name(frame) == "work").unwrap();
        assert_eq!(frame.kind, everflame_profile::FrameKind::Jvm);
        assert_eq!(strings.get(profile.symbols.mapping(frame.mapping).file), "bytes");
    }
}

#[test]
fn faults_are_counted_and_bounds_hold() {
    let export = otlp::read(&example(99), &Limits::default()).unwrap();
    let (rejected, error) = export.rejected.unwrap();
    assert_eq!((export.profiles, rejected, export.parts.len()), (1, 1, 0));
    assert!(error.to_string().contains("location of the profile 101"), "{error}");
    let limits = Limits { entries: 3, ..Limits::default() };
    assert_eq!(otlp::read(&example(2), &limits).unwrap_err().kind(), ErrorKind::TooLarge);
    let bytes = example(2);
    for cut in 1..bytes.len() {
        if let Err(error) = otlp::read(&bytes[..cut], &Limits::default()) {
            assert_eq!(error.kind(), ErrorKind::Malformed);
        }
    }
}
