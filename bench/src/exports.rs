//! OTLP exports made of the real profiles, as a collector of a whole host sends them: many small profiles, each
//! with a resource of its own, over one dictionary.

use crate::bodies::{Random, real};
use anyhow::Result;
use everflame_formats::{Limits, pprof};
use everflame_profile::{SymbolInterner, Symbols};
use std::collections::BTreeMap;

/// When the first sample was taken, nanoseconds since the epoch.
const START: u64 = 1_767_225_600_000_000_000;
/// Between two samples of a stack: 19 Hz.
const STEP: u64 = 52_631_579;
/// Threads of the programs.
const THREADS: u64 = 16;
/// Moments at which a stack is seen, at most; an export of the eBPF profiler has 17 on average.
const MOST_MOMENTS: u64 = 33;

/// An export of `profiles` profiles with `samples` samples each. Some have values, as off-CPU time has; the
/// others have times alone, each of which counts one.
pub(crate) fn export(profiles: u64, samples: u64) -> Result<Vec<u8>> {
    let mut tables = Tables::default();
    let mut stacks: Vec<Vec<u64>> = Vec::new();
    for (_, bytes) in real() {
        let profile = pprof::read(bytes, &Limits::default())?.profile;
        for sample in 0..profile.samples.len() {
            let frames = profile.frames(sample);
            // Entry 0 of every table is the zero value.
            stacks.push(
                frames.map(|frame| 1 + u64::from(tables.symbols.intern(&profile.symbols, frame))).collect(),
            );
        }
    }
    for name in NAMES {
        tables.symbols.intern_string(name);
    }
    for thread in 0..THREADS {
        tables.symbols.intern_string(&format!("worker-{thread}"));
    }
    let mut random = Random(7);
    let mut out = Message::default();
    for profile in 0..profiles {
        out.message(1, |resource| {
            resource.message(1, |resource| {
                resource.attribute("service.name", &format!("shop-{}", profile % 50));
                resource.attribute("process.pid", &(1_000 + profile).to_string());
                resource.attribute("process.executable.name", "shop");
                resource.attribute("container.id", &format!("{:064x}", profile.wrapping_mul(0x9e37_79b9)));
            });
            resource.message(2, |scope| {
                scope.message(1, |scope| scope.bytes(1, b"everflame-bench"));
                scope.message(2, |out| {
                    tables.profile(out, profile, samples, stacks.len() as u64, &mut random);
                });
            });
        });
    }
    tables.dictionary(&mut out, &stacks);
    Ok(out.0)
}

/// Texts that the dictionary has besides those of the frames.
const NAMES: [&str; 7] =
    ["samples", "count", "cpu", "nanoseconds", "off_cpu", "thread.name", "profile.frame.type"];

/// All frames, strings and mappings of the real profiles.
#[derive(Default)]
struct Tables {
    symbols: SymbolInterner,
}

impl Tables {
    /// The string, which is known: interning is asking.
    fn string(&mut self, text: &str) -> u64 {
        u64::from(self.symbols.intern_string(text))
    }

    fn profile(&mut self, out: &mut Message, nth: u64, samples: u64, stacks: u64, random: &mut Random) {
        let (count, nanoseconds) = (self.string("count"), self.string("nanoseconds"));
        let with_values = nth.is_multiple_of(2);
        let (kind, unit) = match with_values {
            true => (self.string("off_cpu"), nanoseconds),
            false => (self.string("samples"), count),
        };
        out.value_type(1, kind, unit);
        for _ in 0..samples {
            let moments = 1 + random.below(MOST_MOMENTS);
            let times: Vec<u64> = (0..moments).map(|at| START + at * STEP + random.below(STEP)).collect();
            out.message(2, |sample| {
                sample.number(1, 1 + random.below(stacks));
                sample.packed(2, &[1 + random.below(THREADS)]);
                if with_values {
                    let values: Vec<u64> = times.iter().map(|_| random.below(5_000_000)).collect();
                    sample.packed(4, &values);
                }
                let times: Vec<u8> = times.iter().flat_map(|time| time.to_le_bytes()).collect();
                sample.bytes(5, &times);
            });
        }
        out.fixed(3, START);
        out.number(4, 5_000_000_000);
        out.value_type(5, self.string("cpu"), nanoseconds);
        out.number(6, STEP);
        out.bytes(7, &u128::from(nth + 1).to_le_bytes());
    }

    fn dictionary(&mut self, out: &mut Message, stacks: &[Vec<u64>]) {
        let thread_name = self.string("thread.name");
        let threads: Vec<u64> = (0..THREADS).map(|thread| self.string(&format!("worker-{thread}"))).collect();
        let frame_type = self.string("profile.frame.type");
        let Symbols { strings, mappings, frames } = std::mem::take(&mut self.symbols).into_symbols();
        out.message(2, |out| {
            for mapping in &mappings {
                out.message(1, |out| {
                    out.number(1, mapping.memory_start);
                    out.number(2, mapping.memory_limit);
                    out.number(4, u64::from(mapping.file));
                });
            }
            let mut functions = BTreeMap::new();
            out.message(2, |_| ());
            for frame in &frames {
                let next = functions.len() as u64 + 1;
                let function =
                    *functions.entry((frame.function, frame.file, frame.start_line)).or_insert(next);
                out.message(2, |out| {
                    out.number(1, u64::from(frame.mapping));
                    out.number(2, 0x40_0000 + 13 * function);
                    out.message(3, |line| {
                        line.number(1, function);
                        line.number(2, frame.line as u64);
                    });
                    out.packed(4, &[1 + THREADS]);
                });
            }
            let mut functions: Vec<_> = functions.into_iter().collect();
            functions.sort_unstable_by_key(|&(_, index)| index);
            out.message(3, |_| ());
            for ((name, file, start_line), _) in functions {
                out.message(3, |out| {
                    out.number(1, u64::from(name));
                    out.number(3, u64::from(file));
                    out.number(4, start_line as u64);
                });
            }
            strings.iter().for_each(|text| out.bytes(5, text.as_bytes()));
            out.message(6, |_| ());
            for thread in threads {
                out.message(6, |out| {
                    out.number(1, thread_name);
                    out.message(2, |value| value.bytes(1, strings.get(thread as u32).as_bytes()));
                });
            }
            out.message(6, |out| {
                out.number(1, frame_type);
                out.message(2, |value| value.bytes(1, b"go"));
            });
            out.message(7, |_| ());
            for stack in stacks {
                out.message(7, |out| out.packed(1, stack));
            }
        });
    }
}

/// A protobuf message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn number(&mut self, field: u64, number: u64) {
        if number != 0 {
            self.varint(field << 3);
            self.varint(number);
        }
    }

    fn fixed(&mut self, field: u64, number: u64) {
        self.varint(field << 3 | 1);
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn packed(&mut self, field: u64, numbers: &[u64]) {
        let mut inner = Self::default();
        numbers.iter().for_each(|&number| inner.varint(number));
        self.bytes(field, &inner.0);
    }

    fn message(&mut self, field: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    fn value_type(&mut self, field: u64, kind: u64, unit: u64) {
        self.message(field, |out| {
            out.number(1, kind);
            out.number(2, unit);
        });
    }

    /// A `KeyValue` with a text.
    fn attribute(&mut self, key: &str, value: &str) {
        self.message(1, |out| {
            out.bytes(1, key.as_bytes());
            out.message(2, |out| out.bytes(1, value.as_bytes()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everflame_formats::otlp;

    #[test]
    fn an_export_holds_what_was_asked_for() {
        let read = otlp::read(&export(20, 5).unwrap(), &Limits::default()).unwrap();
        assert_eq!((read.profiles, read.parts.len(), read.rejected), (20, 20, None));
        for (at, part) in read.parts.iter().enumerate() {
            assert_eq!((part.profile.samples.len(), part.moments.ends.len()), (5, 5));
            assert!((5..=5 * MOST_MOMENTS as usize).contains(&part.moments.times.len()));
            let service = format!("shop-{at}");
            assert!(part.labels.iter().any(|(key, value)| key == "service_name" && *value == service));
            assert_eq!(part.profile.sample_types[0].kind, if at % 2 == 0 { "off_cpu" } else { "cpu" });
            assert_eq!(part.profile.samples.labels(0).len(), 1);
        }
    }
}
