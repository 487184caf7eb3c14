//! Exports for the tests, written in each of the layouts.

use crate::pprof::wire::Writer;
use serde_json::json;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Layout {
    Current,
    V1_9,
    V1_8,
}

/// Two profiles: CPU of `shop`, and off-CPU, of which one sample says that it belongs to `cart`.
pub(super) struct Message {
    layout: Layout,
    broken: bool,
}

/// Stack, attributes, link, values, timestamps.
type Sample = (u64, &'static [u64], u64, &'static [u64], &'static [u64]);

const CPU: &[Sample] = &[(2, &[], 0, &[], &[11, 12, 13])];
const OFF_CPU: &[Sample] =
    &[(1, &[1], 0, &[2, 3], &[21, 22]), (2, &[], 1, &[12], &[]), (1, &[2], 0, &[9], &[])];
const STRINGS: [&str; 18] = [
    "",
    "samples",
    "count",
    "cpu",
    "nanoseconds",
    "off_cpu",
    "main",
    "work",
    "app.rs",
    "/bin/app",
    "thread.name",
    "service.name",
    "process.executable.build_id.gnu",
    "profile.frame.type",
    "native",
    "w1",
    "cart",
    "abcd",
];
const TIME: u64 = 1_700_000_000_000_000_000;
const DURATION: u64 = 5_000_000_000;
/// Key and value, as string indices.
const ATTRIBUTES: [(u64, u64); 5] = [(0, 0), (10, 15), (11, 16), (12, 17), (13, 14)];
const TRACE: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
const SPAN: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

impl Message {
    pub(super) fn example(layout: Layout) -> Self {
        Self { layout, broken: false }
    }

    /// Lets a sample refer to a stack that is not there.
    pub(super) fn break_second_profile(&mut self) {
        self.broken = true;
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        message(|out| {
            out.bytes(
                1,
                &message(|out| {
                    let attribute = |key: &str, value: &str| {
                        message(|out| {
                            out.bytes(1, key.as_bytes());
                            out.bytes(2, &message(|out| out.bytes(1, value.as_bytes())));
                        })
                    };
                    out.bytes(
                        1,
                        &message(|out| {
                            out.bytes(1, &attribute("service.name", "shop"));
                            out.bytes(1, &attribute("pod", "a"));
                        }),
                    );
                    out.bytes(
                        2,
                        &message(|out| {
                            out.bytes(1, &message(|out| out.bytes(3, &attribute("pod", "of the scope"))));
                            out.bytes(2, &self.profile((1, 2), CPU, Some(20)));
                            out.bytes(2, &self.profile((5, 4), OFF_CPU, None));
                        }),
                    );
                }),
            );
            out.bytes(2, &dictionary());
        })
    }

    fn profile(&self, types: (u64, u64), samples: &[Sample], period: Option<u64>) -> Vec<u8> {
        message(|out| {
            out.bytes(1, &value_type(types));
            for sample in samples {
                out.bytes(2, &self.sample(sample, self.broken && period.is_none()));
            }
            fixed(out, 3, TIME);
            out.number(4, DURATION);
            if let Some(period) = period {
                out.bytes(5, &value_type((3, 4)));
                out.number(6, period);
            }
            // Comments of 1.8 move what follows.
            let shift = if self.layout == Layout::V1_8 { 1 } else { 0 };
            if shift == 1 {
                packed(out, 7, &[7]);
            }
            out.bytes(7 + shift, &[7; 16]);
        })
    }

    fn sample(&self, &(stack, attributes, link, values, times): &Sample, broken: bool) -> Vec<u8> {
        message(|out| {
            out.number(1, if broken { 99 } else { stack });
            match self.layout {
                Layout::Current => {
                    packed(out, 2, attributes);
                    out.number(3, link);
                    packed(out, 4, values);
                }
                Layout::V1_9 | Layout::V1_8 => {
                    packed(out, 2, values);
                    packed(out, 3, attributes);
                    out.number(4, link);
                }
            }
            let times: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
            if !times.is_empty() {
                out.bytes(5, &times);
            }
        })
    }

    /// The same in JSON of the current layout.
    pub(super) fn json(&self) -> String {
        let value_type = |(kind, unit): (u64, u64)| json!({"typeStrindex": kind, "unitStrindex": unit});
        let sample = |&(stack, attributes, link, values, times): &Sample| {
            let values: Vec<String> = values.iter().map(u64::to_string).collect();
            json!({"stackIndex": stack, "attributeIndices": attributes, "linkIndex": link, "values": values, "timestampsUnixNano": times})
        };
        let profile = |types, samples: &[Sample]| {
            let samples: Vec<_> = samples.iter().map(sample).collect();
            json!({"sampleType": value_type(types), "samples": samples, "timeUnixNano": TIME.to_string(), "durationNano": DURATION.to_string(), "profileId": "BwcHBwcHBwcHBwcHBwcHBw=="})
        };
        let mut cpu = profile((1, 2), CPU);
        cpu["periodType"] = value_type((3, 4));
        cpu["period"] = json!("20");
        let attribute = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        let attributes: Vec<_> = ATTRIBUTES
            .iter()
            .map(|&(key, value)| json!({"keyStrindex": key, "value": {"stringValue": STRINGS[value as usize]}}))
            .collect();
        json!({
            "resourceProfiles": [{
                "resource": {"attributes": [attribute("service.name", "shop"), attribute("pod", "a")]},
                "scopeProfiles": [{"scope": {"attributes": [attribute("pod", "of the scope")]}, "profiles": [cpu, profile((5, 4), OFF_CPU)]}],
            }],
            "dictionary": {
                "mappingTable": [{}, {"memoryStart": "4096", "memoryLimit": "8192", "filenameStrindex": 9, "attributeIndices": [3]}],
                "locationTable": [{}, {"mappingIndex": 1, "address": 4100, "lines": [{"functionIndex": 1, "line": "7"}], "attributeIndices": [4]}, {"lines": [{"functionIndex": 2}]}],
                "functionTable": [{}, {"nameStrindex": 6, "filenameStrindex": 8}, {"nameStrindex": 7}],
                "linkTable": [{}, {"traceId": "000102030405060708090a0b0c0d0e0f", "spanId": "0102030405060708"}],
                "stringTable": STRINGS,
                "attributeTable": attributes,
                "stackTable": [{}, {"locationIndices": [1]}, {"locationIndices": [2, 1]}],
            },
        })
        .to_string()
    }
}

fn dictionary() -> Vec<u8> {
    message(|out| {
        out.bytes(1, &[]);
        out.bytes(
            1,
            &message(|out| {
                out.number(1, 0x1000);
                out.number(2, 0x2000);
                out.number(4, 9);
                packed(out, 5, &[3]);
            }),
        );
        out.bytes(2, &[]);
        out.bytes(
            2,
            &message(|out| {
                out.number(1, 1);
                out.number(2, 0x1004);
                out.bytes(
                    3,
                    &message(|out| {
                        out.number(1, 1);
                        out.number(2, 7);
                    }),
                );
                packed(out, 4, &[4]);
            }),
        );
        out.bytes(2, &message(|out| out.bytes(3, &message(|out| out.number(1, 2)))));
        out.bytes(3, &[]);
        out.bytes(
            3,
            &message(|out| {
                out.number(1, 6);
                out.number(3, 8);
            }),
        );
        out.bytes(3, &message(|out| out.number(1, 7)));
        out.bytes(4, &[]);
        out.bytes(
            4,
            &message(|out| {
                out.bytes(1, &TRACE);
                out.bytes(2, &SPAN);
            }),
        );
        STRINGS.iter().for_each(|text| out.bytes(5, text.as_bytes()));
        for (key, value) in ATTRIBUTES {
            out.bytes(
                6,
                &message(|out| {
                    out.number(1, key);
                    out.bytes(2, &message(|out| out.bytes(1, STRINGS[value as usize].as_bytes())));
                }),
            );
        }
        out.bytes(7, &[]);
        out.bytes(7, &message(|out| packed(out, 1, &[1])));
        out.bytes(7, &message(|out| packed(out, 1, &[2, 1])));
    })
}

fn message(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::default();
    write(&mut out);
    out.0
}

fn value_type((kind, unit): (u64, u64)) -> Vec<u8> {
    message(|out| {
        out.number(1, kind);
        out.number(2, unit);
    })
}

fn packed(out: &mut Writer, field: u32, numbers: &[u64]) {
    out.packed(field, numbers.iter().copied(), &mut Writer::default());
}

fn fixed(out: &mut Writer, field: u32, number: u64) {
    out.varint(u64::from(field) << 3 | 1);
    out.0.extend_from_slice(&number.to_le_bytes());
}
